//! Signatures put together anew from pieces that hold.

use jibek_certs::signer::KeyKind;

use super::{MALFORMED, VALUE, Workshop};
use crate::{
    court::REQUEST,
    scene::{Scene, sha512},
    verify::signed_form,
};

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
    let text_of = |start: &str| {
        let (_, rest) = good.split_once(start).unwrap();
        rest.split_once('<').unwrap().0
    };
    let (value, certificate) = (
        text_of("signature-value\">"),
        text_of("<ds:X509Certificate>"),
    );
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
            MALFORMED,
            VALUE,
            &[],
        ),
        // X-Road's verifier passes over such sections in values, certificates and digests of references, tried with 7.8.1
        (
            "the value in a CDATA section",
            good.replace(value, &format!("<![CDATA[{value}]]>")),
            MALFORMED,
            VALUE,
            &[],
        ),
        (
            "half of the value in a CDATA section",
            good.replace(
                value,
                &format!("{}<![CDATA[{}]]>", &value[..40], &value[40..]),
            ),
            MALFORMED,
            VALUE,
            &[],
        ),
        (
            "an empty CDATA section in the value",
            good.replace(
                value,
                &format!("{}<![CDATA[]]>{}", &value[..40], &value[40..]),
            ),
            MALFORMED,
            "valid",
            &["loose_encoding"],
        ),
        (
            "the certificate in a CDATA section",
            good.replace(certificate, &format!("<![CDATA[{certificate}]]>")),
            MALFORMED,
            MALFORMED,
            &[],
        ),
        (
            "white space of a CDATA section before the certificate",
            good.replace(certificate, &format!("<![CDATA[ \n]]>{certificate}")),
            MALFORMED,
            "valid",
            &["loose_encoding"],
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
