use bytes::Bytes;

use super::*;
use crate::header;

const REQUEST: &str = "GET\r\n/r1/DEV/COM/2222/Provider/rest/hello?x=1&y=%20z\r\nX-Road-Client:DEV/COM/1111/Consumer\r\n\
                       X-Road-Id:h1\r\nX-Custom:One\r\nx-custom:Two\r\nx-road-request-id:7fa6\r\n";

fn sealed() -> RestRequestBlock {
    let headers: [(&[u8], &[u8]); 8] = [
        (b"Host", b"x"),
        (b"X-Road-Client", b"DEV/COM/1111/Consumer"),
        (b"X-Road-Id", b" h1 "),
        (b"X-Custom", b"One"),
        (b"User-Agent", b"curl"),
        (b"X-Road-Request-Id", b"forged"),
        (b"X-Road-Request-Hash", b"forged"),
        (b"x-custom", b"Two"),
    ];
    let path = "/r1/DEV/COM/2222/Provider/rest/hello?x=1&y=%20z";
    RestRequestBlock::seal("GET", path, headers, "7fa6", || unreachable!()).unwrap()
}

#[test]
fn request_is_written_byte_for_byte() {
    let block = sealed();
    assert_eq!(block.bytes(), REQUEST);
    assert_eq!(block.canonical(), block.bytes());
    assert_eq!(block.method(), RestMethod::Get);
    assert_eq!(
        block.target().service().to_string(),
        "SERVICE:DEV/COM/2222/Provider/rest"
    );
    assert_eq!(block.target().path(), "/hello");
    assert_eq!(block.target().query(), Some("x=1&y=%20z"));
    assert_eq!(
        block.client().to_string(),
        "SUBSYSTEM:DEV/COM/1111/Consumer"
    );
    assert_eq!(block.message_id(), "h1");
    assert_eq!(block.request_id(), Some("7fa6"));
    assert_eq!(block.header("X-CUSTOM"), Some("Two"));
}

#[test]
fn missing_message_id_is_invented_last() {
    let headers: [(&[u8], &[u8]); 2] = [(b"X-Road-Client", b"EE/GOV/1"), (b"x-road-id", b"")];
    let block = RestRequestBlock::seal("POST", "/r1/EE/GOV/2/s/c", headers, "u", || {
        "EE-1".to_owned()
    })
    .unwrap();
    assert!(
        block
            .bytes()
            .ends_with(b"x-road-id:\r\nx-road-request-id:u\r\nx-road-id:EE-1\r\n")
    );
    assert_eq!(block.message_id(), "EE-1");
    assert_eq!((block.target().path(), block.target().query()), ("", None));
}

#[test]
fn latin1_becomes_utf8_and_goes_back() {
    let headers: [(&[u8], &[u8]); 3] = [
        (b"X-Road-Client", b"EE/GOV/1"),
        (b"x-road-id", b"1"),
        (b"x-name", b"J\xe4rvi"),
    ];
    let block =
        RestRequestBlock::seal("GET", "/r1/EE/GOV/2/s/c/", headers, "u", String::new).unwrap();
    assert_eq!(block.header("x-name"), Some("Järvi"));
    let line = block.headers().find(|line| line.name == "x-name").unwrap();
    assert_eq!(line.latin1_value(), b"J\xe4rvi");
    assert_eq!(block.target().path(), "/");
}

#[test]
fn foreign_line_ends_are_read_and_canonical_differs() {
    for ending in ["\n", "\r"] {
        let foreign = Bytes::from(REQUEST.replace("\r\n", ending));
        let block = RestRequestBlock::parse(foreign.clone()).unwrap();
        assert_eq!(block.bytes(), &foreign);
        assert_eq!(block.canonical(), REQUEST);
    }
    let unfinished = REQUEST.trim_end();
    assert_eq!(
        RestRequestBlock::parse(Bytes::from_static(unfinished.as_bytes()))
            .unwrap()
            .canonical(),
        REQUEST
    );
}

