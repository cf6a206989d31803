//! Randomness comes from outside, so that tests own it.

use std::fmt::Debug;

use uuid::Uuid;

/// A source of unpredictable bytes.
pub trait Random: Send + Sync + Debug {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// Returns a version 4 UUID.
    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// The operating system's randomness, by way of the crypto library.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        #[expect(
            clippy::expect_used,
            reason = "the library fails only when the kernel gives no randomness, and then nothing may be signed"
        )]
        aws_lc_rs::rand::fill(bytes).expect("the operating system gives randomness");
    }
}
