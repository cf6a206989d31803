//! OpenSSL as the other opinion: what it makes, we judge as it does; what we sign, it verifies.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may panic and print"
)]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use jibek_certs::{
    Certificate, DigestAlgorithm, KeyKind, SignatureAlgorithm, Signer, SoftKey,
    chain::{Budget, ChainError, verify_chain},
    digest::digest,
    ocsp::{CertError, OcspResponse, Policy, request_der, verify_with_ocsp},
    signer::{PublicKey, Weakness, ecdsa_der_to_raw, verify_spki, verify_spki_der},
    trust::{ApprovedCa, Authorities},
    tsp::{TimestampRequest, TimestampToken, TspError},
};
use time::OffsetDateTime;

/// A scratch folder in which OpenSSL works.
struct Shop(tempfile::TempDir);

impl Shop {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "a test's scratch file")]
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Runs `openssl` with the arguments of `line`, split at blanks.
    fn try_run(&self, line: &str) -> Output {
        Command::new("openssl")
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    fn run(&self, line: &str) {
        let output = self.try_run(line);
        assert!(output.status.success(), "openssl {line}: {output:?}");
    }

    fn certificate(&self, name: &str) -> Certificate {
        Certificate::from_der_or_pem(&self.read(name)).unwrap()
    }

    /// A self-signed CA `name.pem` with `name.key` and these options.
    fn ca(&self, name: &str, key: &str, options: &str) -> Certificate {
        self.run(&format!("genpkey {key} -out {name}.key"));
        self.write(
            "ca.cnf",
            "[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n\
             subjectKeyIdentifier=hash\n",
        );
        self.run(&format!(
            "req -x509 -new -config ca.cnf -extensions ca -key {name}.key -subj /O=Test/CN={name} -days 30 -out {name}.pem {options}"
        ));
        self.certificate(&format!("{name}.pem"))
    }

    /// A certificate `name.pem` of `ca`, with extensions in OpenSSL's words.
    fn issue(&self, ca: &str, name: &str, extensions: &str, options: &str) -> Certificate {
        if !self.path(&format!("{name}.key")).exists() {
            self.run(&format!(
                "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key"
            ));
        }
        self.run(&format!(
            "req -new -config ca.cnf -key {name}.key -subj /O=Test/CN={name} -out {name}.csr"
        ));
        self.write(&format!("{name}.ext"), format!("[v3]\n{extensions}\n"));
        self.run(&format!(
            "x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -days 10 -extfile {name}.ext -extensions v3 \
             -out {name}.pem {options}"
        ));
        self.certificate(&format!("{name}.pem"))
    }
}

const EC: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";

fn now() -> OffsetDateTime {
    use jibek_certs::Clock;
    jibek_certs::SystemClock.now()
}

/// Keys by the words that make them, with what we call them.
fn keys() -> Vec<(&'static str, PublicKey)> {
    vec![
        (
            "-algorithm RSA -pkeyopt rsa_keygen_bits:1024",
            PublicKey::Rsa { bits: 1024 },
        ),
        (
            "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            PublicKey::Rsa { bits: 2048 },
        ),
        (
            "-algorithm RSA -pkeyopt rsa_keygen_bits:2052",
            PublicKey::Rsa { bits: 2052 },
        ),
        (
            "-algorithm RSA -pkeyopt rsa_keygen_bits:4096",
            PublicKey::Rsa { bits: 4096 },
        ),
        (
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            PublicKey::EcP256,
        ),
        (
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            PublicKey::EcP384,
        ),
        (
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
            PublicKey::EcP521,
        ),
    ]
}

