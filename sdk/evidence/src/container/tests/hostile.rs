//! ZIP files made to show each reader something else, or to cost more than they are worth.

use super::*;
use flate2::{Compression, write::DeflateEncoder};
use jibek_certs::digest::{DigestAlgorithm, digest};

/// An entry's two headers and its data, to be tampered with.
#[derive(Clone)]
struct Piece {
    local: Vec<u8>,
    data: Vec<u8>,
    /// Behind the data.
    descriptor: Vec<u8>,
    central: Vec<u8>,
}

fn crc(content: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(content);
    crc.sum()
}

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn put(bytes: &mut [u8], place: usize, value: &[u8]) {
    bytes[place..place + value.len()].copy_from_slice(value);
}

fn short(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap().to_le_bytes()
}

fn long(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap().to_le_bytes()
}

fn wide(number: usize) -> [u8; 8] {
    u64::try_from(number).unwrap().to_le_bytes()
}

impl Piece {
    fn new(name: &str, content: &[u8], method: usize) -> Self {
        let data = match method {
            8 => deflated(content),
            _ => content.to_vec(),
        };
        let mut local = vec![0; 30];
        put(&mut local, 0, b"PK\x03\x04");
        put(&mut local, 4, &short(20));
        let mut central = vec![0; 46];
        put(&mut central, 0, b"PK\x01\x02");
        put(&mut central, 4, &short(3 << 8 | 20));
        put(&mut central, 38, &long(0o100_644 << 16));
        for (header, place) in [(&mut local, 8), (&mut central, 10)] {
            put(header, place, &short(method));
            put(header, place + 6, &crc(content).to_le_bytes());
            put(header, place + 10, &long(data.len()));
            put(header, place + 14, &long(content.len()));
            put(header, place + 18, &short(name.len()));
            header.extend_from_slice(name.as_bytes());
        }
        Self {
            local,
            data,
            descriptor: Vec::new(),
            central,
        }
    }

    fn stored(name: &str, content: &[u8]) -> Self {
        Self::new(name, content, 0)
    }

    fn local(mut self, place: usize, value: &[u8]) -> Self {
        put(&mut self.local, place, value);
        self
    }

    fn central(mut self, place: usize, value: &[u8]) -> Self {
        put(&mut self.central, place, value);
        self
    }

    fn both_flags(self, flags: usize) -> Self {
        self.local(6, &short(flags)).central(8, &short(flags))
    }

    fn extra(mut self, field: &[u8]) -> Self {
        put(&mut self.local, 28, &short(field.len()));
        self.local.extend_from_slice(field);
        self
    }

    fn central_extra(mut self, field: &[u8]) -> Self {
        put(&mut self.central, 30, &short(field.len()));
        self.central.extend_from_slice(field);
        self
    }

    /// As X-Road writes: sizes behind the data only.
    fn described(mut self, content: &[u8]) -> Self {
        self.descriptor = [
            b"PK\x07\x08".as_slice(),
            &crc(content).to_le_bytes(),
            &long(self.data.len()),
            &long(content.len()),
        ]
        .concat();
        self.both_flags(8).local(14, &[0; 12])
    }
}

fn zipped(pieces: &[Piece]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for piece in pieces {
        let offset = file.len();
        file.extend_from_slice(&[piece.local.as_slice(), &piece.data, &piece.descriptor].concat());
        let mut central = piece.central.clone();
        if central[42..46] == [0; 4] {
            put(&mut central, 42, &long(offset));
        }
        directory.extend_from_slice(&central);
    }
    finished(file, &directory, pieces.len())
}

/// Appends directory and end.
fn finished(mut file: Vec<u8>, directory: &[u8], count: usize) -> Vec<u8> {
    let offset = file.len();
    file.extend_from_slice(directory);
    file.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    file.extend_from_slice(&short(count));
    file.extend_from_slice(&short(count));
    file.extend_from_slice(&long(directory.len()));
    file.extend_from_slice(&long(offset));
    file.extend_from_slice(&[0; 2]);
    file
}

fn seen(file: &[u8]) -> Seen {
    match read(file) {
        Ok(container) => Ok(container
            .peculiarities()
            .iter()
            .map(Peculiarity::id)
            .collect()),
        Err(error) => Err(error.code()),
    }
}

/// What is odd, or the code.
type Seen = Result<Vec<&'static str>, &'static str>;

fn check(cases: Vec<(&str, Vec<u8>, Seen)>) {
    for (what, file, expected) in cases {
        assert_eq!(seen(&file), expected, "{what}: {:?}", read(&file).err());
    }
}

fn odd(id: &'static str) -> Seen {
    Ok(vec![id])
}

fn message() -> Piece {
    Piece::stored("message.xml", b"pay 10")
}

fn mimetype() -> Piece {
    Piece::stored("mimetype", b"application/vnd.etsi.asic-e+zip")
}

