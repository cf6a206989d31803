//! The table of `observed.md` section 2, row by row, and who may sign.

#![allow(clippy::unwrap_used, reason = "tests may panic, their helpers too")]

use std::time::Duration;

use jibek_certs::{
    Certificate, DigestAlgorithm, KeyKind, SignatureAlgorithm, SoftKey,
    asn1::{
        AlgorithmIdentifier, Any, BasicOcspResponse, BitString, CertId, CertStatus,
        OcspResponseData, OcspSingleResponse, ResponderId, RevokedInfo, integer, null, oid, tlv,
        to_asn1_time,
    },
    digest::digest,
    ocsp::{
        CertError, OcspError, OcspResponse, Policy, cert_id_der, request_der, verify_with_ocsp,
        verify_with_ocsp_anchored,
    },
    signer::distinguished_name,
    trust::{ApprovedCa, Authorities},
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose,
    SerialNumber,
};
use time::{OffsetDateTime, macros::datetime};

const NOW: OffsetDateTime = datetime!(2026-11-23 05:00 UTC);
const YEAR: time::Duration = time::Duration::days(365);
const MINUTE: time::Duration = time::Duration::MINUTE;

struct Party {
    key: SoftKey,
    params: CertificateParams,
    certificate: Certificate,
}

fn party(name: &str, above: Option<&Party>, set: impl FnOnce(&mut CertificateParams)) -> Party {
    let key = SoftKey::generate(KeyKind::EcP256).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(&[("O", "Test"), ("CN", name)]).unwrap();
    params.serial_number = Some(SerialNumber::from(7));
    set(&mut params);
    let certificate = match above {
        None => params.self_signed(&key.for_rcgen()),
        Some(above) => {
            let issuer = Issuer::from_params(&above.params, above.key.for_rcgen());
            params.signed_by(&key.for_rcgen(), &issuer)
        }
    };
    let certificate = Certificate::from_der(certificate.unwrap().der().to_vec()).unwrap();
    Party {
        key,
        params,
        certificate,
    }
}

fn authority(name: &str) -> Party {
    party(name, None, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
    })
}

fn responder(name: &str, above: &Party) -> Party {
    party(name, Some(above), |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning]
    })
}

/// A country of one CA, one listed responder and one member.
struct World {
    ca: Party,
    responder: Party,
    leaf: Party,
}

/// What a response is made of; the default is what X-Road's own test CA answers.
struct Shape<'a> {
    signer: &'a Party,
    by_key: bool,
    embedded: Vec<Certificate>,
    cert_ids: Vec<Vec<u8>>,
    status: CertStatus,
    produced_at: OffsetDateTime,
    this_update: OffsetDateTime,
    next_update: Option<OffsetDateTime>,
}

impl World {
    fn new() -> Self {
        let ca = authority("CA");
        let responder = responder("OCSP", &ca);
        let leaf = party("member", Some(&ca), |params| {
            params.key_usages = vec![KeyUsagePurpose::ContentCommitment];
            params.serial_number = Some(SerialNumber::from(0x8001));
        });
        Self {
            ca,
            responder,
            leaf,
        }
    }

    fn shape(&self) -> Shape<'_> {
        Shape {
            signer: &self.responder,
            by_key: false,
            embedded: vec![self.responder.certificate.clone()],
            cert_ids: vec![self.cert_id()],
            status: CertStatus::Good(()),
            produced_at: NOW,
            this_update: NOW - MINUTE,
            next_update: Some(NOW + MINUTE),
        }
    }

    fn cert_id(&self) -> Vec<u8> {
        cert_id_der(&self.leaf.certificate, &self.ca.certificate)
    }

    fn cert_id_with(&self, algorithm: DigestAlgorithm, parameters: Option<Any>) -> Vec<u8> {
        let (leaf, ca) = (&self.leaf.certificate, &self.ca.certificate);
        let id = CertId {
            hash_algorithm: AlgorithmIdentifier {
                algorithm: oid(algorithm.oid()).unwrap(),
                parameters,
            },
            issuer_name_hash: digest(algorithm, leaf.issuer().der())
                .as_bytes()
                .to_vec()
                .into(),
            issuer_key_hash: digest(algorithm, ca.key_bits()).as_bytes().to_vec().into(),
            serial_number: integer(leaf.serial_bytes()),
        };
        rasn::der::encode(&id).unwrap()
    }

    /// With the responder listed for the CA, or not.
    fn judge(
        &self,
        shape: &Shape<'_>,
        listed: bool,
        policy: Policy,
    ) -> Result<OffsetDateTime, CertError> {
        let mut ca = ApprovedCa::new(self.ca.certificate.clone(), true, "profile");
        if listed {
            ca.ocsp_responders = vec![self.responder.certificate.clone()];
        }
        let authorities = Authorities::new(vec![ca]);
        let responses = [OcspResponse::parse(shape.der()).unwrap()];
        let leaf = &self.leaf.certificate;
        verify_with_ocsp(leaf, &[], &authorities, &responses, NOW, policy)
            .map(|verified| verified.valid_until())
    }
}

