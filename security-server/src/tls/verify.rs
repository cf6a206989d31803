//! Certificate verifiers for rustls that check the handshake signature and hand the certificates on: who the other end is, is
//! judged by X-Road's rules, not by a web PKI.
//!
//! The public key is cut out of the certificate without reading the rest, so that certificates which no strict parser takes (X.509
//! v1, expired, odd extensions) reach the comparison by bytes that they are pinned by.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

/// Tells whether a leaf certificate (DER) is welcome.
pub type Registered = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Takes a client's or server's certificate when a closure knows its leaf.
pub(crate) struct LeafVerifier {
    known: Registered,
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl LeafVerifier {
    /// A verifier that asks `known`. `mandatory`: a client without a certificate is refused.
    pub(crate) fn new(known: Registered, mandatory: bool) -> Arc<Self> {
        let algorithms = super::provider().signature_verification_algorithms;
        Arc::new(Self {
            known,
            mandatory,
            algorithms,
        })
    }

    /// A verifier that takes every certificate; the caller judges it.
    pub(crate) fn any(mandatory: bool) -> Arc<Self> {
        Self::new(Arc::new(|_| true), mandatory)
    }

    fn check(&self, leaf: &CertificateDer<'_>) -> Result<(), Error> {
        if (self.known)(leaf) {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let (algorithm_id, key) = public_key(certificate)
            .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let algorithms = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signed.scheme)
            .map(|(_, algorithms)| *algorithms)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let fitting = algorithms
            .iter()
            .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == algorithm_id);
        for algorithm in fitting {
            if algorithm
                .verify_signature(key, message, signed.signature())
                .is_ok()
            {
                return Ok(HandshakeSignatureValid::assertion());
            }
        }
        Err(Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

impl fmt::Debug for LeafVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LeafVerifier")
            .field("mandatory", &self.mandatory)
            .finish_non_exhaustive()
    }
}

impl ClientCertVerifier for LeafVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(leaf).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if pkcs1(signed.scheme) {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for LeafVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(leaf).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ClientCertVerifier::verify_tls13_signature(self, message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// TLS 1.3 knows these schemes for certificates only.
fn pkcs1(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA1
            | SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
    )
}

/// Cuts the subject's public key out of a certificate: the content of its AlgorithmIdentifier and the bits of the key.
fn public_key(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let (outer, _) = element(certificate, SEQUENCE)?;
    let (mut tbs, _) = element(outer, SEQUENCE)?;
    if tbs.first() == Some(&VERSION) {
        tbs = element(tbs, VERSION)?.1;
    }
    tbs = element(tbs, INTEGER)?.1;
    for _ in 0..4 {
        tbs = element(tbs, SEQUENCE)?.1; // signature algorithm, issuer, validity, subject
    }
    let (spki, _) = element(tbs, SEQUENCE)?;
    let (algorithm, after) = element(spki, SEQUENCE)?;
    let (bits, _) = element(after, BIT_STRING)?;
    let (unused, key) = bits.split_first()?;
    (*unused == 0).then_some((algorithm, key))
}

/// The content of the DER element with `tag` that `input` begins with, and what follows it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = input.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..=0x7f => (short, rest),
        long @ 0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(long - 0x80)?;
            (
                length
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
                rest,
            )
        }
        _ => return None,
    };
    if *found != tag {
        return None;
    }
    rest.split_at_checked(length)
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const VERSION: u8 = 0xa0;

#[cfg(test)]
mod tests {
    use jibek_certs::{KeyKind, Signer, SoftKey};

    use super::*;

    #[test]
    fn the_public_key_is_found_and_damage_is_not_fatal() {
        let key = SoftKey::generate(KeyKind::EcP256).unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "a");
        let der = params.self_signed(&key.for_rcgen()).unwrap().der().to_vec();
        let (algorithm, bits) = public_key(&der).unwrap();
        let spki = key.public_key_spki();
        assert!(
            spki.ends_with(bits)
                && spki
                    .windows(algorithm.len())
                    .any(|window| window == algorithm)
        );
        for end in 0..der.len() {
            let _ = public_key(&der[..end]);
        }
        assert_eq!(public_key(b"garbage"), None);
    }
}
