//! Every fault that the harness knows to make, by the name of its place.

/// A fault at a place of a server, for `JIBEK_FAULT` (`jibek_msglog::points`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The place.
    pub place: &'static str,
    /// What happens there.
    pub action: &'static str,
    /// How often a server under load comes there.
    pub pace: Pace,
    /// A fault that must come first, so that the place is reached.
    pub after: Option<&'static str>,
}

/// How often a server under load comes to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Every message or batch; which of them, chance decides.
    Often,
    /// Once in a while: a segment ends, a stamp is due.
    Seldom,
    /// While the server starts.
    Starting,
}

impl Fault {
    const fn new(place: &'static str, action: &'static str, pace: Pace) -> Self {
        Self {
            place,
            action,
            pace,
            after: None,
        }
    }

    /// Whether the process ends by it.
    #[must_use]
    pub fn ends(&self) -> bool {
        !matches!(self.action, "io" | "full")
    }

    /// As the table calls it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.place, self.action)
    }

    /// The value of `JIBEK_FAULT` for the `pass`th time.
    #[must_use]
    pub fn plan(&self, pass: u64) -> String {
        let Self { place, action, .. } = self;
        match self.after {
            Some(first) => format!("{first}@{pass},{place}={action}"),
            None => format!("{place}={action}@{pass}"),
        }
    }

    /// The one server that comes there, if not both do: 0 the consumer's, 1 the provider's.
    #[must_use]
    pub fn server(&self) -> Option<usize> {
        match self.place.split_once(':')?.0 {
            "consumer" => Some(0),
            "provider" => Some(1),
            _ => None,
        }
    }
}

use Pace::{Often, Seldom, Starting};

/// All of them.
pub const FAULTS: &[Fault] = &[
    // The steps of a message.
    Fault::new("consumer:before-record", "kill", Often),
    Fault::new("consumer:before-release", "kill", Often),
    Fault::new("consumer:after-release", "kill", Often),
    Fault::new("consumer:before-record-answer", "kill", Often),
    Fault::new("consumer:before-answer", "kill", Often),
    Fault::new("provider:before-record", "kill", Often),
    Fault::new("provider:before-dispatch", "kill", Often),
    Fault::new("provider:after-dispatch", "kill", Often),
    Fault::new("provider:before-record-answer", "kill", Often),
    Fault::new("provider:before-release", "kill", Often),
    Fault::new("provider:after-release", "kill", Often),
    // A batch of commits.
    Fault::new("write:segment", "kill", Often),
    Fault::new("write:segment", "kill-after", Often),
    Fault::new("write:segment", "torn", Often),
    Fault::new("write:segment", "io", Often),
    Fault::new("write:segment", "full", Often),
    Fault::new("sync:Batch", "kill", Often),
    Fault::new("sync:Batch", "kill-after", Often),
    Fault::new("sync:Batch", "io", Often),
    Fault {
        after: Some("write:segment=io"),
        ..Fault::new("sync:RepairedTail", "kill", Often)
    },
    Fault {
        after: Some("sync:Batch=io"),
        ..Fault::new("sync:RepairedTail", "io", Often)
    },
    // A body with a file of its own.
    Fault::new("create:body", "kill", Often),
    Fault::new("create:body", "full", Often),
    Fault::new("reserve:body", "full", Often),
    Fault::new("write:body", "kill", Often),
    Fault::new("write:body", "torn", Often),
    Fault::new("write:body", "io", Often),
    Fault::new("write:body", "full", Often),
    Fault::new("sync:BodyData", "kill", Often),
    Fault::new("sync:BodyData", "io", Often),
    Fault::new("sync:BodyDir", "kill", Often),
    Fault::new("sync:BodyDir", "io", Often),
    Fault::new("remove:body", "kill", Seldom),
    // One segment ends, the next begins.
    Fault::new("sync:SegmentSeal", "kill", Seldom),
    Fault::new("sync:SegmentSeal", "kill-after", Seldom),
    Fault::new("sync:SegmentSeal", "io", Seldom),
    Fault::new("end:segment", "kill", Seldom),
    Fault::new("create:segment", "kill", Seldom),
    Fault::new("create:segment", "full", Seldom),
    Fault::new("reserve:segment", "kill", Seldom),
    Fault::new("reserve:segment", "full", Seldom),
    Fault::new("write:header", "torn", Seldom),
    Fault::new("write:header", "io", Seldom),
    Fault::new("sync:SegmentHeader", "kill", Seldom),
    Fault::new("sync:SegmentDir", "kill", Seldom),
    Fault::new("sync:SegmentDir", "kill-after", Seldom),
    Fault::new("sync:SegmentDir", "io", Seldom),
    // Its index.
    Fault::new("create:index", "kill", Seldom),
    Fault::new("write:index", "torn", Seldom),
    Fault::new("write:index", "full", Seldom),
    Fault::new("sync:IndexData", "kill", Seldom),
    Fault::new("sync:IndexData", "io", Seldom),
    Fault::new("rename:index", "kill", Seldom),
    Fault::new("rename:index", "kill-after", Seldom),
    // Stamps.
    Fault::new("stamp:before-ask", "kill", Seldom),
    Fault::new("stamp:before-record", "kill", Seldom),
    Fault::new("stamp:after-record", "kill", Seldom),
    // Recovery.
    Fault::new("sync:RecoveredDir", "kill", Starting),
    Fault::new("end:segment", "kill", Starting),
    Fault::new("write:segment", "torn", Starting),
    Fault::new("sync:RecoveredTail", "kill", Starting),
    Fault::new("sync:RecoveredTail", "kill-after", Starting),
];
