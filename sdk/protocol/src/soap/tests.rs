use super::*;
use crate::limits::Limits;

const ANSWER: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xro="http://x-road.eu/xsd/xroad.xsd" xmlns:iden="http://x-road.eu/xsd/identifiers" xmlns:repr="http://x-road.eu/xsd/representation.xsd">
  <soapenv:Header>
    <xro:client iden:objectType="SUBSYSTEM">
      <iden:xRoadInstance>DEV</iden:xRoadInstance>
      <iden:memberClass>COM</iden:memberClass>
      <iden:memberCode>1111</iden:memberCode>
      <iden:subsystemCode>Consumer</iden:subsystemCode>
    </xro:client>
    <xro:service iden:objectType="SERVICE">
      <iden:xRoadInstance>DEV</iden:xRoadInstance>
      <iden:memberClass>COM</iden:memberClass>
      <iden:memberCode>2222</iden:memberCode>
      <iden:subsystemCode>Provider</iden:subsystemCode>
      <iden:serviceCode>echo</iden:serviceCode>
      <iden:serviceVersion>v1</iden:serviceVersion>
    </xro:service>
    <repr:representedParty><repr:partyClass>COM</repr:partyClass><repr:partyCode>3</repr:partyCode></repr:representedParty>
    <xro:userId>EE<![CDATA[1&]]>&amp;2</xro:userId>
    <xro:id>h1-soap</xro:id>
    <xro:protocolVersion>4.0</xro:protocolVersion>
  </soapenv:Header>
  <soapenv:Body><m:echoResponse xmlns:m="http://producer.x-road.eu"><m:len>1135</m:len></m:echoResponse></soapenv:Body>
</soapenv:Envelope>
"#;

fn scanned(text: &str) -> Result<ScannedSoap, SoapError> {
    scan(text.as_bytes(), &Limits::default())
}

fn refused(from: &str, to: &str) -> SoapError {
    assert!(ANSWER.contains(from), "{from}");
    scanned(&ANSWER.replace(from, to)).unwrap_err()
}

#[test]
fn header_and_body_are_read() {
    let soap = scanned(ANSWER).unwrap();
    let header = soap.header().unwrap();
    assert_eq!(header.client.to_string(), "SUBSYSTEM:DEV/COM/1111/Consumer");
    assert_eq!(
        header.service.to_string(),
        "SERVICE:DEV/COM/2222/Provider/echo/v1"
    );
    assert_eq!(header.user_id.as_deref(), Some("EE1&&2"));
    assert_eq!(
        (header.id.as_str(), header.protocol_version.as_str()),
        ("h1-soap", "4.0")
    );
    assert_eq!(
        header.represented_party.as_ref().unwrap().to_header(),
        "COM/3"
    );
    assert_eq!(
        (&header.issue, &header.security_server, &header.request_hash),
        (&None, &None, &None)
    );
    assert_eq!(soap.body_element(), "echoResponse");
    assert!(soap.is_response());
    assert!(soap.fault().is_none());
}

#[test]
fn chunks_and_byte_order_mark_change_nothing() {
    let bytes = Bytes::from(format!("\u{feff}{ANSWER}"));
    let mut scanner = SoapScanner::new(&Limits::default());
    for at in (0..bytes.len()).step_by(100) {
        scanner
            .push(&bytes.slice(at..bytes.len().min(at + 100)))
            .unwrap();
    }
    assert_eq!(
        scanner.finish().unwrap().header(),
        scanned(ANSWER).unwrap().header()
    );
    let with_hash = with_request_hash(
        &bytes,
        &scan(&bytes, &Limits::default()).unwrap(),
        "aGFzaA==",
    )
    .unwrap();
    assert!(with_hash.starts_with("\u{feff}<?xml".as_bytes()));
    assert_eq!(
        scan(&with_hash, &Limits::default())
            .unwrap()
            .header()
            .unwrap()
            .request_hash
            .as_deref(),
        Some("aGFzaA==")
    );
}

