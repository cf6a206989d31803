//! A member that signs, and the configuration that knows it, for tests.

use bytes::Bytes;
use jibek_certs::{
    digest::{Digest, DigestAlgorithm, digest},
    parse::Certificate,
    signer::{KeyKind, Signer, SoftKey},
    trust::{ApprovedCa, Authorities, Trust},
};
use jibek_protocol::id::ClientId;
use std::{sync::Arc, time::Duration};
use time::{OffsetDateTime, macros::datetime};

use crate::{
    c14n::{Canonicalization, canonicalize},
    seal::{PartDigests, SealingIdentity, seal},
    testpki, xml,
};

/// A configuration of one instance, `DEV`.
pub(crate) struct TestTrust {
    pub(crate) authorities: Authorities,
    pub(crate) stamps: Vec<Certificate>,
}

impl Trust for TestTrust {
    fn own_instance(&self) -> &str {
        "DEV"
    }

    fn authorities(&self, instance: &str) -> Option<&Authorities> {
        (instance == "DEV").then_some(&self.authorities)
    }

    fn all_authorities(&self) -> Vec<&Authorities> {
        vec![&self.authorities]
    }

    fn timestamp_certificates(&self) -> &[Certificate] {
        &self.stamps
    }

    fn ocsp_freshness(&self) -> Duration {
        Duration::from_secs(3600)
    }

    fn verify_next_update(&self) -> bool {
        true
    }
}

/// A member with a key under a CA of our own.
pub(crate) struct Scene {
    pub(crate) trust: TestTrust,
    pub(crate) identity: SealingIdentity,
    pub(crate) sender: ClientId,
    pub(crate) now: OffsetDateTime,
    ca: testpki::Ca,
    key: Arc<SoftKey>,
}

impl Scene {
    pub(crate) fn new(kind: KeyKind) -> Self {
        Self::of(SoftKey::generate(kind).unwrap())
    }

    /// The same with a key at hand.
    pub(crate) fn of(key: SoftKey) -> Self {
        let ca = testpki::Ca::new();
        let key = Arc::new(key);
        let now = datetime!(2026-11-23 03:15 UTC);
        let certificate = ca.issue(&*key, "1234");
        let ocsp = ca.ocsp(&certificate, testpki::Status::Good, now);
        let identity = SealingIdentity::new(certificate, vec![], vec![ocsp], key.clone()).unwrap();
        let approved = ApprovedCa::new(
            ca.certificate().clone(),
            true,
            "EjbcaCertificateProfileInfoProvider",
        );
        let trust = TestTrust {
            authorities: Authorities::new(vec![approved]),
            stamps: vec![],
        };
        let sender = ClientId::new("DEV", "GOV", "1234", Some("sub")).unwrap();
        Self {
            trust,
            identity,
            sender,
            now,
            ca,
            key,
        }
    }

    /// Has the authority answer anew, and the member sign with that answer.
    pub(crate) fn answer(&mut self, status: testpki::Status) {
        let certificate = self.identity.certificate().clone();
        let ocsp = self.ca.ocsp(&certificate, status, self.now);
        self.identity =
            SealingIdentity::new(certificate, vec![], vec![ocsp], self.key.clone()).unwrap();
    }

    /// A signature over these references, in the form of our own signer's otherwise. A digest that is left out is made.
    pub(crate) fn sign(&self, references: &[(&str, Option<Digest>)]) -> Bytes {
        let sealed = seal(
            &self.identity,
            &[PartDigests {
                message: sha512(b""),
                attachments: vec![],
            }],
            self.now,
        )
        .unwrap()
        .remove(0);
        let document = String::from_utf8(sealed.signature.to_vec()).unwrap();
        let first = document.find("<ds:Reference ").unwrap();
        let last = document.find("</ds:SignedInfo>").unwrap();
        let own = document[first..last]
            .split_inclusive("</ds:Reference>")
            .nth(1)
            .unwrap();
        let own_digest = own
            .split_once("<ds:DigestValue>")
            .unwrap()
            .1
            .split_once('<')
            .unwrap()
            .0;
        let written: String = references
            .iter()
            .enumerate()
            .map(|(number, (uri, digest))| {
                let method = digest.map_or(DigestAlgorithm::Sha512, |digest| digest.algorithm()).uri();
                let digest = digest.map_or_else(|| own_digest.to_owned(), |digest| digest.to_base64());
                format!(
                    "<ds:Reference Id=\"signature-reference-{number}\" URI=\"{uri}\"><ds:DigestMethod Algorithm=\"{method}\">\
                     </ds:DigestMethod><ds:DigestValue>{digest}</ds:DigestValue></ds:Reference>"
                )
            })
            .collect();
        let document = format!("{}{written}{}", &document[..first], &document[last..]);
        self.sign_again(&document)
    }

    /// A document whose properties or SignedInfo were changed, with the right digest of the properties and a new value.
    pub(crate) fn sign_again(&self, document: &str) -> Bytes {
        self.sign_again_in(document, &Canonicalization::Inclusive)
    }

    /// The same with `SignedInfo` in another canonical form.
    pub(crate) fn sign_again_in(&self, document: &str, form: &Canonicalization) -> Bytes {
        let element = |document: &str, name: &str, form: &Canonicalization| {
            let tree = xml::parse(document.as_bytes()).unwrap();
            let node = tree
                .descendants()
                .find(|node| node.tag_name().name() == name)
                .unwrap();
            canonicalize(node, form)
        };
        let properties = sha512(&element(
            document,
            "SignedProperties",
            &Canonicalization::Inclusive,
        ))
        .to_base64();
        let document = match document.split_once("URI=\"#signed-properties\">") {
            Some((head, tail)) => format!(
                "{head}URI=\"#signed-properties\">{}",
                with_text(tail, "<ds:DigestValue>", &properties)
            ),
            None => document.to_owned(),
        };
        let value = self
            .key
            .sign(&element(&document, "SignedInfo", form))
            .unwrap();
        use base64::{Engine, engine::general_purpose::STANDARD};
        with_text(
            &document,
            "<ds:SignatureValue Id=\"signature-value\">",
            &STANDARD.encode(value),
        )
        .into()
    }
}

/// `document` with another text behind the first `start`.
fn with_text(document: &str, start: &str, text: &str) -> String {
    let (head, tail) = document.split_once(start).unwrap();
    let (_, tail) = tail.split_once('<').unwrap();
    format!("{head}{start}{text}<{tail}")
}

pub(crate) fn sha512(data: &[u8]) -> Digest {
    digest(DigestAlgorithm::Sha512, data)
}
