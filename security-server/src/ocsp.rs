//! OCSP answers: our own, fetched on schedule, kept over restarts and shown to peers on 5577; and those of peers.
//!
//! Without a fresh answer for the authentication certificate, the signing certificate and the intermediates above them nothing can
//! be sent (`message-path.md` 7.5, 7), so answers are fetched long before they are needed and the old one is kept until it ages.

mod peer;
mod serve;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use jibek_certs::{
    Certificate, Clock, Digest, DigestAlgorithm, Timestamp,
    ocsp::{OcspError, OcspResponse, Policy, request_der},
    trust::{ApprovedCa, Authorities, Trust},
};
use jibek_conf::Snapshot;
use tokio::sync::Notify;

pub use peer::{PeerOcspError, fetch_from_peer};
pub use serve::serve;

use crate::{
    conf_watch::SharedSnapshot,
    keys::KeyRing,
    outbound::{Outbound, OutboundError, chain},
    store::Store,
};

/// Fetches and keeps the OCSP answers for this server's own certificates.
#[derive(Debug)]
pub struct OcspKeeper {
    store: Store,
    keys: Arc<KeyRing>,
    snapshots: SharedSnapshot,
    clock: Arc<dyn Clock>,
    outbound: Outbound,
    poke: Notify,
    held: Mutex<HashMap<[u8; 32], Held>>,
}

/// No fresh OCSP answer is at hand.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no fresh OCSP answer for certificate {subject}: {reason}")]
#[non_exhaustive]
pub struct MissingOcsp {
    /// Subject of the certificate.
    pub subject: String,
    /// Why, in words.
    pub reason: String,
}

/// How one certificate's answer stands.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OcspStatus {
    /// Subject of the certificate.
    pub subject: String,
    /// From when the answer is; `None` when there is none.
    pub this_update: Option<Timestamp>,
    /// Why there is no newer one, when the last fetch failed.
    pub problem: Option<String>,
}

