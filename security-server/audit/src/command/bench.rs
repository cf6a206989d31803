//! How fast the judging is, next to what this machine could do at most.

use anyhow::Context;
use jibek_certs::{
    signer::{KeyKind, SignatureAlgorithm, Signer, SoftKey, verify_spki_der},
    time::{Clock, SystemClock},
};
use std::thread;
use time::OffsetDateTime;

/// The judging so far.
#[derive(Debug)]
pub(super) struct Bench {
    started: OffsetDateTime,
}

impl Bench {
    pub(super) fn start() -> Self {
        let started = SystemClock.now();
        Self { started }
    }

    /// One line: containers a second and core, and RSA-2048 verifications a second of one core alone.
    pub(super) fn finish(&self, containers: u64, jobs: usize) -> anyhow::Result<String> {
        let seconds = (SystemClock.now() - self.started).as_seconds_f64();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let used = if jobs == 0 { cores } else { jobs.min(cores) };
        let rate = rate(containers, seconds);
        let each = rate / f64::from(u32::try_from(used).unwrap_or(u32::MAX));
        Ok(format!(
            "{containers} containers in {seconds:.2} s on {used} cores: {rate:.0} a second, {each:.0} a second and core; one core verifies {:.0} RSA-2048 signatures a second",
            verifications()?
        ))
    }
}

fn verifications() -> anyhow::Result<f64> {
    let key = SoftKey::generate(KeyKind::Rsa2048).context("no key for the comparison")?;
    let algorithm = SignatureAlgorithm::RsaPkcs1Sha512;
    let value = key.sign_with(algorithm, MESSAGE)?;
    let started = SystemClock.now();
    for _ in 0..ROUNDS {
        verify_spki_der(&key.public_key_spki(), algorithm, MESSAGE, &value)?;
    }
    let seconds = (SystemClock.now() - started).as_seconds_f64();
    Ok(rate(ROUNDS, seconds))
}

fn rate(count: u64, seconds: f64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds.max(1e-9)
}

const MESSAGE: &[u8] = b"as long as a SignedInfo would be once it has been digested";
const ROUNDS: u64 = 20_000;
