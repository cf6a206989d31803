//! A country with an attacker in it: a registered server whose keys the test holds.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Response;
use jibek_conformance::{
    peer::{Answer, Identity, Message, Peer, Tls},
    world::{HAND_MADE, PROVIDER, World, WorldBuilder},
};

/// The prefix of a fault that arose while the provider's server read the request.
pub(crate) const READING: &str = "server.serverproxy.service_failed";
/// The prefix of a fault that arose at the provider's server.
pub(crate) const PROVIDER_SIDE: &str = "server.serverproxy";
/// The prefix of a fault about a signature.
pub(crate) const SIGNATURE: &str = "server.serverproxy.signature_verification";
/// Both stacks.
pub(crate) const STACKS: [Tls; 2] = [Tls::Legacy, Tls::Modern];

/// A name, what is sent, and the code of the fault.
pub(crate) type Case<N> = (N, Vec<u8>, String);

/// What a test needs.
pub(crate) struct Scene {
    pub(crate) world: World,
    /// The attacker: registered, with keys of its own.
    pub(crate) hand: Peer,
    /// Somebody else's keys, for forgeries.
    pub(crate) other: Peer,
}

impl Scene {
    pub(crate) async fn new(builder: WorldBuilder) -> Self {
        let world = builder.build(|_| echo()).await;
        let plan = world.running.prepared().plan().clone();
        let hand = Peer::of(&world, &plan.servers[2].id).await;
        let other = Peer::of(&world, &plan.servers[0].id).await;
        Self { world, hand, other }
    }

    /// Where the provider's server listens for servers.
    pub(crate) fn provider(&self) -> SocketAddr {
        self.world.running.server(1).addresses.peer
    }

    /// A sound POST of the attacker.
    pub(crate) fn post(&self, body: impl Into<Bytes>) -> Message {
        let path = format!("/r1/{PROVIDER}/rest/hostile");
        let body = Some(body.into());
        self.hand
            .rest(HAND_MADE, "POST", &path, body, self.world.now())
    }

    /// A sound GET of the attacker.
    pub(crate) fn get(&self) -> Message {
        let path = format!("/r1/{PROVIDER}/rest/hostile");
        self.hand
            .rest(HAND_MADE, "GET", &path, None, self.world.now())
    }

    /// What was acted on and recorded so far, at both servers.
    pub(crate) fn traces(&self) -> (usize, u64, u64) {
        let commits = |index: usize| {
            self.world
                .running
                .server(index)
                .inside
                .log()
                .stats()
                .commits
        };
        (self.world.system.calls().len(), commits(0), commits(1))
    }

    /// Sends bytes to the provider's server; says what is not as it should be: another answer than this fault, or
    /// something done or recorded.
    pub(crate) async fn refused(&self, tls: Tls, bytes: &[u8], code: &str) -> Result<(), String> {
        self.refused_by(&self.hand, tls, bytes, code).await
    }

    /// The same, sent by another peer.
    pub(crate) async fn refused_by(
        &self,
        peer: &Peer,
        tls: Tls,
        bytes: &[u8],
        code: &str,
    ) -> Result<(), String> {
        let before = self.traces();
        let answer = peer
            .send(self.provider(), tls, bytes)
            .await
            .map_err(|error| format!("no answer: {error}"))?;
        if answer.fault_code().as_deref() != Some(code) {
            return Err(format!("wanted {code}, got {}", said(&answer)));
        }
        if self.traces() != before {
            return Err("acted on or recorded".to_owned());
        }
        Ok(())
    }

