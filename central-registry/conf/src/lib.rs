//! The global configuration: reading, verifying, fetching.
