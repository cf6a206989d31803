//! Conversions between number widths, in one place so that no cast hides elsewhere.

/// A length in memory as a length on disk.
pub(crate) fn wide(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// A length on disk as a length in memory; too large a one saturates and is refused by the allocation's own check.
pub(crate) fn narrow(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A length as it stands in a frame. Callers bound it by [`crate::segment::MAX_PAYLOAD`] before.
pub(crate) fn short(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
