//! Configuration anchors: which sources publish an instance's configuration, and with which keys (`registry-and-globalconf.md` 1.1).

use bytes::Bytes;
use jibek_certs::{
    digest::{DigestAlgorithm, digest},
    parse::{Certificate, ParseError},
};
use time::OffsetDateTime;

use crate::{
    model::{self, AnchorContent},
    part::{self, PartError},
};

/// Why an anchor cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// A verification certificate cannot be read.
    #[error("a verification certificate of {url} cannot be read")]
    Certificate {
        /// The source's URL.
        url: String,
        /// Why.
        source: ParseError,
    },
    /// The file is no anchor.
    #[error("not a configuration anchor")]
    Malformed {
        /// Why.
        source: PartError,
    },
    /// X-Road's client derives everything from plain HTTP addresses; without one nobody could use the anchor.
    #[error("the anchor has no source with an http address")]
    NoSource,
    /// The file is larger than any anchor.
    #[error("the anchor has {bytes} bytes, more than {max_bytes}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max_bytes: usize,
    },
}

/// A configuration anchor with the bytes it was made of.
#[derive(Clone, Debug)]
pub struct Anchor {
    bytes: Bytes,
    instance: String,
    generated_at: Option<OffsetDateTime>,
    sources: Vec<AnchorSource>,
}

/// One download address of an anchor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AnchorSource {
    /// URL of the signed directory.
    pub url: String,
    /// Whose keys sign it.
    pub certificates: Vec<Certificate>,
}

impl Anchor {
    /// Reads an anchor and keeps its bytes.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, AnchorError> {
        let bytes = bytes.into();
        if bytes.len() > ANCHOR_BYTES {
            return Err(AnchorError::TooLarge {
                bytes: bytes.len(),
                max_bytes: ANCHOR_BYTES,
            });
        }
        let content =
            part::parse_anchor(&bytes).map_err(|source| AnchorError::Malformed { source })?;
        Self::from_content(bytes, content)
    }

    /// Writes an anchor as an X-Road central server does.
    ///
    /// # Errors
    /// [`AnchorError`] when what is to be written could not be read.
    pub fn render(content: &AnchorContent) -> Result<Self, AnchorError> {
        Self::parse(part::render_anchor(content))
    }

    fn from_content(bytes: Bytes, content: AnchorContent) -> Result<Self, AnchorError> {
        let AnchorContent {
            generated_at,
            instance,
            sources,
        } = content;
        let sources = sources
            .into_iter()
            .map(source)
            .collect::<Result<Vec<_>, _>>()?;
        if !sources
            .iter()
            .any(|source| source.url.starts_with("http://"))
        {
            return Err(AnchorError::NoSource);
        }
        Ok(Self {
            bytes,
            instance,
            generated_at,
            sources,
        })
    }

    /// The file, byte for byte: a changed byte changes the displayed hash.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The hash that operators compare: SHA-224 of the bytes, upper-case pairs joined by colons.
    #[must_use]
    pub fn hash(&self) -> String {
        let hash = digest(DigestAlgorithm::Sha224, &self.bytes);
        let pairs: Vec<String> = hash
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        pairs.join(":")
    }

    /// The instance whose configuration the sources publish.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// When it was written.
    #[must_use]
    pub fn generated_at(&self) -> Option<OffsetDateTime> {
        self.generated_at
    }

    /// Where the configuration is published, at least one of them over plain HTTP.
    #[must_use]
    pub fn sources(&self) -> &[AnchorSource] {
        &self.sources
    }
}

fn source(source: model::AnchorSource) -> Result<AnchorSource, AnchorError> {
    let model::AnchorSource { url, certificates } = source;
    let certificates = certificates.into_iter().map(|der| {
        Certificate::from_der(der).map_err(|source| AnchorError::Certificate {
            url: url.clone(),
            source,
        })
    });
    let certificates = certificates.collect::<Result<_, _>>()?;
    Ok(AnchorSource { url, certificates })
}

const ANCHOR_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_central_servers_anchor_has_the_hash_its_console_shows() {
        let Some(root) =
            testing::fixtures("a_central_servers_anchor_has_the_hash_its_console_shows")
        else {
            return;
        };
        let path =
            root.join("signed-directory/central-server/configuration_anchor_CS_internal.xml");
        let anchor = Anchor::parse(std::fs::read(path).unwrap()).unwrap();
        // Value: `registry-and-globalconf.md` 1.1.
        assert_eq!(
            anchor.hash(),
            "54:70:AF:FE:15:78:E0:03:69:FB:C3:BE:99:D0:B0:0B:D0:77:21:52:14:87:3D:2C:B3:6D:7C:C7"
        );
        assert_eq!(anchor.instance(), "DEV");
        assert_eq!(anchor.sources().len(), 2);
    }

    #[test]
    fn what_is_rendered_reads_back() {
        let Some(root) = testing::fixtures("what_is_rendered_reads_back") else {
            return;
        };
        let path =
            root.join("signed-directory/central-server/configuration_anchor_CS_internal.xml");
        let content = part::parse_anchor(&std::fs::read(path).unwrap()).unwrap();
        let anchor = Anchor::render(&content).unwrap();
        assert_eq!(part::parse_anchor(anchor.bytes()).unwrap(), content);
    }

    #[test]
    fn an_anchor_needs_a_plain_http_address() {
        let Some(root) = testing::fixtures("an_anchor_needs_a_plain_http_address") else {
            return;
        };
        let path =
            root.join("signed-directory/central-server/configuration_anchor_CS_internal.xml");
        let text = std::fs::read_to_string(path)
            .unwrap()
            .replace("http://cs", "https://cs");
        assert!(matches!(Anchor::parse(text), Err(AnchorError::NoSource)));
    }
}
