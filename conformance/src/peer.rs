//! A security server made by hand, for what ours would never send.
//!
//! It has real keys, certificates and OCSP answers, and is registered like any other server; what it writes on 5500 is
//! a test's business, byte by byte.

mod identity;
mod message;

pub use identity::{AuthIdentity, SignIdentity, ocsp_answers};
pub use message::{Answer, Message};

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use jibek_certs::{DigestAlgorithm, digest::digest};
use jibek_dev_pki::{DevPki, Fault, Service, Validity};
use jibek_evidence::seal::{self, PartDigests, Sealed, SealingIdentity};
use jibek_protocol::{header as names, id::ServerId, message::RestRequestBlock};
use jibek_server::keys::{KeyRing, Pin as TokenPin, Token};
use openssl::{
    pkey::PKey,
    ssl::{SslAcceptor, SslConnector, SslMethod, SslVerifyMode, SslVersion},
    x509::X509,
};
use time::OffsetDateTime;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_openssl::SslStream;

use crate::{country::PIN, world::World};

/// The longest wait of a hand-made peer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How it speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// As an X-Road 7 server with its default settings: TLS 1.2, CBC.
    Legacy,
    /// TLS 1.3.
    Modern,
}

/// A server made by hand.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its authentication key and certificate.
    pub auth: Arc<AuthIdentity>,
    /// The sign key of its owner.
    pub sign: Arc<SignIdentity>,
    /// OCSP answers for its authentication chain, leaf first.
    pub auth_ocsp: Vec<Bytes>,
    /// OCSP answers for its sign chain, leaf first.
    pub sign_ocsp: Vec<Bytes>,
}

impl Peer {
    /// Takes the place of a server of the plan that the world did not start.
    ///
    /// # Panics
    ///
    /// When its keys cannot be opened or the OCSP responder does not answer.
    pub async fn of(world: &World, server: &ServerId) -> Self {
        match Self::try_of(world, server).await {
            Ok(peer) => peer,
            #[expect(clippy::panic, reason = "a test fails here")]
            Err(error) => panic!("no hand-made peer: {error}"),
        }
    }

    async fn try_of(world: &World, server: &ServerId) -> Result<Self, Box<dyn std::error::Error>> {
        let prepared = world.running.prepared();
        let planned = prepared
            .plan()
            .servers
            .iter()
            .find(|planned| planned.id == *server)
            .ok_or("the server is not in the plan")?;
        let dir = prepared.server_dir(planned).join("state").join("token");
        let token = Token::open(&dir, &TokenPin::new(PIN)?)?;
        let ring = KeyRing::new(token, server.clone());
        let snapshot = world.running.server(0).inside.configuration();
        ring.refresh(&snapshot, world.now());
        let keys = ring.current();
        let auth = keys.auth().ok_or("it has no authentication key")?;
        let sign = keys
            .sign_for(server.owner())
            .ok_or("its owner has no sign key")?;
        let auth = AuthIdentity::of(auth)?;
        let sign = SignIdentity::of(sign);
        let pki = prepared.pki();
        let now = world.now();
        let fault = world.running.faults().get(Service::Ocsp);
        Ok(Self {
            auth_ocsp: ocsp_answers(pki, auth.certificate(), auth.chain(), now, fault),
            sign_ocsp: ocsp_answers(pki, sign.certificate(), sign.chain(), now, fault),
            auth: Arc::new(auth),
            sign: Arc::new(sign),
        })
    }

    /// The same server with this authentication key, and OCSP answers of `pki` for it.
    #[must_use]
    pub fn with_auth(&self, auth: AuthIdentity, pki: &DevPki, now: OffsetDateTime) -> Self {
        Self {
            auth_ocsp: ocsp_answers(pki, auth.certificate(), auth.chain(), now, Fault::None),
            auth: Arc::new(auth),
            ..self.clone()
        }
    }

