//! Bodies in both directions: large, slow, cut off, never-ending.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use jibek_sdk::{Blame, Body, BodyError, Bytes, CallError, Method, Phase, ReadError, Repeat};

use proptest::prelude::*;

use super::support::{Read, Step, answer, consumer, fault, impatient, raw, service, write};

const SHORT: Duration = Duration::from_millis(250);

/// An answer whose announced length is larger than the body that follows at once.
fn opened(seen: &super::support::Seen, missing: usize, body: &[u8]) -> Vec<u8> {
    let announced = answer(seen, "200 OK", "", &vec![0; body.len() + missing]);
    let mut bytes = announced[..announced.len() - body.len() - missing].to_vec();
    bytes.extend_from_slice(body);
    bytes
}

#[tokio::test]
async fn a_large_upload_streams_and_its_digest_is_known() {
    let server = raw(Read::All, |seen| {
        vec![write(answer(seen, "200 OK", "", b""))]
    })
    .await;
    let chunks = || (0..200_u8).map(|byte| Bytes::from(vec![byte; 50_000]));
    let whole: Vec<u8> = chunks().flatten().collect();
    let bodies = [
        Body::from_stream(stream::iter(chunks().map(Ok::<_, std::io::Error>))),
        Body::from_stream(stream::iter(chunks().map(Ok::<_, std::io::Error>)))
            .with_length(10_000_000),
        Body::from_reader(std::io::Cursor::new(whole.clone())),
        Body::from_async_reader(std::io::Cursor::new(whole.clone())).with_length(10_000_000),
        Body::from_bytes(whole.clone()),
    ];
    let expected =
        jibek_certs::digest::digest(jibek_certs::digest::DigestAlgorithm::Sha512, &whole);
    for body in bodies {
        let shown = format!("{body:?}");
        let reply = consumer(&server.address)
            .rest(&service("deeds"))
            .method(Method::POST)
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(reply.sent_digest(), Some(&expected), "{shown}");
        assert_eq!(
            reply.hash_check(),
            jibek_sdk::HashCheck::Confirmed,
            "{shown}"
        );
        let seen = server.last();
        assert!(seen.body == whole, "{shown}");
        assert_eq!(
            seen.header("content-length").is_some(),
            shown.contains("Some"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_large_reply_streams() {
    let server = raw(Read::All, |seen| {
        vec![write(answer(seen, "200 OK", "", &vec![7; 3_000_000]))]
    })
    .await;
    let consumer = consumer(&server.address);
    let send = || consumer.rest(&service("deeds")).send();
    let mut total = 0;
    let mut body = Box::pin(send().await.unwrap().into_stream());
    while let Some(chunk) = body.next().await {
        total += chunk.unwrap().len();
    }
    assert_eq!(total, 3_000_000);
    let mut copy = Vec::new();
    assert_eq!(
        send().await.unwrap().copy_to(&mut copy).await.unwrap(),
        3_000_000
    );
    assert_eq!(copy.len(), 3_000_000);
    assert_eq!(
        send().await.unwrap().bytes(3_000_000).await.unwrap().len(),
        3_000_000
    );
    let error = send().await.unwrap().bytes(2_999_999).await.unwrap_err();
    assert!(
        matches!(
            error,
            ReadError::TooLarge {
                limit_bytes: 2_999_999
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_truncated_reply_is_never_taken_for_a_whole_one() {
    let server = raw(Read::All, |seen| {
        vec![write(opened(seen, 1, b"almost")), Step::Close]
    })
    .await;
    let mut reply = consumer(&server.address)
        .rest(&service("deeds"))
        .send()
        .await
        .unwrap();
    let error = reply.bytes(100).await.unwrap_err();
    assert!(matches!(error, ReadError::Truncated(_)), "{error:?}");
    assert_eq!(CallError::from(error).blame(), Blame::Us);

    let server = raw(Read::All, |seen| {
        let text = String::from_utf8(answer(seen, "200 OK", "", b"")).unwrap();
        vec![
            write(text.replace(
                "Content-Length: 0\r\n\r\n",
                "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            )),
            Step::Close,
        ]
    })
    .await;
    let mut reply = consumer(&server.address)
        .rest(&service("deeds"))
        .send()
        .await
        .unwrap();
    assert_eq!(reply.chunk().await.unwrap().unwrap(), "abc");
    let error = reply.chunk().await.unwrap_err();
    assert!(matches!(error, ReadError::Truncated(_)), "{error:?}");
}

#[tokio::test]
async fn a_reply_that_stops_is_given_up() {
    let server = raw(Read::All, |seen| {
        vec![write(opened(seen, 1, b"almost")), Step::Hold]
    })
    .await;
    let mut reply = impatient(&server.address, SHORT)
        .rest(&service("deeds"))
        .send()
        .await
        .unwrap();
    let error = reply.bytes(100).await.unwrap_err();
    assert!(
        matches!(error, ReadError::Deadline { waited } if waited == SHORT),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_reply_without_end_fills_no_memory() {
    let server = raw(Read::All, |seen| {
        let text = String::from_utf8(answer(seen, "200 OK", "", b"")).unwrap();
        let head = text.replace(
            "Content-Length: 0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n",
        );
        vec![write(head), Step::Forever(b"5\r\nagain\r\n".to_vec())]
    })
    .await;
    let mut reply = consumer(&server.address)
        .rest(&service("deeds"))
        .send()
        .await
        .unwrap();
    let error = reply.bytes(100_000).await.unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { .. }), "{error:?}");
    assert_eq!(CallError::from(error).blame(), Blame::Consumer);
}

#[tokio::test]
async fn slow_is_not_dead() {
    let third = SHORT / 3;
    let server = raw(Read::All, move |seen| {
        let mut steps = vec![Step::Pause(third), write(opened(seen, 9, b""))];
        (0..9).for_each(|_| steps.extend([Step::Pause(third), write("x")]));
        steps
    })
    .await;
    let slow = stream::iter(0..9).then(move |_| async move {
        tokio::time::sleep(third).await;
        Ok::<_, std::io::Error>(Bytes::from_static(b"y"))
    });
    let call = impatient(&server.address, SHORT)
        .rest(&service("deeds"))
        .method(Method::POST)
        .body(Body::from_stream(slow));
    let mut reply = call.send().await.unwrap();
    assert_eq!(reply.bytes(100).await.unwrap(), "xxxxxxxxx");
    assert_eq!(server.last().body, b"yyyyyyyyy");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    for (method, safe) in [
        (Method::GET, true),
        (Method::PUT, true),
        (Method::POST, false),
        (Method::PATCH, false),
    ] {
        let server = raw(Read::All, |_| vec![Step::Hold]).await;
        let call = impatient(&server.address, SHORT)
            .rest(&service("deeds"))
            .method(method.clone())
            .body("x");
        let error = call.send().await.unwrap_err();
        assert!(
            matches!(
                error,
                CallError::Deadline {
                    phase: Phase::Answer,
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!(
            error.repeat(),
            if safe { Repeat::Later } else { Repeat::No },
            "{method}"
        );
    }
}

#[tokio::test]
async fn a_server_that_stops_reading_is_given_up() {
    let server = raw(Read::HeadOnly, |_| vec![Step::Hold]).await;
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 60_000])));
    let call = impatient(&server.address, SHORT)
        .rest(&service("deeds"))
        .method(Method::POST);
    let error = call
        .body(Body::from_stream(endless))
        .send()
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            CallError::Deadline {
                phase: Phase::Answer,
                safe: false,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_stream_of_the_callers_that_stalls_is_given_up() {
    let server = raw(Read::All, |_| vec![]).await;
    let stalled = stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"x")) })
        .chain(stream::pending());
    let call = impatient(&server.address, SHORT)
        .rest(&service("deeds"))
        .method(Method::POST);
    let error = call
        .body(Body::from_stream(stalled))
        .send()
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Deadline { .. }), "{error:?}");
}

#[tokio::test]
async fn a_fault_in_the_middle_of_an_upload_is_seen() {
    let code = "server.clientproxy.unknown_member";
    let server = raw(Read::HeadOnly, move |_| {
        // Answers at once, then reads what comes and throws it away, as a Jibek server does.
        vec![
            write(fault("500 Server Error", code, "application/json", "{}")),
            Step::Pause(SHORT * 4),
        ]
    })
    .await;
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 60_000])));
    let call = consumer(&server.address)
        .rest(&service("deeds"))
        .method(Method::POST);
    let error = call
        .body(Body::from_stream(endless))
        .send()
        .await
        .unwrap_err();
    assert_eq!(
        error.fault().unwrap_or_else(|| panic!("{error:?}")).code(),
        code
    );
}

#[tokio::test]
async fn a_broken_source_is_the_callers_fault() {
    let server = raw(Read::All, |seen| {
        vec![write(answer(seen, "200 OK", "", b""))]
    })
    .await;
    let post = |body| {
        consumer(&server.address)
            .rest(&service("deeds"))
            .method(Method::POST)
            .body(body)
            .send()
    };
    let broken = || {
        let chunks = [
            Ok(Bytes::from_static(b"x")),
            Err(std::io::Error::other("disk on fire")),
        ];
        Body::from_stream(stream::iter(chunks))
    };
    for body in [broken(), broken().with_length(2)] {
        let error = post(body).await.unwrap_err();
        assert!(
            matches!(&error, CallError::Body(BodyError::Source(_))),
            "{error:?}"
        );
        assert_eq!(
            (error.blame(), error.repeat()),
            (Blame::Consumer, Repeat::No)
        );
    }
    for (announced, given) in [(5, "four"), (3, "four"), (1, "")] {
        let chunks = [Ok::<_, std::io::Error>(Bytes::from_static(
            given.as_bytes(),
        ))];
        let error = post(Body::from_stream(stream::iter(chunks)).with_length(announced))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, CallError::Body(BodyError::Length { .. })),
            "{announced} {error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_apart_from_one_that_went_away() {
    let error = consumer("http://127.0.0.1:1")
        .rest(&service("deeds"))
        .method(Method::POST)
        .send()
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }), "{error:?}");
    assert_eq!((error.blame(), error.repeat()), (Blame::Us, Repeat::Later));

    let server = raw(Read::All, |_| vec![Step::Close]).await;
    let error = consumer(&server.address)
        .rest(&service("deeds"))
        .method(Method::POST)
        .body("x")
        .send()
        .await
        .unwrap_err();
    assert!(
        matches!(error, CallError::Transport { safe: false, .. }),
        "{error:?}"
    );
    assert_eq!((error.blame(), error.repeat()), (Blame::Us, Repeat::No));
}

