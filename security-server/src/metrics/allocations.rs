//! Allocations of the process, when the program was built to count them (feature `count-allocations`).
//!
//! Counting costs an atomic addition an allocation, which is why it is not always on: rates are measured without.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use super::{Metrics, Sample, Sampled, Unit};

/// The system's allocator, counting. In the library and not in `main.rs`, so that tests of counts have it too.
#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

impl Metrics {
    pub(super) fn register_allocations(&self) {
        let whole = |count: usize| Some(Sample::from(u64::try_from(count).unwrap_or(u64::MAX)));
        self.register_collector(Box::new(Sampled::counter(
            "allocations",
            "Times that memory was allocated, or allocated anew to grow",
            None,
            move || {
                let stats = COUNTING.stats();
                whole(stats.allocations.saturating_add(stats.reallocations))
            },
        )));
        self.register_collector(Box::new(Sampled::counter(
            "allocated",
            "Memory allocated, with what was given back since",
            Some(Unit::Bytes),
            move || {
                let stats = COUNTING.stats();
                whole(stats.bytes_allocated)
            },
        )));
    }
}
