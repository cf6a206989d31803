//! Single costs of this machine, measured on the spot: what nobody who signs, verifies, hashes, encrypts and syncs can do without.

use std::{fs::File, io::Write as _, path::Path, time::Duration};

use anyhow::Context as _;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA512, digest},
};
use jibek_certs::{
    KeyKind, SoftKey,
    signer::{SignatureAlgorithm, Signer as _, verify_spki_der},
};
use serde::Serialize;
use tokio::time::Instant;

/// One core's costs, and the disk's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Costs {
    /// One signature, in microseconds.
    pub sign_us: f64,
    /// One verification, in microseconds.
    pub verify_us: f64,
    /// SHA-512, in bytes a microsecond.
    pub sha512_bytes_per_us: f64,
    /// AES-256-GCM one way, in bytes a microsecond.
    pub aes_gcm_bytes_per_us: f64,
    /// One append of 8 KB with `fdatasync`, in microseconds: what one in ten takes at most, so that waiting for a core that others
    /// use does not count.
    pub append_us: f64,
}

/// Measures all of them for a kind of key; appends go to a file in `dir`, where the logs are. Takes half a second.
///
/// # Errors
///
/// When a key cannot be made or a file not be written.
pub fn measure(kind: KeyKind, dir: &Path) -> anyhow::Result<Costs> {
    let key = SoftKey::generate(kind).context("no key for the costs")?;
    let algorithm = key.algorithm();
    let signature = key.sign(MESSAGE).context("no signature for the costs")?;
    let spki = key.public_key_spki();
    let sign_us = per_call(|| key.sign(MESSAGE).is_ok())?;
    let verify_us = verification(&spki, algorithm, &signature)?;
    let megabyte = vec![7_u8; 1 << 20];
    let hashed = per_call(|| digest(&SHA512, &megabyte).as_ref().len() == 64)?;
    let cipher = LessSafeKey::new(
        UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(|_| anyhow::anyhow!("no AES key"))?,
    );
    let mut record = vec![7_u8; 16 << 10];
    let encrypted = per_call(|| {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]); // nothing of this is ever sent
        cipher
            .seal_in_place_separate_tag(nonce, Aad::empty(), &mut record)
            .is_ok()
    })?;
    Ok(Costs {
        sign_us,
        verify_us,
        sha512_bytes_per_us: f64::from(1_u32 << 20) / hashed,
        aes_gcm_bytes_per_us: f64::from(16_u32 << 10) / encrypted,
        append_us: append(dir)?,
    })
}

/// Microseconds of one RSA-2048 verification on one core.
///
/// # Errors
///
/// When no key can be made.
pub fn rsa_2048_verification_us() -> anyhow::Result<f64> {
    let key = SoftKey::generate(KeyKind::Rsa2048).context("no key for the comparison")?;
    let signature = key
        .sign(MESSAGE)
        .context("no signature for the comparison")?;
    verification(&key.public_key_spki(), key.algorithm(), &signature)
}

fn verification(
    spki: &[u8],
    algorithm: SignatureAlgorithm,
    signature: &[u8],
) -> anyhow::Result<f64> {
    per_call(|| verify_spki_der_or_raw(spki, algorithm, signature))
}

/// ECDSA values of our own signatures are `r‖s`.
fn verify_spki_der_or_raw(spki: &[u8], algorithm: SignatureAlgorithm, signature: &[u8]) -> bool {
    if algorithm.is_ecdsa() {
        jibek_certs::signer::verify_spki(spki, algorithm, MESSAGE, signature).is_ok()
    } else {
        verify_spki_der(spki, algorithm, MESSAGE, signature).is_ok()
    }
}

/// Microseconds of an append of 8 KB with `fdatasync`, the fastest tenth of a hundred, to a file that has its room already, as the
/// log's segments have.
///
/// # Errors
///
/// When the file cannot be written.
pub fn append(dir: &Path) -> anyhow::Result<f64> {
    let path = dir.join("append");
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let block = [7_u8; 8 << 10];
    for _ in 0..APPENDS {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let mut file = File::options().write(true).open(&path)?;
    let mut times = Vec::new();
    for _ in 0..APPENDS {
        let begun = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(&path)?;
    times.sort_by(f64::total_cmp);
    Ok(times.get(times.len() / 10).copied().unwrap_or(0.0))
}

/// Microseconds of a call: the least mean of many short rounds, so that neighbours on the machine count little.
fn per_call(mut call: impl FnMut() -> bool) -> anyhow::Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let mut calls = 0_u32;
        while begun.elapsed() < ROUND {
            anyhow::ensure!(call(), "the library refuses to do what is measured");
            calls += 1;
        }
        let each = begun.elapsed().as_secs_f64() * 1e6 / f64::from(calls.max(1));
        least = least.min(each);
    }
    Ok(least)
}

const MESSAGE: &[u8] = b"as long as a SignedInfo would be once it has been digested";
const APPENDS: u32 = 101;
const ROUNDS: u32 = 50;
const ROUND: Duration = Duration::from_millis(2);
