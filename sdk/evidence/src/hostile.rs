//! Documents made to deceive or to exhaust, as tables: what the wire answers ([`open`]), and what a court does ([`verify_container`]),
//! whose verdict is X-Road's and which tells the rest in findings.
//!
//! Whatever the form, a message that was not signed is never taken.

use bytes::Bytes;
use jibek_certs::{
    digest::{Digest, DigestAlgorithm},
    signer::KeyKind,
};

use crate::{
    container::{Container, ContainerLimits, write_container},
    court::{Court, REQUEST, code, findings},
    open::{SignedParts, open},
    scene::{Scene, sha512},
    verify::{Memory, signed_form, stamp_time, verify_container, verify_container_with},
};

/// A court with a signature that holds, in the pieces that forgers put together anew.
struct Workshop {
    court: Court,
    /// Of all documents tried before: none may help another.
    memory: Memory,
    message: Digest,
    good: String,
    signature: String,
    signed_info: String,
    properties: String,
    qualifying: String,
    x509: String,
}

impl Workshop {
    fn new() -> Self {
        let court = Court::new();
        let message = sha512(REQUEST.as_bytes());
        let signed = court.scene.sign(&[
            ("/message.xml", Some(message)),
            ("#signed-properties", None),
        ]);
        let good = String::from_utf8(signed.to_vec()).unwrap();
        let between = |start: &str, end: &str| {
            let from = good.find(start).unwrap();
            let to = good.find(end).unwrap() + end.len();
            good[from..to].to_owned()
        };
        Self {
            memory: Memory::default(),
            message,
            signature: between("<ds:Signature ", "</ds:Signature>"),
            signed_info: between("<ds:SignedInfo>", "</ds:SignedInfo>"),
            properties: between("<xades:SignedProperties", "</xades:SignedProperties>"),
            qualifying: between(
                "<xades:QualifyingProperties",
                "</xades:QualifyingProperties>",
            ),
            x509: between("<ds:X509Data>", "</ds:X509Data>"),
            good,
            court,
        }
    }

    /// The wire's answer to a document over a message.
    fn opened(&self, document: &str, message: &Digest) -> String {
        let signature = Bytes::copy_from_slice(document.as_bytes());
        let parts = SignedParts {
            signature: &signature,
            hash_chain_result: None,
            hash_chain: None,
            message,
            attachments: &[],
        };
        let scene = &self.court.scene;
        match open(&parts, &scene.sender, &scene.trust, scene.now) {
            Ok(_) => "valid".to_owned(),
            Err(error) => error.code(),
        }
    }

    /// The court's, with findings; whoever forges can have it stamped.
    fn judged(&self, document: &str, message: &str) -> (String, Vec<&'static str>) {
        let mut parts = self.court.contain_signature(
            Bytes::copy_from_slice(document.as_bytes()),
            self.court.scene.now,
            DigestAlgorithm::Sha512,
        );
        parts.message = Bytes::copy_from_slice(message.as_bytes());
        let container = Container::read(
            &write_container(&parts).unwrap(),
            &ContainerLimits::default(),
        )
        .unwrap();
        let verdict = verify_container(&container, &self.court.scene.trust);
        let remembered = verify_container_with(&container, &self.court.scene.trust, &self.memory);
        assert_eq!(code(&remembered), code(&verdict));
        assert_eq!(stamp_time(&container).is_some(), parts.ts_token.is_some());
        (code(&verdict).to_owned(), findings(&verdict))
    }

    /// Tries a document, with the message that was signed and with another.
    fn check(&self, what: &str, document: &str, wire: &str, verdict: &str, found: &[&str]) {
        let evil = REQUEST.replace("17", "18");
        assert_eq!(self.opened(document, &self.message), wire, "wire: {what}");
        assert_ne!(
            self.opened(document, &sha512(evil.as_bytes())),
            "valid",
            "wire, another message: {what}"
        );
        let (code, findings) = self.judged(document, REQUEST);
        assert_eq!(code, verdict, "container: {what}: {findings:?}");
        if verdict == "valid" {
            assert_eq!(findings, found, "container: {what}");
        }
        assert_ne!(
            self.judged(document, &evil).0,
            "valid",
            "container, another message: {what}"
        );
    }
}

const MALFORMED: &str = "malformed_signature";
const VALUE: &str = "invalid_signature_value";

