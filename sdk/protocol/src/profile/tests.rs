//! Subjects as X-Road's own tests and documentation have them, and declarations.

use proptest::prelude::*;

use super::*;

type Attributes<'a> = &'a [(&'a str, &'a str)];

fn subject(attributes: Attributes<'_>) -> Vec<(String, String)> {
    attributes
        .iter()
        .map(|(oid, value)| ((*oid).to_owned(), (*value).to_owned()))
        .collect()
}

const C: &str = "2.5.4.6";
const O: &str = "2.5.4.10";
const OU: &str = "2.5.4.11";
const CN: &str = "2.5.4.3";
const SERIAL: &str = "2.5.4.5";
const CATEGORY: &str = "2.5.4.15";
const ORGANIZATION: &str = "2.5.4.97";

#[test]
fn profiles_are_known_by_class_name() {
    let package = "ee.ria.xroad.common.certificateprofile.impl.";
    for (name, profile) in [
        ("BasicCertificateProfileInfoProvider", Some(Profile::Basic)),
        (
            "BasicACMECertificateProfileInfoProvider",
            Some(Profile::Basic),
        ),
        ("EjbcaCertificateProfileInfoProvider", Some(Profile::Ejbca)),
        ("FiVRKCertificateProfileInfoProvider", Some(Profile::FiVrk)),
        ("FoCertificateProfileInfoProvider", Some(Profile::Fo)),
        ("IsCertificateProfileInfoProvider", Some(Profile::Is)),
        (
            "SkEsteIdCertificateProfileInfoProvider",
            Some(Profile::SkEsteId),
        ),
        (
            "SkKlass3CertificateProfileInfoProvider",
            Some(Profile::SkKlass3),
        ),
        ("KgSkKlass3CertificateProfileInfoProvider", None),
        ("ejbcacertificateprofileinfoprovider", None),
        ("", None),
    ] {
        assert_eq!(
            Profile::from_class_name(&format!("{package}{name}")),
            profile
        );
        assert_eq!(Profile::from_class_name(&format!(" {name}\n")), profile);
    }
}

/// What each profile reads: (profile, subject, member).
fn read() -> Vec<(Profile, Attributes<'static>, &'static str)> {
    vec![
        (
            Profile::FiVrk,
            &[
                (C, "FI"),
                (O, "Jibek"),
                (SERIAL, "DEV/ss1/COM"),
                (CN, "1111"),
            ],
            "DEV/COM/1111",
        ),
        (
            Profile::FiVrk,
            &[
                (C, "FI"),
                (O, "Jibek"),
                (SERIAL, "DEV/ss1/COM//"),
                (CN, "1111"),
            ],
            "DEV/COM/1111",
        ),
        (
            Profile::FiVrk,
            &[(C, "FI"), (O, "DEV"), (OU, "COM"), (CN, "1111")],
            "DEV/COM/1111",
        ),
        (
            Profile::FiVrk,
            &[(C, "DEV"), (O, "COM"), (CN, "1111")],
            "DEV/COM/1111",
        ),
        (
            Profile::Ejbca,
            &[(C, "DEV"), (O, "COM"), (CN, "1111")],
            "DEV/COM/1111",
        ),
        (
            Profile::Ejbca,
            &[(C, "DEV"), (O, "COM"), (CN, "first"), (CN, "1111")],
            "DEV/COM/1111",
        ),
        (
            Profile::Basic,
            &[(CATEGORY, "COM"), (SERIAL, "1111")],
            "CTX/COM/1111",
        ),
        (
            Profile::Fo,
            &[
                (C, "FO"),
                (O, "FO-TST"),
                (OU, "GOV"),
                (CN, "50"),
                (SERIAL, "x"),
            ],
            "FO-TST/GOV/50",
        ),
        (
            Profile::Is,
            &[
                (C, "IS"),
                (O, "IS-TST"),
                (OU, "GOV"),
                (CN, "50"),
                (SERIAL, "x"),
            ],
            "IS-TST/GOV/50",
        ),
        (
            Profile::Is,
            &[(C, "IS-TST"), (O, "GOV"), (CN, "50")],
            "IS-TST/GOV/50",
        ),
        (
            Profile::SkEsteId,
            &[(C, "EE"), (SERIAL, "47101010033")],
            "CTX/PERSON/47101010033",
        ),
        (
            Profile::SkKlass3,
            &[(ORGANIZATION, "NTREE-12345678"), (SERIAL, "70000000")],
            "CTX/COM/12345678",
        ),
        (
            Profile::SkKlass3,
            &[(ORGANIZATION, "GO:EE-12345678")],
            "CTX/GOV/12345678",
        ),
        (
            Profile::SkKlass3,
            &[(ORGANIZATION, "NP:EE-12345678")],
            "CTX/NGO/12345678",
        ),
        (
            Profile::SkKlass3,
            &[(ORGANIZATION, "VATFI-1234567-8")],
            "CTX/NEE/VATFI-1234567-8",
        ),
        (
            Profile::SkKlass3,
            &[(ORGANIZATION, ""), (SERIAL, "10000000")],
            "CTX/COM/10000000",
        ),
        (
            Profile::SkKlass3,
            &[(SERIAL, "69999999")],
            "CTX/COM/69999999",
        ),
        (
            Profile::SkKlass3,
            &[(SERIAL, "70000349")],
            "CTX/GOV/70000349",
        ),
        (
            Profile::SkKlass3,
            &[(SERIAL, "80000000")],
            "CTX/NGO/80000000",
        ),
        (
            Profile::SkKlass3,
            &[(SERIAL, "99999999")],
            "CTX/NGO/99999999",
        ),
    ]
}

