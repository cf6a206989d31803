//! What tests share: OpenSSL as the time-stamping authority, and a configuration that approves it.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use jibek_certs::parse::Certificate;
use jibek_conf::{
    model::{
        ManagementService, NEWEST_VERSION, PrivateParameters, SharedParameters, SourceAddress,
        TimestampingService,
    },
    part::{render_private, render_shared},
    snapshot::{InstanceParts, Snapshot},
};
use jibek_protocol::id::ClientId;
use tempfile::TempDir;

use super::{Asking, TsaClient, TsaError};

/// `openssl ts`, with switches.
#[derive(Debug)]
pub(crate) struct OpensslTsa {
    pub(crate) dir: TempDir,
    pub(crate) works: AtomicBool,
    pub(crate) replays: AtomicBool,
    last: Mutex<Option<Bytes>>,
    calls: Mutex<Vec<String>>,
}

impl OpensslTsa {
    pub(crate) fn new() -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        save(&dir.path().join("tsa.cnf"), OPENSSL_CONFIG.as_bytes());
        save(&dir.path().join("serial"), b"01\n");
        let made = openssl(
            dir.path(),
            &[
                "req", "-x509", "-config", "tsa.cnf", "-newkey", "rsa:2048", "-nodes", "-keyout",
                "tsa.key", "-out", "tsa.pem", "-days", "2",
            ],
        );
        assert!(made, "openssl made no certificate");
        Arc::new(Self {
            dir,
            works: AtomicBool::new(true),
            replays: AtomicBool::new(false),
            last: Mutex::default(),
            calls: Mutex::default(),
        })
    }

    pub(crate) fn certificate(&self) -> Certificate {
        Certificate::from_der_or_pem(&std::fs::read(self.dir.path().join("tsa.pem")).unwrap())
            .unwrap()
    }

    fn reply(&self, query: &[u8]) -> Bytes {
        save(&self.dir.path().join("query.tsq"), query);
        assert!(openssl(
            self.dir.path(),
            &[
                "ts",
                "-reply",
                "-config",
                "tsa.cnf",
                "-queryfile",
                "query.tsq",
                "-out",
                "reply.tsr",
            ]
        ));
        std::fs::read(self.dir.path().join("reply.tsr"))
            .unwrap()
            .into()
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

impl TsaClient for OpensslTsa {
    fn request<'a>(&'a self, url: &'a str, query: Vec<u8>) -> Asking<'a> {
        self.calls.lock().unwrap().push(url.to_owned());
        Box::pin(async move {
            if url.contains("silent") {
                return std::future::pending().await;
            }
            if !self.works.load(Ordering::Relaxed) || url.contains("broken") {
                return Err(TsaError {
                    source: "connection refused".into(),
                });
            }
            let mut last = self.last.lock().unwrap();
            if !self.replays.load(Ordering::Relaxed) || last.is_none() {
                *last = Some(self.reply(&query));
            }
            Ok(last.clone().unwrap())
        })
    }
}

pub(crate) fn snapshot(tsa: &Certificate, urls: &[&str]) -> Snapshot {
    let mut shared = SharedParameters::new("DEV");
    shared.sources.push(SourceAddress {
        address: "127.0.0.1".to_owned(),
        internal_certificates: Vec::new(),
        external_certificates: Vec::new(),
    });
    for url in urls {
        shared.timestamping_services.push(TimestampingService {
            name: (*url).to_owned(),
            url: (*url).to_owned(),
            certificate: tsa.der().clone(),
            cost: None,
        });
    }
    let shared = render_shared(&shared, NEWEST_VERSION).unwrap();
    let provider = ClientId::new("DEV", "GOV", "management", None).unwrap();
    let management = ManagementService {
        registration_url: "https://127.0.0.1".to_owned(),
        registration_certificate: None,
        provider,
    };
    let mut parts = InstanceParts::new("DEV", NEWEST_VERSION, shared);
    parts.private = Some(render_private(&PrivateParameters::new("DEV", management)).into());
    Snapshot::from_parts("DEV", vec![parts]).unwrap()
}

pub(crate) fn openssl(dir: &Path, arguments: &[&str]) -> bool {
    let output = Command::new("openssl")
        .current_dir(dir)
        .args(arguments)
        .output()
        .expect("openssl");
    if !output.status.success() {
        println!("{}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

#[expect(clippy::disallowed_methods, reason = "files of a test")]
pub(crate) fn save(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap();
}

const OPENSSL_CONFIG: &str = "
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = Test TSA
[extensions]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[tsa]
default_tsa = tsa_config
[tsa_config]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha512
default_policy = 1.2.3.4.1
digests = sha256,sha512
ess_cert_id_alg = sha256
";
