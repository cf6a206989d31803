//! x509-limbo's cases about paths, made anew from its descriptions (<https://github.com/C2SP/x509-limbo>). Where a case puts name
//! constraints on the root, they stand here on an intermediate: anchors are believed as they are configured, as X-Road does it.
//! Its cases that ask for something else than X-Road stand in `limbo-left-out.txt`, each with the reason.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic and print"
)]

#[path = "support/made.rs"]
mod made;

use std::collections::BTreeSet;

use jibek_certs::{
    Certificate, Clock, SignatureAlgorithm, SystemClock,
    chain::{Budget, ChainError, verify_chain},
    parse::Defect,
};
use made::*;
use time::{Duration, OffsetDateTime, macros::datetime};

/// One graph: what is judged, what came along, what is trusted, when.
struct Case {
    leaf: Certificate,
    intermediates: Vec<Certificate>,
    roots: Vec<Certificate>,
    now: OffsetDateTime,
}

fn case(leaf: &Made, intermediates: &[&Made], roots: &[&Made]) -> Case {
    let all = |made: &[&Made]| made.iter().map(|made| made.certificate()).collect();
    Case {
        leaf: leaf.certificate(),
        intermediates: all(intermediates),
        roots: all(roots),
        now: NOW,
    }
}

#[derive(Default)]
struct Suite {
    tried: BTreeSet<&'static str>,
}

impl Suite {
    fn judge(&mut self, id: &'static str, case: &Case) -> Result<usize, ChainError> {
        assert!(self.tried.insert(id), "{id} is there twice");
        let begin = SystemClock.now();
        let (leaf, now) = (&case.leaf, case.now);
        let found = verify_chain(
            leaf,
            &case.intermediates,
            &case.roots,
            now,
            &Budget::default(),
        );
        assert!(
            SystemClock.now() - begin < Duration::seconds(5),
            "{id} is slow"
        );
        found.map(|chain| chain.certificates().len())
    }

    fn ok(&mut self, id: &'static str, case: &Case) {
        let found = self.judge(id, case);
        assert!(found.is_ok(), "{id}: {found:?}");
    }

    fn fails(&mut self, id: &'static str, case: &Case, why: impl Fn(&ChainError) -> bool) {
        let found = self.judge(id, case).map_err(|error| (why(&error), error));
        assert!(matches!(found, Err((true, _))), "{id}: {found:?}");
    }
}

#[test]
fn limbo() {
    let mut suite = Suite::default();
    path_lengths(&mut suite);
    extensions(&mut suite);
    validity(&mut suite);
    graphs(&mut suite);
    floods(&mut suite);
    name_constraints_of_hosts(&mut suite);
    name_constraints_of_others(&mut suite);
    mailboxes(&mut suite);
    name_constraints_over_paths(&mut suite);

    let mut left_out = 0;
    for line in include_str!("limbo-left-out.txt").lines() {
        let Some((reason, ids)) = line.split_once(": ") else {
            continue;
        };
        assert!(!reason.is_empty());
        for id in ids.split_whitespace() {
            assert!(!suite.tried.contains(id), "{id} is tried and left out");
            left_out += 1;
        }
    }
    println!(
        "VECTORS limbo {} tried, {left_out} left out: other rules than X-Road's, see certs/tests/limbo-left-out.txt; \
         crl, cve (GnuTLS aside), online, bettertls and webpki's names of hosts not counted: X-Road has no use for them",
        suite.tried.len()
    );
}