#[test]
fn subjects_name_members() {
    for (profile, attributes, member) in read() {
        let found = profile.member(&subject(attributes), "CTX");
        assert_eq!(
            found.map(|member| member.to_string()),
            Ok(format!("MEMBER:{member}")),
            "{profile:?} {attributes:?}"
        );
    }
}

#[test]
fn other_subjects_are_refused() {
    use ProfileError::{Country, Escaped, Identifier, Missing, RegisterCode, SerialNumber};
    let refused = |profile: Profile, attributes: Attributes<'_>| {
        profile.member(&subject(attributes), "DEV").unwrap_err()
    };
    let country = |expected, found: &str| Country {
        expected,
        found: found.to_owned(),
    };
    let missing = |attribute| Missing { attribute };
    for (profile, attributes, error) in [
        (
            Profile::FiVrk,
            &[(C, "EE"), (O, "x"), (SERIAL, "a/b/c"), (CN, "1")][..],
            country("FI", "EE"),
        ),
        (
            Profile::FiVrk,
            &[(C, "FI"), (SERIAL, "a/b/c"), (CN, "1")],
            missing("organization"),
        ),
        (
            Profile::FiVrk,
            &[(C, "FI"), (O, "x"), (SERIAL, "a/b/c/d"), (CN, "1")],
            SerialNumber { found: 4 },
        ),
        (
            Profile::FiVrk,
            &[(C, "FI"), (O, "x"), (SERIAL, "a/b/"), (CN, "1")],
            SerialNumber { found: 2 },
        ),
        (
            Profile::FiVrk,
            &[(C, "fi"), (O, "x"), (OU, "c"), (CN, "1")],
            country("FI", "fi"),
        ),
        (
            Profile::Basic,
            &[(SERIAL, "1")],
            missing("business category"),
        ),
        (Profile::Basic, &[(CATEGORY, "1")], missing("serial number")),
        (Profile::Ejbca, &[], missing("country")),
        (
            Profile::Ejbca,
            &[(C, "x"), (O, "y")],
            missing("common name"),
        ),
        (
            Profile::Fo,
            &[(C, "IS"), (O, "i"), (OU, "c"), (CN, "1"), (SERIAL, "s")],
            country("FO", "IS"),
        ),
        (
            Profile::Fo,
            &[(C, "FO"), (O, "i"), (OU, "c"), (CN, "1")],
            missing("serial number"),
        ),
        (
            Profile::Fo,
            &[(C, "FO"), (O, "c"), (CN, "1")],
            missing("organizational unit"),
        ),
        (
            Profile::Is,
            &[(C, "IS"), (O, "i"), (OU, "c"), (CN, "1")],
            missing("serial number"),
        ),
        (
            Profile::Is,
            &[(C, "IS"), (O, "i"), (SERIAL, "s"), (CN, "1")],
            missing("organizational unit"),
        ),
        (Profile::SkEsteId, &[(CN, "1")], missing("serial number")),
        (Profile::SkKlass3, &[(CN, "1")], missing("serial number")),
        (Profile::SkKlass3, &[(SERIAL, "1234567")], RegisterCode),
        (Profile::SkKlass3, &[(SERIAL, "123456789")], RegisterCode),
        (Profile::SkKlass3, &[(SERIAL, "02345678")], RegisterCode),
        (Profile::SkKlass3, &[(SERIAL, "1234567x")], RegisterCode),
        (
            Profile::Ejbca,
            &[(C, "KG"), (O, "COM"), (CN, "a,b")],
            Escaped {
                value: "a,b".to_owned(),
            },
        ),
        (
            Profile::Ejbca,
            &[(C, "KG"), (O, "#COM"), (CN, "b")],
            Escaped {
                value: "#COM".to_owned(),
            },
        ),
    ] {
        assert_eq!(
            refused(profile.clone(), attributes),
            error,
            "{profile:?} {attributes:?}"
        );
    }
    for (profile, attributes) in [
        (Profile::Ejbca, &[(C, "DEV"), (O, ""), (CN, "1")][..]),
        (Profile::SkKlass3, &[(ORGANIZATION, "NTREE-")]),
    ] {
        let error = refused(profile, attributes);
        assert!(matches!(error, Identifier(_)), "{error:?}");
    }
}

