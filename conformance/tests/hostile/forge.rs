//! Signatures that no honest server makes, over whatever the forger wants covered.

use bytes::Bytes;
use jibek_conformance::peer::Peer;

/// Changes the inside of `ds:SignedInfo` and signs it again with the key of `signer`.
///
/// What our own sealer writes is canonical already, apart from the namespaces of the signed element.
pub(crate) fn resign(
    signer: &Peer,
    signature: &Bytes,
    change: impl FnOnce(&str) -> String,
) -> Bytes {
    let text = std::str::from_utf8(signature).unwrap();
    let namespaces = between(text, "<asic:XAdESSignatures", ">");
    let info = between(text, "<ds:SignedInfo>", "</ds:SignedInfo>");
    let changed = change(info);
    let canonical = format!("<ds:SignedInfo{namespaces}>{changed}</ds:SignedInfo>");
    let value = signer.sign.signer().sign(canonical.as_bytes()).unwrap();
    let value = openssl::base64::encode_block(&value);
    let old = between(
        text,
        "<ds:SignatureValue Id=\"signature-value\">",
        "</ds:SignatureValue>",
    );
    text.replacen(info, &changed, 1)
        .replacen(old, &value, 1)
        .into()
}

/// Changes the text of a signature without signing it again.
pub(crate) fn edit(signature: &Bytes, from: &str, to: &str) -> Bytes {
    let text = std::str::from_utf8(signature).unwrap();
    assert!(text.contains(from), "{from} is not in the signature");
    text.replacen(from, to, 1).into()
}

/// Takes the `index`th reference out.
pub(crate) fn without_reference(info: &str, index: usize) -> String {
    let start = format!("<ds:Reference Id=\"signature-reference-{index}\"");
    let (before, rest) = info.split_once(&start).unwrap();
    let (_, after) = rest.split_once("</ds:Reference>").unwrap();
    format!("{before}{after}")
}

/// The text between two others.
pub(crate) fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap();
    rest.split_once(end).unwrap().0
}