    /// The same server with a sign key that has a certificate of `pki`, and OCSP answers of `pki` for it.
    ///
    /// # Errors
    ///
    /// When the certificate cannot be issued.
    pub fn with_sign(
        &self,
        pki: &DevPki,
        validity: Validity,
        now: OffsetDateTime,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let sign = SignIdentity::issued(self.sign.certificate(), pki, validity)?;
        Ok(Self {
            sign_ocsp: ocsp_answers(pki, sign.certificate(), sign.chain(), now, Fault::None),
            sign: Arc::new(sign),
            ..self.clone()
        })
    }

    /// Signs a message with its parts as a server would.
    ///
    /// # Panics
    ///
    /// When signing fails.
    #[must_use]
    pub fn seal(&self, parts: PartDigests, now: OffsetDateTime) -> Sealed {
        let identity = SealingIdentity::new(
            self.sign.certificate().clone(),
            self.sign.chain().to_vec(),
            self.sign_ocsp.clone(),
            self.sign.signer(),
        );
        let sealed = identity
            .map_err(|error| error.to_string())
            .and_then(|identity| {
                seal::seal(&identity, &[parts], now).map_err(|error| error.to_string())
            })
            .and_then(|mut sealed| sealed.pop().ok_or_else(|| "nothing was signed".to_owned()));
        match sealed {
            Ok(sealed) => sealed,
            #[expect(clippy::panic, reason = "a test fails here")]
            Err(error) => panic!("not signed: {error}"),
        }
    }

    /// A REST request as it should be, for a test to spoil.
    ///
    /// # Panics
    ///
    /// When the path or headers make no request.
    #[must_use]
    pub fn rest(
        &self,
        client: &str,
        method: &str,
        path: &str,
        body: Option<Bytes>,
        now: OffsetDateTime,
    ) -> Message {
        let request_id = &fresh_request_id();
        let block = RestRequestBlock::seal(
            method,
            path,
            [(b"x-road-client".as_slice(), client.as_bytes())],
            request_id,
            || "hand-made".to_owned(),
        );
        let block = match block {
            Ok(block) => block.bytes().clone(),
            #[expect(clippy::panic, reason = "a test fails here")]
            Err(error) => panic!("no request: {error}"),
        };
        let mut message = Message::new();
        message.header("x-road-message-type", "REST");
        message.header(names::X_HASH_ALGORITHM, "SHA-512");
        message.header(names::X_ORIGINAL_CONTENT_TYPE, "");
        message.header(names::X_ROAD_REQUEST_ID, request_id);
        message.header(names::X_PROXY_VERSION, "7.8.0");
        for ocsp in &self.auth_ocsp {
            message.part(names::OCSP_RESPONSE, ocsp.clone());
        }
        let digests = PartDigests {
            message: digest(DigestAlgorithm::Sha512, &block),
            attachments: body
                .iter()
                .map(|body| digest(DigestAlgorithm::Sha512, body))
                .collect(),
        };
        message.part(names::REST_REQUEST, block);
        if let Some(body) = body {
            message.part(names::REST_BODY, body);
        }
        message.sealed(&self.seal(digests, now));
        message
    }

    /// A SOAP request as it should be, for a test to spoil.
    #[must_use]
    pub fn soap(&self, envelope: Bytes, now: OffsetDateTime) -> Message {
        let content_type = "text/xml; charset=UTF-8";
        let mut message = Message::new();
        message.header(names::X_HASH_ALGORITHM, "SHA-512");
        message.header(names::X_ORIGINAL_CONTENT_TYPE, content_type);
        message.header(names::X_ROAD_REQUEST_ID, &fresh_request_id());
        message.header(names::X_PROXY_VERSION, "7.8.0");
        message.header(names::X_ORIGINAL_SOAP_ACTION, "\"\"");
        for ocsp in &self.auth_ocsp {
            message.part(names::OCSP_RESPONSE, ocsp.clone());
        }
        let digests = PartDigests {
            message: digest(DigestAlgorithm::Sha512, &envelope),
            attachments: Vec::new(),
        };
        message.part(content_type, envelope);
        message.sealed(&self.seal(digests, now));
        message
    }

