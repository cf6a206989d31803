//! Values that are read when somebody scrapes, not counted as they change.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// One value read at the moment of a scrape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample {
    /// A whole number, for counters.
    Count(u64),
    /// Any number, for gauges.
    Value(f64),
}

impl From<f64> for Sample {
    fn from(value: f64) -> Self {
        Self::Value(value)
    }
}

impl From<u64> for Sample {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

/// A family with one member, read by a function at every scrape; left out while the function has no value.
pub struct Sampled {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    kind: Kind,
    read: Box<dyn Fn() -> Option<Sample> + Send + Sync>,
}

impl Sampled {
    /// Makes a value that goes up and down. The name goes without prefix and unit.
    pub fn gauge(
        name: &'static str,
        help: &'static str,
        unit: Option<Unit>,
        read: impl Fn() -> Option<Sample> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            help,
            unit,
            kind: Kind::Gauge,
            read: Box::new(read),
        }
    }

    /// Makes a value that only goes up. The name goes without prefix, unit and `_total`.
    pub fn counter(
        name: &'static str,
        help: &'static str,
        unit: Option<Unit>,
        read: impl Fn() -> Option<Sample> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            help,
            unit,
            kind: Kind::Counter,
            read: Box::new(read),
        }
    }
}

impl Collector for Sampled {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(sample) = (self.read)() else {
            return Ok(());
        };
        match (self.kind, sample) {
            (Kind::Counter, Sample::Count(count)) => {
                let metric = ConstCounter::new(count);
                metric.encode(encoder.encode_descriptor(
                    self.name,
                    self.help,
                    self.unit.as_ref(),
                    metric.metric_type(),
                )?)
            }
            (Kind::Counter, Sample::Value(value)) => {
                let metric = ConstCounter::new(value);
                metric.encode(encoder.encode_descriptor(
                    self.name,
                    self.help,
                    self.unit.as_ref(),
                    metric.metric_type(),
                )?)
            }
            (Kind::Gauge, sample) => {
                let value = match sample {
                    Sample::Count(count) => count as f64,
                    Sample::Value(value) => value,
                };
                let metric = ConstGauge::new(value);
                metric.encode(encoder.encode_descriptor(
                    self.name,
                    self.help,
                    self.unit.as_ref(),
                    metric.metric_type(),
                )?)
            }
        }
    }
}

impl fmt::Debug for Sampled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Sampled")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Counter,
    Gauge,
}
