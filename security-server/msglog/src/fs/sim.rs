//! A file system in memory (follows).
