//! SOAP calls and services.

use http::Request;
use http_body_util::{BodyExt, Full};
use jibek_certs::digest::{DigestAlgorithm, digest};
use jibek_protocol::limits::Limits;
use jibek_protocol::soap::{scan, with_request_hash};
use jibek_sdk::provider::{Layer, SoapLayer, SoapRequest, serve, service_fn};
use jibek_sdk::{
    Blame, Bytes, CallError, ClientId, Fault, Repeat, RepresentedParty, RequestError, SoapReply,
    escape_xml,
};
use proptest::prelude::*;
use tokio::net::TcpListener;
use tower::Service;

use super::support::{Raw, Read, Seen, consumer, raw, service, write};

const PAYLOAD: &str = r#"<t:debt xmlns:t="urn:t"><t:pin>1&amp;2</t:pin></t:debt>"#;

/// What a provider written by hand answers to a request: its header, another body.
fn envelope(seen: &Seen) -> String {
    let request = String::from_utf8(seen.body.clone()).unwrap();
    let (start, rest) = request.split_once("<soap:Body>").unwrap();
    let (_, end) = rest.split_once("</soap:Body>").unwrap();
    format!(
        r#"{start}<soap:Body><debtResponse xmlns="urn:t"><sum>1 &lt; 2</sum></debtResponse></soap:Body>{end}"#
    )
}

/// The same with the request hash, as the security servers hand it to the consumer.
fn hashed(seen: &Seen, envelope: &str) -> Vec<u8> {
    let envelope = Bytes::from(envelope.to_owned());
    let hash = digest(DigestAlgorithm::Sha512, &seen.body).to_base64();
    let scanned = scan(&envelope, &Limits::default()).unwrap();
    with_request_hash(&envelope, &scanned, &hash)
        .unwrap()
        .to_vec()
}

