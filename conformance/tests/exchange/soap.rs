//! Bare SOAP.

use bytes::Bytes;
use http::{Request, Response, header, request::Builder};
use jibek_conformance::{
    envelope,
    world::{CONSUMER, PROVIDER, World},
};
use openssl::{base64, sha::sha512};

use super::{Left, proved, value};

fn call(world: &World) -> Builder {
    Request::post(world.running.server(0).url())
        .header("Content-Type", "text/xml; charset=UTF-8")
        .header("SOAPAction", "\"urn:soap\"")
}

fn xml(status: u16, text: String) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .header("Content-Type", "text/xml;charset=utf-8")
        .body(Bytes::from(text))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envelope_goes_there_and_its_answer_comes_back_with_the_hash() {
    let world = World::builder()
        .build(|call| {
            let text = String::from_utf8(call.body.to_vec()).unwrap();
            xml(200, envelope::answer(&text, "soap"))
        })
        .await;
    let contents = [
        "<m:in>hello &amp; &lt;b></m:in>".to_owned(),
        "<!-- note --><m:in><![CDATA[<&]]></m:in><?pi x?>".to_owned(),
        format!("<m:in>{}</m:in>", "д".repeat(300_000)),
    ];
    for (number, content) in contents.iter().enumerate() {
        let id = format!("soap-{number}");
        let sent = envelope::request(CONSUMER, PROVIDER, "soap", &id, content);
        let answer = world.send(call(&world), sent.clone()).await;
        let text = String::from_utf8(answer.body().to_vec()).unwrap();
        assert_eq!(answer.status(), 200, "{text}");
        assert_eq!(
            value(answer.headers(), "content-type"),
            "text/xml; charset=UTF-8"
        );
        let seen = world.system.calls().pop().unwrap();
        assert_eq!(seen.body, sent.as_bytes());
        assert_eq!(
            value(&seen.headers, "content-type"),
            "text/xml; charset=UTF-8"
        );
        assert_eq!(value(&seen.headers, "soapaction"), "\"urn:soap\"");
        assert_eq!(seen.uri.path(), "/soap");

        // The provider's bytes with the hash put in after the id, and nothing else changed.
        let hash = base64::encode_block(&sha512(sent.as_bytes()));
        let element = format!(
            "<xro:requestHash algorithmId=\"http://www.w3.org/2001/04/xmlenc#sha512\">{hash}</xro:requestHash>"
        );
        assert_eq!(text.matches(&element).count(), 1, "{text}");
        let (before, after) = text.split_once(&element).unwrap();
        assert!(
            before
                .trim_end()
                .ends_with(&format!("<xro:id>{id}</xro:id>"))
        );
        let without = format!("{}{after}", before.trim_end());
        assert_eq!(without, envelope::answer(&sent, "soap"));
    }
    world.stamp().await;
    for number in 0..contents.len() {
        let left = Left {
            id: &format!("soap-{number}"),
            request_body: None,
            answer_body: None,
        };
        proved(&world, &left).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_the_service_passes_as_it_is_and_is_no_message() {
    let document = envelope::fault("Client.Own", "жок &amp; жок");
    let answer = document.clone();
    let world = World::builder()
        .build(move |call| {
            xml(
                if call.body.len() % 2 == 0 { 200 } else { 500 },
                answer.clone(),
            )
        })
        .await;
    for (id, content) in [("fault-1", ""), ("fault-2", "x")] {
        let sent = envelope::request(CONSUMER, PROVIDER, "soap", id, content);
        let answer = world.send(call(&world), sent).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(
            value(answer.headers(), header::CONTENT_TYPE.as_str()).to_lowercase(),
            "text/xml;charset=utf-8"
        );
        assert_eq!(
            String::from_utf8_lossy(answer.body()),
            document,
            "byte for byte"
        );
    }
    world.stamp().await;
    // The requests were signed and logged, the faults were not.
    for id in ["fault-1", "fault-2"] {
        let proofs = world.proofs(0, CONSUMER, id).await;
        assert_eq!((proofs.requests.len(), proofs.responses.len()), (1, 0));
        assert_eq!(proofs, world.proofs(1, PROVIDER, id).await);
    }
    world.finish().await;
}
