use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::process::Command;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use jibek_certs::digest::{DigestAlgorithm, digest};
use jibek_protocol::header as names;
use jibek_protocol::limits::Limits;
use jibek_protocol::message::{RestRequestBlock, RestResponseBlock};
use jibek_protocol::soap::{scan, with_request_hash};
use jibek_sdk::provider::{serve, service_fn};
use jibek_sdk::{
    Body, CallError, Consumer, Credentials, HashCheck, Method, StatusCode, request_hash,
};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A consumer whose calls reach an agency over what is left of a bus without signatures: blocks, headers and hashes.
async fn reach<F, E>(agency: impl FnOnce(TcpListener) -> F) -> Consumer
where
    F: Future<Output = E> + Send + 'static,
    E: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let provider = listener.local_addr().unwrap();
    tokio::spawn(agency(listener));
    let bus = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", bus.local_addr().unwrap());
    let carry =
        service_fn(
            move |request| async move { Ok::<_, Infallible>(carry(provider, request).await) },
        );
    tokio::spawn(serve(bus, carry, std::future::pending()));
    let notary = ClientId::new("KG", "GOV", "70000005", Some("notary")).unwrap();
    let builder = Consumer::builder()
        .server(&address)
        .unwrap()
        .identity(notary);
    builder
        .credentials(Credentials::None)
        .unwrap()
        .build()
        .unwrap()
}

async fn carry(provider: SocketAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let lines = |headers: &http::HeaderMap| -> Vec<(Vec<u8>, Vec<u8>)> {
        headers
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.as_bytes().into()))
            .collect()
    };
    let mut onward = Request::new(Full::new(body.clone()));
    *onward.method_mut() = head.method.clone();
    let block = head.uri.path().starts_with("/r1/").then(|| {
        let target = head.uri.path_and_query().unwrap().as_str();
        let own = lines(&head.headers);
        let own = own
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()));
        RestRequestBlock::seal(head.method.as_str(), target, own, "r-1", String::new).unwrap()
    });
    if let Some(block) = &block {
        let query = block
            .target()
            .query()
            .map_or_else(String::new, |query| format!("?{query}"));
        let path = Some(block.target().path())
            .filter(|path| !path.is_empty())
            .unwrap_or("/");
        *onward.uri_mut() = format!("{path}{query}").parse().unwrap();
        for line in block.headers() {
            let value = http::HeaderValue::from_bytes(&line.latin1_value()).unwrap();
            onward.headers_mut().append(
                http::HeaderName::from_bytes(line.name.as_bytes()).unwrap(),
                value,
            );
        }
    }
    onward
        .headers_mut()
        .insert("host", http::HeaderValue::from_static("agency"));
    let stream = TcpStream::connect(provider).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let (answer, answered) = sender.send_request(onward).await.unwrap().into_parts();
    let answered = answered.collect().await.unwrap().to_bytes();
    let mut response = Response::new(Full::new(answered.clone()));
    *response.status_mut() = answer.status;
    let Some(block) = block else {
        let scanned = scan(&answered, &Limits::default()).unwrap();
        let hash = digest(DigestAlgorithm::Sha512, &body).to_base64();
        let hashed = with_request_hash(&answered, &scanned, &hash).unwrap_or(answered);
        *response.body_mut() = Full::new(hashed);
        *response.status_mut() = StatusCode::OK;
        response
            .headers_mut()
            .insert("content-type", answer.headers["content-type"].clone());
        return response;
    };
    let hash = request_hash(block.bytes(), (!body.is_empty()).then_some(&body));
    let own = lines(&answer.headers);
    let own = own
        .iter()
        .map(|(name, value)| (name.as_slice(), value.as_slice()));
    let sealed =
        RestResponseBlock::seal(answer.status.as_u16(), "", own, &block, "r-1", &hash).unwrap();
    for line in sealed.headers() {
        let value = http::HeaderValue::from_bytes(&line.latin1_value()).unwrap();
        response.headers_mut().append(
            http::HeaderName::from_bytes(line.name.as_bytes()).unwrap(),
            value,
        );
    }
    assert!(response.headers().contains_key(names::X_ROAD_REQUEST_HASH));
    response
}

fn of(listing: Listing) -> ServiceId {
    listing.service("KG").unwrap()
}

