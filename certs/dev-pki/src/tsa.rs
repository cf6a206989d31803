//! The time-stamping authority's answers.

use std::sync::atomic::{AtomicU64, Ordering};

use jibek_certs::{
    Certificate, DigestAlgorithm, SoftKey,
    asn1::{
        Accuracy, AlgorithmIdentifier, Any, Attribute, BitString, ContentInfo, EncapsulatedContent,
        Integer, IssuerAndSerial, ObjectIdentifier, PkiStatusInfo, SetOf, SignedData, SignerId,
        SignerInfo, TimeStampReq, TimeStampResp, TstInfo, dotted, integer, oid, tlv, to_asn1_time,
    },
    digest::digest,
};
use time::OffsetDateTime;

use crate::{authority::DevPki, faults::Fault};

impl DevPki {
    /// The time-stamping authority's answer to the body of a query, as of `now`, with what `fault` makes wrong in it.
    ///
    /// SHA-256, SHA-384 and SHA-512 imprints are stamped; a query that cannot be served is rejected with badAlg, badRequest or
    /// badDataFormat.
    pub fn answer_tsa(&self, query: &[u8], now: OffsetDateTime, fault: Fault) -> Vec<u8> {
        let result = match rasn::ber::decode::<TimeStampReq>(query) {
            Ok(query) => self.stamp(&query, now, fault),
            Err(_) => Err(BAD_DATA_FORMAT),
        };
        let response = match result {
            Ok(token) => TimeStampResp {
                status: PkiStatusInfo {
                    status: Integer::from(0),
                    text: None,
                    failure: None,
                },
                token: Some(Any::new(token)),
            },
            Err(failure) => TimeStampResp {
                status: PkiStatusInfo {
                    status: Integer::from(2),
                    text: Some(vec!["rejected".to_owned()]),
                    failure: Some(
                        (0..=failure)
                            .map(|bit| bit == failure)
                            .collect::<BitString>(),
                    ),
                },
                token: None,
            },
        };
        rasn::der::encode(&response).unwrap_or_default() // these values always encode
    }

    fn stamp(
        &self,
        query: &TimeStampReq,
        now: OffsetDateTime,
        fault: Fault,
    ) -> Result<Vec<u8>, usize> {
        if matches!(fault, Fault::Unknown | Fault::Revoked) {
            return Err(BAD_REQUEST);
        }
        let algorithm = DigestAlgorithm::from_oid(&dotted(&query.imprint.hash_algorithm.algorithm));
        let algorithm = algorithm
            .filter(|algorithm| *algorithm >= DigestAlgorithm::Sha256)
            .ok_or(BAD_ALG)?;
        if query.imprint.hashed_message.len() != algorithm.len() {
            return Err(BAD_DATA_FORMAT);
        }
        let gen_time = fault.shift(now);
        let mut imprint = query.imprint.clone();
        if fault == Fault::WrongImprint {
            imprint.hashed_message = digest(algorithm, b"something else")
                .as_bytes()
                .to_vec()
                .into();
        }
        let info = TstInfo {
            version: Integer::from(1),
            policy: query
                .policy
                .clone()
                .or_else(|| oid(POLICY))
                .ok_or(SYSTEM_FAILURE)?,
            imprint,
            serial: Integer::from(next_serial(now)),
            gen_time: to_asn1_time(gen_time).ok_or(SYSTEM_FAILURE)?,
            accuracy: Some(Accuracy {
                seconds: Some(Integer::from(1)),
                millis: None,
                micros: None,
            }),
            ordering: false,
            nonce: query.nonce.clone(),
            tsa: None,
            extensions: None,
        };
        let info = rasn::der::encode(&info).map_err(|_| SYSTEM_FAILURE)?;
        let (certificate, key) = match fault {
            Fault::WrongCertificate => (self.ocsp_certificate(), &self.ocsp_key),
            _ => (self.tsa_certificate(), &self.tsa_key),
        };
        token(certificate, key, info, gen_time, query.cert_req, fault).ok_or(SYSTEM_FAILURE)
    }
}