/// What is verified and what is used are torn apart: the eight published forms of wrapping, in the shape of this signature, whose
/// same-document part are the signed properties, and more of the kind.
#[test]
fn wrapped_signatures_are_refused() {
    let shop = Workshop::new();
    let Workshop {
        good,
        signature,
        signed_info,
        properties,
        qualifying,
        x509,
        ..
    } = &shop;
    let evil_digest = sha512(REQUEST.replace("17", "18").as_bytes()).to_base64();
    let evil_info = &signed_info.replace(&shop.message.to_base64(), &evil_digest);
    assert_ne!(evil_info, signed_info);
    let evil_signature = &signature.replace(signed_info, evil_info);
    let same_id = &properties.replace("2026-", "2020-");
    let other_id = &same_id.replace("Id=\"signed-properties\"", "Id=\"other\"");
    let holding = |outer: &str, inner: &str| {
        outer.replace(
            "</xades:SignedProperties>",
            &format!("{inner}</xades:SignedProperties>"),
        )
    };
    let other = Scene::new(KeyKind::EcP256);
    let other_x509 = {
        let signed = other.sign(&[("/message.xml", Some(shop.message))]);
        let text = String::from_utf8(signed.to_vec()).unwrap();
        let (_, rest) = text.split_once("<ds:X509Data>").unwrap();
        format!(
            "<ds:X509Data>{}</ds:X509Data>",
            rest.split_once("</ds:X509Data>").unwrap().0
        )
    };
    let used_not_signed: &[&str] = &["properties_uncovered", "signing_time_far_from_stamp"];
    for (what, document, wire, verdict, found) in [
        (
            "1: the signature inside a forged one",
            good.replace(
                signature,
                &evil_signature.replace(
                    "</ds:Object>",
                    &format!("</ds:Object><ds:Object>{signature}</ds:Object>"),
                ),
            ),
            MALFORMED,
            VALUE,
            &[][..],
        ),
        (
            "2: a forged signature before",
            good.replace(signature, &format!("{evil_signature}{signature}")),
            MALFORMED,
            VALUE,
            &[],
        ),
        (
            "3: a forged signature behind",
            good.replace(signature, &format!("{signature}{evil_signature}")),
            MALFORMED,
            "valid",
            &["duplicate_ids", "content_unverified"],
        ),
        (
            "4: properties inside forged ones",
            good.replace(properties, &holding(other_id, properties)),
            MALFORMED,
            "valid",
            used_not_signed,
        ),
        (
            "5: forged properties in their place, of the same Id, and they at the end",
            good.replace(properties, same_id).replace(
                "</ds:Object>",
                &format!("</ds:Object><ds:Object>{properties}</ds:Object>"),
            ),
            MALFORMED,
            VALUE,
            &[],
        ),
        (
            "5: and they before",
            good.replace(properties, same_id).replace(
                "<ds:Object>",
                &format!("<ds:Object>{properties}</ds:Object><ds:Object>"),
            ),
            MALFORMED,
            MALFORMED,
            &[],
        ),
        (
            "6: properties in the key's place",
            good.replace(properties, other_id)
                .replace("</ds:KeyInfo>", &format!("{properties}</ds:KeyInfo>")),
            MALFORMED,
            "valid",
            used_not_signed,
        ),
        (
            "7: properties among the unsigned ones",
            good.replace(properties, other_id).replace(
                "</xades:UnsignedSignatureProperties>",
                &format!("{properties}</xades:UnsignedSignatureProperties>"),
            ),
            MALFORMED,
            "valid",
            used_not_signed,
        ),
        (
            "8: forged properties inside the signed ones",
            good.replace(properties, &holding(properties, other_id)),
            VALUE,
            VALUE,
            &[],
        ),
        (
            "properties before the qualifying ones",
            good.replace(
                qualifying,
                &format!("{properties}{}", qualifying.replace(properties, other_id)),
            ),
            MALFORMED,
            "valid",
            used_not_signed,
        ),
        (
            "forged properties behind, of the same Id",
            good.replace(properties, &format!("{properties}{same_id}")),
            MALFORMED,
            "valid",
            &["duplicate_ids"],
        ),
        (
            "forged properties before, of the same Id",
            good.replace(properties, &format!("{same_id}{properties}")),
            MALFORMED,
            VALUE,
            &[],
        ),
        (
            "forged properties before, of another Id",
            good.replace(properties, &format!("{other_id}{properties}")),
            MALFORMED,
            "valid",
            used_not_signed,
        ),
        (
            "more qualifying properties",
            good.replace(
                qualifying,
                &format!("{qualifying}{}", qualifying.replace(properties, other_id)),
            ),
            MALFORMED,
            "valid",
            &["duplicate_ids", "content_unverified"],
        ),
        (
            "an object with something else",
            good.replace("</ds:Object>", "</ds:Object><ds:Object><evil/></ds:Object>"),
            MALFORMED,
            "valid",
            &["content_unverified"],
        ),
        (
            "a second SignedInfo before",
            good.replace(signed_info, &format!("{evil_info}{signed_info}")),
            MALFORMED,
            MALFORMED,
            &[],
        ),
        (
            "a second SignedInfo behind",
            good.replace(signed_info, &format!("{signed_info}{evil_info}")),
            MALFORMED,
            MALFORMED,
            &[],
        ),
        (
            "another certificate",
            good.replace(x509, &other_x509),
            MALFORMED,
            VALUE,
            &[],
        ),
        (
            "another certificate before",
            good.replace(x509, &format!("{other_x509}{x509}")),
            MALFORMED,
            VALUE,
            &[],
        ),
        (
            "another certificate behind",
            good.replace(x509, &format!("{x509}{other_x509}")),
            "valid",
            "valid",
            &[],
        ),
        (
            "a key without certificate",
            good.replace(x509, "<ds:KeyValue></ds:KeyValue>"),
            MALFORMED,
            MALFORMED,
            &[],
        ),
        (
            "a certificate from elsewhere",
            good.replace(
                x509,
                "<ds:RetrievalMethod URI=\"http://example.org/\"></ds:RetrievalMethod>",
            ),
            MALFORMED,
            MALFORMED,
            &[],
        ),
        (
            "the properties' Id before them",
            good.replace("<ds:KeyInfo>", "<ds:KeyInfo Id=\"signed-properties\">"),
            MALFORMED,
            VALUE,
            &[],
        ),
        (
            "the properties' Id on the root",
            good.replace(
                "<asic:XAdESSignatures",
                "<asic:XAdESSignatures Id=\"signed-properties\"",
            ),
            MALFORMED,
            VALUE,
            &[],
        ),
        (
            "their Id in other letters",
            good.replace("<ds:KeyInfo>", "<ds:KeyInfo ID=\"signed-properties\">"),
            MALFORMED,
            "valid",
            &["duplicate_ids"],
        ),
        (
            "their Id in a namespace",
            good.replace(
                "<ds:KeyInfo>",
                "<ds:KeyInfo xades:Id=\"signed-properties\">",
            ),
            MALFORMED,
            "valid",
            &["duplicate_ids"],
        ),
        (
            "a second key",
            good.replace("</ds:KeyInfo>", "</ds:KeyInfo><ds:KeyInfo></ds:KeyInfo>"),
            MALFORMED,
            MALFORMED,
            &[],
        ),
        (
            "something else behind the key",
            good.replace("</ds:KeyInfo>", "</ds:KeyInfo><evil/>"),
            MALFORMED,
            MALFORMED,
            &[],
        ),
        (
            "another target",
            good.replace("Target=\"#signature\"", "Target=\"#other\""),
            MALFORMED,
            "valid",
            &[],
        ),
        (
            "another root",
            good.replace("asic:XAdESSignatures", "asic:Signatures"),
            MALFORMED,
            "valid",
            &[],
        ),
        (
            "another prefix of the signature",
            good.replace(
                "ds:Signature ",
                "d:Signature xmlns:d=\"http://www.w3.org/2000/09/xmldsig#\" ",
            )
            .replace("</ds:Signature>", "</d:Signature>"),
            VALUE,
            MALFORMED,
            &[],
        ),
        (
            "white space before the signature",
            good.replace("<ds:Signature ", "\n<ds:Signature "),
            MALFORMED,
            "valid",
            &[],
        ),
        (
            "an instruction before the signature",
            good.replace("<ds:Signature ", "<?evil?><ds:Signature "),
            MALFORMED,
            "valid",
            &[],
        ),
        (
            "an instruction before the root",
            good.replace("<asic:XAdESSignatures", "<?evil?><asic:XAdESSignatures"),
            "valid",
            "valid",
            &[],
        ),
        (
            "an instruction in SignedInfo",
            good.replace("</ds:SignedInfo>", "<?evil?></ds:SignedInfo>"),
            VALUE,
            VALUE,
            &[],
        ),
        (
            "a namespace less",
            good.replace(
                " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"",
                "",
            ),
            VALUE,
            VALUE,
            &[],
        ),
        (
            "a namespace more",
            good.replace(" xmlns:xsi=", " xmlns:evil=\"urn:evil\" xmlns:xsi="),
            VALUE,
            VALUE,
            &[],
        ),
        (
            "an inherited attribute",
            good.replace("<ds:Signature ", "<ds:Signature xml:lang=\"en\" "),
            VALUE,
            VALUE,
            &[],
        ),
        (
            "a comment in a digest",
            good.replacen("<ds:DigestValue>", "<ds:DigestValue><!-- c -->", 1),
            "valid",
            "valid",
            &[],
        ),
        (
            "a digest cut by a comment",
            good.replace(
                &shop.message.to_base64(),
                &format!(
                    "{}<!---->{}",
                    &shop.message.to_base64()[..40],
                    &shop.message.to_base64()[40..]
                ),
            ),
            "valid",
            "valid",
            &[],
        ),
        (
            "a digest in a CDATA section",
            good.replace(
                &shop.message.to_base64(),
                &format!("<![CDATA[{}]]>", shop.message.to_base64()),
            ),
            "valid",
            "valid",
            &[],
        ),
        (
            "an element in the value",
            good.replace("</ds:SignatureValue>", "<evil/></ds:SignatureValue>"),
            MALFORMED,
            "valid",
            &["loose_encoding"],
        ),
        (
            "foreign letters in the value",
            good.replace("</ds:SignatureValue>", "**</ds:SignatureValue>"),
            MALFORMED,
            "valid",
            &["loose_encoding"],
        ),
    ] {
        assert_ne!(&document, good, "{what}");
        shop.check(what, &document, wire, verdict, found);
    }
    shop.check("as it was", good, "valid", "valid", &[]);
}

