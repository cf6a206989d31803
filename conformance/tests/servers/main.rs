//! Running servers, told by topic. One program, because linking it takes longer than most of its tests.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it met by failing"
)]

mod answers;
mod hop;
mod peers;
mod periods;
mod providers;
mod refusals;
mod support;