    /// Runs cases: name, what is sent, the code of the fault. An honest exchange must work after each.
    pub(crate) async fn run<N: AsRef<str>>(&self, cases: Vec<Case<N>>) {
        let mut wrong = Vec::new();
        for (index, (name, bytes, code)) in cases.into_iter().enumerate() {
            // Every case on one stack, and the stacks in turn: what is refused does not depend on them.
            let tls = STACKS[index % STACKS.len()];
            let name = name.as_ref();
            if let Err(why) = self.refused(tls, &bytes, &code).await {
                wrong.push(format!("{name} ({tls:?}): {why}"));
            }
            self.works(name).await;
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// Demands that the message is taken, so that a refusal of its variants means something.
    pub(crate) async fn accepted(&self, case: &str, tls: Tls, message: &Message) {
        let calls = self.world.system.calls().len();
        let answer = match self.hand.call(self.provider(), tls, message).await {
            Ok(answer) => answer,
            Err(error) => panic!("{case} ({tls:?}): no answer: {error}"),
        };
        assert_eq!(
            answer.fault_code(),
            None,
            "{case} ({tls:?}): {}",
            answer.text()
        );
        assert!(
            answer.text().contains("signature/bdoc-1.0/ts"),
            "{case} ({tls:?}): {}",
            answer.text()
        );
        assert_eq!(self.world.system.calls().len(), calls + 1, "{case}");
    }

    /// The same of another peer.
    pub(crate) async fn accepted_of(&self, peer: &Peer, tls: Tls, message: &Message) {
        let calls = self.world.system.calls().len();
        let answer = peer.call(self.provider(), tls, message).await.unwrap();
        assert_eq!(answer.fault_code(), None, "{tls:?}: {}", answer.text());
        assert_eq!(self.world.system.calls().len(), calls + 1, "{tls:?}");
    }

    /// Demands that an honest exchange works.
    pub(crate) async fn works(&self, after: &str) {
        let answer = self
            .world
            .send(self.world.rest("POST", "/good"), "good")
            .await;
        assert_eq!(answer.status(), 200, "after {after}: {:?}", answer.body());
    }
}

/// Demands that an honest exchange works in a world without an attacker.
pub(crate) async fn works(world: &World) {
    let answer = world.send(world.rest("GET", "/up"), "").await;
    assert_eq!(answer.status(), 200, "{answer:?}");
}

/// The fault's code of an answer to an information system, REST or SOAP.
pub(crate) fn fault_code(answer: &Response<Bytes>) -> String {
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    if let Some((_, rest)) = text.split_once("<faultcode>") {
        return rest.split_once("</faultcode>").unwrap().0.to_owned();
    }
    let code = answer.headers().get("x-road-error");
    let code = code.unwrap_or_else(|| panic!("no fault: {answer:?}"));
    assert!(text.contains(&format!("\"type\":{code:?}")), "{text}");
    code.to_str().unwrap().to_owned()
}

/// An answer in a few words: the fault's code and text, or the start of whatever came.
pub(crate) fn said(answer: &Answer) -> String {
    let text = answer.text();
    match text.split_once("<faultstring>") {
        Some((_, rest)) => format!(
            "{}: {}",
            answer.fault_code().unwrap_or_default(),
            rest.split("</faultstring>").next().unwrap_or_default()
        ),
        None => text.chars().take(600).collect(),
    }
}

pub(crate) fn echo() -> Response<Bytes> {
    Response::new(Bytes::from_static(b"well"))
}

/// A key with a good authentication certificate of the country's CA, which the registry does not know.
pub(crate) fn unregistered(scene: &Scene) -> Identity {
    let group = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).unwrap();
    let key = openssl::ec::EcKey::generate(&group).unwrap();
    let key = openssl::pkey::PKey::from_ec_key(key).unwrap();
    let mut name = openssl::x509::X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "hand").unwrap();
    let mut request = openssl::x509::X509Req::builder().unwrap();
    request.set_subject_name(&name.build()).unwrap();
    request.set_pubkey(&key).unwrap();
    request
        .sign(&key, openssl::hash::MessageDigest::sha256())
        .unwrap();
    let pki = scene.world.running.prepared().pki();
    let request = request.build().to_der().unwrap();
    let certificate = pki.issue_auth(&request, None, scene.world.now()).unwrap();
    Identity {
        key: key.private_key_to_pkcs8().unwrap(),
        chain: vec![certificate.der().to_vec(), pki.issuing_ca().der().to_vec()],
    }
}
