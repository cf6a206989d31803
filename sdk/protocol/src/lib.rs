//! Identifiers, headers, messages and faults of the X-Road 7 protocols.