fn http(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

async fn server(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Raw {
    raw(Read::All, move |seen| {
        vec![write(http(
            "200 OK",
            "text/xml; charset=UTF-8",
            &answer(seen),
        ))]
    })
    .await
}

async fn call(server: &Raw) -> Result<SoapReply, CallError> {
    consumer(&server.address)
        .soap(&service("debt"))
        .body_xml(PAYLOAD)
        .message_id("m-1")
        .user_id("u")
        .send()
        .await
}

#[tokio::test]
async fn a_call_is_an_envelope_around_the_payload() {
    let server = server(|seen| hashed(seen, &envelope(seen))).await;
    let party = RepresentedParty::new(Some("COM"), "9").unwrap();
    let call = consumer(&server.address)
        .soap(&service("debt"))
        .body_xml(format!("\n {PAYLOAD} "))
        .user_id("Айгүл <&>");
    let reply = call
        .issue("7/2026")
        .represented_party(party)
        .message_id("m-1")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (reply.message_id(), reply.value("sum").as_deref()),
        ("m-1", Some("1 < 2"))
    );
    assert_eq!(
        reply.body_xml(),
        r#"<debtResponse xmlns="urn:t"><sum>1 &lt; 2</sum></debtResponse>"#
    );
    assert_eq!(reply.header().user_id.as_deref(), Some("Айгүл <&>"));
    let seen = server.last();
    assert!(
        seen.head.starts_with("POST / HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    assert_eq!(seen.header("content-type"), Some("text/xml; charset=UTF-8"));
    assert_eq!(seen.header("soapaction"), Some("\"\""));
    assert_eq!(
        reply.request_hash(),
        digest(DigestAlgorithm::Sha512, &seen.body).to_base64()
    );
    let sent = String::from_utf8(seen.body).unwrap();
    assert!(
        sent.contains(&format!("<soap:Body>{PAYLOAD}</soap:Body>")),
        "{sent}"
    );
}

#[tokio::test]
async fn an_answer_to_another_question_is_refused() {
    for (from, to, field) in [
        (">m-1<", ">m-2<", "id"),
        ("<xrd:userId>u</xrd:userId>", "", "userId"),
        (
            "<id:memberCode>70000009<",
            "<id:memberCode>70000008<",
            "client",
        ),
        ("<xrd:id>", "<xrd:issue>7</xrd:issue><xrd:id>", "issue"),
        (
            "algorithmId=\"http://www.w3.org/2001/04/xmlenc#sha512\">",
            "algorithmId=\"x\">A",
            "request hash",
        ),
    ] {
        let server = server(move |seen| {
            let envelope = String::from_utf8(hashed(seen, &envelope(seen))).unwrap();
            assert!(envelope.contains(from), "{from} in {envelope}");
            envelope.replace(from, to).into_bytes()
        })
        .await;
        let error = call(&server).await.unwrap_err();
        assert!(
            matches!(&error, CallError::Mismatch { field: found, .. } if *found == field),
            "{field}: {error:?}"
        );
        assert_eq!((error.blame(), error.repeat()), (Blame::Us, Repeat::No));
    }
    let server = server(|seen| envelope(seen).into_bytes()).await;
    let error = call(&server).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Mismatch { field: "request hash", found, .. } if found.is_empty()),
        "{error:?}"
    );
}

#[tokio::test]
async fn faults_come_in_both_spellings_and_from_services() {
    for (code, blame) in [
        ("Server.ServerProxy.AccessDenied", Blame::Consumer),
        ("server.serverproxy.access_denied", Blame::Consumer),
        ("Server.ClientProxy.OutdatedGlobalConf", Blame::Us),
        ("Client.UnknownPin", Blame::Consumer),
        ("soap:Server", Blame::Service),
    ] {
        let server = server(move |_| Fault::new(code, "no & no", "uuid").to_soap().to_vec()).await;
        let error = call(&server).await.unwrap_err();
        let fault = error.fault().unwrap_or_else(|| panic!("{error:?}"));
        assert_eq!(
            (fault.code().as_str(), fault.message(), fault.detail()),
            (code, "no & no", Some("uuid"))
        );
        assert_eq!(error.blame(), blame, "{code}");
    }
}

#[tokio::test]
async fn what_is_no_soap_is_told_apart() {
    for (status, kind, body) in [
        ("200 OK", "text/html", "<html/>"),
        ("404 Not Found", "text/plain", "x"),
        ("200 OK", "multipart/related; boundary=x", "--x--"),
        ("200 OK", "", ""),
    ] {
        let server = raw(Read::All, move |_| {
            vec![write(http(status, kind, body.as_bytes()))]
        })
        .await;
        let error = call(&server).await.unwrap_err();
        assert!(
            matches!(error, CallError::NotFromServer { .. }),
            "{error:?}"
        );
    }
    for body in ["", "<html/>", "<a", "<!DOCTYPE a><a/>", "\u{0}"] {
        let server = server(move |_| body.into()).await;
        let error = call(&server).await.unwrap_err();
        assert!(matches!(error, CallError::Soap(_)), "{error:?}");
    }
    let half = raw(Read::All, |seen| {
        let answer = http("200 OK", "text/xml", &hashed(seen, &envelope(seen)));
        vec![
            write(&answer[..answer.len() - 1]),
            super::support::Step::Close,
        ]
    })
    .await;
    let error = call(&half).await.unwrap_err();
    assert!(
        matches!(error, CallError::Read(jibek_sdk::ReadError::Truncated(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_would_be_no_valid_message_is_not_sent() {
    let consumer = consumer("http://127.0.0.1:1");
    for payload in [
        "",
        "text",
        "<debt>",
        "<debt/><debt/>",
        "<other/>",
        "<debt>&nbsp;</debt>",
        "<debt/><!-- x -->",
        "<debt/></soap:Body><soap:Body><debt/>",
        "<debt/></soap:Body></soap:Envelope><!-- ",
        "<debt/></soap:Body><x/><soap:Body>",
    ] {
        let error = consumer
            .soap(&service("debt"))
            .body_xml(payload)
            .send()
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                CallError::Request(RequestError::Soap(_) | RequestError::Body)
            ),
            "{payload}: {error:?}"
        );
    }
}

async fn debt(request: SoapRequest) -> Result<String, Fault> {
    let caller = request.caller();
    assert_eq!(
        caller.service.as_ref().map(ToString::to_string).as_deref(),
        Some("SERVICE:KG/GOV/70000001/population/debt")
    );
    match request.value("pin") {
        Some(pin) if pin == "0" => Err(Fault::new("Client.UnknownPin", "nobody", "")),
        Some(pin) => Ok(format!(
            "<debtResponse><pin>{}</pin><by>{}</by></debtResponse>",
            escape_xml(&pin),
            caller.client
        )),
        None => Err(Fault::new("Client.NoPin", "no pin", "")),
    }
}

/// A consumer, a server that only adds the request hash, and a service, all of the SDK.
async fn through(payload: String) -> Result<SoapReply, CallError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(
        listener,
        SoapLayer::new().layer(service_fn(debt)),
        std::future::pending(),
    ));
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bus = format!("http://{}", front.local_addr().unwrap());
    let pass = service_fn(move |request: Request<hyper::body::Incoming>| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        let mut onward = Request::new(Full::new(body.clone()));
        onward
            .headers_mut()
            .insert("host", http::HeaderValue::from_static("provider"));
        *onward.method_mut() = http::Method::POST;
        let mut answer = sender.send_request(onward).await.unwrap();
        let envelope = answer.body_mut().collect().await.unwrap().to_bytes();
        let seen = Seen {
            head: String::new(),
            body: body.to_vec(),
        };
        let scanned = scan(&envelope, &Limits::default()).unwrap();
        let out = match scanned.fault() {
            Some(_) => envelope.to_vec(),
            None => hashed(&seen, std::str::from_utf8(&envelope).unwrap()),
        };
        let mut response = http::Response::new(Full::new(Bytes::from(out)));
        response
            .headers_mut()
            .insert("content-type", answer.headers()["content-type"].clone());
        Ok::<_, std::convert::Infallible>(response)
    });
    tokio::spawn(serve(front, pass, std::future::pending()));
    let call = consumer(&bus)
        .soap(&service("debt"))
        .body_xml(payload)
        .user_id("u")
        .issue("i");
    call.represented_party(RepresentedParty::new(None, "9").unwrap())
        .send()
        .await
}

#[tokio::test]
async fn a_service_answers_and_refuses() {
    let reply = through("<debt><pin>7</pin></debt>".to_owned())
        .await
        .unwrap();
    assert_eq!(reply.value("pin").as_deref(), Some("7"));
    assert_eq!(
        reply.value("by").as_deref(),
        Some("SUBSYSTEM:KG/GOV/70000009/notary")
    );
    let error = through("<debt><pin>0</pin></debt>".to_owned())
        .await
        .unwrap_err();
    assert_eq!(error.fault().unwrap().message(), "nobody");
    assert_eq!(error.blame(), Blame::Consumer);
}

async fn answered(body: Vec<u8>) -> (u16, String) {
    let mut service = SoapLayer::new().layer(service_fn(debt));
    let response = service
        .call(Request::new(Full::new(Bytes::from(body))))
        .await
        .unwrap();
    let status = response.status().as_u16();
    (
        status,
        String::from_utf8(
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .to_vec(),
        )
        .unwrap(),
    )
}

#[tokio::test]
async fn bad_requests_get_a_fault() {
    let fault = Fault::new("server.x", "x", "").to_soap().to_vec();
    for body in [
        Vec::new(),
        b"<a/>".to_vec(),
        b"\xff\xfe".to_vec(),
        fault,
        vec![b' '; 11 * 1024 * 1024],
    ] {
        let (status, document) = answered(body).await;
        assert_eq!(status, 500);
        assert!(
            document.contains("<faultcode>Client</faultcode>"),
            "{document}"
        );
    }
}

#[tokio::test]
async fn requests_of_other_systems_are_read_in_their_own_form() {
    let Some(recorded) = super::support::fixture("wire/soap-plain.from-consumer") else {
        return super::support::skipped("requests_of_other_systems_are_read_in_their_own_form");
    };
    let recorded = String::from_utf8(recorded).unwrap();
    let envelope = recorded
        .split_once("\r\n\r\n")
        .map_or(recorded.as_str(), |(_, body)| body)
        .to_owned();
    let latin: Vec<u8> = envelope
        .replace("UTF-8", "ISO-8859-1")
        .replace("hello", "caf\u{e9}")
        .chars()
        .map(|character| u8::try_from(character).unwrap())
        .collect();
    for (bytes, text) in [
        (envelope.into_bytes(), "hello & <b>"),
        (latin, "caf\u{e9} & <b>"),
    ] {
        let request = SoapRequest::read(bytes.into()).unwrap();
        assert_eq!(
            request.caller().client,
            ClientId::new("DEV", "COM", "1111", Some("Consumer")).unwrap()
        );
        assert_eq!(request.caller().user_id.as_deref(), Some("EE1234567890"));
        assert_eq!(request.caller().message_id, "h1-soap");
        assert_eq!(request.value("in").as_deref(), Some(text));
        let answer = request.respond("<echoResponse/>");
        let scanned = scan(&answer, &Limits::default()).unwrap();
        jibek_protocol::soap::check_answers(request.header(), scanned.header().unwrap()).unwrap();
        assert!(scanned.is_response());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_text_survives_the_way_there_and_back(pin in "[\\PC\t\n]{1,40}") {
        prop_assume!(pin != "0" && !pin.contains(['\u{fffe}', '\u{ffff}']));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reply = runtime.block_on(through(format!("<debt><pin>{}</pin></debt>", escape_xml(&pin)))).unwrap();
        prop_assert_eq!(reply.value("pin").unwrap(), pin);
    }
}
