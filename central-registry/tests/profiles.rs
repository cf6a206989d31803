//! A country's own certificate profile: named in what the registry publishes, read by who has it declared.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may panic, their helpers too"
)]

#[path = "common/world.rs"]
mod world;

use std::time::Duration;

use jibek_conf::{ConfDir, FetchOptions, Fetcher, fetch::HttpsUse};
use jibek_protocol::profile::{Profile, Profiles};
use world::{START, World, base};

const NAME: &str = "kg.tunduk.certificateprofile.KgSkKlass3CertificateProfileInfoProvider";

/// The mapping is this test's own.
const DECLARATION: &str = r#"
[[certificate_profile]]
class = "KgSkKlass3CertificateProfileInfoProvider"
[[certificate_profile.rule]]
subject = { C = "KG", serialNumber = "{code:##############}" }
member_class = "GOV"
"#;

#[tokio::test]
async fn a_declared_profile_is_published_fetched_and_used() {
    let world = World::new("p256");
    let named = base("p256").replace("\"FiVRK\"", &format!("\"{NAME}\""));
    world.write(&format!("{named}{DECLARATION}"));
    let registry = world.start().await;
    let table: toml::Table = toml::from_str(DECLARATION).unwrap();
    let raw = table["certificate_profile"].clone().try_into::<Vec<_>>();
    let profiles = Profiles::new(&raw.unwrap()).unwrap();
    let fetcher = |profiles: Profiles| {
        let mut options = FetchOptions::default();
        options.https = HttpsUse::Never;
        options.connect_timeout = Duration::from_secs(5);
        let dir = ConfDir::new(world.folder.path().join("globalconf")).with_profiles(profiles);
        Fetcher::new(registry.anchor.clone(), dir, options).unwrap()
    };
    let subject = [("2.5.4.6", "KG"), ("2.5.4.5", "01234567890123")]
        .map(|(oid, value)| (oid.to_owned(), value.to_owned()));

    let mut with = fetcher(profiles.clone());
    let fetched = with.refresh(START).await.unwrap();
    let again = with.refresh(START).await.unwrap();
    // What lies on disk, read at the next start.
    let stored = fetcher(profiles).stored().unwrap();
    for snapshot in [fetched, again, stored] {
        let ca = snapshot.shared("KG").unwrap().certification_services[0].clone();
        assert_eq!(ca.profile_class, NAME, "it is published as it is named");
        let ca = jibek_certs::Certificate::from_der(ca.top.certificate.clone()).unwrap();
        let profile = snapshot.profile_of("KG", &ca).unwrap();
        assert!(matches!(profile, Profile::Declared(_)));
        let member = profile.member(&subject, "KG").unwrap();
        assert_eq!(member.to_string(), "MEMBER:KG/GOV/01234567890123");
    }
    let without = fetcher(Profiles::default()).stored().unwrap();
    let ca = without.shared("KG").unwrap().certification_services[0].clone();
    let ca = jibek_certs::Certificate::from_der(ca.top.certificate).unwrap();
    assert_eq!(without.profile_of("KG", &ca).unwrap_err().class, NAME);
    registry.finish().await;
}