fn path_lengths(suite: &mut Suite) {
    let root = Spec::ca("root", None).self_signed();
    for (id, length) in [
        ("pathlen::ee-with-intermediate-pathlen-0", 0),
        ("pathlen::ee-with-intermediate-pathlen-1", 1),
        ("pathlen::ee-with-intermediate-pathlen-2", 2),
    ] {
        let ica = Spec::ca("ica", Some(length)).by(&root);
        suite.ok(id, &case(&Spec::new("ee").by(&ica), &[&ica], &[&root]));
    }
    let too_long = |error: &ChainError| matches!(error, ChainError::PathLength { .. });
    let first = Spec::ca("first", Some(0)).by(&root);
    let second = Spec::ca("second", Some(0)).by(&first);
    suite.ok(
        "pathlen::validation-ignores-pathlen-in-leaf",
        &case(&second, &[&first], &[&root]),
    );
    let ee = Spec::new("ee").by(&second);
    suite.fails(
        "pathlen::intermediate-violates-pathlen-0",
        &case(&ee, &[&first, &second], &[&root]),
        too_long,
    );
    let first = Spec::ca("first", Some(1)).by(&root);
    let second = Spec::ca("second", Some(2)).by(&first);
    let ee = Spec::new("ee").by(&second);
    suite.ok(
        "pathlen::intermediate-pathlen-may-increase",
        &case(&ee, &[&first, &second], &[&root]),
    );
    let second = Spec::ca("second", Some(0)).by(&first);
    let third = Spec::ca("third", Some(0)).by(&second);
    let ee = Spec::new("ee").by(&third);
    suite.fails(
        "pathlen::intermediate-pathlen-too-long",
        &case(&ee, &[&first, &second, &third], &[&root]),
        too_long,
    );
    let first = Spec::ca("same", Some(1)).by(&root);
    let again = Spec::ca("same", Some(1)).by(&first);
    let last = Spec::ca("last", Some(0)).by(&again);
    let ee = Spec::new("ee").by(&last);
    suite.ok(
        "pathlen::self-issued-certs-pathlen",
        &case(&ee, &[&first, &again, &last], &[&root]),
    );
}

