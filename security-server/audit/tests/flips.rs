//! One flipped bit anywhere in a real container's file, judged as X-Road's verifier judges it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may panic, their helpers too"
)]

use jibek_audit::read_configuration;
use jibek_evidence::{
    container::{Container, ContainerLimits},
    verify::{Outcome, verify_container},
};
use std::path::{Path, PathBuf};

/// Offsets in `asic/valid-batch-ts.asice`, mostly in headers, descriptors and the directory, each with the bits whose flip X-Road's
/// verifier (7.8.1) passes over. It refused every other flip of these bytes.
#[rustfmt::skip]
const ACCEPTED: &[(usize, u8)] = &[
    (0, 0x00), (4, 0xff), (8, 0x00), (12, 0xff), (16, 0xff), (20, 0xff), (24, 0xff), (28, 0x00),
    (32, 0x00), (80, 0x00), (84, 0x00), (88, 0x00), (92, 0x00), (96, 0x00), (100, 0xff), (104, 0x00),
    (108, 0xff), (112, 0xff), (116, 0xff), (120, 0xff), (124, 0x00), (128, 0x00), (200, 0x00), (580, 0x00),
    (584, 0x00), (588, 0x00), (592, 0x00), (596, 0x00), (600, 0xf6), (604, 0xff), (608, 0xff), (612, 0xff),
    (616, 0xff), (620, 0x00), (624, 0x00), (976, 0x00), (1364, 0x00), (1752, 0x00), (2140, 0x00), (2528, 0x00),
    (2916, 0x00), (3304, 0x00), (3692, 0x00), (4080, 0x00), (4468, 0x00), (4856, 0x00), (5244, 0x00), (5296, 0x00),
    (5300, 0x00), (5304, 0x00), (5308, 0x00), (5312, 0x00), (5316, 0xff), (5320, 0x00), (5324, 0xff), (5328, 0xff),
    (5332, 0xff), (5336, 0xff), (5340, 0x00), (5344, 0x00), (5632, 0x00), (5664, 0x00), (5668, 0x00), (5672, 0x00),
    (5676, 0x00), (5680, 0x00), (5684, 0xf6), (5688, 0xff), (5692, 0xff), (5696, 0xff), (5700, 0xff), (5704, 0x00),
    (5708, 0x00), (6020, 0x00), (6156, 0x00), (6160, 0x00), (6164, 0x00), (6168, 0x00), (6172, 0x00), (6176, 0xff),
    (6180, 0x00), (6184, 0xff), (6188, 0xff), (6192, 0xff), (6196, 0xff), (6200, 0x00), (6204, 0x7f), (6408, 0x00),
    (6444, 0x00), (6448, 0x00), (6452, 0x00), (6456, 0x00), (6460, 0x00), (6464, 0xff), (6468, 0xff), (6472, 0xff),
    (6476, 0xff), (6480, 0xff), (6484, 0x00), (6488, 0x7f), (6796, 0x00), (6872, 0x00), (6876, 0x00), (6880, 0x00),
    (6884, 0x00), (6888, 0x00), (6892, 0xff), (6896, 0x00), (6900, 0xff), (6904, 0xff), (6908, 0xff), (6912, 0xff),
    (6916, 0x00), (6920, 0x00), (7184, 0x00), (7572, 0x00), (7960, 0x00), (8348, 0x00), (8736, 0x00), (9100, 0xff),
    (9104, 0xff), (9108, 0xff), (9112, 0xff), (9116, 0xff), (9120, 0xff), (9124, 0xff), (9128, 0xff), (9132, 0xff),
    (9136, 0xff), (9140, 0xff), (9144, 0xff), (9148, 0xff), (9152, 0xff), (9156, 0xff), (9160, 0xff), (9164, 0xff),
    (9168, 0xff), (9172, 0xff), (9176, 0xff), (9180, 0xff), (9184, 0xff), (9188, 0xff), (9192, 0xff), (9196, 0xff),
    (9200, 0xff), (9204, 0xff), (9208, 0xff), (9212, 0xff), (9216, 0xff), (9220, 0xff), (9248, 0xff), (9276, 0xff),
    (9304, 0xff), (9332, 0xff), (9360, 0xff), (9388, 0xff), (9416, 0xff), (9444, 0xff), (9472, 0xff), (9500, 0xff),
    (9528, 0xff), (9556, 0xff), (9584, 0xff), (9612, 0xff), (9640, 0xff), (9668, 0xff), (9688, 0xff), (9692, 0xff),
    (9696, 0xff), (9700, 0xff), (9704, 0xff), (9708, 0xff), (9712, 0xff), (9716, 0xff), (9720, 0xff), (9724, 0xff),
    (9728, 0xff), (9732, 0xff), (9736, 0xff), (9740, 0xff), (9744, 0xff), (9748, 0xff),
];

#[test]
fn flipped_bits_of_a_file_fare_as_with_x_roads_verifier() {
    let root = std::env::var_os("JIBEK_XROAD_FIXTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/xroad"),
        PathBuf::from,
    );
    if !root.is_dir() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "no fixtures at {}",
            root.display()
        );
        println!("SKIPPED flipped_bits_of_a_file_fare_as_with_x_roads_verifier: fixtures absent");
        return;
    }
    let trust = read_configuration(&root.join("globalconf/globalconf_good2_v3")).unwrap();
    let file = std::fs::read(root.join("asic/valid-batch-ts.asice")).unwrap();
    let judged = |file: &[u8]| match Container::read(file, &ContainerLimits::default()) {
        Ok(container) => verify_container(&container, &trust).outcome,
        Err(error) => Outcome::Invalid {
            code: error.code().to_owned(),
            reason: error.to_string(),
        },
    };
    assert!(matches!(judged(&file), Outcome::Valid(_)));
    for (offset, accepted) in ACCEPTED {
        for bit in 0..8 {
            let mut flipped = file.clone();
            flipped[*offset] ^= 1 << bit;
            let judged = judged(&flipped);
            assert_eq!(
                matches!(judged, Outcome::Valid(_)),
                accepted & 1 << bit != 0,
                "byte {offset} bit {bit}: {judged:?}"
            );
        }
    }
    println!("VECTORS fixtures {} tried, 0 left out", ACCEPTED.len() * 8);
}