/// Signatures over certificates: every algorithm with every key; and those that no X-Road server accepts.
#[test]
fn certificates_signed_in_every_way() {
    let mut tried = 0;
    let shop = Shop::new();
    let pss = |hash: &str, salt: &str| {
        format!("-{hash} -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:{salt}")
    };
    for (number, (words, kind)) in keys().into_iter().enumerate() {
        let name = format!("ca{number}");
        let ca = shop.ca(&name, words, "");
        assert_eq!(ca.public_key(), kind, "{words}");
        let rsa_bits = match kind {
            PublicKey::Rsa { bits } => Some(bits),
            _ => None,
        };
        let mut ways: Vec<(String, bool)> = ["sha1", "sha224", "sha256", "sha384", "sha512"]
            .iter()
            .map(|hash| (format!("-{hash}"), true))
            .collect();
        ways.push(("-md5".to_owned(), false));
        if rsa_bits.is_some() {
            ways.push((pss("sha1", "20"), true));
            for (hash, salt) in [
                ("sha224", 28),
                ("sha256", 32),
                ("sha384", 48),
                ("sha512", 64),
            ] {
                // A digest and a salt of SHA-512 are longer than a key of 1024 bits.
                if (rsa_bits, hash) != (Some(1024), "sha512") {
                    ways.push((pss(hash, &salt.to_string()), true));
                }
                ways.push((pss(hash, "20"), false));
            }
            ways.push((pss("sha256", "32") + " -sigopt rsa_mgf1_md:sha1", false));
        }
        for (at, (way, accepted)) in ways.into_iter().enumerate() {
            if way == "-md5" && rsa_bits.is_none() {
                continue;
            }
            let leaf = shop.issue(
                &name,
                &format!("leaf{number}-{at}"),
                "keyUsage=critical,nonRepudiation",
                &way,
            );
            let what = format!("{words} {way}");
            assert_eq!(leaf.verify_signed_by(&ca).is_ok(), accepted, "{what}");
            assert!(!accepted || leaf.signature_algorithm().is_some(), "{what}");
            let anchors = [ca.clone()];
            let path = verify_chain(&leaf, &[], &anchors, now(), &Budget::default());
            assert_eq!(path.is_ok(), accepted, "{what}");
            if let Ok(path) = path {
                let mut expected = Vec::new();
                if way.contains("-sha1") {
                    expected.push(Weakness::Sha1);
                }
                if rsa_bits == Some(1024) {
                    expected.push(Weakness::ShortRsa { bits: 1024 });
                }
                assert_eq!(path.weaknesses(), expected, "{what}");
            }
            tried += 1;
        }
    }
    println!("VECTORS openssl {tried} tried, 0 left out");
}

/// A key that is RSASSA-PSS by itself, and bound to a digest; keys of kinds that nothing here verifies with.
#[test]
fn keys_of_other_kinds() {
    let shop = Shop::new();
    let ca = shop.ca(
        "pss",
        "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048",
        "-sha256",
    );
    assert_eq!(ca.public_key(), PublicKey::Rsa { bits: 2048 });
    let salt = "-sigopt rsa_pss_saltlen:digest";
    let leaf = shop.issue(
        "pss",
        "leaf",
        "keyUsage=nonRepudiation",
        &format!("-sha512 {salt}"),
    );
    assert_eq!(
        leaf.signature_algorithm(),
        Some(SignatureAlgorithm::RsaPssSha512)
    );
    leaf.verify_signed_by(&ca).unwrap();
    let refused = ca.verify_der(SignatureAlgorithm::RsaPkcs1Sha256, b"x", &[0; 256]);
    assert_eq!(refused, Err(jibek_certs::signer::SignatureError::Key));

    let bound = "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_pss_keygen_md:sha256 \
                 -pkeyopt rsa_pss_keygen_mgf1_md:sha256 -pkeyopt rsa_pss_keygen_saltlen:32";
    let ca = shop.ca("bound", bound, "-sha256");
    let leaf = shop.issue(
        "bound",
        "leaf2",
        "keyUsage=nonRepudiation",
        &format!("-sha256 {salt}"),
    );
    leaf.verify_signed_by(&ca).unwrap();
    let refused = ca.verify_der(SignatureAlgorithm::RsaPssSha512, b"x", &[0; 256]);
    assert_eq!(refused, Err(jibek_certs::signer::SignatureError::Key));

    for (name, words) in [
        ("p192", "-algorithm EC -pkeyopt ec_paramgen_curve:P-192"),
        ("k1", "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1"),
        (
            "explicit",
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit",
        ),
        ("ed25519", "-algorithm ED25519"),
    ] {
        let ca = shop.ca(name, words, "");
        assert_eq!(ca.public_key(), PublicKey::Unknown, "{name}");
        assert!(ca.verify_signed_by(&ca).is_err(), "{name}");
    }
    println!("VECTORS openssl 6 tried, 0 left out");
}