#[tokio::test]
async fn the_population_register_knows_persons() {
    let consumer = reach(|listener| population::serve(listener, std::future::pending())).await;
    let ask = |pin: &str| {
        consumer
            .rest(&of(population::LISTING))
            .path("/persons")
            .segment(pin)
            .send()
    };
    let mut reply = ask("29999198500001").await.unwrap();
    assert_eq!(
        (reply.status(), reply.hash_check()),
        (StatusCode::OK, HashCheck::Confirmed)
    );
    let person: population::Person = reply.json().await.unwrap();
    assert_eq!((person.surname.as_str(), person.born), ("Сынакбаев", 1985));
    assert_eq!(ask("1").await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(
        ask("29999198500001/..").await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
    let post = consumer
        .rest(&of(population::LISTING))
        .path("/persons/29999198500001")
        .method(Method::POST);
    assert_eq!(
        post.send().await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(
        consumer
            .rest(&of(population::LISTING))
            .send()
            .await
            .unwrap()
            .status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn the_cadastre_registers_a_new_owner() {
    let consumer = reach(|listener| cadastre::serve(listener, std::future::pending())).await;
    let cadastre = of(cadastre::LISTING);
    let owner = || async {
        let mut reply = consumer
            .rest(&cadastre)
            .path("/properties/99-01-0001-0001")
            .send()
            .await
            .unwrap();
        reply.json::<cadastre::Property>().await.unwrap().owner
    };
    assert_eq!(owner().await, "29999198500001");
    let deed = deed::deed(&["Deed of sale"], 3_000_000);
    let post = |path: &str, owner: &str, body: Body| {
        let call = consumer
            .rest(&cadastre)
            .method(Method::POST)
            .path(path)
            .query("new_owner", owner);
        call.header("content-type", "application/pdf")
            .body(body)
            .send()
    };
    const PATH: &str = "/properties/99-01-0001-0001/registrations";
    for (path, pin, body, status) in [
        (
            PATH,
            "1999919900000x",
            Body::from(deed.clone()),
            StatusCode::BAD_REQUEST,
        ),
        (
            PATH,
            "19999199000002",
            Body::from("no deed"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            PATH,
            "19999199000002",
            Body::empty(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            "/properties/99/registrations",
            "19999199000002",
            Body::from(deed.clone()),
            StatusCode::NOT_FOUND,
        ),
    ] {
        assert_eq!(
            post(path, pin, body).await.unwrap().status(),
            status,
            "{path} {pin}"
        );
    }
    assert_eq!(owner().await, "29999198500001");
    let mut reply = post(PATH, "19999199000002", Body::from(deed.clone()))
        .await
        .unwrap();
    assert_eq!(
        (reply.status(), reply.hash_check()),
        (StatusCode::CREATED, HashCheck::Confirmed)
    );
    let receipt: cadastre::Receipt = reply.json().await.unwrap();
    assert_eq!(
        receipt.deed_sha512,
        digest(DigestAlgorithm::Sha512, &deed).to_hex()
    );
    assert_eq!(receipt.deed_bytes, 3_000_000);
    assert_eq!(receipt.receipt, "99-01-0001-0001/2");
    assert_eq!(receipt.registered_by, "SUBSYSTEM:KG/GOV/70000005/notary");
    assert_eq!(
        (receipt.message_id.as_str(), receipt.previous_owner.as_str()),
        (reply.message_id(), "29999198500001")
    );
    assert_eq!(owner().await, "19999199000002");
}

#[tokio::test]
async fn the_tax_service_tells_debts() {
    let consumer = reach(|listener| tax::serve(listener, std::future::pending())).await;
    let ask = |body: &str| {
        consumer
            .soap(&of(tax::LISTING))
            .body_xml(format!(r#"<taxDebt xmlns="urn:kg:tax">{body}</taxDebt>"#))
            .send()
    };
    for (pin, debt) in [
        ("29999198500001", "0.00"),
        ("29999195500005", "12840.50"),
        ("19999198800008", "3100.07"),
    ] {
        let reply = ask(&format!("<pin>{pin}</pin>")).await.unwrap();
        assert_eq!(
            (
                reply.value("debt").as_deref(),
                reply.value("pin").as_deref()
            ),
            (Some(debt), Some(pin))
        );
    }
    for (body, code) in [("<pin>1</pin>", "Client.UnknownPin"), ("", "Client.NoPin")] {
        match ask(body).await.unwrap_err() {
            CallError::Fault(fault) => assert_eq!(fault.code(), code),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_ministry_of_justice_tells_encumbrances() {
    let consumer = reach(|listener| justice::serve(listener, std::future::pending())).await;
    for (property, count) in [
        ("99-01-0001-0001", "0"),
        ("99-02-0003-0018", "2"),
        ("<&>", "0"),
    ] {
        let body = format!(
            r#"<j:encumbrances xmlns:j="urn:kg:justice"><j:property>{}</j:property></j:encumbrances>"#,
            jibek_sdk::escape_xml(property)
        );
        let reply = consumer
            .soap(&of(justice::LISTING))
            .body_xml(body)
            .send()
            .await
            .unwrap();
        assert_eq!(
            (
                reply.value("count").as_deref(),
                reply.value("property").as_deref()
            ),
            (Some(count), Some(property))
        );
        assert_eq!(reply.value("holder").is_some(), count != "0");
    }
}

#[test]
fn the_registers_agree_with_each_other() {
    let register = cadastre::Register::default();
    for code in [
        "99-01-0001-0001",
        "99-01-0001-0002",
        "99-02-0003-0018",
        "99-03-0001-0107",
        "99-04-0002-0005",
    ] {
        let owner = register.property(code).unwrap().owner;
        assert!(
            population::person(&owner).is_some_and(|person| person.alive),
            "{code} {owner}"
        );
    }
    assert!(population::person("19999199000002").is_some());
    assert_eq!(
        LISTINGS
            .iter()
            .map(|listing| listing.member)
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        4
    );
    for listing in LISTINGS {
        listing.service("KG").unwrap();
    }
}

#[test]
fn a_deed_is_a_pdf_of_the_wanted_size() {
    for size in [
        deed::SMALLEST,
        8_193,
        9_191,
        9_192,
        9_193,
        100_000,
        3_000_000,
    ] {
        let pdf = deed::deed(&["Deed (of) \\sale", "Бишкек"], size);
        assert_eq!(pdf.len(), size);
        assert_eq!(pdf, deed::deed(&["Deed (of) \\sale", "Бишкек"], size));
        assert!(pdf.starts_with(b"%PDF-1.4\n") && pdf.ends_with(b"%%EOF\n"));
        let tail = String::from_utf8_lossy(&pdf[pdf.len() - 400..]).into_owned();
        let number = |after: &str| {
            tail.split(after)
                .nth(1)
                .unwrap()
                .split_whitespace()
                .next()
                .unwrap()
                .parse::<usize>()
                .unwrap()
        };
        let table = number("startxref\n");
        assert!(pdf[table..].starts_with(b"xref\n0 7\n"));
        assert_eq!(number("/Size "), 7);
        for (object, entry) in pdf[table + 9..].chunks(20).take(7).enumerate().skip(1) {
            assert_eq!(entry.len(), 20);
            let offset: usize = std::str::from_utf8(&entry[..10]).unwrap().parse().unwrap();
            assert!(
                pdf[offset..].starts_with(format!("{object} 0 obj\n").as_bytes()),
                "{object} at {offset}"
            );
        }
        let text = String::from_utf8_lossy(&pdf);
        for stream in text.split("/Length ").skip(1).take(1) {
            let length: usize = stream.split_whitespace().next().unwrap().parse().unwrap();
            let content = stream.split_once("stream\n").unwrap().1;
            assert!(content[length..].starts_with("\nendstream"));
        }
        assert!(text.contains("(Deed \\(of\\) \\\\sale) Tj") && text.contains("(??????) Tj"));
    }
    assert_eq!(deed::deed(&[], 1).len(), deed::SMALLEST);
}

/// A reader of PDF that is not ours, where there is one.
#[test]
fn a_deed_is_read_by_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = tempfile::NamedTempFile::new_in(folder.path()).unwrap();
    std::io::Write::write_all(
        &mut file.as_file(),
        &deed::deed(&["Deed of sale"], 1_000_000),
    )
    .unwrap();
    match Command::new("qpdf")
        .arg("--check")
        .arg(file.path())
        .output()
    {
        Ok(checked) => assert!(
            checked.status.success(),
            "{}",
            String::from_utf8_lossy(&checked.stderr)
        ),
        Err(_) => println!("SKIPPED a_deed_is_read_by_others: no qpdf"),
    }
}