/// Algorithms and transforms that would let a forger choose what is signed, or with which key.
#[test]
fn other_algorithms_and_transforms_are_refused() {
    let shop = Workshop::new();
    let good = &shop.good;
    let method = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512";
    let inclusive = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315";
    let sha512 = "http://www.w3.org/2001/04/xmlenc#sha512";
    let transformed = |algorithm: &str| {
        let transform = format!(
            "<ds:Transforms><ds:Transform Algorithm=\"{algorithm}\"></ds:Transform></ds:Transforms>"
        );
        [
            good.replacen(
                "<ds:DigestMethod",
                &format!("{transform}<ds:DigestMethod"),
                1,
            ),
            good.replacen(
                "URI=\"#signed-properties\">",
                &format!("URI=\"#signed-properties\">{transform}"),
                1,
            ),
        ]
    };
    for (what, document, wire, verdict) in [
        ("a key that everybody has", good.replace(method, "http://www.w3.org/2000/09/xmldsig#hmac-sha1"), MALFORMED, MALFORMED),
        ("a key that everybody has, cut short", good.replace(&format!("{method}\">"), "http://www.w3.org/2001/04/xmldsig-more#hmac-sha512\"><ds:HMACOutputLength>0</ds:HMACOutputLength>"), MALFORMED, MALFORMED),
        ("MD5", good.replace(method, "http://www.w3.org/2001/04/xmldsig-more#rsa-md5"), MALFORMED, MALFORMED),
        ("no signature at all", good.replace(method, ""), MALFORMED, MALFORMED),
        ("another key's algorithm", good.replace(method, "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"), VALUE, VALUE),
        ("another canonical form", good.replace(inclusive, "http://www.w3.org/2001/10/xml-exc-c14n#"), MALFORMED, VALUE),
        ("no canonical form", good.replace(inclusive, "urn:none"), MALFORMED, MALFORMED),
        ("a digest of MD5", good.replacen(sha512, "http://www.w3.org/2001/04/xmldsig-more#md5", 1), MALFORMED, VALUE),
    ] {
        assert_ne!(&document, good, "{what}");
        shop.check(what, &document, wire, verdict, &[]);
    }
    for algorithm in [
        inclusive,
        "http://www.w3.org/2001/10/xml-exc-c14n#",
        "http://www.w3.org/2000/09/xmldsig#base64",
        "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
        "http://www.w3.org/TR/1999/REC-xpath-19991116",
        "http://www.w3.org/2002/06/xmldsig-filter2",
        "http://www.w3.org/TR/1999/REC-xslt-19991116",
    ] {
        for document in transformed(algorithm) {
            assert_ne!(&document, good);
            shop.check(algorithm, &document, MALFORMED, VALUE, &[]);
        }
    }
}

