//! One line of the log and one count for each message, whatever became of it.

use jibek_protocol::fault::Fault;
use tokio::time::Instant;

use crate::{
    context::Context,
    edge::Place,
    message::RequestMessage,
    metrics::{FlowLabel, InFlightGauge, KindLabel, Outcome, SideLabel},
    transport::PeerGone,
};

/// A message on its way through this server. Nothing of its content is kept or logged.
#[derive(Debug)]
pub(crate) struct Exchange {
    side: SideLabel,
    kind: KindLabel,
    started: Instant,
    message_id: String,
    client: String,
    service: String,
    _in_flight: InFlightGauge,
    /// Free for the next message when this one came to its end.
    _place: Option<Place>,
}

impl Exchange {
    /// Starts to measure.
    pub(crate) fn start(context: &Context, side: SideLabel) -> Self {
        Self {
            side,
            kind: KindLabel::Rest,
            started: Instant::now(),
            message_id: String::new(),
            client: String::new(),
            service: String::new(),
            _in_flight: context.metrics.in_flight(side),
            _place: None,
        }
    }

    /// Holds the place that a request came with.
    pub(crate) fn placed(mut self, extensions: &http::Extensions) -> Self {
        self._place = extensions.get().cloned();
        self
    }

    /// The message is understood enough to be named.
    pub(crate) fn names(&mut self, message: &RequestMessage) {
        self.kind = match message {
            RequestMessage::Rest(_) => KindLabel::Rest,
            RequestMessage::Soap(_) => KindLabel::Soap,
        };
        message.message_id().clone_into(&mut self.message_id);
        self.client = message.client().to_string();
        self.service = message.service().to_string();
    }

    /// The whole request is here; `bytes` is the length of its body.
    pub(crate) fn received(&self, context: &Context, bytes: u64) {
        context.metrics.bytes(self.side, FlowLabel::Received, bytes);
    }

    /// The answer went out; `bytes` is the length of its body.
    pub(crate) fn answered(&self, context: &Context, bytes: u64) {
        self.line("answered", "", bytes);
        context.metrics.bytes(self.side, FlowLabel::Sent, bytes);
        context
            .metrics
            .exchange(self.side, self.kind, &Outcome::Ok, self.seconds());
    }

    /// A fault went out. The words of a `foreign` one are not logged: a service's may name persons.
    pub(crate) fn refused(&self, context: &Context, fault: &Fault, foreign: bool) {
        tracing::warn!(
            side = self.side.as_str(),
            message_id = %self.message_id,
            client = %self.client,
            service = %self.service,
            code = %fault.code(),
            detail = fault.detail().unwrap_or_default(),
            reason = if foreign { "" } else { fault.message() },
            milliseconds = self.milliseconds(),
            "message refused"
        );
        context.metrics.exchange(
            self.side,
            self.kind,
            &Outcome::Fault(fault.code().as_str()),
            self.seconds(),
        );
    }

    /// The caller went away; what was recorded stays recorded.
    pub(crate) fn lost(&self, context: &Context, _: &PeerGone) {
        self.line("the caller went away", "", 0);
        context.metrics.exchange(
            self.side,
            self.kind,
            &Outcome::Fault("io_error"),
            self.seconds(),
        );
    }

    fn line(&self, outcome: &str, code: &str, bytes: u64) {
        tracing::info!(
            side = self.side.as_str(),
            message_id = %self.message_id,
            client = %self.client,
            service = %self.service,
            outcome,
            code,
            bytes,
            milliseconds = self.milliseconds(),
            "message"
        );
    }

    fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
