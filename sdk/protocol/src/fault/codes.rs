//! Fault codes of the message path, in the spelling of X-Road 7.8, and what they mean for the caller.

use super::{Blame, Repeat};

/// Prefix: the consumer's message is bad.
pub const CLIENT: &str = "client";
/// Prefix: the consumer's server failed.
pub const SERVER_CLIENTPROXY: &str = "server.clientproxy";
/// Prefix: the provider's server failed.
pub const SERVER_SERVERPROXY: &str = "server.serverproxy";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)+) => {
        $($(#[$doc])* pub const $name: &str = $value;)+

        #[cfg(test)]
        pub(super) const ALL: &[&str] = &[$($name),+];
    };
}

codes! {
    /// No matching access right.
    ACCESS_DENIED = "access_denied";
    /// No usable signing key, or the OCSP response for an own certificate is missing.
    CANNOT_CREATE_SIGNATURE = "cannot_create_signature";
    /// The signing key refused.
    CANNOT_SIGN = "cannot_sign";
    /// No path from a certificate to a known authority.
    CANNOT_CREATE_CERT_PATH = "cannot_create_cert_path";
    /// A certificate is revoked, unknown or unsupported by an OCSP response.
    CERT_VALIDATION = "cert_validation";
    /// The sending server's version is below the minimum.
    CLIENT_PROXY_VERSION_NOT_SUPPORTED = "client_proxy_version_not_supported";
    /// Configuration or log storage failed.
    DATABASE_ERROR = "database_error";
    /// A known SOAP header element occurs twice.
    DUPLICATE_HEADER_FIELD = "duplicate_header_field";
    /// Global configuration has expired.
    GLOBAL_CONF_OUTDATED = "global_conf_outdated";
    /// A part is missing from the hash chain.
    HASHCHAIN_UNUSED_INPUTS = "hashchain_unused_inputs";
    /// SOAP provider or peer answered other than 200 or 500.
    HTTP_ERROR = "http_error";
    /// Body's child is not named after the service.
    INCONSISTENT_HEADERS = "inconsistent_headers";
    /// The answer does not belong to the request.
    INCONSISTENT_RESPONSE = "inconsistent_response";
    /// The signing certificate is not the sender's.
    INCORRECT_CERTIFICATE = "incorrect_certificate";
    /// An OCSP response is stale or badly signed.
    INCORRECT_VALIDATION_INFO = "incorrect_validation_info";
    /// Everything unclassified.
    INTERNAL_ERROR = "internal_error";
    /// The SOAP body has not exactly one child.
    INVALID_BODY = "invalid_body";
    /// A certificate path does not validate.
    INVALID_CERT_PATH = "invalid_cert_path";
    /// REST request without `X-Road-Client`.
    INVALID_CLIENT_IDENTIFIER = "invalid_client_identifier";
    /// Wrong media type of a message or part, or multipart without boundary.
    INVALID_CONTENT_TYPE = "invalid_content_type";
    /// The hash chain does not give the signed value.
    INVALID_HASH_CHAIN = "invalid_hash_chain";
    /// The hash chain refers to what is not there.
    INVALID_HASH_CHAIN_REF = "invalid_hash_chain_ref";
    /// Method other than POST where only that is allowed.
    INVALID_HTTP_METHOD = "invalid_http_method";
    /// A message that cannot stand where it stands.
    INVALID_MESSAGE = "invalid_message";
    /// SOAP protocol version other than 4.
    INVALID_PROTOCOL_VERSION = "invalid_protocol_version";
    /// A reference of the signature does not hold.
    INVALID_REFERENCE = "invalid_reference";
    /// Parameters of a metadata request are wrong.
    INVALID_REQUEST = "invalid_request";
    /// The targeted server is unknown, does not serve the provider or is another one.
    INVALID_SECURITY_SERVER = "invalid_security_server";
    /// The signature value does not fit.
    INVALID_SIGNATURE_VALUE = "invalid_signature_value";
    /// Not well-formed, or no SOAP envelope.
    INVALID_SOAP = "invalid_soap";
    /// `SOAPAction` is malformed.
    INVALID_SOAP_ACTION = "invalid_soap_action";
    /// Bad `objectType` or other invalid XML content.
    INVALID_XML = "invalid_xml";
    /// Stream broken or timed out.
    IO_ERROR = "io_error";
    /// A key is not there.
    KEY_NOT_FOUND = "key_not_found";
    /// The message log refused the record.
    LOGGING_FAILED = "logging_failed";
    /// Every candidate server is in maintenance.
    MAINTENANCE_MODE = "maintenance_mode";
    /// Local global configuration is broken.
    MALFORMED_GLOBAL_CONF = "malformed_global_conf";
    /// A hash chain cannot be read.
    MALFORMED_HASH_CHAIN = "malformed_hash_chain";
    /// Local server configuration is broken.
    MALFORMED_SERVER_CONF = "malformed_server_conf";
    /// A signature cannot be read or leaves something uncovered.
    MALFORMED_SIGNATURE = "malformed_signature";
    /// MIME syntax or limits.
    MIME_PARSING_FAILED = "mime_parsing_failed";
    /// The SOAP envelope has no body.
    MISSING_BODY = "missing_body";
    /// The SOAP envelope has no header.
    MISSING_HEADER = "missing_header";
    /// A mandatory SOAP header element is missing.
    MISSING_HEADER_FIELD = "missing_header_field";
    /// The REST part is missing.
    MISSING_REST = "missing_rest";
    /// The signature part is missing.
    MISSING_SIGNATURE = "missing_signature";
    /// The SOAP part is missing.
    MISSING_SOAP = "missing_soap";
    /// Connection refused or reset, or bad host.
    NETWORK_ERROR = "network_error";
    /// As many messages are under way as the server has places for (ours alone: X-Road has no such bound).
    OVERLOADED = "overloaded";
    /// The same request came before, is not executed again, and there is no answer to give (not a code of X-Road).
    REPEATED_REQUEST = "repeated_request";
    /// The service is disabled.
    SERVICE_DISABLED = "service_disabled";
    /// Prefix: the provider's side failed.
    SERVICE_FAILED = "service_failed";
    /// The service's address cannot be read.
    SERVICE_MALFORMED_URL = "service_malformed_url";
    /// The service has no address.
    SERVICE_MISSING_URL = "service_missing_url";
    /// SOAP call of a REST service or the reverse.
    SERVICE_TYPE = "service_type";
    /// Prefix: a signature does not verify.
    SIGNATURE_VERIFICATION = "signature_verification";
    /// TLS identity of a consumer, peer or provider is not accepted.
    SSL_AUTHENTICATION_FAILED = "ssl_authentication_failed";
    /// No successful time-stamp for too long.
    TIMESTAMPING_FAILED = "timestamping_failed";
    /// The key's token is not open.
    TOKEN_NOT_ACTIVE = "token_not_active";
    /// A host name does not resolve.
    UNKNOWN_HOST = "unknown_host";
    /// Client or provider is not registered here.
    UNKNOWN_MEMBER = "unknown_member";
    /// The service is not configured.
    UNKNOWN_SERVICE = "unknown_service";
}

/// Puts prefixes before a code. As with X-Road, a prefix is left out when the code already starts with it.
#[must_use]
pub fn compose(prefixes: &[&str], code: &str) -> String {
    let mut out = code.to_owned();
    for prefix in prefixes.iter().rev() {
        let whole = out == *prefix
            || out
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with('.'));
        if !whole {
            out = format!("{prefix}.{out}");
        }
    }
    out
}