/// References that lead nowhere, elsewhere or outside. Each document is signed anew, by the member itself.
#[test]
fn references_elsewhere_are_refused() {
    let shop = Workshop::new();
    let mimetype = sha512(b"application/vnd.etsi.asic-e+zip");
    let nothing = sha512(b"");
    for (uri, digest, wire, verdict) in [
        ("/nothing.xml", nothing, VALUE, VALUE),
        ("/attachment1", nothing, VALUE, VALUE),
        ("/mimetype", mimetype, VALUE, "valid"),
        ("mimetype", mimetype, VALUE, "valid"),
        ("/mimetype", nothing, VALUE, VALUE),
        ("//mimetype", mimetype, VALUE, VALUE),
        ("/./mimetype", mimetype, VALUE, VALUE),
        ("/META-INF/../mimetype", mimetype, VALUE, VALUE),
        ("/mimetyp%65", mimetype, VALUE, VALUE),
        ("/MIMETYPE", mimetype, VALUE, VALUE),
        ("http://example.org/mimetype", mimetype, VALUE, VALUE),
        ("file:///etc/passwd", nothing, VALUE, VALUE),
        ("file:mimetype", mimetype, VALUE, VALUE),
        ("#nothing", nothing, VALUE, VALUE),
        ("#", nothing, VALUE, VALUE),
        ("", nothing, VALUE, VALUE),
        ("#xpointer(/)", nothing, VALUE, VALUE),
        (
            "#xpointer(id(&apos;signed-properties&apos;))",
            nothing,
            VALUE,
            VALUE,
        ),
        ("/message.xml", shop.message, MALFORMED, "valid"),
        ("#signed-properties", nothing, MALFORMED, VALUE),
        // an attribute of the same name in a namespace, which a careless look-up would take for the URI
        (
            "/nothing.xml\" xades:URI=\"/mimetype",
            mimetype,
            VALUE,
            VALUE,
        ),
        (
            "/mimetype\" xades:URI=\"/nothing.xml",
            mimetype,
            VALUE,
            "valid",
        ),
    ] {
        let signed = shop.court.scene.sign(&[
            ("/message.xml", Some(shop.message)),
            ("#signed-properties", None),
            (uri, Some(digest)),
        ]);
        let document = String::from_utf8(signed.to_vec()).unwrap();
        shop.check(uri, &document, wire, verdict, &[]);
    }
    let many: Vec<String> = (1..=30)
        .map(|number| format!("/attachment{number}"))
        .collect();
    let references: Vec<(&str, Option<Digest>)> =
        std::iter::once(("/message.xml", Some(shop.message)))
            .chain(many.iter().map(|uri| (uri.as_str(), Some(nothing))))
            .collect();
    let signed = shop.court.scene.sign(&references);
    let document = String::from_utf8(signed.to_vec()).unwrap();
    shop.check("31 references", &document, MALFORMED, MALFORMED, &[]);
}

