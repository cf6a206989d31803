//! A whole country on one machine: certification, registry, security servers, agencies.
//!
//! [`Plan`] says who there is, [`Prepared`] is that plan as files with which each program could run as a process of
//! its own, [`Running`] is all of it in this process. The sandbox and the tests' world are made of these.

mod plan;
mod prepare;
mod running;

pub use plan::{
    Allow, Net, Plan, PlannedClient, PlannedMember, PlannedServer, PlannedService, Timing,
};
pub use prepare::{PIN, PrepareError, Prepared};
pub use running::{Running, RunningServer, StartError, Surroundings};