/// What OpenSSL signs we verify, what we sign OpenSSL verifies; the form of XML is the same numbers.
#[test]
fn signatures_both_ways() {
    let mut tried = 0;
    let shop = Shop::new();
    shop.write("message", "What is signed.");
    let message = shop.read("message");
    for kind in [
        KeyKind::EcP256,
        KeyKind::EcP384,
        KeyKind::EcP521,
        KeyKind::Rsa2048,
    ] {
        let key = SoftKey::generate(kind).unwrap();
        let spki = key.public_key_spki();
        shop.write("key.pem", key.to_pkcs8_pem().as_bytes());
        shop.run("pkey -in key.pem -pubout -out public.pem");
        for algorithm in SignatureAlgorithm::ALL {
            if algorithm.is_ecdsa() != key.algorithm().is_ecdsa() {
                continue;
            }
            let hash = algorithm.digest().name().replace('-', "").to_lowercase();
            let padding = if algorithm.is_pss() {
                "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest"
            } else {
                ""
            };
            shop.run(&format!(
                "dgst -{hash} {padding} -sign key.pem -out signature message"
            ));
            let signature = shop.read("signature");
            let what = format!("{kind:?} {algorithm:?}");
            assert_eq!(
                verify_spki_der(&spki, algorithm, &message, &signature),
                Ok(()),
                "{what}"
            );
            assert!(
                verify_spki_der(&spki, algorithm, b"Another.", &signature).is_err(),
                "{what}"
            );
            if algorithm.is_ecdsa() {
                let raw = ecdsa_der_to_raw(&signature, 66).unwrap();
                assert_eq!(
                    verify_spki(&spki, algorithm, &message, &raw),
                    Ok(()),
                    "{what}"
                );
            }
            tried += 1;
            let Ok(ours) = key.sign_der_with(algorithm, &message) else {
                let old = [DigestAlgorithm::Sha1, DigestAlgorithm::Sha224];
                assert!(old.contains(&algorithm.digest()), "{what}");
                continue;
            };
            shop.write("ours", ours);
            shop.run(&format!(
                "dgst -{hash} {padding} -verify public.pem -signature ours message"
            ));
            tried += 1;
        }
    }
    println!("VECTORS openssl {tried} tried, 0 left out");
}

