//! CA, OCSP responder and TSA for tests and demos.
