//! Large bodies pass through two servers, both ways, and none of them holds one. The long form is `make large`.

use jibek_certs::KeyKind;
use jibek_conformance::large::{Large, Phase};

/// What resident memory may grow, in MiB.
const MOST_GROWTH: u64 = 32;

fn check(phase: &Phase) {
    for cost in &phase.costs {
        assert!(cost.grown_mib() <= MOST_GROWTH, "{}: {cost:?}", phase.name);
        assert!(cost.strange_files.is_empty(), "{}: {cost:?}", phase.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_and_nothing_is_left_where_only_digests_are_kept() {
    let _alone = super::alone().await;
    let mut large = Large::start(KeyKind::EcP256, 4).await.unwrap();
    check(&large.up(4, 40 << 20).await.unwrap());
    check(&large.down(4, 40 << 20).await.unwrap());
    check(&large.up(1, 100 << 20).await.unwrap());
    check(&large.down(1, 100 << 20).await.unwrap());
    // A reader that stops slows nobody but itself: the others come to their end beside it.
    check(
        &large
            .down_beside_a_stopped_reader(3, 24 << 20)
            .await
            .unwrap(),
    );
    assert_eq!(large.prove().await.unwrap(), (8 + 4 + 4 + 1 + 1 + 4) * 4);
}