fn extensions(suite: &mut Suite) {
    let root = Spec::ca("root", None).self_signed();
    let malformed = |expected: Defect| move |error: &ChainError| matches!(error, ChainError::Malformed { defect, .. } if *defect == expected);
    let critical = |error: &ChainError| matches!(error, ChainError::CriticalExtension { .. });
    let not_ca = |error: &ChainError| matches!(error, ChainError::NotCa { .. });
    let unknown = || ext("1.3.6.1.4.1.55738.666.1", true, &[5, 0]);
    let ee = |extension| case(&Spec::new("ee").ext(extension).by(&root), &[], &[&root]);

    let nobody = Spec::ca("x", None)
        .set(|spec| spec.name = seq(&[]))
        .self_signed();
    suite.fails(
        "rfc5280::ee-empty-issuer",
        &case(&Spec::new("ee").by(&nobody), &[], &[&nobody]),
        malformed(Defect::Issuer),
    );
    let nameless = Spec::ca("x", None)
        .set(|spec| spec.name = seq(&[]))
        .by(&root);
    let below = Spec::new("ee").by(&nameless);
    suite.fails(
        "rfc5280::ca-empty-subject",
        &case(&below, &[&nameless], &[&root]),
        malformed(Defect::Issuer),
    );
    suite.fails(
        "rfc5280::unknown-critical-extension-ee",
        &ee(unknown()),
        critical,
    );
    let ica = Spec::ca("ica", Some(0)).ext(unknown()).by(&root);
    suite.fails(
        "rfc5280::unknown-critical-extension-intermediate",
        &case(&Spec::new("ee").by(&ica), &[&ica], &[&root]),
        critical,
    );
    let odd = Spec::ca("odd", None).ext(unknown());
    let (odd_root, odd_ica) = (odd.clone().self_signed(), odd.by(&root));
    let plain = Spec::new("ee").by(&root);
    suite.ok(
        "rfc5280::unknown-critical-extension-unrelated-root",
        &case(&plain, &[], &[&odd_root, &root]),
    );
    suite.ok(
        "rfc5280::unknown-critical-extension-unrelated-intermediate",
        &case(&plain, &[&odd_ica], &[&root]),
    );
    let stranger = Spec::ca("stranger", None).self_signed();
    let ica = Spec::ca("ica", None).by(&stranger);
    suite.fails(
        "rfc5280::chain-untrusted-root",
        &case(&Spec::new("ee").by(&ica), &[&ica, &stranger], &[&root]),
        |error| matches!(error, ChainError::UnknownIssuer { .. }),
    );
    for (id, spec) in [
        (
            "rfc5280::intermediate-ca-without-ca-bit",
            Spec::new("ica").ext(basic_constraints(false, None)),
        ),
        (
            "rfc5280::intermediate-ca-missing-basic-constraints",
            Spec::new("ica").ext(key_usage(KEY_CERT_SIGN)),
        ),
        (
            "rfc5280::ica-ku-keycertsign",
            Spec::new("ica")
                .ext(basic_constraints(true, Some(0)))
                .ext(key_usage(DIGITAL_SIGNATURE)),
        ),
    ] {
        let ica = spec.by(&root);
        suite.fails(
            id,
            &case(&Spec::new("ee").by(&ica), &[&ica], &[&root]),
            not_ca,
        );
    }
    let aia = seq(&[seq(&[encoded_oid("1.3.6.1.5.5.7.48.2"), {
        jibek_certs::asn1::tlv(0x86, b"http://example.com/ca.crt")
    }])]);
    suite.ok(
        "rfc5280::ee-aia",
        &ee(ext("1.3.6.1.5.5.7.1.1", false, &aia)),
    );
    suite.fails(
        "rfc5280::ee-critical-aia-invalid",
        &ee(ext("1.3.6.1.5.5.7.1.1", true, &aia)),
        critical,
    );
    let twice = Spec::new("ee")
        .ext(basic_constraints(false, None))
        .ext(basic_constraints(false, None));
    suite.fails(
        "rfc5280::duplicate-extensions",
        &case(&twice.by(&root), &[], &[&root]),
        malformed(Defect::ExtensionTwice),
    );
    suite.ok("rfc5280::no-keyusage", &ee(basic_constraints(false, None)));
    suite.ok(
        "rfc5280::no-basicconstraints",
        &ee(key_usage(DIGITAL_SIGNATURE)),
    );
    let two =
        Spec::new("ee").set(|spec| spec.inner_algorithm = Some(SignatureAlgorithm::EcdsaSha384));
    suite.fails(
        "rfc5280::mismatching-signature-algorithm",
        &case(&two.by(&root), &[], &[&root]),
        malformed(Defect::Algorithms),
    );
    suite.ok(
        "rfc5280::ca-as-leaf",
        &case(&Spec::ca("ica", None).by(&root), &[], &[&root]),
    );
    let ica = Spec::ca("ica", None).by(&root);
    suite.ok(
        "rfc5280::root-and-intermediate-swapped",
        &case(&Spec::new("ee").by(&ica), &[&root], &[&ica]),
    );
    let id = jibek_certs::asn1::tlv(0x80, &[7; 20]);
    suite.fails(
        "rfc5280::aki::critical-aki",
        &ee(ext("2.5.29.35", true, &seq(&[id]))),
        critical,
    );
    suite.fails(
        "rfc5280::ski::critical-ski",
        &ee(ext(
            "2.5.29.14",
            true,
            &jibek_certs::asn1::tlv(0x04, &[7; 20]),
        )),
        critical,
    );
    suite.fails(
        "rfc5280::san::malformed",
        &ee(ext("2.5.29.17", false, b"not DER")),
        malformed(Defect::Extension),
    );
    let nameless = Spec::new("x")
        .set(|spec| spec.name = seq(&[]))
        .ext(san(&[dns("example.com")]));
    suite.fails(
        "rfc5280::san::noncritical-with-empty-subject",
        &case(&nameless.by(&root), &[], &[&root]),
        malformed(Defect::Subject),
    );
    suite.ok(
        "rfc5280::eku::ee-without-eku",
        &ee(key_usage(DIGITAL_SIGNATURE)),
    );
    let second = Spec::new("ee")
        .ext(key_usage(DIGITAL_SIGNATURE))
        .set(|spec| spec.version = 1);
    suite.fails(
        "webpki::v1-cert",
        &case(&second.by(&root), &[], &[&root]),
        malformed(Defect::Version),
    );
    let forger = Spec::ca("root", None).self_signed();
    suite.fails(
        "invalid::invalid-issuer-key",
        &case(&Spec::new("ee").by(&forger), &[], &[&root]),
        |error| matches!(error, ChainError::Signature { .. }),
    );
    for (id, extension) in [
        (
            "webpki::nc::intermediate-permitted-excluded-subtrees-both-null",
            ext("2.5.29.30", true, &seq(&[vec![0x80, 0], vec![0x81, 0]])),
        ),
        (
            "webpki::nc::intermediate-permitted-excluded-subtrees-both-empty-sequences",
            ext("2.5.29.30", true, &seq(&[vec![0xa0, 0], vec![0xa1, 0]])),
        ),
    ] {
        let ica = Spec::ca("ica", None).ext(extension).by(&root);
        let ee = Spec::new("ee").ext(san(&[dns("example.com")])).by(&ica);
        suite.fails(
            id,
            &case(&ee, &[&ica], &[&root]),
            malformed(Defect::Extension),
        );
    }
}