impl OcspKeeper {
    /// A keeper with what `store` kept over the restart. Fetches nothing before [`Self::run`] or [`Self::refresh_once`].
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(
        store: Store,
        keys: Arc<KeyRing>,
        snapshots: SharedSnapshot,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, OutboundError> {
        let outbound = Outbound::new(CONNECT_TIMEOUT, READ_TIMEOUT, MOST_ANSWER_BYTES)?;
        let kept = store.scan(PREFIX).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the OCSP answers kept; they are fetched again");
            Vec::new()
        });
        let held = kept.into_iter().filter_map(|(key, der)| {
            let hash = unhex(key.strip_prefix(PREFIX)?)?;
            let response = OcspResponse::parse(der).ok()?;
            Some((
                hash,
                Held {
                    response: Some(response),
                    ..Held::default()
                },
            ))
        });
        let held = Mutex::new(held.collect());
        Ok(Arc::new(Self {
            store,
            keys,
            snapshots,
            clock,
            outbound,
            poke: Notify::new(),
            held,
        }))
    }

    /// Fetches on schedule: at once, then every interval of the configuration, after a failure every 60 s, and when the own
    /// certificates change. Never returns.
    pub async fn run(self: Arc<Self>) {
        loop {
            let complete = self.refresh_once().await;
            let known = self.targets();
            let due = self.clock.now() + self.pause(complete);
            while self.clock.now() < due {
                let nap = due.min(self.clock.now() + LOOK_INTERVAL);
                tokio::select! {
                    () = self.clock.sleep_until(nap) => {}
                    () = self.poke.notified() => break,
                }
                if self.targets().keys().ne(known.keys()) {
                    break;
                }
            }
        }
    }

    /// Makes [`Self::run`] fetch now.
    pub fn poke(&self) {
        self.poke.notify_one();
    }

    /// Fetches an answer for every own certificate, once. Tells whether all are at hand.
    pub async fn refresh_once(&self) -> bool {
        let snapshot = self.snapshots.load_full();
        let targets = self.targets();
        self.forget_others(&targets).await;
        let renewed = join_all(
            targets
                .values()
                .map(|certificate| self.renew(certificate, &snapshot)),
        )
        .await;
        renewed.into_iter().all(|fetched| fetched)
    }

    /// Returns the answer for `certificate` when it counts at `now` under `snapshot`.
    pub fn fresh(
        &self,
        certificate: &Certificate,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Option<Bytes> {
        self.judged(certificate, snapshot, now).ok()
    }

    /// Returns the answers for `leaf` and the intermediate CAs above it, leaf first, without the top CA: what goes into messages and
    /// signatures.
    ///
    /// # Errors
    /// One is missing or too old; then nothing can be sent.
    pub fn fresh_chain(
        &self,
        leaf: &Certificate,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Vec<Bytes>, MissingOcsp> {
        let keys = self.keys.current();
        let chain = match keys.auth().filter(|key| key.certificate() == leaf) {
            Some(key) => key.chain().to_vec(),
            None => match keys.sign_keys().find(|(_, key)| key.certificate() == leaf) {
                Some((_, key)) => key.chain().to_vec(),
                None => own_authorities(snapshot)
                    .map(|own| own.chain_of(leaf))
                    .unwrap_or_default(),
            },
        };
        std::iter::once(leaf)
            .chain(&chain)
            .map(|certificate| {
                self.judged(certificate, snapshot, now)
                    .map_err(|reason| MissingOcsp {
                        subject: subject(certificate),
                        reason,
                    })
            })
            .collect()
    }

    /// Returns how the answers for the own certificates stand.
    pub fn status(&self) -> Vec<OcspStatus> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let status = |(hash, certificate): (&[u8; 32], &Certificate)| {
            let held = held.get(hash);
            OcspStatus {
                subject: subject(certificate),
                this_update: held
                    .and_then(|held| held.response.as_ref())
                    .map(OcspResponse::this_update),
                problem: held.and_then(|held| held.problem.clone()),
            }
        };
        self.targets().iter().map(status).collect()
    }

    /// The own certificate with this SHA-1 or SHA-256.
    fn own(&self, hash: &[u8]) -> Option<Certificate> {
        self.targets().into_values().find(|certificate| {
            certificate.sha1().as_slice() == hash || certificate.sha256().as_slice() == hash
        })
    }

    /// Every certificate that needs an answer: authentication and signing certificates and the intermediates above them.
    fn targets(&self) -> BTreeMap<[u8; 32], Certificate> {
        let keys = self.keys.current();
        let auth = keys
            .auth()
            .into_iter()
            .flat_map(|key| std::iter::once(key.certificate()).chain(key.chain()));
        let sign = keys
            .sign_keys()
            .flat_map(|(_, key)| std::iter::once(key.certificate()).chain(key.chain()));
        auth.chain(sign)
            .map(|certificate| (certificate.sha256(), certificate.clone()))
            .collect()
    }

    fn judged(
        &self,
        certificate: &Certificate,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Bytes, String> {
        let hash = certificate.sha256();
        let (response, problem) = {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(held) = held.get(&hash) else {
                return Err("it was not fetched yet".to_owned());
            };
            let Some(response) = &held.response else {
                return Err(held
                    .problem
                    .clone()
                    .unwrap_or_else(|| "it was not fetched yet".to_owned()));
            };
            if let Some(judgement) = &held.judgement
                && judgement.content == *snapshot.content_id()
                && (judgement.from..judgement.until).contains(&now)
            {
                return Ok(response.der().clone());
            }
            (response.clone(), held.problem.clone())
        };
        match judge(&response, certificate, snapshot, now) {
            Ok(until) => {
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(held) = held.get_mut(&hash) {
                    held.judgement = Some(Judgement {
                        content: *snapshot.content_id(),
                        from: now,
                        until,
                    });
                }
                Ok(response.der().clone())
            }
            Err(error) => {
                Err(problem.map_or_else(|| error.clone(), |problem| format!("{error}; {problem}")))
            }
        }
    }

    /// Fetches one answer and keeps it. An answer that says revoked ends the older one that said good.
    async fn renew(&self, certificate: &Certificate, snapshot: &Snapshot) -> bool {
        let hash = certificate.sha256();
        let fetched = self.fetch(certificate, snapshot).await;
        let (response, problem) = match fetched {
            Ok(response) => (Some(response), None),
            Err(Fetch::Condemned(problem)) => (None, Some(problem)),
            Err(Fetch::Failed(problem)) => {
                tracing::warn!(certificate = %subject(certificate), %problem, "cannot renew an OCSP answer");
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                held.entry(hash).or_default().problem = Some(problem);
                return false;
            }
        };
        let kept = match &response {
            Some(response) => self.store.put(key(&hash), response.der().clone()).await,
            None => self.store.remove(key(&hash)).await,
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "cannot keep an OCSP answer over restarts");
        }
        if let Some(problem) = &problem {
            tracing::error!(certificate = %subject(certificate), %problem, "an own certificate cannot be used");
        }
        let good = response.is_some();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(
            hash,
            Held {
                response,
                problem,
                judgement: None,
            },
        );
        good
    }

    /// Asks the responders of the issuing CA in turn, those of the configuration before the certificate's own.
    async fn fetch(
        &self,
        certificate: &Certificate,
        snapshot: &Snapshot,
    ) -> Result<OcspResponse, Fetch> {
        let issuer = own_authorities(snapshot)
            .and_then(|own| issuer_of(certificate, own))
            .ok_or_else(|| {
                Fetch::Failed("its issuer is no approved certification authority".to_owned())
            })?;
        let query = request_der(certificate, &issuer.certificate);
        let urls = issuer
            .ocsp_urls
            .iter()
            .map(String::as_str)
            .chain(certificate.ocsp_aia_url());
        let mut problem = "no OCSP responder is configured for its issuer".to_owned();
        for url in urls.take(MOST_RESPONDERS) {
            let answer = self
                .outbound
                .post(
                    url,
                    "application/ocsp-request",
                    Some("application/ocsp-response"),
                    query.clone(),
                )
                .await;
            problem = match answer {
                Ok(answer) => match self.take(answer, certificate, snapshot) {
                    Ok(response) => return Ok(response),
                    Err(error @ (OcspError::Revoked { .. } | OcspError::Unknown { .. })) => {
                        return Err(Fetch::Condemned(error.to_string()));
                    }
                    Err(error) => format!("{url}: {}", chain(&error)),
                },
                Err(error) => chain(&error),
            };
        }
        Err(Fetch::Failed(problem))
    }

    fn take(
        &self,
        answer: Bytes,
        certificate: &Certificate,
        snapshot: &Snapshot,
    ) -> Result<OcspResponse, OcspError> {
        let response = OcspResponse::parse(answer)?;
        verify(&response, certificate, snapshot, self.clock.now())?;
        Ok(response)
    }

    /// Drops what belongs to certificates that are ours no more.
    async fn forget_others(&self, targets: &BTreeMap<[u8; 32], Certificate>) {
        if targets.is_empty() {
            return; // nothing is known yet, for example before the first configuration
        }
        let gone: Vec<[u8; 32]> = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let gone = held
                .keys()
                .filter(|hash| !targets.contains_key(*hash))
                .copied()
                .collect();
            held.retain(|hash, _| targets.contains_key(hash));
            gone
        };
        for hash in gone {
            if let Err(error) = self.store.remove(key(&hash)).await {
                tracing::warn!(%error, "cannot forget an OCSP answer");
            }
        }
    }

    /// How long until the next fetch: the configured interval, but early enough before the first answer ages.
    fn pause(&self, complete: bool) -> Duration {
        if !complete {
            return RETRY;
        }
        let snapshot = self.snapshots.load();
        (snapshot.ocsp_fetch_interval())
            .min(snapshot.ocsp_freshness() / 2)
            .max(LEAST_PAUSE)
    }
}

