//! Sends a spool file chunk by chunk.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tempfile::SpooledTempFile;
use tokio::task;

/// Streams the file from its start; returns the stream and its length.
pub(super) fn stream(
    mut file: SpooledTempFile,
) -> io::Result<(impl Stream<Item = io::Result<Bytes>> + Send + 'static, u64)> {
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let chunks = stream::try_unfold(file, |mut file| async move {
        let (file, chunk) = if file.is_rolled() {
            task::spawn_blocking(move || read_chunk(&mut file).map(|chunk| (file, chunk)))
                .await
                .map_err(io::Error::other)??
        } else {
            let chunk = read_chunk(&mut file)?;
            (file, chunk)
        };
        Ok(if chunk.is_empty() {
            None
        } else {
            Some((chunk, file))
        })
    });
    Ok((chunks, length))
}

fn read_chunk(file: &mut SpooledTempFile) -> io::Result<Bytes> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut filled = 0;
    while let Some(rest) = chunk.get_mut(filled..)
        && !rest.is_empty()
    {
        match file.read(rest)? {
            0 => break,
            count => filled += count,
        }
    }
    chunk.truncate(filled);
    Ok(Bytes::from(chunk))
}

const CHUNK_BYTES: usize = 64 * 1024;