/// Every extension that X-Road looks at, as OpenSSL writes it: what it means here.
#[test]
fn extensions_mean_what_they_say() {
    let mut tried = 0;
    let shop = Shop::new();
    let root = shop.ca("root", EC, "");
    // (extensions, authentication, signing, ocsp responder)
    for (at, (extensions, authentication, signing, responder)) in [
        ("keyUsage=critical,nonRepudiation", false, true, false),
        (
            "keyUsage=digitalSignature,nonRepudiation",
            true,
            true,
            false,
        ),
        ("keyUsage=critical,digitalSignature", true, false, false),
        ("keyUsage=critical,keyEncipherment", true, false, false),
        ("keyUsage=critical,dataEncipherment", true, false, false),
        ("keyUsage=critical,keyAgreement", false, false, false),
        (
            "keyUsage=critical,decipherOnly,keyAgreement",
            false,
            false,
            false,
        ),
        ("extendedKeyUsage=clientAuth", true, false, false),
        (
            "extendedKeyUsage=critical,clientAuth,serverAuth",
            true,
            false,
            false,
        ),
        ("extendedKeyUsage=serverAuth", false, false, false),
        (
            "extendedKeyUsage=OCSPSigning\nnoCheck=ignored",
            false,
            false,
            true,
        ),
        ("extendedKeyUsage=anyExtendedKeyUsage", false, false, false),
        ("basicConstraints=CA:false", false, false, false),
    ]
    .into_iter()
    .enumerate()
    {
        let leaf = shop.issue("root", &format!("leaf{at}"), extensions, "");
        let found = (
            leaf.is_authentication(),
            leaf.is_signing(),
            leaf.has_ocsp_signing_eku(),
        );
        assert_eq!(found, (authentication, signing, responder), "{extensions}");
        assert!(!leaf.is_ca(), "{extensions}");
        let path = verify_chain(
            &leaf,
            &[],
            std::slice::from_ref(&root),
            now(),
            &Budget::default(),
        );
        assert!(path.is_ok(), "{extensions}: {path:?}");
        tried += 1;
    }
    let leaf = shop.issue(
        "root",
        "aia",
        "authorityInfoAccess=caIssuers;URI:http://ca.example/ca.crt,OCSP;URI:http://ocsp.example/\nsubjectKeyIdentifier=hash\n\
         authorityKeyIdentifier=keyid,issuer\nsubjectAltName=DNS:ss1.example,IP:192.0.2.1\ncertificatePolicies=critical,1.2.3.4\n\
         crlDistributionPoints=URI:http://ca.example/crl",
        "",
    );
    assert_eq!(leaf.ocsp_aia_url(), Some("http://ocsp.example/"));
    assert_eq!(leaf.subject_key_id().map(<[u8]>::len), Some(20));
    verify_chain(
        &leaf,
        &[],
        std::slice::from_ref(&root),
        now(),
        &Budget::default(),
    )
    .unwrap();
    tried += 1;

    // As intermediates: who may issue, and for whom. OpenSSL is asked, too.
    for (at, (extensions, accepted)) in [
        ("basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign", true),
        ("basicConstraints=CA:true", true),
        ("basicConstraints=critical,CA:true,pathlen:0", true),
        ("basicConstraints=critical,CA:true\nkeyUsage=critical,cRLSign", false),
        ("basicConstraints=critical,CA:false\nkeyUsage=critical,keyCertSign", false),
        ("keyUsage=critical,keyCertSign", false),
        ("basicConstraints=critical,CA:true\nnameConstraints=critical,permitted;dirName:below", false),
        ("basicConstraints=critical,CA:true\nnameConstraints=critical,permitted;dirName:above", true),
        ("basicConstraints=critical,CA:true\nnameConstraints=critical,excluded;dirName:above", false),
        ("basicConstraints=critical,CA:true\nnameConstraints=critical,permitted;IP:192.0.2.0/255.255.255.0", true),
        ("basicConstraints=critical,CA:true\n1.2.3.4=critical,DER:0500", false),
        ("basicConstraints=critical,CA:true\n1.2.3.4=DER:0500", true),
        ("basicConstraints=critical,CA:true\npolicyConstraints=critical,requireExplicitPolicy:0", false),
        ("basicConstraints=critical,CA:true\ninhibitAnyPolicy=critical,0", true),
    ]
    .into_iter()
    .enumerate()
    {
        let (above, below) = (format!("ica{at}"), format!("below{at}"));
        let extensions = format!("{extensions}\n[below]\nO=Elsewhere\n[above]\nO=Test");
        let ica = shop.issue("root", &above, &extensions, "");
        let leaf = shop.issue(&above, &below, "keyUsage=critical,nonRepudiation", "");
        let path = verify_chain(
            &leaf,
            std::slice::from_ref(&ica),
            std::slice::from_ref(&root),
            now(),
            &Budget::default(),
        );
        assert_eq!(path.is_ok(), accepted, "{extensions}: {path:?}");
        let policies = if extensions.contains("requireExplicitPolicy") {
            "-policy_check"
        } else {
            ""
        };
        let theirs = shop.try_run(&format!("verify {policies} -CAfile root.pem -untrusted {above}.pem {below}.pem"));
        assert_eq!(theirs.status.success(), accepted, "{extensions}: {theirs:?}");
        tried += 1;
    }
    // A common name that can be a host's counts as one.
    let only =
        "basicConstraints=critical,CA:true\nnameConstraints=critical,permitted;DNS:example.org";
    let ica = shop.issue("root", "hosts", only, "");
    for (host, accepted) in [("a.example.org", true), ("a.example.com", false)] {
        let leaf = shop.issue("hosts", host, "keyUsage=critical,nonRepudiation", "");
        let along = std::slice::from_ref(&ica);
        let anchors = std::slice::from_ref(&root);
        let path = verify_chain(&leaf, along, anchors, now(), &Budget::default());
        assert_eq!(path.is_ok(), accepted, "{host}: {path:?}");
        let theirs = shop.try_run(&format!(
            "verify -CAfile root.pem -untrusted hosts.pem {host}.pem"
        ));
        assert_eq!(theirs.status.success(), accepted, "{host}: {theirs:?}");
        tried += 1;
    }
    println!("VECTORS openssl {tried} tried, 0 left out");
}