/// Tells whether two codes mean the same, whatever their case and spelling:
/// `Server.ServerProxy.AccessDenied` is `server.serverproxy.access_denied`.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    let mut ours = one.split('.').map(plain);
    let mut theirs = other.split('.').map(plain);
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return true,
            (Some(ours), Some(theirs)) if ours == theirs => {}
            _ => return false,
        }
    }
}

/// Tells whether `code` starts with `prefix`, whatever their case.
pub(super) fn has_prefix(code: &str, prefix: &str) -> bool {
    code.as_bytes()
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Whose fault a code tells of and whether to repeat.
///
/// Codes do not say everything: after `io_error` the service may have acted, so the answer is then no.
pub(super) fn judge(code: &str) -> (Blame, Repeat) {
    let parts: Vec<String> = code.split('.').map(plain).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["client", ..] => (Blame::Consumer, Repeat::No),
        ["server", "clientproxy", rest @ ..] => judge_own_server(rest),
        ["server", "serverproxy", rest @ ..] => judge_peer(rest),
        _ => (Blame::Service, Repeat::No),
    }
}

fn judge_own_server(rest: &[&str]) -> (Blame, Repeat) {
    match rest {
        [
            "unknownmember" | "invalidclientidentifier" | "invalidsecurityserver",
            ..,
        ] => (Blame::Consumer, Repeat::No),
        ["networkerror" | "unknownhost", ..] => (Blame::Peer, Repeat::Yes),
        ["sslauthenticationfailed" | "maintenancemode", ..] => (Blame::Peer, Repeat::Later),
        [
            "servicefailed" | "signatureverification" | "inconsistentresponse" | "ioerror",
            ..,
        ] => (Blame::Peer, Repeat::No),
        [
            "globalconfoutdated"
            | "overloaded"
            | "timestampingfailed"
            | "mlog"
            | "loggingfailed"
            | "cannotcreatesignature"
            | "cannotsign"
            | "tokennotactive"
            | "keynotfound"
            | "databaseerror"
            | "malformedserverconf"
            | "malformedglobalconf",
            ..,
        ] => (Blame::Us, Repeat::Later),
        _ => (Blame::Us, Repeat::No),
    }
}

