//! The message log: append-only segments, group commit, recovery.
