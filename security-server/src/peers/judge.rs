//! Whether the other end of a connection may answer for a provider (`message-path.md` 5.4, 5.5).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jibek_certs::{
    Certificate,
    ocsp::{CertError, OcspResponse},
    trust::Trust,
};

use super::{ConnectError, link::Errand};
use crate::{
    certificates::{Certificates, Question},
    config::PeerSettings,
    ocsp::fetch_from_peer,
    outbound::chain,
};

/// Judges peers' certificates with their OCSP answers, which are kept until others take their place.
#[derive(Debug)]
pub(super) struct Judge {
    port: u16,
    deadline: Duration,
    certificates: Arc<Certificates>,
    answers: Mutex<HashMap<[u8; 32], OcspResponse>>,
    fetching: Mutex<HashMap<[u8; 32], Arc<tokio::sync::Mutex<()>>>>,
}

impl Judge {
    pub(super) fn new(settings: &PeerSettings, certificates: Arc<Certificates>) -> Self {
        Self {
            port: settings.ocsp_port,
            deadline: settings.ocsp_timeout,
            certificates,
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
        let question = Question {
            leaf,
            extra,
            instance,
            authorities,
            anchor: None,
            responses: &[],
        };
        self.verify(host, question, errand).await?;
        errand
            .snapshot
            .auth_cert_serves(leaf, &errand.provider)
            .map(|_| ())
            .map_err(|error| rejected(FAILED, error.to_string()))
    }

    /// Chain and OCSP: with the answers at hand, else with new ones. One question to a peer at a time for each certificate.
    async fn verify(
        &self,
        host: &str,
        question: Question<'_>,
        errand: &Errand,
    ) -> Result<(), ConnectError> {
        let hash = question.leaf.sha256();
        let needed = needed(&question);
        if self.holds(&needed, question, errand) {
            return Ok(());
        }
        let gate = {
            let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(fetching.entry(hash).or_default())
        };
        let turn = gate.lock().await;
        let result = if self.holds(&needed, question, errand) {
            Ok(()) // somebody before us in the queue has got it
        } else {
            self.fetch(host, &needed, question, errand).await
        };
        drop(turn);
        self.fetching
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&hash);
        result
    }

    /// Whether the answers at hand are all, and good.
    fn holds(&self, needed: &[Certificate], question: Question<'_>, errand: &Errand) -> bool {
        self.known(needed)
            .is_some_and(|known| self.conclude(question, &known, errand).is_ok())
    }

    async fn fetch(
        &self,
        host: &str,
        needed: &[Certificate],
        question: Question<'_>,
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
        self.conclude(question, &fetched, errand)
            .map_err(|error| rejected(format!("{FAILED}.{}", error.code()), chain(&error)))?;
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST_KEPT {
            answers.clear(); // more peers than any country has: start again
        }
        answers.extend(needed.iter().map(Certificate::sha256).zip(fetched));
        Ok(())
    }

    fn conclude(
        &self,
        question: Question<'_>,
        responses: &[OcspResponse],
        errand: &Errand,
    ) -> Result<(), CertError> {
        let question = Question {
            responses,
            ..question
        };
        self.certificates
            .judge(&question, &errand.snapshot, errand.now)
            .map(drop)
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
fn needed(question: &Question<'_>) -> Vec<Certificate> {
    let approved = |certificate: &&Certificate| {
        !question
            .authorities
            .all()
            .iter()
            .any(|ca| ca.certificate == **certificate)
    };
    std::iter::once(question.leaf)
        .chain(question.extra.iter().filter(approved))
        .cloned()
        .collect()
}

const FAILED: &str = "ssl_authentication_failed";
const MOST_KEPT: usize = 4096;
