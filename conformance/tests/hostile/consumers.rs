//! What information systems send and must not, and how they leave: each gets a clear fault, or nothing more to hear.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use jibek_conformance::{
    envelope,
    world::{CONSUMER, PROVIDER, World},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::scene::{echo, fault_code, works};

#[tokio::test(flavor = "multi_thread")]
async fn hostile_soap_gets_a_fault() {
    let world = World::builder().build(|_| echo()).await;
    let deep = format!("{}{}", "<a>".repeat(5_000), "</a>".repeat(5_000));
    let many = format!(
        "<a {}/>",
        (0..5_000)
            .map(|number| format!("a{number}=\"\" "))
            .collect::<String>()
    );
    let huge = format!("<a>{}</a>", "x".repeat(11 * 1024 * 1024));
    let soap = |content: &str| envelope::request(CONSUMER, PROVIDER, "soap", "1", content);
    let good = soap("");
    let declaration = "?>";
    let doctype = format!("{declaration}<!DOCTYPE a [<!ENTITY b \"c\">]>");
    let start = good.find("<m:soap").unwrap();
    let end = good.find("</m:soap>").unwrap() + "</m:soap>".len();
    for message in [
        good.replacen(declaration, &doctype, 1),
        soap(&deep),
        soap(&many),
        soap("<a>"),
        soap("&undefined;"),
        format!("{}{}", &good[..start], &good[end..]),
        soap(&huge),
        "not xml".to_owned(),
        String::new(),
    ] {
        let request =
            Request::post(world.running.server(0).url()).header("Content-Type", "text/xml");
        let shown: String = message.chars().take(60).collect();
        let answer = world.send(request, message).await;
        let code = fault_code(&answer);
        assert!(code.starts_with("client."), "{shown}: {code}");
    }
    assert!(world.system.calls().is_empty());
    works(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_never_reaches_the_service() {
    let world = World::builder().build(|_| echo()).await;
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
    works(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
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
    works(&world).await;
    drop(slow);
    works(&world).await;
    world.finish().await;
}