/// OpenSSL's responder, delegated or the CA itself, with signatures of every kind, judged by our rules.
#[test]
fn ocsp_answers_of_openssl() {
    let mut tried = 0;
    let shop = Shop::new();
    for (number, (words, way)) in [
        (EC, ""),
        (
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            "-rmd sha384",
        ),
        (
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
            "-rmd sha512",
        ),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "-rmd sha1"),
        (
            "-algorithm RSA -pkeyopt rsa_keygen_bits:3072",
            "-rmd sha512",
        ),
        (
            "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            "-rmd sha256 -rsigopt rsa_padding_mode:pss -rsigopt rsa_pss_saltlen:32",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("ca{number}");
        let ca = shop.ca(&name, words, "");
        let leaf = shop.issue(
            &name,
            &format!("leaf{number}"),
            "keyUsage=critical,nonRepudiation",
            "",
        );
        let responder = format!("responder{number}");
        shop.run(&format!("genpkey {words} -out {responder}.key"));
        shop.issue(&name, &responder, "extendedKeyUsage=OCSPSigning", "");
        let serial = String::from_utf8(
            shop.try_run(&format!("x509 -serial -noout -in leaf{number}.pem"))
                .stdout,
        )
        .unwrap();
        let serial = serial.trim().strip_prefix("serial=").unwrap().to_owned();
        shop.write("request", request_der(&leaf, &ca));
        for (state, line) in [
            (
                "good",
                format!("V\t491231235959Z\t\t{serial}\tunknown\t/O=Test/CN=leaf{number}\n"),
            ),
            (
                "revoked",
                format!(
                    "R\t491231235959Z\t200101000000Z\t{serial}\tunknown\t/O=Test/CN=leaf{number}\n"
                ),
            ),
            ("unknown", String::new()),
        ] {
            shop.write("index.txt", line);
            for signer in [responder.as_str(), name.as_str()] {
                for by_key in ["", "-resp_key_id"] {
                    shop.run(&format!(
                        "ocsp -index index.txt -CA {name}.pem -rsigner {signer}.pem -rkey {signer}.key -reqin request \
                         -respout response -ndays 1 {way} {by_key}"
                    ));
                    let response = OcspResponse::parse(shop.read("response")).unwrap();
                    let authorities =
                        Authorities::new(vec![ApprovedCa::new(ca.clone(), true, "any")]);
                    let policy = Policy::new(Duration::from_secs(3600), true);
                    let found =
                        verify_with_ocsp(&leaf, &[], &authorities, &[response], now(), policy);
                    let what = format!("{words} {way} {signer} {by_key} {state}: {found:?}");
                    match (state, &found) {
                        ("good", Ok(verified)) => {
                            let weak = way.contains("sha1").then_some(Weakness::Sha1);
                            assert_eq!(verified.weaknesses(), Vec::from_iter(weak), "{what}");
                        }
                        ("revoked" | "unknown", Err(CertError::Ocsp { source, .. })) => {
                            assert_eq!(source.code(), "cert_validation", "{what}");
                        }
                        _ => panic!("{what}"),
                    }
                    tried += 1;
                }
            }
        }
    }
    println!("VECTORS openssl {tried} tried, 0 left out");
}

