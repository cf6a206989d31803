//! What a server that must not act twice has to know after a start: the requests it recorded lately.

use std::collections::HashSet;

use crate::error::LogError;
use crate::index::{Entry, Filter};
use crate::read::{self, Located};
use crate::record::{Direction, RequestMark, Side};
use crate::store::Store;

/// Requests of the provider's side: those of the newest segments back to one that is wholly older than `since`
/// allows, and those whose answers are there. See [`MessageLog::recent_requests`](crate::MessageLog::recent_requests).
pub(crate) fn requests(
    store: &Store,
    since: impl Fn(i64) -> i64,
    limit: usize,
) -> Result<Vec<RequestMark>, LogError> {
    let numbers: Vec<u64> = store.state().segments.keys().rev().copied().collect();
    let mut marks = Vec::new();
    let mut from_ms = None;
    let (mut seen, mut answered) = (HashSet::new(), HashSet::new());
    for number in numbers {
        let entries = read::entries(store, number, &Filter::default())?;
        if let Some(newest) = entries.last() {
            from_ms.get_or_insert_with(|| since(newest.time_ms));
        }
        let recent = |entry: &Entry| from_ms.is_none_or(|from_ms| entry.time_ms >= from_ms);
        let old = !entries.is_empty() && !entries.iter().any(recent);
        if old && marks.len() >= LEAST {
            break;
        }
        for entry in entries.iter().rev() {
            let who = (entry.request, entry.client);
            match entry.way() {
                (Side::Provider, Direction::Response) => {
                    answered.insert(who);
                }
                (Side::Provider, Direction::Request) => {
                    seen.insert(who);
                    take(store, number, entry, &mut marks)?;
                }
                (Side::Consumer, _) => {}
            }
            if marks.len() >= limit {
                return Ok(marks);
            }
        }
    }
    // A call may take longer than what was looked at: its answer tells of it.
    for (request, client) in answered.difference(&seen) {
        let filter = Filter {
            request: Some(*request),
            client: Some(*client),
            direction: Some(Direction::Request),
            ..Filter::default()
        };
        let numbers: Vec<u64> = store.state().segments.keys().rev().copied().collect();
        for number in numbers {
            for entry in read::entries(store, number, &filter)? {
                if entry.way().0 == Side::Provider && marks.len() < limit {
                    take(store, number, &entry, &mut marks)?;
                }
            }
        }
    }
    Ok(marks)
}

/// Adds the mark of one request; one that is damaged has none.
fn take(
    store: &Store,
    number: u64,
    entry: &Entry,
    marks: &mut Vec<RequestMark>,
) -> Result<(), LogError> {
    let place = store.state().segments.get(&number).map(Located::of);
    let Some(place) = place else { return Ok(()) };
    match place.commit(store, entry) {
        Ok(commit) => {
            marks.push(RequestMark {
                client: commit.head.client,
                request_id: commit.head.request_id,
                message_sha512: commit.message_sha512,
                body_sha512: commit.bodies.iter().map(|body| body.sha512).collect(),
            });
            Ok(())
        }
        Err(LogError::Damaged { path, offset, .. }) => {
            tracing::warn!(
                path = %path.display(),
                offset,
                "a damaged request cannot be recognised if it comes again"
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// So many are taken whatever their times are: the clock may have jumped between two segments.
const LEAST: usize = 4096;