fn validity(suite: &mut Suite) {
    let begin = datetime!(2024-03-01 0:00:00 UTC);
    let end = datetime!(2024-04-01 0:00:00 UTC);
    let root = Spec::ca("root", None).self_signed();
    let ica = Spec::ca("ica", None).by(&root);
    let at = |not_before, not_after, now| {
        let spec = Spec::new("ee").set(|spec| {
            spec.not_before = not_before;
            spec.not_after = not_after;
        });
        Case {
            now,
            ..case(&spec.by(&ica), &[&ica], &[&root])
        }
    };
    let late = |error: &ChainError| matches!(error, ChainError::Expired { .. });
    let early = |error: &ChainError| matches!(error, ChainError::NotYetValid { .. });
    let second = Duration::SECOND;
    suite.ok("rfc5280::validity::notbefore-exact", &at(begin, end, begin));
    suite.ok("rfc5280::validity::notafter-exact", &at(begin, end, end));
    suite.fails(
        "rfc5280::validity::notbefore-fractional",
        &at(begin + second, end, begin + second / 2),
        early,
    );
    suite.fails(
        "rfc5280::validity::expired-1-second",
        &at(begin, end, end + second),
        late,
    );
    suite.fails(
        "rfc5280::validity::expired-5-seconds",
        &at(begin, end, end + second * 5),
        late,
    );
    suite.fails(
        "rfc5280::validity::not-yet-valid-1-second",
        &at(begin + second, end, begin),
        early,
    );
    suite.fails(
        "rfc5280::validity::not-yet-valid-5-seconds",
        &at(begin + second * 5, end, begin),
        early,
    );
    suite.fails(
        "rfc5280::validity::expired-leaf",
        &at(begin, end, NOW),
        late,
    );
    let old = Spec::ca("ica", None)
        .set(|spec| spec.not_after = end)
        .by(&root);
    suite.fails(
        "rfc5280::validity::expired-intermediate",
        &case(&Spec::new("ee").by(&old), &[&old], &[&root]),
        late,
    );
}

fn graphs(suite: &mut Suite) {
    // root 2 -> intermediate (expired) -> root -> ee, with both roots trusted.
    let old_root = Spec::ca("old root", None).self_signed();
    let root_spec = Spec::ca("root", None);
    let root = root_spec.clone().self_signed();
    let cross = root_spec
        .set(|spec| spec.not_after = datetime!(2024-01-01 0:00 UTC))
        .by(&old_root);
    let ee = Spec::new("ee").by(&root);
    suite.ok(
        "pathological::multiple-chains-expired-intermediate",
        &case(&ee, &[&cross], &[&old_root, &root]),
    );

    // Two that sign for each other, and no way out.
    let unknown = |error: &ChainError| matches!(error, ChainError::UnknownIssuer { .. });
    let one_spec = Spec::ca("one", None);
    let two_spec = Spec::ca("two", None);
    let (one_self, two_self) = (
        one_spec.clone().self_signed(),
        two_spec.clone().self_signed(),
    );
    let (one, two) = (one_spec.by(&two_self), two_spec.by(&one_self));
    let ee = Spec::new("ee").by(&one);
    suite.fails(
        "pathological::intermediate-cycle-distinct-cas",
        &case(&ee, &[&one, &two], &[&root]),
        unknown,
    );
    let a_spec = Spec::ca("ica", None);
    let b_spec = Spec::ca("ica", None);
    let (a_self, b_self) = (a_spec.clone().self_signed(), b_spec.clone().self_signed());
    let (a, b) = (a_spec.by(&b_self), b_spec.by(&a_self));
    let ee = Spec::new("ee").by(&a);
    suite.fails(
        "pathological::intermediate-cycle-same-logical-ca",
        &case(&ee, &[&a, &b], &[&root]),
        |error| {
            matches!(
                error,
                ChainError::UnknownIssuer { .. } | ChainError::Signature { .. }
            )
        },
    );

    // leaf -> A1 -> (A <-> B <-> C), and A is trusted, too.
    let a_spec = Spec::ca("A", None);
    let b_spec = Spec::ca("B", None);
    let c_spec = Spec::ca("C", None);
    let [a, b, c] = [&a_spec, &b_spec, &c_spec].map(|spec| spec.clone().self_signed());
    let crossed = [
        a_spec.clone().by(&b),
        a_spec.by(&c),
        b_spec.clone().by(&a),
        b_spec.by(&c),
        c_spec.clone().by(&a),
        c_spec.by(&b),
    ];
    let a1 = Spec::ca("A1", None).by(&a);
    let leaf = Spec::new("leaf").by(&a1);
    let mut along: Vec<&Made> = crossed.iter().collect();
    along.push(&a1);
    suite.ok("cve::cve-2024-0567", &case(&leaf, &along, &[&a]));
}