    /// Opens a TLS connection to a server.
    ///
    /// # Errors
    ///
    /// What the handshake said.
    pub async fn connect(
        &self,
        to: SocketAddr,
        tls: Tls,
    ) -> Result<SslStream<TcpStream>, Box<dyn std::error::Error + Send + Sync>> {
        let identity = Identity {
            key: self.auth.key().to_pkcs8_der().to_vec(),
            chain: std::iter::once(self.auth.certificate())
                .chain(self.auth.chain())
                .map(|certificate| certificate.der().to_vec())
                .collect(),
        };
        connect(Some(&identity), to, tls).await
    }

    /// Sends a message over a connection of its own and reads the whole answer.
    ///
    /// # Errors
    ///
    /// When the connection cannot be opened or breaks before the answer.
    pub async fn call(
        &self,
        to: SocketAddr,
        tls: Tls,
        message: &Message,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        self.send(to, tls, &message.to_http()).await
    }

    /// Sends bytes over a connection of its own and reads nothing before all are written, then the whole answer.
    ///
    /// # Errors
    ///
    /// When the connection cannot be opened or breaks before the answer.
    pub async fn send(
        &self,
        to: SocketAddr,
        tls: Tls,
        bytes: &[u8],
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let mut stream = self.connect(to, tls).await?;
        // An early fault may come while we write; what was read of it counts.
        let written = timeout(PATIENCE, stream.write_all(bytes)).await?;
        let read = timeout(PATIENCE, read_answer(&mut stream)).await?;
        match (read, written) {
            (Ok(answer), _) => Ok(answer),
            (Err(error), Ok(())) => Err(error.into()),
            (Err(read), Err(write)) => Err(format!("write: {write}; read: {read}").into()),
        }
    }

    /// Listens on 5500 with the keys of this server, and on 5577 with its OCSP answers.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on.
    pub async fn listen(
        &self,
        address: SocketAddr,
        ocsp: SocketAddr,
    ) -> Result<Listening, Box<dyn std::error::Error + Send + Sync>> {
        self.listen_as(address, ocsp, Tls::Modern).await
    }

    /// As [`Peer::listen`], with a TLS stack of the test's choice.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on.
    pub async fn listen_as(
        &self,
        address: SocketAddr,
        ocsp: SocketAddr,
        tls: Tls,
    ) -> Result<Listening, Box<dyn std::error::Error + Send + Sync>> {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        let key = self.auth.key().to_pkcs8_der();
        builder.set_private_key(&*PKey::private_key_from_der(&key)?)?;
        let leaf = X509::from_der(self.auth.certificate().der())?;
        builder.set_certificate(&leaf)?;
        for certificate in self.auth.chain() {
            builder.add_extra_chain_cert(X509::from_der(certificate.der())?)?;
        }
        builder.set_verify_callback(
            SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
            |_, _| true,
        );
        builder.set_session_id_context(b"hand-made")?;
        if tls == Tls::Legacy {
            builder.set_max_proto_version(Some(SslVersion::TLS1_2))?;
            builder.set_cipher_list(LEGACY_SUITES)?;
        }
        let listener = TcpListener::bind(address).await?;
        let responder = TcpListener::bind(ocsp).await?;
        let parts = self.auth_ocsp.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = responder.accept().await {
                let parts = parts.clone();
                tokio::spawn(async move {
                    let _ = answer_ocsp(&mut stream, &parts).await;
                });
            }
        });
        Ok(Listening {
            listener,
            acceptor: builder.build(),
            responder: task,
        })
    }
}

/// A request id like no other: one that came before would not be executed again.
fn fresh_request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("7b1c2a44-5a3d-4c37-9d5f-{number:012x}")
}