/// OpenSSL's time-stamps with keys of every kind, judged by pinned certificates; tokens over another imprint, of another
/// authority, and of one that the configuration does not have.
#[test]
fn time_stamps_of_openssl() {
    let mut tried = 0;
    let shop = Shop::new();
    let root = shop.ca("root", EC, "");
    let data = b"What existed.";
    for (at, (words, hash)) in [
        (EC, "sha256"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "sha384"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "sha512"),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "sha512"),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:3072", "sha1"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("tsa{at}");
        shop.run(&format!("genpkey {words} -out {name}.key"));
        let purpose = "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature";
        let tsa = shop.issue("root", &name, purpose, "");
        shop.write(
            "ts.cnf",
            format!(
                "[tsa]\ndefault_tsa=one\n[one]\nserial=serial\nsigner_cert={name}.pem\nsigner_key={name}.key\nsigner_digest={hash}\n\
                 default_policy=1.2.3.4\ndigests=sha1,sha256,sha384,sha512\ness_cert_id_alg=sha256\n"
            ),
        );
        shop.write("serial", "01\n");
        for algorithm in [
            DigestAlgorithm::Sha1,
            DigestAlgorithm::Sha256,
            DigestAlgorithm::Sha512,
        ] {
            for nonce in [None, Some(7)] {
                let request = TimestampRequest::new(&digest(algorithm, data), nonce);
                shop.write("query", request.der());
                shop.run("ts -reply -config ts.cnf -queryfile query -out reply");
                let reply = shop.read("reply");
                let token = TimestampToken::from_response(&reply, &request).unwrap();
                let what = format!("{words} {hash} {algorithm}");
                let stamp = token.verify(data, std::slice::from_ref(&tsa));
                let stamp = stamp.unwrap_or_else(|error| panic!("{what}: {error}"));
                let weak = hash == "sha1" || algorithm == DigestAlgorithm::Sha1;
                assert_eq!(
                    stamp.weaknesses(),
                    Vec::from_iter(weak.then_some(Weakness::Sha1)),
                    "{what}"
                );
                let stored = token.with_certificate(&tsa).unwrap();
                let stored = TimestampToken::parse(&stored).unwrap();
                assert_eq!(stored.certificates(), std::slice::from_ref(&tsa));
                stored.verify(data, std::slice::from_ref(&tsa)).unwrap();

                let imprint = token.verify(b"What did not.", std::slice::from_ref(&tsa));
                assert!(matches!(imprint, Err(TspError::Imprint { .. })), "{what}");
                let pinned = token.verify(data, std::slice::from_ref(&root));
                assert!(matches!(pinned, Err(TspError::UnknownAuthority)), "{what}");
                let other = TimestampRequest::new(&digest(algorithm, b"x"), nonce);
                let answer = TimestampToken::from_response(&reply, &other);
                assert!(matches!(answer, Err(TspError::Imprint { .. })), "{what}");
                let other = TimestampRequest::new(&digest(algorithm, data), Some(8));
                let answer = TimestampToken::from_response(&reply, &other);
                assert!(matches!(answer, Err(TspError::Nonce)), "{what}");
                tried += 1;
            }
        }
    }
    println!("VECTORS openssl {tried} tried, 0 left out");
}

/// A key that an authority changed under the same name: certificates of both keys find their own.
#[test]
fn an_authority_that_changed_its_key() {
    let shop = Shop::new();
    let root = shop.ca("root", EC, "");
    let mut anchors = Vec::new();
    let mut leaves = Vec::new();
    for generation in 0..3 {
        shop.run(&format!("genpkey {EC} -out ca{generation}.key"));
        shop.run(&format!(
            "req -new -config ca.cnf -key ca{generation}.key -subj /O=Test/CN=same -out ca.csr"
        ));
        shop.write(
            "ca.ext",
            "[v3]\nbasicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n",
        );
        shop.run(&format!(
            "x509 -req -in ca.csr -CA root.pem -CAkey root.key -CAcreateserial -days 10 -extfile ca.ext -extensions v3 \
             -out ca{generation}.pem"
        ));
        anchors.push(shop.certificate(&format!("ca{generation}.pem")));
        leaves.push(shop.issue(
            &format!("ca{generation}"),
            &format!("leaf{generation}"),
            "keyUsage=nonRepudiation",
            "",
        ));
    }
    for (leaf, ca) in leaves.iter().zip(&anchors) {
        let direct = verify_chain(leaf, &[], &anchors, now(), &Budget::default()).unwrap();
        assert_eq!(direct.anchor(), ca);
        let roots = std::slice::from_ref(&root);
        let over = verify_chain(leaf, &anchors, roots, now(), &Budget::default()).unwrap();
        assert_eq!(over.certificates(), [leaf.clone(), ca.clone()]);
    }
    let missing = [anchors[0].clone(), anchors[1].clone()];
    let refused = verify_chain(&leaves[2], &[], &missing, now(), &Budget::default());
    assert!(matches!(refused, Err(ChainError::Signature { .. })));
}