/// Chains of a hundred that lead nowhere, and floods of names: the reason told is the budget or the depth, never success.
fn floods(suite: &mut Suite) {
    let root = Spec::ca("root", None).self_signed();
    let shared = Spec::ca("x", None).key;
    for (id, same_name, same_key) in [
        (
            "pathological::pathological-chain-distinct-subject-distinct-key",
            false,
            false,
        ),
        (
            "pathological::pathological-chain-same-subject-distinct-key",
            true,
            false,
        ),
        (
            "pathological::pathological-chain-distinct-subject-same-key",
            false,
            true,
        ),
        (
            "pathological::pathological-chain-same-subject-same-key",
            true,
            true,
        ),
    ] {
        let spec = |number: usize| {
            let spec = Spec::ca(
                &if same_name {
                    "ica".to_owned()
                } else {
                    format!("ica {number}")
                },
                None,
            );
            spec.set(|spec| {
                spec.serial = vec![1, u8::try_from(number).unwrap()];
                if same_key {
                    spec.key = shared.clone();
                }
            })
        };
        let mut chain = vec![spec(0).self_signed()];
        for number in 1..100 {
            let next = spec(number).by(chain.last().unwrap());
            chain.push(next);
        }
        let ee = Spec::new("ee").by(chain.last().unwrap());
        let along: Vec<&Made> = chain.iter().collect();
        suite.fails(id, &case(&ee, &along, &[&root]), |error| {
            matches!(error, ChainError::Budget | ChainError::Depth { limit: 6 })
        });
    }
    let hosts = |count: usize, suffix: &str| -> Vec<Vec<u8>> {
        (0..count)
            .map(|at| dns(&format!("x{at}.{suffix}")))
            .collect()
    };
    let subjects: Vec<(String, String)> = (0..700)
        .map(|at| ("2.5.4.3".to_owned(), format!("cn{at}")))
        .collect();
    let subjects: Vec<(&str, &str)> = subjects
        .iter()
        .map(|(kind, value)| (kind.as_str(), value.as_str()))
        .collect();
    for (id, alt_names, directories) in [
        ("pathological::nc-dos-1", 700, true),
        ("pathological::nc-dos-2", 1500, false),
    ] {
        let mut excluded = hosts(700, "com");
        if directories {
            excluded.extend((0..700).map(|at| dn(&cn(&format!("other{at}")))));
        }
        let ica = Spec::ca("ica", None)
            .ext(name_constraints(&[], &excluded))
            .by(&root);
        let ee = Spec::new("ee").ext(san(&hosts(alt_names, "org")));
        let ee = ee.set(|spec| {
            if directories {
                spec.name = name(&subjects);
            }
        });
        suite.fails(id, &case(&ee.by(&ica), &[&ica], &[&root]), |error| {
            matches!(error, ChainError::Budget)
        });
    }
}

/// root -> ica (constraints) -> ee (names).
fn constrained(permitted: &[Vec<u8>], excluded: &[Vec<u8>], names: &[Vec<u8>]) -> Case {
    constrained_subject(permitted, excluded, &cn("ee"), names)
}