#[test]
fn bad_request_blocks_are_refused() {
    use RestBlockError::*;
    let parse =
        |text: &str| RestRequestBlock::parse(Bytes::from(text.as_bytes().to_vec())).unwrap_err();
    assert_eq!(parse(""), MissingLine { line: 1 });
    assert_eq!(parse("GET\r\n"), MissingLine { line: 2 });
    assert_eq!(parse(&REQUEST.replace("GET", "get")), Method);
    assert_eq!(parse(&REQUEST.replace("GET", "CONNECT")), Method);
    assert_eq!(parse(&format!("{REQUEST}\r\n")), EmptyLine);
    assert_eq!(
        parse(&format!("{REQUEST}no colon\r\n")),
        HeaderName { number: 6 }
    );
    assert_eq!(
        parse(&format!("{REQUEST} folded:x\r\n")),
        HeaderName { number: 6 }
    );
    assert_eq!(
        parse(&format!("{REQUEST}HOST:x\r\n")),
        ForbiddenHeader {
            name: "HOST".to_owned()
        }
    );
    assert_eq!(
        parse(&format!("{REQUEST}a:b\0c\r\n")),
        HeaderValue {
            name: "a".to_owned()
        }
    );
    assert_eq!(
        parse(&REQUEST.replace("X-Road-Client", "X-Nobody")),
        MissingClient
    );
    assert_eq!(parse(&REQUEST.replace("X-Road-Id", "X-Not-Id")), MissingId);
    assert_eq!(
        parse(&REQUEST.replace("X-Road-Id:h1", "X-Road-Id:")),
        MissingId
    );
    assert!(matches!(
        parse(&REQUEST.replace("Client:DEV", "Client: DEV")),
        Identifier { .. }
    ));
    assert!(matches!(
        parse(&REQUEST.replace("/Provider/rest/hello", "/Provider")),
        Path { .. }
    ));
    for bad in [
        "hel{lo", "hel%2", "hel%zz", "hel\\lo", "hel|lo", "hélo", "he[l", "hel lo", "h#x",
    ] {
        assert!(
            matches!(parse(&REQUEST.replace("hello", bad)), Path { .. }),
            "{bad}"
        );
    }
    assert!(matches!(
        parse(&REQUEST.replace("/r1/", "/r2/")),
        Path { .. }
    ));
    assert!(matches!(
        parse(&REQUEST.replace("/r1/DEV", "//r1/DEV")),
        Path { .. }
    ));
    assert_eq!(
        RestRequestBlock::parse(Bytes::from_static(b"GET\r\n\xff\r\n")).unwrap_err(),
        NotUtf8
    );
    let long = format!("{REQUEST}{}", "a:b\r\n".repeat(limits::REST_HEADER_LINES));
    assert!(matches!(parse(&long), TooLarge { .. }));
    let long = format!("{REQUEST}a:{}\r\n", "b".repeat(limits::REST_BLOCK_BYTES));
    assert!(matches!(parse(&long), TooLarge { .. }));
}

#[test]
fn injected_lines_cannot_be_sealed() {
    for (name, value) in [
        (&b"a"[..], &b"b\r\nx-road-id:2"[..]),
        (b"a\r\nb", b"c"),
        (b"a b", b"c"),
        (b"", b"c"),
    ] {
        let headers = [
            (&b"X-Road-Client"[..], &b"EE/GOV/1"[..]),
            (b"x-road-id", b"1"),
            (name, value),
        ];
        assert!(
            RestRequestBlock::seal("GET", "/r1/EE/GOV/2/s/c", headers, "u", String::new).is_err()
        );
    }
    let headers = [(&b"X-Road-Client"[..], &b"EE/GOV/1"[..])];
    assert!(
        RestRequestBlock::seal("GET", "/r1/EE/GOV/2/s/c\r\na:b", headers, "u", || "i"
            .to_owned())
        .is_err()
    );
    assert!(
        RestRequestBlock::seal("GET", "/r1/EE/GOV/2/s/c", headers, "u\r\na:b", || "i"
            .to_owned())
        .is_err()
    );
    assert!(
        RestRequestBlock::seal("GET", "/r1/EE/GOV/2/s/c", headers, "u", || "i\nj"
            .to_owned())
        .is_err()
    );
}

