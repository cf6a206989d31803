//! A certification authority with an intermediate, an OCSP responder and a time-stamping authority for tests and demos, with
//! switches that make them late, rude or wrong.
//!
//! What it issues satisfies X-Road's own servers: authentication certificates with clientAuth and serverAuth, signing certificates
//! with nonRepudiation, a delegated OCSP responder for each of the two CAs that echoes the CertIDs it was asked about, and
//! a time-stamping certificate with the critical purpose that OpenSSL demands. Its keys lie in its directory unencrypted: it is for
//! play, never for a country.

#![warn(missing_docs)]

mod authority;
mod faults;
mod ocsp;
mod serve;
mod store;
mod subject;
mod tsa;

pub use authority::{DevPki, PkiError, Usage, Validity};
pub use faults::{Call, Fault, Faults, Service, UnknownFault};
pub use serve::serve;
pub use store::StoreError;
pub use subject::{Subject, SubjectError};
