//! Asking for containers.

use jibek_sdk::{CallError, EvidenceError, ReadError};

use super::support::{Raw, Read, consumer, raw, write};

async fn server(status: &'static str, kind: &'static str, body: &'static str) -> Raw {
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    raw(Read::All, move |_| vec![write(answer.clone())]).await
}

#[tokio::test]
async fn a_container_is_asked_for_by_the_clients_own_name() {
    let server = server("200 OK", "application/zip", "PK").await;
    let consumer = consumer(&server.address);
    assert_eq!(consumer.container("a b&c/1").await.unwrap(), "PK");
    let target = |seen: super::support::Seen| seen.head.lines().next().unwrap().to_owned();
    let common = "GET /asic?queryId=a%20b%26c%2F1&xRoadInstance=KG&memberClass=GOV&memberCode=70000009&subsystemCode=notary";
    assert_eq!(target(server.last()), format!("{common} HTTP/1.1"));
    let container = consumer.evidence("a b&c/1").request().send().await.unwrap();
    assert_eq!(container.content_type(), "application/zip");
    assert_eq!(
        target(server.last()),
        format!("{common}&requestOnly&unique HTTP/1.1")
    );
    let _ = consumer
        .evidence("a b&c/1")
        .response()
        .all()
        .force()
        .send()
        .await
        .unwrap();
    assert_eq!(
        target(server.last()),
        format!("{common}&responseOnly&force HTTP/1.1")
    );
}

#[tokio::test]
async fn refusals_are_told_apart() {
    for (status, kind, body, expected) in [
        (
            "404 Not Found",
            "text/plain; charset=UTF-8",
            "No signed documents found",
            "NotFound",
        ),
        (
            "401 Unauthorized",
            "text/plain; charset=UTF-8",
            "Client 'SUBSYSTEM:KG' not found",
            "NotAllowed",
        ),
        (
            "500 Server Error",
            "text/plain; charset=UTF-8",
            "Message signature has not been timestamped yet!",
            "NotStamped",
        ),
        (
            "500 Server Error",
            "text/plain;charset=utf-8",
            "disk on fire",
            "Refused",
        ),
        (
            "400 Bad Request",
            "text/plain",
            "Parameter \"queryId\"  must be specified.",
            "Refused",
        ),
        ("502 Bad Gateway", "text/html", "<html>", "Call"),
    ] {
        let server = server(status, kind, body).await;
        let error = consumer(&server.address).container("m").await.unwrap_err();
        let found = format!("{error:?}");
        assert!(found.starts_with(expected), "{found}");
        if let EvidenceError::Refused { message, .. } | EvidenceError::NotAllowed { message } =
            error
        {
            assert_eq!(message, body);
        }
    }
}

#[tokio::test]
async fn a_container_cut_off_is_an_error() {
    let server = raw(Read::All, |_| {
        vec![
            write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nPK"),
            super::support::Step::Close,
        ]
    })
    .await;
    let error = consumer(&server.address).container("m").await.unwrap_err();
    assert!(
        matches!(error, EvidenceError::Read(ReadError::Truncated(_))),
        "{error:?}"
    );
    let error = consumer("http://127.0.0.1:1")
        .container("m")
        .await
        .unwrap_err();
    assert!(
        matches!(error, EvidenceError::Call(CallError::Connect { .. })),
        "{error:?}"
    );
}