impl Shape<'_> {
    fn der(&self) -> Vec<u8> {
        let certificate = &self.signer.certificate;
        let time = |moment| to_asn1_time(moment).unwrap();
        let data = OcspResponseData {
            version: None,
            responder: match self.by_key {
                true => ResponderId::Key(certificate.key_bits_sha1().to_vec().into()),
                false => ResponderId::Name(Any::new(certificate.subject().der().to_vec())),
            },
            produced_at: time(self.produced_at),
            responses: self
                .cert_ids
                .iter()
                .map(|id| OcspSingleResponse {
                    cert_id: Any::new(id.clone()),
                    status: self.status.clone(),
                    this_update: time(self.this_update),
                    next_update: self.next_update.map(time),
                    extensions: None,
                })
                .collect(),
            extensions: None,
        };
        let tbs = rasn::der::encode(&data).unwrap();
        let signature = self
            .signer
            .key
            .sign_der_with(SignatureAlgorithm::EcdsaSha256, &tbs)
            .unwrap();
        let basic = BasicOcspResponse {
            tbs: Any::new(tbs),
            signature_algorithm: SignatureAlgorithm::EcdsaSha256.identifier(),
            signature: BitString::from_vec(signature),
            certificates: (!self.embedded.is_empty()).then(|| {
                self.embedded
                    .iter()
                    .map(|certificate| Any::new(certificate.der().to_vec()))
                    .collect()
            }),
        };
        let mut bytes = tlv(0x06, &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]);
        bytes.extend(tlv(0x04, &rasn::der::encode(&basic).unwrap()));
        let mut response = vec![0x0a, 1, 0];
        response.extend(tlv(0xa0, &tlv(0x30, &bytes)));
        tlv(0x30, &response)
    }
}

fn hour() -> Policy {
    Policy::new(Duration::from_secs(3600), true)
}

