//! What a message costs, counted where it is paid: private-key operations, verified signature values, handshakes.

use std::{fmt, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::{Metrics, WayLabel};

/// The families of this page.
pub(super) struct Counts {
    signatures: Counter<u64, AtomicU64>,
    sealed: Counter<u64, AtomicU64>,
    tree: Histogram,
    verifications: Family<VerificationLabels, Counter>,
    handshakes: Family<HandshakeLabels, Counter>,
}

impl Counts {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counts = Self {
            signatures: Counter::default(),
            sealed: Counter::default(),
            tree: Histogram::new(exponential_buckets(1.0, 2.0, TREE_BUCKETS)),
            verifications: Family::default(),
            handshakes: Family::default(),
        };
        registry.register(
            "signatures",
            "Private-key operations that signed messages",
            counts.signatures.clone(),
        );
        registry.register(
            "sealed_messages",
            "Messages signed, many of them by one private-key operation",
            counts.sealed.clone(),
        );
        registry.register(
            "hash_tree_messages",
            "Messages that shared one signature",
            counts.tree.clone(),
        );
        registry.register(
            "verifications",
            "Signature values of received messages found right, by computing or by having been computed before",
            counts.verifications.clone(),
        );
        registry.register(
            "handshakes",
            "TLS handshakes with other servers that succeeded",
            counts.handshakes.clone(),
        );
        counts
    }
}

impl Metrics {
    /// Counts one private-key operation that signed `messages`.
    pub fn signature(&self, messages: usize) {
        let counts = &self.inner.counts;
        counts.signatures.inc();
        counts
            .sealed
            .inc_by(u64::try_from(messages).unwrap_or(u64::MAX));
        counts
            .tree
            .observe(f64::from(u32::try_from(messages).unwrap_or(u32::MAX)));
    }

    /// Counts a message whose signature value was found right: `remembered` when it had been computed before, for another message
    /// of the batch.
    pub fn verification(&self, remembered: bool) {
        let result = if remembered {
            ResultLabel::Remembered
        } else {
            ResultLabel::Computed
        };
        self.inner
            .counts
            .verifications
            .get_or_create(&VerificationLabels { result })
            .inc();
    }

    /// Counts a TLS handshake with another server that succeeded.
    pub fn handshake(&self, way: WayLabel, resumed: bool) {
        let resumed = if resumed {
            ResumedLabel::True
        } else {
            ResumedLabel::False
        };
        self.inner
            .counts
            .handshakes
            .get_or_create(&HandshakeLabels { way, resumed })
            .inc();
    }
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum ResultLabel {
    Computed,
    Remembered,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum ResumedLabel {
    False,
    True,
}

super::written! {
    ResultLabel { Computed: "computed", Remembered: "remembered" }
    ResumedLabel { False: "false", True: "true" }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct VerificationLabels {
    result: ResultLabel,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct HandshakeLabels {
    way: WayLabel,
    resumed: ResumedLabel,
}

/// 1 to 1024, the most messages of a batch, doubling.
const TREE_BUCKETS: u16 = 11;
