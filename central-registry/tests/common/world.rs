//! A registry on loopback with a clock of its own.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use jibek_certs::{
    signer::{KeyKind, SoftKey},
    time::TestClock,
};
use jibek_conf::{Anchor, ConfDir, FetchOptions, Fetcher, atomic_write, fetch::HttpsUse};
use jibek_registry::{Bound, Handle, Registry};
use rcgen::{CertificateParams, KeyUsagePurpose};
use time::{OffsetDateTime, macros::datetime};
use tokio::{sync::oneshot, task::JoinHandle};

pub(crate) const START: OffsetDateTime = datetime!(2026-11-23 05:00 UTC);

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: TestClock,
}

pub(crate) struct Running {
    pub(crate) url: String,
    pub(crate) anchor: Anchor,
    pub(crate) handle: Handle,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<()>,
}

impl World {
    pub(crate) fn new(key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, usage) in [
            ("ca", KeyUsagePurpose::KeyCertSign),
            ("tsa", KeyUsagePurpose::ContentCommitment),
            ("auth", KeyUsagePurpose::DigitalSignature),
        ] {
            let key = SoftKey::generate(KeyKind::EcP256).unwrap();
            let mut params = CertificateParams::default();
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
            params.key_usages = vec![usage];
            let certificate = params.self_signed(&key.for_rcgen()).unwrap();
            atomic_write(
                folder.path().join(format!("{name}.pem")),
                certificate.pem().as_bytes(),
            )
            .unwrap();
        }
        let world = Self {
            folder,
            clock: TestClock::new(START),
        };
        world.write(&base(key));
        world
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("registry.toml")
    }

    pub(crate) fn write(&self, text: &str) {
        atomic_write(self.config(), text.as_bytes()).unwrap();
    }

    pub(crate) fn append(&self, text: &str) {
        let before = std::fs::read_to_string(self.config()).unwrap();
        self.write(&(before + text));
    }

    pub(crate) async fn bind(&self) -> Bound {
        Registry::open(self.config(), Arc::new(self.clock.clone()))
            .unwrap()
            .bind()
            .await
            .unwrap()
    }

    pub(crate) async fn start(&self) -> Running {
        let bound = self.bind().await;
        let url = format!("http://{}", bound.address());
        let (anchor, handle) = (bound.internal_anchor(), bound.handle());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(bound.run(async move {
            let _ = stopped.await;
        }));
        Running {
            url,
            anchor,
            handle,
            stop,
            task,
        }
    }

    pub(crate) fn fetcher(&self, anchor: Anchor) -> Fetcher {
        let mut options = FetchOptions::default();
        options.https = HttpsUse::Never;
        options.connect_timeout = Duration::from_secs(5);
        Fetcher::new(
            anchor,
            ConfDir::new(self.folder.path().join("globalconf")),
            options,
        )
        .unwrap()
    }
}

impl Running {
    pub(crate) async fn get(&self, path: &str) -> (u16, Bytes) {
        get(&format!("{}{path}", self.url)).await
    }

    pub(crate) async fn finish(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }

    /// Waits until the registry has published at the clock's present time.
    pub(crate) async fn published_at(&self, moment: OffsetDateTime) {
        for _ in 0..3000 {
            if self.handle.status().published_at == moment {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no publication at {moment}: {:?}", self.handle.status());
    }
}

pub(crate) async fn get(url: &str) -> (u16, Bytes) {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let response = client.get(url.parse().unwrap()).await.unwrap();
    let status = response.status().as_u16();
    (
        status,
        response.into_body().collect().await.unwrap().to_bytes(),
    )
}

pub(crate) fn base(key: &str) -> String {
    format!(
        r#"instance = "KG"
listen = "127.0.0.1:0"
address = "127.0.0.1:0"
state_dir = "state"
key = "{key}"
[management]
provider = "GOV/1000/management"
[[member_class]]
code = "GOV"
description = "Government"
[[ca]]
certificate = "ca.pem"
profile = "FiVRK"
ocsp = [{{ url = "http://127.0.0.1:1/ocsp" }}]
[[tsa]]
url = "http://127.0.0.1:1/tsa"
certificate = "tsa.pem"
[[member]]
class = "GOV"
code = "1000"
name = "Tunduk"
subsystems = [{{ code = "management", name = "Management services" }}]
[[server]]
owner = "GOV/1000"
code = "ss1"
address = "127.0.0.2"
auth_certificates = ["auth.pem"]
clients = ["GOV/1000/management"]
maintenance = "back at noon"
"#
    )
}

pub(crate) const NEW_MEMBER: &str = r#"
[[member]]
class = "GOV"
code = "2000"
name = "Cadastre"
subsystems = [{ code = "ownership" }]
"#;

/// The folder of X-Road's test data, or `None` after saying so. On a build server it must be there.
pub(crate) fn fixtures(test: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fixtures/xroad");
    let root = std::env::var_os("JIBEK_XROAD_FIXTURES")
        .map_or_else(|| PathBuf::from(default), PathBuf::from);
    if root.is_dir() {
        return Some(root);
    }
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "fixtures absent"
    );
    println!("SKIPPED {test}: fixtures absent");
    None
}

/// Validates every published version with X-Road's schemas.
pub(crate) fn validate(test: &str, public: &Path, stamp: &str) {
    let Some(root) = fixtures(test) else { return };
    for version in 3..=6u8 {
        for (file, schema) in [
            (
                "shared-params.xml",
                format!("v{version}/shared-parameters.xsd"),
            ),
            ("private-params.xml", "v3/private-parameters.xsd".to_owned()),
        ] {
            let outcome = Command::new("xmllint")
                .args(["--noout", "--nonet", "--schema"])
                .arg(root.join("xsd/globalconf").join(schema))
                .arg(public.join(format!("V{version}/{stamp}/{file}")))
                .output();
            let Ok(output) = outcome else {
                println!("SKIPPED {test}: xmllint absent");
                return;
            };
            assert!(
                output.status.success(),
                "V{version} {file}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}