/// Signed data over `info`.
fn token(
    certificate: &Certificate,
    key: &SoftKey,
    info: Vec<u8>,
    gen_time: OffsetDateTime,
    with_certificate: bool,
    fault: Fault,
) -> Option<Vec<u8>> {
    let sha256 = || {
        oid(DigestAlgorithm::Sha256.oid()).map(|algorithm| AlgorithmIdentifier {
            algorithm,
            parameters: None,
        })
    };
    let message_digest = digest(DigestAlgorithm::Sha256, &info);
    let signing_time = rasn::der::encode(&to_asn1_time(gen_time)?.to_utc()).ok()?;
    // SigningCertificateV2: one ESSCertIDv2 with the default SHA-256 and no issuer.
    let certificate_hash = tlv(
        0x30,
        &tlv(
            0x04,
            digest(DigestAlgorithm::Sha256, certificate.der()).as_bytes(),
        ),
    );
    let signing_certificate = tlv(0x30, &tlv(0x30, &certificate_hash));
    let signed = SetOf::from(vec![
        attribute(CONTENT_TYPE, rasn::der::encode(&oid(TST_INFO)?).ok()?)?,
        attribute(SIGNING_TIME, signing_time)?,
        attribute(MESSAGE_DIGEST, tlv(0x04, message_digest.as_bytes()))?,
        attribute(SIGNING_CERTIFICATE_V2, signing_certificate)?,
    ]);
    let (algorithm, mut signature) =
        DevPki::sign_sha256(key, &rasn::der::encode(&signed).ok()?).ok()?;
    if fault == Fault::Unsigned {
        signature.fill(0);
    }
    let signer = SignerInfo {
        version: Integer::from(1),
        id: SignerId::IssuerAndSerial(IssuerAndSerial {
            issuer: Any::new(certificate.issuer().der().to_vec()),
            serial: integer(certificate.serial_bytes()),
        }),
        digest_algorithm: sha256()?,
        signed: Some(signed),
        signature_algorithm: algorithm.identifier(),
        signature: signature.into(),
        unsigned: None,
    };
    let content = ContentInfo {
        content_type: oid(SIGNED_DATA)?,
        content: SignedData {
            version: Integer::from(3),
            digest_algorithms: SetOf::from(vec![sha256()?]),
            content: EncapsulatedContent {
                content_type: oid(TST_INFO)?,
                content: Some(info.into()),
            },
            certificates: with_certificate
                .then(|| SetOf::from(vec![Any::new(certificate.der().to_vec())])),
            crls: None,
            signers: SetOf::from(vec![signer]),
        },
    };
    rasn::der::encode(&content).ok()
}

fn attribute(kind: &str, value: Vec<u8>) -> Option<Attribute> {
    let kind: ObjectIdentifier = oid(kind)?;
    Some(Attribute {
        kind,
        values: SetOf::from(vec![Any::new(value)]),
    })
}

/// Numbers that do not repeat: the time and a counter.
fn next_serial(now: OffsetDateTime) -> u128 {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    let seconds = u128::from(now.unix_timestamp().unsigned_abs());
    seconds << 64 | u128::from(COUNTER.fetch_add(1, Ordering::Relaxed))
}

const BAD_ALG: usize = 0;
const BAD_REQUEST: usize = 2;
const BAD_DATA_FORMAT: usize = 5;
const SYSTEM_FAILURE: usize = 25;
/// Under the documentation arc of RFC 5612's neighbour: a policy that means nothing.
const POLICY: &str = "1.3.6.1.4.1.32473.1.1";
const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";
const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
const SIGNING_TIME: &str = "1.2.840.113549.1.9.5";
const SIGNING_CERTIFICATE_V2: &str = "1.2.840.113549.1.9.16.2.47";
