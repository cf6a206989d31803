//! A Bloom filter in blocks of 64 bytes: a lookup reads one block.

use crate::num::wide;

/// Bytes of a block.
pub(crate) const BLOCK_BYTES: usize = 64;
/// Bits set for a key.
const PROBES: u32 = 6;
/// Bits of filter per key: about one wrong yes in a hundred.
const BITS_PER_KEY: u64 = 10;

/// Builds the filter over `keys`, which are hashes already.
pub(crate) fn build(keys: impl ExactSizeIterator<Item = u64>) -> Vec<u8> {
    let bits = wide(keys.len()).saturating_mul(BITS_PER_KEY);
    let blocks = bits.div_ceil(512).max(1);
    let mut filter = vec![0; crate::num::narrow(blocks).saturating_mul(BLOCK_BYTES)];
    for key in keys {
        let start = crate::num::narrow(block_of(key, blocks)).saturating_mul(BLOCK_BYTES);
        let block = filter
            .get_mut(start..start.saturating_add(BLOCK_BYTES))
            .unwrap_or_default();
        for (byte, bit) in probes(key) {
            if let Some(place) = block.get_mut(byte) {
                *place |= bit;
            }
        }
    }
    filter
}

/// Which of `blocks` blocks holds the bits of `key`.
pub(crate) fn block_of(key: u64, blocks: u64) -> u64 {
    (key >> 32) % blocks.max(1)
}

/// Whether `key` may be among those that the filter was built over.
pub(crate) fn may_hold(block: &[u8], key: u64) -> bool {
    probes(key).all(|(byte, bit)| block.get(byte).is_some_and(|it| it & bit != 0))
}

fn probes(key: u64) -> impl Iterator<Item = (usize, u8)> {
    let spread = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..PROBES).map(move |probe| {
        let bit = (spread >> (probe * 9)) & 511;
        (crate::num::narrow(bit / 8), 1 << (bit % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_BYTES, block_of, build, may_hold};
    use crate::index::hash_text;

    #[test]
    fn holds_what_was_put_in_and_little_else() {
        let key = |it: u32| hash_text(&format!("message-{it}"));
        let filter = build((0..5_000_u32).map(key).collect::<Vec<_>>().into_iter());
        let blocks = u64::try_from(filter.len() / BLOCK_BYTES).unwrap();
        let asked = |key| {
            let start = usize::try_from(block_of(key, blocks)).unwrap() * BLOCK_BYTES;
            may_hold(&filter[start..start + BLOCK_BYTES], key)
        };
        assert!((0..5_000).all(|it| asked(key(it))));
        let wrong = (5_000..15_000).filter(|it| asked(key(*it))).count();
        assert!(wrong < 300, "{wrong} of 10000 wrong answers");
    }
}
