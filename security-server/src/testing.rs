//! A small country for this crate's own tests: a certification authority with its services, servers with registered keys.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use jibek_certs::{Clock, KeyKind, SystemClock, TestClock};
use jibek_conf::{
    SharedParameters, Snapshot,
    model::{
        CertificationAuthority, CertificationService, Member, MemberClass, OcspResponder,
        SecurityServer, SourceAddress, Subsystem,
    },
    part::render_shared,
    snapshot::InstanceParts,
};
use jibek_dev_pki::{DevPki, Faults, Subject};
use jibek_protocol::id::{ClientId, ServerId};
use tokio::net::TcpListener;

use crate::{
    conf_watch::SharedSnapshot,
    config::{Config, PeerSettings},
    keys::{KeyRing, KeyUsage, Pin, Token},
};

pub(crate) struct Country {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) pki: Arc<DevPki>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) clock: TestClock,
    url: String,
}

pub(crate) struct Server {
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) entry: SecurityServer,
}

impl Country {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = TestClock::new(SystemClock.now());
        let pki =
            DevPki::create(&directory.path().join("pki"), KeyKind::EcP256, clock.now()).unwrap();
        let (pki, faults) = (Arc::new(pki), Arc::new(Faults::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/ocsp", listener.local_addr().unwrap());
        let (served, shared, told) = (
            Arc::clone(&pki),
            Arc::new(clock.clone()),
            Arc::clone(&faults),
        );
        tokio::spawn(async move {
            jibek_dev_pki::serve(served, listener, shared, told, std::future::pending()).await
        });
        Self {
            directory,
            pki,
            faults,
            clock,
            url,
        }
    }

    /// A server with an authentication and a signing key of its owner, and these clients.
    pub(crate) fn server(&self, id: &str, address: &str, clients: &[&str]) -> Server {
        let id = ServerId::from_header(id).unwrap();
        let token = Token::create(
            &self.directory.path().join(id.code()),
            &Pin::new("1234").unwrap(),
        )
        .unwrap();
        let (owner, now) = (id.owner(), self.clock.now());
        let auth = token.generate(KeyUsage::Auth, KeyKind::EcP256).unwrap();
        let subject = Subject::fivrk_auth(owner.instance(), id.code(), owner.class(), "o", address);
        let csr = token.csr(&auth, &subject.attributes()).unwrap();
        let certificate = self.pki.issue_auth(&csr, None, now).unwrap();
        token.import(&certificate).unwrap();
        let sign = token.generate(KeyUsage::Sign, KeyKind::EcP256).unwrap();
        let subject = Subject::fivrk_sign(
            owner.instance(),
            id.code(),
            owner.class(),
            "o",
            owner.code(),
        );
        let csr = token.csr(&sign, &subject.attributes()).unwrap();
        token
            .import(&self.pki.issue_sign(&csr, None, now).unwrap())
            .unwrap();
        let entry = SecurityServer {
            id: id.clone(),
            address: Some(address.to_owned()),
            auth_certificate_hashes: vec![Bytes::from(certificate.sha256().to_vec())],
            clients: clients
                .iter()
                .map(|client| ClientId::from_header(client).unwrap())
                .collect(),
            maintenance: None,
        };
        Server {
            ring: Arc::new(KeyRing::new(token, id)),
            entry,
        }
    }

    /// The configuration with these servers, which take it in.
    pub(crate) fn snapshot(&self, servers: &[&Server]) -> SharedSnapshot {
        let authority = |certificate: &jibek_certs::Certificate,
                         responder: &jibek_certs::Certificate| {
            let certificate = certificate.der().clone();
            let responder = OcspResponder {
                url: self.url.clone(),
                certificate: Some(responder.der().clone()),
                cost: None,
            };
            CertificationAuthority {
                certificate,
                ocsp: vec![responder],
            }
        };
        let service = CertificationService {
            name: "CA".to_owned(),
            authentication_only: false,
            top: authority(self.pki.root_ca(), self.pki.root_ocsp_certificate()),
            intermediates: vec![authority(
                self.pki.issuing_ca(),
                self.pki.ocsp_certificate(),
            )],
            profile_class:
                "ee.ria.xroad.common.certificateprofile.impl.FiVRKCertificateProfileInfoProvider"
                    .to_owned(),
            default_csr_format: None,
            acme: None,
        };
        let mut members: Vec<Member> = Vec::new();
        let clients = servers.iter().flat_map(|server| {
            let owner = ClientId::Member(server.entry.id.owner().clone());
            server
                .entry
                .clients
                .iter()
                .cloned()
                .chain([owner])
                .collect::<Vec<_>>()
        });
        for client in clients {
            if !members.iter().any(|member| member.id == *client.member()) {
                let id = client.member().clone();
                let (class_description, name) = (id.class().to_owned(), id.code().to_owned());
                members.push(Member {
                    id,
                    class_description,
                    name,
                    subsystems: Vec::new(),
                });
            }
            let member = members
                .iter_mut()
                .find(|member| member.id == *client.member())
                .unwrap();
            if let Some(code) = client.subsystem()
                && !member.subsystems.iter().any(|held| held.code == code)
            {
                member.subsystems.push(Subsystem {
                    code: code.to_owned(),
                    name: None,
                });
            }
        }
        let mut shared = SharedParameters::new("KG");
        shared.sources.push(SourceAddress {
            address: "127.0.0.1".to_owned(),
            internal_certificates: vec![self.pki.tsa_certificate().der().clone()],
            external_certificates: vec![self.pki.tsa_certificate().der().clone()],
        });
        shared.certification_services.push(service);
        shared.members = members;
        shared.servers = servers.iter().map(|server| server.entry.clone()).collect();
        shared.member_classes.push(MemberClass {
            code: "GOV".to_owned(),
            description: "GOV".to_owned(),
        });
        let shared = render_shared(&shared, 6).unwrap();
        let parts = vec![InstanceParts::new("KG", 6, shared)];
        let snapshot = Snapshot::from_parts("KG", parts).unwrap();
        for server in servers {
            server.ring.refresh(&snapshot, self.clock.now());
            assert_eq!(server.ring.current().auth_problem(), None);
        }
        Arc::new(ArcSwap::from_pointee(snapshot))
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }
}

pub(crate) fn settings() -> PeerSettings {
    let mut settings = Config::parse("server = \"KG/GOV/1/ss1\"", std::path::Path::new("x"))
        .unwrap()
        .peers;
    settings.handshake_timeout = Duration::from_secs(5);
    settings
}
