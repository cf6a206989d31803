//! The program `jibek-registry` as an operator runs it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic and say what it skips"
)]

#[path = "common/world.rs"]
mod world;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use world::{World, base};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_jibek-registry"))
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let world = World::new("p256");
    let check = || {
        program()
            .args(["check", "--config"])
            .arg(world.config())
            .output()
            .unwrap()
    };
    let output = check();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.contains("instance KG, 1 members, 1 servers"),
        "{text}"
    );
    assert!(
        !world.folder.path().join("state").exists(),
        "checking makes nothing"
    );
    world.write(&base("p256").replace("tsa.pem", "missing.pem"));
    let output = check();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("registry.toml, line 17: ") && text.contains("missing.pem"),
        "{text}"
    );
}

#[tokio::test]
async fn serve_publishes_until_it_is_told_to_stop() {
    let world = World::new("p256");
    let mut child = program()
        .args(["serve", "--config"])
        .arg(world.config())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let mut words = line.split_whitespace().skip(2);
    let (url, hash) = (words.next().unwrap(), words.next().unwrap());
    let (status, anchor) = world::get(url).await;
    assert_eq!(status, 200);
    let anchor = jibek_conf::Anchor::parse(anchor).unwrap();
    assert_eq!(anchor.hash(), hash);
    let directory = anchor.sources().first().unwrap().url.clone() + "?version=6";
    assert_eq!(world::get(&directory).await.0, 200);
    let killed = Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(killed.success());
    assert!(child.wait().unwrap().success(), "SIGTERM ends it in order");
}