#[test]
fn files_as_they_should_be_have_nothing_odd() {
    let content = b"pay 10";
    let wide_local = [short(1), short(16)].concat().into_iter();
    let wide_local: Vec<u8> = wide_local.chain(wide(6)).chain(wide(6)).collect();
    check(vec![
        ("stored", zipped(&[mimetype(), message()]), Ok(vec![])),
        (
            "deflated with descriptor",
            zipped(&[Piece::new("message.xml", content, 8).described(content)]),
            Ok(vec![]),
        ),
        (
            "a descriptor without its mark",
            {
                let mut piece = Piece::new("message.xml", content, 8).described(content);
                piece.descriptor.drain(..4);
                zipped(&[piece, mimetype()])
            },
            Ok(vec![]),
        ),
        (
            "a folder",
            zipped(&[
                Piece::stored("META-INF/", b"").central(38, &long(0o040_755 << 16)),
                message(),
            ]),
            Ok(vec![]),
        ),
        (
            "ZIP64 sizes in the local header",
            zipped(&[message().extra(&wide_local).local(18, &[0xff; 8])]),
            Ok(vec![]),
        ),
    ]);
}

/// Two readers would see two messages: refused.
#[test]
fn entries_that_are_there_twice_are_refused() {
    let other = || Piece::stored("message.xml", b"pay 99");
    check(vec![
        (
            "one after the other",
            zipped(&[message(), other()]),
            Err("container_entry_twice"),
        ),
        (
            "equal ones",
            zipped(&[message(), message()]),
            Err("container_entry_twice"),
        ),
        (
            "in another case",
            zipped(&[message(), Piece::stored("MESSAGE.XML", b"pay 99")]),
            Err("container_entry_twice"),
        ),
        (
            "by another way",
            zipped(&[message(), Piece::stored("a/../message.xml", b"pay 99")]),
            Ok(vec!["zip_unsafe_name"]),
        ),
        (
            "by a dot",
            zipped(&[message(), Piece::stored("./message.xml", b"pay 99")]),
            Err("container_entry_twice"),
        ),
        (
            "with backslashes",
            zipped(&[
                Piece::stored("META-INF/signatures.xml", b"a"),
                Piece::stored("META-INF\\signatures.xml", b"b"),
            ]),
            Err("container_entry_twice"),
        ),
        (
            "something that nobody looks at",
            zipped(&[
                message(),
                Piece::stored("x", b"1"),
                Piece::stored("x", b"2"),
            ]),
            Err("container_entry_twice"),
        ),
    ]);
    let error = read(&zipped(&[message(), other()])).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("two readers would see two messages")
    );
}

/// The directory leads to another message than the stream shows.
#[test]
fn directories_that_lead_elsewhere_are_refused() {
    let other = Piece::stored("message.xml", b"pay 99");
    let good = zipped(&[mimetype(), message()]);
    let ambiguous = || Err("container_ambiguous");
    check(vec![
        (
            "hidden behind the last entry",
            {
                let mut file = [message().local, message().data].concat();
                file.extend_from_slice(b"no entry");
                let place = file.len();
                file.extend_from_slice(&[other.local.as_slice(), &other.data].concat());
                finished(file, &other.clone().central(42, &long(place)).central, 1)
            },
            ambiguous(),
        ),
        (
            "inside an entry's data",
            {
                let inner = [other.local.as_slice(), &other.data].concat();
                let outer = Piece::stored("attachment9", &inner);
                let place = message().local.len() + message().data.len() + outer.local.len();
                let mut file = [message().local, message().data].concat();
                file.extend_from_slice(&[outer.local.as_slice(), &outer.data].concat());
                finished(file, &other.clone().central(42, &long(place)).central, 1)
            },
            ambiguous(),
        ),
        (
            "a second file behind the first",
            {
                let mut second = zipped(&[mimetype(), other.clone()]);
                // as a self-extracting file: offsets from the file's beginning
                let base = good.len();
                let place = second.len() - 6;
                let directory = usize::from(second[place]) + base;
                put(&mut second, place, &long(directory));
                let first = second
                    .windows(4)
                    .position(|window| window == b"PK\x01\x02")
                    .unwrap();
                let entry = second.len() - 22 - other.central.len();
                put(&mut second, first + 42, &long(base));
                let at = usize::from(second[entry + 42]) + base;
                put(&mut second, entry + 42, &long(at));
                [good.clone(), second].concat()
            },
            ambiguous(),
        ),
        (
            "a second file behind the first, offsets of its own",
            [good.clone(), zipped(&[mimetype(), other.clone()])].concat(),
            ambiguous(),
        ),
        (
            "an end in the comment of the end",
            {
                let mut file = good.clone();
                let mut inner = [other.local.as_slice(), &other.data].concat();
                let place = file.len() + inner.len();
                let central = other.clone().central(42, &long(file.len())).central;
                inner = finished(inner, &central, 1);
                let end = inner.len() - 6;
                put(&mut inner, end, &long(place));
                let comment = file.len() - 2;
                put(&mut file, comment, &short(inner.len()));
                [file, inner].concat()
            },
            ambiguous(),
        ),
        (
            "a message by directory only",
            zipped(&[
                mimetype(),
                Piece::stored("massage.xml", b"pay 10").central(46, b"message.xml"),
            ]),
            ambiguous(),
        ),
        (
            "one method by stream, another by directory",
            {
                let packed = deflated(b"pay 99");
                let mut piece = Piece::stored("message.xml", &packed);
                piece = piece
                    .central(10, &short(8))
                    .central(16, &crc(b"pay 99").to_le_bytes())
                    .central(24, &long(6));
                zipped(&[mimetype(), piece])
            },
            ambiguous(),
        ),
        (
            "overlapping",
            {
                // message.xml is a piece of attachment1's data
                let data = b"pay 10pay 99";
                let attachment = Piece::stored("attachment1", data);
                let mut file = [mimetype().local, mimetype().data].concat();
                let start = file.len();
                file.extend_from_slice(&attachment.local);
                file.extend_from_slice(&attachment.data);
                let short_one = Piece::stored("attachment1", &data[..6]).central(42, &long(start));
                finished(file, &[mimetype().central, short_one.central].concat(), 2)
            },
            ambiguous(),
        ),
    ]);
}

