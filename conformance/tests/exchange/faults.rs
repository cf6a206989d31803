//! The forms in which consumers learn that there is no answer.

use http::Request;
use jibek_conformance::{
    envelope,
    world::{CONSUMER, PROVIDER},
};

use super::{value, world};

const UNKNOWN: &str = "server.serverproxy.unknown_service";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_are_json_or_xml_by_accept_and_soap_for_soap() {
    let world = world().await;
    let url = world.running.server(0).url();
    let forms = [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/json, text/plain", "application/json"),
        ("text/xml", "text/xml;charset=utf-8"),
        ("text/*", "text/xml;charset=utf-8"),
        (
            "text/html, application/xml;q=0.1",
            "application/xml;charset=utf-8",
        ),
    ];
    for (accept, content_type) in forms {
        let request = Request::post(format!("{url}/r1/{PROVIDER}/nothing/x"))
            .header("X-Road-Client", CONSUMER)
            .header("Accept", accept);
        let answer = world.send(request, "body").await;
        let text = String::from_utf8(answer.body().to_vec()).unwrap();
        assert_eq!(answer.status(), 500, "{accept}: {text}");
        assert_eq!(value(answer.headers(), "x-road-error"), UNKNOWN);
        assert_eq!(value(answer.headers(), "content-type"), content_type);
        let words = format!("Unknown service: SERVICE:{PROVIDER}/nothing");
        let detail = if content_type == "application/json" {
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            let members: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
            assert_eq!(members.len(), 3, "{members:?}");
            assert!(
                text.starts_with(&format!(
                    "{{\"type\":\"{UNKNOWN}\",\"message\":\"{words}\",\"detail\":\""
                )),
                "{text}"
            );
            json["detail"].as_str().unwrap().to_owned()
        } else {
            let rest = text
                .strip_prefix(&format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><error><type>{UNKNOWN}</type><message>{words}</message><detail>"
                ))
                .unwrap_or_else(|| panic!("{text}"));
            rest.strip_suffix("</detail></error>").unwrap().to_owned()
        };
        uuid::Uuid::parse_str(&detail).unwrap();
    }

    let soap = |service: &str| {
        let sent = envelope::request(CONSUMER, PROVIDER, service, "f", "");
        let request = Request::post(&url)
            .header("Content-Type", "text/xml")
            .header("Accept", "application/json");
        world.send(request, sent)
    };
    let answer = soap("nothing").await;
    let text = String::from_utf8(answer.body().to_vec()).unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(
        value(answer.headers(), "content-type"),
        "text/xml;charset=utf-8"
    );
    assert_eq!(value(answer.headers(), "soapaction"), "");
    assert!(!answer.headers().contains_key("x-road-error"));
    assert!(
        text.starts_with(&format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><SOAP-ENV:Envelope xmlns:SOAP-ENV=\"http://schemas.xmlsoap.org/soap/envelope/\">\
             <SOAP-ENV:Body><SOAP-ENV:Fault><faultcode>{UNKNOWN}</faultcode>\
             <faultstring>Unknown service: SERVICE:{PROVIDER}/nothing</faultstring><faultactor></faultactor>\
             <detail><faultDetail xmlns=\"\">"
        )),
        "{text}"
    );
    // A REST service called by SOAP.
    let text = String::from_utf8(soap("rest").await.body().to_vec()).unwrap();
    assert!(
        text.contains("<faultcode>server.serverproxy.service_type</faultcode>"),
        "{text}"
    );
    assert!(world.system.calls().is_empty());
    world.finish().await;
}
