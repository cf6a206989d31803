//! Bits that flip and segments that go missing, on copies of the logs: each must be told, and nothing wrong served.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use jibek_certs::{DigestAlgorithm, digest::digest};
use jibek_msglog::{LogReader, RecordId, fs::OsFs, fsck};

use super::{Chance, Failure, table::Table};

/// Damages a copy of each log in turn.
///
/// # Errors
///
/// When a damaged record is served as if it were whole, or damage is not told.
pub fn on_copies(dirs: &[PathBuf], chance: &mut Chance, table: &mut Table) -> Result<(), Failure> {
    for dir in dirs {
        let copy = tempfile::tempdir()?;
        copy_dir(dir, copy.path())?;
        let whole = contents(copy.path())?;
        if whole.values().any(Result::is_err) {
            return Err(format!("a copy of {} does not read", dir.display()).into());
        }
        for _ in 0..FLIPS {
            flip(copy.path(), &whole, chance, table)?;
        }
        lose_segment(copy.path(), &whole, chance)?;
        table.add("segment gone (copy)", 0);
    }
    Ok(())
}

/// One bit in one file; put back afterwards.
fn flip(
    copy: &Path,
    whole: &Contents,
    chance: &mut Chance,
    table: &mut Table,
) -> Result<(), Failure> {
    let files = files(copy)?;
    let path = files
        .get(chance.below(files.len()))
        .ok_or("the log has no file")?;
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len())?;
    let (offset, bit) = (
        u64::try_from(chance.below(length))?,
        u32::try_from(chance.below(8))?,
    );
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    let flipped = byte.map(|it| it ^ 1_u8.rotate_left(bit));
    file.write_all_at(&flipped, offset)?;

    let place = format!("bit {bit} of byte {offset} of {}", path.display());
    let clean = is_clean(copy);
    let harm = compare(whole, &contents(copy)?).map_err(|why| format!("{place}: {why}"))?;
    if harm > 0 && clean {
        return Err(format!("{place}: {harm} records do not read, and fsck is content").into());
    }
    table.add(
        match (clean, harm) {
            (true, _) => "bit flip where nothing is (copy)",
            (false, 0) => "bit flip told, nothing lost (copy)",
            (false, _) => "bit flip told (copy)",
        },
        0,
    );
    file.write_all_at(&byte, offset)?;
    Ok(())
}

fn lose_segment(copy: &Path, whole: &Contents, chance: &mut Chance) -> Result<(), Failure> {
    let mut segments: Vec<_> = files(copy)?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|it| it == "segment"))
        .collect();
    segments.sort();
    if segments.len() < 3 {
        return Err(format!("{} segments are too few to lose one", segments.len()).into());
    }
    let inner = segments
        .get(1 + chance.below(segments.len() - 2))
        .ok_or("there is no such segment")?;
    std::fs::remove_file(inner)?;
    if is_clean(copy) {
        return Err(format!("{} is gone, and fsck is content", inner.display()).into());
    }
    let left = contents(copy)?;
    compare(whole, &left)?;
    if left.len() >= whole.len() || left.is_empty() {
        let (left, whole) = (left.len(), whole.len());
        return Err(format!("{left} of {whole} records without a segment").into());
    }
    Ok(())
}

fn is_clean(dir: &Path) -> bool {
    fsck(dir, OsFs::shared().as_ref()).is_ok_and(|report| report.is_clean())
}

/// What each record is: a digest over everything in it, or why it cannot be read.
type Contents = BTreeMap<RecordId, Result<Vec<u8>, String>>;

fn contents(dir: &Path) -> Result<Contents, Failure> {
    // A log that does not open refuses each record.
    let Ok((log, _)) = LogReader::open(dir, OsFs::shared()) else {
        return Ok(Contents::new());
    };
    let mut contents = Contents::new();
    for id in log.ids() {
        // A list that breaks off has told so.
        let Ok(id) = id else { break };
        contents.insert(id, record(&log, id));
    }
    Ok(contents)
}

fn record(log: &LogReader, id: RecordId) -> Result<Vec<u8>, String> {
    let record = log.read(id).map_err(|error| error.to_string())?;
    let record = record.ok_or("it is listed and not there")?;
    let mut all = format!("{:?}{:?}{:?}", record.head, record.parts, record.stamp).into_bytes();
    for body in &record.bodies {
        let source = log
            .body(id, body.index)
            .map_err(|error| error.to_string())?
            .ok_or("its body is not there")?;
        all.extend_from_slice(&body.sha512);
        source
            .into_reader()
            .read_to_end(&mut all)
            .map_err(|error| error.to_string())?;
    }
    Ok(digest(DigestAlgorithm::Sha512, &all).as_bytes().to_vec())
}

/// Counts records that are refused or not listed now; one that reads must read as it was.
fn compare(whole: &Contents, now: &Contents) -> Result<usize, String> {
    let mut harm = 0;
    for (id, before) in whole {
        match now.get(id) {
            Some(Ok(bytes)) if Ok(bytes) == before.as_ref() => {}
            Some(Ok(_)) => return Err(format!("record {id} is served, and is not what it was")),
            Some(Err(_)) | None => harm += 1,
        }
    }
    match now.keys().find(|id| !whole.contains_key(id)) {
        Some(id) => Err(format!("record {id} is served, and never was")),
        None => Ok(harm),
    }
}

fn files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for dir in [dir.to_owned(), dir.join("bodies")] {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.metadata()?.len() > 0 && entry.file_type()?.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to.join("bodies"))?;
    for path in files(from)? {
        let Ok(name) = path.strip_prefix(from) else {
            continue;
        };
        std::fs::copy(&path, to.join(name))?;
    }
    Ok(())
}

/// Bits flipped in each log.
const FLIPS: usize = 12;
