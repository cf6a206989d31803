//! A private key in memory, and the certificate request it signs.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{self as sig, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use zeroize::Zeroizing;

use super::{SignError, SignatureAlgorithm, Signer, ecdsa::fit_digest, ecdsa_der_to_raw};
use crate::digest::digest;

/// What kind of key to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// NIST P-256: microseconds to generate.
    EcP256,
    /// NIST P-384.
    EcP384,
    /// NIST P-521.
    EcP521,
    /// RSA with 2048 bits: X-Road's default.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits: seconds to generate.
    Rsa4096,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::EcP256,
        Self::EcP384,
        Self::EcP521,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
    ];

    /// Its name on command lines and in files: `p256`, `rsa2048` and so on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcP256 => "p256",
            Self::EcP384 => "p384",
            Self::EcP521 => "p521",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A private key in memory: RSA, P-256, P-384 or P-521. Its secret is wiped when it is dropped and never printed.
pub struct SoftKey {
    kind: Kind,
    algorithm: SignatureAlgorithm,
    pkcs8: Zeroizing<Vec<u8>>,
    spki: Vec<u8>,
    /// The content of the BIT STRING in `spki`.
    public_bits: Vec<u8>,
}

/// A key could not be made, read or used for a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The cryptographic library failed to generate or encode.
    #[error("the cryptographic library could not make the key")]
    Generate,
    /// The bytes are no private key that we know (PKCS#8, PKCS#1 or SEC1; RSA from 2048 bits, P-256, P-384, P-521).
    #[error("not a private key of a known kind")]
    Malformed,
    /// A subject attribute has an unknown name.
    #[error("unknown subject attribute {0:?}")]
    Attribute(String),
    /// A subject attribute occurs twice, which the request writer cannot express.
    #[error("subject attribute {0:?} occurs twice")]
    Repeated(String),
    /// The request could not be written.
    #[error("the certificate request could not be written")]
    Request(#[source] rcgen::Error),
}

