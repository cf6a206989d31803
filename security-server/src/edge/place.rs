//! Places for messages under way: so many, and a bounded wait for one, in the order of coming.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// The places of one side. Who waits has a connection, and of those there is a bounded number.
#[derive(Clone, Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    most: usize,
    wait: Duration,
}

/// A place of a message, free again when the last clone is dropped: it stands in the request's extensions, and is held
/// until the message came to its end.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// There was no place for a message in time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "this server is busy: {most} messages are under way, and none of them ended within {seconds} s; send this one again later"
)]
pub(crate) struct NoPlace {
    /// How many messages may be under way.
    most: usize,
    /// How long this one waited.
    seconds: u64,
}

impl Room {
    pub(super) fn new(most: usize, wait: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            most,
            wait,
        }
    }

    /// Waits for a place.
    ///
    /// Cancel safe: who stops waiting leaves the queue.
    pub(super) async fn enter(&self) -> Result<Place, NoPlace> {
        let places = Arc::clone(&self.places);
        match timeout(self.wait, places.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place {
                _permit: Arc::new(permit),
            }),
            Ok(Err(_)) | Err(_) => Err(NoPlace {
                most: self.most,
                seconds: self.wait.as_secs(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{NoPlace, Room};

    #[tokio::test(start_paused = true)]
    async fn who_comes_late_waits_and_is_told_when_it_was_too_long() {
        let room = Room::new(2, Duration::from_secs(30));
        let (one, two) = (room.enter().await.unwrap(), room.enter().await.unwrap());
        let waiting = tokio::spawn({
            let room = room.clone();
            async move { room.enter().await.is_ok() }
        });
        tokio::time::sleep(Duration::from_secs(29)).await;
        let other_end = one.clone();
        drop(one);
        assert!(!waiting.is_finished(), "the message is not over yet");
        drop(other_end);
        assert!(waiting.await.unwrap());
        drop(two);
        let _held = (room.enter().await.unwrap(), room.enter().await.unwrap());
        let error = NoPlace {
            most: 2,
            seconds: 30,
        };
        assert_eq!(room.enter().await.unwrap_err(), error);
        assert!(error.to_string().contains("2 messages"));
    }
}
