//! The parts of a container as files, under names of our own making: never a path that is joined from a name in the container.

use bytes::Bytes;
use jibek_certs::{
    digest::{DigestAlgorithm, digest},
    parse::Certificate,
    trust::Trust,
};
use jibek_evidence::{
    names::attachment_number,
    verify::{MessageFacts, MessageKind, Report},
};
use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::explain::Case;

/// One part of a container, or of what it was judged by.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Part {
    /// The file's name: letters, digits, `-` and `.` only.
    pub name: String,
    /// The name in the container, when that is another. It may be hostile.
    pub entry: Option<String>,
    /// The bytes.
    pub content: Bytes,
    /// What is to be thought of it.
    pub standing: PartStanding,
}

/// What is to be thought of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartStanding {
    /// From the configuration.
    Configuration,
    /// Not what was signed.
    Differs,
    /// It proves, and is not itself what is proved.
    Proof,
    /// Signed and verified.
    Proved,
    /// Digests of the other files.
    Sums,
    /// The container is not valid, or could not be judged.
    Unproved,
    /// In the container, signed by nobody.
    Unsigned,
}

impl PartStanding {
    /// The key of the words for it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Configuration => "part-configuration",
            Self::Differs => "part-differs",
            Self::Proof => "part-proof",
            Self::Proved => "part-proved",
            Self::Sums => "part-sums",
            Self::Unproved => "part-unproved",
            Self::Unsigned => "part-unsigned",
        }
    }
}

/// Why parts were not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// A file is there already. Nothing was written.
    #[error("{} exists already; nothing was written", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file or the directory could not be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Takes a case apart. Files that are always called the same come first, then attachments and what does not belong there.
pub fn parts(case: &Case) -> Vec<Part> {
    let mut parts = Parts::default();
    parts.entries(case);
    parts.signature(case);
    parts.stamp(case);
    let mut parts = parts.0;
    let sums: String = parts
        .iter()
        .map(|part| {
            let sum = digest(DigestAlgorithm::Sha512, &part.content);
            format!("{}  {}\n", sum.to_hex(), part.name)
        })
        .collect();
    if !parts.is_empty() {
        parts.push(Part {
            name: "SHA512SUMS".to_owned(),
            entry: None,
            content: sums.into(),
            standing: PartStanding::Sums,
        });
    }
    parts
}

/// Writes parts into a directory, which is made when it is not there. Nothing is overwritten: when one of the files exists, none is written.
///
/// # Errors
/// [`ExtractError`].
pub fn write_parts(directory: &Path, parts: &[Part]) -> Result<(), ExtractError> {
    for part in parts {
        let path = directory.join(&part.name);
        // a dangling link is in the way, too
        if path.symlink_metadata().is_ok() {
            return Err(ExtractError::Exists { path });
        }
    }
    std::fs::create_dir_all(directory).map_err(|source| ExtractError::Write {
        path: directory.to_owned(),
        source,
    })?;
    for part in parts {
        write_new(&directory.join(&part.name), &part.content)?;
    }
    Ok(())
}

/// Writes a file that must not be there yet.
///
/// # Errors
/// [`ExtractError`].
pub fn write_new(path: &Path, content: &[u8]) -> Result<(), ExtractError> {
    let refuse = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => ExtractError::Exists {
            path: path.to_owned(),
        },
        _ => ExtractError::Write {
            path: path.to_owned(),
            source,
        },
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(refuse)?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(refuse)
}

#[derive(Default)]
struct Parts(Vec<Part>);

impl Parts {
    fn push(
        &mut self,
        name: impl Into<String>,
        entry: Option<&str>,
        content: impl Into<Bytes>,
        standing: PartStanding,
    ) {
        let name = name.into();
        let entry = entry.filter(|entry| *entry != name).map(str::to_owned);
        self.0.push(Part {
            name,
            entry,
            content: content.into(),
            standing,
        });
    }

    fn pem(&mut self, name: impl Into<String>, certificate: &Certificate, standing: PartStanding) {
        self.push(name, None, certificate.to_pem(), standing);
    }

