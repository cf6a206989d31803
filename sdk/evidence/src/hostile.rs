//! Documents made to deceive or to exhaust, as tables: what the wire answers ([`open`]), and what a court does ([`verify_container`]),
//! whose verdict is X-Road's and which tells the rest in findings.
//!
//! Whatever the form, a message that was not signed is never taken.

mod documents;
mod references;
mod wrapping;

use bytes::Bytes;
use jibek_certs::digest::{Digest, DigestAlgorithm};

use crate::{
    container::{Container, ContainerLimits, write_container},
    court::{Court, REQUEST, code, findings},
    open::{SignedParts, open},
    scene::sha512,
    verify::{Memory, stamp_time, verify_container, verify_container_with},
};

/// A court with a signature that holds, in the pieces that forgers put together anew.
struct Workshop {
    court: Court,
    /// Of all documents tried before: none may help another.
    memory: Memory,
    message: Digest,
    good: String,
    signature: String,
    signed_info: String,
    properties: String,
    qualifying: String,
    x509: String,
}

impl Workshop {
    fn new() -> Self {
        let court = Court::new();
        let message = sha512(REQUEST.as_bytes());
        let signed = court.scene.sign(&[
            ("/message.xml", Some(message)),
            ("#signed-properties", None),
        ]);
        let good = String::from_utf8(signed.to_vec()).unwrap();
        let between = |start: &str, end: &str| {
            let from = good.find(start).unwrap();
            let to = good.find(end).unwrap() + end.len();
            good[from..to].to_owned()
        };
        Self {
            memory: Memory::default(),
            message,
            signature: between("<ds:Signature ", "</ds:Signature>"),
            signed_info: between("<ds:SignedInfo>", "</ds:SignedInfo>"),
            properties: between("<xades:SignedProperties", "</xades:SignedProperties>"),
            qualifying: between(
                "<xades:QualifyingProperties",
                "</xades:QualifyingProperties>",
            ),
            x509: between("<ds:X509Data>", "</ds:X509Data>"),
            good,
            court,
        }
    }

    /// The wire's answer to a document over a message.
    fn opened(&self, document: &str, message: &Digest) -> String {
        let signature = Bytes::copy_from_slice(document.as_bytes());
        let parts = SignedParts {
            signature: &signature,
            hash_chain_result: None,
            hash_chain: None,
            message,
            attachments: &[],
        };
        let scene = &self.court.scene;
        match open(&parts, &scene.sender, &scene.trust, scene.now) {
            Ok(_) => "valid".to_owned(),
            Err(error) => error.code(),
        }
    }

    /// The court's, with findings; whoever forges can have it stamped.
    fn judged(&self, document: &str, message: &str) -> (String, Vec<&'static str>) {
        let mut parts = self.court.contain_signature(
            Bytes::copy_from_slice(document.as_bytes()),
            self.court.scene.now,
            DigestAlgorithm::Sha512,
        );
        parts.message = Bytes::copy_from_slice(message.as_bytes());
        let container = Container::read(
            &write_container(&parts).unwrap(),
            &ContainerLimits::default(),
        )
        .unwrap();
        let verdict = verify_container(&container, &self.court.scene.trust);
        let remembered = verify_container_with(&container, &self.court.scene.trust, &self.memory);
        assert_eq!(code(&remembered), code(&verdict));
        assert_eq!(stamp_time(&container).is_some(), parts.ts_token.is_some());
        (code(&verdict).to_owned(), findings(&verdict))
    }

    /// Tries a document, with the message that was signed and with another.
    fn check(&self, what: &str, document: &str, wire: &str, verdict: &str, found: &[&str]) {
        let evil = REQUEST.replace("17", "18");
        assert_eq!(self.opened(document, &self.message), wire, "wire: {what}");
        assert_ne!(
            self.opened(document, &sha512(evil.as_bytes())),
            "valid",
            "wire, another message: {what}"
        );
        let (code, findings) = self.judged(document, REQUEST);
        assert_eq!(code, verdict, "container: {what}: {findings:?}");
        if verdict == "valid" {
            assert_eq!(findings, found, "container: {what}");
        }
        assert_ne!(
            self.judged(document, &evil).0,
            "valid",
            "container, another message: {what}"
        );
    }
}

const MALFORMED: &str = "malformed_signature";
const VALUE: &str = "invalid_signature_value";
