//! How far long work is, on the terminal of whoever waits while the results go elsewhere.

use jibek_certs::time::{Clock, SystemClock};
use std::io::{self, IsTerminal, Write};
use time::{Duration, OffsetDateTime};

/// Tells on stderr how many were judged, if that is a terminal and stdout is not.
#[derive(Debug)]
pub(super) struct Progress {
    wanted: bool,
    started: OffsetDateTime,
    shown: Option<OffsetDateTime>,
}

impl Progress {
    pub(super) fn start() -> Self {
        Self {
            wanted: io::stderr().is_terminal() && !io::stdout().is_terminal(),
            started: SystemClock.now(),
            shown: None,
        }
    }

    /// Shows how many there were, a few times a second, once it has taken a second.
    pub(super) fn show(&mut self, judged: u64) {
        if !self.wanted {
            return;
        }
        let now = SystemClock.now();
        if now - self.shown.unwrap_or(self.started) < self.pause() {
            return;
        }
        self.shown = Some(now);
        // whoever closed our terminal does not want to know
        let _ = write!(io::stderr(), "\r\u{1b}[K{judged} judged");
    }

    /// Takes the line away.
    pub(super) fn end(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }

    fn pause(&self) -> Duration {
        match self.shown {
            None => Duration::SECOND,
            Some(_) => Duration::milliseconds(200),
        }
    }
}
