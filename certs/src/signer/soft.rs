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

use super::{SignError, SignatureAlgorithm, Signer, ecdsa_der_to_raw, fit_digest};
use crate::digest::digest;

/// What kind of key to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// NIST P-256: microseconds to generate.
    EcP256,
    /// RSA with 2048 bits: X-Road's default.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
}

/// A private key in memory: RSA, P-256 or P-384. Its secret is wiped when it is dropped and never printed.
pub struct SoftKey {
    kind: Kind,
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
    /// The bytes are no private key that we know (PKCS#8, PKCS#1 or SEC1; RSA from 2048 bits, P-256, P-384).
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
    P256(Box<EcdsaKeyPair>),
    P384(Box<EcdsaKeyPair>),
}

impl SoftKey {
    /// Makes a key.
    ///
    /// # Errors
    /// [`KeyError::Generate`].
    pub fn generate(kind: KeyKind) -> Result<Self, KeyError> {
        let rsa = |size| RsaKeyPair::generate(size).map(|pair| Kind::Rsa(Box::new(pair)));
        let kind = match kind {
            KeyKind::EcP256 => EcdsaKeyPair::generate(&sig::ECDSA_P256_SHA256_ASN1_SIGNING)
                .map(|pair| Kind::P256(Box::new(pair))),
            KeyKind::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyKind::Rsa3072 => rsa(KeySize::Rsa3072),
        };
        Self::wrap(kind.map_err(|_| KeyError::Generate)?)
    }

    /// Reads a key from unencrypted PKCS#8.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let kind = if let Ok(pair) =
            EcdsaKeyPair::from_pkcs8(&sig::ECDSA_P256_SHA256_ASN1_SIGNING, der)
        {
            Kind::P256(Box::new(pair))
        } else if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&sig::ECDSA_P384_SHA384_ASN1_SIGNING, der)
        {
            Kind::P384(Box::new(pair))
        } else {
            Kind::Rsa(Box::new(
                RsaKeyPair::from_pkcs8(der).map_err(|_| KeyError::Malformed)?,
            ))
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
                let p256 =
                    EcdsaKeyPair::from_private_key_der(&sig::ECDSA_P256_SHA256_ASN1_SIGNING, der);
                let kind = match p256 {
                    Ok(pair) => Kind::P256(Box::new(pair)),
                    Err(_) => EcdsaKeyPair::from_private_key_der(
                        &sig::ECDSA_P384_SHA384_ASN1_SIGNING,
                        der,
                    )
                    .map(|pair| Kind::P384(Box::new(pair)))
                    .map_err(|_| KeyError::Malformed)?,
                };
                Self::wrap(kind)
            }
            _ => Self::from_pkcs8_der(der),
        }
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
            Kind::P256(_) => ecdsa_der_to_raw(&der, 32).ok_or(SignError::Refused),
            Kind::P384(_) => ecdsa_der_to_raw(&der, 48).ok_or(SignError::Refused),
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
        match (&self.kind, algorithm) {
            (Kind::P256(pair) | Kind::P384(pair), algorithm) if algorithm.is_ecdsa() => {
                let natural = match &self.kind {
                    Kind::P384(_) => &aws_lc_rs::digest::SHA384,
                    _ => &aws_lc_rs::digest::SHA256,
                };
                let fitted = fit_digest(&digest(algorithm.digest(), message), natural)
                    .ok_or(SignError::Refused)?;
                let signature = pair.sign_digest(&fitted).map_err(|_| SignError::Refused)?;
                Ok(signature.as_ref().to_vec())
            }
            (Kind::Rsa(pair), SignatureAlgorithm::RsaPkcs1Sha256) => {
                rsa_sign(pair, &sig::RSA_PKCS1_SHA256, message)
            }
            (Kind::Rsa(pair), SignatureAlgorithm::RsaPkcs1Sha384) => {
                rsa_sign(pair, &sig::RSA_PKCS1_SHA384, message)
            }
            (Kind::Rsa(pair), SignatureAlgorithm::RsaPkcs1Sha512) => {
                rsa_sign(pair, &sig::RSA_PKCS1_SHA512, message)
            }
            _ => Err(SignError::Algorithm(algorithm)),
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

    /// The key for `rcgen`, which signs with SHA-256 (P-384: SHA-384).
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
            Kind::P256(pair) | Kind::P384(pair) => (
                pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
                AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
                pair.public_key().as_ref().to_vec(),
            ),
        };
        let pkcs8 = Zeroizing::new(pkcs8.map_err(|_| KeyError::Generate)?);
        let spki = spki.map_err(|_| KeyError::Generate)?.as_ref().to_vec();
        Ok(Self {
            kind,
            pkcs8,
            spki,
            public_bits,
        })
    }
}

impl Signer for SoftKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        match &self.kind {
            Kind::Rsa(_) => SignatureAlgorithm::RsaPkcs1Sha512,
            Kind::P256(_) | Kind::P384(_) => SignatureAlgorithm::EcdsaSha512,
        }
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
            Kind::P256(_) => "P-256",
            Kind::P384(_) => "P-384",
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
            Kind::P256(_) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Kind::P384(_) => &rcgen::PKCS_ECDSA_P384_SHA384,
        }
    }
}

impl rcgen::SigningKey for RequestKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let algorithm = match &self.0.kind {
            Kind::Rsa(_) => SignatureAlgorithm::RsaPkcs1Sha256,
            Kind::P256(_) => SignatureAlgorithm::EcdsaSha256,
            Kind::P384(_) => SignatureAlgorithm::EcdsaSha384,
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
        for (kind, length) in [(KeyKind::EcP256, 64), (KeyKind::Rsa2048, 256)] {
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
            for algorithm in SignatureAlgorithm::ALL {
                match again.sign_der_with(algorithm, b"x") {
                    Ok(signature) => verify_spki_der(&spki, algorithm, b"x", &signature).unwrap(),
                    Err(SignError::Algorithm(refused)) => assert_eq!(refused, algorithm),
                    Err(error) => panic!("{error}"),
                }
            }
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
