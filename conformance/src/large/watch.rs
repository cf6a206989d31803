//! A server's memory and open files while something goes on.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

use super::Cost;

/// Looks at a process until it is ended.
#[derive(Debug)]
pub(super) struct Watch {
    done: Arc<AtomicBool>,
    looking: JoinHandle<Cost>,
}

impl Watch {
    /// Starts to look at a process that may have files open in `dir` only.
    pub(super) fn start(server: &str, id: u32, dir: &Path) -> Self {
        // Without this the peak is that of its whole life, which is only worse for it.
        let reset = File::options()
            .write(true)
            .open(format!("/proc/{id}/clear_refs"))
            .and_then(|mut file| file.write_all(b"5"));
        drop(reset);
        let before_kib = kib(id, "VmRSS:");
        let done = Arc::new(AtomicBool::new(false));
        let (server, dir, stop) = (server.to_owned(), dir.to_path_buf(), Arc::clone(&done));
        let looking = tokio::spawn(async move {
            let mut strange_files = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                for path in open_files(id) {
                    let name = path.display().to_string();
                    if !path.starts_with(&dir) && !strange_files.contains(&name) {
                        strange_files.push(name);
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
            Cost {
                server,
                before_kib,
                peak_kib: kib(id, "VmHWM:"),
                strange_files,
            }
        });
        Self { done, looking }
    }

    /// Ends it; returns what was seen.
    pub(super) async fn end(self) -> Cost {
        self.done.store(true, Ordering::Relaxed);
        #[expect(clippy::expect_used, reason = "looking does not panic")]
        self.looking.await.expect("looking ends")
    }
}

fn kib(id: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Regular files that a process has open, but for what it was started with.
fn open_files(id: u32) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{id}/fd")) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|path| {
            path.is_absolute() && !path.starts_with("/dev") && !path.starts_with("/proc")
        })
        .collect()
}

const LOOK: Duration = Duration::from_millis(100);
