//! Certificates made byte by byte, so that they may be wrong in every way.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "tests may panic, their helpers too")]

use std::sync::Arc;

use jibek_certs::{
    Certificate, KeyKind, ParseError, SignatureAlgorithm, Signer, SoftKey,
    asn1::{oid, tlv},
};
use rasn::types::ObjectIdentifier;
use time::{OffsetDateTime, macros::datetime};

/// When all tests take place.
pub(crate) const NOW: OffsetDateTime = datetime!(2026-11-23 05:00 UTC);

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) key: Arc<SoftKey>,
    pub(crate) name: Vec<u8>,
    pub(crate) der: Vec<u8>,
}

impl Made {
    pub(crate) fn certificate(&self) -> Certificate {
        Certificate::from_der(self.der.clone()).unwrap()
    }

    pub(crate) fn read(&self) -> Result<Certificate, ParseError> {
        Certificate::from_der(self.der.clone())
    }
}

/// What to make.
#[derive(Clone)]
pub(crate) struct Spec {
    /// The subject's DER.
    pub(crate) name: Vec<u8>,
    /// The issuer's DER, when it is not the subject of who signs.
    pub(crate) issuer: Option<Vec<u8>>,
    pub(crate) key: Arc<SoftKey>,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    /// Content of the version's INTEGER; 2 is version 3.
    pub(crate) version: u8,
    pub(crate) serial: Vec<u8>,
    /// Whole extensions, see [`ext`].
    pub(crate) extensions: Vec<Vec<u8>>,
    /// What is said within, when it differs from what is done.
    pub(crate) inner_algorithm: Option<SignatureAlgorithm>,
    pub(crate) algorithm: Option<SignatureAlgorithm>,
}

impl Spec {
    /// An end entity's: no extensions, a new P-256 key, valid from 2020 to 2040.
    pub(crate) fn new(common_name: &str) -> Self {
        Self::with_key(common_name, KeyKind::EcP256)
    }

    pub(crate) fn with_key(common_name: &str, kind: KeyKind) -> Self {
        Self {
            name: cn(common_name),
            issuer: None,
            key: Arc::new(SoftKey::generate(kind).unwrap()),
            not_before: datetime!(2020-01-01 0:00 UTC),
            not_after: datetime!(2040-01-01 0:00 UTC),
            version: 2,
            serial: vec![1],
            extensions: Vec::new(),
            inner_algorithm: None,
            algorithm: None,
        }
    }

    /// A CA's: basic constraints and key usage.
    pub(crate) fn ca(common_name: &str, path_length: Option<u8>) -> Self {
        Self::new(common_name)
            .ext(basic_constraints(true, path_length))
            .ext(key_usage(KEY_CERT_SIGN))
    }

    pub(crate) fn ext(mut self, extension: Vec<u8>) -> Self {
        self.extensions.push(extension);
        self
    }

