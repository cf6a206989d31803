//! REST: methods, bodies, paths, headers, statuses.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, request::Builder};
use jibek_conformance::world::{CONSUMER, PROVIDER, World};

use super::{Left, proved, request_hash, value, world};

/// Method, body, path, and the answer's body if it has one.
type Case = (
    &'static str,
    &'static [u8],
    &'static str,
    Option<&'static [u8]>,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_reaches_the_provider_and_every_answer_the_consumer() {
    let world = world().await;
    let body = b"{\"name\": \"\xd0\x90\xd0\xb9\xd0\xb6\xd0\xb0\xd0\xbd\"}\r\n".as_slice();
    let cases: [Case; 14] = [
        ("GET", b"", "/echo", Some(b"")),
        ("POST", body, "/echo", Some(body)),
        ("POST", b"", "/echo", Some(b"")),
        ("PUT", body, "/echo", Some(body)),
        ("PATCH", body, "/echo", Some(body)),
        ("DELETE", body, "/201", Some(b"status 201")),
        ("DELETE", b"", "/204", None),
        ("HEAD", b"", "/200", None),
        ("OPTIONS", b"", "/empty", Some(b"")),
        ("GET", b"", "/404", Some(b"status 404")),
        ("GET", b"", "/500", Some(b"status 500")),
        ("GET", b"", "/302", Some(b"status 302")),
        ("GET", b"", "/304", None),
        ("POST", b"\0", "", Some(b"\0")),
    ];
    let mut answered = Vec::new();
    for (number, (method, sent, path, expected)) in cases.iter().enumerate() {
        let id = format!("method/{number} %2F;é");
        let request = world
            .rest(method, path)
            .header("X-Road-Id", HeaderValue::from_bytes(&latin1(&id)).unwrap())
            .header("Content-Type", "application/x-test");
        let answer = world.send(request, sent.to_vec()).await;
        let what = format!("{method} {path} with {} bytes", sent.len());
        let status: u16 = path.trim_start_matches('/').parse().unwrap_or(200);
        assert_eq!(answer.status(), status, "{what}");
        if *method != "HEAD" {
            assert_eq!(answer.body(), expected.unwrap_or_default(), "{what}");
        }
        let call = world.system.calls().pop().unwrap();
        assert_eq!(call.method, Method::from_bytes(method.as_bytes()).unwrap());
        assert_eq!(call.uri.path(), format!("/rest{path}"), "{what}");
        assert_eq!(call.body, *sent, "{what}");
        assert_eq!(value(&call.headers, "content-type"), "application/x-test");
        assert_eq!(value(&call.headers, "x-road-client"), CONSUMER);
        assert_eq!(call.headers["x-road-id"], *latin1(&id));
        assert_eq!(
            value(&call.headers, "x-road-request-id"),
            value(answer.headers(), "x-road-request-id"),
        );
        assert_eq!(answer.headers()["x-road-id"], *latin1(&id));
        assert_eq!(value(answer.headers(), "x-road-client"), CONSUMER);
        assert_eq!(
            value(answer.headers(), "x-road-service"),
            format!("{PROVIDER}/rest")
        );
        if status != 200 {
            assert_eq!(value(answer.headers(), "content-type"), "text/x-status");
            assert_eq!(
                value(answer.headers(), "location"),
                "http://elsewhere.test/a%2Fb"
            );
            let cookies: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
            assert_eq!(cookies, ["a=1", "b=2"]);
            assert_eq!(answer.headers()["x-own"], b"M\xfcnze".as_slice());
        }
        answered.push((id, answer));
    }
    assert_eq!(world.system.calls().len(), cases.len(), "each call once");

    world.stamp().await;
    for ((_, sent, _, expected), (id, answer)) in cases.iter().zip(&answered) {
        let request_body = Some(*sent).filter(|sent| !sent.is_empty());
        let proofs = proved(
            &world,
            &Left {
                id,
                request_body,
                answer_body: *expected,
            },
        )
        .await;
        assert_eq!(
            value(answer.headers(), "x-road-request-hash"),
            request_hash(&proofs.requests[0].message, request_body),
            "{id}"
        );
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn path_query_and_headers_pass_byte_for_byte() {
    let world = world().await;
    let paths = [
        "/",
        "/a/b?x=1&y=%20z&y=",
        "/a?",
        "/a%2Fb;p=1/%D0%90?q=%2f&q=a+b;c",
        "/a%3Fb%23c",
        "/a//b/../c/./d",
        "/%252e%5C",
        "/:@!$&'()*+,=-._~",
        "/x?{}|^`[]",
    ];
    for (number, path) in paths.into_iter().enumerate() {
        let id = format!("path-{number}");
        let request = repeated(world.rest("GET", path).header("X-Road-Id", &id));
        let answer = world.send(request, "").await;
        let java_refuses = path.contains('{');
        if java_refuses {
            // No peer could read such a block.
            assert_eq!(answer.status(), 500, "{path}");
            continue;
        }
        assert_eq!(answer.status(), 200, "{path}: {:?}", answer.body());
        let call = world.system.calls().pop().unwrap();
        assert_eq!(
            call.uri.path_and_query().unwrap().as_str(),
            format!("/rest{path}"),
        );
        let seen = |name: &str| -> Vec<Vec<u8>> {
            let values = call.headers.get_all(name).iter();
            values.map(|value| value.as_bytes().to_vec()).collect()
        };
        assert_eq!(
            seen("x-custom"),
            [b"One".to_vec(), b"two, three".to_vec(), Vec::new()]
        );
        assert_eq!(seen("x-latin"), [b"caf\xe9 \xff".to_vec()]);
        assert_eq!(seen("x-road-userid"), [b"KG123".to_vec()]);
        assert_eq!(seen("x-road-issue"), [b"case 7".to_vec()]);
        assert_eq!(seen("authorization"), [b"Basic YTpi".to_vec()]);
        assert_eq!(seen("cookie"), [b"sid=1".to_vec()]);
        // Of one hop only, or not the consumer's to say.
        for name in ["te", "keep-alive", "expect", "x-road-request-hash"] {
            assert_eq!(seen(name), Vec::<Vec<u8>>::new(), "{name}");
        }
        assert_eq!(seen("x-road-request-id").len(), 1);
        assert_ne!(seen("x-road-request-id"), [b"mine".to_vec()]);
        assert_ne!(seen("user-agent"), [b"consumer".to_vec()]);
        assert_eq!(
            seen("host"),
            [world.system.address().to_string().into_bytes()]
        );
    }
    world.stamp().await;
    for (number, path) in paths.into_iter().enumerate() {
        if path.contains('{') {
            continue;
        }
        let left = Left {
            id: &format!("path-{number}"),
            request_body: None,
            answer_body: Some(b""),
        };
        let proofs = proved(&world, &left).await;
        let block = String::from_utf8(proofs.requests[0].message.to_vec()).unwrap();
        let mut lines = block.split("\r\n");
        assert_eq!(lines.next(), Some("GET"));
        assert_eq!(
            lines.next(),
            Some(format!("/r1/{PROVIDER}/rest{path}").as_str())
        );
        assert!(block.contains("\r\nx-latin:café ÿ\r\n"), "{block}");
    }
    world.finish().await;
}

/// Header bytes are Latin-1, in both directions.
fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|char| u8::try_from(char).unwrap())
        .collect()
}

