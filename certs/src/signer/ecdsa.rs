//! The two forms of ECDSA values, and digests cut to a curve.

use aws_lc_rs::digest as lc;

use crate::digest::Digest;

/// `r‖s` as DER. Leading zeros do not count, as in X-Road's reading: `None` when the length is odd or zero, when a number is
/// longer than P-521's, or when there is much more padding than any writer uses.
pub fn ecdsa_raw_to_der(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.is_empty() || !raw.len().is_multiple_of(2) || raw.len() > LONGEST_RAW {
        return None;
    }
    let (r, s) = raw.split_at_checked(raw.len() / 2)?;
    let mut content = der_unsigned(r)?;
    content.extend(der_unsigned(s)?);
    let mut der = vec![0x30];
    der_length(&mut der, content.len())?;
    der.extend(content);
    Some(der)
}

/// DER as `r‖s`, each padded to `coordinate` bytes (32 for P-256). `None` when it is no DER pair or does not fit.
pub fn ecdsa_der_to_raw(der: &[u8], coordinate: usize) -> Option<Vec<u8>> {
    let (content, rest) = der_take(der, 0x30)?;
    let (r, after) = der_take(content, 0x02)?;
    let (s, end) = der_take(after, 0x02)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    let mut raw = Vec::with_capacity(coordinate.saturating_mul(2));
    for number in [r, s] {
        let number = strip_zeros(number);
        let padding = coordinate.checked_sub(number.len())?;
        raw.resize(raw.len().checked_add(padding)?, 0);
        raw.extend_from_slice(number);
    }
    Some(raw)
}

/// ECDSA takes the leftmost bits of a digest, as many as the curve's order has, as a number. So any digest can be given in the
/// length of the curve's own: cut on the right when it is longer, padded with zeros on the left when it is shorter.
pub(super) fn fit_digest(message: &Digest, natural: &'static lc::Algorithm) -> Option<lc::Digest> {
    let bytes = message.as_bytes();
    let length = natural.output_len();
    let mut fitted = vec![0; length.saturating_sub(bytes.len())];
    fitted.extend(bytes.iter().take(length));
    lc::Digest::import_less_safe(&fitted, natural).ok()
}

fn der_unsigned(number: &[u8]) -> Option<Vec<u8>> {
    let number = strip_zeros(number);
    if number.len() > LONGEST_NUMBER {
        return None;
    }
    let sign = number.first().is_none_or(|first| *first >= 0x80);
    let mut der = vec![0x02];
    der.push(u8::try_from(number.len().checked_add(usize::from(sign))?).ok()?);
    if sign {
        der.push(0);
    }
    der.extend_from_slice(number);
    Some(der)
}

fn der_length(out: &mut Vec<u8>, length: usize) -> Option<()> {
    let length = u8::try_from(length).ok()?;
    if length >= 0x80 {
        out.push(0x81);
    }
    out.push(length);
    Some(())
}

/// The content of the value that `input` begins with, and what follows. Lengths up to 255, enough for ECDSA values.
fn der_take(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = input.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (short, rest),
        0x81 => rest.split_first().map(|(length, rest)| (*length, rest))?,
        _ => return None,
    };
    if *found != tag {
        return None;
    }
    rest.split_at_checked(usize::from(length))
}

fn strip_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// P-521's.
const LONGEST_NUMBER: usize = 66;
/// Twice the longest pair: generous to writers that pad, and still nothing.
const LONGEST_RAW: usize = 4 * LONGEST_NUMBER;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ecdsa_values_survive_the_round_trip(raw in proptest::collection::vec(any::<u8>(), 64)) {
            let der = ecdsa_raw_to_der(&raw).unwrap();
            prop_assert_eq!(ecdsa_der_to_raw(&der, 32), Some(raw));
        }

        #[test]
        fn hostile_ecdsa_values_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ecdsa_der_to_raw(&bytes, 32);
            let _ = ecdsa_raw_to_der(&bytes);
        }
    }

    #[test]
    fn padding_does_not_change_a_value_and_size_is_bounded() {
        let short = ecdsa_raw_to_der(&[1, 2]).unwrap();
        assert_eq!(short, [0x30, 6, 2, 1, 1, 2, 1, 2]);
        assert_eq!(ecdsa_raw_to_der(&[0, 1, 0, 2]), Some(short));
        let mut padded = vec![0; 2 * LONGEST_NUMBER];
        padded[LONGEST_NUMBER - 1] = 9;
        padded[2 * LONGEST_NUMBER - 1] = 9;
        assert!(ecdsa_raw_to_der(&padded).is_some());
        let huge = vec![1; 2 * LONGEST_NUMBER + 2];
        for refused in [&[][..], &[1], &[1, 2, 3], &huge, &[0; LONGEST_RAW + 2]] {
            assert_eq!(ecdsa_raw_to_der(refused), None);
        }
    }
}
