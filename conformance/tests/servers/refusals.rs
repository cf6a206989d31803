//! What information systems send and must not: each gets a clear fault, loses nothing and leaves the servers up.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use jibek_conformance::{
    country::Allow,
    world::{CONSUMER, STRANGER, World},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{code, echo, envelope, soap, still_up};

#[tokio::test]
async fn malformed_identifiers_and_headers_get_a_fault() {
    let world = World::builder().build(echo).await;
    let url = world.running.server(0).url();
    let rest = |path: &str| Request::get(format!("{url}{path}")).header("X-Road-Client", CONSUMER);
    for (request, expected) in [
        (rest("/r1/"), "server.clientproxy.internal_error"),
        (
            rest("/r1/TEST/GOV/2002"),
            "server.clientproxy.internal_error",
        ),
        (
            rest("/r1/TEST/GOV/2002/provider/%"),
            "server.clientproxy.internal_error",
        ),
        (
            rest("/r1/TEST//2002/provider/rest"),
            "server.clientproxy.internal_error",
        ),
        (
            Request::get(format!("{url}/r1/TEST/GOV/2002/provider/rest")),
            "server.clientproxy.invalid_client_identifier",
        ),
        (
            Request::get(format!("{url}/r1/TEST/GOV/2002/provider/rest"))
                .header("X-Road-Client", "TEST/GOV"),
            "server.clientproxy.internal_error",
        ),
        (
            world
                .rest("GET", "/x")
                .header("X-Road-Security-Server", "TEST/GOV"),
            "server.clientproxy.internal_error",
        ),
        (
            world
                .rest("GET", "/x")
                .header("X-Road-Represented-Party", "a/b/c/d"),
            "server.clientproxy.internal_error",
        ),
    ] {
        let shown = format!("{request:?}");
        let answer = world.send(request, "").await;
        println!("{shown} -> {} {}", answer.status(), code(&answer));
        assert_eq!(code(&answer), expected, "{shown}");
    }
    assert!(world.system.calls().is_empty());
    still_up(&world).await;
    world.finish().await;
}

#[tokio::test]
async fn hostile_soap_gets_a_fault() {
    let world = World::builder().build(echo).await;
    let deep = format!("{}{}", "<a>".repeat(5_000), "</a>".repeat(5_000));
    let many = format!(
        "<a {}/>",
        (0..5_000)
            .map(|number| format!("a{number}=\"\" "))
            .collect::<String>()
    );
    let huge = format!("<a>{}</a>", "x".repeat(11 * 1024 * 1024));
    for message in [
        envelope("<!DOCTYPE a [<!ENTITY b \"c\">]>", "1", "<a/>"),
        soap("2", &deep),
        soap("3", &many),
        soap("4", "<a>"),
        soap("5", "&undefined;"),
        soap("6", ""),
        soap("7", &huge),
        "not xml".to_owned(),
        String::new(),
    ] {
        let request =
            Request::post(world.running.server(0).url()).header("Content-Type", "text/xml");
        let shown: String = message.chars().take(60).collect();
        let answer = world.send(request, message).await;
        let code = code(&answer);
        println!("{shown} -> {} {code}", answer.status());
        assert!(code.starts_with("client."), "{shown}: {code}");
    }
    assert!(world.system.calls().is_empty());
    still_up(&world).await;
    world.finish().await;
}

/// The ambiguous spellings of a path, after `/r1/…/rest`.
const AMBIGUOUS: [&str; 9] = [
    "/open//x",
    "/open/%2e%2e/secret",
    "/open/../secret",
    "/open/%2E%2E%2Fsecret",
    "/open%2fsecret",
    "/open/%252e%252e/secret",
    "/open;v=1/x",
    "/open/..;/secret",
    "/open/..%5csecret",
];

