//! The clock of a server jumps, forth and back, while it is under load.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jibek_conf::files::atomic_write;

use super::{
    Chance, Failure,
    country::{Country, Started},
    load::Load,
};
use crate::http::eventually;

/// Starts each server under `libfaketime` and lets its clock jump: by minutes, through which service goes on; and by so
/// much that certificates and configuration are not valid any more or not yet, after which it goes on by itself.
/// `None` when `libfaketime` is not installed; else what was done.
///
/// # Errors
///
/// When service does not go on.
pub async fn jump(
    country: &mut Country,
    load: &Load,
    chance: &mut Chance,
) -> Result<Option<Vec<String>>, Failure> {
    let Some(library) = library() else {
        return Ok(None);
    };
    let library = library.display().to_string();
    let mut done = Vec::new();
    for victim in [0, 1] {
        let file = country.dir().join(format!("clock-{victim}"));
        let path = file.display().to_string();
        set(&file, "+0")?;
        country.kill(victim)?;
        country.fsck(victim).await?;
        let environment = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", path.as_str()),
            ("FAKETIME_NO_CACHE", "1"),
            // Real clocks jump; the one that timers run on never does.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        match country.start_server(victim, &environment).await? {
            Started::Ready => {}
            Started::Ended(status) => {
                return Err(format!("under libfaketime server {victim} ended: {status}").into());
            }
        }
        let seconds = 30 + chance.below(200);
        for (jump, serves) in [
            (format!("+{seconds}"), true),
            (format!("-{seconds}"), true),
            ("+2h".to_owned(), false),
            ("-2h".to_owned(), false),
            ("+400d".to_owned(), false),
            ("-400d".to_owned(), false),
        ] {
            let (before, refused) = (load.count(), load.refused());
            set(&file, &jump)?;
            if serves {
                load.reaches(before + ENOUGH).await?;
            } else {
                // Whether it serves or refuses is for certificates and configuration to say.
                eventually(PATIENCE, || {
                    let seen = load.refused() > refused + 5 || load.count() > before + ENOUGH;
                    std::future::ready(if seen { Ok(()) } else { Err("nothing happens") })
                })
                .await?;
                set(&file, "+0")?;
                load.reaches(load.count() + ENOUGH)
                    .await
                    .map_err(|why| format!("after a jump of server {victim} by {jump}: {why}"))?;
            }
            let name = if serves { "by minutes" } else { jump.as_str() };
            done.push(format!("clock jump {name}"));
        }
        set(&file, "+0")?;
        load.reaches(load.count() + ENOUGH).await?;
    }
    Ok(Some(done))
}

fn set(file: &Path, offset: &str) -> Result<(), jibek_conf::files::FilesError> {
    atomic_write(file, format!("{offset}\n").as_bytes())
}

/// Where distributions put it. The one for programs with threads first.
fn library() -> Option<PathBuf> {
    let mut dirs = vec![
        PathBuf::from("/usr/lib/faketime"),
        PathBuf::from("/usr/lib64/faketime"),
    ];
    for entry in std::fs::read_dir("/usr/lib").ok()?.flatten() {
        dirs.push(entry.path().join("faketime"));
    }
    let names = ["libfaketimeMT.so.1", "libfaketime.so.1"];
    let mut found = dirs
        .iter()
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .filter(|path| path.is_file());
    found.next()
}

const ENOUGH: usize = 12;
const PATIENCE: Duration = Duration::from_secs(60);
