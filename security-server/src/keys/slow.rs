//! A signing key that takes its time, as one in a slow device does. For development.

use std::{sync::Arc, time::Duration};

use jibek_certs::{SignatureAlgorithm, Signer, signer::SignError};

/// Signs with another key, and no faster than one signature in so long.
#[derive(Debug)]
pub(super) struct SlowSigner {
    pub(super) key: Arc<dyn Signer>,
    pub(super) takes: Duration,
}

impl Signer for SlowSigner {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "whoever signs expects a token to block (`Signer`), and this one does"
    )]
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        std::thread::sleep(self.takes);
        self.key.sign(message)
    }

    fn public_key_spki(&self) -> Vec<u8> {
        self.key.public_key_spki()
    }
}
