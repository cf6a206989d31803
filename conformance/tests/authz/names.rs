//! Clients, members, services and servers that are not there.

use http::{Request, Response};
use jibek_conformance::{
    envelope,
    world::{CONSUMER, PROVIDER, STRANGER, World},
};

use super::code;

fn own(code: &str) -> String {
    format!("server.clientproxy.{code}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_not_there_are_refused_each_with_its_code() {
    let world = World::builder()
        .build(|_| Response::new(bytes::Bytes::new()))
        .await;
    let peer = |code: &str| format!("server.serverproxy.{code}");
    let rest = format!("{PROVIDER}/rest");
    let cases = [
        (CONSUMER, rest.as_str(), None),
        (
            CONSUMER,
            "TEST/GOV/9999/x/rest",
            Some(own("unknown_member")),
        ),
        (
            CONSUMER,
            "TEST/GOV/2002/other/rest",
            Some(own("unknown_member")),
        ),
        (
            CONSUMER,
            "TEST/gov/2002/provider/rest",
            Some(own("unknown_member")),
        ),
        (
            CONSUMER,
            "ELSE/GOV/2002/provider/rest",
            Some(own("internal_error")),
        ),
        (
            CONSUMER,
            "TEST/GOV/2002/provider/other",
            Some(peer("unknown_service")),
        ),
        (
            CONSUMER,
            "TEST/GOV/2002/provider/REST",
            Some(peer("unknown_service")),
        ),
        (
            CONSUMER,
            "TEST/GOV/2002/provider/soap",
            Some(peer("service_type")),
        ),
        (
            CONSUMER,
            "TEST/GOV/2002/provider",
            Some(own("internal_error")),
        ),
        (CONSUMER, "", Some(own("internal_error"))),
        (
            CONSUMER,
            "TEST//2002/provider/rest",
            Some(own("internal_error")),
        ),
        (
            CONSUMER,
            "TEST/GOV/%ZZ/provider/rest",
            Some(own("internal_error")),
        ),
        ("TEST/GOV/1001/nobody", &rest, Some(own("unknown_member"))),
        // A client, but of another server.
        (PROVIDER, &rest, Some(own("unknown_member"))),
        ("TEST/GOV/1001", &rest, Some(own("unknown_member"))),
        (STRANGER, &rest, Some(peer("access_denied"))),
        ("TEST/GOV", &rest, Some(own("internal_error"))),
        ("a/b/c/d/e", &rest, Some(own("internal_error"))),
        (
            "TEST/GOV/1001/con sumer",
            &rest,
            Some(own("internal_error")),
        ),
        ("", &rest, Some(own("internal_error"))),
    ];
    let url = world.running.server(0).url();
    for (client, service, expected) in &cases {
        let request = Request::get(format!("{url}/r1/{service}")).header("X-Road-Client", *client);
        let answer = world.send(request, "").await;
        assert_eq!(code(&answer), expected.as_deref(), "{client:?} {service}");
    }
    let answer = world
        .send(Request::get(format!("{url}/r1/{rest}")), "")
        .await;
    assert_eq!(
        code(&answer),
        Some("server.clientproxy.invalid_client_identifier")
    );

    // The server that shall answer.
    for (server, expected) in [
        ("TEST/GOV/2002/ss2", None),
        ("TEST/GOV/1001/ss1", Some(own("invalid_security_server"))),
        ("TEST/GOV/2002/ss9", Some(own("invalid_security_server"))),
        ("TEST/GOV/2002", Some(own("internal_error"))),
    ] {
        let request = world
            .rest("GET", "/x")
            .header("X-Road-Security-Server", server);
        let answer = world.send(request, "").await;
        assert_eq!(code(&answer), expected.as_deref(), "{server}");
        if expected.is_none() {
            let call = world.system.calls().pop().unwrap();
            assert_eq!(call.headers["x-road-security-server"], server);
        }
    }

    let request = world
        .rest("GET", "/x")
        .header("X-Road-Represented-Party", "a/b/c/d");
    let answer = world.send(request, "").await;
    assert_eq!(code(&answer), Some("server.clientproxy.internal_error"));

    // SOAP.
    for (client, provider, service, expected) in [
        (CONSUMER, "TEST/GOV/9999/x", "soap", own("unknown_member")),
        (
            "TEST/GOV/1001/nobody",
            PROVIDER,
            "soap",
            own("unknown_member"),
        ),
        (CONSUMER, PROVIDER, "other", peer("unknown_service")),
        (CONSUMER, PROVIDER, "rest", peer("service_type")),
    ] {
        let sent = envelope::request(client, provider, service, "s", "");
        let request = Request::post(&url).header("Content-Type", "text/xml");
        let answer = world.send(request, sent).await;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        assert!(
            text.contains(&format!("<faultcode>{expected}</faultcode>")),
            "{expected}: {text}"
        );
    }
    assert_eq!(world.system.calls().len(), 2);
    world.finish().await;
}