#[tokio::test]
async fn a_server_that_answers_and_hangs_up_leaves_a_fault_or_a_broken_connection() {
    let code = "server.clientproxy.unknown_member";
    let server = raw(Read::HeadOnly, move |_| {
        // As a Java server does: it answers, and closes with the upload unread.
        vec![
            write(fault("500 X", code, "application/json", "{}")),
            Step::Close,
        ]
    })
    .await;
    for _ in 0..20 {
        let endless =
            stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 60_000])));
        let call = consumer(&server.address)
            .rest(&service("deeds"))
            .method(Method::POST);
        match call
            .body(Body::from_stream(endless))
            .send()
            .await
            .unwrap_err()
        {
            CallError::Fault(found) => assert_eq!(found.code(), code),
            CallError::Transport { safe: false, .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_body_arrives_whole_however_it_is_cut(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2_000), 0..12),
        announced in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let whole = chunks.concat();
        let (reply, seen) = runtime.block_on(async {
            let server = raw(Read::All, |seen| vec![write(answer(seen, "200 OK", "", &seen.body))]).await;
            let stream = stream::iter(chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from(chunk))));
            let mut body = Body::from_stream(stream);
            if announced {
                body = body.with_length(u64::try_from(whole.len()).unwrap());
            }
            let call = consumer(&server.address).rest(&service("deeds")).method(Method::PUT).body(body);
            let mut reply = call.send().await.unwrap();
            assert_eq!(reply.hash_check(), jibek_sdk::HashCheck::Confirmed);
            (reply.bytes(100_000).await.unwrap(), server.last())
        });
        prop_assert_eq!(&seen.body, &whole);
        prop_assert_eq!(reply, whole);
    }
}
