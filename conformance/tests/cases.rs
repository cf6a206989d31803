//! Runs every case of `conformance/cases`, all against one world.

use std::path::Path;

use bytes::Bytes;
use http::{Request, Response};
use jibek_conformance::{
    cases::{self, Case},
    world::{CONSUMER, PROVIDER, STRANGER, World},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_case_comes_out_as_its_clause_says() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let cases = cases::read(&dir).unwrap();
    assert!(cases.len() >= 20, "{} cases", cases.len());
    let world = World::builder()
        .build(|call| {
            let mut response = Response::new(Bytes::from_static(b"{\"answer\":42}"));
            if call.uri.path().ends_with("/missing") {
                *response.status_mut() = http::StatusCode::NOT_FOUND;
            }
            response.headers_mut().insert(
                "content-type",
                http::HeaderValue::from_static("application/json"),
            );
            response
        })
        .await;
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(reason) = run(&world, case).await {
            wrong.push(format!("{}: {reason} ({})", case.name, case.clause));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    println!("{} cases", cases.len());
    world.finish().await;
}

async fn run(world: &World, case: &Case) -> Result<(), String> {
    let before = world.system.calls().len();
    let mut request = Request::builder()
        .method(case.request.method.as_str())
        .uri(format!(
            "{}{}",
            world.running.server(0).url(),
            case.request.path
        ));
    for (name, value) in &case.request.headers {
        request = request.header(name, value);
    }
    let response = world.send(request, case.request.body.clone()).await;
    let expect = &case.expect;
    let body = String::from_utf8_lossy(response.body()).into_owned();
    if response.status().as_u16() != expect.status {
        return Err(format!(
            "status {} and not {}: {body}",
            response.status(),
            expect.status
        ));
    }
    let code = response
        .headers()
        .get("x-road-error")
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .or_else(|| {
            let (_, rest) = body.split_once("<faultcode>")?;
            rest.split_once("</faultcode>")
                .map(|(code, _)| code.to_owned())
        });
    if code != expect.code {
        return Err(format!("code {code:?} and not {:?}: {body}", expect.code));
    }
    if let Some(text) = &expect.contains
        && !body.contains(text)
    {
        return Err(format!("the body does not contain {text:?}: {body}"));
    }
    for (name, value) in &expect.headers {
        let found = response.headers().get(name).map(|found| found.as_bytes());
        if found != Some(value.as_bytes()) {
            return Err(format!(
                "header {name} is {:?} and not {value:?}",
                found.map(String::from_utf8_lossy)
            ));
        }
    }
    let calls = world.system.calls();
    let called = calls.get(before).map(|call| call.uri.to_string());
    if called != expect.called {
        return Err(format!(
            "the provider was called with {called:?} and not {:?}",
            expect.called
        ));
    }
    Ok(())
}

/// Of several clients in one request the last is judged (`message-path.md` 3.1); a service that reads the first must
/// not see another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_sees_only_the_client_that_was_judged() {
    let world = World::builder()
        .build(|_| Response::new(Bytes::from_static(b"{}")))
        .await;
    let url = format!("{}/r1/{PROVIDER}/rest/a", world.running.server(0).url());
    let request = Request::get(&url)
        .header("X-Road-Client", STRANGER)
        .header("X-Road-Client", CONSUMER);
    let response = world.send(request, "").await;
    assert_eq!(response.status(), 200);
    let calls = world.system.calls();
    let seen: Vec<_> = calls[0].headers.get_all("x-road-client").iter().collect();
    assert_eq!(seen, [CONSUMER]);
    let request = Request::get(&url)
        .header("X-Road-Client", CONSUMER)
        .header("X-Road-Client", STRANGER);
    let response = world.send(request, "").await;
    assert_eq!(
        response.headers()["x-road-error"],
        "server.serverproxy.access_denied"
    );
    world.finish().await;
}
