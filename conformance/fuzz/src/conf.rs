//! `jibek-conf`: anchors, directories, parts.

use jibek_certs::parse::Certificate;
use jibek_conf::{Anchor, part, verify};
use time::macros::datetime;

use crate::seeds;

pub fn anchor(data: &[u8]) {
    let _ = Anchor::parse(data.to_vec());
}

pub fn anchor_seeds() -> Vec<Vec<u8>> {
    [
        seeds::files("globalconf", &["anchor1.xml", "anchor2.xml"]),
        seeds::files("signed-directory", &["anchor_CS_internal.xml"]),
    ]
    .concat()
}

pub fn part(data: &[u8]) {
    for version in [2, 3, 4, 5, 6] {
        let _ = part::parse_shared(data, version);
    }
    let _ = part::parse_private(data);
    let _ = part::parse_monitoring(data);
    let _ = part::parse_fetch_interval(data);
    let _ = part::parse_next_update(data);
}

pub fn part_seeds() -> Vec<Vec<u8>> {
    seeds::files("globalconf", &["-params.xml"])
}

pub fn directory(data: &[u8]) {
    let _ = verify::read_signed(data);
    let none: [Certificate; 0] = [];
    assert!(verify::verify_directory(data, &none, datetime!(2024-12-05 08:00 UTC)).is_err());
}

pub fn directory_seeds() -> Vec<Vec<u8>> {
    seeds::files(
        "signed-directory",
        &[".txt", "internalconf", "externalconf"],
    )
}