/// Tokens put together by `openssl cms`: shapes that are legal and rare, and shapes that are not.
#[test]
fn tokens_of_every_shape() {
    let mut tried = 0;
    let shop = Shop::new();
    shop.ca("root", EC, "");
    let purpose = "extendedKeyUsage=critical,timeStamping\nsubjectKeyIdentifier=hash";
    let mut pins = Vec::new();
    for (name, words) in [
        ("ec", EC),
        ("rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"),
        ("other", EC),
    ] {
        shop.run(&format!("genpkey {words} -out {name}.key"));
        pins.push(shop.issue("root", name, purpose, ""));
    }
    shop.write(
        "ts.cnf",
        "[tsa]\ndefault_tsa=one\n[one]\nserial=serial\nsigner_cert=ec.pem\nsigner_key=ec.key\nsigner_digest=sha256\n\
         default_policy=1.2.3.4\ndigests=sha512\n",
    );
    shop.write("serial", "01\n");
    let data = b"What existed.";
    let request = TimestampRequest::new(&digest(DigestAlgorithm::Sha512, data), None);
    shop.write("query", request.der());
    shop.run("ts -reply -config ts.cnf -queryfile query -token_out -out token");
    shop.run("cms -verify -noverify -binary -inform DER -in token -certfile ec.pem -out info");
    let info = "-econtent_type 1.2.840.113549.1.9.16.1.4";
    let make = |options: &str| {
        shop.run(&format!(
            "cms -sign -binary -outform DER -in info -out made {options}"
        ));
        shop.read("made")
    };
    let ec = "-signer ec.pem -inkey ec.key";
    let rsa = "-signer rsa.pem -inkey rsa.key";
    let pss = "-keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:digest";
    for options in [
        format!("-nodetach -cades {info} {ec}"),
        format!("-nodetach -cades {info} {ec} -md sha512"),
        format!("-nodetach -cades {info} {ec} -keyid"),
        format!("-nodetach -cades {info} {ec} -nocerts"),
        format!("-nodetach -cades {info} {ec} -stream"),
        format!("-nodetach -cades {info} {rsa} -md sha384"),
        format!("-nodetach -cades {info} {rsa} -md sha256 {pss}"),
        format!("-nodetach -cades {info} {rsa} -md sha512 {pss}"),
    ] {
        let made = make(&options);
        let stamp = TimestampToken::parse(&made).and_then(|token| token.verify(data, &pins[..2]));
        assert!(stamp.is_ok(), "{options}: {stamp:?}");
        let pinned = TimestampToken::parse(&made).and_then(|token| token.verify(data, &pins[2..]));
        assert!(
            matches!(pinned, Err(TspError::UnknownAuthority)),
            "{options}: {pinned:?}"
        );
        tried += 2;
    }
    let reason = |options: &str| {
        TimestampToken::parse(&make(options))
            .and_then(|token| token.verify(data, &pins))
            .map(|stamp| stamp.gen_time())
            .unwrap_err()
    };
    let two = reason(&format!(
        "-nodetach -cades {info} {ec} -signer other.pem -inkey other.key"
    ));
    assert_eq!(
        two,
        TspError::Malformed("not exactly one signer".to_owned())
    );
    let detached = reason(&format!("-cades {info} {ec}"));
    assert_eq!(detached, TspError::Malformed("no TSTInfo".to_owned()));
    let plain = reason(&format!("-nodetach -cades {ec}"));
    assert_eq!(
        plain,
        TspError::Malformed("not signed data over a TSTInfo".to_owned())
    );
    for bare in ["", "-noattr"] {
        let refused = reason(&format!("-nodetach {info} {ec} {bare}"));
        assert_eq!(refused, TspError::NoSigningCertificate, "{bare}");
    }
    // A salt that is not the digest's is no algorithm that is known here.
    let salt = reason(&format!(
        "-nodetach -cades {info} {rsa} -md sha256 -keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:20"
    ));
    assert_eq!(salt, TspError::Attributes("unknown signature algorithm"));
    tried += 6;
    // Named by the pinned certificate, made by another key.
    shop.run("req -new -config ca.cnf -key other.key -subj /O=Test/CN=ec -out forged.csr");
    let serial = shop.try_run("x509 -serial -noout -in ec.pem").stdout;
    let serial = String::from_utf8(serial).unwrap();
    let serial = serial.trim().strip_prefix("serial=").unwrap().to_owned();
    shop.run(&format!(
        "x509 -req -in forged.csr -CA root.pem -CAkey root.key -set_serial 0x{serial} -days 10 -extfile ec.ext -extensions v3 \
         -out forged.pem"
    ));
    let forged = reason(&format!(
        "-nodetach -cades {info} -signer forged.pem -inkey other.key"
    ));
    assert_eq!(forged, TspError::Signature);
    tried += 1;
    println!("VECTORS openssl {tried} tried, 0 left out");
}