fn rule(patterns: &[(&str, &str)], absent: &[&str], class: Option<&str>) -> RawRule {
    RawRule {
        subject: patterns
            .iter()
            .map(|(name, pattern)| ((*name).to_owned(), (*pattern).to_owned()))
            .collect(),
        absent: absent.iter().map(|name| (*name).to_owned()).collect(),
        member_class: class.map(str::to_owned),
        ..RawRule::default()
    }
}

fn raw(class: &str, rule: Vec<RawRule>) -> RawProfile {
    RawProfile {
        class: class.to_owned(),
        rule,
    }
}

/// X-Road's own profiles, as an operator would declare them: so the language says all that X-Road's code says.
fn redeclared() -> Vec<(Profile, RawProfile)> {
    let ejbca = |absent: &[&str]| {
        rule(
            &[
                ("C", "{instance..}"),
                ("O", "{class..}"),
                ("CN", "{code..}"),
            ],
            absent,
            None,
        )
    };
    let island = |country: &str| {
        let patterns = [
            ("C", country),
            ("O", "{instance..}"),
            ("OU", "{class..}"),
            ("CN", "{code..}"),
            ("serialNumber", "{*..}"),
        ];
        rule(&patterns, &[], None)
    };
    let finland = [
        ("C", "FI"),
        ("O", "{*..}"),
        ("serialNumber", "{instance}/{*}/{class}"),
        ("CN", "{code..}"),
    ];
    let finland_older = [
        ("C", "FI"),
        ("O", "{instance..}"),
        ("OU", "{class..}"),
        ("CN", "{code..}"),
    ];
    let person = [("serialNumber", "{code..}")];
    let organization =
        |pattern: &str, class| rule(&[("organizationIdentifier", pattern)], &[], Some(class));
    let register = |pattern: &str, class| {
        rule(
            &[("serialNumber", pattern)],
            &["organizationIdentifier"],
            Some(class),
        )
    };
    vec![
        (Profile::Ejbca, raw("a.E", vec![ejbca(&[])])),
        (
            Profile::Basic,
            raw(
                "B",
                vec![rule(
                    &[
                        ("businessCategory", "{class..}"),
                        ("serialNumber", "{code..}"),
                    ],
                    &[],
                    None,
                )],
            ),
        ),
        (Profile::Fo, raw("F", vec![island("FO")])),
        (
            Profile::Is,
            raw("I", vec![island("IS"), ejbca(&["serialNumber", "OU"])]),
        ),
        (
            Profile::FiVrk,
            raw(
                "Fi",
                vec![
                    rule(&finland, &[], None),
                    rule(&finland_older, &["serialNumber"], None),
                    ejbca(&["serialNumber", "OU"]),
                ],
            ),
        ),
        (
            Profile::SkEsteId,
            raw("S", vec![rule(&person, &[], Some("PERSON"))]),
        ),
        (
            Profile::SkKlass3,
            raw(
                "S3",
                vec![
                    organization("NTREE-{code..}", "COM"),
                    organization("GO:EE-{code..}", "GOV"),
                    organization("NP:EE-{code..}", "NGO"),
                    organization("{code..}", "NEE"),
                    register("{code:[1-6]#######}", "COM"),
                    register("{code:7#######}", "GOV"),
                    register("{code:[89]#######}", "NGO"),
                ],
            ),
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn declarations_can_say_what_x_road_s_profiles_say(
        picks in proptest::collection::vec((0_usize..7, 0_usize..12), 0..7),
    ) {
        let oids = [C, O, OU, CN, SERIAL, CATEGORY, ORGANIZATION];
        let values = [
            "FI", "IS", "FO", "KG", "DEV/ss1/COM", "a/b", "NTREE-1/2", "GO:EE-70", "71234567", "10000000", "1", "NTREE-NTREE-",
        ];
        let attributes: Vec<(&str, &str)> =
            picks.iter().map(|(oid, value)| (oids[*oid], values[*value])).collect();
        let attributes = subject(&attributes);
        for (known, raw) in redeclared() {
            let declared = Profile::Declared(Declared::new(&raw).unwrap());
            prop_assert_eq!(
                declared.member(&attributes, "CTX").ok(),
                known.member(&attributes, "CTX").ok(),
                "{:?}", known
            );
        }
    }

    #[test]
    fn hostile_lines_do_not_panic(line in "\u{1d}?([\u{1e}\u{1f}]|[sacim=]|CN|\\{code\\}|\\{class\\}|x){0,20}") {
        let _ = Profile::from_class_name(&line);
    }
}

/// Kyrgyzstan's class by its name, with a mapping of this test's own making.
#[test]
fn a_country_s_own_profile_is_declared_and_then_found_by_name() {
    let name = "kg.tunduk.certificateprofile.KgSkKlass3CertificateProfileInfoProvider";
    assert_eq!(Profile::from_class_name(name), None);
    let profiles = Profiles::new(&[raw(
        "KgSkKlass3CertificateProfileInfoProvider",
        vec![
            RawRule {
                instance: Some("central-server".to_owned()),
                ..rule(
                    &[("C", "KG"), ("organizationIdentifier", "GOVKG-{code}")],
                    &[],
                    Some("GOV"),
                )
            },
            rule(
                &[("C", "KG"), ("serialNumber", "{code:##############}")],
                &["organizationIdentifier"],
                Some("COM"),
            ),
        ],
    )])
    .unwrap();
    assert!(profiles.declares(name));
    let line = profiles.resolve(name).into_owned();
    let profile = Profile::from_class_name(&line).unwrap();
    let member = |attributes| {
        profile
            .member(&subject(attributes), "KG")
            .map(|it| it.to_string())
    };
    assert_eq!(
        member(&[(C, "KG"), (ORGANIZATION, "GOVKG-70000001")]),
        Ok("MEMBER:central-server/GOV/70000001".to_owned())
    );
    assert_eq!(
        member(&[(C, "KG"), (SERIAL, "01234567890123")]),
        Ok("MEMBER:KG/COM/01234567890123".to_owned())
    );
    for refused in [
        &[(C, "KZ"), (ORGANIZATION, "GOVKG-70000001")][..],
        &[(C, "KG"), (SERIAL, "0123456789012")],
        &[(C, "KG"), (SERIAL, "01234567890123"), (ORGANIZATION, "x")],
    ] {
        assert_eq!(
            member(refused),
            Err(ProfileError::NoRule {
                class: "KgSkKlass3CertificateProfileInfoProvider".to_owned()
            })
        );
    }
    // Names that are not declared stay what they are.
    for other in ["EjbcaCertificateProfileInfoProvider", "x.Unknown"] {
        assert_eq!(profiles.resolve(other), other);
        assert!(!profiles.declares(other));
    }
}

#[test]
fn declarations_that_mean_nothing_are_refused_with_the_reason() {
    let good = || rule(&[("CN", "{code}")], &[], Some("COM"));
    let reason = |raw: RawProfile| Profiles::new(&[raw]).unwrap_err().reason;
    for (rules, expected) in [
        (vec![], "needs 1 to 32 rules"),
        (
            vec![good(), rule(&[], &[], Some("COM"))],
            "rule 2 names no attribute of the subject",
        ),
        (
            vec![rule(&[("CN", "{code}")], &[], None)],
            "rule 1 does not tell the member class",
        ),
        (
            vec![rule(&[("CN", "{class}")], &[], None)],
            "rule 1 does not tell the member code",
        ),
        (
            vec![rule(&[("CN", "{code}/{class}")], &[], Some("COM"))],
            "rule 1 tells the member class twice",
        ),
        (
            vec![rule(&[("CN", "{code}"), ("O", "{code}")], &[], Some("COM"))],
            "rule 1 tells the member code twice",
        ),
        (
            vec![rule(&[("cn", "{code}")], &[], Some("COM"))],
            "rule 1 has an unknown attribute \"cn\"",
        ),
        (
            vec![rule(
                &[("CN", "{code}"), ("2.5.4.3", "x")],
                &[],
                Some("COM"),
            )],
            "rule 1 has the attribute CN twice",
        ),
        (
            vec![rule(&[("CN", "{code}")], &["CN"], Some("COM"))],
            "rule 1 wants CN present and absent",
        ),
        (
            vec![rule(&[("CN", "{code")], &[], Some("COM"))],
            "rule 1 has a pattern for CN that has a { without }",
        ),
        (
            vec![rule(&[("CN", "{code}")], &[], Some(""))],
            "rule 1 has an unfit member class",
        ),
    ] {
        assert_eq!(reason(raw("Kg", rules)), expected);
    }
    assert_eq!(reason(raw("x.", vec![good()])), "is no class name");
    assert_eq!(
        reason(raw("ee.FiVRKCertificateProfileInfoProvider", vec![good()])),
        "is X-Road's own and cannot be declared"
    );
    let twice = [raw("a.Kg", vec![good()]), raw("Kg", vec![good()])];
    assert_eq!(
        Profiles::new(&twice).unwrap_err().reason,
        "is declared twice"
    );
}
