//! Every file of X-Road's test data about configurations, with the outcome that the dossier states
//! (`registry-and-globalconf.md` 1.5a, 2.3).

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what it met by failing, and what it skips"
)]

use std::{
    collections::BTreeSet,
    error::Error,
    path::{Path, PathBuf},
};

use jibek_certs::{digest::digest, parse::Certificate};
use jibek_conf::{Anchor, ConfDir, part, verify::verify_directory};
use time::{OffsetDateTime, macros::datetime};

/// How a file or a folder is judged.
#[derive(Clone, Copy, Debug)]
enum As {
    /// A configuration anchor.
    Anchor,
    /// A signed directory of a real central server with the parts beside it, a second before it expires.
    CentralServer,
    /// A configuration on disk.
    Directory,
    FetchInterval,
    /// A signed directory of the test generator, with `certs/consumer.pem`.
    Generated,
    Monitoring,
    NextUpdate,
    /// Shared parameters of this version.
    Shared(u8),
    /// Not a configuration, and nobody takes it for one.
    Text,
}

/// Path, how it is judged, outcome. A folder stands for all that is in it.
#[rustfmt::skip]
const TABLE: &[(&str, As, &str)] = &[
    ("globalconf/configuration-anchor1.xml", As::Anchor, "EE at http://www.bar.com/conf, http://node-0x.example.com/internalconf, http://node-1x.example.com/internalconf"),
    ("globalconf/configuration-anchor2.xml", As::Anchor, "EE at http://www.bar.com/conf2"),
    ("globalconf/empty-fetchinterval-params.xml", As::FetchInterval, "refused: ocspFetchInterval is missing"),
    ("globalconf/invalid-fetchinterval-params.xml", As::FetchInterval, "refused: unexpected element foobar"),
    ("globalconf/valid-fetchinterval-params.xml", As::FetchInterval, "500s"),
    ("globalconf/empty-monitoring-params.xml", As::Monitoring, "nobody"),
    ("globalconf/invalid-monitoring-params.xml", As::Monitoring, "refused: unexpected element broken"),
    ("globalconf/valid-monitoring-params.xml", As::Monitoring, "MEMBER:fdev/GOV/66655666"),
    ("globalconf/empty-nextupdate-params.xml", As::NextUpdate, "refused: verifyNextUpdate is missing"),
    ("globalconf/invalid-nextupdate-params.xml", As::NextUpdate, "refused: unexpected element harazoo"),
    ("globalconf/valid-nextupdate-params.xml", As::NextUpdate, "false"),
    ("globalconf/globalconf_cs", As::Directory, "CS: CS 4; never expires; no private parameters"),
    ("globalconf/globalconf_empty", As::Directory, "refused: there is no configuration of the own instance"),
    ("globalconf/globalconf_good2_v3", As::Directory, "DEV: DEV 3; never expires; no private parameters"),
    ("globalconf/globalconf_good_v2", As::Directory, "EE: EE 2, bar 2, foo 2; until 2124-05-20"),
    ("globalconf/globalconf_good_v3", As::Directory, "EE: EE 3, bar 3; until 2124-05-20; without foo_v2"),
    ("globalconf/globalconf_good_v4", As::Directory, "EE: EE 4, bar 3, baz_v3 3; until 2124-05-20; without foo_v2"),
    ("globalconf/globalconf_good_v5", As::Directory, "EE: EE 5, bar 3, baz_v3 3, qux_v4 4; until 2124-05-20; without foo_v2"),
    ("globalconf/globalconf_good_v6", As::Directory, "EE: EE 6, bar 3, baz_v3 3, quux_v5 5, qux_v4 4; until 2124-05-20; without foo_v2"),
    ("globalconf/globalconf_malformed", As::Directory, "refused: "),
    ("globalconf/globalconf_missing_identifier", As::Directory, "refused: No such file"),
    ("signed-directory/V2", As::Directory, "refused: No such file"),
    ("signed-directory/V2/EE/shared-params.xml", As::Shared(2), "EE: 0 sources, 5 CAs, 1 TSAs, 3 members, 4 servers, 1 groups"),
    ("signed-directory/V3", As::Directory, "refused: No such file"),
    ("signed-directory/V3/EE/shared-params.xml", As::Shared(3), "EE: 1 sources, 5 CAs, 1 TSAs, 3 members, 4 servers, 1 groups"),
    ("signed-directory/V3-many-nodes", As::Directory, "refused: No such file"),
    ("signed-directory/V3-many-nodes/EE/shared-params.xml", As::Shared(3), "EE: 3 sources, 5 CAs, 1 TSAs, 3 members, 4 servers, 1 groups"),
    ("signed-directory/central-server/configuration_anchor_CS_internal.xml", As::Anchor, "DEV at http://cs/internalconf, https://cs/internalconf"),
    ("signed-directory/central-server/published/V3", As::CentralServer, "CS: 1 sources, 1 CAs, 1 TSAs, 3 members, 2 servers, 1 groups; 0 anchors; internalconf: private+shared; externalconf: shared"),
    ("signed-directory/central-server/published/V4", As::CentralServer, "DEV: 1 sources, 1 CAs, 1 TSAs, 2 members, 2 servers, 1 groups; 0 anchors; internalconf: private+shared; externalconf: shared"),
    ("signed-directory/central-server/published/V5", As::CentralServer, "DEV: 1 sources, 1 CAs, 1 TSAs, 2 members, 2 servers, 1 groups; 0 anchors; internalconf: private+shared; externalconf: shared"),
    ("signed-directory/central-server/published/V6", As::CentralServer, "DEV: 1 sources, 2 CAs, 1 TSAs, 2 members, 2 servers, 1 groups; 0 anchors; internalconf: shared+private; externalconf: shared (stale)"),
    ("signed-directory/central-server/rotated-keys/V3", As::CentralServer, "CS: 1 sources, 1 CAs, 1 TSAs, 3 members, 2 servers, 1 groups; 0 anchors; internalconf: private+shared; externalconf: shared"),
    ("signed-directory/central-server/rotated-keys/V4", As::CentralServer, "DEV: 1 sources, 1 CAs, 1 TSAs, 2 members, 2 servers, 1 groups; 0 anchors; internalconf: private+shared; externalconf: shared"),
    ("signed-directory/central-server/rotated-keys/V5", As::CentralServer, "DEV: 1 sources, 1 CAs, 1 TSAs, 2 members, 2 servers, 1 groups; 0 anchors; internalconf: private+shared; externalconf: shared"),
    ("signed-directory/central-server/rotated-keys/V6", As::CentralServer, "DEV: 1 sources, 1 CAs, 1 TSAs, 2 members, 2 servers, 1 groups; 0 anchors; internalconf: shared+private; externalconf: shared"),
    ("signed-directory/conf1.txt", As::Generated, "refused: header Verification-certificate-hash is missing"),
    ("signed-directory/conf1/private-parameters.xml", As::Text, "refused: XML is not well-formed"),
    ("signed-directory/conf1/shared-parameters.xml", As::Text, "refused: XML is not well-formed"),
    ("signed-directory/configuration-anchor1.xml", As::Anchor, "EE at http://www.bar.com/conf, http://node-0x.example.com/internalconf, http://node-1x.example.com/internalconf"),
    ("signed-directory/test-conf-detached.txt", As::Generated, "version 2 with private-params.xml until 2026-05-20"),
    ("signed-directory/test-conf-detached", As::Directory, "refused: No such file"),
    ("signed-directory/test-conf-invalid-signature.txt", As::Generated, "refused: the signature of the directory is not valid"),
    ("signed-directory/test-conf-malformed.txt", As::Generated, "refused: the directory ends before its signature, so it has no expiry date"),
    ("signed-directory/test-conf-missing-date.txt", As::Generated, "refused: header Expire-date is missing"),
    ("signed-directory/test-conf-missing-signature.txt", As::Generated, "refused: the signature of the directory is not valid"),
    ("signed-directory/test-conf-simple.txt", As::Generated, "version 2 with private-params.xml, shared-params.xml, foo.xml until 2026-05-20"),
    ("signed-directory/test-conf-simple", As::Directory, "EE: EE 2; never expires"),
];

