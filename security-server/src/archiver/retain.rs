//! Old records leave the log, with the segment in which they stand.

use std::{sync::Arc, time::Duration};

use tokio::task;

use super::{ArchiveError, Archiver, log_error, millis};

impl Archiver {
    /// Removes the oldest segments whose records are all old enough, and stamped, and archived unless the operator does
    /// without. A quiet log ends its segment when it spans long enough, so that it can leave.
    pub(super) async fn let_leave(self: &Arc<Self>) -> Result<(), ArchiveError> {
        let Some(keep) = self.settings.keep else {
            return Ok(());
        };
        if self.settings.directory.is_none() && !self.settings.remove_unarchived {
            return Ok(());
        }
        let now = millis(self.clock.now());
        let span = milliseconds((keep / SPANS).max(SHORTEST_SPAN));
        if self
            .log
            .active_since_ms()
            .is_some_and(|since| since <= now.saturating_sub(span))
        {
            self.log.seal().await.map_err(log_error)?;
        }
        let archiver = Arc::clone(self);
        let oldest = now.saturating_sub(milliseconds(keep));
        let removed = task::spawn_blocking(move || archiver.remove_older(oldest, now));
        removed.await.unwrap_or(Err(ArchiveError::Stopped))
    }

    fn remove_older(&self, oldest: i64, now: i64) -> Result<(), ArchiveError> {
        let mut guard = self.progress();
        let progress = match self.settings.directory {
            Some(_) => Some(&self.open(&mut guard)?.progress),
            None => None,
        };
        let mut through = None;
        let mut before = self.log.starts_at().get();
        for segment in self.log.sealed_segments() {
            let last = segment.last.get();
            let is_archived = match progress {
                Some(progress) => {
                    last <= progress.archived
                        && progress
                            .unreadable
                            .range(before..=last.max(before))
                            .next()
                            .is_none()
                }
                None => self.settings.remove_unarchived,
            };
            // A clock that was ahead once must not keep a segment for years.
            let is_ahead = segment.newest_ms > now.saturating_add(milliseconds(SHORTEST_SPAN));
            let newest = if is_ahead {
                segment.oldest_ms
            } else {
                segment.newest_ms
            };
            if !is_archived || newest > oldest {
                break;
            }
            through = Some(segment.number);
            before = last.saturating_add(1);
        }
        drop(guard);
        let Some(through) = through else {
            return Ok(());
        };
        let retired = self.log.retire(through).map_err(log_error)?;
        let mut status = self.status_mut();
        status.removed = status.removed.saturating_add(retired.records);
        tracing::info!(
            records = retired.records,
            segments = retired.segments,
            "old records left the log"
        );
        Ok(())
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A segment spans at most this part of the time that records are kept.
const SPANS: u32 = 30;
const SHORTEST_SPAN: Duration = Duration::from_secs(86_400);
