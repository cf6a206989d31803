use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use http_body_util::BodyExt;
use jibek_certs::time::TestClock;
use time::macros::datetime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use super::*;

fn admin(checks: Checks) -> Admin {
    Admin {
        checks: Arc::new(checks),
        metrics: Metrics::new(),
        clock: Arc::new(TestClock::new(datetime!(2026-11-23 05:00 UTC))),
        drain: Drain::new(),
    }
}

async fn get_page(admin: &Admin, path: &str) -> (u16, String) {
    let request = http::Request::builder()
        .uri(path)
        .body(Body::empty())
        .unwrap();
    let answer = router(admin.clone()).oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn readiness_names_each_reason_and_counts_down() {
    let broken = Arc::new(AtomicBool::new(false));
    let admin = admin(
        Checks::new()
            .with_fn("configuration", |_| CheckState::Ready {
                note: None,
                seconds_left: Some(540),
            })
            .with_fn("log", {
                let broken = Arc::clone(&broken);
                move |_| {
                    if broken.load(Ordering::Relaxed) {
                        CheckState::not_ready("the disk is full")
                    } else {
                        CheckState::ready()
                    }
                }
            }),
    );
    let (status, body) = get_page(&admin, "/readyz").await;
    assert_eq!(status, 200);
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"ready": true, "at": "2026-11-23T05:00:00Z", "checks": [
            {"name": "configuration", "ready": true, "seconds_left": 540},
            {"name": "log", "ready": true},
        ]})
    );
    broken.store(true, Ordering::Relaxed);
    let (status, body) = get_page(&admin, "/readyz").await;
    assert_eq!(status, 503);
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["ready"], false);
    assert_eq!(
        json["checks"][1],
        serde_json::json!({"name": "log", "ready": false, "reason": "the disk is full"})
    );
    let report = admin.checks.report(admin.clock.now()).await;
    assert_eq!(
        report.reasons().collect::<Vec<_>>(),
        [("log", "the disk is full")]
    );
}

#[tokio::test]
async fn a_draining_server_is_alive_but_not_ready() {
    let admin = admin(Checks::new());
    assert_eq!(get_page(&admin, "/readyz").await.0, 200);
    admin.drain.begin();
    let (status, body) = get_page(&admin, "/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("shutting down"), "{body}");
    assert_eq!(
        get_page(&admin, "/healthz").await,
        (200, "alive\n".to_owned())
    );
}

#[tokio::test]
async fn metrics_are_shown_and_nothing_else_is_there() {
    let admin = admin(Checks::new());
    let (status, body) = get_page(&admin, "/metrics").await;
    assert_eq!(status, 200);
    assert!(body.starts_with("# HELP jibek_"), "{body}");
    assert_eq!(get_page(&admin, "/").await.0, 404);
}

#[tokio::test]
async fn the_listener_serves_until_told_otherwise() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let end = Drain::new();
    let served = tokio::spawn({
        let end = end.clone();
        async move {
            serve(listener, router(admin(Checks::new())), async {
                end.requested().await
            })
            .await
        }
    });
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    end.begin();
    served.await.unwrap().unwrap();
}
