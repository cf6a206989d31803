//! Where fixtures lie and how containers are taken apart for tests.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may panic, their helpers too"
)]

use std::{
    fs,
    io::{Cursor, Read},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jibek_certs::Certificate;

/// The fixtures' root, or `None` (said aloud) when they are absent; absent in CI is a failure.
pub(crate) fn fixtures(test: &str) -> Option<PathBuf> {
    let root = std::env::var_os("JIBEK_XROAD_FIXTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/xroad"),
        PathBuf::from,
    );
    if root.is_dir() {
        return Some(root);
    }
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{test}: no fixtures at {}",
        root.display()
    );
    println!("SKIPPED {test}: fixtures absent");
    None
}

/// Every file below `folder`, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                found.push(path)
            }
        }
    }
    found.sort();
    found
}

/// One signature document with what a verifier needs beside it.
pub(crate) struct Evidence {
    pub(crate) name: String,
    pub(crate) signatures: String,
    pub(crate) ts_hash_chain_result: Option<Vec<u8>>,
    pub(crate) timestamp: Option<Vec<u8>>,
}

/// Every signature document of the containers, archives and recordings.
pub(crate) fn evidence(root: &Path) -> Vec<Evidence> {
    let mut found = Vec::new();
    for folder in ["asic", "asic-core"] {
        for path in files(&root.join(folder)) {
            if path.extension().is_some_and(|ext| ext == "asice") {
                container(
                    path.display().to_string(),
                    &fs::read(&path).unwrap(),
                    &mut found,
                );
            }
        }
    }
    for path in files(&root.join("archives")) {
        let mut archive = zip::ZipArchive::new(fs::File::open(&path).unwrap()).unwrap();
        for at in 0..archive.len() {
            let mut entry = archive.by_index(at).unwrap();
            let name = entry.name().unwrap().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            if name.ends_with(".asice") {
                container(name, &bytes, &mut found);
            }
        }
    }
    for path in files(&root.join("wire")) {
        let text = String::from_utf8_lossy(&dechunked(&fs::read(&path).unwrap())).into_owned();
        if let (Some(start), Some(end)) = (
            text.find("<asic:XAdESSignatures"),
            text.find("</asic:XAdESSignatures>"),
        ) {
            found.push(Evidence {
                name: path.display().to_string(),
                signatures: text[start..end].to_owned(),
                ts_hash_chain_result: None,
                timestamp: None,
            });
        }
    }
    found
}

/// An HTTP message's body without its chunking; anything else as it is.
pub(crate) fn dechunked(message: &[u8]) -> Vec<u8> {
    let find =
        |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let Some(head) = find(message, b"\r\n\r\n") else {
        return message.to_vec();
    };
    if find(
        &message[..head].to_ascii_lowercase(),
        b"transfer-encoding: chunked",
    )
    .is_none()
    {
        return message.to_vec();
    }
    let (mut body, mut rest) = (Vec::new(), &message[head + 4..]);
    while let Some(line) = find(rest, b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 4 + size..];
    }
    body
}

fn container(name: String, bytes: &[u8], found: &mut Vec<Evidence>) {
    let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(bytes)) else {
        return;
    };
    let mut entry = |entry: &str| {
        let mut bytes = Vec::new();
        archive.by_name(entry).ok()?.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    let Some(signatures) = entry("META-INF/signatures.xml") else {
        return;
    };
    let signatures = String::from_utf8(signatures).unwrap();
    found.push(Evidence {
        name,
        signatures,
        ts_hash_chain_result: entry("ts-hashchainresult.xml"),
        timestamp: entry("META-INF/timestamp.tst"),
    });
}

impl Evidence {
    /// The texts of every element with this qualified name.
    pub(crate) fn texts(&self, element: &str) -> Vec<&str> {
        let (open, close) = (format!("<{element}"), format!("</{element}>"));
        let mut rest = self.signatures.as_str();
        let mut found = Vec::new();
        while let Some(at) = rest.find(&open) {
            let after = &rest[at + open.len()..];
            let Some(end) = after.find(&close) else { break };
            let body = after.find('>').unwrap() + 1;
            if after.starts_with([' ', '>', '\n']) {
                found.push(&after[body..end]);
            }
            rest = &after[end..];
        }
        found
    }

    /// The decoded base64 of every element with this qualified name.
    pub(crate) fn decoded(&self, element: &str) -> Vec<Vec<u8>> {
        self.texts(element).into_iter().map(decode).collect()
    }

    /// The signing certificate.
    pub(crate) fn signer(&self) -> Certificate {
        Certificate::from_der_or_pem(
            self.texts("ds:X509Certificate")[0]
                .replace("&#13;", "")
                .as_bytes(),
        )
        .unwrap()
    }
}

/// Base64 as XML holds it.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let text = text.replace("&#13;", "").replace("&#xD;", "");
    STANDARD
        .decode(text.split_whitespace().collect::<String>())
        .unwrap()
}

/// Every distinct certificate of the fixtures with a name to report.
pub(crate) fn certificates(root: &Path) -> Vec<(String, Certificate)> {
    let mut found: Vec<(String, Certificate)> = Vec::new();
    let mut add = |name: String, certificate: Certificate| {
        if !found.iter().any(|(_, known)| *known == certificate) {
            found.push((name, certificate));
        }
    };
    for folder in ["certs", "wire/conf"] {
        for path in files(&root.join(folder)) {
            if path.extension().is_some_and(|ext| ext == "pem") {
                let name = path.display().to_string();
                let bytes = fs::read(&path).unwrap();
                add(
                    name.clone(),
                    Certificate::from_der_or_pem(&bytes)
                        .unwrap_or_else(|error| panic!("{name}: {error}")),
                );
            }
        }
    }
    for item in evidence(root) {
        for element in ["ds:X509Certificate", "xades:EncapsulatedX509Certificate"] {
            for der in item.decoded(element) {
                let read = Certificate::from_der(der)
                    .unwrap_or_else(|error| panic!("{}: {error}", item.name));
                add(format!("{} {element}", item.name), read);
            }
        }
    }
    for folder in ["globalconf", "signed-directory", "wire/conf/globalconf"] {
        for path in files(&root.join(folder)) {
            for certificate in configured(&String::from_utf8_lossy(&fs::read(&path).unwrap())) {
                add(path.display().to_string(), certificate);
            }
        }
    }
    found
}

/// The certificates in a configuration part.
pub(crate) fn configured(text: &str) -> Vec<Certificate> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("ert>") {
        rest = &rest[at + 4..];
        let Some(end) = rest.find('<') else { break };
        let content = rest[..end].trim();
        if content.len() > 200 {
            found.extend(Certificate::from_der_or_pem(content.as_bytes()).ok());
        }
    }
    found
}
