use super::*;

fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|one| one == line)
}

#[test]
fn families_carry_prefix_unit_and_labels() {
    let metrics = Metrics::new();
    metrics.exchange(SideLabel::Consumer, KindLabel::Rest, &Outcome::Ok, 0.003);
    metrics.exchange(
        SideLabel::Provider,
        KindLabel::Soap,
        &Outcome::Fault("server.serverproxy.access_denied"),
        0.5,
    );
    metrics.bytes(SideLabel::Consumer, FlowLabel::Received, 1000);
    metrics.stamp_batch(true, 7);
    metrics.stamp_batch(false, 9);
    let text = metrics.render();
    for line in [
        r#"jibek_exchanges_total{side="consumer",kind="rest",outcome="ok"} 1"#,
        r#"jibek_exchanges_total{side="provider",kind="soap",outcome="fault"} 1"#,
        r#"jibek_faults_total{side="provider",code="server.serverproxy.access_denied"} 1"#,
        r#"jibek_message_bytes_total{side="consumer",flow="received"} 1000"#,
        r#"jibek_exchange_duration_seconds_count{side="consumer",kind="rest"} 1"#,
        "jibek_stamped_records_total 7",
        r#"jibek_stamp_batches_total{outcome="fault"} 1"#,
    ] {
        assert!(has_line(&text, line), "{line}\nnot in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn what_is_under_way_goes_down_again() {
    let metrics = Metrics::new();
    let guard = metrics.in_flight(SideLabel::Provider);
    assert!(has_line(
        &metrics.render(),
        r#"jibek_in_flight{side="provider"} 1"#
    ));
    drop(guard);
    assert!(has_line(
        &metrics.render(),
        r#"jibek_in_flight{side="provider"} 0"#
    ));
}

#[test]
fn codes_of_strangers_do_not_grow_the_page_without_bound() {
    let metrics = Metrics::new();
    for number in 0..2 * MOST_CODES {
        metrics.exchange(
            SideLabel::Consumer,
            KindLabel::Rest,
            &Outcome::Fault(&format!("code_{number}")),
            0.0,
        );
    }
    metrics.exchange(
        SideLabel::Consumer,
        KindLabel::Rest,
        &Outcome::Fault("two\nlines\""),
        0.0,
    );
    let text = metrics.render();
    let distinct = text
        .lines()
        .filter(|line| line.starts_with("jibek_faults_total{"))
        .count();
    assert_eq!(distinct, MOST_CODES + 1);
    let other = MOST_CODES + 1;
    assert!(
        has_line(
            &text,
            &format!(r#"jibek_faults_total{{side="consumer",code="other"}} {other}"#)
        ),
        "{text}"
    );
}

#[test]
fn sampled_values_are_read_at_the_scrape() {
    let metrics = Metrics::new();
    metrics.register_collector(Box::new(Sampled::counter(
        "log_syncs",
        "Syncs",
        None,
        || Some(Sample::from(3_u64)),
    )));
    metrics.register_collector(Box::new(Sampled::gauge(
        "absent",
        "Never there",
        None,
        || None,
    )));
    let text = metrics.render();
    assert!(has_line(&text, "jibek_log_syncs_total 3"), "{text}");
    assert!(!text.contains("jibek_absent"));
    assert!(text.contains("jibek_process_resident_memory_bytes "));
}

#[test]
fn what_a_message_costs_is_counted() {
    let metrics = Metrics::new();
    metrics.signature(1);
    metrics.signature(5);
    metrics.verification(false);
    metrics.verification(true);
    metrics.verification(true);
    metrics.handshake(WayLabel::Inbound, false);
    metrics.handshake(WayLabel::Outbound, true);
    let text = metrics.render();
    for line in [
        "jibek_signatures_total 2",
        "jibek_sealed_messages_total 6",
        r#"jibek_hash_tree_messages_bucket{le="1.0"} 1"#,
        r#"jibek_hash_tree_messages_bucket{le="8.0"} 2"#,
        r#"jibek_hash_tree_messages_bucket{le="1024.0"} 2"#,
        r#"jibek_verifications_total{result="computed"} 1"#,
        r#"jibek_verifications_total{result="remembered"} 2"#,
        r#"jibek_handshakes_total{way="inbound",resumed="false"} 1"#,
        r#"jibek_handshakes_total{way="outbound",resumed="true"} 1"#,
    ] {
        assert!(has_line(&text, line), "{line}\nnot in\n{text}");
    }
}

#[cfg(feature = "count-allocations")]
#[test]
fn allocations_are_counted() {
    let metrics = Metrics::new();
    let count = |page: &str, family: &str| -> u64 {
        let line = page.lines().find_map(|line| line.strip_prefix(family));
        line.unwrap().trim().parse().unwrap()
    };
    let before = metrics.render();
    let grown: Vec<Vec<u8>> = (0..100).map(|_| Vec::with_capacity(1000)).collect();
    let after = metrics.render();
    let more = |family| count(&after, family) - count(&before, family);
    assert!(more("jibek_allocations_total") >= 100);
    assert!(more("jibek_allocated_bytes_total") >= 100_000);
    drop(grown);
}
