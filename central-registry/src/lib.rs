//! The central registry: the source of truth for the members, servers and trusted services of one instance.
//!
//! State is a declarative file ([`config`]). Every minute the registry reads it, renders the configuration in versions 3 to 6
//! ([`publish`]), signs it ([`directory`], [`keys`]) and serves it over plain HTTP ([`app`]), as an X-Road central server does.
//! A wrong file is refused with line and reason, and what was published before stays in force.

pub mod app;
pub mod config;
pub mod directory;
pub mod keys;
pub mod publish;

mod api;
mod history;
mod raw;
mod status;

pub use app::{Bound, Handle, OpenError, Registry};
pub use config::{Config, ConfigError};
pub use status::{KeyStatus, PartnerStatus, Status};
