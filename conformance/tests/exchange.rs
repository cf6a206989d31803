//! Exchanges that succeed, and what a consumer, a provider and a court see of them.
//!
//! Every exchange of this suite is afterwards proved from the logs of both servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it met by failing, its helpers too"
)]

mod exchange {
    mod big;
    mod faults;
    mod rest;
    mod soap;

    use bytes::Bytes;
    use http::{HeaderMap, Response, StatusCode, header};
    use jibek_conformance::{
        proof::Proofs,
        system::Call,
        world::{CONSUMER, PROVIDER, World},
    };
    use openssl::{base64, sha::sha512};

    /// The information system of this suite: what it answers depends on the last segment of the path.
    fn answers(call: &Call) -> Response<Bytes> {
        let body = || call.body.clone();
        let response = |status: u16, body: Bytes| {
            let mut response = Response::new(body);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        };
        let last = call.uri.path().rsplit('/').next().unwrap_or_default();
        match last.parse::<u16>() {
            Ok(status) => {
                let text = format!("status {status}");
                let mut response = response(status, text.into());
                if matches!(status, 204 | 304) {
                    response.body_mut().clear();
                }
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, "text/x-status".parse().unwrap());
                headers.insert(
                    header::LOCATION,
                    "http://elsewhere.test/a%2Fb".parse().unwrap(),
                );
                headers.append("set-cookie", "a=1".parse().unwrap());
                headers.append("set-cookie", "b=2".parse().unwrap());
                headers.insert("x-own", http::HeaderValue::from_bytes(b"M\xfcnze").unwrap());
                response
            }
            Err(_) if last == "empty" => response(200, Bytes::new()),
            Err(_) => response(200, body()),
        }
    }

    async fn world() -> World {
        World::builder().build(answers).await
    }

    fn value<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
        headers
            .get(name)
            .unwrap_or_else(|| panic!("no header {name}"))
            .to_str()
            .unwrap()
    }

    /// What an exchange should have left behind.
    struct Left<'a> {
        id: &'a str,
        request_body: Option<&'a [u8]>,
        answer_body: Option<&'a [u8]>,
    }

    /// Proves a single exchange from both servers' logs; both must have the same signed bytes.
    async fn proved(world: &World, left: &Left<'_>) -> Proofs {
        let consumers = world.proofs(0, CONSUMER, left.id).await;
        let providers = world.proofs(1, PROVIDER, left.id).await;
        assert_eq!(consumers, providers, "{}: the two servers' proofs", left.id);
        let ([request], [response]) = (&*consumers.requests, &*consumers.responses) else {
            panic!("{}: {consumers:?}", left.id);
        };
        let hash = |body: Option<&[u8]>| body.map(|body| sha512(body).to_vec());
        assert_eq!(request.body_sha512, hash(left.request_body), "{}", left.id);
        assert_eq!(response.body_sha512, hash(left.answer_body), "{}", left.id);
        consumers
    }

    /// The request hash of a signed REST request (`message-path.md` 3.5).
    fn request_hash(block: &[u8], body: Option<&[u8]>) -> String {
        let hash = match body {
            None => sha512(block),
            Some(body) => sha512(&[sha512(block), sha512(body)].concat()),
        };
        base64::encode_block(&hash)
    }
}
