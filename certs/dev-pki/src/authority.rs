//! The authority: a root, an intermediate that issues, and the certificates of its services.

use std::path::Path;

use jibek_certs::{
    Certificate, KeyKind, ParseError, SignatureAlgorithm, Signer, SoftKey,
    parse::CertificateRequest,
    signer::{KeyError, SignatureError, distinguished_name},
};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PublicKeyData, SerialNumber, SubjectPublicKeyInfo,
};
use time::{Duration, OffsetDateTime};

use crate::store::{Store, StoreError};

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Usage {
    /// A security server's TLS: clientAuth and serverAuth, digitalSignature, keyEncipherment.
    Authentication,
    /// A member's signatures: nonRepudiation.
    Signing,
}

/// From when until when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before: OffsetDateTime,
    /// Last moment.
    pub not_after: OffsetDateTime,
}

impl Validity {
    /// Two years, beginning an hour ago, so that clocks may differ.
    pub fn from_now(now: OffsetDateTime) -> Self {
        Self {
            not_before: now - Duration::HOUR,
            not_after: now + Duration::days(730),
        }
    }
}

/// The authority could not be made, opened or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// Its directory.
    #[error("the authority's directory cannot be used")]
    Store(#[from] StoreError),
    /// A key.
    #[error("a key cannot be made or used")]
    Key(#[from] KeyError),
    /// A certificate could not be written.
    #[error("a certificate cannot be written")]
    Write(#[source] rcgen::Error),
    /// What was written cannot be read again.
    #[error("a certificate that was written cannot be read")]
    Read(#[source] ParseError),
    /// The request cannot be read.
    #[error("the certificate request cannot be read")]
    Request(#[source] ParseError),
    /// The request is not signed by the key that it asks for.
    #[error("the certificate request is not signed by its own key")]
    RequestSignature(#[source] SignatureError),
    /// The request's key is of a kind that cannot be certified here.
    #[error("the key in the certificate request is of an unknown kind")]
    RequestKey(#[source] rcgen::Error),
}

/// A CA with an intermediate, an OCSP responder for each of them and a time-stamping authority, in a directory.
///
/// The issuing CA is the trust anchor of what it issues in X-Road's sense; the root is its approved top CA.
#[derive(Debug)]
pub struct DevPki {
    root: Certificate,
    issuing: Certificate,
    issuing_key: SoftKey,
    pub(crate) ocsp_key: SoftKey,
    ocsp: Certificate,
    root_ocsp: Certificate,
    pub(crate) tsa_key: SoftKey,
    tsa: Certificate,
    store: Store,
}

impl DevPki {
    /// Makes an authority in `dir`, which must not hold one. Keys are of `kind`; certificates are valid 20 years, beginning 30 days ago,
    /// so that answers made stale on purpose fall within.
    ///
    /// # Errors
    /// [`PkiError`]; [`StoreError::Write`] when a file is there already.
    pub fn create(dir: &Path, kind: KeyKind, now: OffsetDateTime) -> Result<Self, PkiError> {
        let store = Store::new(dir)?;
        let validity = Validity {
            not_before: now - Duration::days(30),
            not_after: now + Duration::days(20 * 365),
        };
        let root_key = make_key(&store, ROOT, kind)?;
        let issuing_key = make_key(&store, ISSUING, kind)?;
        let ocsp_key = make_key(&store, OCSP, kind)?;
        let tsa_key = make_key(&store, TSA, kind)?;

        let root_params = parameters(ROOT_NAME, 1, validity, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        })?;
        let issuing_params = parameters(ISSUING_NAME, 2, validity, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        })?;
        let responder = |name, serial| {
            parameters(name, serial, validity, |params| {
                params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
                params.custom_extensions = vec![CustomExtension::from_oid_content(
                    &OCSP_NO_CHECK,
                    vec![5, 0],
                )];
            })
        };
        let tsa_params = parameters(TSA_NAME, 5, validity, |params| {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            // RFC 3161 2.3 wants this extension critical, and OpenSSL checks it; rcgen's own is not.
            let mut purpose =
                CustomExtension::from_oid_content(&EXTENDED_KEY_USAGE, TIME_STAMPING.to_vec());
            purpose.set_criticality(true);
            params.custom_extensions = vec![purpose];
        })?;

        let root_issuer = Issuer::from_params(&root_params, root_key.for_rcgen());
        let issuing_issuer = Issuer::from_params(&issuing_params, issuing_key.for_rcgen());
        let root = read(
            &root_params
                .self_signed(&root_key.for_rcgen())
                .map_err(PkiError::Write)?,
        )?;
        let issuing = sign(&issuing_params, &issuing_key.for_rcgen(), &root_issuer)?;
        let ocsp = sign(
            &responder(OCSP_NAME, 3)?,
            &ocsp_key.for_rcgen(),
            &issuing_issuer,
        )?;
        let root_ocsp = sign(
            &responder(ROOT_OCSP_NAME, 4)?,
            &ocsp_key.for_rcgen(),
            &root_issuer,
        )?;
        let tsa = sign(&tsa_params, &tsa_key.for_rcgen(), &issuing_issuer)?;
        let all = [
            (ROOT, &root),
            (ISSUING, &issuing),
            (OCSP, &ocsp),
            (ROOT_OCSP, &root_ocsp),
            (TSA, &tsa),
        ];
        for (name, certificate) in all {
            store.write_certificate(name, certificate)?;
        }
        drop((root_issuer, issuing_issuer));
        Ok(Self {
            root,
            issuing,
            issuing_key,
            ocsp_key,
            ocsp,
            root_ocsp,
            tsa_key,
            tsa,
            store,
        })
    }

    /// Opens the authority in `dir`.
    ///
    /// # Errors
    /// [`PkiError::Store`].
    pub fn open(dir: &Path) -> Result<Self, PkiError> {
        let store = Store::new(dir)?;
        Ok(Self {
            root: store.read_certificate(ROOT)?,
            issuing: store.read_certificate(ISSUING)?,
            issuing_key: store.read_key(ISSUING)?,
            ocsp_key: store.read_key(OCSP)?,
            ocsp: store.read_certificate(OCSP)?,
            root_ocsp: store.read_certificate(ROOT_OCSP)?,
            tsa_key: store.read_key(TSA)?,
            tsa: store.read_certificate(TSA)?,
            store,
        })
    }

    /// Opens the authority in `dir`, or makes one there.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn open_or_create(
        dir: &Path,
        kind: KeyKind,
        now: OffsetDateTime,
    ) -> Result<Self, PkiError> {
        // The time-stamping certificate is the last file written.
        if dir.join(format!("{TSA}.pem")).exists() {
            Self::open(dir)
        } else {
            Self::create(dir, kind, now)
        }
    }

    /// The top CA.
    pub fn root_ca(&self) -> &Certificate {
        &self.root
    }

    /// The intermediate CA, which issues.
    pub fn issuing_ca(&self) -> &Certificate {
        &self.issuing
    }

    /// The OCSP responder of what the issuing CA issued.
    pub fn ocsp_certificate(&self) -> &Certificate {
        &self.ocsp
    }

    /// The OCSP responder of what the root issued: the issuing CA.
    pub fn root_ocsp_certificate(&self) -> &Certificate {
        &self.root_ocsp
    }

    /// The time-stamping authority.
    pub fn tsa_certificate(&self) -> &Certificate {
        &self.tsa
    }

    /// Issues an authentication certificate for a request (DER, PEM or base64), valid two years. `subject` replaces the request's.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn issue_auth(
        &self,
        request: &[u8],
        subject: Option<&[(&str, &str)]>,
        now: OffsetDateTime,
    ) -> Result<Certificate, PkiError> {
        self.issue(
            Usage::Authentication,
            request,
            subject,
            Validity::from_now(now),
        )
    }

    /// Issues a signing certificate for a request (DER, PEM or base64), valid two years. `subject` replaces the request's.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn issue_sign(
        &self,
        request: &[u8],
        subject: Option<&[(&str, &str)]>,
        now: OffsetDateTime,
    ) -> Result<Certificate, PkiError> {
        self.issue(Usage::Signing, request, subject, Validity::from_now(now))
    }

    /// Issues a certificate with a validity of the caller's choice, so also one that is over or yet to come.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn issue(
        &self,
        usage: Usage,
        request: &[u8],
        subject: Option<&[(&str, &str)]>,
        validity: Validity,
    ) -> Result<Certificate, PkiError> {
        let request = CertificateRequest::from_der_or_pem(request).map_err(PkiError::Request)?;
        request.verify().map_err(PkiError::RequestSignature)?;
        let key =
            SubjectPublicKeyInfo::from_der(request.spki_der()).map_err(PkiError::RequestKey)?;
        let asked: Vec<(&str, &str)> = request
            .subject()
            .attributes()
            .iter()
            .map(|(kind, value)| (kind.as_str(), value.as_str()))
            .collect();
        let serial = self.store.next_serial()?;
        let params = parameters(
            subject.unwrap_or(&asked),
            serial,
            validity,
            |params| match usage {
                Usage::Authentication => {
                    params.key_usages = vec![
                        KeyUsagePurpose::DigitalSignature,
                        KeyUsagePurpose::KeyEncipherment,
                    ];
                    params.extended_key_usages = vec![
                        ExtendedKeyUsagePurpose::ClientAuth,
                        ExtendedKeyUsagePurpose::ServerAuth,
                    ];
                }
                Usage::Signing => params.key_usages = vec![KeyUsagePurpose::ContentCommitment],
            },
        )?;
        let issuing_params = parameters(ISSUING_NAME, 2, validity, |_| {})?;
        let issuer = Issuer::from_params(&issuing_params, self.issuing_key.for_rcgen());
        let certificate = sign(&params, &key, &issuer)?;
        self.store.fill_issued(serial, &certificate)?;
        Ok(certificate)
    }

    /// Revokes a certificate of the issuing CA, from `now` on. Effective at once, in other processes too.
    ///
    /// # Errors
    /// [`PkiError::Store`].
    pub fn revoke(&self, serial: u64, now: OffsetDateTime) -> Result<(), PkiError> {
        Ok(self.store.revoke(serial, now)?)
    }

    /// What the responder knows of a serial number: `None` when it was not issued.
    pub(crate) fn status(&self, by_root: bool, serial: u64) -> Option<Status> {
        let ours = if by_root {
            [2, 4].contains(&serial)
        } else {
            [3, 5].contains(&serial)
        };
        if !ours && (by_root || !self.store.is_issued(serial)) {
            return None;
        }
        match self.store.revoked_since(serial) {
            Ok(None) => Some(Status::Good),
            Ok(Some(since)) => Some(Status::Revoked(since)),
            Err(_) => None,
        }
    }

    /// Signs with a service's key, SHA-256.
    pub(crate) fn sign_sha256(
        key: &SoftKey,
        message: &[u8],
    ) -> Result<(SignatureAlgorithm, Vec<u8>), KeyError> {
        let algorithm = if key.algorithm().is_ecdsa() {
            SignatureAlgorithm::EcdsaSha256
        } else {
            SignatureAlgorithm::RsaPkcs1Sha256
        };
        let signature = key
            .sign_der_with(algorithm, message)
            .map_err(|_| KeyError::Generate)?;
        Ok((algorithm, signature))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Good,
    Revoked(OffsetDateTime),
}

fn make_key(store: &Store, name: &str, kind: KeyKind) -> Result<SoftKey, PkiError> {
    let key = SoftKey::generate(kind)?;
    store.write_key(name, &key)?;
    Ok(key)
}

fn parameters(
    subject: &[(&str, &str)],
    serial: u64,
    validity: Validity,
    set: impl FnOnce(&mut CertificateParams),
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(subject)?;
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    set(&mut params);
    Ok(params)
}

fn sign(
    params: &CertificateParams,
    key: &impl PublicKeyData,
    issuer: &Issuer<'_, impl rcgen::SigningKey>,
) -> Result<Certificate, PkiError> {
    read(&params.signed_by(key, issuer).map_err(PkiError::Write)?)
}

fn read(certificate: &rcgen::Certificate) -> Result<Certificate, PkiError> {
    Certificate::from_der(certificate.der().to_vec()).map_err(PkiError::Read)
}

const ROOT: &str = "root-ca";
const ISSUING: &str = "issuing-ca";
const OCSP: &str = "ocsp";
const ROOT_OCSP: &str = "root-ocsp";
const TSA: &str = "tsa";
const ROOT_NAME: &[(&str, &str)] = &[("C", "KG"), ("O", "Jibek Dev"), ("CN", "Jibek Dev Root CA")];
const ISSUING_NAME: &[(&str, &str)] = &[("C", "KG"), ("O", "Jibek Dev"), ("CN", "Jibek Dev CA")];
const OCSP_NAME: &[(&str, &str)] = &[("C", "KG"), ("O", "Jibek Dev"), ("CN", "Jibek Dev OCSP")];
const ROOT_OCSP_NAME: &[(&str, &str)] = &[
    ("C", "KG"),
    ("O", "Jibek Dev"),
    ("CN", "Jibek Dev Root OCSP"),
];
const TSA_NAME: &[(&str, &str)] = &[("C", "KG"), ("O", "Jibek Dev"), ("CN", "Jibek Dev TSA")];
const EXTENDED_KEY_USAGE: [u64; 4] = [2, 5, 29, 37];
/// SEQUENCE of id-kp-timeStamping.
const TIME_STAMPING: [u8; 12] = [0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8];
const OCSP_NO_CHECK: [u64; 10] = [1, 3, 6, 1, 5, 5, 7, 48, 1, 5];
