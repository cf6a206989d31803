use super::*;

#[test]
fn soap_is_the_recorded_document() {
    let fault = Fault::new(
        "server.serverproxy.access_denied",
        "Request is not allowed: SERVICE:DEV/COM/2222/Provider/noacl",
        "c686ba1c-8130-46b3-aedc-926725e7a1b1",
    );
    // what an X-Road 7.8.0 server answered on port 5500, and to its consumer
    let soap = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><SOAP-ENV:Envelope \
                xmlns:SOAP-ENV=\"http://schemas.xmlsoap.org/soap/envelope/\"><SOAP-ENV:Body><SOAP-ENV:Fault>\
                <faultcode>server.serverproxy.access_denied</faultcode><faultstring>Request is not allowed: \
                SERVICE:DEV/COM/2222/Provider/noacl</faultstring><faultactor></faultactor><detail><faultDetail \
                xmlns=\"\">c686ba1c-8130-46b3-aedc-926725e7a1b1</faultDetail></detail></SOAP-ENV:Fault>\
                </SOAP-ENV:Body></SOAP-ENV:Envelope>";
    assert_eq!(fault.to_soap(), soap);
    assert_eq!(soap.len(), 455);
    let json = "{\"type\":\"server.serverproxy.access_denied\",\"message\":\"Request is not allowed: \
                SERVICE:DEV/COM/2222/Provider/noacl\",\"detail\":\"c686ba1c-8130-46b3-aedc-926725e7a1b1\"}";
    assert_eq!(fault.to_rest_json(), json);
    assert_eq!(fault.rest_status(), 500);
}

#[test]
fn json_and_xml_escape() {
    let fault = Fault::new("client.x", "a \"b\" \\ <c> & \n\u{1}", "d");
    assert_eq!(
        fault.to_rest_json(),
        "{\"type\":\"client.x\",\"message\":\"a \\\"b\\\" \\\\ <c> & \\n\\u0001\",\"detail\":\"d\"}"
    );
    assert_eq!(
        fault.to_rest_xml(),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><error><type>client.x</type><message>a &quot;b&quot; \\ &lt;c&gt; &amp; \
         \n</message><detail>d</detail></error>"
    );
    assert_eq!(fault.rest_status(), 400);
}

#[test]
fn spellings_are_one() {
    assert!(same(
        "Server.ServerProxy.AccessDenied",
        "server.serverproxy.access_denied"
    ));
    assert!(same(
        "Server.ClientProxy.OutdatedGlobalConf",
        "server.clientproxy.global_conf_outdated"
    ));
    assert!(same("IOError", "io_error"));
    assert!(same(
        "LoggingFailed.TimestamperFailed",
        "logging_failed.timestamping_failed"
    ));
    assert!(!same("a.b", "ab"));
    assert!(!same("access_denied", "access_denied.x"));
    assert_eq!(FaultCode::from("Client.InvalidSoap"), "client.invalid_soap");
    assert_eq!(Fault::new("SERVER.x", "", "").rest_status(), 500);
}

#[test]
fn prefixes_are_not_doubled() {
    assert_eq!(
        compose(&["server.clientproxy"], "network_error"),
        "server.clientproxy.network_error"
    );
    assert_eq!(
        compose(&["server.clientproxy"], "server.clientproxy.io_error"),
        "server.clientproxy.io_error"
    );
    assert_eq!(
        compose(
            &["server.serverproxy", "signature_verification"],
            "invalid_reference"
        ),
        "server.serverproxy.signature_verification.invalid_reference"
    );
    assert_eq!(
        compose(&["server.serverproxy"], "server.serverproxyx.io_error"),
        "server.serverproxy.server.serverproxyx.io_error"
    );
}

#[test]
fn blame_and_repeat_follow_the_code() {
    for (code, blame, repeat) in [
        ("Client.InvalidSoap", Blame::Consumer, Repeat::No),
        (
            "server.clientproxy.unknown_member",
            Blame::Consumer,
            Repeat::No,
        ),
        ("Server.ClientProxy.NetworkError", Blame::Peer, Repeat::Yes),
        (
            "server.clientproxy.maintenance_mode",
            Blame::Peer,
            Repeat::Later,
        ),
        ("server.clientproxy.io_error", Blame::Peer, Repeat::No),
        (
            "server.clientproxy.global_conf_outdated",
            Blame::Us,
            Repeat::Later,
        ),
        ("server.clientproxy.internal_error", Blame::Us, Repeat::No),
        (
            "Server.ServerProxy.AccessDenied",
            Blame::Consumer,
            Repeat::No,
        ),
        (
            "server.serverproxy.service_disabled",
            Blame::Service,
            Repeat::Later,
        ),
        (
            "server.serverproxy.network_error",
            Blame::Service,
            Repeat::Yes,
        ),
        (
            "server.serverproxy.service_failed.http_error",
            Blame::Service,
            Repeat::No,
        ),
        (
            "server.serverproxy.logging_failed.timestamping_failed",
            Blame::Peer,
            Repeat::Later,
        ),
        (
            "server.serverproxy.signature_verification.invalid_reference",
            Blame::Us,
            Repeat::No,
        ),
        ("soap:Server", Blame::Service, Repeat::No),
    ] {
        let fault = Fault::new(code, "", "");
        assert_eq!((fault.blame(), fault.repeat()), (blame, repeat), "{code}");
    }
}

#[test]
fn xml_goes_to_whom_accepts_it() {
    assert_eq!(RestFaultForm::choose([]), RestFaultForm::Json);
    assert_eq!(RestFaultForm::choose(["*/*"]), RestFaultForm::Json);
    assert_eq!(
        RestFaultForm::choose(["application/json, Text/*;q=0.1"]),
        RestFaultForm::TextXml
    );
    assert_eq!(
        RestFaultForm::choose(["a/b", "application/xml"]),
        RestFaultForm::ApplicationXml
    );
}

#[test]
fn codes_are_dotless_and_lower_case() {
    for code in codes::ALL {
        assert!(
            code.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{code}"
        );
    }
}
