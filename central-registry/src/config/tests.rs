use super::{check::OWNERS_GROUP, *};
use jibek_certs::{parse::Certificate, signer::SoftKey};
use rcgen::{CertificateParams, KeyUsagePurpose};

const EXAMPLE: &str = include_str!("../../registry.example.toml");

/// A folder with the example file and the certificates it names.
fn example() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, authentication) in [
        ("root-ca", false),
        ("issuing-ca", false),
        ("ocsp", false),
        ("tsa", false),
        ("ss1-auth", true),
        ("ss2-auth", true),
        ("other", false),
    ] {
        let key = SoftKey::generate(KeyKind::EcP256).unwrap();
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.key_usages = vec![match authentication {
            true => KeyUsagePurpose::DigitalSignature,
            false => KeyUsagePurpose::KeyCertSign,
        }];
        let certificate = params.self_signed(&key.for_rcgen()).unwrap();
        jibek_conf::atomic_write(
            folder.path().join(format!("{name}.pem")),
            certificate.pem().as_bytes(),
        )
        .unwrap();
    }
    write(&folder, EXAMPLE);
    folder
}

fn write(folder: &tempfile::TempDir, text: &str) {
    jibek_conf::atomic_write(folder.path().join("registry.toml"), text.as_bytes()).unwrap();
}

fn read(folder: &tempfile::TempDir) -> Result<Config, ConfigError> {
    Config::read(&folder.path().join("registry.toml"))
}

#[test]
fn the_example_is_complete_and_sorted() {
    let folder = example();
    let config = read(&folder).unwrap();
    let shared = config.shared(&[], &[]);
    let groups: Vec<_> = shared
        .groups
        .iter()
        .map(|group| (group.code.as_str(), group.members.len()))
        .collect();
    assert_eq!(groups, [("courts", 2), (OWNERS_GROUP, 2)]);
    let codes: Vec<_> = shared.members[1]
        .subsystems
        .iter()
        .map(|subsystem| subsystem.code.as_str())
        .collect();
    assert_eq!(codes, ["encumbrances", "ownership"]);
    let service = &shared.certification_services[0];
    assert_eq!(
        service.profile_class,
        "ee.ria.xroad.common.certificateprofile.impl.FiVRKCertificateProfileInfoProvider"
    );
    assert_eq!(service.name, "root-ca");
    assert_eq!(service.intermediates.len(), 1);
    let auth = std::fs::read(folder.path().join("ss1-auth.pem")).unwrap();
    let auth = Certificate::from_pem(&auth).unwrap();
    assert_eq!(
        shared.servers[0].auth_certificate_hashes,
        [Bytes::copy_from_slice(&auth.sha256())]
    );
    assert_eq!(
        config.private().management.registration_url,
        "https://registry.example.kg:4001/managementservice/"
    );
    assert_eq!(config.state_dir, folder.path().join("state"));
}

#[test]
fn the_order_in_the_file_does_not_matter() {
    let folder = example();
    let before = read(&folder).unwrap();
    let member = EXAMPLE.find("[[member]]").unwrap();
    let second = EXAMPLE[member + 1..].find("[[member]]").unwrap() + member + 1;
    let server = EXAMPLE.find("[[server]]").unwrap();
    let (first, other) = (&EXAMPLE[member..second], &EXAMPLE[second..server]);
    write(
        &folder,
        &EXAMPLE.replace(&format!("{first}{other}"), &format!("{other}{first}")),
    );
    let after = read(&folder).unwrap();
    assert_eq!(before.shared(&[], &[]), after.shared(&[], &[]));
}

#[test]
fn a_profile_of_a_country_s_own_is_declared() {
    let folder = example();
    let name = "kg.tunduk.certificateprofile.KgSkKlass3CertificateProfileInfoProvider";
    let named = EXAMPLE.replacen("profile = \"FiVRK\"", &format!("profile = \"{name}\""), 1);
    assert_ne!(named, EXAMPLE);
    write(&folder, &named);
    let error = read(&folder).unwrap_err().to_string();
    assert!(error.contains("[[certificate_profile]]"), "{error}");
    let declared = "\n[[certificate_profile]]\nclass = \"KgSkKlass3CertificateProfileInfoProvider\"\n\
        [[certificate_profile.rule]]\nsubject = { serialNumber = \"{code:##############}\" }\nmember_class = \"GOV\"\n";
    write(&folder, &format!("{named}{declared}"));
    let shared = read(&folder).unwrap().shared(&[], &[]);
    assert_eq!(shared.certification_services[0].profile_class, name);
    write(
        &folder,
        &format!("{named}{}", declared.replace("{code:", "{kod:")),
    );
    let error = read(&folder).unwrap_err().to_string();
    assert!(
        error.contains("rule 1 has a pattern for serialNumber"),
        "{error}"
    );
}

