//! TLS towards the own security server: whom to trust, and who we are.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::error::BuildError;

/// How an information system shows itself to its security server.
#[derive(Debug)]
#[non_exhaustive]
pub enum Credentials {
    /// Plain HTTP, for a security server on the same host or a network of its own.
    None,
    /// HTTPS.
    Tls(TlsCredentials),
}

/// HTTPS: whom to trust and, where the security server asks for it, a client certificate.
#[derive(Debug)]
pub struct TlsCredentials {
    trust: ServerTrust,
    identity: Option<TlsIdentity>,
}

/// Which certificate the security server must show.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerTrust {
    /// One issued, for the name in the address, under one of these authorities (PEM).
    Authorities(Vec<u8>),
    /// Exactly this one (PEM), whatever its name and dates say: security servers show self-signed ones.
    Pinned(Vec<u8>),
}

struct TlsIdentity {
    chain_pem: Vec<u8>,
    key_pem: Vec<u8>,
}

impl TlsCredentials {
    /// Starts with the trust in the security server, without a client certificate.
    #[must_use]
    pub fn new(trust: ServerTrust) -> Self {
        Self {
            trust,
            identity: None,
        }
    }

    /// Adds the client certificate (a chain in PEM, leaf first) and its key (PEM, PKCS#8, PKCS#1 or SEC1). The
    /// certificate must be registered at the security server for the client.
    #[must_use]
    pub fn with_identity(
        mut self,
        chain_pem: impl Into<Vec<u8>>,
        key_pem: impl Into<Vec<u8>>,
    ) -> Self {
        self.identity = Some(TlsIdentity {
            chain_pem: chain_pem.into(),
            key_pem: key_pem.into(),
        });
        self
    }
}

impl Credentials {
    /// Makes the configuration of rustls.
    pub(crate) fn into_config(self) -> Result<ClientConfig, BuildError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| BuildError::Trust(error.into()))?;
        let tls = match self {
            // Never used: an address without TLS is the only one that goes with it.
            Self::None => {
                return Ok(builder
                    .with_root_certificates(RootCertStore::empty())
                    .with_no_client_auth());
            }
            Self::Tls(tls) => tls,
        };
        let builder = match tls.trust {
            ServerTrust::Authorities(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(&pem)? {
                    roots
                        .add(certificate)
                        .map_err(|error| BuildError::Trust(error.into()))?;
                }
                builder.with_root_certificates(roots)
            }
            ServerTrust::Pinned(pem) => {
                let certificate = certificates(&pem)?
                    .into_iter()
                    .next()
                    .ok_or(BuildError::Pem { what: CERTIFICATE })?;
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(Pin {
                        certificate,
                        provider,
                    }))
            }
        };
        let Some(identity) = tls.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let key =
            PrivateKeyDer::from_pem_slice(&identity.key_pem).map_err(|_| BuildError::Pem {
                what: "private key",
            })?;
        builder
            .with_client_auth_cert(certificates(&identity.chain_pem)?, key)
            .map_err(|error| BuildError::Identity(error.into()))
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TlsIdentity")
            .finish_non_exhaustive()
    }
}

impl Drop for TlsIdentity {
    fn drop(&mut self) {
        self.key_pem.fill(0); // rustls holds its own copy from here on
    }
}

/// Accepts one certificate by its bytes; the handshake must still prove that the server holds its key.
#[derive(Debug)]
struct Pin {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if end_entity.as_ref() == self.certificate.as_ref() {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BuildError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(BuildError::Pem { what: CERTIFICATE }),
    }
}

const CERTIFICATE: &str = "certificate";