#[test]
fn the_table_accepted() {
    let world = World::new();
    let other = cert_id_der(&world.ca.certificate, &world.ca.certificate);
    let rows: Vec<(&str, Shape<'_>)> = vec![
        ("SHA-1 CertID with NULL parameters, by name", world.shape()),
        (
            "by key hash",
            Shape {
                by_key: true,
                ..world.shape()
            },
        ),
        (
            "certificate left out",
            Shape {
                embedded: vec![],
                ..world.shape()
            },
        ),
        (
            "signed by the CA itself",
            Shape {
                signer: &world.ca,
                embedded: vec![],
                ..world.shape()
            },
        ),
        (
            "signed by the CA itself, by key",
            Shape {
                signer: &world.ca,
                by_key: true,
                ..world.shape()
            },
        ),
        (
            "no nextUpdate",
            Shape {
                next_update: None,
                ..world.shape()
            },
        ),
        (
            "producedAt one year old",
            Shape {
                produced_at: NOW - YEAR,
                ..world.shape()
            },
        ),
        (
            "thisUpdate 10 minutes ahead",
            Shape {
                this_update: NOW + 10 * MINUTE,
                next_update: None,
                ..world.shape()
            },
        ),
        (
            "thisUpdate a day ahead",
            Shape {
                this_update: NOW + time::Duration::DAY,
                next_update: None,
                ..world.shape()
            },
        ),
        (
            "thisUpdate exactly 60 minutes old",
            Shape {
                this_update: NOW - 60 * MINUTE,
                ..world.shape()
            },
        ),
        (
            "nextUpdate now",
            Shape {
                next_update: Some(NOW),
                ..world.shape()
            },
        ),
        (
            "two SingleResponses, ours first",
            Shape {
                cert_ids: vec![world.cert_id(), other],
                ..world.shape()
            },
        ),
    ];
    for (name, shape) in rows {
        world
            .judge(&shape, true, hour())
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
    assert_eq!(
        world.cert_id(),
        world.cert_id_with(DigestAlgorithm::Sha1, Some(null()))
    );
}

#[test]
fn the_table_refused() {
    let world = World::new();
    let other = cert_id_der(&world.ca.certificate, &world.ca.certificate);
    let absent = world.cert_id_with(DigestAlgorithm::Sha1, None);
    let sha256 = world.cert_id_with(DigestAlgorithm::Sha256, Some(null()));
    let revoked = RevokedInfo {
        time: to_asn1_time(NOW - YEAR).unwrap(),
        reason: None,
    };
    let (no, unfit) = (
        "invalid_cert_path.cert_validation",
        "invalid_cert_path.incorrect_validation_info",
    );
    let rows: Vec<(&str, &str, Shape<'_>)> = vec![
        (
            "ours second",
            no,
            Shape {
                cert_ids: vec![other, world.cert_id()],
                ..world.shape()
            },
        ),
        (
            "SHA-256 CertID",
            no,
            Shape {
                cert_ids: vec![sha256],
                ..world.shape()
            },
        ),
        (
            "SHA-1 CertID with absent parameters",
            no,
            Shape {
                cert_ids: vec![absent],
                ..world.shape()
            },
        ),
        (
            "thisUpdate 61 minutes old",
            unfit,
            Shape {
                this_update: NOW - 61 * MINUTE,
                ..world.shape()
            },
        ),
        (
            "nextUpdate passed",
            unfit,
            Shape {
                next_update: Some(NOW - MINUTE),
                ..world.shape()
            },
        ),
        (
            "revoked",
            no,
            Shape {
                status: CertStatus::Revoked(revoked),
                ..world.shape()
            },
        ),
        (
            "unknown",
            no,
            Shape {
                status: CertStatus::Unknown(()),
                ..world.shape()
            },
        ),
    ];
    for (name, code, shape) in rows {
        let error = world.judge(&shape, true, hour()).expect_err(name);
        assert_eq!(error.code(), code, "{name}: {error:?}");
    }
}

#[test]
fn freshness_and_next_update_bound_the_use() {
    let world = World::new();
    let until = |shape: &Shape<'_>, policy| world.judge(shape, true, policy).unwrap();
    assert_eq!(until(&world.shape(), hour()), NOW + MINUTE);
    let open = Shape {
        next_update: None,
        ..world.shape()
    };
    assert_eq!(until(&open, hour()), NOW + 59 * MINUTE);
    // The configuration may turn nextUpdate off.
    let passed = Shape {
        next_update: Some(NOW - MINUTE),
        ..world.shape()
    };
    assert_eq!(
        until(&passed, Policy::new(Duration::from_secs(3600), false)),
        NOW + 59 * MINUTE
    );
}

#[test]
fn only_the_authorised_may_answer() {
    let world = World::new();
    let source = |shape: &Shape<'_>, listed| match world.judge(shape, listed, hour()) {
        Ok(_) => None,
        Err(CertError::Ocsp { source, .. }) => Some(source),
        Err(error) => panic!("{error:?}"),
    };
    // Delegated by the CA, not listed: its certificate has to come along.
    assert_eq!(source(&world.shape(), false), None);
    let absent = Shape {
        embedded: vec![],
        ..world.shape()
    };
    assert_eq!(source(&absent, false), Some(OcspError::UnknownResponder));
    // Without the extended key usage.
    let plain = party("plain", Some(&world.ca), |_| {});
    let shape = Shape {
        signer: &plain,
        embedded: vec![plain.certificate.clone()],
        ..world.shape()
    };
    assert!(matches!(
        source(&shape, true),
        Some(OcspError::NotAuthorised { .. })
    ));
    // Delegated by another CA, even by one of the same name.
    for name in ["other CA", "CA"] {
        let foreign = authority(name);
        let stranger = responder("OCSP", &foreign);
        let shape = Shape {
            signer: &stranger,
            embedded: vec![stranger.certificate.clone()],
            ..world.shape()
        };
        assert!(
            matches!(source(&shape, false), Some(OcspError::NotAuthorised { .. })),
            "{name}"
        );
    }
    // Signed by another key than the one it names: the member's own.
    let impostor = Party {
        key: SoftKey::generate(KeyKind::EcP256).unwrap(),
        params: CertificateParams::default(),
        certificate: world.responder.certificate.clone(),
    };
    let shape = Shape {
        signer: &impostor,
        ..world.shape()
    };
    assert!(matches!(
        source(&shape, true),
        Some(OcspError::Signature(_))
    ));
}

/// What is accepted as X-Road accepts it and should be told: an answer from the future, and how far.
#[test]
fn an_answer_from_the_future_is_told() {
    let world = World::new();
    let ahead = |shape: &Shape<'_>| {
        let ca = ApprovedCa::new(world.ca.certificate.clone(), true, "profile");
        let responses = [OcspResponse::parse(shape.der()).unwrap()];
        let leaf = &world.leaf.certificate;
        verify_with_ocsp(
            leaf,
            &[],
            &Authorities::new(vec![ca]),
            &responses,
            NOW,
            hour(),
        )
        .unwrap()
        .ocsp_ahead()
    };
    let at = |this_update| Shape {
        this_update,
        next_update: None,
        ..world.shape()
    };
    assert_eq!(ahead(&at(NOW)), None);
    assert_eq!(ahead(&at(NOW - MINUTE)), None);
    assert_eq!(ahead(&at(NOW + MINUTE)), Some(Duration::from_secs(60)));
}