#[test]
fn mistakes_are_named_with_their_line() {
    let folder = example();
    for (from, to, reason) in [
        (
            "owner = \"GOV/2000\"",
            "owner = \"GOV/2001\"",
            "not declared",
        ),
        (
            "owner = \"GOV/2000\"",
            "owner = \"GOV/2000/ownership\"",
            "not a subsystem",
        ),
        ("owner = \"GOV/2000\"", "owner = \"2000\"", "CLASS/CODE"),
        (
            "\"GOV/2000/encumbrances\"]",
            "\"GOV/2000\"]",
            "without being listed",
        ),
        (
            "address = \"192.0.2.2\"",
            "address = \"192.0.2.2:5500\"",
            "without port",
        ),
        (
            "[\"ss2-auth.pem\"]",
            "[\"ss1-auth.pem\"]",
            "already belongs",
        ),
        (
            "[\"ss2-auth.pem\"]",
            "[\"other.pem\"]",
            "no authentication certificate",
        ),
        ("[\"ss2-auth.pem\"]", "[\"missing.pem\"]", "No such file"),
        (
            "[\"ss2-auth.pem\"]",
            "[\"registry.toml\"]",
            "no certificate",
        ),
        (
            "profile = \"FiVRK\"",
            "profile = \"Unheard\"",
            "no certificate profile",
        ),
        (
            "url = \"http://pki.example.kg/tsa\"",
            "url = \"ftp://x\"",
            "http",
        ),
        (
            "code = \"courts\"",
            "code = \"security-server-owners\"",
            "owners",
        ),
        ("code = \"courts\"", "code = \"a/b\"", "cannot be a code"),
        ("code = \"2000\"", "code = \"1000\"", "twice"),
        ("code = \"2000\"", "code = \"\"", "cannot be a code"),
        (
            "class = \"GOV\"\ncode = \"2000\"",
            "class = \"COM\"\ncode = \"2000\"",
            "no member class",
        ),
        (
            "instance = \"KG\"",
            "instance = \"K'G\"",
            "cannot be an instance",
        ),
        (
            "listen = \"127.0.0.1:4080\"",
            "listen = \"here\"",
            "not an address",
        ),
        (
            "address = \"registry.example.kg\"",
            "address = \"http://registry\"",
            "not a host",
        ),
        ("key = \"rsa2048\"", "key = \"rsa1024\"", "rsa2048 or p256"),
        ("validity_seconds = 600", "validity_seconds = 100", "twice"),
        (
            "timestamping_interval_seconds = 60",
            "timestamping_interval_seconds = 3600",
            "below",
        ),
        (
            "name = \"Cadastre\"",
            "nmae = \"Cadastre\"",
            "unknown field",
        ),
        ("name = \"Cadastre\"", "name = ", ""),
        (
            "provider = \"GOV/1000/management\"",
            "provider = \"GOV/1000/other\"",
            "not declared",
        ),
    ] {
        let at = EXAMPLE.find(from).unwrap_or_else(|| panic!("{from}"));
        write(&folder, &EXAMPLE.replacen(from, to, 1));
        let error = read(&folder).expect_err(to);
        let line = 1 + EXAMPLE[..at].matches('\n').count();
        let near = error
            .line
            .is_some_and(|found| (line.saturating_sub(1)..=line + 2).contains(&found));
        assert!(near, "{to}: {error}, expected about line {line}");
        assert!(error.to_string().contains(reason), "{to}: {error}");
    }
    write(&folder, "instance = 1");
    assert!(read(&folder).is_err());
    assert!(
        Config::read(&folder.path().join("absent.toml"))
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
}
