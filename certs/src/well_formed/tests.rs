use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| u8::try_from(digit).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// Written out by the rules of X.690; `openssl asn1parse` reads the first list.
#[test]
fn elements_are_told_from_what_is_none() {
    for good in [
        "05 00",
        "30 00",
        "30 03 01 01 00",
        "02 01 00",
        "02 02 00 80",
        "03 01 00",
        "03 02 07 80",
        "06 03 2a 03 04",
        "04 81 01 61",
        "30 80 05 00 00 00",
        "24 80 04 01 61 04 01 62 00 00",
        "a0 02 05 00",
        "80 03 ff ff ff",
        "9f 1f 00",
        "17 02 32 36",
        "1e 02 00 61",
    ] {
        assert_eq!(well_formed(&hex(good)), Ok(()), "{good}");
    }
    for bad in [
        "",
        "05",
        "05 01 00",
        "05 00 00",
        "30 03 01 01",
        "30 02 05 01",
        "30 02 00 00",
        "00 00",
        "02 00",
        "02 02 00 7f",
        "02 02 ff 80",
        "01 02 00 00",
        "03 00",
        "03 02 08 00",
        "03 01 01",
        "06 00",
        "06 02 2a 80",
        "06 03 2a 80 01",
        "04 80 61 00 00",
        "04 85 00 00 00 00 01 61",
        "04 ff 61",
        "30 80 05 00",
        "24 03 02 01 00",
        "23 80 04 01 61 00 00",
        "2c 02 0c 00",
        "0e 01 30",
        "10 00",
        "11 00",
        "08 00",
        "9f 80 1f 00",
        "9f 1e 00",
        "17 01 32",
        "18 04 32 30 32 3a",
        "1e 01 61",
    ] {
        assert!(well_formed(&hex(bad)).is_err(), "{bad}");
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = |depth: usize| {
        let mut ber = [0x30, 0x80].repeat(depth);
        ber.extend(vec![0; depth * 2]);
        ber
    };
    assert_eq!(well_formed(&deep(MAX_DEPTH)), Ok(()));
    let error = well_formed(&deep(1_000_000)).unwrap_err();
    assert_eq!(error.why, "nested too deep");
}
