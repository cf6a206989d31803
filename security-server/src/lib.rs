//! The security server: signs, time-stamps and logs messages between information systems.
//!
//! # Life of a message
//!
//! One rule orders everything: nothing is acted on before it is on disk, and nothing is on disk before it is
//! understood enough to be named.
//!
//! * Consumer side (`consumer`): `identify → resolve → connect → seal → record → release → open → record → answer`.
//! * Provider side (`provider`): `identify → authorize → open → record → dispatch → seal → record → release`.
//!
//! Each step is one file, one error, one type that the next step demands. The signature travels last: bodies are
//! relayed while they are hashed and spooled, and nobody may act on a message before its signature has come.

pub mod admin;
pub mod app;
pub mod archiver;
pub mod asic;
pub mod body;
pub mod certificates;
pub mod cli;
pub mod clients;
pub mod conf_watch;
pub mod config;
pub mod drain;
pub mod keys;
pub mod metrics;
pub mod ocsp;
pub mod outbound;
pub mod peers;
pub mod random;
pub mod services;
pub mod store;
pub mod timestamper;
pub mod tls;

mod chunks;
mod consumer;
mod context;
mod edge;
mod exchange;
mod fault;
mod message;
mod provider;
mod readiness;
mod recording;
mod sealer;
mod spool;
mod stall;
#[cfg(test)]
mod testing;
mod transport;
