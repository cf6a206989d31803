//! Every entry point from bytes to a result, fed with what nobody should send: an answer in bounded time, never a panic.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what it met by failing, and what it skips"
)]

use std::path::PathBuf;

use bytes::Bytes;
use jibek_certs::parse::Certificate;
use jibek_conf::{
    Anchor, Snapshot,
    model::{
        AnchorContent, AnchorSource, GlobalGroup, ManagementService, Member, MemberClass,
        PrivateParameters, SecurityServer, SharedParameters, SourceAddress, Subsystem,
    },
    part::{self, render_anchor, render_private, render_shared},
    snapshot::InstanceParts,
    verify::{read_signed, verify_directory},
};
use jibek_protocol::id::{ClientId, MemberId, ServerId};
use proptest::prelude::*;
use time::{OffsetDateTime, macros::datetime};

const NOW: OffsetDateTime = datetime!(2026-05-20 17:00 UTC);

fn client() -> ClientId {
    ClientId::new("KG", "GOV", "1", Some("a")).unwrap()
}

fn shared() -> String {
    let id = MemberId::new("KG", "GOV", "1").unwrap();
    let mut shared = SharedParameters::new("KG");
    shared.sources.push(SourceAddress {
        address: "a.example.kg".to_owned(),
        internal_certificates: vec![Bytes::from_static(b"0one")],
        external_certificates: vec![Bytes::from_static(b"0two")],
    });
    shared.member_classes.push(MemberClass {
        code: "GOV".to_owned(),
        description: "Government".to_owned(),
    });
    shared.members.push(Member {
        id: id.clone(),
        class_description: "Government".to_owned(),
        name: "Түндүк & <others>".to_owned(),
        subsystems: vec![Subsystem {
            code: "a".to_owned(),
            name: Some("A".to_owned()),
        }],
    });
    shared.servers.push(SecurityServer {
        id: ServerId::new(id.clone(), "ss1").unwrap(),
        address: Some("192.0.2.1".to_owned()),
        auth_certificate_hashes: vec![Bytes::from_static(&[0xab; 32])],
        clients: vec![client()],
        maintenance: None,
    });
    shared.groups.push(GlobalGroup {
        code: "courts".to_owned(),
        description: "Courts".to_owned(),
        members: vec![ClientId::from(id)],
    });
    render_shared(&shared, 6).unwrap()
}

fn anchor() -> AnchorContent {
    AnchorContent {
        generated_at: Some(NOW),
        instance: "EE".to_owned(),
        sources: vec![AnchorSource {
            url: "http://a.example.ee/externalconf".to_owned(),
            certificates: vec![Bytes::from_static(b"0three")],
        }],
    }
}

fn private() -> String {
    let management = ManagementService {
        registration_url: "https://a.example.kg:4001/".to_owned(),
        registration_certificate: Some(Bytes::from_static(b"0four")),
        provider: client(),
    };
    let mut private = PrivateParameters::new("KG", management);
    private.anchors.push(anchor());
    render_private(&private)
}

/// All entry points; what they say is theirs.
fn feed(bytes: &[u8]) {
    for version in 0..=7 {
        let _ = part::parse_shared(bytes, version);
    }
    let _ = part::parse_private(bytes);
    let _ = part::parse_monitoring(bytes);
    let _ = part::parse_fetch_interval(bytes);
    let _ = part::parse_next_update(bytes);
    let _ = part::parse_anchor(bytes);
    let _ = Anchor::parse(bytes.to_vec());
    let _ = read_signed(bytes);
    let _ = verify_directory(bytes, &[], NOW);
    let mut parts = InstanceParts::new("KG", 6, shared());
    parts.private = Some(Bytes::copy_from_slice(bytes));
    parts.optional = vec![(part::MONITORING.to_owned(), Bytes::copy_from_slice(bytes))];
    let _ = Snapshot::from_parts("KG", vec![parts]);
    let parts = InstanceParts::new("KG", 6, Bytes::copy_from_slice(bytes));
    if let Ok(snapshot) = Snapshot::from_parts("KG", vec![parts]) {
        assert_eq!(snapshot.own_instance(), "KG");
        assert!(snapshot.servers().count() <= bytes.len());
    }
}