enum Kind {
    Rsa(Box<RsaKeyPair>),
    Ec(Curve, Box<EcdsaKeyPair>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    fn signing(self) -> &'static sig::EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &sig::ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &sig::ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &sig::ECDSA_P521_SHA512_ASN1_SIGNING,
        }
    }

    fn natural(self) -> &'static aws_lc_rs::digest::Algorithm {
        match self {
            Self::P256 => &aws_lc_rs::digest::SHA256,
            Self::P384 => &aws_lc_rs::digest::SHA384,
            Self::P521 => &aws_lc_rs::digest::SHA512,
        }
    }

    /// Bytes of a coordinate, and so of r and of s.
    const fn coordinate(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

impl SoftKey {
    /// Makes a key.
    ///
    /// # Errors
    /// [`KeyError::Generate`].
    pub fn generate(kind: KeyKind) -> Result<Self, KeyError> {
        let rsa = |size| RsaKeyPair::generate(size).map(|pair| Kind::Rsa(Box::new(pair)));
        let ec = |curve: Curve| {
            EcdsaKeyPair::generate(curve.signing()).map(|pair| Kind::Ec(curve, Box::new(pair)))
        };
        let kind = match kind {
            KeyKind::EcP256 => ec(Curve::P256),
            KeyKind::EcP384 => ec(Curve::P384),
            KeyKind::EcP521 => ec(Curve::P521),
            KeyKind::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyKind::Rsa3072 => rsa(KeySize::Rsa3072),
            KeyKind::Rsa4096 => rsa(KeySize::Rsa4096),
        };
        Self::wrap(kind.map_err(|_| KeyError::Generate)?)
    }

    /// Reads a key from unencrypted PKCS#8.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let ec = Curve::ALL.into_iter().find_map(|curve| {
            let pair = EcdsaKeyPair::from_pkcs8(curve.signing(), der).ok()?;
            Some(Kind::Ec(curve, Box::new(pair)))
        });
        let kind = match ec {
            Some(ec) => ec,
            None => Kind::Rsa(Box::new(
                RsaKeyPair::from_pkcs8(der).map_err(|_| KeyError::Malformed)?,
            )),
        };
        Self::wrap(kind)
    }

    /// Reads the first private key of a PEM file (`PRIVATE KEY`, `RSA PRIVATE KEY`, `EC PRIVATE KEY`; not encrypted).
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| KeyError::Malformed)?;
        let der = key.secret_der();
        match &key {
            PrivateKeyDer::Pkcs1(_) => Self::wrap(Kind::Rsa(Box::new(
                RsaKeyPair::from_der(der).map_err(|_| KeyError::Malformed)?,
            ))),
            PrivateKeyDer::Sec1(_) => {
                let found = Curve::ALL.into_iter().find_map(|curve| {
                    let pair = EcdsaKeyPair::from_private_key_der(curve.signing(), der).ok()?;
                    Some(Kind::Ec(curve, Box::new(pair)))
                });
                Self::wrap(found.ok_or(KeyError::Malformed)?)
            }
            _ => Self::from_pkcs8_der(der),
        }
    }

    /// The same key with another mechanism behind [`Signer::sign`], which is PKCS#1 v1.5 or ECDSA with SHA-512 else: so an RSA
    /// key makes PSS signatures.
    ///
    /// # Errors
    /// [`SignError::Algorithm`] when the key cannot, or when no new signatures are made with it.
    pub fn with_algorithm(mut self, algorithm: SignatureAlgorithm) -> Result<Self, SignError> {
        if !self.can(algorithm) {
            return Err(SignError::Algorithm(algorithm));
        }
        self.algorithm = algorithm;
        Ok(self)
    }

    /// The secret, as unencrypted PKCS#8.
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        self.pkcs8.clone()
    }

    /// The secret, as unencrypted PKCS#8 in PEM.
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(to_pem("PRIVATE KEY", &self.pkcs8))
    }

    /// Signs with an algorithm of the caller's choice; EC as `r‖s`.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign_with(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, SignError> {
        let der = self.sign_der_with(algorithm, message)?;
        match &self.kind {
            Kind::Rsa(_) => Ok(der),
            Kind::Ec(curve, _) => {
                ecdsa_der_to_raw(&der, curve.coordinate()).ok_or(SignError::Refused)
            }
        }
    }

    /// Signs with an algorithm of the caller's choice; EC as DER, which X.509, OCSP, CMS and TLS want.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign_der_with(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, SignError> {
        match &self.kind {
            Kind::Ec(curve, pair) if self.can(algorithm) => {
                let message = digest(algorithm.digest(), message);
                let fitted = fit_digest(&message, curve.natural()).ok_or(SignError::Refused)?;
                let signature = pair.sign_digest(&fitted).map_err(|_| SignError::Refused)?;
                Ok(signature.as_ref().to_vec())
            }
            Kind::Rsa(pair) => {
                let encoding = rsa_encoding(algorithm).ok_or(SignError::Algorithm(algorithm))?;
                rsa_sign(pair, encoding, message)
            }
            Kind::Ec(..) => Err(SignError::Algorithm(algorithm)),
        }
    }

    /// A PKCS#10 certificate request for `subject`, in the order given. An attribute is named `C`, `O`, `OU`, `CN`, `L`, `ST`,
    /// `serialNumber`, `businessCategory`, `organizationIdentifier` or by its dotted identifier. Countries and serial numbers
    /// become PrintableString where they can, all else UTF8String.
    ///
    /// # Errors
    /// [`KeyError::Attribute`], [`KeyError::Repeated`], [`KeyError::Request`].
    pub fn csr_der(&self, subject: &[(&str, &str)]) -> Result<Vec<u8>, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(subject)?;
        let request = params
            .serialize_request(&RequestKey(self))
            .map_err(KeyError::Request)?;
        Ok(request.der().to_vec())
    }

    /// The same as PEM.
    ///
    /// # Errors
    /// As [`SoftKey::csr_der`].
    pub fn csr_pem(&self, subject: &[(&str, &str)]) -> Result<String, KeyError> {
        Ok(to_pem("CERTIFICATE REQUEST", &self.csr_der(subject)?))
    }

    /// The key for `rcgen`, which signs with SHA-256 (P-384: SHA-384, P-521: SHA-512).
    pub fn for_rcgen(&self) -> impl rcgen::SigningKey + '_ {
        RequestKey(self)
    }

    fn wrap(kind: Kind) -> Result<Self, KeyError> {
        let (pkcs8, spki, public_bits) = match &kind {
            Kind::Rsa(pair) => (
                AsDer::<Pkcs8V1Der<'_>>::as_der(&**pair).map(|der| der.as_ref().to_vec()),
                AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
                pair.public_key().as_ref().to_vec(),
            ),
            Kind::Ec(_, pair) => (
                pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
                AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
                pair.public_key().as_ref().to_vec(),
            ),
        };
        let pkcs8 = Zeroizing::new(pkcs8.map_err(|_| KeyError::Generate)?);
        let spki = spki.map_err(|_| KeyError::Generate)?.as_ref().to_vec();
        let algorithm = match &kind {
            Kind::Rsa(_) => SignatureAlgorithm::RsaPkcs1Sha512,
            Kind::Ec(..) => SignatureAlgorithm::EcdsaSha512,
        };
        Ok(Self {
            kind,
            algorithm,
            pkcs8,
            spki,
            public_bits,
        })
    }

    fn can(&self, algorithm: SignatureAlgorithm) -> bool {
        match &self.kind {
            Kind::Rsa(_) => rsa_encoding(algorithm).is_some(),
            Kind::Ec(..) => algorithm.is_ecdsa() && algorithm.weakness().is_none(),
        }
    }
}

