//! Once only: a signed request is executed once, however often and by whichever way it arrives; and connections between
//! servers that are lost lose no message.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests may panic and tell, their helpers too"
)]

#[path = "once/consumer.rs"]
mod consumer;
#[path = "once/provider.rs"]
mod provider;
#[path = "once/proxy.rs"]
mod proxy;
#[path = "once/torn.rs"]
mod torn;