    fn entries(&mut self, case: &Case) {
        let Some(container) = case.container() else {
            return;
        };
        let mut foreign = 0_usize;
        let mut rest = Vec::new();
        for (entry, content) in container.entries() {
            let number = attachment_number(&format!("/{entry}"));
            if let Some((_, name)) = FIXED.iter().find(|(known, _)| *known == entry) {
                self.push(*name, Some(entry), content.clone(), PartStanding::Proof);
            } else if entry == MESSAGE {
                let standing = match case.report() {
                    Some(_) => PartStanding::Proved,
                    None => PartStanding::Unproved,
                };
                self.push(message_name(case), Some(entry), content.clone(), standing);
            } else if let Some(number) = number {
                let name = format!("attachment-{number}.bin");
                rest.push((name, entry, content.clone(), attachment(case, entry)));
            } else {
                foreign += 1;
                let standing = match case.report() {
                    Some(_) => PartStanding::Unsigned,
                    None => PartStanding::Unproved,
                };
                rest.push((
                    format!("other-{foreign}.bin"),
                    entry,
                    content.clone(),
                    standing,
                ));
            }
        }
        for (name, entry, content, standing) in rest {
            self.push(name, Some(entry), content, standing);
        }
    }

    fn signature(&mut self, case: &Case) {
        let Some(signature) = case.exhibits().signature() else {
            return;
        };
        use PartStanding::{Configuration, Proof};
        self.push(
            "signed-info.xml",
            None,
            signature.signed_info().clone(),
            Proof,
        );
        self.push(
            "signature-value.bin",
            None,
            signature.value().clone(),
            Proof,
        );
        if signature.algorithm().is_ecdsa()
            && let Some(der) = ecdsa_der(signature.value())
        {
            self.push("signature-value.der", None, der, Proof);
        }
        self.pem("signer.pem", signature.certificate(), Proof);
        for (number, certificate) in (1..).zip(signature.extra_certificates()) {
            self.pem(format!("intermediate-{number}.pem"), certificate, Proof);
        }
        for (number, der) in (1..).zip(signature.ocsp_responses()) {
            self.push(format!("ocsp-{number}.der"), None, der.clone(), Proof);
        }
        match case.report().and_then(Report::certificate) {
            Some(verified) => {
                self.pem("issuer.pem", verified.issuer(), Configuration);
                if let Some(ocsp) = verified.ocsp().first() {
                    // a responder that the authority appointed comes along in the response
                    let standing = match is_configured(case, ocsp.responder()) {
                        true => Configuration,
                        false => Proof,
                    };
                    self.pem("ocsp-responder.pem", ocsp.responder(), standing);
                }
            }
            None => {
                let sender = case.message().map(MessageFacts::sender);
                let issuer = sender
                    .and_then(|sender| case.configuration()?.authorities(sender.instance()))
                    .and_then(|known| known.by_subject(signature.certificate().issuer()).next());
                if let Some(issuer) = issuer {
                    self.pem("issuer.pem", &issuer.certificate, Configuration);
                }
            }
        }
    }

    fn stamp(&mut self, case: &Case) {
        let Some(token) = case.exhibits().token() else {
            return;
        };
        if !self.0.iter().any(|part| part.name == TOKEN) {
            self.push(TOKEN, None, token.der().clone(), PartStanding::Proof);
        }
        match case.report().and_then(Report::stamp_authority) {
            Some(authority) => self.pem("tsa.pem", authority, PartStanding::Configuration),
            None => {
                for (number, certificate) in (1..).zip(token.certificates()) {
                    self.pem(
                        format!("tsa-stated-{number}.pem"),
                        certificate,
                        PartStanding::Unproved,
                    );
                }
            }
        }
    }
}

/// What the message's file is called: by what it is.
pub(crate) fn message_name(case: &Case) -> &'static str {
    match case.message().map(MessageFacts::kind) {
        Some(MessageKind::Rest) => "message.txt",
        _ => "message.xml",
    }
}

fn is_configured(case: &Case, responder: &Certificate) -> bool {
    let authorities = case.configuration().map(Trust::all_authorities);
    authorities
        .into_iter()
        .flatten()
        .flat_map(|authorities| authorities.all())
        .any(|ca| ca.certificate == *responder || ca.ocsp_responders.contains(responder))
}

