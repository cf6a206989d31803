//! How much memory bodies under way may take, all together.
//!
//! Nobody waits for it: who gets none goes on through the disk, so that a message which holds memory always comes to its
//! end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is left for bodies.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<Left>);

#[derive(Debug)]
struct Left {
    bytes: AtomicUsize,
    most: usize,
}

/// Memory that is taken, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    memory: Memory,
    taken: usize,
}

impl Memory {
    /// So many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Left {
            bytes: AtomicUsize::new(most),
            most,
        }))
    }

    /// Room for nothing yet.
    pub(crate) fn room(&self) -> Room {
        Room {
            memory: self.clone(),
            taken: 0,
        }
    }

    /// Bytes taken now.
    pub(crate) fn taken(&self) -> usize {
        let left = self.0.bytes.load(Ordering::Relaxed);
        self.0.most.saturating_sub(left)
    }
}

impl Room {
    /// Takes more, or says no.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        let left = &self.memory.0.bytes;
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        if taken.is_ok() {
            self.taken = self.taken.saturating_add(bytes);
        }
        taken.is_ok()
    }

    /// Gives all of it back.
    pub(crate) fn give_back(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.memory.0.bytes.fetch_add(taken, Ordering::Relaxed);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn what_is_taken_comes_back() {
        let memory = Memory::new(100);
        let (mut one, mut two) = (memory.room(), memory.room());
        assert!(one.take(60) && two.take(40) && !two.take(1));
        assert_eq!(memory.taken(), 100);
        one.give_back();
        assert!(two.take(60) && !one.take(1));
        drop(two);
        assert_eq!(memory.taken(), 0);
    }
}
