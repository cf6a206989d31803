//! What security servers refuse, in every form and spelling, and what is no security server at all.

use jibek_sdk::{Blame, CallError, Method, Repeat};
use proptest::prelude::*;

use super::support::{Read, Step, answer, consumer, fault, raw, service, write};

const UUID: &str = "c686ba1c-8130-46b3-aedc-926725e7a1b1";

fn json(code: &str) -> String {
    format!(r#"{{"type":"{code}","message":"Request is not allowed: \"x\"","detail":"{UUID}"}}"#)
}

fn xml(code: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><error><type>{code}</type><message>Request is not allowed: &quot;x&quot;</message><detail>{UUID}</detail></error>"#
    )
}

async fn call(answer: Vec<u8>) -> CallError {
    let server = raw(Read::All, move |_| vec![write(answer.clone()), Step::Close]).await;
    consumer(&server.address)
        .rest(&service("persons"))
        .send()
        .await
        .unwrap_err()
}

#[tokio::test]
async fn faults_are_read_in_both_forms_and_spellings() {
    for code in [
        "server.serverproxy.access_denied",
        "Server.ServerProxy.AccessDenied",
    ] {
        for (kind, document) in [
            ("application/json", json(code)),
            ("application/json;charset=utf-8", json(code)),
            ("text/xml;charset=utf-8", xml(code)),
            ("application/xml;charset=utf-8", xml(code)),
        ] {
            for status in ["500 Server Error", "400 Bad Request"] {
                let error = call(fault(status, code, kind, &document)).await;
                let fault = error.fault().unwrap_or_else(|| panic!("{error:?}"));
                assert_eq!(fault.code(), "server.serverproxy.access_denied");
                assert_eq!(fault.message(), "Request is not allowed: \"x\"");
                assert_eq!(fault.detail(), Some(UUID));
                assert_eq!(
                    (error.blame(), error.repeat()),
                    (Blame::Consumer, Repeat::No)
                );
                assert!(
                    error
                        .to_string()
                        .ends_with(": Request is not allowed: \"x\"")
                );
            }
        }
    }
}

#[tokio::test]
async fn blame_and_repeat_follow_the_code() {
    for (code, blame, repeat) in [
        ("Client.InvalidSoapAction", Blame::Consumer, Repeat::No),
        (
            "server.clientproxy.global_conf_outdated",
            Blame::Us,
            Repeat::Later,
        ),
        (
            "Server.ClientProxy.OutdatedGlobalConf",
            Blame::Us,
            Repeat::Later,
        ),
        ("server.clientproxy.network_error", Blame::Peer, Repeat::Yes),
        (
            "server.serverproxy.service_disabled",
            Blame::Service,
            Repeat::Later,
        ),
        (
            "Server.ServerProxy.ServiceFailed.HttpError",
            Blame::Service,
            Repeat::No,
        ),
    ] {
        let error = call(fault(
            "500 Server Error",
            code,
            "application/json",
            &json(code),
        ))
        .await;
        assert_eq!((error.blame(), error.repeat()), (blame, repeat), "{code}");
    }
}

#[tokio::test]
async fn a_recorded_fault_is_read() {
    let Some(recorded) = super::support::fixture("wire/rest-denied.to-consumer") else {
        return super::support::skipped("a_recorded_fault_is_read");
    };
    let head = recorded
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap()
        + 4;
    let (head, body) = recorded.split_at(head);
    // The recording shows the body without its chunks.
    let mut answer = head.to_vec();
    answer.extend(format!("{:x}\r\n", body.len()).into_bytes());
    answer.extend_from_slice(body);
    answer.extend_from_slice(b"\r\n0\r\n\r\n");
    let error = call(answer).await;
    assert_eq!(
        error.fault().unwrap().code(),
        "server.serverproxy.access_denied"
    );
    assert_eq!(
        error.fault().unwrap().message(),
        "Request is not allowed: SERVICE:DEV/COM/2222/Provider/noacl"
    );
    assert_eq!(
        error.fault().unwrap().detail(),
        Some("c686ba1c-8130-46b3-aedc-926725e7a1b1")
    );
}

#[tokio::test]
async fn a_fault_without_a_readable_document_is_still_that_fault() {
    let code = "server.serverproxy.access_denied";
    let whole = fault("500 Server Error", code, "application/json", &json(code));
    for answer in [
        whole[..whole.len() - 20].to_vec(),
        fault("500 Server Error", code, "application/json", "[]"),
        fault("500 Server Error", code, "application/json", "\u{0}"),
        fault("500 Server Error", code, "text/xml", "<error><message>cut"),
        fault(
            "500 Server Error",
            code,
            "text/xml",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><error><message>&b;</message></error>",
        ),
        fault("500 Server Error", code, "text/html", "<html>"),
        fault(
            "500 Server Error",
            code,
            "application/json",
            &format!(r#"{{"message":"{}"}}"#, "x".repeat(100_000)),
        ),
        format!("HTTP/1.1 500 X\r\nX-Road-Error: {code}\r\n\r\n").into_bytes(),
    ] {
        let error = call(answer.clone()).await;
        let fault = error
            .fault()
            .unwrap_or_else(|| panic!("{error:?} {}", String::from_utf8_lossy(&answer)));
        assert_eq!(fault.code(), code);
        assert_eq!(fault.message(), "");
    }
}

#[tokio::test]
async fn a_head_request_learns_the_code() {
    let server = raw(Read::All, |_| {
        vec![write(
            "HTTP/1.1 400 Bad Request\r\nX-Road-Error: client.x\r\nContent-Length: 99\r\n\r\n",
        )]
    })
    .await;
    let error = consumer(&server.address)
        .rest(&service("persons"))
        .method(Method::HEAD)
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.fault().unwrap().code(), "client.x");
}

#[tokio::test]
async fn a_services_own_error_header_makes_no_fault() {
    let server = raw(Read::All, |seen| {
        vec![write(answer(
            seen,
            "500 Oops",
            "X-Road-Error: server.x\r\n",
            b"oops",
        ))]
    })
    .await;
    let mut reply = consumer(&server.address)
        .rest(&service("persons"))
        .send()
        .await
        .unwrap();
    assert_eq!(reply.bytes(10).await.unwrap(), "oops");
}

#[tokio::test]
async fn what_is_no_security_server_is_told_apart() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        "HTTP/1.1 431 Too Large\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-road-request-hash:\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 500 X\r\nX-Road-Error:\r\nContent-Length: 0\r\n\r\n",
    ] {
        let error = call(answer.into()).await;
        assert!(
            matches!(error, CallError::NotFromServer { .. }),
            "{error:?}"
        );
        assert_eq!((error.blame(), error.repeat()), (Blame::Us, Repeat::No));
    }
}

#[tokio::test]
async fn nonsense_is_a_transport_error() {
    for answer in [
        &b"\0\0\0\0"[..],
        b"SSH-2.0-x\r\n",
        b"",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx",
        b"\x15\x03\x03\0\x02\x02\x28",
    ] {
        let error = call(answer.to_vec()).await;
        assert!(
            matches!(error, CallError::Transport { safe: true, .. }),
            "{error:?}"
        );
        assert_eq!((error.blame(), error.repeat()), (Blame::Us, Repeat::Later));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_answer_is_taken_for_a_reply_by_chance(head in "[ -~\r\n]{0,80}", body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").into_bytes();
        answer.extend(body);
        let error = runtime.block_on(call(answer));
        prop_assert!(matches!(error, CallError::NotFromServer { .. } | CallError::Transport { .. } | CallError::Deadline { .. }), "{:?}", error);
    }
}