#[test]
fn response_is_written_and_answers_its_request() {
    let request = sealed();
    let headers: [(&[u8], &[u8]); 5] = [
        (b"Content-Type", b"application/json"),
        (b"x-road-client", b"EVIL/A/B"),
        (b"Connection", b"close"),
        (b"Date", b"Mon, 23 Nov 2026 03:15:04 GMT"),
        (b"Server", b"x"),
    ];
    let block = RestResponseBlock::seal(200, "OK", headers, &request, "7fa6", "HASH==").unwrap();
    assert_eq!(
        block.bytes(),
        "200\r\nOK\r\nContent-Type:application/json\r\nDate:Mon, 23 Nov 2026 03:15:04 GMT\r\nx-road-id:h1\r\n\
         x-road-client:DEV/COM/1111/Consumer\r\nx-road-service:DEV/COM/2222/Provider/rest\r\nx-road-request-id:7fa6\r\n\
         x-road-request-hash:HASH==\r\n"
    );
    assert_eq!((block.status(), block.reason()), (200, "OK"));
    block.check_answers(&request, "HASH==").unwrap();
    assert_eq!(
        block.check_answers(&request, "OTHER").unwrap_err().field,
        "request hash"
    );

    let text = String::from_utf8(block.bytes().to_vec()).unwrap();
    for (field, from, to) in [
        ("client", "COM/1111", "COM/1112"),
        ("message id", "x-road-id:h1", "x-road-id:h2"),
        ("service", "Provider/rest", "Provider/REST"),
        ("request id", "7fa6", "7fa7"),
        ("request id", "x-road-request-id", "x-other"),
    ] {
        let other = RestResponseBlock::parse(text.replace(from, to).into()).unwrap();
        assert_eq!(
            other.check_answers(&request, "HASH==").unwrap_err().field,
            field
        );
    }
}

#[test]
fn bad_response_blocks_are_refused() {
    let good = "200\r\n\r\nx-road-id:1\r\nx-road-client:EE/G/1\r\nx-road-service:EE/G/2/s/c\r\nx-road-request-hash:H\r\n";
    RestResponseBlock::parse(Bytes::from_static(good.as_bytes())).unwrap();
    for (from, to) in [
        ("200", "2000"),
        ("200", " 200"),
        ("200", "+20"),
        ("200", "099"),
        ("200", ""),
        ("x-road-id:1", "x-road-id:"),
        ("hash:H", "hash:"),
        ("EE/G/2/s/c", "EE/G/2/s"),
        ("EE/G/2/s/c", " EE/G/2/s/c"),
        ("EE/G/1", "EE/G"),
        ("x-road-client", "x-road-klient"),
        ("x-road-id:1", "Server:1"),
    ] {
        assert!(
            RestResponseBlock::parse(good.replace(from, to).into()).is_err(),
            "{from} {to}"
        );
    }
    assert!(RestResponseBlock::parse(Bytes::from_static(b"200\r\n")).is_err());
}

#[test]
fn one_hop_headers_never_enter_a_block() {
    for name in header::DROPPED {
        let headers = [
            (&b"X-Road-Client"[..], &b"EE/GOV/1"[..]),
            (b"x-road-id", b"1"),
            (name.as_bytes(), b"value"),
        ];
        let block =
            RestRequestBlock::seal("GET", "/r1/EE/GOV/2/s/c", headers, "u", String::new).unwrap();
        assert_eq!(block.header(name), None);
    }
}
