//! What strangers send and what breaks around us: each gets a clear fault, nothing is acted on or recorded, and the next
//! exchange works.

#![expect(clippy::unwrap_used, reason = "a test fails there")]
#![expect(clippy::panic, reason = "a test fails there")]

mod certificates;
mod connections;
mod consumers;
mod forge;
mod liar;
mod lost;
mod messages;
mod providers;
mod scene;
mod services;
mod signatures;
mod slow;
mod soap;