impl Signer for SoftKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.sign_with(self.algorithm(), message)
    }

    fn public_key_spki(&self) -> Vec<u8> {
        self.spki.clone()
    }
}

impl std::fmt::Debug for SoftKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.kind {
            Kind::Rsa(_) => "RSA",
            Kind::Ec(Curve::P256, _) => "P-256",
            Kind::Ec(Curve::P384, _) => "P-384",
            Kind::Ec(Curve::P521, _) => "P-521",
        };
        formatter
            .debug_struct("SoftKey")
            .field("kind", &kind)
            .finish_non_exhaustive()
    }
}

/// PEM with lines of 64 characters.
pub(crate) fn to_pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at_checked(64).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// A subject for `rcgen` from named attributes, in the order given (see [`SoftKey::csr_der`] for the names).
///
/// # Errors
/// [`KeyError::Attribute`], [`KeyError::Repeated`].
pub fn distinguished_name(subject: &[(&str, &str)]) -> Result<DistinguishedName, KeyError> {
    let mut name = DistinguishedName::new();
    for (attribute, value) in subject {
        let kind = attribute_type(attribute)
            .ok_or_else(|| KeyError::Attribute((*attribute).to_owned()))?;
        if name.get(&kind).is_some() {
            return Err(KeyError::Repeated((*attribute).to_owned()));
        }
        let printable = match attribute.to_ascii_lowercase().as_str() {
            "c" | "serialnumber" | "2.5.4.6" | "2.5.4.5" => {
                (*value).try_into().ok().map(DnValue::PrintableString)
            }
            _ => None,
        };
        name.push(
            kind,
            printable.unwrap_or_else(|| DnValue::Utf8String((*value).to_owned())),
        );
    }
    Ok(name)
}

fn attribute_type(name: &str) -> Option<DnType> {
    let oid: Vec<u64> = match name.to_ascii_lowercase().as_str() {
        "cn" => vec![2, 5, 4, 3],
        "serialnumber" => vec![2, 5, 4, 5],
        "c" => vec![2, 5, 4, 6],
        "l" => vec![2, 5, 4, 7],
        "st" => vec![2, 5, 4, 8],
        "o" => vec![2, 5, 4, 10],
        "ou" => vec![2, 5, 4, 11],
        "businesscategory" => vec![2, 5, 4, 15],
        "organizationidentifier" => vec![2, 5, 4, 97],
        dotted => dotted
            .split('.')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()
            .filter(|oid: &Vec<u64>| oid.len() > 2)?,
    };
    Some(DnType::from_oid(&oid))
}

/// How an RSA key signs; `None` for what it cannot, and for SHA-1, which nothing new is signed with.
fn rsa_encoding(algorithm: SignatureAlgorithm) -> Option<&'static sig::RsaSignatureEncoding> {
    match algorithm {
        SignatureAlgorithm::RsaPkcs1Sha256 => Some(&sig::RSA_PKCS1_SHA256),
        SignatureAlgorithm::RsaPkcs1Sha384 => Some(&sig::RSA_PKCS1_SHA384),
        SignatureAlgorithm::RsaPkcs1Sha512 => Some(&sig::RSA_PKCS1_SHA512),
        SignatureAlgorithm::RsaPssSha256 => Some(&sig::RSA_PSS_SHA256),
        SignatureAlgorithm::RsaPssSha384 => Some(&sig::RSA_PSS_SHA384),
        SignatureAlgorithm::RsaPssSha512 => Some(&sig::RSA_PSS_SHA512),
        _ => None,
    }
}

fn rsa_sign(
    pair: &RsaKeyPair,
    encoding: &'static sig::RsaSignatureEncoding,
    message: &[u8],
) -> Result<Vec<u8>, SignError> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
        .map_err(|_| SignError::Refused)?;
    Ok(signature)
}