#[derive(Debug, Default)]
struct Held {
    response: Option<OcspResponse>,
    problem: Option<String>,
    judgement: Option<Judgement>,
}

/// A judgement and what it depends on.
#[derive(Debug)]
struct Judgement {
    content: Digest,
    from: Timestamp,
    until: Timestamp,
}

enum Fetch {
    /// The authority says that the certificate does not count.
    Condemned(String),
    Failed(String),
}

fn judge(
    response: &OcspResponse,
    certificate: &Certificate,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Timestamp, String> {
    verify(response, certificate, snapshot, now).map_err(|error| error.to_string())
}

/// Judges an answer for an own certificate as peers will; returns until when it counts.
fn verify(
    response: &OcspResponse,
    certificate: &Certificate,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Timestamp, OcspError> {
    let unknown = || OcspError::OtherCertificate {
        subject: subject(certificate),
    };
    let own = own_authorities(snapshot).ok_or_else(unknown)?;
    let issuer = issuer_of(certificate, own).ok_or_else(unknown)?;
    let others: Vec<Certificate> = own.all().iter().map(|ca| ca.certificate.clone()).collect();
    let policy = Policy::new(snapshot.ocsp_freshness(), snapshot.verify_next_update());
    response
        .verify(
            certificate,
            &issuer.certificate,
            &issuer.ocsp_responders,
            &others,
            now,
            policy,
        )
        .map(|verified| verified.valid_until())
}

fn own_authorities(snapshot: &Snapshot) -> Option<&Authorities> {
    snapshot.authorities(snapshot.own_instance())
}

fn issuer_of<'a>(
    certificate: &Certificate,
    authorities: &'a Authorities,
) -> Option<&'a ApprovedCa> {
    authorities
        .by_subject(certificate.issuer())
        .find(|ca| certificate.verify_signed_by(&ca.certificate).is_ok())
}

fn subject(certificate: &Certificate) -> String {
    certificate.subject().rfc2253().to_owned()
}

fn key(hash: &[u8; 32]) -> String {
    let hex = Digest::from_bytes(DigestAlgorithm::Sha256, hash).map(|digest| digest.to_hex());
    format!("{PREFIX}{}", hex.unwrap_or_default())
}

/// Bytes of a hash in hexadecimal, of either case.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

const PREFIX: &str = "ocsp/";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(60);
const LEAST_PAUSE: Duration = Duration::from_secs(5);
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Real answers have 0.5 to 3 KB.
const MOST_ANSWER_BYTES: usize = 64 * 1024;
const MOST_RESPONDERS: usize = 8;

#[cfg(test)]
mod tests;
