//! One flipped bit in a real time-stamp token, judged as X-Road's verifier judges it.

#[path = "support/fixtures.rs"]
mod common;

use common::{certificates, evidence, fixtures};
use jibek_certs::{Certificate, tsp::TimestampToken};

/// Offsets in the token of `asic/valid-batch-ts.asice`, each with the bits whose flip X-Road's verifier (7.8.1) passes over: they stand
/// among the unsigned certificates and break no element. It refused every other flip of these bytes.
#[rustfmt::skip]
const ACCEPTED: &[(usize, u8)] = &[
    (0, 0x00), (17, 0x00), (51, 0x00), (68, 0x00), (85, 0x00), (102, 0x00), (119, 0x00), (136, 0x00),
    (153, 0x00), (170, 0x00), (187, 0x00), (204, 0x00), (221, 0x00), (238, 0xc1), (255, 0xff), (272, 0x00),
    (289, 0xff), (306, 0xff), (323, 0xff), (340, 0xff), (357, 0x7f), (374, 0xd7), (391, 0x07), (408, 0xff),
    (425, 0xff), (442, 0xff), (459, 0xff), (476, 0xff), (493, 0xff), (510, 0xff), (527, 0xff), (544, 0xff),
    (561, 0xff), (578, 0xff), (595, 0xff), (612, 0xff), (629, 0xff), (646, 0xff), (663, 0xff), (680, 0xff),
    (697, 0xff), (714, 0xff), (731, 0xff), (748, 0xff), (765, 0xff), (782, 0xff), (799, 0xff), (816, 0xff),
    (833, 0xff), (850, 0xff), (867, 0xff), (884, 0xff), (901, 0xff), (918, 0x7f), (935, 0xff), (952, 0x7f),
    (969, 0xf8), (986, 0xff), (1003, 0xff), (1020, 0xff), (1037, 0xff), (1054, 0xff), (1071, 0xff), (1088, 0xff),
    (1105, 0xff), (1122, 0xff), (1139, 0xff), (1156, 0xff), (1173, 0xff), (1190, 0xff), (1207, 0xff), (1224, 0xff),
    (1241, 0xff), (1258, 0xff), (1275, 0xff), (1292, 0xff), (1309, 0xff), (1326, 0xff), (1343, 0xff), (1360, 0xff),
    (1377, 0xff), (1394, 0xff), (1411, 0xff), (1428, 0xff), (1445, 0xff), (1462, 0xff), (1479, 0xff), (1496, 0xff),
    (1513, 0xff), (1530, 0xff), (1547, 0xff), (1564, 0x00), (1581, 0x00), (1598, 0x00), (1615, 0x00), (1632, 0x00),
    (1649, 0x00), (1666, 0x00), (1683, 0x00), (1700, 0x00), (1717, 0x00), (1734, 0x00), (1751, 0x00), (1768, 0x00),
    (1785, 0x00), (1802, 0x00), (1819, 0x00), (1836, 0x00), (1853, 0x00), (1870, 0x00), (1887, 0x00), (1904, 0x00),
    (1921, 0x00), (1938, 0x00), (1955, 0x00), (1972, 0x00), (1989, 0x00), (2006, 0x00), (2023, 0x00), (2040, 0x00),
    (2057, 0x00), (2074, 0x00), (2091, 0x00), (2108, 0x00), (2125, 0x00), (2142, 0x00), (2159, 0x00), (2176, 0x00),
    (2193, 0x00), (2210, 0x00), (2227, 0x00), (2244, 0x00), (2261, 0x00), (2278, 0x00), (2295, 0x00),
];

#[test]
fn flipped_bits_fare_as_with_x_roads_verifier() {
    let Some(root) = fixtures("flipped_bits_fare_as_with_x_roads_verifier") else {
        return;
    };
    let trusted: Vec<Certificate> = certificates(&root)
        .into_iter()
        .map(|(_, certificate)| certificate)
        .collect();
    let item = evidence(&root)
        .into_iter()
        .find(|item| item.name.ends_with("asic/valid-batch-ts.asice"))
        .unwrap();
    let token = item.timestamp.unwrap();
    let data = item.ts_hash_chain_result.unwrap();
    let believed =
        |token: &[u8]| TimestampToken::parse(token).and_then(|read| read.verify(&data, &trusted));
    assert!(believed(&token).is_ok());
    for (offset, accepted) in ACCEPTED {
        for bit in 0..8 {
            let mut flipped = token.clone();
            flipped[*offset] ^= 1 << bit;
            let judged = believed(&flipped);
            assert_eq!(
                judged.is_ok(),
                accepted & 1 << bit != 0,
                "byte {offset} bit {bit}: {judged:?}"
            );
        }
    }
    println!("VECTORS fixtures {} tried, 0 left out", ACCEPTED.len() * 8);
}