fn constrained_subject(
    permitted: &[Vec<u8>],
    excluded: &[Vec<u8>],
    subject: &[u8],
    names: &[Vec<u8>],
) -> Case {
    let root = Spec::ca("root", None).self_signed();
    let ica = Spec::ca("ica", None)
        .ext(name_constraints(permitted, excluded))
        .by(&root);
    let mut ee = Spec::new("ee").set(|spec| spec.name = subject.to_vec());
    if !names.is_empty() {
        ee = ee.ext(san(names));
    }
    case(&ee.by(&ica), &[&ica], &[&root])
}

fn breach(error: &ChainError) -> bool {
    matches!(error, ChainError::NameConstraint { .. })
}

fn kind(error: &ChainError) -> bool {
    matches!(error, ChainError::NameConstraintKind { .. })
}

fn name_constraints_of_hosts(suite: &mut Suite) {
    let example = || vec![dns("example.com")];
    for (id, permitted, excluded, names) in [
        (
            "rfc5280::nc::permitted-dns-match",
            example(),
            vec![],
            example(),
        ),
        (
            "rfc5280::nc::permitted-dns-match-more",
            example(),
            vec![],
            vec![dns("foo.bar.example.com")],
        ),
        (
            "rfc5280::nc::permitted-different-constraint-type",
            vec![ip(&[192, 0, 2, 0, 255, 255, 255, 0])],
            vec![],
            example(),
        ),
        (
            "rfc5280::nc::excluded-different-constraint-type",
            vec![],
            vec![ip(&[192, 0, 2, 0, 255, 255, 255, 0])],
            example(),
        ),
        (
            "webpki::nc::nc-permits-dns-san-pattern",
            vec![dns("foo.com")],
            vec![],
            vec![dns("*.foo.com")],
        ),
        (
            "webpki::nc::permitted-dns-match-noncritical",
            example(),
            vec![],
            example(),
        ),
    ] {
        suite.ok(id, &constrained(&permitted, &excluded, &names));
    }
    for (id, permitted, excluded, names) in [
        (
            "rfc5280::nc::permitted-dns-mismatch",
            example(),
            vec![],
            vec![dns("not-example.com")],
        ),
        (
            "rfc5280::nc::excluded-dns-match",
            vec![],
            example(),
            example(),
        ),
        (
            "rfc5280::nc::excluded-dns-match-second",
            vec![],
            vec![dns("not-allowed.example.com")],
            vec![dns("example.com"), dns("not-allowed.example.com")],
        ),
        (
            "rfc5280::nc::excluded-match-permitted-and-excluded",
            example(),
            example(),
            example(),
        ),
        (
            "rfc5280::nc::nc-forbids-dnsname-wildcard-san",
            vec![],
            vec![dns("bar.example.com")],
            vec![dns("*.example.com")],
        ),
        (
            "cve::cve-2025-61727",
            vec![],
            vec![dns("bar.example.com")],
            vec![dns("*.example.com")],
        ),
        (
            "cve::cve-2025-61727-nc-permits-variant",
            vec![dns("foo.example.com")],
            vec![],
            vec![dns("*.example.com")],
        ),
    ] {
        suite.fails(id, &constrained(&permitted, &excluded, &names), breach);
    }
    for (id, permitted, names) in [
        (
            "rfc5280::nc::invalid-dnsname-wildcard",
            vec![dns("*.example.com")],
            vec![dns("foo.example.com")],
        ),
        (
            "rfc5280::nc::invalid-dnsname-leading-period",
            vec![dns(".example.com")],
            vec![dns("foo.example.com")],
        ),
        (
            "rfc5280::nc::nc-permits-invalid-dns-san",
            example(),
            vec![dns(".example.com")],
        ),
    ] {
        suite.fails(id, &constrained(&permitted, &[], &names), kind);
    }
}

