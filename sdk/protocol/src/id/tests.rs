use super::xml::Identifier;
use super::*;

#[test]
fn forms_of_the_documents() {
    let client = ClientId::new("EE", "GOV", "123", Some("sub")).unwrap();
    assert_eq!(client.to_string(), "SUBSYSTEM:EE/GOV/123/sub");
    let service = ServiceId::new(client.clone(), "code", Some("v1")).unwrap();
    assert_eq!(service.to_string(), "SERVICE:EE/GOV/123/sub/code/v1");
    assert_eq!(
        ServerId::new(client.member().clone(), "ss1")
            .unwrap()
            .to_string(),
        "SERVER:EE/GOV/123/ss1"
    );
    assert_eq!(
        GlobalGroupId::new("EE", "g").unwrap().to_string(),
        "GLOBALGROUP:EE/g"
    );
    assert_eq!(LocalGroupId::new("g").unwrap().to_string(), "LOCALGROUP:g");
    let odd = ClientId::new("EE", "a b", "õ/%", Some("-._~!$'()*,;&=@:+")).unwrap();
    assert_eq!(odd.to_header(), "EE/a%20b/%C3%B5%2F%25/-._~!$'()*,;&=@:+");
    assert_eq!(ClientId::from_header(&odd.to_header()).unwrap(), odd);
    assert!(odd.is_suspicious() && !client.is_suspicious());
}

#[test]
fn decoding_follows_x_road() {
    assert_eq!(decode_part("a+b").unwrap(), "a+b");
    assert_eq!(decode_part("%c3%B5").unwrap(), "õ");
    assert_eq!(decode_part("%ff").unwrap(), "\u{fffd}");
    for bad in ["%", "%2", "%zz", "%2g", "%+1"] {
        assert_eq!(decode_part(bad).unwrap_err(), IdError::BadEscape, "{bad}");
    }
    for bad in [
        " ", "\"", "?", "#", "[", "]", "|", "{", "\\", "õ", "\n", "/", "\u{0}",
    ] {
        assert!(
            matches!(decode_part(bad).unwrap_err(), IdError::NotAllowed { .. }),
            "{bad}"
        );
    }
}

#[test]
fn the_number_of_parts_counts() {
    let count =
        |found| move |error| matches!(error, IdError::PartCount { found: f, .. } if f == found);
    for (text, found) in [
        ("", 1),
        ("a/b", 2),
        ("a/b/c/d/e", 5),
        ("a/b/c/d/e/f/g/h", 8),
    ] {
        assert!(
            ClientId::from_header(text).is_err_and(count(found)),
            "{text}"
        );
    }
    assert!(ServiceId::parse_service_header("a/b/c/d").is_err_and(count(4)));
    assert!(ServiceId::parse_service_header("a/b/c/d/e/f").is_err_and(count(6)));
    assert!(ServerId::from_header("a/b/c").is_err_and(count(3)));
    assert!(RepresentedParty::from_header("a/b/c").is_err_and(count(3)));
    assert!(MemberId::from_header("a/b/c/d").is_err_and(count(4)));
    assert!(SubsystemId::from_header("a/b/c").is_err_and(count(3)));
    assert!(ClientId::from_header(&"a/".repeat(1_000_000)).is_err());
}

#[test]
fn blank_and_endless_parts_are_refused() {
    assert_eq!(
        ClientId::from_header("a//c").unwrap_err(),
        IdError::Blank {
            part: "memberClass"
        }
    );
    assert_eq!(
        ClientId::from_header("a/b/c/").unwrap_err(),
        IdError::Blank {
            part: "subsystemCode"
        }
    );
    assert_eq!(
        ClientId::from_header("a/b/c/%20").unwrap_err(),
        IdError::Blank {
            part: "subsystemCode"
        }
    );
    let long = "x".repeat(limits::ID_PART_BYTES + 1);
    assert!(matches!(
        MemberId::new("a", "b", &long),
        Err(IdError::TooLong {
            part: "memberCode",
            ..
        })
    ));
    let client = ClientId::new("a", "b", "c", None).unwrap();
    assert!(matches!(
        ServiceId::new(client, "d", Some(&long)),
        Err(IdError::TooLong { .. })
    ));
}

#[test]
fn member_and_subsystem_are_different() {
    let member = ClientId::new("EE", "GOV", "1", None).unwrap();
    let subsystem = ClientId::new("EE", "GOV", "1", Some("s")).unwrap();
    assert_ne!(member, subsystem);
    assert_eq!(member.member(), subsystem.member());
    assert_ne!(member, ClientId::new("EE", "gov", "1", None).unwrap());
    let version = |version| ServiceId::new(member.clone(), "c", version).unwrap();
    assert_ne!(version(None), version(Some("")));
}

#[test]
fn display_forms_need_their_type() {
    assert!("EE/GOV/1".parse::<ClientId>().is_err());
    assert!("MEMBER:EE/GOV/1/s".parse::<ClientId>().is_err());
    assert!("member:EE/GOV/1".parse::<ClientId>().is_err());
    assert!("SUBSYSTEM:EE/GOV/1".parse::<SubsystemId>().is_err());
    assert!("SERVICE:EE/GOV".parse::<ServiceId>().is_err());
    assert!("SERVER:EE/GOV/1/s".parse::<ServerId>().is_ok());
}
