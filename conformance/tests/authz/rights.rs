//! Rights by client, group, method and path; paths that could be read in more than one way.

use std::time::Duration;

use http::Request;
use jibek_conf::files::atomic_write;
use jibek_conformance::{
    envelope,
    http::eventually,
    world::{CONSUMER, PROVIDER, STRANGER, World},
};
use jibek_protocol::id::{ClientId, GlobalGroupId};

use super::{code, rest, world};

const DENIED: Option<&str> = Some("server.serverproxy.access_denied");

const DOCUMENT: &str = r#"
client = "TEST/GOV/2002/provider"

[[group]]
code = "friends"
members = ["TEST/GOV/1001/stranger"]

[[service]]
code = "some"
kind = "rest"
url = "http://SYSTEM/some"
[[service.allow]]
subject = "TEST/GOV/1001/consumer"
method = "GET"
path = "/persons/*"
[[service.allow]]
subject = "TEST/GOV/1001/consumer"
method = "POST"
path = "/persons"
[[service.allow]]
subject = "TEST/GOV/1001/consumer"
path = "/all/**"

[[service]]
code = "open"
kind = "rest"
url = "http://SYSTEM/open/"
[[service.allow]]
subject = "TEST/GOV/1001/consumer"

[[service]]
code = "local"
kind = "rest"
url = "http://SYSTEM/local"
[[service.allow]]
subject = "local:friends"

[[service]]
code = "global"
kind = "rest"
url = "http://SYSTEM/global"
[[service.allow]]
subject = "group:TEST/readers"

[[service]]
code = "member"
kind = "rest"
url = "http://SYSTEM/member"
[[service.allow]]
subject = "TEST/GOV/1001"

[[service]]
code = "soap"
kind = "soap"
url = "http://SYSTEM/soap"
[[service.allow]]
subject = "TEST/GOV/1001/consumer"

[[service]]
code = "off"
kind = "rest"
url = "http://SYSTEM/off"
disabled = "closed until Monday"
[[service.allow]]
subject = "TEST/GOV/1001/consumer"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_go_by_client_group_method_and_path() {
    let mut world = world(DOCUMENT).await;
    let cases = [
        (CONSUMER, "GET", "some/persons/7", None),
        (CONSUMER, "GET", "some/persons/%D0%90%20b", None),
        (CONSUMER, "GET", "some/persons/7?x=/../..//", None),
        (CONSUMER, "GET", "some/persons/", None),
        (CONSUMER, "POST", "some/persons", None),
        (CONSUMER, "DELETE", "some/all/a/b", None),
        (CONSUMER, "POST", "some/persons/7", DENIED),
        (CONSUMER, "GET", "some/persons/7/secrets", DENIED),
        (CONSUMER, "GET", "some/Persons/7", DENIED),
        (CONSUMER, "GET", "some/persons", DENIED),
        (CONSUMER, "HEAD", "some/persons/7", DENIED),
        (CONSUMER, "GET", "some", DENIED),
        (CONSUMER, "PATCH", "open/x/y", None),
        (CONSUMER, "GET", "open", None),
        (STRANGER, "GET", "some/persons/7", DENIED),
        (STRANGER, "GET", "open/x", DENIED),
        (STRANGER, "GET", "local/x", None),
        (CONSUMER, "GET", "local/x", DENIED),
        // A member's right is not its subsystems'.
        (CONSUMER, "GET", "member/x", DENIED),
        // The group is not there yet.
        (STRANGER, "GET", "global/x", DENIED),
        // Without right a caller does not learn that the service is disabled.
        (STRANGER, "GET", "off/x", DENIED),
        (
            CONSUMER,
            "GET",
            "off/x",
            Some("server.serverproxy.service_disabled"),
        ),
        (
            CONSUMER,
            "GET",
            "soap/x",
            Some("server.serverproxy.service_type"),
        ),
        (
            STRANGER,
            "GET",
            "soap/x",
            Some("server.serverproxy.service_type"),
        ),
    ];
    for (client, method, path, expected) in cases {
        let before = world.system.calls().len();
        let answer = rest(&world, client, method, path).await;
        assert_eq!(code(&answer), expected, "{client} {method} {path}");
        let called = world.system.calls().len() - before;
        assert_eq!(
            called,
            usize::from(expected.is_none()),
            "{client} {method} {path}"
        );
    }
    let answer = rest(&world, CONSUMER, "GET", "off/x").await;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    assert!(text.contains("closed until Monday"), "{text}");

    // SOAP has neither method nor path: only a right to everything covers it.
    for (client, service, expected) in [
        (CONSUMER, "soap", None),
        (STRANGER, "soap", Some("access_denied")),
        (CONSUMER, "open", Some("service_type")),
    ] {
        let sent = envelope::request(client, PROVIDER, service, "s", "");
        let request =
            Request::post(world.running.server(0).url()).header("Content-Type", "text/xml");
        let before = world.system.calls().len();
        let answer = world.send(request, sent).await;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        if let Some(expected) = expected {
            let code = format!("<faultcode>server.serverproxy.{expected}</faultcode>");
            assert!(text.contains(&code), "{client} {service}: {text}");
        }
        let called = world.system.calls().len() - before;
        assert_eq!(
            called,
            usize::from(expected.is_none()),
            "{client} {service}: {text}"
        );
    }

    add_global_group(&mut world).await;
    assert_eq!(code(&rest(&world, STRANGER, "GET", "global/x").await), None);
    assert_eq!(
        code(&rest(&world, CONSUMER, "GET", "global/x").await),
        DENIED
    );
    world.finish().await;
}

