use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// Answers one connection with these bytes after the request was read; returns what was read.
async fn service(answer: Vec<u8>, close: bool) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/tsa", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"query") {
            let mut chunk = [0; 1024];
            let count = stream.read(&mut chunk).await.unwrap();
            seen.extend_from_slice(&chunk[..count]);
        }
        stream.write_all(&answer).await.unwrap();
        if !close {
            // Held open until the client leaves.
            let mut chunk = [0; 16];
            let _left = stream.read(&mut chunk).await;
        }
        seen
    });
    (url, task)
}

fn outbound() -> Outbound {
    Outbound::new(Duration::from_secs(5), Duration::from_millis(200), 64).unwrap()
}

async fn post(url: &str) -> Result<Bytes, OutboundError> {
    outbound()
        .post(
            url,
            "application/timestamp-query",
            Some("x/y"),
            &b"query"[..],
        )
        .await
}

#[tokio::test]
async fn a_good_answer_is_returned_and_the_request_is_what_was_meant() {
    let (url, task) = service(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nreply".to_vec(),
        false,
    )
    .await;
    assert_eq!(&post(&url).await.unwrap()[..], b"reply");
    let seen = String::from_utf8(task.await.unwrap()).unwrap();
    assert!(seen.starts_with("POST /tsa HTTP/1.1\r\n"), "{seen}");
    assert!(
        seen.contains("content-type: application/timestamp-query\r\n"),
        "{seen}"
    );
    assert!(seen.contains("accept: x/y\r\n"), "{seen}");
    assert!(seen.contains("content-length: 5\r\n"), "{seen}");
}

#[tokio::test]
async fn other_statuses_and_redirects_are_errors() {
    for status in [201_u16, 302, 404, 500] {
        let answer =
            format!("HTTP/1.1 {status} X\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n");
        let (url, _task) = service(answer.into_bytes(), false).await;
        match post(&url).await {
            Err(OutboundError::Status { status: got, .. }) => assert_eq!(got, status),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_long_answer_is_cut_off() {
    let mut answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    answer.extend([b'x'; 65]);
    let (url, _task) = service(answer, true).await;
    assert!(matches!(
        post(&url).await,
        Err(OutboundError::TooLong { most_bytes: 64, .. })
    ));
}

#[tokio::test]
async fn silence_and_half_an_answer_run_into_the_deadline() {
    let quick = Outbound::new(Duration::from_millis(50), Duration::from_millis(50), 64).unwrap();
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nre"] {
        let (url, _task) = service(answer.to_vec(), false).await;
        let result = quick.post(&url, "a/b", None, &b"query"[..]).await;
        assert!(
            matches!(result, Err(OutboundError::TimedOut { .. })),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn a_broken_answer_and_a_closed_port_are_told_apart() {
    let (url, _task) = service(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nre".to_vec(),
        true,
    )
    .await;
    assert!(matches!(post(&url).await, Err(OutboundError::Body { .. })));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = post(&url).await.unwrap_err();
    assert!(
        matches!(error, OutboundError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(chain(&error).contains("refused"), "{}", chain(&error));
}

#[tokio::test]
async fn other_schemes_are_refused_before_anything_is_sent() {
    assert!(matches!(
        post("ftp://127.0.0.1/").await,
        Err(OutboundError::Scheme { .. })
    ));
    assert!(matches!(
        post("not an address").await,
        Err(OutboundError::Url { .. })
    ));
}
