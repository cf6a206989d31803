//! The bench: what a bus between two agencies costs, next to the same calls made without it, and next to what the machine
//! could do at most. Every message of a run is proved afterwards by the auditor's program.
//!
//! The story is in [`run`]; what is measured in [`plan`], how in [`load`], what comes of it in [`report`].

pub mod bars;
pub mod costs;
pub mod counts;
pub mod evidence;
pub mod floor;
pub mod load;
pub mod measure;
pub mod plan;
pub mod plots;
pub mod provider;
pub mod report;
pub mod run;
pub mod servers;
pub mod svg;
pub mod tls;
pub mod wire;
pub mod yardsticks;