/// Certificates that came along count only when needed, but each must be readable: X-Road reads them all.
#[test]
fn a_certificate_within_that_cannot_be_read_refuses_the_answer() {
    let world = World::new();
    let der = world.shape().der();
    let embedded = world.responder.certificate.der();
    let at = der
        .windows(embedded.len())
        .position(|window| window == embedded.as_ref())
        .unwrap();
    OcspResponse::parse(der.clone()).unwrap();
    let mut damaged = der.clone();
    damaged[at + 4] = 0x31; // the signed part is no SEQUENCE any more
    assert!(matches!(
        OcspResponse::parse(damaged),
        Err(OcspError::Malformed(_))
    ));
    // Bytes behind the end: refused, or counted for who asks.
    let mut longer = der.clone();
    longer.extend([0; 3]);
    assert!(matches!(
        OcspResponse::parse(longer.clone()),
        Err(OcspError::Malformed(_))
    ));
    let (response, trailing) = OcspResponse::parse_leading(&longer).unwrap();
    assert_eq!((response.der().as_ref(), trailing), (der.as_slice(), 3));
}

/// An issuer of the same name with another key changes the CertID, so its answer is about another certificate.
#[test]
fn an_answer_for_a_namesake_s_certificate_does_not_count() {
    let world = World::new();
    let namesake = authority("CA");
    let shape = Shape {
        cert_ids: vec![cert_id_der(&world.leaf.certificate, &namesake.certificate)],
        ..world.shape()
    };
    assert!(matches!(
        world.judge(&shape, true, hour()),
        Err(CertError::NoOcsp { .. })
    ));
    // But the member of a CA that shares its name with a later one is found by trying both.
    let mut both = vec![ApprovedCa::new(world.ca.certificate.clone(), true, "right")];
    both.push(ApprovedCa::new(namesake.certificate.clone(), true, "wrong"));
    let responses = [OcspResponse::parse(world.shape().der()).unwrap()];
    let leaf = &world.leaf.certificate;
    let verified =
        verify_with_ocsp(leaf, &[], &Authorities::new(both), &responses, NOW, hour()).unwrap();
    assert_eq!(verified.profile_class(), "right");
    let unknown = verify_with_ocsp(leaf, &[], &Authorities::default(), &responses, NOW, hour());
    assert!(matches!(unknown, Err(CertError::UnknownAuthority { .. })));
}

/// The request's bytes are those of `openssl ocsp -no_nonce` for the same certificates.
#[test]
fn the_request_is_openssl_s() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, party) in [("ca", &world.ca), ("leaf", &world.leaf)] {
        #[expect(clippy::disallowed_methods, reason = "a test's scratch file")]
        std::fs::write(path(name), party.certificate.to_pem()).unwrap();
    }
    let made = std::process::Command::new("openssl")
        .args([
            "ocsp",
            "-no_nonce",
            "-issuer",
            &path("ca"),
            "-cert",
            &path("leaf"),
            "-reqout",
            &path("request"),
        ])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let expected = std::fs::read(path("request")).unwrap();
    assert_eq!(
        request_der(&world.leaf.certificate, &world.ca.certificate),
        expected
    );
}

/// A CA below an approved CA is not approved by that, even with good answers for everything.
#[test]
fn an_unapproved_intermediate_issues_nothing() {
    let world = World::new();
    let below = party("below", Some(&world.ca), |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
    });
    let leaf = party("member", Some(&below), |params| {
        params.key_usages = vec![KeyUsagePurpose::ContentCommitment]
    });
    let (ca, below_ca) = (&world.ca.certificate, &below.certificate);
    let for_leaf = Shape {
        signer: &below,
        embedded: vec![],
        cert_ids: vec![cert_id_der(&leaf.certificate, below_ca)],
        ..world.shape()
    };
    let for_below = Shape {
        cert_ids: vec![cert_id_der(below_ca, ca)],
        ..world.shape()
    };
    let responses = [for_leaf, for_below].map(|shape| OcspResponse::parse(shape.der()).unwrap());
    let approve = |certificate: &Certificate| ApprovedCa::new(certificate.clone(), true, "profile");
    let judge = |authorities: Vec<ApprovedCa>| {
        let anchor = authorities[0].clone();
        let authorities = Authorities::new(authorities);
        let extra = [below_ca.clone()];
        verify_with_ocsp_anchored(
            &leaf.certificate,
            &extra,
            &anchor,
            &authorities,
            &responses,
            NOW,
            hour(),
        )
    };
    assert!(matches!(
        judge(vec![approve(ca)]),
        Err(CertError::UnknownAuthority { .. })
    ));
    assert_eq!(
        judge(vec![approve(ca), approve(below_ca)])
            .unwrap()
            .ocsp()
            .len(),
        2
    );
}
