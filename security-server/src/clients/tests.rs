use std::{net::Ipv4Addr, path::Path};

use jibek_certs::{Clock, SystemClock};
use jibek_conf::files::atomic_write;
use jibek_protocol::path::normalise_for_access;

use super::*;

const DOCUMENT: &str = r#"
client = "KG/GOV/70000001/population"
connection = "http"

[[service]]
code = "persons"
kind = "rest"
url = "http://127.0.0.1:9000/api"
timeout_seconds = 5

[[service.allow]]
subject = "KG/GOV/70000002/cadastre"
method = "get"
path = "/persons/*"

[[service.allow]]
subject = "local:friends"

[[service]]
code = "registry"
version = "v1"
kind = "soap"
url = "https://registry.example/soap"
disabled = "back on Monday"

[[service.allow]]
subject = "KG/GOV/70000002/cadastre"

[[group]]
code = "friends"
members = ["KG/GOV/70000003", "KG/GOV/70000004/tax"]
"#;

#[test]
fn a_document_says_who_may_do_what() {
    let client = document::parse(DOCUMENT, Path::new("clients/population.toml")).unwrap();
    let persons = client.service("persons", None).unwrap();
    assert_eq!(persons.timeout(), Duration::from_secs(5));
    assert_eq!(persons.kind(), ServiceKind::Rest);
    assert!(persons.verify_tls());
    let registry = client.service("registry", Some("v1")).unwrap();
    assert_eq!(registry.disabled(), Some("back on Monday"));
    assert!(client.service("registry", None).is_none());

    let plain = |path: &str| normalise_for_access(path).unwrap();
    let get =
        |right: usize, path: &str| persons.rights[right].covers(Some("GET"), Some(&plain(path)));
    assert!(get(0, "/persons/1") && !get(0, "/persons/1/pets") && get(1, "/anything/at/all"));
    assert!(!persons.rights[0].covers(Some("POST"), Some(&plain("/persons/1"))));
    assert!(
        registry.rights[0].covers(None, None),
        "a right on everything covers SOAP"
    );
    assert!(!persons.rights[0].covers(None, None));
    let group = client.local_group("friends").unwrap();
    assert!(
        group
            .members()
            .contains(&ClientId::from_header("KG/GOV/70000003").unwrap())
    );
    assert!(
        !group
            .members()
            .contains(&ClientId::from_header("KG/GOV/70000003/sub").unwrap())
    );
}

#[test]
fn mistakes_are_named_with_their_line() {
    let cases = [
        ("client = \"KG/GOV\"\n", 1, "instance/class/member"),
        (
            "client = \"KG/GOV/1\"\nconection = \"http\"\n",
            2,
            "unknown field",
        ),
        (
            "client = \"KG/GOV/1\"\nconnection = \"https-mutual\"\n",
            1,
            "needs at least one",
        ),
        (
            "client = \"KG/GOV/1\"\ncertificates = [\n \"absent.pem\"]\n",
            3,
            "cannot read",
        ),
        (
            "client = \"KG/GOV/1\"\n[[service]]\ncode = \"a\"\nkind = \"rest\"\nurl = \"ftp://x\"\n",
            5,
            "http://",
        ),
        (
            "client = \"KG/GOV/1\"\n[[service]]\ncode = \"a/b\"\nkind = \"rest\"\nurl = \"http://x\"\n",
            3,
            "cannot be a code",
        ),
        (
            "client = \"KG/GOV/1\"\n[[service]]\ncode = \"a\"\nkind = \"rest\"\nurl = \"http://x\"\n[[service.allow]]\nsubject = \"local:no\"\n",
            7,
            "no [[group]]",
        ),
        (
            "client = \"KG/GOV/1\"\n[[service]]\ncode = \"a\"\nkind = \"soap\"\nurl = \"http://x\"\n[[service.allow]]\nsubject = \"KG/GOV/2\"\npath = \"/a\"\n",
            8,
            "has no path",
        ),
    ];
    for (text, line, reason) in cases {
        let error = document::parse(text, Path::new("x.toml")).unwrap_err();
        assert_eq!(error.line, Some(line), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_broken_document_leaves_the_old_one_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.toml");
    let now = SystemClock.now();
    atomic_write(&file, DOCUMENT.as_bytes()).unwrap();
    let folder = ClientFolder::open(directory.path()).unwrap();
    let clients = folder.shared();
    let id = ClientId::from_header("KG/GOV/70000001/population").unwrap();
    assert!(clients.load().client(&id).is_some());

    atomic_write(
        &file,
        b"client = \"KG/GOV/70000001/population\"\nservice = 1\n",
    )
    .unwrap();
    assert_eq!(folder.poll(now).refused, 1);
    assert_eq!(clients.load().client(&id).unwrap().services().len(), 2);
    let problem = folder.status().problems.remove(0).to_string();
    assert!(problem.contains("a.toml:2: "), "{problem}");
    assert!(
        !folder.poll(now).changed,
        "an unchanged folder is not read again"
    );

    atomic_write(&file, b"client = \"KG/GOV/70000001/population\"\n").unwrap();
    let outcome = folder.poll(now);
    assert!(outcome.changed && outcome.refused == 0);
    assert!(clients.load().client(&id).unwrap().services().is_empty());

    atomic_write(
        directory.path().join("b.toml"),
        b"client = \"KG/GOV/70000001/population\"\n",
    )
    .unwrap();
    assert_eq!(folder.poll(now).refused, 1, "two documents of one client");
    std::fs::remove_file(&file).unwrap();
    std::fs::remove_file(directory.path().join("b.toml")).unwrap();
    folder.poll(now);
    assert_eq!(clients.load().all().count(), 0);
}

#[test]
fn connections_are_judged_by_the_clients_type() {
    let client = |connection: &str| {
        let text = DOCUMENT.replace("\"http\"", &format!("\"{connection}\""));
        document::parse(&text, Path::new("x.toml")).unwrap()
    };
    let info = |tls, certificate| ConnectionInfo {
        tls,
        certificate,
        remote: (Ipv4Addr::LOCALHOST, 1).into(),
    };
    assert_eq!(client("http").admits(&info(false, None), None), Ok(()));
    assert_eq!(
        client("https").admits(&info(false, None), None),
        Err(ConnectionRefused::PlainHttp)
    );
    assert_eq!(client("https").admits(&info(true, None), None), Ok(()));

    let mut mutual = client("https");
    mutual.connection = ConnectionType::HttpsMutual;
    let internal: &[u8] = b"the server's own";
    let presented = |bytes: &'static [u8]| info(true, Some(Bytes::from_static(bytes)));
    assert_eq!(
        mutual.admits(&info(true, None), Some(internal)),
        Err(ConnectionRefused::NoCertificate)
    );
    assert_eq!(
        mutual.admits(&presented(b"other"), Some(internal)),
        Err(ConnectionRefused::UnknownCertificate)
    );
    assert_eq!(
        mutual.admits(&presented(b"the server's own"), Some(internal)),
        Ok(())
    );
}