struct RequestKey<'a>(&'a SoftKey);

impl rcgen::PublicKeyData for RequestKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.0.public_bits
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match &self.0.kind {
            Kind::Rsa(_) => &rcgen::PKCS_RSA_SHA256,
            Kind::Ec(Curve::P256, _) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Kind::Ec(Curve::P384, _) => &rcgen::PKCS_ECDSA_P384_SHA384,
            Kind::Ec(Curve::P521, _) => &rcgen::PKCS_ECDSA_P521_SHA512,
        }
    }
}

impl rcgen::SigningKey for RequestKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let algorithm = match &self.0.kind {
            Kind::Rsa(_) => SignatureAlgorithm::RsaPkcs1Sha256,
            Kind::Ec(Curve::P256, _) => SignatureAlgorithm::EcdsaSha256,
            Kind::Ec(Curve::P384, _) => SignatureAlgorithm::EcdsaSha384,
            Kind::Ec(Curve::P521, _) => SignatureAlgorithm::EcdsaSha512,
        };
        self.0
            .sign_der_with(algorithm, message)
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::{verify_spki, verify_spki_der};

    #[test]
    fn every_kind_signs_and_survives_pkcs8() {
        for (kind, length) in [
            (KeyKind::EcP256, 64),
            (KeyKind::EcP384, 96),
            (KeyKind::EcP521, 132),
            (KeyKind::Rsa2048, 256),
        ] {
            assert_eq!(KeyKind::from_name(kind.name()), Some(kind));
            let key = SoftKey::generate(kind).unwrap();
            let signature = key.sign(b"message").unwrap();
            assert_eq!(signature.len(), length);
            let spki = key.public_key_spki();
            verify_spki(&spki, key.algorithm(), b"message", &signature).unwrap();
            assert!(verify_spki(&spki, key.algorithm(), b"massage", &signature).is_err());

            let again = SoftKey::from_pkcs8_der(&key.to_pkcs8_der()).unwrap();
            assert_eq!(again.public_key_spki(), spki);
            let again = SoftKey::from_pem(key.to_pkcs8_pem().as_bytes()).unwrap();
            assert_eq!(again.public_key_spki(), spki);
            let mut can = 0;
            for algorithm in SignatureAlgorithm::ALL {
                match again.sign_der_with(algorithm, b"x") {
                    Ok(signature) => {
                        verify_spki_der(&spki, algorithm, b"x", &signature).unwrap();
                        can += 1;
                        for other in SignatureAlgorithm::ALL
                            .into_iter()
                            .filter(|a| *a != algorithm)
                        {
                            assert!(verify_spki_der(&spki, other, b"x", &signature).is_err());
                        }
                    }
                    Err(SignError::Algorithm(refused)) => assert_eq!(refused, algorithm),
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(can, if key.algorithm().is_ecdsa() { 4 } else { 6 });
        }
    }

    #[test]
    fn the_mechanism_is_the_keys_owner_s_choice() {
        let key = SoftKey::generate(KeyKind::Rsa2048).unwrap();
        let key = key
            .with_algorithm(SignatureAlgorithm::RsaPssSha512)
            .unwrap();
        let (spki, signature) = (key.public_key_spki(), key.sign(b"message").unwrap());
        verify_spki(
            &spki,
            SignatureAlgorithm::RsaPssSha512,
            b"message",
            &signature,
        )
        .unwrap();
        for refused in [
            SignatureAlgorithm::RsaPkcs1Sha1,
            SignatureAlgorithm::EcdsaSha512,
        ] {
            let key = SoftKey::from_pkcs8_der(&key.to_pkcs8_der()).unwrap();
            assert!(matches!(
                key.with_algorithm(refused),
                Err(SignError::Algorithm(_))
            ));
        }
    }

    #[test]
    fn subjects_with_unknown_or_repeated_attributes_are_refused() {
        let key = SoftKey::generate(KeyKind::EcP256).unwrap();
        assert!(matches!(
            key.csr_der(&[("Cx", "FI")]),
            Err(KeyError::Attribute(_))
        ));
        assert!(matches!(
            key.csr_der(&[("O", "a"), ("2.5.4.10", "b")]),
            Err(KeyError::Repeated(_))
        ));
    }

    #[test]
    fn no_secret_is_printed() {
        let key = SoftKey::generate(KeyKind::EcP256).unwrap();
        assert_eq!(format!("{key:?}"), "SoftKey { kind: \"P-256\", .. }");
    }
}
