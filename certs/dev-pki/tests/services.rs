//! The services as others see them: OpenSSL accepts what they answer, our own rules refuse what the switches make wrong.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may panic and write scratch files"
)]

use std::{
    fs,
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use jibek_certs::{
    Certificate, Clock, DigestAlgorithm, KeyKind, SoftKey, SystemClock,
    digest::digest,
    ocsp::{
        CertError, OcspError, OcspResponse, Policy, request_der, verify_with_ocsp,
        verify_with_ocsp_anchored,
    },
    trust::{ApprovedCa, Authorities},
    tsp::{TimestampRequest, TimestampToken, TspError},
};
use jibek_dev_pki::{DevPki, Fault, Faults, Service, Subject, serve};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

struct Running {
    dir: TempDir,
    pki: Arc<DevPki>,
    faults: Arc<Faults>,
    address: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start(kind: KeyKind) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let pki = Arc::new(DevPki::create(dir.path(), kind, SystemClock.now()).unwrap());
    let faults = Arc::new(Faults::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move {
        let _ = stopped.await;
    };
    let task = tokio::spawn(serve(
        pki.clone(),
        listener,
        Arc::new(SystemClock),
        faults.clone(),
        shutdown,
    ));
    Running {
        dir,
        pki,
        faults,
        address,
        stop,
        task,
    }
}

impl Running {
    async fn finish(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn issue(&self, sign: bool) -> (SoftKey, Certificate) {
        let key = SoftKey::generate(KeyKind::EcP256).unwrap();
        let subject = Subject::fivrk_sign("DEV", "ss1", "COM", "Тест", "1111");
        let request = key.csr_der(&subject.attributes()).unwrap();
        let now = SystemClock.now();
        let issued = match sign {
            true => self.pki.issue_sign(&request, None, now),
            false => self.pki.issue_auth(&request, None, now),
        };
        (key, issued.unwrap())
    }

    async fn post(&self, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
            return (0, answer);
        };
        let status = std::str::from_utf8(&answer[9..12])
            .unwrap()
            .parse()
            .unwrap();
        (status, answer[end + 4..].to_vec())
    }
}

async fn openssl(arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| (*argument).to_owned())
        .collect();
    tokio::task::spawn_blocking(move || Command::new("openssl").args(arguments).output().unwrap())
        .await
        .unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn authorities(pki: &DevPki) -> Authorities {
    let mut root = ApprovedCa::new(pki.root_ca().clone(), true, "profile");
    root.ocsp_responders = vec![pki.root_ocsp_certificate().clone()];
    let mut issuing = ApprovedCa::new(pki.issuing_ca().clone(), false, "profile");
    issuing.ocsp_responders = vec![pki.ocsp_certificate().clone()];
    Authorities::new(vec![root, issuing])
}

fn hour() -> Policy {
    Policy::new(Duration::from_secs(3600), true)
}

#[tokio::test]
async fn openssl_accepts_certificates_and_ocsp_answers() {
    for kind in [KeyKind::EcP256, KeyKind::Rsa2048] {
        let running = start(kind).await;
        let (_, leaf) = running.issue(false);
        fs::write(running.file("leaf.pem"), leaf.to_pem()).unwrap();
        let (root, issuing, leaf_file) = (
            running.file("root-ca.pem"),
            running.file("issuing-ca.pem"),
            running.file("leaf.pem"),
        );
        for purpose in ["sslserver", "sslclient"] {
            let verified = openssl(&[
                "verify",
                "-x509_strict",
                "-purpose",
                purpose,
                "-CAfile",
                &root,
                "-untrusted",
                &issuing,
                &leaf_file,
            ])
            .await;
            assert!(verified.status.success(), "{}", text(&verified));
        }
        let url = format!("http://{}/ocsp", running.address);
        let leaf_of_issuing = [issuing.as_str(), leaf_file.as_str()];
        let issuing_of_root = [root.as_str(), issuing.as_str()];
        for [issuer, certificate] in [leaf_of_issuing, issuing_of_root] {
            // -no_nonce as X-Road asks; SHA-256 CertIDs are echoed as well.
            for hash in ["-sha1", "-sha256"] {
                let asked = openssl(&[
                    "ocsp",
                    hash,
                    "-issuer",
                    issuer,
                    "-cert",
                    certificate,
                    "-url",
                    &url,
                    "-CAfile",
                    &root,
                    "-verify_other",
                    &issuing,
                    "-no_nonce",
                ])
                .await;
                let said = text(&asked);
                assert!(
                    said.contains("Response verify OK") && said.contains(": good"),
                    "{said}"
                );
            }
        }
        // Revoked, as another process would do it.
        DevPki::open(running.dir.path())
            .unwrap()
            .revoke(leaf.serial_decimal().parse().unwrap(), SystemClock.now())
            .unwrap();
        let asked = openssl(&[
            "ocsp",
            "-issuer",
            &issuing,
            "-cert",
            &leaf_file,
            "-url",
            &url,
            "-CAfile",
            &root,
            "-verify_other",
            &issuing,
            "-no_nonce",
        ])
        .await;
        assert!(text(&asked).contains(": revoked"), "{}", text(&asked));
        assert_eq!(running.faults.count(Service::Ocsp), 5);
        running.finish().await;
    }
}

#[tokio::test]
async fn openssl_accepts_time_stamps() {
    for kind in [KeyKind::EcP256, KeyKind::Rsa2048] {
        let running = start(kind).await;
        let data = running.file("data");
        fs::write(&data, b"some data").unwrap();
        let (root, issuing, tsa) = (
            running.file("root-ca.pem"),
            running.file("issuing-ca.pem"),
            running.file("tsa.pem"),
        );
        for (digest, extra) in [
            ("-sha512", vec!["-cert"]),
            ("-sha256", vec![]),
            ("-sha512", vec!["-no_nonce"]),
        ] {
            let query = running.file("query");
            let mut arguments = vec!["ts", "-query", "-data", &data, digest, "-out", &query];
            arguments.extend(&extra);
            assert!(openssl(&arguments).await.status.success());
            let (status, reply) = running.post("/tsa", &fs::read(&query).unwrap()).await;
            assert_eq!(status, 200);
            fs::write(running.file("reply"), &reply).unwrap();
            let (reply, chain) = (running.file("reply"), running.file("chain"));
            fs::write(
                &chain,
                format!(
                    "{}{}",
                    fs::read_to_string(&issuing).unwrap(),
                    fs::read_to_string(&tsa).unwrap()
                ),
            )
            .unwrap();
            let verified = openssl(&[
                "ts",
                "-verify",
                "-queryfile",
                &query,
                "-in",
                &reply,
                "-CAfile",
                &root,
                "-untrusted",
                &chain,
            ])
            .await;
            assert!(
                text(&verified).contains("Verification: OK"),
                "{}",
                text(&verified)
            );
        }
        // Our own query, and our token with the certificate added, which OpenSSL verifies without being given it.
        let imprint = digest(DigestAlgorithm::Sha512, b"some data");
        let request = TimestampRequest::new(&imprint, None);
        let (_, reply) = running.post("/tsa", &request.der()).await;
        let token = TimestampToken::from_response(&reply, &request).unwrap();
        assert!(token.certificates().is_empty());
        let trusted = [running.pki.tsa_certificate().clone()];
        let stamp = token.verify(b"some data", &trusted).unwrap();
        assert!((SystemClock.now() - stamp.gen_time()).abs() < time::Duration::seconds(5));
        fs::write(
            running.file("token"),
            token.with_certificate(stamp.tsa()).unwrap(),
        )
        .unwrap();
        let token = running.file("token");
        let verified = openssl(&[
            "ts",
            "-verify",
            "-data",
            &data,
            "-token_in",
            "-in",
            &token,
            "-CAfile",
            &root,
            "-untrusted",
            &issuing,
        ])
        .await;
        assert!(
            text(&verified).contains("Verification: OK"),
            "{}",
            text(&verified)
        );
        running.finish().await;
    }
}

#[tokio::test]
async fn our_rules_accept_a_member_s_certificate_with_its_intermediate() {
    let running = start(KeyKind::EcP256).await;
    let (key, leaf) = running.issue(true);
    assert!(leaf.is_signing() && !leaf.is_authentication() && !leaf.is_ca());
    assert_eq!(leaf.spki_der(), jibek_certs::Signer::public_key_spki(&key));
    let (_, auth) = running.issue(false);
    assert!(auth.is_authentication() && !auth.is_signing());
    assert_ne!(auth.serial_decimal(), leaf.serial_decimal());
    assert_eq!(leaf.issuer().rfc2253(), "CN=Jibek Dev CA,O=Jibek Dev,C=KG");
    assert_eq!(
        leaf.issuer().der(),
        running.pki.issuing_ca().subject().der()
    );

    let authorities = authorities(&running.pki);
    assert_eq!(
        authorities.chain_of(&leaf),
        [running.pki.issuing_ca().clone()]
    );
    let mut responses = Vec::new();
    for (certificate, issuer) in [
        (&leaf, running.pki.issuing_ca()),
        (running.pki.issuing_ca(), running.pki.root_ca()),
    ] {
        let (status, der) = running
            .post("/ocsp", &request_der(certificate, issuer))
            .await;
        assert_eq!(status, 200);
        responses.push(OcspResponse::parse(der).unwrap());
    }
    let now = SystemClock.now();
    let direct = verify_with_ocsp(&leaf, &[], &authorities, &responses, now, hour()).unwrap();
    assert_eq!(direct.chain().anchor(), running.pki.issuing_ca());
    assert_eq!(direct.profile_class(), "profile");
    // As a provider's server does with a handshake of leaf and intermediate: anchored at the root, two answers needed.
    let root = &authorities.all()[0];
    let extra = [running.pki.issuing_ca().clone()];
    let whole =
        verify_with_ocsp_anchored(&leaf, &extra, root, &authorities, &responses, now, hour())
            .unwrap();
    assert_eq!(whole.ocsp().len(), 2);
    let missing = verify_with_ocsp_anchored(
        &leaf,
        &extra,
        root,
        &authorities,
        &responses[..1],
        now,
        hour(),
    );
    assert!(matches!(missing, Err(CertError::NoOcsp { .. })));
    running.finish().await;
}

#[tokio::test]
async fn every_ocsp_fault_is_refused() {
    let running = start(KeyKind::EcP256).await;
    let (_, leaf) = running.issue(false);
    let authorities = authorities(&running.pki);
    let request = request_der(&leaf, running.pki.issuing_ca());
    let judge = async |fault| {
        running.faults.set_ocsp(fault);
        let (status, der) = running.post("/ocsp", &request).await;
        assert_eq!(status, 200, "{fault:?}");
        let response = OcspResponse::parse(der)?;
        match verify_with_ocsp(
            &leaf,
            &[],
            &authorities,
            &[response],
            SystemClock.now(),
            hour(),
        ) {
            Ok(_) => Ok("good"),
            Err(CertError::NoOcsp { .. }) => Ok("other"),
            Err(CertError::Ocsp { source, .. }) => Err(source),
            Err(error) => panic!("{error}"),
        }
    };
    let hours = |hours: u64| Duration::from_secs(3600 * hours);
    assert_eq!(judge(Fault::None).await, Ok("good"));
    assert_eq!(judge(Fault::Ahead(hours(24))).await, Ok("good"));
    assert_eq!(
        judge(Fault::Delay(Duration::from_millis(30))).await,
        Ok("good")
    );
    assert_eq!(judge(Fault::WrongCertificate).await, Ok("other"));
    assert!(matches!(
        judge(Fault::Stale(hours(2))).await,
        Err(OcspError::TooOld { .. })
    ));
    assert!(matches!(
        judge(Fault::Revoked).await,
        Err(OcspError::Revoked { .. })
    ));
    assert!(matches!(
        judge(Fault::Unknown).await,
        Err(OcspError::Unknown { .. })
    ));
    assert!(matches!(
        judge(Fault::Unsigned).await,
        Err(OcspError::Signature(_))
    ));
    assert!(matches!(
        judge(Fault::Garbage).await,
        Err(OcspError::Malformed(_))
    ));
    running.faults.set_ocsp(Fault::Refuse);
    assert_eq!(running.post("/ocsp", &request).await.0, 500);
    running.faults.set_ocsp(Fault::CloseConnection);
    assert_eq!(running.post("/ocsp", &request).await, (0, vec![]));
    running.faults.set_ocsp(Fault::None);
    assert_eq!(judge(Fault::None).await, Ok("good"));
    // Errors of the protocol.
    let foreign = request_der(&leaf, running.pki.tsa_certificate());
    let refused = OcspResponse::parse(running.post("/ocsp", &foreign).await.1);
    assert!(matches!(refused, Err(OcspError::Refused(reason)) if reason == "Unauthorized"));
    let refused = OcspResponse::parse(running.post("/ocsp", b"nonsense").await.1);
    assert!(matches!(refused, Err(OcspError::Refused(reason)) if reason == "MalformedRequest"));
    assert_eq!(running.post("/elsewhere", b"").await.0, 404);
    assert_eq!(running.post("/ocsp", &vec![0; 100_000]).await.0, 413);
    running.finish().await;
}

#[tokio::test]
async fn every_tsa_fault_is_refused() {
    let running = start(KeyKind::EcP256).await;
    let trusted = [running.pki.tsa_certificate().clone()];
    let request = TimestampRequest::new(&digest(DigestAlgorithm::Sha512, b"data"), Some(u64::MAX));
    let judge = async |fault| {
        running.faults.set_tsa(fault);
        let (status, der) = running.post("/tsa", &request.der()).await;
        assert_eq!(status, 200, "{fault:?}");
        TimestampToken::from_response(&der, &request)?
            .verify(b"data", &trusted)
            .map(|stamp| stamp.gen_time())
    };
    assert!(judge(Fault::None).await.is_ok());
    let stale = judge(Fault::Stale(Duration::from_secs(7200)))
        .await
        .unwrap();
    assert!(SystemClock.now() - stale > time::Duration::seconds(7000));
    assert!(matches!(
        judge(Fault::WrongImprint).await,
        Err(TspError::Imprint { .. })
    ));
    assert!(matches!(
        judge(Fault::WrongCertificate).await,
        Err(TspError::UnknownAuthority)
    ));
    assert!(matches!(
        judge(Fault::Unsigned).await,
        Err(TspError::Signature)
    ));
    assert!(matches!(
        judge(Fault::Unknown).await,
        Err(TspError::Refused { .. })
    ));
    assert!(matches!(
        judge(Fault::Garbage).await,
        Err(TspError::Malformed(_))
    ));
    running.faults.set_tsa(Fault::None);
    let other = TimestampRequest::new(request.imprint(), Some(7));
    let (_, der) = running.post("/tsa", &other.der()).await;
    assert!(matches!(
        TimestampToken::from_response(&der, &request),
        Err(TspError::Nonce)
    ));
    let (_, der) = running
        .post(
            "/tsa",
            &TimestampRequest::new(&digest(DigestAlgorithm::Sha1, b"x"), None).der(),
        )
        .await;
    assert!(matches!(
        TimestampToken::from_response(&der, &request),
        Err(TspError::Refused { .. })
    ));
    assert_eq!(
        running.faults.calls().len(),
        running.faults.count(Service::Tsa)
    );
    running.finish().await;
}