/// One change to a document.
#[derive(Clone, Debug)]
enum Edit {
    Cut(usize),
    Flip(usize, u8),
    Insert(usize, String),
    Repeat(usize, usize, usize),
    Remove(usize, usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let tokens = prop::sample::select(vec![
        "<",
        ">",
        "&",
        "&#0;",
        "]]>",
        "<![CDATA[",
        "<!--",
        "<?x?>",
        "<!DOCTYPE x>",
        "\0",
        "\u{feff}",
        "</conf>",
        "<conf>",
        "xmlns:a=''",
        "\r\n\r\n",
        "--",
        "boundary=",
        "; instance='",
        "\u{202e}",
        "99999999999999999999",
        "-1",
        "NaN",
        "=",
        "\"",
    ]);
    let at = 0..20_000_usize;
    prop::collection::vec(
        prop_oneof![
            at.clone().prop_map(Edit::Cut),
            (at.clone(), any::<u8>()).prop_map(|(at, mask)| Edit::Flip(at, mask)),
            (at.clone(), tokens).prop_map(|(at, token)| Edit::Insert(at, token.to_owned())),
            (at.clone(), 1..400_usize, 1..50_usize)
                .prop_map(|(at, length, times)| Edit::Repeat(at, length, times)),
            (at, 1..400_usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        ],
        1..6,
    )
}

fn edited(document: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = document.to_vec();
    for edit in edits {
        let within = |at: &usize| at % (bytes.len() + 1);
        match edit {
            Edit::Cut(at) => {
                let at = within(at);
                bytes.truncate(at);
            }
            Edit::Flip(at, mask) => {
                let at = within(at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= mask;
                }
            }
            Edit::Insert(at, token) => {
                let at = within(at);
                bytes.splice(at..at, token.bytes());
            }
            Edit::Repeat(at, length, times) => {
                let at = within(at);
                let piece = bytes[at..bytes.len().min(at + length)].repeat(*times);
                bytes.splice(at..at, piece);
            }
            Edit::Remove(at, length) => {
                let at = within(at);
                bytes.drain(at..bytes.len().min(at + length));
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changed_documents_are_read_or_refused(changes in edits(), which in 0..5_usize) {
        let documents = [
            shared(),
            private(),
            render_anchor(&anchor()),
            DIRECTORY.replace('\n', "\r\n"),
            "<x:conf xmlns:x=\"http://x-road.eu/xsd/xroad.xsd\"><ocspFetchInterval>500</ocspFetchInterval></x:conf>".to_owned(),
        ];
        feed(&edited(documents[which].as_bytes(), &changes));
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        feed(&bytes);
    }

    #[test]
    fn identifiers_of_any_characters_come_back_or_are_refused(code in "\\PC{1,20}", name in "\\PC{0,20}") {
        let Ok(id) = MemberId::new("KG", "GOV", &code) else { return Ok(()) };
        let mut shared = SharedParameters::new("KG");
        shared.sources.push(SourceAddress {
            address: "a".to_owned(),
            internal_certificates: Vec::new(),
            external_certificates: Vec::new(),
        });
        shared.members.push(Member { id, class_description: "x".to_owned(), name, subsystems: Vec::new() });
        if let Ok(xml) = render_shared(&shared, 6) {
            prop_assert_eq!(part::parse_shared(xml.as_bytes(), 6).unwrap(), shared);
        }
    }
}

/// What every reader of XML must withstand, as a document that would otherwise be right.
#[test]
fn xml_that_is_made_to_hurt_is_refused_with_a_reason() {
    let right = shared();
    part::parse_shared(right.as_bytes(), 6).unwrap();
    let with = |from: &str, to: &str| {
        assert!(right.contains(from), "{from}");
        right.replacen(from, to, 1)
    };
    let megabyte = "a".repeat(1 << 20);
    let entity = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;\">]>";
    let external = "<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>";
    let attributes: String = (0..100_000).map(|at| format!(" a{at}=''")).collect();
    let namespaces: String = (0..100_000)
        .map(|at| format!(" xmlns:n{at}='urn:{at}'"))
        .collect();
    let head = right.find("<ns").unwrap();
    let declared = |dtd: &str| format!("{}{dtd}{}", &right[..head], &right[head..]);
    let cases = [
        ("a DTD", declared("<!DOCTYPE x>")),
        ("entities", declared(entity).replace("a.example.kg", "&b;")),
        (
            "an external entity",
            declared(external).replace("a.example.kg", "&a;"),
        ),
        ("an undeclared entity", with("a.example.kg", "&nbsp;")),
        (
            "depth",
            with("</source>", &format!("</source>{}", "<x>".repeat(200_000))),
        ),
        (
            "attributes",
            with("<source>", &format!("<source{attributes}>")),
        ),
        (
            "namespaces",
            with("<source>", &format!("<source{namespaces}>")),
        ),
        (
            "a name of a megabyte",
            with("<source>", &format!("<{megabyte}/><source>")),
        ),
        (
            "a duplicate attribute",
            with("<member id=", "<member id='x' id="),
        ),
        ("a null character", with("a.example.kg", "a\0b")),
        ("two roots", format!("{right}{right}")),
        ("an undeclared prefix", with("<source>", "<q:source>")),
        (
            "UTF-16",
            right
                .encode_utf16()
                .map(|unit| char::from_u32(u32::from(unit)).unwrap_or('?'))
                .flat_map(|c| ['\0', c])
                .collect(),
        ),
    ];
    for (what, document) in cases {
        let error = part::parse_shared(document.as_bytes(), 6).unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.len() < 2000,
            "{what}: an error of {} bytes",
            shown.len()
        );
        println!("{what}: {shown}");
    }
    // An attribute of another namespace is no id.
    let other = with("<member id=", "<member xmlns:e='urn:e' e:id='id1' id=");
    assert_eq!(
        part::parse_shared(other.as_bytes(), 6).unwrap(),
        part::parse_shared(right.as_bytes(), 6).unwrap()
    );
    // A value of a megabyte is a value; what is said of it is short.
    let long = with(
        "ocspFreshnessSeconds>3600<",
        &format!("ocspFreshnessSeconds>{megabyte}<"),
    );
    assert!(
        part::parse_shared(long.as_bytes(), 6)
            .unwrap_err()
            .to_string()
            .len()
            < 500
    );
}

/// Signed directories with a valid signature cannot be had from others; what is inside is read as carefully all the same.
#[test]
fn multiparts_that_are_made_to_hurt_are_refused_with_a_reason() {
    let right = DIRECTORY.replace('\n', "\r\n");
    let contents = read_signed(right.as_bytes()).unwrap();
    assert_eq!((contents.parts().len(), contents.version()), (1, 6));
    let with = |from: &str, to: &str| {
        assert!(right.contains(from), "{from}");
        right.replacen(from, to, 1)
    };
    let long = "x".repeat(900_000);
    let part =
        "--b\nContent-type: application/octet-stream\nContent-transfer-encoding: base64\n\nx\n";
    for (what, document) in [
        ("a long location", with("/V6/1/shared-params.xml", &long)),
        (
            "a long identifier of the digest",
            with("xmlenc#sha512", &long),
        ),
        (
            "a long version",
            with("Version: 6", &format!("Version: {long}")),
        ),
        ("a long date", with("2035-11-11", &long)),
        (
            "a long type",
            with(
                "Content-Type: multipart/mixed",
                &format!("Content-Type: {long}"),
            ),
        ),
        (
            "a header folded without end",
            with(
                "Version: 6",
                &format!("Version: 6{}", "\r\n x".repeat(100_000)),
            ),
        ),
        (
            "parts without location",
            with("--b--", &format!("{}--b--", part.repeat(10_000))),
        ),
        ("no boundary", with("boundary=b", "boundary=")),
        ("no date", with("Expire-date", "Expired-date")),
        ("another encoding", with("base64\r\n", "BASE64\r\n")),
        ("half a digest", with("AAAAAAAA==", "AA==")),
        ("a version of the future", with("Version: 6", "Version: 7")),
        (
            "headers only",
            right[..right.find("--b").unwrap()].to_owned(),
        ),
    ] {
        let error = read_signed(document.as_bytes()).unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.len() < 1000,
            "{what}: an error of {} bytes",
            shown.len()
        );
        println!("{what}: {shown}");
    }
    // Headers beyond the bound belong to the body, which is then no digest.
    let flood = with(
        "Hash-algorithm-id",
        &format!("{}Hash-algorithm-id", "X: y\r\n".repeat(1000)),
    );
    assert!(read_signed(flood.as_bytes()).is_err());
}

/// Changed bytes of real directories under the right key never verify, and the outcome comes quickly.
#[test]
fn real_directories_do_not_verify_when_a_byte_changes() {
    let Some(root) = fixtures("real_directories_do_not_verify_when_a_byte_changes") else {
        return;
    };
    let raw = std::fs::read(root.join("signed-directory/test-conf-simple.txt")).unwrap();
    let key = std::fs::read(root.join("certs/consumer.pem")).unwrap();
    let keys = [Certificate::from_pem(&key).unwrap()];
    let right = verify_directory(&raw, &keys, NOW).unwrap();
    for at in 0..raw.len() {
        let mut changed = raw.clone();
        changed[at] ^= 1;
        if let Ok(same) = verify_directory(&changed, &keys, NOW) {
            // Outside of what is signed: preamble, header spelling, the line breaks of the signature.
            assert_eq!(same, right, "byte {at}");
        }
    }
}

fn fixtures(test: &str) -> Option<PathBuf> {
    let default = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/fixtures/xroad"
    );
    let root = std::env::var_os("JIBEK_XROAD_FIXTURES")
        .map_or_else(|| PathBuf::from(default), PathBuf::from);
    if root.is_dir() {
        return Some(root);
    }
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "fixtures absent"
    );
    println!("SKIPPED {test}: fixtures absent");
    None
}

/// The signed part of a directory, with LF for CRLF.
const DIRECTORY: &str = "Content-Type: multipart/mixed; charset=UTF-8; boundary=b

--b
Expire-date: 2035-11-11T03:07:40Z
Version: 6

--b
Content-type: application/octet-stream
Content-transfer-encoding: base64
Content-identifier: SHARED-PARAMETERS; instance='KG'
Content-location: /V6/1/shared-params.xml
Hash-algorithm-id: http://www.w3.org/2001/04/xmlenc#sha512

AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==
--b--
";
