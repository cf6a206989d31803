//! Whether the other end of a connection may answer for a provider (`message-path.md` 5.4, 5.5).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jibek_certs::{
    Certificate, Digest, Timestamp,
    ocsp::{CertError, OcspResponse, Policy, verify_with_ocsp},
    trust::{Authorities, Trust},
};

use super::{ConnectError, link::Errand};
use crate::{config::PeerSettings, ocsp::fetch_from_peer, outbound::chain};

/// Judges peers' certificates and remembers: a verdict until the configuration's content, the OCSP answers or the time end it,
/// OCSP answers until they are stale.
#[derive(Debug)]
pub(super) struct Judge {
    port: u16,
    deadline: Duration,
    verdicts: Mutex<HashMap<(String, [u8; 32]), Verdict>>,
    answers: Mutex<HashMap<[u8; 32], OcspResponse>>,
    fetching: Mutex<HashMap<[u8; 32], Arc<tokio::sync::Mutex<()>>>>,
}

/// That a chain and its OCSP answers are right, and what that depends on.
#[derive(Debug)]
struct Verdict {
    content: Digest,
    chain: Vec<Certificate>,
    from: Timestamp,
    until: Timestamp,
}

impl Judge {
    pub(super) fn new(settings: &PeerSettings) -> Self {
        Self {
            port: settings.ocsp_port,
            deadline: settings.ocsp_timeout,
            verdicts: Mutex::default(),
            answers: Mutex::default(),
            fetching: Mutex::default(),
        }
    }

    /// Judges the `certificates` (leaf first) that the server at `host` presented. OCSP answers that are not at hand are fetched
    /// from it.
    pub(super) async fn accept(
        &self,
        host: &str,
        certificates: &[Certificate],
        errand: &Errand,
    ) -> Result<(), ConnectError> {
        let rejected = |code: &str, reason: String| ConnectError::PeerRejected {
            address: host.to_owned(),
            code: code.to_owned(),
            reason,
        };
        let Some((leaf, extra)) = certificates.split_first() else {
            return Err(rejected(FAILED, "it presented no certificate".to_owned()));
        };
        let instance = errand.provider.instance();
        if !self.holds(instance, certificates, errand) {
            let authorities = errand.snapshot.authorities(instance).ok_or_else(|| {
                rejected(
                    "internal_error",
                    format!("instance {instance} is not known"),
                )
            })?;
            if !leaf.is_authentication() {
                return Err(rejected(
                    FAILED,
                    "its certificate is no authentication certificate".to_owned(),
                ));
            }
            self.verify(host, leaf, extra, authorities, errand).await?;
        }
        errand
            .snapshot
            .auth_cert_serves(leaf, &errand.provider)
            .map(|_| ())
            .map_err(|error| rejected(FAILED, error.to_string()))
    }

    fn holds(&self, instance: &str, certificates: &[Certificate], errand: &Errand) -> bool {
        let Some(leaf) = certificates.first() else {
            return false;
        };
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        verdicts
            .get(&(instance.to_owned(), leaf.sha256()))
            .is_some_and(|verdict| {
                verdict.content == *errand.snapshot.content_id()
                    && verdict.chain == certificates
                    && (verdict.from..verdict.until).contains(&errand.now)
            })
    }

    /// Chain and OCSP: with the answers at hand, else with new ones. One question to a peer at a time for each certificate.
    async fn verify(
        &self,
        host: &str,
        leaf: &Certificate,
        extra: &[Certificate],
        authorities: &Authorities,
        errand: &Errand,
    ) -> Result<(), ConnectError> {
        let hash = leaf.sha256();
        let needed = needed(leaf, extra, authorities);
        if let Some(known) = self.known(&needed)
            && self
                .conclude(leaf, extra, authorities, &known, errand)
                .is_ok()
        {
            return Ok(());
        }
        let gate = {
            let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(fetching.entry(hash).or_default())
        };
        let turn = gate.lock().await;
        let mut certificates = vec![leaf.clone()];
        certificates.extend_from_slice(extra);
        let result = if self.holds(errand.provider.instance(), &certificates, errand) {
            Ok(()) // somebody before us in the queue has got it
        } else {
            self.fetch(host, &needed, leaf, extra, authorities, errand)
                .await
        };
        drop(turn);
        self.fetching
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&hash);
        result
    }

    async fn fetch(
        &self,
        host: &str,
        needed: &[Certificate],
        leaf: &Certificate,
        extra: &[Certificate],
        authorities: &Authorities,
        errand: &Errand,
    ) -> Result<(), ConnectError> {
        let rejected = |code: String, reason: String| ConnectError::PeerRejected {
            address: host.to_owned(),
            code,
            reason,
        };
        let fetched = fetch_from_peer(host, self.port, needed, self.deadline)
            .await
            .map_err(|error| rejected(format!("{FAILED}.internal_error"), chain(&error)))?;
        self.conclude(leaf, extra, authorities, &fetched, errand)
            .map_err(|error| rejected(format!("{FAILED}.{}", error.code()), chain(&error)))?;
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST_KEPT {
            answers.clear(); // more peers than any country has: start again
        }
        answers.extend(needed.iter().map(Certificate::sha256).zip(fetched));
        Ok(())
    }

    /// Judges and remembers.
    fn conclude(
        &self,
        leaf: &Certificate,
        extra: &[Certificate],
        authorities: &Authorities,
        answers: &[OcspResponse],
        errand: &Errand,
    ) -> Result<(), CertError> {
        let snapshot = &errand.snapshot;
        let policy = Policy::new(snapshot.ocsp_freshness(), snapshot.verify_next_update());
        let verified = verify_with_ocsp(leaf, extra, authorities, answers, errand.now, policy)?;
        let mut chain = vec![leaf.clone()];
        chain.extend_from_slice(extra);
        let verdict = Verdict {
            content: *snapshot.content_id(),
            chain,
            from: errand.now,
            until: verified.valid_until(),
        };
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if verdicts.len() >= MOST_KEPT {
            verdicts.clear();
        }
        verdicts.insert(
            (errand.provider.instance().to_owned(), leaf.sha256()),
            verdict,
        );
        Ok(())
    }

    fn known(&self, certificates: &[Certificate]) -> Option<Vec<OcspResponse>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        certificates
            .iter()
            .map(|certificate| answers.get(&certificate.sha256()).cloned())
            .collect()
    }
}

/// Whose OCSP answers are needed: the leaf's, and those of intermediates that are not approved themselves (an approved one is the
/// anchor, `message-path.md` 5.5).
fn needed(
    leaf: &Certificate,
    extra: &[Certificate],
    authorities: &Authorities,
) -> Vec<Certificate> {
    let approved = |certificate: &&Certificate| {
        !authorities
            .all()
            .iter()
            .any(|ca| ca.certificate == **certificate)
    };
    std::iter::once(leaf)
        .chain(extra.iter().filter(approved))
        .cloned()
        .collect()
}

const FAILED: &str = "ssl_authentication_failed";
const MOST_KEPT: usize = 4096;