/// A key and certificates to show in a TLS handshake.
#[derive(Clone)]
pub struct Identity {
    /// The key, PKCS#8 DER.
    pub key: Vec<u8>,
    /// Certificates in DER, the key's own first.
    pub chain: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

/// Opens a TLS connection to a server as anybody, or as nobody.
///
/// # Errors
///
/// What the handshake said. With TLS 1.3 a refusal shows at the first read only.
pub async fn connect(
    identity: Option<&Identity>,
    to: SocketAddr,
    tls: Tls,
) -> Result<SslStream<TcpStream>, Box<dyn std::error::Error + Send + Sync>> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_verify(SslVerifyMode::NONE);
    if let Some(identity) = identity {
        builder.set_private_key(&*PKey::private_key_from_der(&identity.key)?)?;
        for (index, der) in identity.chain.iter().enumerate() {
            let certificate = X509::from_der(der)?;
            if index == 0 {
                builder.set_certificate(&certificate)?;
            } else {
                builder.add_extra_chain_cert(certificate)?;
            }
        }
    }
    if tls == Tls::Legacy {
        builder.set_max_proto_version(Some(SslVersion::TLS1_2))?;
        builder.set_cipher_list(LEGACY_SUITES)?;
    }
    let tcp = timeout(PATIENCE, TcpStream::connect(to)).await??;
    let mut configuration = builder.build().configure()?;
    configuration.set_verify_hostname(false);
    let mut stream = SslStream::new(configuration.into_ssl("peer")?, tcp)?;
    timeout(PATIENCE, Pin::new(&mut stream).connect()).await??;
    Ok(stream)
}

/// The suites of an X-Road 7 server.
pub const LEGACY_SUITES: &str =
    "ECDHE-RSA-AES256-SHA384:DHE-RSA-AES256-SHA256:ECDHE-ECDSA-AES256-SHA384";

/// A hand-made server that listens.
pub struct Listening {
    listener: TcpListener,
    acceptor: SslAcceptor,
    responder: tokio::task::JoinHandle<()>,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Listening")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl Listening {
    /// Takes one connection.
    ///
    /// # Errors
    ///
    /// What the handshake said.
    pub async fn accept(
        &self,
    ) -> Result<SslStream<TcpStream>, Box<dyn std::error::Error + Send + Sync>> {
        let (tcp, _) = timeout(PATIENCE, self.listener.accept()).await??;
        let ssl = openssl::ssl::Ssl::new(self.acceptor.context())?;
        let mut stream = SslStream::new(ssl, tcp)?;
        timeout(PATIENCE, Pin::new(&mut stream).accept()).await??;
        Ok(stream)
    }
}

impl Listening {
    /// Takes one connection without a handshake.
    ///
    /// # Errors
    ///
    /// When none comes.
    pub async fn accept_plain(&self) -> std::io::Result<TcpStream> {
        Ok(timeout(PATIENCE, self.listener.accept()).await??.0)
    }

    /// Answers no more questions for OCSP answers; the port is closed.
    pub async fn stop_ocsp(&mut self) {
        self.responder.abort();
        let _ = (&mut self.responder).await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.responder.abort();
    }
}

async fn answer_ocsp(stream: &mut TcpStream, parts: &[Bytes]) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        request.extend(buffer.iter().take(read));
    }
    // As many as certificates were asked for: the peer knows its chain.
    let line = String::from_utf8_lossy(&request).into_owned();
    let asked = line.matches("cert=").count().max(1);
    let mut body = Vec::new();
    for part in parts.iter().take(asked) {
        body.extend_from_slice(b"--b\r\nContent-Type: application/ocsp-response\r\n\r\n");
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: multipart/related; type=\"application/ocsp-response\"; boundary=b\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await
}

/// Reads to the end of the connection: hand-made requests ask for `Connection: close`.
///
/// # Errors
///
/// When the connection ends without a byte.
pub async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Answer> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => break,
            Ok(read) => bytes.extend(buffer.iter().take(read)),
            Err(error) if bytes.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    if bytes.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Answer { bytes })
}