/// Sends a request with this path as it stands: a client library would tidy it up.
async fn raw_get(world: &World, path: &str) -> Response<Bytes> {
    let address = world.running.server(0).addresses.consumer_http.unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET /r1/TEST/GOV/2002/provider/rest{path} HTTP/1.1\r\nHost: x\r\nX-Road-Client: {CONSUMER}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    timeout(Duration::from_secs(30), stream.read_to_end(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Response::builder().status(status);
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(':').unwrap();
        answer = answer.header(name, value.trim());
    }
    answer.body(Bytes::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn ambiguous_paths_need_a_right_to_every_path() {
    let only_open = Allow {
        subject: CONSUMER.to_owned(),
        method: "*".to_owned(),
        path: "/open/**".to_owned(),
    };
    let world = World::builder().rights(vec![only_open]).build(echo).await;
    assert_eq!(raw_get(&world, "/open/x").await.status(), 200);
    assert_eq!(
        code(&raw_get(&world, "/secret").await),
        "server.serverproxy.access_denied"
    );
    let calls = world.system.calls().len();
    for path in AMBIGUOUS {
        assert_eq!(
            code(&raw_get(&world, path).await),
            "server.serverproxy.access_denied",
            "{path}"
        );
    }
    assert_eq!(
        world.system.calls().len(),
        calls,
        "the service saw nothing of them"
    );
    // One reading: an escape of a harmless character is that character.
    assert_eq!(raw_get(&world, "/%6fpen/x").await.status(), 200);
    world.finish().await;
}

#[tokio::test]
async fn what_is_allowed_is_forwarded_byte_for_byte() {
    let world = World::builder().build(echo).await;
    for path in AMBIGUOUS
        .iter()
        .chain(&["/caf%C3%A9?a=%20b&c=+", "/%6fpen/x", "/a%2Fb", ""])
    {
        let answer = raw_get(&world, path).await;
        assert_eq!(answer.status(), 200, "{path}: {answer:?}");
        let seen = world.system.calls().last().unwrap().uri.to_string();
        assert_eq!(seen, format!("/rest{path}"));
    }
    world.finish().await;
}

#[tokio::test]
async fn unknown_members_services_and_servers_are_told_apart() {
    let world = World::builder().build(echo).await;
    let url = world.running.server(0).url();
    let to = |path: &str, client: &str| {
        Request::get(format!("{url}/r1/{path}")).header("X-Road-Client", client)
    };
    let good = "TEST/GOV/2002/provider/rest";
    for (request, expected) in [
        (
            to(good, "TEST/GOV/1001/nobody"),
            "server.clientproxy.unknown_member",
        ),
        (
            to(good, "TEST/GOV/2002/provider"),
            "server.clientproxy.unknown_member",
        ),
        (
            to("TEST/GOV/2002/nobody/rest", CONSUMER),
            "server.clientproxy.unknown_member",
        ),
        (
            to("TEST/GOV/9999/provider/rest", CONSUMER),
            "server.clientproxy.unknown_member",
        ),
        (
            to("EE/GOV/2002/provider/rest", CONSUMER),
            "server.clientproxy.internal_error",
        ),
        (
            to("TEST/GOV/2002/provider/nothing", CONSUMER),
            "server.serverproxy.unknown_service",
        ),
        (
            to("TEST/GOV/2002/provider/soap", CONSUMER),
            "server.serverproxy.service_type",
        ),
        (
            to(good, CONSUMER).header("X-Road-Security-Server", "TEST/GOV/2002/nowhere"),
            "server.clientproxy.invalid_security_server",
        ),
        (
            to(good, CONSUMER).header("X-Road-Security-Server", "TEST/GOV/1001/ss1"),
            "server.clientproxy.invalid_security_server",
        ),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(code(&world.send(request, "").await), expected, "{shown}");
    }
    let right = to(good, CONSUMER).header("X-Road-Security-Server", "TEST/GOV/2002/ss2");
    assert_eq!(world.send(right, "").await.status(), 200);
    assert_eq!(world.system.calls().len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn without_a_right_nothing_reaches_the_service() {
    let world = World::builder().build(echo).await;
    let url = format!(
        "{}/r1/TEST/GOV/2002/provider/rest/x",
        world.running.server(0).url()
    );
    for (method, body) in [
        ("GET", Bytes::new()),
        ("POST", Bytes::from(vec![b'x'; 3_000_000])),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(&url)
            .header("X-Road-Client", STRANGER);
        let answer = world.send(request, body).await;
        assert_eq!(
            code(&answer),
            "server.serverproxy.access_denied",
            "{method}"
        );
    }
    assert!(world.system.calls().is_empty());
    still_up(&world).await;
    world.finish().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_never_reaches_the_service() {
    let world = World::builder().build(echo).await;
    let address = world.running.server(0).addresses.consumer_http.unwrap();
    let head = format!(
        "POST /r1/TEST/GOV/2002/provider/rest/x HTTP/1.1\r\nHost: x\r\nX-Road-Client: {CONSUMER}\r\n"
    );
    let broken = [
        head.clone(),
        format!("{head}\r\n").replace("Host", "Content-Length: 10\r\nHost"),
        format!("{head}Content-Length: 1000\r\n\r\nabc"),
        format!(
            "{head}Content-Length: 3000000\r\n\r\n{}",
            "x".repeat(2_000_000)
        ),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nabc"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    ];
    for request in &broken {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A fault or a closed connection, but an end.
        let _end = timeout(Duration::from_secs(30), stream.read_to_end(&mut answer))
            .await
            .unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{request:.200}");
    }
    assert!(world.system.calls().is_empty());
    still_up(&world).await;
    world.finish().await;
}

#[tokio::test]
async fn a_reader_who_leaves_does_not_stop_the_others() {
    let world = World::builder()
        .build(|_| Response::new(Bytes::from(vec![b'x'; 8_000_000])))
        .await;
    let address = world.running.server(0).addresses.consumer_http.unwrap();
    let request = format!(
        "GET /r1/TEST/GOV/2002/provider/rest/x HTTP/1.1\r\nHost: x\r\nX-Road-Client: {CONSUMER}\r\n\r\n"
    );
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut first = [0; 100];
        stream
            .read_exact(&mut first)
            .await
            .expect("the answer begins");
        slow.push(stream);
    }
    // They read nothing more, and then they are gone.
    still_up(&world).await;
    drop(slow);
    still_up(&world).await;
    world.finish().await;
}

#[tokio::test]
async fn bodies_go_through_as_they_are() {
    let world = World::builder().build(echo).await;
    for (method, body) in [
        ("POST", Bytes::new()),
        ("POST", Bytes::from_static(b"one")),
        ("PUT", Bytes::from(vec![b'x'; 1_000_000])),
        ("PATCH", Bytes::from_static(b"two")),
        // X-Road drops this one; it is signed and logged, so it arrives.
        ("DELETE", Bytes::from_static(b"three")),
    ] {
        let answer = world.send(world.rest(method, "/x"), body.clone()).await;
        assert_eq!(answer.status(), 200, "{method}: {answer:?}");
        let call = world.system.calls().pop().unwrap();
        assert_eq!(call.method.as_str(), method);
        assert!(call.body == body, "{method}: {} bytes", call.body.len());
    }
    world.finish().await;
}

#[tokio::test]
async fn bare_soap_arrives_and_is_answered() {
    let world = World::builder()
        .build(|call| {
            let request = String::from_utf8(call.body.to_vec()).unwrap();
            let answer = request.replace("<soap/>", "<soapResponse/>");
            Response::builder()
                .header("Content-Type", "text/xml")
                .body(Bytes::from(answer))
                .unwrap()
        })
        .await;
    let request = || {
        Request::post(world.running.server(0).url())
            .header("Content-Type", "text/xml; charset=utf-8")
    };
    let message = soap("id-1", "<soap/>");
    let answer = world.send(request(), message.clone()).await;
    let text = String::from_utf8(answer.body().to_vec()).unwrap();
    assert_eq!(answer.status(), 200);
    assert!(
        text.contains("<soapResponse/>") && text.contains("requestHash"),
        "{text}"
    );
    assert_eq!(answer.headers()["content-type"], "text/xml; charset=UTF-8");
    let call = world.system.calls().pop().unwrap();
    assert!(
        call.body == message,
        "the service gets the consumer's bytes"
    );
    assert_eq!(call.headers["content-type"], "text/xml; charset=UTF-8");
    world.finish().await;
}
