//! Mutual TLS without the bus: one self-signed key that both ends show and trust.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use jibek_certs::time::Timestamp;
use jibek_server::tls::InternalTls;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The name in the certificate.
pub const NAME: &str = "jibek-bench";

/// Makes key and certificate in `dir`.
///
/// # Errors
///
/// When they cannot be made or written.
pub fn make(dir: &Path, now: Timestamp) -> anyhow::Result<()> {
    InternalTls::open_or_create(dir, NAME, now)
        .context("no key for mutual TLS")
        .map(drop)
}

/// The consumer's end, with what lies in `dir`.
///
/// # Errors
///
/// When key or certificate cannot be read or used.
pub fn client(dir: &Path) -> anyhow::Result<TlsConnector> {
    let (certificate, key) = identity(dir)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(&certificate)?)
        .with_client_auth_cert(vec![certificate], key)?;
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The provider's end: a client without the certificate is refused.
///
/// # Errors
///
/// When key or certificate cannot be read or used.
pub fn server(dir: &Path) -> anyhow::Result<TlsAcceptor> {
    let (certificate, key) = identity(dir)?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&certificate)?), provider())
            .build()?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn identity(dir: &Path) -> anyhow::Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
    let certificate = CertificateDer::from_pem_file(dir.join("internal.crt"))
        .context("no certificate for mutual TLS")?;
    let key =
        PrivateKeyDer::from_pem_file(dir.join("internal.key")).context("no key for mutual TLS")?;
    Ok((certificate, key))
}

fn roots(certificate: &CertificateDer<'static>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    Ok(roots)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