#[test]
fn each_rule_has_its_code() {
    for (from, to, code) in [
        (
            "<soapenv:Header>",
            "<!DOCTYPE x><soapenv:Header>",
            "invalid_soap",
        ),
        (
            "schemas.xmlsoap.org/soap/envelope/",
            "www.w3.org/2003/05/soap-envelope",
            "invalid_soap",
        ),
        ("</soapenv:Envelope>", "", "invalid_soap"),
        (
            "</soapenv:Envelope>",
            "</soapenv:Envelope>x",
            "invalid_soap",
        ),
        ("soapenv:Header", "soapenv:Heder", "missing_header"),
        ("xro:protocolVersion", "xro:other", "missing_header_field"),
        ("xro:client", "xro:klient", "missing_header_field"),
        ("<xro:id>h1-soap</xro:id>", "", "missing_header_field"),
        ("xro:service", "iden:service", "missing_header_field"),
        ("4.0", "5.0", "invalid_protocol_version"),
        ("4.0", "4", "invalid_protocol_version"),
        ("4.0", " 4.0", "invalid_protocol_version"),
        ("soapenv:Body", "soapenv:Bodi", "missing_body"),
        ("</m:echoResponse>", "</m:echoResponse><x/>", "invalid_body"),
        ("m:echoResponse", "m:ekoResponse", "inconsistent_headers"),
        (
            "iden:objectType=\"SUBSYSTEM\"",
            "objectType=\"SUBSYSTEM\"",
            "invalid_xml",
        ),
        (
            "iden:objectType=\"SUBSYSTEM\"",
            "iden:objectType=\"SERVER\"",
            "invalid_xml",
        ),
        ("iden:objectType=\"SUBSYSTEM\"", "", "invalid_xml"),
        (
            "<xro:id>h1-soap</xro:id>",
            "<xro:id>h1-soap</xro:id><xro:id/>",
            "duplicate_header_field",
        ),
        (
            "<iden:memberCode>1111</iden:memberCode>",
            "<iden:memberCode>1111</iden:memberCode><iden:memberCode/>",
            "duplicate_header_field",
        ),
        (
            "<iden:memberCode>1111</iden:memberCode>",
            "",
            "internal_error",
        ),
        (
            "<iden:memberCode>1111</iden:memberCode>",
            "<iden:memberCode> </iden:memberCode>",
            "internal_error",
        ),
    ] {
        assert_eq!(refused(from, to).code(), code, "{from} {to}");
    }
    let empty_body = ANSWER.replace("<m:echoResponse xmlns:m=\"http://producer.x-road.eu\"><m:len>1135</m:len></m:echoResponse>", "");
    assert_eq!(
        scanned(&empty_body).unwrap_err(),
        SoapError::InvalidBody { children: 0 }
    );
    assert_eq!(
        refused("</soapenv:Header>", "</soapenv:Header><soapenv:Header/>"),
        SoapError::NotEnvelope
    );
}

#[test]
fn what_x_road_ignores_is_ignored() {
    for (from, to) in [
        (
            "<xro:id>",
            "<xro:unknown><xro:id>nested</xro:id></xro:unknown><xro:id>",
        ),
        ("objectType=\"SUBSYSTEM\"", "objectType=\"MEMBER\""),
        (
            "<iden:memberCode>1111",
            "<iden:other/><memberCode>9</memberCode><iden:memberCode>1111",
        ),
        ("4.0", "4.1"),
        ("<soapenv:Body>", "<!-- c --><?p i?><soapenv:Body>text"),
        ("m:echoResponse", "m:echoAnything"),
    ] {
        scanned(&ANSWER.replace(from, to)).expect(to);
    }
    assert_eq!(
        scanned(&ANSWER.replace("h1-soap", ""))
            .unwrap()
            .header()
            .unwrap()
            .id,
        ""
    );
    let untrimmed = scanned(&ANSWER.replace("h1-soap", " h1\r\n&#13;")).unwrap();
    assert_eq!(untrimmed.header().unwrap().id, " h1\n\r");
}

