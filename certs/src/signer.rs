//! Signature algorithms, the [`Signer`] that makes signatures, and the software key behind it.
//!
//! ECDSA values have two forms: XML signatures carry `r‖s` (`signatures-and-log.md` 1.4), X.509, OCSP and CMS carry DER. Here the
//! default is `r‖s`; whatever takes or gives DER says so in its name.

mod algorithm;
mod ecdsa;
mod old;
mod public;
mod soft;
mod weakness;

pub use algorithm::SignatureAlgorithm;
pub use ecdsa::{ecdsa_der_to_raw, ecdsa_raw_to_der};
pub use public::{PublicKey, verify_spki, verify_spki_der};
pub(crate) use soft::to_pem;
pub use soft::{KeyError, KeyKind, SoftKey, distinguished_name};
pub use weakness::Weakness;

/// A private key, wherever it lives. One call signs one message; queues and batches are the caller's.
///
/// `sign` may block for as long as the token takes (a hardware token: tens of milliseconds), so call it off the runtime's threads.
pub trait Signer: Send + Sync + std::fmt::Debug {
    /// What [`Signer::sign`] signs with: PKCS#1 v1.5, PSS or ECDSA, as the key's mechanism says.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// Signs `message`. RSA gives the raw value; EC gives `r‖s`, each of the curve's length.
    ///
    /// # Errors
    /// [`SignError`] when the key or the token behind it refuses.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// The public key as DER of SubjectPublicKeyInfo.
    fn public_key_spki(&self) -> Vec<u8>;
}

/// A key did not sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key is of another kind than the algorithm asks for, or new signatures are not made with it.
    #[error("the key cannot sign with {}", .0.uri())]
    Algorithm(SignatureAlgorithm),
    /// The cryptographic library refused.
    #[error("the cryptographic library refused to sign")]
    Refused,
    /// The token refused; the text is the token's and holds no secret.
    #[error("the token refused to sign: {0}")]
    Token(String),
}

/// A signature does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The signature algorithm, or its parameters, are not known here (MD5 among them).
    #[error("the signature algorithm is not known")]
    Algorithm,
    /// A certificate names one signature algorithm where it is signed and another one outside.
    #[error("the certificate names two different signature algorithms")]
    AlgorithmsDiffer,
    /// The key is of another kind than the algorithm, or of one that we do not know.
    #[error("the public key does not fit the signature algorithm")]
    Key,
    /// An ECDSA value is no pair of numbers.
    #[error("the ECDSA value is malformed")]
    Value,
    /// The value is not the signature of these bytes by this key.
    #[error("the signature value is wrong")]
    Wrong,
}