fn attachment(case: &Case, entry: &str) -> PartStanding {
    let Some(report) = case.report() else {
        return PartStanding::Unproved;
    };
    let signed = report
        .attachments()
        .iter()
        .find(|attachment| attachment.name().strip_prefix('/') == Some(entry));
    match signed {
        None => PartStanding::Unsigned,
        Some(signed) if signed.is_verified() => PartStanding::Proved,
        Some(_) => PartStanding::Differs,
    }
}

/// r and s, one behind the other, as OpenSSL wants them: a sequence of two integers.
fn ecdsa_der(value: &[u8]) -> Option<Vec<u8>> {
    if value.is_empty() || !value.len().is_multiple_of(2) {
        return None;
    }
    let (r, s) = value.split_at(value.len() / 2);
    let mut body = integer(r)?;
    body.extend(integer(s)?);
    let mut der = vec![0x30];
    // P-521 needs the long form
    if body.len() > 127 {
        der.push(0x81);
    }
    der.push(u8::try_from(body.len()).ok()?);
    der.extend(body);
    Some(der)
}

fn integer(magnitude: &[u8]) -> Option<Vec<u8>> {
    let first = magnitude.iter().position(|byte| *byte != 0);
    let magnitude = first.and_then(|at| magnitude.get(at..)).unwrap_or(&[0]);
    let is_padded = magnitude.first().is_some_and(|byte| *byte >= 0x80);
    let length = magnitude.len() + usize::from(is_padded);
    let mut der = vec![
        2,
        u8::try_from(length).ok().filter(|length| *length < 0x80)?,
    ];
    if is_padded {
        der.push(0);
    }
    der.extend_from_slice(magnitude);
    Some(der)
}

const MESSAGE: &str = "message.xml";
const TOKEN: &str = "timestamp.tst";

/// Entries of containers and what their files are called.
const FIXED: [(&str, &str); 9] = [
    ("META-INF/ASiCManifest.xml", "asic-manifest.xml"),
    ("META-INF/manifest.xml", "manifest.xml"),
    ("META-INF/signatures.xml", "signatures.xml"),
    ("META-INF/timestamp.tst", TOKEN),
    ("mimetype", "mimetype"),
    ("sig-hashchain.xml", "sig-hashchain.xml"),
    ("sig-hashchainresult.xml", "sig-hashchainresult.xml"),
    ("ts-hashchain.xml", "ts-hashchain.xml"),
    ("ts-hashchainresult.xml", "ts-hashchainresult.xml"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_der() {
        assert_eq!(integer(&[0, 0x7f]).unwrap(), [2, 1, 0x7f]);
        assert_eq!(integer(&[0, 0x80]).unwrap(), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0]).unwrap(), [2, 1, 0]);
        assert_eq!(
            ecdsa_der(&[1, 0x80]).unwrap(),
            [0x30, 7, 2, 1, 1, 2, 2, 0, 0x80]
        );
        assert_eq!(ecdsa_der(&[1, 2, 3]), None);
        // made by OpenSSL over P-256; r has its highest bit set
        let value = "a418e30fba43ecfdf108315bb461ebc270334df60bb0b334fb429fbe36c4b8f9\
                     7219ee79fead9d4bd34de683688e2730933e568cb56bbd3f3e88d9d2385bf7f8";
        let der = "3045022100a418e30fba43ecfdf108315bb461ebc270334df60bb0b334fb429fbe36c4b8f9\
                   02207219ee79fead9d4bd34de683688e2730933e568cb56bbd3f3e88d9d2385bf7f8";
        let bytes: Vec<u8> = (0..value.len() / 2)
            .map(|at| u8::from_str_radix(value.get(2 * at..2 * at + 2).unwrap(), 16).unwrap())
            .collect();
        assert_eq!(jibek_certs::digest::hex(&ecdsa_der(&bytes).unwrap()), der);
        // P-521
        let long = ecdsa_der(&[0x11; 132]).unwrap();
        assert!(
            long.starts_with(&[0x30, 0x81, 136, 2, 66, 0x11]),
            "{long:?}"
        );
    }
}
