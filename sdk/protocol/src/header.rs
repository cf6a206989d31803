//! Names of HTTP headers, media types and namespaces that the protocols use.
//!
//! Names of transport headers are lower-case on the wire: a Java consumer's server looks them up case-sensitively
//! (`message-path.md` 4.1, trap 2).

/// Consumer's identifier in REST, `instance/class/member[/subsystem]`, each part percent-encoded.
pub const X_ROAD_CLIENT: &str = "x-road-client";
/// Service's identifier in REST answers, exactly five parts.
pub const X_ROAD_SERVICE: &str = "x-road-service";
/// Message id, chosen by the consumer or by its server.
pub const X_ROAD_ID: &str = "x-road-id";
/// UUID that the consumer's server gives each exchange; in the block and on the transport.
pub const X_ROAD_REQUEST_ID: &str = "x-road-request-id";
/// Hash of the request in REST answers, base64 of SHA-512.
pub const X_ROAD_REQUEST_HASH: &str = "x-road-request-hash";
/// Wanted server of the provider, exactly four parts.
pub const X_ROAD_SECURITY_SERVER: &str = "x-road-security-server";
/// Whom the consumer represents, `[class/]code`.
pub const X_ROAD_REPRESENTED_PARTY: &str = "x-road-represented-party";
/// User on whose behalf the consumer asks.
pub const X_ROAD_USER_ID: &str = "x-road-userid";
/// Case or document for which the consumer asks.
pub const X_ROAD_ISSUE: &str = "x-road-issue";
/// Fault code in REST error answers.
pub const X_ROAD_ERROR: &str = "x-road-error";

/// Digest algorithm of a transport message; only `SHA-512` interoperates in all cases (`message-path.md` 4.4).
pub const X_HASH_ALGORITHM: &str = "x-hash-algorithm";
/// Version of the sending server, comparable with X-Road's.
pub const X_PROXY_VERSION: &str = "x-proxy-version";
/// Content type as the information system sent it; present and empty when it sent none.
pub const X_ORIGINAL_CONTENT_TYPE: &str = "x-original-content-type";
/// `SOAPAction` as the consumer sent it; present and empty when it sent none.
pub const X_ORIGINAL_SOAP_ACTION: &str = "x-original-soapaction";
/// `REST` marks a REST exchange (compared case-sensitively); anything else means SOAP.
pub const X_ROAD_MESSAGE_TYPE: &str = "x-road-message-type";
/// Value of [`X_ROAD_MESSAGE_TYPE`] for REST.
pub const MESSAGE_TYPE_REST: &str = "REST";
/// Value of [`X_HASH_ALGORITHM`] that we send.
pub const HASH_ALGORITHM: &str = "SHA-512";

/// Media type of transport messages.
pub const MULTIPART_MIXED: &str = "multipart/mixed";
/// Media type of consumers' messages with attachments.
pub const MULTIPART_RELATED: &str = "multipart/related";
/// Media type of bare SOAP and of faults.
pub const TEXT_XML: &str = "text/xml";
/// Content type of bare SOAP that we write (`message-path.md` 2.4).
pub const TEXT_XML_UTF8: &str = "text/xml; charset=UTF-8";
/// Content type of a bare fault (`message-path.md` 2.7).
pub const FAULT_CONTENT_TYPE: &str = "text/xml;charset=utf-8";
/// Media type of SOAP with XOP.
pub const XOP_XML: &str = "application/xop+xml";
/// Media type of a part that holds an OCSP response.
pub const OCSP_RESPONSE: &str = "application/ocsp-response";
/// Media type of a part that holds a REST request block.
pub const REST_REQUEST: &str = "application/x-road-rest-request";
/// Media type of a part that holds a REST response block.
pub const REST_RESPONSE: &str = "application/x-road-rest-response";
/// Media type of a part that holds a REST body.
pub const REST_BODY: &str = "application/x-road-rest-body";
/// Media type of a part that holds a hash chain result.
pub const HASH_CHAIN_RESULT: &str = "application/hash-chain-result";
/// Media type of a part that holds a hash chain.
pub const HASH_CHAIN: &str = "application/hash-chain";
/// Media type of a signature part; two slashes, so strict parsers refuse it (`message-path.md` trap 14).
pub const SIGNATURE: &str = "signature/bdoc-1.0/ts";

/// Namespace of the SOAP 1.1 envelope.
pub const NS_SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// Namespace of the X-Road header elements.
pub const NS_XROAD: &str = "http://x-road.eu/xsd/xroad.xsd";
/// Namespace of identifiers.
pub const NS_IDENTIFIERS: &str = "http://x-road.eu/xsd/identifiers";
/// Namespace of `representedParty`.
pub const NS_REPRESENTATION: &str = "http://x-road.eu/xsd/representation.xsd";

/// Headers of a single HTTP hop: never in a REST block (set S of `message-path.md` 3.2), lower-case, sorted.
pub const DROPPED: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Tells whether a header of this name belongs to one hop and never enters a REST block.
#[must_use]
pub fn is_dropped(name: &str) -> bool {
    DROPPED
        .iter()
        .any(|dropped| dropped.eq_ignore_ascii_case(name))
}

/// Tells whether `name` is an HTTP token (RFC 9110 5.6.2), which a header name must be.
#[must_use]
pub fn is_token(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hop_headers_are_known_in_any_case() {
        assert!(is_dropped("Transfer-Encoding"));
        assert!(is_dropped("SERVER"));
        assert!(!is_dropped("x-road-id"));
        assert!(!is_dropped("via"));
    }

    #[test]
    fn tokens_have_no_separators() {
        assert!(is_token(b"X-Road-Id"));
        for bad in [&b""[..], b"a b", b"a:b", b"caf\xc3\xa9", b"a\n"] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }
}