/// What X-Road does not see and what shows no other message: the verdict stands, and it is said.
#[test]
fn odd_directories_are_said() {
    let good = zipped(&[mimetype(), message()]);
    let place = |mark: &[u8]| good.windows(4).position(|window| window == mark).unwrap();
    let (directory, end) = (place(b"PK\x01\x02"), place(b"PK\x05\x06"));
    let with = |place: usize, value: &[u8]| {
        let mut file = good.clone();
        put(&mut file, place, value);
        file
    };
    let differs = || odd("zip_directory_differs");
    check(vec![
        (
            "another checksum there",
            with(directory + 16, b"XXXX"),
            differs(),
        ),
        (
            "another size there",
            with(directory + 20, &long(7)),
            differs(),
        ),
        (
            "another name there",
            with(directory + 46, b"Mimetype"),
            differs(),
        ),
        ("encrypted there", with(directory + 8, &short(1)), differs()),
        (
            "an offset into nothing",
            with(directory + 42, &[0xee; 4]),
            differs(),
        ),
        (
            "another number of entries",
            with(end + 8, &short(3)),
            differs(),
        ),
        ("fewer entries", with(end + 8, &[1, 0, 1, 0]), differs()),
        ("another disk", with(end + 4, &short(1)), differs()),
        (
            "a comment that is not there",
            with(end + 20, &short(9)),
            differs(),
        ),
        (
            "nothing behind the entries",
            good[..directory].to_vec(),
            differs(),
        ),
        (
            "half a directory",
            good[..directory + 20].to_vec(),
            differs(),
        ),
        ("half an end", good[..end + 10].to_vec(), differs()),
        (
            "bytes behind",
            [good.as_slice(), b"junk"].concat(),
            differs(),
        ),
        (
            "the same again behind",
            [good.clone(), good.clone()].concat(),
            differs(),
        ),
        (
            "a link",
            zipped(&[
                message(),
                Piece::stored("l", b"/etc/passwd").central(38, &long(0o120_777 << 16)),
            ]),
            odd("zip_link"),
        ),
        (
            "a second name",
            zipped(&[message().central_extra(&[0x75, 0x70, 1, 0, 1])]),
            differs(),
        ),
        (
            "an entry that only the directory has",
            {
                let stranger = Piece::stored("x", b"1");
                let mut file = [message().local, message().data].concat();
                let place = file.len();
                file.extend_from_slice(b"....");
                file.extend_from_slice(&[stranger.local.as_slice(), &stranger.data].concat());
                finished(
                    file,
                    &[
                        message().central,
                        stranger.central(42, &long(place)).central,
                    ]
                    .concat(),
                    2,
                )
            },
            differs(),
        ),
    ]);
    for name in [
        "../x",
        "/etc/x",
        "a/../../x",
        "C:x",
        "a\\..\\x",
        "a//x",
        "x\n",
        "a/./x",
    ] {
        let file = zipped(&[message(), Piece::stored(name, b"1")]);
        assert_eq!(seen(&file), odd("zip_unsafe_name"), "{name:?}");
    }
}