#[test]
fn every_configuration_among_the_fixtures_has_its_stated_outcome() {
    const NAME: &str = "every_configuration_among_the_fixtures_has_its_stated_outcome";
    let Some(root) = fixtures(NAME) else { return };
    let mut wrong = Vec::new();
    for (path, how, expected) in TABLE {
        let outcome = match judge(&root, path, *how) {
            Ok(outcome) => outcome,
            Err(error) => format!("refused: {}", explained(&*error)),
        };
        let right = match expected.starts_with("refused") {
            true => outcome.starts_with(expected),
            false => outcome == *expected,
        };
        if !right {
            wrong.push(format!("{path}: {outcome:?} where {expected:?} is stated"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let mut files = BTreeSet::new();
    for folder in ["globalconf", "signed-directory"] {
        list(&root, &root.join(folder), &mut files);
    }
    let judged = |file: &String| {
        TABLE
            .iter()
            .any(|(path, ..)| file == path || file.starts_with(&format!("{path}/")))
    };
    let left: Vec<_> = files.iter().filter(|file| !judged(file)).collect();
    assert!(left.is_empty(), "without outcome: {left:?}");
    println!("VECTORS fixtures {} tried, 0 left out", TABLE.len());
}

/// `cert` elements hold base64 of DER or of PEM (`registry-and-globalconf.md` 2.1); all come out as DER.
#[test]
fn certificates_of_both_spellings_are_read() {
    const NAME: &str = "certificates_of_both_spellings_are_read";
    let Some(root) = fixtures(NAME) else { return };
    let (mut as_pem, mut certificates) = (Vec::new(), 0);
    let good = ConfDir::new(root.join("globalconf/globalconf_good2_v3"))
        .read()
        .unwrap();
    let mut all = vec![good.shared("DEV").unwrap().clone()];
    if has_pem(
        &std::fs::read(root.join("globalconf/globalconf_good2_v3/DEV/shared-params.xml")).unwrap(),
    ) {
        as_pem.push("globalconf_good2_v3".to_owned());
    }
    for set in ["published", "rotated-keys"] {
        for version in 3..=6u8 {
            let folder = root.join(format!("signed-directory/central-server/{set}/V{version}"));
            let bytes = std::fs::read(generation(&folder).join("shared-params.xml")).unwrap();
            if has_pem(&bytes) {
                as_pem.push(format!("{set}/V{version}"));
            }
            all.push(part::parse_shared(&bytes, version).unwrap());
        }
    }
    for shared in all {
        for service in &shared.certification_services {
            for authority in std::iter::once(&service.top).chain(&service.intermediates) {
                let responders = authority
                    .ocsp
                    .iter()
                    .filter_map(|one| one.certificate.clone());
                for der in responders.chain([authority.certificate.clone()]) {
                    Certificate::from_der(der).unwrap();
                    certificates += 1;
                }
            }
        }
        for service in shared.timestamping_services {
            Certificate::from_der(service.certificate).unwrap();
            certificates += 1;
        }
    }
    // The dossier counts the second kind in six of the eight files of central servers.
    assert_eq!(as_pem.len(), 7, "{as_pem:?}");
    assert!(certificates > 20, "{certificates}");
}

fn has_pem(shared: &[u8]) -> bool {
    const BEGIN: &[u8] = b"LS0tLS1CRUdJTi";
    shared.windows(BEGIN.len()).any(|bytes| bytes == BEGIN)
}

/// The folder of the only generation in a version's folder.
fn generation(folder: &Path) -> PathBuf {
    let mut entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries.find(|path| path.is_dir()).unwrap()
}

fn judge(root: &Path, path: &str, how: As) -> Result<String, Box<dyn Error>> {
    let file = root.join(path);
    let read = || std::fs::read(&file).unwrap();
    Ok(match how {
        As::Anchor => {
            let anchor = Anchor::parse(read())?;
            let urls: Vec<_> = anchor
                .sources()
                .iter()
                .map(|source| source.url.as_str())
                .collect();
            format!("{} at {}", anchor.instance(), urls.join(", "))
        }
        As::CentralServer => central_server(root, &file)?,
        As::Directory => directory(&file)?,
        As::FetchInterval => format!("{:?}", part::parse_fetch_interval(&read())?),
        As::Generated => {
            let pem = std::fs::read(root.join("certs/consumer.pem"))?;
            let directory =
                verify_directory(&read(), &[Certificate::from_pem(&pem)?], GENERATOR_NOW)?;
            let parts: Vec<_> = directory
                .parts()
                .iter()
                .map(|part| part.file_name.as_str())
                .collect();
            format!(
                "version {} with {} until {}",
                directory.version(),
                parts.join(", "),
                directory.expires().date()
            )
        }
        As::Monitoring => part::parse_monitoring(&read())?
            .map_or("nobody".to_owned(), |client| client.to_string()),
        As::NextUpdate => part::parse_next_update(&read())?.to_string(),
        As::Shared(version) => shared(&read(), version)?,
        As::Text => shared(&read(), 6)?,
    })
}

fn shared(bytes: &[u8], version: u8) -> Result<String, Box<dyn Error>> {
    let shared = part::parse_shared(bytes, version)?;
    Ok(format!(
        "{}: {} sources, {} CAs, {} TSAs, {} members, {} servers, {} groups",
        shared.instance,
        shared.sources.len(),
        shared.certification_services.len(),
        shared.timestamping_services.len(),
        shared.members.len(),
        shared.servers.len(),
        shared.groups.len()
    ))
}

fn directory(path: &Path) -> Result<String, Box<dyn Error>> {
    let snapshot = ConfDir::new(path).read()?;
    let instances: Vec<_> = snapshot
        .parts()
        .map(|part| format!("{} {}", part.instance, part.version))
        .collect();
    let mut outcome = format!("{}: {}; ", snapshot.own_instance(), instances.join(", "));
    match snapshot.expires_at() {
        Some(at) => outcome.push_str(&format!("until {}", at.date())),
        None => outcome.push_str("never expires"),
    }
    if snapshot.check_valid(GENERATOR_NOW).is_err() {
        outcome.push_str("; no private parameters");
    }
    for warning in snapshot.warnings() {
        let (what, why) = warning.split_once(": left out: ").unwrap_or((warning, ""));
        assert!(why.contains("version 2"), "{warning}");
        outcome.push_str(&format!(
            "; without {}",
            what.rsplit('/').next().unwrap_or(what)
        ));
    }
    Ok(outcome)
}

/// Both directories of a version, and the parts that they name.
fn central_server(root: &Path, folder: &Path) -> Result<String, Box<dyn Error>> {
    let anchor = root.join("signed-directory/central-server/configuration_anchor_CS_internal.xml");
    let anchor = Anchor::parse(std::fs::read(anchor)?)?;
    let mut keys: Vec<Certificate> = anchor
        .sources()
        .iter()
        .flat_map(|source| source.certificates.clone())
        .collect();
    let generation = generation(folder);
    let version: u8 = folder.file_name().unwrap().to_str().unwrap()[1..].parse()?;
    let bytes = std::fs::read(generation.join("shared-params.xml"))?;
    for source in part::parse_shared(&bytes, version)?.sources {
        for der in source
            .internal_certificates
            .into_iter()
            .chain(source.external_certificates)
        {
            keys.push(Certificate::from_der(der)?);
        }
    }
    let mut said = vec![shared(&bytes, version)?];
    let private = part::parse_private(&std::fs::read(generation.join("private-params.xml"))?)?;
    said.push(format!("{} anchors", private.anchors.len()));
    for name in ["internalconf", "externalconf"] {
        let raw = std::fs::read(folder.join(name))?;
        let text = String::from_utf8(raw.clone())?;
        let written = text
            .split_once("Expire-date: ")
            .unwrap()
            .1
            .lines()
            .next()
            .unwrap()
            .to_owned();
        let expires =
            OffsetDateTime::parse(&written, &time::format_description::well_known::Rfc3339)?;
        let directory = verify_directory(&raw, &keys, expires - time::Duration::seconds(1))?;
        assert!(verify_directory(&raw, &keys, expires + time::Duration::seconds(1)).is_err());
        assert_eq!(directory.version(), version);
        let parts: Vec<_> = directory
            .parts()
            .iter()
            .map(|part| {
                let bytes = std::fs::read(generation.join(&part.file_name)).unwrap();
                let same = digest(part.digest.algorithm(), &bytes) == part.digest;
                let (private, stale) = (
                    part.file_name.starts_with("private"),
                    if same { "" } else { " (stale)" },
                );
                format!("{}{stale}", if private { "private" } else { "shared" })
            })
            .collect();
        said.push(format!("{name}: {}", parts.join("+")));
    }
    Ok(said.join("; "))
}

fn explained(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // What is in a directory is refused for what is inside it.
        text = format!("{inner}");
        cause = inner.source();
    }
    text
}

fn list(root: &Path, folder: &Path, files: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(root, &path, files);
        } else {
            files.insert(
                path.strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned(),
            );
        }
    }
}

/// The folder of X-Road's test data, or `None` after saying so. On a build server it must be there.
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

/// Before the expiry of what the test generator wrote.
const GENERATOR_NOW: OffsetDateTime = datetime!(2026-05-20 17:00 UTC);
