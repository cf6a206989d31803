//! The programs as an operator runs them: what they cost, whom they let in, how they end, what they write down.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests may panic and tell, their helpers too"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use jibek_certs::{
    Certificate, KeyKind,
    time::{Clock, SystemClock},
};
use jibek_conf::{Anchor, ConfDir, FetchOptions, Fetcher, files::atomic_write};
use jibek_conformance::{
    asic::{self, Half},
    country::{Net, PIN},
    http::{eventually, until_ok},
    process_world::ProcessWorld,
    processes::Process,
    world::{CONSUMER, PROVIDER},
};
use jibek_protocol::id::ClientId;
use jibek_server::keys::{KeyRing, Pin, Token};
use openssl::{
    hash::MessageDigest,
    pkey::{PKey, Private},
    rsa::Rsa,
    x509::{X509NameBuilder, X509ReqBuilder},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// What nobody may write down.
const SECRET: &str = "GEHEIM-4711-nobody-else-reads-this";

fn ok(_: &jibek_conformance::system::Call) -> Response<Bytes> {
    Response::new(Bytes::from_static(b"ok"))
}

fn request(world: &ProcessWorld, id: &str, body: &str) -> Request<Full<Bytes>> {
    Request::post(format!("{}/r1/{PROVIDER}/rest/x", world.url(0)))
        .header("X-Road-Client", CONSUMER)
        .header("X-Road-Id", id)
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_is_small_and_starts_fast() {
    let mut world = ProcessWorld::start(KeyKind::Rsa2048, ok, |_| ()).await;
    world.kill(1);
    let begun = Instant::now();
    world.start_server(1).await.unwrap();
    let started = begun.elapsed();
    let usage = world.server(1).usage();
    println!(
        "ready after {} ms, {} KiB resident, at most {} KiB",
        started.as_millis(),
        usage.resident_kib,
        usage.peak_kib
    );
    assert!(usage.resident_kib > 1000, "it was measured");
    assert!(usage.resident_kib < 50_000, "{usage:?}");
    assert!(started < Duration::from_secs(10), "{started:?}");
}

/// Key and chain of a server on disk, as `openssl` reads them.
struct Identity {
    key: PathBuf,
    certificate: PathBuf,
    chain: PathBuf,
}

impl Identity {
    /// The registered authentication key of the server that does not run, from its token.
    fn registered(world: &ProcessWorld, dir: &Path) -> Self {
        let server = world.server_dir(2);
        let token = Token::open(&server.join("state/token"), &Pin::new(PIN).unwrap()).unwrap();
        let ring = KeyRing::new(token, world.prepared.plan().servers[2].id.clone());
        let anchor = Anchor::parse(std::fs::read(server.join("anchor.xml")).unwrap()).unwrap();
        let stored = ConfDir::new(world.server_dir(1).join("state/globalconf"));
        let stored = Fetcher::new(anchor, stored, FetchOptions::default())
            .unwrap()
            .stored()
            .unwrap();
        ring.refresh(&stored, SystemClock.now());
        let keys = ring.current();
        let auth = keys.auth().unwrap();
        let key = PKey::private_key_from_der(&auth.key().to_pkcs8_der()).unwrap();
        Self::write(world, &key, auth.certificate(), dir, "registered")
    }

    /// A key with a certificate of the same authority, which the registry does not know.
    fn unregistered(world: &ProcessWorld, dir: &Path) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "nobody").unwrap();
        let mut csr = X509ReqBuilder::new().unwrap();
        csr.set_subject_name(&name.build()).unwrap();
        csr.set_pubkey(&key).unwrap();
        csr.sign(&key, MessageDigest::sha256()).unwrap();
        let certificate = world
            .prepared
            .pki()
            .issue_auth(&csr.build().to_der().unwrap(), None, SystemClock.now())
            .unwrap();
        Self::write(world, &key, &certificate, dir, "unregistered")
    }

    fn write(
        world: &ProcessWorld,
        key: &PKey<Private>,
        certificate: &Certificate,
        dir: &Path,
        name: &str,
    ) -> Self {
        let identity = Self {
            key: dir.join(format!("{name}-key.pem")),
            certificate: dir.join(format!("{name}.pem")),
            chain: dir.join(format!("{name}-chain.pem")),
        };
        let issuing = world.prepared.pki().issuing_ca().to_pem();
        atomic_write(&identity.key, &key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        atomic_write(&identity.certificate, certificate.to_pem().as_bytes()).unwrap();
        atomic_write(&identity.chain, issuing.as_bytes()).unwrap();
        identity
    }

    /// Connects with `openssl s_client`; `-ign_eof` waits for what the server has to say.
    fn connect(&self, world: &ProcessWorld, arguments: &[&str]) -> Output {
        let address = format!("{}:{}", world.prepared.plan().net.server(1), Net::PEER_PORT);
        Command::new("timeout")
            .args(["20", "openssl", "s_client", "-connect", &address])
            .arg("-cert")
            .arg(&self.certificate)
            .arg("-key")
            .arg(&self.key)
            .arg("-cert_chain")
            .arg(&self.chain)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

fn words(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_gets_in_with_a_registered_certificate_only() {
    let world = ProcessWorld::start(KeyKind::Rsa2048, ok, |_| ()).await;
    let dir = tempfile::tempdir().unwrap();
    let registered = Identity::registered(&world, dir.path());
    let unregistered = Identity::unregistered(&world, dir.path());
    let legacy = [
        "-tls1_2",
        "-cipher",
        "ECDHE-RSA-AES256-SHA384",
        "-reconnect",
    ];

    let output = registered.connect(&world, &legacy);
    let text = words(&output);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("New, TLSv1.2").count(), 1, "{text}");
    assert_eq!(text.matches("Reused, TLSv1.2").count(), 5, "{text}");
    assert_eq!(
        text.matches("drop connection and then reconnect").count(),
        5,
        "{text}"
    );
    assert!(text.contains("Cipher is ECDHE-RSA-AES256-SHA384"), "{text}");

    let output = unregistered.connect(&world, &legacy);
    let text = words(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("alert"), "{text}");

    // Without limits it is TLS 1.3, where a refusal shows at the first read.
    let output = registered.connect(&world, &[]);
    let text = words(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("New, TLSv1.3"), "{text}");

    let output = unregistered.connect(&world, &["-ign_eof"]);
    let text = words(&output);
    assert!(text.contains("New, TLSv1.3"), "{text}");
    assert!(text.contains("alert"), "{text}");
    assert!(!output.status.success(), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_bodies_nor_pins_are_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let world = ProcessWorld::start(
        KeyKind::EcP256,
        |call| Response::new(call.body.clone()),
        |_| (),
    )
    .await;
    // Answered, refused on either side, not understood, broken off.
    let answer = world
        .http
        .send(request(&world, "good", SECRET))
        .await
        .unwrap();
    assert_eq!(answer.body(), SECRET);
    for (path, client) in [
        (format!("/r1/{PROVIDER}/nothing/x"), CONSUMER),
        (format!("/r1/{PROVIDER}/rest/x"), "TEST/GOV/1001/stranger"),
        (format!("/r1/{PROVIDER}/rest/x"), "TEST/GOV/9/nobody"),
    ] {
        let request = Request::post(format!("{}{path}", world.url(0)))
            .header("X-Road-Client", client)
            .body(Full::new(Bytes::from_static(SECRET.as_bytes())))
            .unwrap();
        assert_eq!(world.http.send(request).await.unwrap().status(), 500);
    }
    for envelope in [
        format!("<broken>{SECRET}"),
        format!("<!DOCTYPE a [<!ENTITY b \"{SECRET}\">]><a>&b;</a>"),
    ] {
        let request = Request::post(format!("{}/", world.url(0)))
            .header("Content-Type", "text/xml")
            .body(Full::new(Bytes::from(envelope)))
            .unwrap();
        world.http.send(request).await.unwrap();
    }
    let door = world.url(0).trim_start_matches("http://").to_owned();
    let mut cut = TcpStream::connect(door).await.unwrap();
    let head = format!(
        "POST /r1/{PROVIDER}/rest/x HTTP/1.1\r\nHost: a\r\nX-Road-Client: {CONSUMER}\r\nContent-Length: 1000\r\n\r\n{SECRET}"
    );
    cut.write_all(head.as_bytes()).await.unwrap();
    drop(cut);
    // Evidence is handed out through a spool, which keeps nothing.
    let client = ClientId::from_header(CONSUMER).unwrap();
    let container = asic::fetch(&world.http, &world.url(0), &client, "good", Half::Request)
        .await
        .unwrap();
    assert_eq!(asic::body(&container).unwrap(), SECRET);

    // What stands in the metrics and at the readiness endpoint, beside the files.
    for name in ["metrics", "readyz"] {
        for server in [0, 1] {
            let url = format!("{}/{name}", world.admin_url(server));
            let text = world.http.get(&url).await.unwrap();
            atomic_write(dir.path().join(format!("{name}-{server}")), text.body()).unwrap();
        }
    }
    let mut logs = 0;
    for file in files(world.prepared.dir())
        .into_iter()
        .chain(files(dir.path()))
    {
        if file.parent().is_some_and(|parent| parent.ends_with("log"))
            || file.components().any(|part| part.as_os_str() == "log")
        {
            continue; // the message log is there to keep bodies
        }
        let bytes = std::fs::read(&file).unwrap();
        for secret in [SECRET, PIN] {
            assert!(
                !bytes
                    .windows(secret.len())
                    .any(|found| found == secret.as_bytes()),
                "{secret} stands in {}",
                file.display()
            );
        }
        if file.ends_with("server.log") {
            let text = String::from_utf8_lossy(&bytes);
            assert!(
                text.contains("message_id=good"),
                "one line a message: {text}"
            );
            logs += 1;
        }
    }
    assert_eq!(logs, 2);
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else if entry.file_type().unwrap().is_file() {
            found.push(entry.path());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_what_prometheus_reads() {
    let world = ProcessWorld::start(KeyKind::EcP256, ok, |_| ()).await;
    for number in 0..3 {
        let answer = world
            .http
            .send(request(&world, &format!("m{number}"), "x"))
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
    for (server, side) in [(0, "consumer"), (1, "provider")] {
        let answer = world
            .http
            .get(&format!("{}/metrics", world.admin_url(server)))
            .await
            .unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap();
        assert!(
            kind.contains("version=0.0.4") || kind.contains("openmetrics"),
            "{kind}"
        );
        let text = String::from_utf8(answer.body().to_vec()).unwrap();
        let mut described = std::collections::BTreeSet::new();
        let mut exchanges = 0.0;
        for line in text.lines().filter(|line| !line.is_empty()) {
            let labels = line.to_lowercase();
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                described.insert(rest.split(' ').next().unwrap().to_owned());
                continue;
            }
            if line.starts_with('#') {
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            let base = name.split('{').next().unwrap();
            assert!(
                base.chars()
                    .all(|one| one.is_ascii_alphanumeric() || one == '_' || one == ':'),
                "{line}"
            );
            let family = ["_bucket", "_sum", "_count", "_total", "_info"]
                .iter()
                .find_map(|end| base.strip_suffix(end))
                .filter(|family| described.contains(*family))
                .unwrap_or(base);
            assert!(described.contains(family), "no # TYPE for {line}");
            if base.contains("exchange")
                && base.ends_with("_total")
                && labels.contains(&format!("side=\"{side}\""))
                && labels.contains("outcome=\"ok\"")
            {
                exchanges += value;
            }
        }
        assert!(
            (exchanges - 3.0).abs() < f64::EPSILON,
            "{exchanges}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_slow_reader_have_its_answer() {
    const LENGTH: usize = 12 << 20;
    let big = Bytes::from(vec![b'z'; LENGTH]);
    let mut world =
        ProcessWorld::start(KeyKind::EcP256, move |_| Response::new(big.clone()), |_| ()).await;
    let door = world.url(0).trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&door).await.unwrap();
    let head = format!(
        "GET /r1/{PROVIDER}/rest/x HTTP/1.1\r\nHost: a\r\nX-Road-Client: {CONSUMER}\r\nX-Road-Id: slow\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = vec![0; 64 * 1024];
    let mut read = stream.read(&mut seen).await.unwrap();
    assert!(
        seen.starts_with(b"HTTP/1.1 200"),
        "{:?}",
        String::from_utf8_lossy(&seen[..read.min(2000)])
    );
    let head = seen[..read]
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .unwrap()
        + 4;

    // The answer is on its way, and a second connection has nothing to do.
    let mut idle = TcpStream::connect(&door).await.unwrap();
    world.server(0).terminate().unwrap();
    let mut nothing = [0; 1];
    assert_eq!(
        idle.read(&mut nothing).await.unwrap_or(0),
        0,
        "an idle connection is closed"
    );
    eventually(PATIENCE, || async {
        match TcpStream::connect(&door).await {
            Ok(_) => Err("it still takes connections"),
            Err(_) => Ok(()),
        }
    })
    .await
    .unwrap();
    assert!(
        world.server(0).ended().unwrap().is_none(),
        "it must not end before its work"
    );
    loop {
        match stream.read(&mut seen).await.unwrap() {
            0 => break,
            more => read += more,
        }
    }
    assert_eq!(read - head, LENGTH);
    let status = eventually(PATIENCE, || {
        let ended = world.server(0).ended().unwrap();
        std::future::ready(ended.ok_or("it does not end"))
    })
    .await
    .unwrap();
    assert!(status.success(), "{status}");
    world.fsck(0).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_before_its_registry_and_says_what_it_waits_for() {
    let world = ProcessWorld::start(KeyKind::EcP256, ok, |_| ()).await;
    // The third server of the plan, at an address where no registry answers its anchor's source any more.
    let dir = world.server_dir(2);
    let anchor = std::fs::read_to_string(dir.join("anchor.xml")).unwrap();
    let registry = world.prepared.plan().net.registry().to_string();
    assert!(anchor.contains(&registry));
    let elsewhere = world.prepared.plan().net.host(9);
    atomic_write(
        dir.join("anchor.xml"),
        anchor
            .replace(&registry, &format!("{elsewhere}:4080"))
            .as_bytes(),
    )
    .unwrap();
    let process = Process::start(
        "hand",
        &world.programs.path("jibek-server"),
        &[
            "run",
            "--config",
            &dir.join("jibek-server.toml").display().to_string(),
        ],
        &dir.join("server.log"),
    )
    .unwrap();
    let admin = world.admin_url(2);
    until_ok(&format!("{admin}/healthz"), PATIENCE)
        .await
        .unwrap();
    let report = world.http.get(&format!("{admin}/readyz")).await.unwrap();
    assert_eq!(report.status(), 503);
    let report = String::from_utf8_lossy(report.body()).into_owned();
    assert!(
        report.contains("could not be downloaded") && report.contains(&elsewhere.to_string()),
        "{report}"
    );
    drop(process);
}
