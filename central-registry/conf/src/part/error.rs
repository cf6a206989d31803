//! What can be wrong with a part.

use jibek_protocol::id::IdError;

/// Why a part of a configuration cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// A certificate or digest is not base64, or a certificate is neither DER nor PEM.
    #[error("{element} in line {line} is not base64 of {what}")]
    Base64 {
        /// The element.
        element: String,
        /// What it should hold.
        what: &'static str,
        /// Line of the element.
        line: u32,
    },
    /// A value has a type of its own and does not follow it.
    #[error("{element} in line {line} has the value {value:?}, which is not {expected}")]
    BadValue {
        /// The element.
        element: String,
        /// What it holds, shortened.
        value: String,
        /// What it should be.
        expected: &'static str,
        /// Line of the element.
        line: u32,
    },
    /// Two elements have one `id`.
    #[error("the id {id:?} in line {line} is taken")]
    DuplicateId {
        /// The id.
        id: String,
        /// Line of the second element.
        line: u32,
    },
    /// An identifier of a member, subsystem or server is not one.
    #[error("{element} in line {line} is not an identifier")]
    Identifier {
        /// The element.
        element: String,
        /// Line of the element.
        line: u32,
        /// Why.
        source: IdError,
    },
    /// Not well-formed, or with a DOCTYPE.
    #[error("not well-formed XML")]
    Malformed {
        /// Why, from the parser.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An element is not there.
    #[error("{element} is missing in {within}, line {line}")]
    Missing {
        /// The element.
        element: &'static str,
        /// Its parent.
        within: String,
        /// Where it was looked for.
        line: u32,
    },
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// An `owner` or `client` refers to nothing of the right kind.
    #[error("{element} in line {line} refers to {reference:?}, which is no {expected}")]
    Reference {
        /// The element.
        element: String,
        /// The reference.
        reference: String,
        /// What it should refer to.
        expected: &'static str,
        /// Line of the element.
        line: u32,
    },
    /// An element is where the schema has none.
    #[error("unexpected element {element} in {within}, line {line}")]
    Unexpected {
        /// The element.
        element: String,
        /// Its parent.
        within: String,
        /// Line of the element.
        line: u32,
    },
    /// A version that we cannot read.
    #[error("configuration version {version} is not supported")]
    Version {
        /// The version.
        version: u8,
    },
    /// The root element is another one.
    #[error("the root element {found} is not the expected one of X-Road")]
    WrongRoot {
        /// Its local name.
        found: String,
    },
}