/// What is not XML, what XML must not have here, and what costs more than it is worth: told without a tree being built.
#[test]
fn hostile_documents_are_refused() {
    const NO_XML: &str = "invalid_xml";
    let shop = Workshop::new();
    let good = &shop.good;
    let declarations: String = (0..3000)
        .map(|number| format!("<a xmlns:n{number}=\"u{number}\">"))
        .collect();
    let attributes: String = (0..50_000)
        .map(|number| format!(" a{number}=\"\""))
        .collect();
    let long = "n".repeat(1 << 20);
    let inside = |text: &str| good.replace("</ds:Object>", &format!("{text}</ds:Object>"));
    let typed = |text: &str| good.replacen("<asic:XAdES", &format!("{text}<asic:XAdES"), 1);
    for (what, document, expected) in [
        ("no XML", "no XML".to_owned(), NO_XML),
        (
            "an end that is missing",
            good.replace("</asic:XAdESSignatures>", ""),
            NO_XML,
        ),
        ("two roots", format!("{good}<a/>"), NO_XML),
        ("a letter that XML does not have", inside("\u{1}"), NO_XML),
        ("a reference to one", inside("&#0;"), NO_XML),
        ("an entity that nobody declared", inside("&evil;"), NO_XML),
        ("a prefix that nobody declared", inside("<evil:a/>"), NO_XML),
        ("an attribute twice", inside("<a b='' b=''/>"), NO_XML),
        ("a DOCTYPE", typed("<!DOCTYPE x>"), MALFORMED),
        (
            "entities",
            typed("<!DOCTYPE x [<!ENTITY e \"e\">]>"),
            MALFORMED,
        ),
        (
            "entities of entities",
            typed(
                "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;&b;\">]>",
            ),
            MALFORMED,
        ),
        (
            "an entity from a file",
            typed("<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>"),
            MALFORMED,
        ),
        (
            "a DTD from elsewhere",
            typed("<!DOCTYPE x SYSTEM \"http://example.org/x.dtd\">"),
            MALFORMED,
        ),
        (
            "another encoding",
            good.replace("encoding=\"UTF-8\"", "encoding=\"UTF-16\""),
            NO_XML,
        ),
        ("elements without end", "<a>".repeat(200_000), MALFORMED),
        (
            "elements in elements",
            inside(&format!(
                "{}{}",
                "<a>".repeat(200_000),
                "</a>".repeat(200_000)
            )),
            MALFORMED,
        ),
        (
            "elements beside elements",
            inside(&"<a/>".repeat(300_000)),
            MALFORMED,
        ),
        ("namespaces in namespaces", declarations, MALFORMED),
        (
            "many namespaces",
            inside(&format!(
                "<a{}/>",
                attributes
                    .replace(" a", " xmlns:a")
                    .replace("\"\"", "\"u\"")
            )),
            MALFORMED,
        ),
        (
            "many attributes",
            inside(&format!("<a{attributes}/>")),
            MALFORMED,
        ),
        (
            "a name of a megabyte",
            inside(&format!("<{long}/>")),
            MALFORMED,
        ),
        (
            "an attribute's name of a megabyte",
            inside(&format!("<a {long}=''/>")),
            MALFORMED,
        ),
        (
            "an attribute of a megabyte",
            inside(&format!("<a b='{long}'/>")),
            MALFORMED,
        ),
        (
            "an instruction of a megabyte",
            inside(&format!("<?a {long}?>")),
            MALFORMED,
        ),
        (
            "a comment of a megabyte",
            inside(&format!("<!--{long}-->")),
            MALFORMED,
        ),
        (
            "more bytes than any signature has",
            inside(&" ".repeat(17 << 20)),
            MALFORMED,
        ),
    ] {
        shop.check(what, &document, expected, expected, &[]);
    }
}

