//! The floor: what an exchange would take if there were nothing but its unavoidable costs, summed.

use serde::Serialize;

use super::{costs::Costs, counts::PerExchange};

/// What an exchange of a row is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// What the servers counted: signatures and verifications after batching, batches of the log.
    pub counts: PerExchange,
    /// Length of request and answer bodies together, in bytes.
    pub body_bytes: f64,
    /// Processor time of consumer and provider for one direct call over plain HTTP, in microseconds: one hop.
    pub hop_us: f64,
    /// Calls at once.
    pub at_once: usize,
    /// Cores of the machine.
    pub cores: usize,
}

/// The floor of a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Floor {
    /// Processor time an exchange, in microseconds.
    pub cpu_us: f64,
    /// Waiting for the disk an exchange, in microseconds.
    pub disk_us: f64,
    /// Exchanges a second: processor time spread over as many cores as there are calls to use them, and the disk's.
    pub rate: f64,
}

/// Sums: signatures and verifications as often as they were computed (that is, divided by the run's mean batch), SHA-512 of the
/// bodies at both servers, AES-GCM at both ends of the one TLS hop, three HTTP hops, one durable append a batch of either log.
#[must_use]
pub fn floor(costs: &Costs, work: &Work) -> Floor {
    let Work {
        counts,
        body_bytes,
        hop_us,
        at_once,
        cores,
    } = *work;
    let cpu_us = counts.signatures * costs.sign_us
        + counts.verifications * costs.verify_us
        + 2.0 * body_bytes / costs.sha512_bytes_per_us
        + 2.0 * body_bytes / costs.aes_gcm_bytes_per_us
        + HOPS * hop_us;
    let disk_us = counts.log_batches * costs.append_us;
    let width = u32::try_from(at_once.min(cores).max(1)).unwrap_or(1);
    let each = cpu_us / f64::from(width) + disk_us;
    Floor {
        cpu_us,
        disk_us,
        rate: 1e6 / each.max(1e-9),
    }
}

/// Consumer to its server, server to server, server to provider.
const HOPS: f64 = 3.0;

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs {
        sign_us: 250.0,
        verify_us: 16.0,
        sha512_bytes_per_us: 500.0,
        aes_gcm_bytes_per_us: 4000.0,
        append_us: 300.0,
    };

    fn work(signatures: f64, batches: f64, at_once: usize) -> Work {
        Work {
            counts: PerExchange {
                signatures,
                verifications: signatures,
                log_batches: batches,
                ..PerExchange::default()
            },
            body_bytes: 1000.0,
            hop_us: 30.0,
            at_once,
            cores: 2,
        }
    }

    #[test]
    fn alone_everything_is_waited_for_one_after_the_other() {
        let floor = floor(&COSTS, &work(2.0, 4.0, 1));
        // 2 × (250 + 16) + 2 × 1000 ÷ 500 + 2 × 1000 ÷ 4000 + 3 × 30
        assert!((floor.cpu_us - 626.5).abs() < 1e-6, "{floor:?}");
        assert!((floor.disk_us - 1200.0).abs() < 1e-6);
        assert!((floor.rate - 1e6 / 1826.5).abs() < 1e-6);
    }

    #[test]
    fn many_share_cores_and_batches() {
        let alone = floor(&COSTS, &work(2.0, 4.0, 1));
        let many = floor(&COSTS, &work(0.1, 0.2, 128));
        assert!((many.cpu_us - (26.6 + 4.5 + 90.0)).abs() < 1e-6, "{many:?}");
        assert!((many.rate - 1e6 / (121.1 / 2.0 + 60.0)).abs() < 1e-6);
        assert!(many.rate > 10.0 * alone.rate);
    }
}