#[test]
fn request_hash_goes_after_the_id() {
    let answer = Bytes::from_static(ANSWER.as_bytes());
    let out = with_request_hash(&answer, &scanned(ANSWER).unwrap(), "aGFzaA==").unwrap();
    let element = "<xro:requestHash algorithmId=\"http://www.w3.org/2001/04/xmlenc#sha512\">aGFzaA==</xro:requestHash>";
    let expected = ANSWER.replace("</xro:id>", &format!("</xro:id>\n    {element}"));
    assert_eq!(out, expected);

    // an old hash leaves, before or behind
    for (at, place) in [
        (
            "<xro:id>",
            "<xro:requestHash x='1'>old</xro:requestHash><xro:id>",
        ),
        ("</xro:id>", "</xro:id><xro:requestHash/>"),
    ] {
        let old = Bytes::from(ANSWER.replace(at, place));
        let out =
            with_request_hash(&old, &scan(&old, &Limits::default()).unwrap(), "aGFzaA==").unwrap();
        assert_eq!(
            String::from_utf8(out.to_vec())
                .unwrap()
                .matches("requestHash")
                .count(),
            2
        );
        let header = scan(&out, &Limits::default()).unwrap();
        assert_eq!(
            header.header().unwrap().request_hash.as_deref(),
            Some("aGFzaA==")
        );
    }

    // no prefix, own declaration, empty element
    let own = Bytes::from(ANSWER.replace(
        "<xro:id>h1-soap</xro:id>",
        "<id b='1' xmlns='http://x-road.eu/xsd/xroad.xsd'/>",
    ));
    let out =
        with_request_hash(&own, &scan(&own, &Limits::default()).unwrap(), "aGFzaA==").unwrap();
    let text = String::from_utf8(out.to_vec()).unwrap();
    assert!(
        text.contains("/>\n    <requestHash xmlns=\"http://x-road.eu/xsd/xroad.xsd\" algorithmId"),
        "{text}"
    );
    assert!(
        scan(&out, &Limits::default())
            .unwrap()
            .header()
            .unwrap()
            .request_hash
            .is_some()
    );

    assert_eq!(
        with_request_hash(&answer, &scanned(ANSWER).unwrap(), "<").unwrap_err(),
        SoapError::Hash
    );
    let fault = Fault::new("a", "b", "c").to_soap();
    assert!(with_request_hash(&fault, &scan(&fault, &Limits::default()).unwrap(), "a").is_err());
}

#[test]
fn latin1_is_read_where_the_declaration_says_so() {
    let text = ANSWER
        .replace("UTF-8", "ISO-8859-1")
        .replace("EE<", "Järv ä<")
        .replace("    <xro:id>", "  ä  <xro:id>");
    let bytes: Bytes = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
    let soap = scan(&bytes, &Limits::default()).unwrap();
    assert_eq!(
        soap.header().unwrap().user_id.as_deref(),
        Some("Järv ä1&&2")
    );
    let out = with_request_hash(&bytes, &soap, "aGFzaA==").unwrap();
    let again = scan(&out, &Limits::default()).unwrap();
    assert_eq!(
        again.header().unwrap().request_hash.as_deref(),
        Some("aGFzaA==")
    );
    // without the declaration it is not UTF-8
    let bytes = Bytes::from(
        bytes
            .iter()
            .copied()
            .skip(bytes.iter().position(|b| *b == b'\n').unwrap())
            .collect::<Vec<_>>(),
    );
    assert_eq!(
        scan(&bytes, &Limits::default()).unwrap_err(),
        SoapError::Xml(XmlError::NotUtf8)
    );
}