fn name_constraints_of_others(suite: &mut Suite) {
    let v4 = || vec![ip(&[192, 0, 2, 0, 255, 255, 255, 0])];
    let localhost: Vec<u8> = (0..16).map(|at| u8::from(at == 15)).collect();
    let v6 = || vec![ip(&[localhost.clone(), vec![0xff; 16]].concat())];
    suite.ok(
        "rfc5280::nc::permitted-ipv4-match",
        &constrained(&v4(), &[], &[ip(&[192, 0, 2, 1])]),
    );
    suite.ok(
        "rfc5280::nc::permitted-ipv6-match",
        &constrained(&v6(), &[], &[ip(&localhost)]),
    );
    suite.fails(
        "rfc5280::nc::permitted-ip-mismatch",
        &constrained(&v4(), &[], &[ip(&[192, 0, 3, 1])]),
        breach,
    );
    suite.fails(
        "rfc5280::nc::excluded-ipv4-match",
        &constrained(&[], &v4(), &[ip(&[192, 0, 2, 1])]),
        breach,
    );
    suite.fails(
        "rfc5280::nc::excluded-ipv6-match",
        &constrained(&[], &v6(), &[ip(&localhost)]),
        breach,
    );
    let holes = ip(&[192, 0, 2, 0, 255, 0, 255, 0]);
    suite.fails(
        "rfc5280::nc::invalid-ipv4-address",
        &constrained(&[holes], &[], &[ip(&[192, 0, 2, 1])]),
        kind,
    );
    let mut mask = vec![0; 16];
    mask[15] = 1;
    let holes = ip(&[localhost.clone(), mask].concat());
    suite.fails(
        "rfc5280::nc::invalid-ipv6-address",
        &constrained(&[holes], &[], &[ip(&localhost)]),
        kind,
    );
    suite.fails(
        "rfc5280::nc::nc-permits-invalid-ip-san",
        &constrained(&v4(), &[], &[ip(&[192, 0, 2, 0, 255, 255, 255, 0])]),
        kind,
    );

    let wanted = cn("foo");
    let below = name(&[("2.5.4.3", "foo"), ("2.5.4.11", "unit")]);
    suite.ok(
        "rfc5280::nc::permitted-dn-match",
        &constrained_subject(&[dn(&wanted)], &[], &below, &[dn(&wanted)]),
    );
    for (id, permitted, excluded, subject, names) in [
        (
            "rfc5280::nc::permitted-dn-mismatch",
            vec![dn(&wanted)],
            vec![],
            cn("not foo"),
            vec![],
        ),
        (
            "rfc5280::nc::excluded-dn-match",
            vec![],
            vec![dn(&wanted)],
            wanted.clone(),
            vec![],
        ),
        (
            "rfc5280::nc::permitted-dn-match-subject-san-mismatch",
            vec![dn(&wanted)],
            vec![],
            wanted.clone(),
            vec![dn(&cn("not foo"))],
        ),
        (
            "rfc5280::nc::excluded-dn-match-sub-mismatch",
            vec![],
            vec![dn(&wanted)],
            cn("not foo"),
            vec![dn(&wanted)],
        ),
    ] {
        suite.fails(
            id,
            &constrained_subject(&permitted, &excluded, &subject, &names),
            breach,
        );
    }
    suite.fails(
        "rfc5280::nc::nc-forbids-othername",
        &constrained(&[], &[other("x")], &[other("x")]),
        kind,
    );
    suite.ok(
        "rfc5280::nc::nc-forbids-othername-noop",
        &constrained(&[], &[other("x")], &[dns("example.com")]),
    );
}

fn mailboxes(suite: &mut Suite) {
    for (id, permitted, found) in [
        (
            "rfc5280::nc::nc-permits-email-exact",
            "foo@example.com",
            "foo@example.com",
        ),
        (
            "rfc5280::nc::nc-permits-email-domain",
            "example.com",
            "foo@example.com",
        ),
        (
            "rfc5280::nc::nc-permits-email-literal-asterisk-exact-match",
            "*@example.com",
            "*@example.com",
        ),
        (
            "rfc5280::nc::nc-permits-email-literal-double-asterisk",
            "**@example.com",
            "**@example.com",
        ),
        (
            "rfc5280::nc::nc-permits-email-literal-mid-asterisk",
            "user*@example.com",
            "user*@example.com",
        ),
    ] {
        suite.ok(id, &constrained(&[email(permitted)], &[], &[email(found)]));
    }
    for (id, permitted, found) in [
        (
            "rfc5280::nc::nc-permits-email-literal-asterisk-rejects-user",
            "*@example.com",
            "user@example.com",
        ),
        (
            "rfc5280::nc::nc-permits-email-literal-asterisk-rejects-subdomain",
            "*@example.com",
            "*@subdomain.example.com",
        ),
        (
            "rfc5280::nc::nc-permits-email-literal-double-asterisk-rejects-single",
            "**@example.com",
            "*@example.com",
        ),
    ] {
        suite.fails(
            id,
            &constrained(&[email(permitted)], &[], &[email(found)]),
            breach,
        );
    }
    for (id, permitted, found) in [
        (
            "rfc5280::nc::invalid-email-address",
            "invalid@address@example.com",
            "foo@example.com",
        ),
        (
            "rfc5280::nc::nc-permits-invalid-email-san",
            "example.com",
            "invalid@address@example.com",
        ),
    ] {
        suite.fails(
            id,
            &constrained(&[email(permitted)], &[], &[email(found)]),
            kind,
        );
    }
}

