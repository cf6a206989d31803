//! X.509 chains, OCSP and RFC 3161 for Jibek.
