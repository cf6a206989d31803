//! Services offered with the SDK.

use std::convert::Infallible;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use jibek_sdk::Bytes;
use jibek_sdk::provider::{Caller, CallerError, Layer, ProviderLayer, json, serve, service_fn};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

async fn who(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let caller = Caller::of(&request).cloned().unwrap();
    let body = request
        .into_body()
        .collect()
        .await
        .map_or(0, |body| body.to_bytes().len());
    Ok(json(
        StatusCode::OK,
        &serde_json::json!({ "caller": format!("{caller:?}"), "body": body }),
    ))
}

/// Starts a service, and gives its address and what stops it.
async fn start() -> (
    String,
    oneshot::Sender<()>,
    tokio::task::JoinHandle<std::io::Result<()>>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let service = ProviderLayer::new().layer(service_fn(who));
    let task =
        tokio::spawn(async move { serve(listener, service, async { drop(stopped.await) }).await });
    (address, stop, task)
}

async fn ask(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_service_learns_who_calls() {
    let (address, _stop, _task) = start().await;
    let answer = ask(
        &address,
        b"POST /x HTTP/1.1\r\nHost: a\r\nX-Road-Client: KG/GOV/1/first\r\nX-Road-Client: KG/GOV/7%200/%D1%91\r\nx-road-id: m-1\r\nx-road-request-id: r-1\r\nx-road-userid: caf\xe9\r\nx-road-issue: 7/2026\r\nx-road-represented-party: COM/9\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for part in [
        "SUBSYSTEM:KG/GOV/7 0/\u{451}",
        "m-1",
        "r-1",
        "caf\u{e9}",
        "7/2026",
        "COM",
        "body\":3",
    ] {
        assert!(answer.contains(part), "{part} in {answer}");
    }
}

#[tokio::test]
async fn who_does_not_say_who_he_is_is_refused() {
    let (address, _stop, _task) = start().await;
    for (headers, reason) in [
        ("", "header x-road-client is missing"),
        (
            "x-road-client: KG/GOV/1/x\r\n",
            "header x-road-id is missing",
        ),
        (
            "x-road-client: KG\r\nx-road-id: 1\r\n",
            "header x-road-client is malformed",
        ),
        (
            "x-road-client: KG/GOV/1/x\r\nx-road-id: 1\r\nx-road-represented-party: a/b/c\r\n",
            "header x-road-represented-party is malformed",
        ),
    ] {
        let answer = ask(
            &address,
            format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}Connection: close\r\n\r\n").as_bytes(),
        )
        .await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer}"
        );
        assert!(answer.contains(reason), "{answer}");
    }
}

#[tokio::test]
async fn nonsense_ends_one_connection_and_nothing_else() {
    let (address, _stop, _task) = start().await;
    for nonsense in [
        &b"\0\0\0"[..],
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let _ = stream.write_all(nonsense).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    a_good_request_is_answered(&address).await;
}

async fn a_good_request_is_answered(address: &str) {
    let good = b"GET / HTTP/1.1\r\nHost: a\r\nx-road-client: KG/GOV/1/x\r\nx-road-id: 1\r\nConnection: close\r\n\r\n";
    assert!(ask(address, good).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn shutdown_finishes_what_is_under_way() {
    let (address, stop, task) = start().await;
    a_good_request_is_answered(&address).await;
    let mut idle = TcpStream::connect(&address).await.unwrap();
    let mut busy = TcpStream::connect(&address).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nx-road-client: KG/GOV/1/x\r\nx-road-id: 1\r\nContent-Length: 3\r\n\r\nab";
    busy.write_all(head).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.send(()).unwrap();
    assert_eq!(idle.read(&mut [0]).await.unwrap_or_default(), 0);
    busy.write_all(b"c").await.unwrap();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.contains("body\":3"),
        "{answer}"
    );
    task.await.unwrap().unwrap();
    assert!(TcpStream::connect(&address).await.is_err());
}

proptest! {
    #[test]
    fn any_headers_give_a_caller_or_a_reason(client in proptest::collection::vec(any::<u8>(), 0..40), id in "[ -~]{0,10}") {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&client) {
            headers.insert("x-road-client", value);
        }
        headers.insert("x-road-id", HeaderValue::from_str(&id).unwrap());
        match Caller::from_headers(&headers) {
            Ok(caller) => prop_assert_eq!(caller.message_id, id),
            Err(CallerError::Missing { name } | CallerError::Malformed { name, .. }) => prop_assert_eq!(name, "x-road-client"),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }
}
