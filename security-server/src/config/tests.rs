use jibek_msglog::{Direction, Keep};

use super::*;

#[test]
fn the_shortest_file_has_sound_defaults() {
    let config = Config::parse(
        "server = \"KG/GOV/70000001/ss1\"\n",
        Path::new("/etc/jibek/jibek-server.toml"),
    )
    .unwrap();
    assert_eq!(config.server.to_header(), "KG/GOV/70000001/ss1");
    assert_eq!(config.state_dir, Path::new("/etc/jibek/state"));
    assert_eq!(config.listen.peer.to_string(), "0.0.0.0:5500");
    assert_eq!(
        config.listen.consumer_http.unwrap().to_string(),
        "127.0.0.1:8080"
    );
    assert_eq!(config.listen.consumer_https, None);
    assert!(config.peers.legacy_tls);
    assert_eq!(config.keeping.of(Direction::Request), Keep::All);
    assert_eq!(
        config.timestamping.acceptable_failure_period,
        Some(Duration::from_secs(14_400))
    );
}

#[test]
fn what_is_kept_of_bodies_is_read() {
    let text = "server = \"KG/GOV/1/s\"\n[message_log]\nrequest_bodies = \"digest\"\nanswer_bodies = 1000\n";
    let config = Config::parse(text, Path::new("jibek-server.toml")).unwrap();
    assert_eq!(config.keeping.of(Direction::Request), Keep::Digest);
    assert_eq!(config.keeping.of(Direction::Response), Keep::UpTo(1000));
    let service = Keeping {
        answers: Some(Keep::All),
        ..Keeping::default()
    };
    let both = service.or(config.keeping);
    assert_eq!(both.of(Direction::Request), Keep::Digest);
    assert_eq!(both.of(Direction::Response), Keep::All);
}

#[test]
fn the_example_file_is_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("jibek-server.example.toml");
    let config = Config::load(&path).unwrap();
    assert_eq!(config.configuration.interval, Duration::from_secs(60));
    let shortest = Config::parse("server = \"KG/GOV/1/s\"\n", &path).unwrap();
    assert_eq!(
        format!("{:?}", config.archive),
        format!("{:?}", shortest.archive)
    );
    assert!(config.archive.directory.unwrap().ends_with("archive"));
}

#[test]
fn certificate_profiles_are_declared() {
    let read = |pattern: &str| {
        let text = format!(
            "server = \"KG/GOV/1/s\"\n[[certificate_profile]]\nclass = \"KgSkKlass3CertificateProfileInfoProvider\"\n\
             [[certificate_profile.rule]]\nsubject = {{ C = \"KG\", organizationIdentifier = \"{pattern}\" }}\n\
             absent = [\"OU\"]\ninstance = \"KG\"\nmember_class = \"GOV\"\n"
        );
        Config::parse(&text, Path::new("jibek-server.toml"))
    };
    let config = read("GOVKG-{code}").unwrap();
    let name = "kg.tunduk.KgSkKlass3CertificateProfileInfoProvider";
    assert!(config.profiles.declares(name));
    let error = read("GOVKG-{cod}").unwrap_err().to_string();
    assert!(
        error.contains("KgSkKlass3")
            && error.contains("rule 1 has a pattern for organizationIdentifier"),
        "{error}"
    );
}

#[test]
fn mistakes_are_named_with_their_line() {
    let cases = [
        (
            "server = \"KG/GOV/1/s\"\n\n[listen]\npear = \"0.0.0.0:1\"\n",
            Some(4),
            "unknown field",
        ),
        (
            "server = \"KG/GOV\"\n",
            Some(1),
            "instance/class/member/code",
        ),
        (
            "server = \"KG/GOV/1/s\"\n[limits]\nbody_stall_seconds = 0\n",
            Some(3),
            "between 1",
        ),
        (
            "server = \"KG/GOV/1/s\"\n[message_log]\nanswer_bodies = \"none\"\n",
            Some(3),
            "expected \"all\", \"digest\" or a number of bytes",
        ),
        (
            "server = \"KG/GOV/1/s\"\n[message_log]\nrequest_bodies = -1\n",
            Some(3),
            "expected \"all\", \"digest\" or a number of bytes",
        ),
        (
            "server = \"KG/GOV/1/s\"\n[listen]\n\npeer = \"here\"\n",
            Some(4),
            "`here` is not an address",
        ),
        ("# nothing\n", Some(1), "missing field"),
        (
            "server = \"KG/GOV/1/s\"\n[token]\npin = \"1234\"\n",
            Some(3),
            "unknown field",
        ),
    ];
    for (text, line, reason) in cases {
        let error = Config::parse(text, Path::new("jibek-server.toml")).unwrap_err();
        assert_eq!(error.line, line, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!error.to_string().contains("1234"), "{error}");
    }
}

#[test]
fn archives_are_where_and_how_the_operator_says() {
    let read = |text: &str| {
        let text = format!("server = \"KG/GOV/1/s\"\n[archive]\n{text}\n");
        Config::parse(&text, Path::new("/etc/jibek/jibek-server.toml"))
    };
    let off = read("directory = \"\"\nkeep_days = 0").unwrap().archive;
    assert_eq!((off.directory, off.keep), (None, None));
    let set = read(
        "directory = \"/a\"\ngrouping = \"subsystem\"\nrecipients = [\"k.asc\"]\nkeep_days = 1",
    )
    .unwrap()
    .archive;
    assert_eq!(set.directory.as_deref(), Some(Path::new("/a")));
    assert_eq!(set.grouping, Grouping::Subsystem);
    assert_eq!(set.recipients, [Path::new("/etc/jibek/k.asc")]);
    assert_eq!(set.keep, Some(Duration::from_secs(86_400)));
    for wrong in ["grouping = \"all\"", "interval_seconds = 0", "dir = \"x\""] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
