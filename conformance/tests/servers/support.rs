//! What the tests of running servers share.

use bytes::Bytes;
use http::Response;
use jibek_conformance::{
    system::Call,
    world::{CONSUMER, PROVIDER, World},
};

/// The service answers with what it was asked.
pub(crate) fn echo(call: &Call) -> Response<Bytes> {
    let text = format!(
        "{} {} {}",
        call.method,
        call.uri,
        String::from_utf8_lossy(&call.body)
    );
    Response::new(Bytes::from(text))
}

/// The fault's code of a REST answer, or of a SOAP one.
///
/// # Panics
///
/// When there is none.
pub(crate) fn code(answer: &Response<Bytes>) -> String {
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    if let Some((_, rest)) = text.split_once("<faultcode>") {
        return rest.split_once("</faultcode>").unwrap().0.to_owned();
    }
    let json: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no fault: {answer:?}"));
    let code = json["type"].as_str().unwrap().to_owned();
    assert!(answer.headers().contains_key("x-road-error"), "{answer:?}");
    code
}

/// A SOAP request of the consumer to the service `soap` with this body and id.
pub(crate) fn soap(id: &str, body: &str) -> String {
    envelope("", id, body)
}

/// A SOAP request of the consumer to a service of the member `TEST/GOV/3003` itself.
pub(crate) fn member_soap(id: &str, body: &str) -> String {
    let [instance, class, _, _] = parts(CONSUMER);
    let to_provider = soap(id, body);
    let from = to_provider.find("<x:service").unwrap();
    let to = to_provider.find("<x:id>").unwrap();
    format!(
        "{}<x:service i:objectType=\"SERVICE\"><i:xRoadInstance>{instance}</i:xRoadInstance>\
         <i:memberClass>{class}</i:memberClass><i:memberCode>3003</i:memberCode>\
         <i:serviceCode>soap</i:serviceCode></x:service>{}",
        &to_provider[..from],
        &to_provider[to..]
    )
}

/// A SOAP request with something before its root element.
pub(crate) fn envelope(prolog: &str, id: &str, body: &str) -> String {
    let [instance, class, member, subsystem] = parts(CONSUMER);
    let [to_instance, to_class, to_member, to_subsystem] = parts(PROVIDER);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>{prolog}<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:x=\"http://x-road.eu/xsd/xroad.xsd\" xmlns:i=\"http://x-road.eu/xsd/identifiers\"><s:Header>\
         <x:client i:objectType=\"SUBSYSTEM\"><i:xRoadInstance>{instance}</i:xRoadInstance>\
         <i:memberClass>{class}</i:memberClass><i:memberCode>{member}</i:memberCode>\
         <i:subsystemCode>{subsystem}</i:subsystemCode></x:client>\
         <x:service i:objectType=\"SERVICE\"><i:xRoadInstance>{to_instance}</i:xRoadInstance>\
         <i:memberClass>{to_class}</i:memberClass><i:memberCode>{to_member}</i:memberCode>\
         <i:subsystemCode>{to_subsystem}</i:subsystemCode><i:serviceCode>soap</i:serviceCode></x:service>\
         <x:id>{id}</x:id><x:protocolVersion>4.0</x:protocolVersion></s:Header>\
         <s:Body>{body}</s:Body></s:Envelope>"
    )
}

fn parts(id: &str) -> [&str; 4] {
    let mut parts = id.split('/');
    std::array::from_fn(|_| parts.next().unwrap())
}

/// A call that must succeed: whatever came before it, the servers are up.
pub(crate) async fn still_up(world: &World) {
    let answer = world.send(world.rest("GET", "/up"), "").await;
    assert_eq!(answer.status(), 200, "{answer:?}");
}