fn name_constraints_over_paths(suite: &mut Suite) {
    let root = Spec::ca("root", None).self_signed();
    let example = || vec![dns("example.com")];
    // A certificate that an authority gives itself is not bound by its own constraints, unless it is the one judged.
    let first = Spec::ca("same", None)
        .ext(name_constraints(&example(), &[]))
        .by(&root);
    let again = Spec::ca("same", None)
        .ext(san(&[dns("not-example.com")]))
        .by(&first);
    let ee = Spec::new("ee").ext(san(&example())).by(&again);
    suite.ok(
        "rfc5280::nc::permitted-self-issued",
        &case(&ee, &[&first, &again], &[&root]),
    );
    suite.fails(
        "rfc5280::nc::excluded-self-issued-leaf",
        &case(&again, &[&first], &[&root]),
        breach,
    );

    let constraints = || {
        name_constraints(
            &[dns("permitted.example.com")],
            &[dns("forbidden.example.com")],
        )
    };
    for id in [
        "rfc5280::nc::intermediate-with-san-rejected-by-intermediate-nc",
        "rfc5280::nc::intermediate-with-san-rejected-by-root-nc",
    ] {
        let first = Spec::ca("first", None).ext(constraints()).by(&root);
        let second = Spec::ca("second", None)
            .ext(san(&[dns("forbidden.example.com")]))
            .by(&first);
        let ee = Spec::new("ee")
            .ext(san(&[dns("permitted.example.com")]))
            .by(&second);
        suite.fails(id, &case(&ee, &[&first, &second], &[&root]), breach);
    }
    let first_host = || vec![dns("foo.example.com")];
    let both = || vec![dns("foo.example.com"), dns("bar.example.com")];
    for (id, above, below, found) in [
        (
            "rfc5280::nc::restrictive-permits-in-intermediates-narrows",
            both(),
            vec![dns("bar.example.com")],
            first_host(),
        ),
        (
            "rfc5280::nc::restrictive-permits-in-intermediates-widens",
            vec![dns("bar.example.com")],
            both(),
            first_host(),
        ),
    ] {
        let first = Spec::ca("first", None)
            .ext(name_constraints(&above, &[]))
            .by(&root);
        let second = Spec::ca("second", None)
            .ext(name_constraints(&below, &[]))
            .by(&first);
        let ee = Spec::new("ee").ext(san(&found)).by(&second);
        suite.fails(id, &case(&ee, &[&first, &second], &[&root]), breach);
    }
    // Of two certificates of one authority only one leads to a root: the search goes on after a breach.
    let y = || vec![dns("y.example.com")];
    let x = || vec![dns("x.example.com")];
    let stranger = Spec::ca("stranger", None).self_signed();
    let a = Spec::ca("A", None)
        .ext(name_constraints(&[], &y()))
        .by(&root);
    let b_spec = Spec::ca("B", None);
    let lost = b_spec.clone().ext(san(&y())).by(&stranger);
    let found = b_spec.clone().by(&a);
    let ee = Spec::new("ee").ext(san(&x())).by(&found);
    suite.ok(
        "rfc5280::nc::nc-forbids-alternate-chain-ica",
        &case(&ee, &[&lost, &found, &a], &[&root]),
    );
    let other_root = Spec::ca("other root", None).self_signed();
    let forbidden = b_spec.clone().ext(san(&y())).by(&a);
    let free = b_spec.ext(san(&[dns("z.example.com")])).by(&other_root);
    suite.ok(
        "rfc5280::nc::nc-forbids-same-chain-ica",
        &case(&ee, &[&forbidden, &free, &a], &[&root, &other_root]),
    );
}
