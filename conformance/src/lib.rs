//! Proof that the rest works: a country to run tests in, the sandbox, the suite.

pub mod agencies;
pub mod asic;
pub mod bench;
pub mod cases;
pub mod country;
pub mod demo;
pub mod disk;
pub mod envelope;
pub mod http;
pub mod large;
pub mod load;
pub mod peer;
pub mod process_world;
pub mod processes;
pub mod proof;
pub mod scale;
pub mod system;
pub mod torture;
pub mod world;
