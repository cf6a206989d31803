//! What a signature refers to, and by which algorithms.

use jibek_certs::digest::Digest;

use super::{MALFORMED, VALUE, Workshop};
use crate::scene::sha512;

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
