//! Names that X-Road's signatures, chains and containers are made of (`signatures-and-log.md` section 0).

/// Namespace of the wrapper element of `signatures.xml`.
pub const ASIC_NAMESPACE: &str = "http://uri.etsi.org/02918/v1.2.1#";
/// The wrapper's namespace in containers of 2014 and before.
pub const ASIC_NAMESPACE_OLD: &str = "http://uri.etsi.org/02918/v1.1.1#";
/// XML-DSig.
pub const DS_NAMESPACE: &str = "http://www.w3.org/2000/09/xmldsig#";
/// XAdES.
pub const XADES_NAMESPACE: &str = "http://uri.etsi.org/01903/v1.3.2#";
/// Declared by every signature of X-Road and never used; its declaration is signed all the same.
pub const XSI_NAMESPACE: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// Hash chains.
pub const HASH_CHAIN_NAMESPACE: &str = "http://cyber.ee/hashchain";
/// `Type` of the reference that covers the signed properties.
pub const SIGNED_PROPERTIES_TYPE: &str = "http://uri.etsi.org/01903#SignedProperties";

/// The message, SOAP or REST block, by the name signatures and chains give it.
pub const MESSAGE: &str = "/message.xml";
/// The result of a signature's hash chain.
pub const SIGNATURE_CHAIN_RESULT: &str = "/sig-hashchainresult.xml";
/// A signature's hash chain.
pub const SIGNATURE_CHAIN: &str = "/sig-hashchain.xml";
/// The result of a time-stamp's hash chain.
pub const STAMP_CHAIN_RESULT: &str = "/ts-hashchainresult.xml";
/// A time-stamp's hash chain.
pub const STAMP_CHAIN: &str = "/ts-hashchain.xml";
/// The signature document inside a container.
pub const SIGNATURES: &str = "/META-INF/signatures.xml";

/// Media type of the message in a signature's `DataObjectFormat`, REST messages included.
pub const MESSAGE_TYPE: &str = "text/xml";
/// Media type of a hash chain result.
pub const CHAIN_RESULT_TYPE: &str = "application/hash-chain-result";
/// Media type of a hash chain.
pub const CHAIN_TYPE: &str = "application/hash-chain";
/// Media type of the signature part of a message.
pub const SIGNATURE_TYPE: &str = "signature/bdoc-1.0/ts";
/// Media type of a container, and the text of its `mimetype` entry.
pub const CONTAINER_TYPE: &str = "application/vnd.etsi.asic-e+zip";

/// The name of attachment `number`, counted from 1.
pub fn attachment(number: usize) -> String {
    format!("/attachment{number}")
}

/// The number in the name of an attachment, `/attachment1` being the first: digits alone, no leading zero, not 0.
pub fn attachment_number(name: &str) -> Option<usize> {
    let digits = name.strip_prefix("/attachment")?;
    if digits.is_empty()
        || digits.starts_with('0')
        || !digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    digits.parse().ok()
}