    pub(crate) fn set(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn self_signed(self) -> Made {
        let (key, name) = (Arc::clone(&self.key), self.name.clone());
        self.sign(&key, name)
    }

    pub(crate) fn by(self, issuer: &Made) -> Made {
        self.sign(&issuer.key, issuer.name.clone())
    }

    fn sign(self, signer: &SoftKey, issuer: Vec<u8>) -> Made {
        let natural = if signer.algorithm().is_ecdsa() {
            SignatureAlgorithm::EcdsaSha256
        } else {
            SignatureAlgorithm::RsaPkcs1Sha256
        };
        let algorithm = self.algorithm.unwrap_or(natural);
        let identifier =
            |algorithm: SignatureAlgorithm| rasn::der::encode(&algorithm.identifier()).unwrap();
        let mut tbs = Vec::new();
        if self.version > 0 {
            tbs.extend(tlv(0xa0, &tlv(0x02, &[self.version])));
        }
        tbs.extend(tlv(0x02, &self.serial));
        tbs.extend(identifier(self.inner_algorithm.unwrap_or(algorithm)));
        tbs.extend(self.issuer.unwrap_or(issuer));
        tbs.extend(seq(&[moment(self.not_before), moment(self.not_after)]));
        tbs.extend(&self.name);
        tbs.extend(self.key.public_key_spki());
        if !self.extensions.is_empty() {
            tbs.extend(tlv(0xa3, &seq(&self.extensions)));
        }
        let tbs = tlv(0x30, &tbs);
        let mut bits = vec![0];
        bits.extend(signer.sign_der_with(algorithm, &tbs).unwrap());
        let der = seq(&[tbs, identifier(algorithm), tlv(0x03, &bits)]);
        Made {
            key: self.key,
            name: self.name,
            der,
        }
    }
}

pub(crate) fn seq(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// A name of attributes (dotted identifier, UTF8String).
pub(crate) fn name(attributes: &[(&str, &str)]) -> Vec<u8> {
    let rdns: Vec<Vec<u8>> = attributes
        .iter()
        .map(|(kind, value)| {
            let pair = seq(&[encoded_oid(kind), tlv(0x0c, value.as_bytes())]);
            tlv(0x31, &pair)
        })
        .collect();
    seq(&rdns)
}

pub(crate) fn cn(common_name: &str) -> Vec<u8> {
    name(&[("2.5.4.3", common_name)])
}

pub(crate) fn encoded_oid(dotted: &str) -> Vec<u8> {
    let oid: ObjectIdentifier = oid(dotted).unwrap();
    rasn::der::encode(&oid).unwrap()
}

pub(crate) fn ext(kind: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![encoded_oid(kind)];
    if critical {
        parts.push(vec![1, 1, 0xff]);
    }
    parts.push(tlv(0x04, value));
    seq(&parts)
}

pub(crate) fn basic_constraints(ca: bool, path_length: Option<u8>) -> Vec<u8> {
    let mut content = Vec::new();
    if ca {
        content.extend([1, 1, 0xff]);
    }
    if let Some(length) = path_length {
        content.extend([2, 1, length]);
    }
    ext("2.5.29.19", true, &tlv(0x30, &content))
}

/// Bits as in the first byte of the BIT STRING: 0x80 digitalSignature, 0x40 nonRepudiation, 0x04 keyCertSign.
pub(crate) fn key_usage(bits: u8) -> Vec<u8> {
    let unused = u8::try_from(bits.trailing_zeros().min(7)).unwrap();
    ext("2.5.29.15", true, &[3, 2, unused, bits])
}

pub(crate) const KEY_CERT_SIGN: u8 = 0x04;
pub(crate) const NON_REPUDIATION: u8 = 0x40;
pub(crate) const DIGITAL_SIGNATURE: u8 = 0x80;

pub(crate) fn dns(host: &str) -> Vec<u8> {
    tlv(0x82, host.as_bytes())
}

pub(crate) fn email(mailbox: &str) -> Vec<u8> {
    tlv(0x81, mailbox.as_bytes())
}

pub(crate) fn ip(bytes: &[u8]) -> Vec<u8> {
    tlv(0x87, bytes)
}

/// A directory name from a name's DER.
pub(crate) fn dn(name: &[u8]) -> Vec<u8> {
    tlv(0xa4, name)
}

/// An other name of a type that nobody knows.
pub(crate) fn other(value: &str) -> Vec<u8> {
    let content = [
        encoded_oid("1.3.6.1.4.1.32473.1"),
        tlv(0xa0, &tlv(0x0c, value.as_bytes())),
    ];
    tlv(0xa0, &content.concat())
}

pub(crate) fn san(names: &[Vec<u8>]) -> Vec<u8> {
    ext("2.5.29.17", false, &seq(names))
}

pub(crate) fn name_constraints(permitted: &[Vec<u8>], excluded: &[Vec<u8>]) -> Vec<u8> {
    let mut content = Vec::new();
    for (tag, names) in [(0xa0, permitted), (0xa1, excluded)] {
        if !names.is_empty() {
            let subtrees: Vec<Vec<u8>> = names.iter().map(|base| tlv(0x30, base)).collect();
            content.extend(tlv(tag, &subtrees.concat()));
        }
    }
    ext("2.5.29.30", true, &tlv(0x30, &content))
}

/// UTCTime up to 2049, GeneralizedTime beyond.
fn moment(at: OffsetDateTime) -> Vec<u8> {
    let format = time::macros::format_description!("[year][month][day][hour][minute][second]Z");
    let text = at.format(format).unwrap();
    if at.year() < 2050 {
        tlv(0x17, &text.as_bytes()[2..])
    } else {
        tlv(0x18, text.as_bytes())
    }
}