/// Makes the stranger a member of the group `readers`, as the registry's operator would.
async fn add_global_group(world: &mut World) {
    let file = world.running.prepared().registry_config();
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str(
        "\n[[group]]\ncode = \"readers\"\ndescription = \"Readers\"\nmembers = [\"GOV/1001/stranger\"]\n",
    );
    atomic_write(&file, text.as_bytes()).unwrap();
    world.running.stop_registry().await;
    world.running.start_registry().await.unwrap();
    let group = GlobalGroupId::new("TEST", "readers").unwrap();
    let stranger = ClientId::from_header(STRANGER).unwrap();
    let server = world.running.server(1);
    eventually(Duration::from_secs(20), || async {
        server.inside.refresh_configuration().await?;
        let known = server
            .inside
            .configuration()
            .in_global_group(&group, &stranger);
        known.then_some(()).ok_or("no group yet".to_owned())
    })
    .await
    .unwrap();
}

/// Paths that two programs could read differently.
const AMBIGUOUS: [&str; 14] = [
    "/persons/7/../8",
    "/persons/.",
    "/persons/%2e%2e",
    "/persons/%2E",
    "/persons//7",
    "//persons/7",
    "/persons/a%2fb",
    "/persons/a%2F..%2Fb",
    "/persons/%252e%252e",
    "/persons/7;v=1",
    "/persons/7%3Bv=1",
    "/persons/a%5Cb",
    "/persons/7%3Fx",
    "/persons/7%00",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ambiguous_paths_need_a_right_to_every_path() {
    let world = world(DOCUMENT).await;
    for path in AMBIGUOUS {
        for service in ["some", "some/all"] {
            let answer = rest(&world, CONSUMER, "GET", &format!("{service}{path}")).await;
            assert_eq!(code(&answer), DENIED, "{service}{path}");
        }
        assert_eq!(
            code(&rest(&world, STRANGER, "GET", &format!("open{path}")).await),
            DENIED,
            "{path}"
        );
    }
    assert!(world.system.calls().is_empty());
    for path in AMBIGUOUS {
        let answer = rest(&world, CONSUMER, "GET", &format!("open{path}")).await;
        assert_eq!(code(&answer), None, "{path}");
        // One slash between the service's address, which ends with one, and the path.
        assert_eq!(answer.body(), format!("/open{path}").as_bytes());
    }
    // No other server could read these in a block: refused before anybody is asked.
    for path in ["/a\\b", "/persons/\\..\\x"] {
        let answer = rest(&world, CONSUMER, "GET", &format!("open{path}")).await;
        let code = code(&answer).unwrap();
        assert!(code.starts_with("server.clientproxy."), "{path}: {code}");
    }
    assert_eq!(world.system.calls().len(), AMBIGUOUS.len());
    world.finish().await;
}