#[test]
fn faults_are_read_in_every_shape() {
    let ours = Fault::new(
        "server.clientproxy.network_error",
        "can't <reach> & \"quit\"",
        "uuid",
    );
    assert_eq!(
        scan(&ours.to_soap(), &Limits::default()).unwrap().fault(),
        Some(&ours)
    );
    let fault = |inside: &str| {
        let text = format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><s:Fault>{inside}</s:Fault></s:Body></s:Envelope>"
        );
        scanned(&text).unwrap().fault().cloned().unwrap()
    };
    let bare = fault("<s:faultcode> s:Server </s:faultcode><faultstring>x</faultstring>");
    assert_eq!(
        (bare.code().as_str(), bare.message(), bare.detail()),
        ("s:Server", "x", None)
    );
    let direct = fault("<faultcode>a</faultcode><faultactor>b</faultactor><detail>why</detail>");
    assert_eq!((direct.actor(), direct.detail()), ("b", Some("why")));
    assert_eq!(fault("<detail><x>why</x></detail>").detail(), None);
    // a fault under a bad header is still a fault
    let bad = ANSWER.replace("4.0", "x").replace(
        "m:echoResponse xmlns:m=\"http://producer.x-road.eu\"",
        "soapenv:Fault xmlns:m=\"u\"",
    );
    let bad = bad.replace("</m:echoResponse>", "</soapenv:Fault>");
    assert!(scanned(&bad).unwrap().fault().is_some());
}

#[test]
fn answers_are_compared() {
    let header = |text: &str| scanned(text).unwrap().header().cloned().unwrap();
    let request = header(&ANSWER.replace("echoResponse", "echo"));
    check_answers(&request, &header(ANSWER)).unwrap();
    check_answers(&request, &header(&ANSWER.replace("4.0", "4.1"))).unwrap();
    for (from, to, field) in [
        ("Consumer", "Other", "client"),
        ("v1", "v2", "service"),
        ("h1-soap", "h2", "id"),
        (
            "<xro:userId>EE<![CDATA[1&]]>&amp;2</xro:userId>",
            "",
            "userId",
        ),
        ("<xro:id>", "<xro:issue/><xro:id>", "issue"),
        (
            "<repr:partyClass>COM</repr:partyClass>",
            "",
            "representedParty",
        ),
    ] {
        assert_eq!(
            check_answers(&request, &header(&ANSWER.replace(from, to)))
                .unwrap_err()
                .field,
            field
        );
    }
}

#[test]
fn hostile_messages_are_refused() {
    let small = Limits {
        soap_part_bytes: 100,
        ..Limits::default()
    };
    assert!(matches!(
        scan(ANSWER.as_bytes(), &small),
        Err(SoapError::TooLarge { .. })
    ));
    let mut scanner = SoapScanner::new(&small);
    assert!(scanner.push(&Bytes::from_static(&[b'x'; 101])).is_err());
    assert!(matches!(
        refused("1135", &"<a>".repeat(100_000)),
        SoapError::Xml(XmlError::Budget { .. })
    ));
    assert!(matches!(
        refused("h1-soap", &"x".repeat(2_000)),
        SoapError::TooLarge { .. }
    ));
    assert!(matches!(
        refused("COM", &"x".repeat(100_000)),
        SoapError::TooLarge { .. }
    ));
    let many: String = (0..100_000).map(|n| format!("<h{n}/>")).collect();
    scanned(&ANSWER.replace("<xro:id>", &format!("{many}<xro:id>"))).unwrap();
    assert!(scan(b"", &Limits::default()).is_err());
    let utf16: Vec<u8> = ANSWER.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(
        scan(&utf16, &Limits::default()).unwrap_err().code(),
        "invalid_soap"
    );
}

#[test]
fn soap_actions() {
    for good in [
        &b""[..],
        b"\"\"",
        b"\"urn:echo\"",
        b"\"http://a/b?c#d\"",
        b"\"a/b\"",
        b"\"%20\"",
        b"\"J\xc3\xa4rv\"",
    ] {
        assert!(soap_action_is_valid(good), "{good:?}");
    }
    for bad in [
        &b"urn:echo"[..],
        b"\"",
        b"\"a b\"",
        b"\"%2\"",
        b"\":\"",
        b"\"urn:\"",
        b"\"1a:b\"",
        b"\"a\"b\"",
        b"\"a#b#c\"",
        b"\"a\\b\"",
    ] {
        assert!(!soap_action_is_valid(bad), "{bad:?}");
    }
}
