use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use jibek_protocol::id::ClientId;

use super::{Key, Look, MOST_FAULT_BYTES, MOST_FAULTS, Once, Outcome, Stage};

fn once(most: usize) -> Arc<Once> {
    Once::new(HashSet::new(), Duration::from_secs(3600), most)
}

fn key(number: usize) -> Key {
    let client = ClientId::from_header("KG/GOV/1/consumer").unwrap();
    Key::of(&client, &number.to_string(), &[7; 64], [])
}

#[test]
fn a_key_names_client_id_and_every_digest() {
    let client = |text| ClientId::from_header(text).unwrap();
    let (consumer, member) = (client("KG/GOV/1/consumer"), client("KG/GOV/1"));
    let body = [2; 64];
    let mut keys = HashSet::new();
    for (client, id, message, bodies) in [
        (&consumer, "a", [1; 64], vec![]),
        (&member, "a", [1; 64], vec![]),
        (&consumer, "b", [1; 64], vec![]),
        (&consumer, "a", [2; 64], vec![]),
        (&consumer, "a", [1; 64], vec![body.as_slice()]),
        (
            &consumer,
            "a",
            [1; 64],
            vec![body.as_slice(), body.as_slice()],
        ),
    ] {
        assert!(keys.insert(Key::of(client, id, &message, bodies)));
    }
    assert_eq!(keys.len(), 6);
}

#[tokio::test]
async fn a_turn_that_is_dropped_before_the_record_goes_to_the_next() {
    let once = once(1000);
    let Look::Mine(turn) = once.look(key(1)) else {
        panic!("the first has the turn");
    };
    let Look::UnderWay(mut stage) = once.look(key(1)) else {
        panic!("the second waits");
    };
    drop(turn);
    let gone = stage.wait_for(|stage| !matches!(stage, Stage::Claimed));
    assert!(gone.await.is_err());
    let Look::Mine(turn) = once.look(key(1)) else {
        panic!("the next has the turn");
    };
    turn.recorded();
    drop(turn);
    let Look::Known(Outcome::Recorded) = once.look(key(1)) else {
        panic!("recorded, and nobody knows more");
    };
    assert!(matches!(once.look(key(2)), Look::Mine(_)));
}

#[tokio::test]
async fn faults_are_kept_within_bounds() {
    let once = once(100_000);
    let refuse = |number: usize, length: usize| {
        let Look::Mine(turn) = once.look(key(number)) else {
            panic!("{number} is new");
        };
        turn.recorded();
        turn.refused(&Bytes::from(vec![b'x'; length]));
    };
    refuse(0, MOST_FAULT_BYTES + 1);
    assert!(matches!(once.look(key(0)), Look::Known(Outcome::Recorded)));
    for number in 1..=MOST_FAULTS + 1 {
        refuse(number, 10);
    }
    assert!(matches!(once.look(key(1)), Look::Known(Outcome::Recorded)));
    assert!(matches!(once.look(key(2)), Look::Known(Outcome::Fault(_))));
    assert!(once.state().under_way.is_empty());
}

#[tokio::test]
async fn the_newest_are_known_and_the_oldest_forgotten() {
    let once = once(1000);
    for number in 0..5000 {
        let Look::Mine(turn) = once.look(key(number)) else {
            panic!("{number} is new");
        };
        turn.recorded();
    }
    for number in 4000..5000 {
        assert!(matches!(once.look(key(number)), Look::Known(_)), "{number}");
    }
    assert!(matches!(once.look(key(0)), Look::Mine(_)));
    let state = once.state();
    assert!(state.young.len() + state.old.len() <= 2000);
}
