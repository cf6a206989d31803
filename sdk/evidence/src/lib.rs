//! Sealing, opening and proving messages.