/// A flipped bit of SignedInfo or of the signed properties changes their canonical form, and then nothing holds; or it does not, and
/// then all of it holds.
#[test]
fn flips_change_the_form_or_nothing() {
    let shop = Workshop::new();
    // A tab between attributes, of which one flip makes a carriage return.
    let document = shop
        .good
        .replacen("<ds:Reference Id", "<ds:Reference\tId", 1)
        .replacen(
            "<xades:SignedProperties Id",
            "<xades:SignedProperties\tId",
            1,
        );
    assert_eq!(shop.opened(&document, &shop.message), "valid");
    let form = signed_form(document.as_bytes());
    let (mut equal, mut refused) = (0, 0);
    for (start, end) in [
        ("<ds:SignedInfo>", "</ds:SignedInfo>"),
        ("<xades:SignedProperties", "</xades:SignedProperties>"),
    ] {
        let from = document.find(start).unwrap();
        let to = document.find(end).unwrap() + end.len();
        let tab = from + document[from..].find('\t').unwrap();
        for place in (from..to).step_by(13).chain([tab]) {
            for bit in 0..8 {
                let mut flipped = document.clone().into_bytes();
                flipped[place] ^= 1 << bit;
                let is_equal = signed_form(&flipped) == form;
                let answer = match String::from_utf8(flipped) {
                    Ok(flipped) => shop.opened(&flipped, &shop.message),
                    Err(_) => "no text".to_owned(),
                };
                assert_eq!(answer == "valid", is_equal, "byte {place} bit {bit}");
                if is_equal {
                    equal += 1;
                } else {
                    refused += 1;
                }
            }
        }
    }
    assert!(equal >= 2 && refused > 1000, "{equal} {refused}");
}