fn judge_peer(rest: &[&str]) -> (Blame, Repeat) {
    match rest {
        ["accessdenied" | "unknownservice" | "servicetype", ..] => (Blame::Consumer, Repeat::No),
        [
            "servicedisabled" | "servicemissingurl" | "servicemalformedurl",
            ..,
        ] => (Blame::Service, Repeat::Later),
        [
            "clientproxyversionnotsupported" | "signatureverification" | "mimeparsingfailed",
            ..,
        ] => (Blame::Us, Repeat::No),
        [
            "globalconfoutdated" | "overloaded" | "malformedserverconf" | "malformedglobalconf",
            ..,
        ] => (Blame::Peer, Repeat::Later),
        ["loggingfailed", "timestampingfailed" | "mlog", ..] => (Blame::Peer, Repeat::Later),
        ["networkerror" | "unknownhost", ..]
        | ["servicefailed", "networkerror" | "unknownhost", ..] => (Blame::Service, Repeat::Yes),
        ["ioerror" | "sslauthenticationfailed", ..] => (Blame::Service, Repeat::No),
        [
            "servicefailed",
            "unknownmember" | "invalidsecurityserver" | "internalerror",
            ..,
        ] => (Blame::Peer, Repeat::No),
        [
            "servicefailed",
            "sslauthenticationfailed" | "cannotcreatesignature",
            ..,
        ] => (Blame::Peer, Repeat::Later),
        ["servicefailed", ..] => (Blame::Service, Repeat::No),
        _ => (Blame::Peer, Repeat::No),
    }
}

/// One part of a code without case and underscores, old names replaced by today's.
fn plain(part: &str) -> String {
    let plain: String = part
        .chars()
        .filter(|c| *c != '_')
        .map(|c| c.to_ascii_lowercase())
        .collect();
    match plain.as_str() {
        "outdatedglobalconf" => "globalconfoutdated".to_owned(),
        "timestamperfailed" => "timestampingfailed".to_owned(),
        _ => plain,
    }
}
