//! A certification authority of a few lines of DER, for tests that need signatures of their own.

use bytes::Bytes;
use jibek_certs::{
    digest::{Digest, DigestAlgorithm, digest},
    ocsp::cert_id_der,
    parse::Certificate,
    signer::{KeyKind, SignatureAlgorithm, Signer, SoftKey},
};
use time::OffsetDateTime;

/// What the authority says of a certificate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Status {
    Good,
    Revoked,
    Unknown,
}

/// An authority that answers OCSP itself.
pub(crate) struct Ca {
    key: SoftKey,
    certificate: Certificate,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let key = SoftKey::generate(KeyKind::EcP256).unwrap();
        let name = name(&[("2.5.4.6", "DEV"), ("2.5.4.3", "CA")]);
        let extensions = [
            extension(&[0x55, 0x1d, 0x13], &sequence(&[&[0x01, 0x01, 0xff]])),
            extension(&[0x55, 0x1d, 0x0f], &[0x03, 0x02, 0x01, 0x06]),
        ];
        let der = certificate(
            &key,
            &name,
            &name,
            &key.public_key_spki(),
            1,
            &extensions.concat(),
        );
        Self {
            certificate: Certificate::from_der(der).unwrap(),
            key,
        }
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// A signing certificate of the Ejbca profile for member `DEV/GOV/code`.
    pub(crate) fn issue(&self, key: &dyn Signer, code: &str) -> Certificate {
        let subject = name(&[("2.5.4.6", "DEV"), ("2.5.4.10", "GOV"), ("2.5.4.3", code)]);
        let usage = extension(&[0x55, 0x1d, 0x0f], &[0x03, 0x02, 0x06, 0x40]);
        let der = certificate(
            &self.key,
            self.certificate.subject().der(),
            &subject,
            &key.public_key_spki(),
            2,
            &usage,
        );
        Certificate::from_der(der).unwrap()
    }

    /// An OCSP response of `now`, signed by the authority itself.
    pub(crate) fn ocsp(
        &self,
        certificate: &Certificate,
        status: Status,
        now: OffsetDateTime,
    ) -> Bytes {
        let time = generalized(now);
        let status = match status {
            Status::Good => tlv(0x80, &[]),
            Status::Revoked => tlv(0xa1, &time),
            Status::Unknown => tlv(0x82, &[]),
        };
        let single = sequence(&[&cert_id_der(certificate, &self.certificate), &status, &time]);
        let responder = tlv(0xa2, &tlv(0x04, &self.certificate.key_bits_sha1()));
        let data = sequence(&[&responder, &time, &sequence(&[&single])]);
        let value = self
            .key
            .sign_der_with(SignatureAlgorithm::EcdsaSha256, &data)
            .unwrap();
        let basic = sequence(&[&data, &ecdsa_sha256(), &bits(&value)]);
        let kind = tlv(
            0x06,
            &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01],
        );
        sequence(&[
            &[0x0a, 0x01, 0x00],
            &tlv(0xa0, &sequence(&[&kind, &tlv(0x04, &basic)])),
        ])
        .into()
    }
}

/// A time-stamping authority of its own making.
pub(crate) struct Tsa {
    key: SoftKey,
    certificate: Certificate,
}

