//! Proof that the rest works: the World harness, the sandbox, the suite.

pub mod agencies;
