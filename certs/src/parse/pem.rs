//! Certificate blocks in PEM, and base64 as people paste it.

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// One block between BEGIN and END.
pub(super) enum Block {
    /// `CERTIFICATE`, `X509 CERTIFICATE`.
    Plain(Vec<u8>),
    /// OpenSSL's `TRUSTED CERTIFICATE`: trust settings follow the certificate.
    Trusted(Vec<u8>),
    /// A certificate block without end, or whose content is no base64.
    Malformed,
}

/// The certificate blocks of a text; blocks of other kinds are skipped.
pub(super) fn certificate_blocks(text: &[u8]) -> impl Iterator<Item = Block> {
    // Only ASCII matters here; other bytes stand in comments.
    let text = String::from_utf8_lossy(text.get(..LONGEST_TEXT).unwrap_or(text)).into_owned();
    let mut blocks = Vec::new();
    let mut rest = text.as_str();
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let Some((label, body)) = after.split_once("-----") else {
            break;
        };
        let end = format!("-----END {label}-----");
        let (content, following) = match body.split_once(end.as_str()) {
            Some((content, following)) => (Some(content), following),
            None => (None, ""),
        };
        let block = |wrap: fn(Vec<u8>) -> Block| {
            content
                .and_then(|content| base64(content.as_bytes()))
                .map_or(Block::Malformed, wrap)
        };
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" => blocks.push(block(Block::Plain)),
            "TRUSTED CERTIFICATE" => blocks.push(block(Block::Trusted)),
            _ => {}
        }
        rest = following;
    }
    blocks.into_iter()
}

/// The content of the first block with one of these labels.
pub(super) fn block(text: &[u8], labels: &[&str]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(text.get(..LONGEST_TEXT).unwrap_or(text));
    labels.iter().find_map(|label| {
        let (_, body) = text.split_once(format!("-----BEGIN {label}-----").as_str())?;
        let (content, _) = body.split_once(format!("-----END {label}-----").as_str())?;
        base64(content.as_bytes())
    })
}

/// Base64 with white space anywhere and with or without padding.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let compact: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    LENIENT
        .decode(compact)
        .ok()
        .filter(|bytes| !bytes.is_empty())
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Enough for a bundle of hundreds of certificates.
const LONGEST_TEXT: usize = 4 * 1024 * 1024;