impl Tsa {
    pub(crate) fn new() -> Self {
        let key = SoftKey::generate(KeyKind::EcP256).unwrap();
        let name = name(&[("2.5.4.3", "TSA")]);
        let der = certificate(
            &key,
            &name,
            &name,
            &key.public_key_spki(),
            3,
            &extension(&[0x55, 0x1d, 0x0f], &[0x03, 0x02, 0x06, 0x40]),
        );
        Self {
            certificate: Certificate::from_der(der).unwrap(),
            key,
        }
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// A token over `imprint`, with the certificate in it.
    pub(crate) fn stamp(&self, imprint: &Digest, time: OffsetDateTime) -> Bytes {
        let algorithm = match imprint.algorithm() {
            DigestAlgorithm::Sha1 => sequence(&[&tlv(0x06, &[0x2b, 0x0e, 0x03, 0x02, 0x1a])]),
            _ => sequence(&[&SHA512]),
        };
        let info = sequence(&[
            &[0x02, 0x01, 0x01],
            &tlv(0x06, &[0x2a, 0x03]),
            &sequence(&[&algorithm, &tlv(0x04, imprint.as_bytes())]),
            &[0x02, 0x01, 0x07],
            &generalized(time),
        ]);
        let attribute = |oid: &[u8], value: &[u8]| sequence(&[&tlv(0x06, oid), &tlv(0x31, value)]);
        let hash = digest(DigestAlgorithm::Sha256, self.certificate.der());
        let mut attributes = [
            attribute(&[&PKCS9[..], &[3]].concat(), &tlv(0x06, TST_INFO)),
            attribute(
                &[&PKCS9[..], &[4]].concat(),
                &tlv(0x04, digest(DigestAlgorithm::Sha256, &info).as_bytes()),
            ),
            attribute(
                &[&PKCS9[..], &[16, 2, 47]].concat(),
                &sequence(&[&sequence(&[&sequence(&[&tlv(0x04, hash.as_bytes())])])]),
            ),
        ];
        attributes.sort();
        let signed = attributes.concat();
        let value = self
            .key
            .sign_der_with(SignatureAlgorithm::EcdsaSha256, &tlv(0x31, &signed))
            .unwrap();
        let signer = sequence(&[
            &[0x02, 0x01, 0x01],
            &sequence(&[self.certificate.issuer().der(), &[0x02, 0x01, 0x03]]),
            &sequence(&[&SHA256]),
            &tlv(0xa0, &signed),
            &ecdsa_sha256(),
            &tlv(0x04, &value),
        ]);
        let content = sequence(&[&tlv(0x06, TST_INFO), &tlv(0xa0, &tlv(0x04, &info))]);
        let data = sequence(&[
            &[0x02, 0x01, 0x03],
            &tlv(0x31, &sequence(&[&SHA256])),
            &content,
            &tlv(0xa0, self.certificate.der()),
            &tlv(0x31, &signer),
        ]);
        let kind = tlv(
            0x06,
            &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02],
        );
        sequence(&[&kind, &tlv(0xa0, &data)]).into()
    }
}

fn generalized(time: OffsetDateTime) -> Vec<u8> {
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    tlv(0x18, text.as_bytes())
}

const PKCS9: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09];
const TST_INFO: &[u8] = &[
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04,
];
const SHA256: [u8; 11] = [
    0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
];
const SHA512: [u8; 11] = [
    0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03,
];

fn certificate(
    issuer_key: &SoftKey,
    issuer: &[u8],
    subject: &[u8],
    spki: &[u8],
    serial: u8,
    extensions: &[u8],
) -> Vec<u8> {
    let validity = sequence(&[&tlv(0x17, b"200101000000Z"), &tlv(0x17, b"490101000000Z")]);
    let version = tlv(0xa0, &[0x02, 0x01, 0x02]);
    let extensions = tlv(0xa3, &tlv(0x30, extensions));
    let tbs = sequence(&[
        &version,
        &[0x02, 0x01, serial],
        &ecdsa_sha256(),
        issuer,
        &validity,
        subject,
        spki,
        &extensions,
    ]);
    let value = issuer_key
        .sign_der_with(SignatureAlgorithm::EcdsaSha256, &tbs)
        .unwrap();
    sequence(&[&tbs, &ecdsa_sha256(), &bits(&value)])
}

fn name(attributes: &[(&str, &str)]) -> Vec<u8> {
    let sets: Vec<u8> = attributes
        .iter()
        .flat_map(|(oid, value)| {
            let last: u8 = oid.rsplit('.').next().unwrap().parse().unwrap();
            tlv(
                0x31,
                &sequence(&[
                    &tlv(0x06, &[0x55, 0x04, last]),
                    &tlv(0x0c, value.as_bytes()),
                ]),
            )
        })
        .collect();
    tlv(0x30, &sets)
}

fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    sequence(&[&tlv(0x06, oid), &[0x01, 0x01, 0xff], &tlv(0x04, value)])
}

fn ecdsa_sha256() -> Vec<u8> {
    sequence(&[&tlv(
        0x06,
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
    )])
}

fn bits(value: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], value].concat())
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    crate::hash_chain::push_header(tag, value.len(), &mut out);
    out.extend_from_slice(value);
    out
}
