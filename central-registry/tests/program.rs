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

#[test]
fn keys_are_rolled_over_from_the_command_line() {
    let world = World::new("p256");
    let run = |arguments: &[&str]| {
        let output = program()
            .args(arguments)
            .arg("--config")
            .arg(world.config())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8(text).unwrap(),
        )
    };
    let (code, text) = run(&["keys", "list"]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("internal 1") && text.contains("signs, since never yet"),
        "{text}"
    );
    let (code, text) = run(&["keys", "add", "internal"]);
    assert!(
        code == 0 && text.contains("the internal key 2 is announced with the next publication"),
        "{text}"
    );
    let (code, text) = run(&["keys", "activate", "internal", "2"]);
    assert!(
        code == 1 && text.contains("servers may not know this key yet"),
        "{text}"
    );
    let (code, text) = run(&["keys", "remove", "internal", "1"]);
    assert!(
        code == 1 && text.contains("the internal key 1 signs; activate another one first"),
        "{text}"
    );
    let (code, text) = run(&["keys", "activate", "internal", "2", "--now"]);
    assert!(
        code == 0 && text.contains("the internal key 2 signs"),
        "{text}"
    );
    let (_, text) = run(&["keys", "export", "internal"]);
    assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2, "{text}");
    let (code, _) = run(&["keys", "remove", "internal", "1"]);
    assert_eq!(code, 0, "it never signed");
}

#[tokio::test]
async fn changes_are_told_in_words_between_times_of_the_history() {
    let world = World::new("p256");
    let registry = world.start().await;
    world.append(world::NEW_MEMBER);
    world.clock.advance(std::time::Duration::from_secs(3600));
    registry.handle.publish_now().await.unwrap();
    let anchor = world.folder.path().join("anchor.xml");
    jibek_conf::atomic_write(&anchor, registry.anchor.bytes()).unwrap();
    registry.finish().await;
    let diff = |a: &str, b: &str| {
        let output = program()
            .args(["diff", a, b, "--config"])
            .arg(world.config())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8(text).unwrap(),
        )
    };
    let (code, text) = diff("2026-11-23T05:59:59Z", "2026-11-23T06:00:00Z");
    let expected = "KG: member MEMBER:KG/GOV/2000 added\nKG: subsystem SUBSYSTEM:KG/GOV/2000/ownership added\n";
    assert_eq!((code, text.as_str()), (1, expected));
    assert_eq!(
        diff("2026-11-23T05:00:00Z", "2026-11-23T05:59:59Z"),
        (0, String::new())
    );
    let (code, text) = diff("2026-11-23T04:59:59Z", "2026-11-23T06:00:00Z");
    assert!(
        code == 2 && text.contains("the history begins at 2026-11-23 5:00"),
        "{text}"
    );
    let (code, text) = diff("yesterday", "2026-11-23T06:00:00Z");
    assert!(
        code == 2 && text.contains("neither a folder nor a time"),
        "{text}"
    );

    let output = program()
        .args(["anchor", "show"])
        .arg(&anchor)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("instance KG") && text.contains("/internalconf (1 keys)"),
        "{text}"
    );
}
