//! `jibek-server` with places at which it can be made to fail (`jibek_msglog::points`). For tests only.

use std::process::ExitCode;

#[path = "../main.rs"]
mod server;

fn main() -> ExitCode {
    server::main()
}
