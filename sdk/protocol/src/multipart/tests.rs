use super::*;

type Parts = Vec<(PartHeaders, Vec<u8>)>;

/// Parts as headers and body, read in chunks of a size.
fn read(boundary: &str, data: &[u8], chunk: usize) -> (Parts, Result<(), MultipartError>) {
    let mut reader = MultipartReader::new(boundary.as_bytes(), MultipartLimits::default()).unwrap();
    let mut parts = Vec::new();
    let mut open = None;
    let mut collect = |reader: &mut MultipartReader| {
        while let Some(event) = reader.poll_event() {
            match event {
                MultipartEvent::PartStart(headers) => open = Some((headers, Vec::new())),
                MultipartEvent::Data(data) => open.as_mut().unwrap().1.extend_from_slice(&data),
                MultipartEvent::PartEnd => parts.push(open.take().unwrap()),
                MultipartEvent::End => assert!(open.is_none()),
            }
        }
    };
    for chunk in data.chunks(chunk.max(1)) {
        if let Err(error) = reader.push(Bytes::from(chunk.to_vec())) {
            return (parts, Err(error));
        }
        collect(&mut reader);
    }
    let end = reader.finish();
    collect(&mut reader);
    (parts, end)
}

fn bodies(boundary: &str, data: &[u8]) -> Vec<String> {
    let whole = read(boundary, data, data.len());
    for chunk in 1..data.len() {
        assert_eq!(read(boundary, data, chunk), whole, "chunks of {chunk}");
    }
    whole.1.unwrap();
    whole
        .0
        .into_iter()
        .map(|(_, body)| String::from_utf8(body).unwrap())
        .collect()
}

#[test]
fn what_is_written_is_x_roads_layout() {
    let mut writer = MultipartWriter::new("xtopA");
    let mut out = writer.part("application/ocsp-response", []).to_vec();
    out.extend_from_slice(b"DER");
    out.extend_from_slice(&writer.part("text/xml", [("X-A", &b"1"[..])]));
    out.extend_from_slice(b"<a/>");
    assert_eq!(
        writer.content_type(),
        "multipart/mixed; charset=UTF-8; boundary=xtopA"
    );
    out.extend_from_slice(&writer.close());
    assert_eq!(
        String::from_utf8(out.clone()).unwrap(),
        "--xtopA\r\ncontent-type: application/ocsp-response\r\n\r\nDER\r\n--xtopA\r\ncontent-type: text/xml\r\nX-A: 1\r\n\
         \r\n<a/>\r\n--xtopA--\r\n"
    );
    let (parts, end) = read("xtopA", &out, 7);
    end.unwrap();
    assert_eq!(parts[0].0.content_type(), Some("application/ocsp-response"));
    assert_eq!(
        parts[1].0.iter().collect::<Vec<_>>(),
        [("content-type", &b"text/xml"[..]), ("X-A", b"1")]
    );
}

#[test]
fn boundaries_are_letters() {
    let text = boundary(
        "xtop",
        &std::array::from_fn(|index| u8::try_from(index * 8).unwrap()),
    );
    assert_eq!(text.len(), 34);
    assert!(
        text.starts_with("xtop") && text.chars().all(|c| c.is_ascii_alphabetic()),
        "{text}"
    );
}

#[test]
fn odd_but_accepted_shapes() {
    for (data, expected) in [
        // preamble, epilogue, padding
        (
            "hello\r\n\r\n--B  \r\n\r\none\r\n--B\t\r\na: b\r\n\r\ntwo\r\n--B-- \r\nbye",
            vec!["one", "two"],
        ),
        // LF only
        ("--B\na: b\n\none\n--B\n\ntwo\n--B--\n", vec!["one", "two"]),
        // no line end at the end
        ("--B\r\n\r\none\r\n--B--", vec!["one"]),
        // empty bodies, with and without a line break of their own
        ("--B\r\n\r\n\r\n--B\r\n\r\n--B--", vec!["", ""]),
        // no blank line at all
        ("--B\r\na: b\r\n--B--\r\n", vec![""]),
        // lines that begin like the boundary, and the boundary inside a line
        (
            "--B\r\n\r\n--BC\r\nx--B\r\n--B-\r\n--B--x\r\n--B x\r\n--B--\r\n",
            vec!["--BC\r\nx--B\r\n--B-\r\n--B--x\r\n--B x"],
        ),
        // line breaks that belong to the body
        ("--B\r\n\r\none\r\n\r\n\r\n--B--\r\n", vec!["one\r\n\r\n"]),
        ("--B\r\n\r\none\r\r\n--B--\r\n", vec!["one\r"]),
        ("--B\r\n\r\n\r\n\r\n--B--\r\n", vec!["\r\n"]),
        // no part at all
        ("\r\n--B--\r\n", vec![]),
        ("--B--", vec![]),
    ] {
        assert_eq!(bodies("B", data.as_bytes()), expected, "{data:?}");
    }
}

