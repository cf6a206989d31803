//! SOAP envelopes in the style of X-Road's own examples.

/// A request envelope for `service` of `provider`, both in header form, in the name of `client`.
///
/// The body's only child is the element named as the service, with `content` in it as it is.
#[must_use]
pub fn request(client: &str, provider: &str, service: &str, id: &str, content: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xro=\"http://x-road.eu/xsd/xroad.xsd\" xmlns:iden=\"http://x-road.eu/xsd/identifiers\">\n  \
         <soapenv:Header>\n    {}\n    {}\n    <xro:userId>KG1234567890</xro:userId>\n    \
         <xro:id>{id}</xro:id>\n    <xro:protocolVersion>4.0</xro:protocolVersion>\n  </soapenv:Header>\n  \
         <soapenv:Body>\n    <m:{service} xmlns:m=\"http://producer.x-road.eu\">{content}</m:{service}>\n  \
         </soapenv:Body>\n</soapenv:Envelope>",
        identifier("client", client, None),
        identifier("service", provider, Some(service)),
    )
}

/// The answer to a request envelope made here: the same header, the body's element with `Response` to its name.
#[must_use]
pub fn answer(request: &str, service: &str) -> String {
    request
        .replace(&format!("<m:{service} "), &format!("<m:{service}Response "))
        .replace(
            &format!("</m:{service}>"),
            &format!("</m:{service}Response>"),
        )
}

/// A fault as a service writes it, in no way as a server does.
#[must_use]
pub fn fault(code: &str, words: &str) -> String {
    format!(
        "<?xml version='1.0' encoding='UTF-8'?>\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\">\
         <s:Body><s:Fault><faultcode>{code}</faultcode>\n  <faultstring xml:lang=\"ky\">{words}</faultstring>\
         <detail><own xmlns=\"urn:x\">7</own></detail></s:Fault></s:Body></s:Envelope>\n"
    )
}

fn identifier(element: &str, client: &str, service: Option<&str>) -> String {
    let kind = match (service, client.matches('/').count()) {
        (Some(_), _) => "SERVICE",
        (None, 3) => "SUBSYSTEM",
        (None, _) => "MEMBER",
    };
    let names = [
        "xRoadInstance",
        "memberClass",
        "memberCode",
        "subsystemCode",
    ];
    let mut text = format!("<xro:{element} iden:objectType=\"{kind}\">");
    for (name, value) in names.iter().zip(client.split('/')) {
        text.push_str(&format!("<iden:{name}>{value}</iden:{name}>"));
    }
    if let Some(service) = service {
        text.push_str(&format!("<iden:serviceCode>{service}</iden:serviceCode>"));
    }
    text.push_str(&format!("</xro:{element}>"));
    text
}