/// As Java's stream reader: what is not as its header says ends the reading.
#[test]
fn damaged_entries_are_refused() {
    let content = b"pay 10";
    let packed = || Piece::new("message.xml", content, 8);
    let damaged = || Err("container_damaged");
    check(vec![
        (
            "another checksum",
            zipped(&[message().local(14, b"XXXX")]),
            damaged(),
        ),
        (
            "another packed checksum",
            zipped(&[packed().local(14, b"XXXX")]),
            damaged(),
        ),
        (
            "another packed size",
            zipped(&[packed().local(18, &long(5))]),
            damaged(),
        ),
        (
            "another size",
            zipped(&[packed().local(22, &long(5))]),
            damaged(),
        ),
        ("encrypted", zipped(&[message().both_flags(1)]), damaged()),
        (
            "another method",
            zipped(&[message().local(8, &short(12)).central(10, &short(12))]),
            damaged(),
        ),
        (
            "stored with a descriptor",
            zipped(&[message().described(content)]),
            damaged(),
        ),
        (
            "a descriptor of another size",
            {
                let mut piece = packed().described(content);
                put(&mut piece.descriptor, 12, &long(7));
                zipped(&[piece])
            },
            damaged(),
        ),
        (
            "cut off in the data",
            zipped(&[packed()])[..30 + 11 + 2].to_vec(),
            damaged(),
        ),
        (
            "cut off in the name",
            zipped(&[packed()])[..33].to_vec(),
            Err("container_ambiguous"),
        ),
        (
            "cut off in the header",
            zipped(&[packed()])[..20].to_vec(),
            Err("asic_mime_type_not_found"),
        ),
        (
            "more packed bytes than the stream needs",
            {
                let mut piece = packed().local(18, &long(packed().data.len() + 3));
                piece.data.extend_from_slice(b"...");
                zipped(&[piece])
            },
            damaged(),
        ),
        (
            "a name that is no text",
            zipped(&[message().local(30, b"\xff")]),
            Err("container_ambiguous"),
        ),
    ]);
}

#[test]
fn bombs_cost_little() {
    let tight = |file: &[u8], change: &dyn Fn(&mut ContainerLimits)| {
        let mut limits = ContainerLimits::default();
        change(&mut limits);
        Container::read(file, &limits).map_err(|error| error.code())
    };
    let large = Piece::new("message.xml", &vec![0; 3 << 20], 8);
    let lying = large.clone().local(22, &long(5)).central(24, &long(5));
    for file in [zipped(std::slice::from_ref(&large)), zipped(&[lying])] {
        assert_eq!(tight(&file, &|_| {}).unwrap_err(), "container_too_large");
    }
    assert!(tight(&zipped(&[large]), &|limits| limits.ratio = 2000).is_ok());
    // a header that claims more than there is costs no memory
    let claims = message()
        .local(18, &[0xfe, 0xff, 0xff, 0x7f])
        .local(22, &[0xfe, 0xff, 0xff, 0x7f]);
    assert_eq!(
        tight(&zipped(&[claims]), &|_| {}).unwrap_err(),
        "container_damaged"
    );
    let many: Vec<Piece> = (0..50)
        .map(|number| Piece::stored(&number.to_string(), b"1234"))
        .collect();
    let file = zipped(&many);
    assert_eq!(
        tight(&file, &|limits| limits.entries = 49).unwrap_err(),
        "container_too_large"
    );
    assert_eq!(
        tight(&file, &|limits| limits.total_bytes = 199).unwrap_err(),
        "container_too_large"
    );
    assert!(
        tight(&file, &|limits| {
            limits.entries = 50;
            limits.total_bytes = 200;
        })
        .is_ok()
    );
    // twenty thousand entries, and as many again by a directory that differs
    let many: Vec<Piece> = (0..20_000)
        .map(|number| Piece::stored(&format!("attachment{number}"), b""))
        .collect();
    let mut file = zipped(&many);
    file.push(0);
    assert_eq!(seen(&file), odd("zip_directory_differs"));
}

#[test]
fn containers_are_made_of_entries_too() {
    let entries = || vec![("message.xml".to_owned(), Bytes::from_static(b"pay 10"))];
    let container = Container::from_entries(entries()).unwrap();
    let body = digest(DigestAlgorithm::Sha512, b"a large body");
    let container = container.with_digest("attachment1", body).unwrap();
    assert_eq!(container.digest("attachment1"), Some(body));
    assert_eq!(
        container.digest_by("attachment1", DigestAlgorithm::Sha256),
        None
    );
    assert!(container.has("attachment1") && container.entry("attachment1").is_none());
    assert_eq!(
        container.names().collect::<Vec<_>>(),
        ["message.xml", "attachment1"]
    );
    assert_eq!(
        container
            .with_digest("message.xml", body)
            .unwrap_err()
            .code(),
        "container_entry_twice"
    );
    let twice = entries().into_iter().chain(entries());
    assert_eq!(
        Container::from_entries(twice).unwrap_err().code(),
        "container_entry_twice"
    );
}