fn repeated(request: Builder) -> Builder {
    request
        .header("X-Custom", "One")
        .header("x-custom", "two, three")
        .header("X-CUSTOM", "")
        .header("X-Latin", HeaderValue::from_bytes(b"caf\xe9 \xff").unwrap())
        .header("X-Road-UserId", "KG123")
        .header("X-Road-Issue", "case 7")
        .header("X-Road-Request-Id", "mine")
        .header("X-Road-Request-Hash", "mine")
        .header("Authorization", "Basic YTpi")
        .header("Cookie", "sid=1")
        .header("User-Agent", "consumer")
        .header("TE", "trailers")
        .header("Keep-Alive", "timeout=5")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_are_invented_when_absent_and_may_be_used_again() {
    // Each answer differs, so that answers cannot be mixed up unnoticed.
    let count = AtomicU32::new(0);
    let world = World::builder()
        .build(move |_| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            Response::new(Bytes::from(format!("answer {number}")))
        })
        .await;
    let answer = world.send(world.rest("GET", "/x"), "").await;
    let invented = value(answer.headers(), "x-road-id").to_owned();
    let uuid = invented.strip_prefix("TEST-").unwrap();
    assert_eq!(uuid::Uuid::parse_str(uuid).unwrap().get_version_num(), 4);
    let call = world.system.calls().pop().unwrap();
    assert_eq!(value(&call.headers, "x-road-id"), invented);

    let twice = |body: &'static str| {
        let request = world.rest("POST", "/x").header("X-Road-Id", "twice");
        world.send(request, body)
    };
    let (first, second) = (twice("one").await, twice("two").await);
    assert_eq!(first.body(), "answer 1");
    assert_eq!(second.body(), "answer 2");

    world.stamp().await;
    let left = Left {
        id: &invented,
        request_body: None,
        answer_body: Some(b"answer 0"),
    };
    proved(&world, &left).await;
    let consumers = world.proofs(0, CONSUMER, "twice").await;
    assert_eq!(consumers.requests.len(), 2);
    assert_eq!(consumers.responses.len(), 2);
    assert_eq!(consumers, world.proofs(1, PROVIDER, "twice").await);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_keep_their_connection_for_the_next_message() {
    let world = world().await;
    for number in 0..5 {
        let request = world.rest("POST", "/echo").header("X-Road-Id", number);
        assert_eq!(world.send(request, "x").await.body(), "x");
    }
    let page = |server: usize| {
        let url = format!("{}/metrics", world.running.server(server).admin_url());
        async {
            let url = url;
            let answer = world.http.get(&url).await.unwrap();
            String::from_utf8(answer.body().to_vec()).unwrap()
        }
    };
    let page = page(0).await;
    let count = |connection: &str| {
        page.lines()
            .filter(|line| line.starts_with("jibek_peer_connections_total{"))
            .filter(|line| line.contains("way=\"outbound\""))
            .filter(|line| line.contains(&format!("connection=\"{connection}\"")))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok())
            .sum::<u32>()
    };
    assert_eq!((count("new"), count("reused")), (1, 4), "{page}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_stay_with_who_got_them() {
    let world = World::builder()
        .build(|_| {
            Response::builder()
                .header("Set-Cookie", "sid=first; Path=/")
                .body(Bytes::new())
                .unwrap()
        })
        .await;
    let first = world.send(world.rest("GET", "/x"), "").await;
    assert_eq!(first.headers()["set-cookie"], "sid=first; Path=/");
    world.send(world.rest("GET", "/x"), "").await;
    world
        .send(world.rest("GET", "/x").header("Cookie", "own=1"), "")
        .await;
    let calls = world.system.calls();
    assert!(
        calls[..2]
            .iter()
            .all(|call| !call.headers.contains_key("cookie")),
        "{calls:?}"
    );
    assert_eq!(calls[2].headers["cookie"], "own=1");
    world.finish().await;
}
