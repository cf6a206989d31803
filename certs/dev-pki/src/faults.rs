//! What the services do wrong on purpose, and what they were asked.

use std::{
    collections::VecDeque,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use time::OffsetDateTime;

/// One of the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// The OCSP responder.
    Ocsp,
    /// The time-stamping authority.
    Tsa,
}

/// What a service does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Its clock is ahead by so much: thisUpdate, genTime.
    Ahead(Duration),
    /// It closes the connection without an answer.
    CloseConnection,
    /// It answers after so much (real) time.
    Delay(Duration),
    /// It answers 200 with bytes that are no answer.
    Garbage,
    /// It keeps its answer until its switch is turned, and is well then.
    Hold,
    /// It answers HTTP status 500.
    Refuse,
    /// OCSP: every certificate is revoked. TSA: it rejects.
    Revoked,
    /// Its answer is so old: thisUpdate, genTime.
    Stale(Duration),
    /// OCSP: every certificate is unknown. TSA: it rejects.
    Unknown,
    /// The signature is all zeros.
    Unsigned,
    /// OCSP: the answer is about another certificate. TSA: it is signed by a stranger's certificate.
    WrongCertificate,
    /// TSA: the answer is over another digest. OCSP: as [`Fault::WrongCertificate`].
    WrongImprint,
}

impl Fault {
    /// What the service takes for the time.
    pub(crate) fn shift(self, now: OffsetDateTime) -> OffsetDateTime {
        let long = |duration| time::Duration::try_from(duration).unwrap_or(time::Duration::MAX);
        match self {
            Self::Ahead(by) => now.saturating_add(long(by)),
            Self::Stale(age) => now.saturating_sub(long(age)),
            _ => now,
        }
    }
}

/// A text names no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown fault {0:?}: none, ahead:SECONDS, close, delay:MILLISECONDS, garbage, hold, refuse, revoked, stale:SECONDS, unknown, \
     unsigned, wrong-certificate, wrong-imprint"
)]
pub struct UnknownFault(String);

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownFault(text.to_owned());
        let (name, number) = text
            .split_once(':')
            .map_or((text, None), |(name, number)| (name, Some(number)));
        let number = number
            .map(str::parse::<u64>)
            .transpose()
            .map_err(|_| unknown())?;
        match (name, number) {
            ("none", None) => Ok(Self::None),
            ("ahead", Some(seconds)) => Ok(Self::Ahead(Duration::from_secs(seconds))),
            ("close", None) => Ok(Self::CloseConnection),
            ("delay", Some(millis)) => Ok(Self::Delay(Duration::from_millis(millis))),
            ("garbage", None) => Ok(Self::Garbage),
            ("hold", None) => Ok(Self::Hold),
            ("refuse", None) => Ok(Self::Refuse),
            ("revoked", None) => Ok(Self::Revoked),
            ("stale", Some(seconds)) => Ok(Self::Stale(Duration::from_secs(seconds))),
            ("unknown", None) => Ok(Self::Unknown),
            ("unsigned", None) => Ok(Self::Unsigned),
            ("wrong-certificate", None) => Ok(Self::WrongCertificate),
            ("wrong-imprint", None) => Ok(Self::WrongImprint),
            _ => Err(unknown()),
        }
    }
}

/// One request that a service got.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// Which service.
    pub service: Service,
    /// When, by the services' clock.
    pub at: OffsetDateTime,
    /// The request's body.
    pub request: Vec<u8>,
    /// What was wrong with the answer.
    pub fault: Fault,
}

/// The switches of a running authority and the list of its calls. Shared; may be turned while it serves.
#[derive(Debug, Default)]
pub struct Faults {
    state: Mutex<State>,
    turned: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct State {
    ocsp: Fault,
    tsa: Fault,
    calls: VecDeque<Call>,
}

impl Faults {
    /// All well.
    pub fn new() -> Self {
        Self::default()
    }

    /// Turns a service's switch.
    pub fn set(&self, service: Service, fault: Fault) {
        let mut state = self.lock();
        match service {
            Service::Ocsp => state.ocsp = fault,
            Service::Tsa => state.tsa = fault,
        }
        drop(state);
        self.turned.notify_waiters();
    }

    /// Waits until a service's switch is not on [`Fault::Hold`].
    pub(crate) async fn let_go(&self, service: Service) {
        loop {
            let turned = self.turned.notified();
            tokio::pin!(turned);
            turned.as_mut().enable();
            if self.get(service) != Fault::Hold {
                return;
            }
            turned.await;
        }
    }

    /// Turns the OCSP responder's switch.
    pub fn set_ocsp(&self, fault: Fault) {
        self.set(Service::Ocsp, fault);
    }

    /// Turns the time-stamping authority's switch.
    pub fn set_tsa(&self, fault: Fault) {
        self.set(Service::Tsa, fault);
    }

    /// How a service's switch stands.
    pub fn get(&self, service: Service) -> Fault {
        let state = self.lock();
        match service {
            Service::Ocsp => state.ocsp,
            Service::Tsa => state.tsa,
        }
    }

    /// The latest calls, oldest first, at most 10 000.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.iter().cloned().collect()
    }

    /// How many of the latest calls a service got.
    pub fn count(&self, service: Service) -> usize {
        self.lock()
            .calls
            .iter()
            .filter(|call| call.service == service)
            .count()
    }

    /// Notes a call and tells what to do wrong.
    pub(crate) fn record(&self, service: Service, at: OffsetDateTime, request: &[u8]) -> Fault {
        let mut state = self.lock();
        let fault = match service {
            Service::Ocsp => state.ocsp,
            Service::Tsa => state.tsa,
        };
        if state.calls.len() >= MOST_CALLS {
            state.calls.pop_front();
        }
        state.calls.push_back(Call {
            service,
            at,
            request: request.to_vec(),
            fault,
        });
        fault
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MOST_CALLS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read() {
        assert_eq!(
            "delay:250".parse(),
            Ok(Fault::Delay(Duration::from_millis(250)))
        );
        assert_eq!(
            "stale:7200".parse(),
            Ok(Fault::Stale(Duration::from_secs(7200)))
        );
        assert_eq!("wrong-imprint".parse(), Ok(Fault::WrongImprint));
        for bad in ["", "delay", "delay:x", "refuse:1", "Refuse"] {
            assert!(bad.parse::<Fault>().is_err(), "{bad}");
        }
    }
}