#[test]
fn part_headers_are_read_leniently() {
    let data = b"--B\r\nContent-Type: a/b;\r\n  c=d\r\nno colon\r\n folded\r\nbad name: x\r\nX-\xe4: 1\r\ncontent-type: second\r\nN : \xe4 \r\n\r\n\r\n--B--";
    let (parts, end) = read("B", data, 3);
    end.unwrap();
    let headers = &parts[0].0;
    assert_eq!(headers.content_type(), Some("a/b; c=d"));
    assert_eq!(headers.get("n"), Some(&b"\xe4"[..]));
    assert_eq!(headers.iter().count(), 3);
}

#[test]
fn truncation_is_seen() {
    let whole = b"--B\r\na: b\r\n\r\none\r\n--B\r\n\r\ntwo\r\n--B--";
    for length in 0..whole.len() {
        assert_eq!(
            read("B", &whole[..length], 5).1,
            Err(MultipartError::NotClosed),
            "{length}"
        );
    }
    read("B", whole, 5).1.unwrap();
}

#[test]
fn truncated_part_keeps_its_bytes() {
    let mut reader = MultipartReader::new(b"B", MultipartLimits::default()).unwrap();
    reader
        .push(Bytes::from_static(b"--B\r\n\r\none\r\n--B"))
        .unwrap();
    assert!(!reader.closed());
    reader.finish().unwrap_err();
    let mut data = Vec::new();
    while let Some(event) = reader.poll_event() {
        if let MultipartEvent::Data(bytes) = event {
            data.extend_from_slice(&bytes);
        }
    }
    assert_eq!(data, b"one\r\n--B");
}

#[test]
fn body_bytes_are_not_copied() {
    let mut reader = MultipartReader::new(b"B", MultipartLimits::default()).unwrap();
    let chunk = Bytes::from(format!("--B\r\n\r\n{}", "x".repeat(1_000)));
    reader.push(chunk.clone()).unwrap();
    reader.poll_event().unwrap();
    let Some(MultipartEvent::Data(data)) = reader.poll_event() else {
        panic!()
    };
    assert_eq!(data.as_ptr(), chunk[7..].as_ptr());
    assert_eq!(data.len(), 1_000);
}

#[test]
fn hostile_multiparts_are_refused() {
    let refused = |data: String| match read("B", data.as_bytes(), 4_096).1.unwrap_err() {
        MultipartError::TooLarge { what, .. } => what,
        other => panic!("{other}"),
    };
    assert_eq!(refused("--B\r\n\r\n\r\n".repeat(100)), "parts");
    assert_eq!(
        refused(format!("--B\r\na: {}", "x".repeat(2_000))),
        "bytes in a header line of a part"
    );
    assert_eq!(
        refused(format!("--B\r\n{}", "a: b\r\n".repeat(5_000))),
        "header lines in a part"
    );
    assert_eq!(
        refused(format!("--B\r\n{}", "a: bcdefghi\r\n".repeat(900))),
        "bytes in the headers of a part"
    );
    assert_eq!(refused("x".repeat(100_000)), "bytes outside its parts");
    assert_eq!(refused("\r\n--".repeat(100_000)), "bytes outside its parts");
    assert_eq!(
        refused(format!("--B--\r\n{}", "x".repeat(100_000))),
        "bytes outside its parts"
    );
    for bad in [&b""[..], b"a\nb", b"a\r", &[b'x'; 201]] {
        assert_eq!(
            MultipartReader::new(bad, MultipartLimits::default()).unwrap_err(),
            MultipartError::Boundary
        );
    }
    // endless padding is content
    let padded = format!("--B\r\n\r\none\r\n--B{}\r\n--B--\r\n", " ".repeat(1_000));
    assert_eq!(
        read("B", padded.as_bytes(), 10).0[0].1.len(),
        3 + 2 + 3 + 1_000
    );
}
