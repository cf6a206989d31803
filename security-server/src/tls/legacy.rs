//! The OpenSSL endpoint: TLS 1.2 with the CBC suites that X-Road 7 servers have by default (`message-path.md` 5.1).

use jibek_certs::Certificate;
use openssl::{
    dh::Dh,
    error::ErrorStack,
    pkey::PKey,
    ssl::{
        SslConnector, SslConnectorBuilder, SslContext, SslContextBuilder, SslMethod, SslMode,
        SslOptions, SslRef, SslSessionCacheMode, SslVerifyMode, SslVersion,
    },
    x509::{X509, X509VerifyResult},
};

use super::{MOST_CERTIFICATES, verify::Registered};
use crate::keys::AuthKey;

/// The server's side: a registered client certificate is demanded, sessions are resumed.
pub(super) fn server_context(
    auth: &AuthKey,
    registered: Registered,
) -> Result<SslContext, ErrorStack> {
    let mut builder = SslContext::builder(SslMethod::tls_server())?;
    configure(&mut builder, auth)?;
    // Sessions live in our cache, not in tickets: a ticket forgets the client's intermediate certificates. Without a session id
    // context the second connection of a client that resumes would fail (`message-path.md` 7.5, 1).
    builder.set_session_id_context(b"jibek-peer")?;
    builder.set_session_cache_mode(SslSessionCacheMode::SERVER);
    builder.set_session_cache_size(SESSIONS);
    builder.set_options(SslOptions::NO_TICKET | SslOptions::CIPHER_SERVER_PREFERENCE);
    builder.set_tmp_dh(&*Dh::params_from_pem(FFDHE_2048)?)?;
    builder.set_verify_callback(
        SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
        move |_, chain| {
            // Called for every certificate and every complaint; the leaf decides.
            if chain.error_depth() == 0 {
                let leaf = chain.current_cert().and_then(|leaf| leaf.to_der().ok());
                if !leaf.is_some_and(|leaf| registered(&leaf)) {
                    chain.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
                    return false;
                }
            }
            chain.set_error(X509VerifyResult::OK);
            true
        },
    );
    Ok(builder.build())
}

/// The client's side: every server certificate is taken and handed on. Who builds it may keep as many sessions.
pub(super) fn client_context(auth: &AuthKey) -> Result<SslConnectorBuilder, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    configure(&mut builder, auth)?;
    builder.set_session_cache_size(SESSIONS);
    builder.set_verify_callback(SslVerifyMode::PEER, |_, chain| {
        chain.set_error(X509VerifyResult::OK);
        true
    });
    Ok(builder)
}

/// The certificates of the other end, leaf first.
pub(super) fn presented(ssl: &SslRef) -> Option<Vec<Certificate>> {
    let leaf = ssl.peer_certificate()?.to_der().ok()?;
    let mut certificates = vec![Certificate::from_der(leaf).ok()?];
    for certificate in ssl
        .peer_cert_chain()
        .into_iter()
        .flatten()
        .take(MOST_CERTIFICATES)
    {
        let certificate = Certificate::from_der(certificate.to_der().ok()?).ok()?;
        if !certificates.contains(&certificate) {
            certificates.push(certificate);
        }
    }
    Some(certificates)
}

fn configure(builder: &mut SslContextBuilder, auth: &AuthKey) -> Result<(), ErrorStack> {
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_max_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_cipher_list(SUITES)?;
    builder.set_options(SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION);
    // A write that had to wait is tried again from a buffer that may have grown and moved meanwhile.
    builder.set_mode(
        SslMode::ACCEPT_MOVING_WRITE_BUFFER | SslMode::AUTO_RETRY | SslMode::ENABLE_PARTIAL_WRITE,
    );
    builder.set_certificate(&*X509::from_der(auth.certificate().der())?)?;
    for certificate in auth.chain() {
        builder.add_extra_chain_cert(X509::from_der(certificate.der())?)?;
    }
    builder.set_private_key(&*PKey::private_key_from_pkcs8(&auth.key().to_pkcs8_der())?)?;
    builder.check_private_key()
}

const SUITES: &str = "ECDHE-RSA-AES256-SHA384:DHE-RSA-AES256-SHA256:ECDHE-ECDSA-AES256-SHA384";
const SESSIONS: i32 = 4096;
/// The group ffdhe2048 of RFC 7919, the size that Java peers take.
const FFDHE_2048: &[u8] = b"-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
";
