//! Writing containers: a proper ASiC-E (`mimetype` first and stored, manifests of the standard) that X-Road's verifier takes too
//! (`observed.md` 3, containers).
//!
//! Everything is stored: deflating costs more than signing. Java's stream reader needs the sizes of stored entries in the local
//! header, which is why bodies are read twice: once for their checksum.

use bytes::Bytes;
use flate2::Crc;
use jibek_certs::digest::{DigestAlgorithm, digest};
use std::{
    fmt::Write as _,
    io::{self, Read, Write},
};
use time::OffsetDateTime;

use crate::{names::CONTAINER_TYPE, zip_file::write::ZipWriter};

/// What a container is made of, each part byte for byte as it was sent, signed or stamped.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "the caller fills in every part")]
pub struct ContainerParts {
    /// The message: SOAP part or REST block.
    pub message: Bytes,
    /// The signature document.
    pub signature: Bytes,
    /// The signature's hash chain result; with [`ContainerParts::hash_chain`] or not at all.
    pub hash_chain_result: Option<Bytes>,
    /// The signature's hash chain.
    pub hash_chain: Option<Bytes>,
    /// The time-stamp token in DER; without it the container cannot be verified.
    pub ts_token: Option<Bytes>,
    /// What the token stamps; with the token or not at all.
    pub ts_hash_chain_result: Option<Bytes>,
    /// The chain from the signature document to what the token stamps.
    pub ts_hash_chain: Option<Bytes>,
    /// Attachments that are at hand: the REST body, if any.
    pub attachments: Vec<Bytes>,
    /// When the message was recorded: the time of every entry, in UTC and steps of two seconds.
    pub time: OffsetDateTime,
}

/// Why there is no container.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A part is missing beside the other: chain and result, or token, result and chain.
    #[error("{0} is missing")]
    Incomplete(&'static str),
    /// An attachment could not be read.
    #[error("attachment {number} cannot be read")]
    Read {
        /// Its number from 1.
        number: usize,
        /// Why.
        source: io::Error,
    },
    /// The target failed.
    #[error("the container cannot be written")]
    Write(#[source] io::Error),
}

/// Writes a container into memory.
///
/// # Errors
/// [`WriteError`].
pub fn write_container(parts: &ContainerParts) -> Result<Bytes, WriteError> {
    let size: usize = parts
        .attachments
        .iter()
        .chain([&parts.message, &parts.signature])
        .map(Bytes::len)
        .sum();
    let target = Vec::with_capacity(size.saturating_add(8192));
    Ok(write_container_to(target, parts, std::iter::empty::<&[u8]>())?.into())
}

/// Writes a container to `target`; `bodies` are further attachments, each read twice from its start, so size costs no memory.
/// Equal parts and bodies give equal bytes.
///
/// Attachments are numbered through: first those of `parts`, then `bodies`.
///
/// # Errors
/// [`WriteError`]; the target then holds a part of a container.
pub fn write_container_to<W, B>(
    target: W,
    parts: &ContainerParts,
    bodies: impl IntoIterator<Item = B>,
) -> Result<W, WriteError>
where
    W: Write,
    B: Read + Clone,
{
    if parts.hash_chain_result.is_some() != parts.hash_chain.is_some() {
        return Err(WriteError::Incomplete("the hash chain or its result"));
    }
    if parts.ts_hash_chain_result.is_some() != parts.ts_token.is_some()
        || parts.ts_hash_chain.is_some() != parts.ts_token.is_some()
    {
        return Err(WriteError::Incomplete(
            "the time-stamp, its hash chain or its result",
        ));
    }
    let mut zip = Entries {
        zip: ZipWriter::new(target),
        time: parts.time,
    };
    zip.entry("mimetype", CONTAINER_TYPE.as_bytes())?;
    zip.entry("message.xml", &parts.message)?;
    zip.entry("META-INF/signatures.xml", &parts.signature)?;
    let optional = [
        ("sig-hashchainresult.xml", &parts.hash_chain_result),
        ("sig-hashchain.xml", &parts.hash_chain),
        ("ts-hashchainresult.xml", &parts.ts_hash_chain_result),
        ("ts-hashchain.xml", &parts.ts_hash_chain),
    ];
    for (name, content) in optional {
        if let Some(content) = content {
            zip.entry(name, content)?;
        }
    }
    if let (Some(token), Some(result)) = (&parts.ts_token, &parts.ts_hash_chain_result) {
        zip.entry(
            "META-INF/ASiCManifest.xml",
            asic_manifest(result).as_bytes(),
        )?;
        zip.entry("META-INF/timestamp.tst", token)?;
    }
    for (number, attachment) in (1_usize..).zip(&parts.attachments) {
        zip.entry(&format!("attachment{number}"), attachment)?;
    }
    let mut attachments = parts.attachments.len();
    for body in bodies {
        attachments = attachments.saturating_add(1);
        zip.stream(&format!("attachment{attachments}"), body, attachments)?;
    }
    let files = optional
        .iter()
        .filter(|(_, content)| content.is_some())
        .map(|(name, _)| *name);
    zip.entry(
        "META-INF/manifest.xml",
        manifest(files, attachments).as_bytes(),
    )?;
    zip.zip
        .finish(&format!("mimetype={CONTAINER_TYPE}"))
        .map_err(WriteError::Write)
}

struct Entries<W> {
    zip: ZipWriter<W>,
    time: OffsetDateTime,
}

impl<W: Write> Entries<W> {
    fn entry(&mut self, name: &str, content: &[u8]) -> Result<(), WriteError> {
        self.zip
            .stored(name, self.time, content)
            .map_err(WriteError::Write)
    }

    fn stream<B: Read + Clone>(
        &mut self,
        name: &str,
        content: B,
        number: usize,
    ) -> Result<(), WriteError> {
        let read = |source| WriteError::Read { number, source };
        let (crc, size) = sum(content.clone()).map_err(read)?;
        self.zip
            .stored_from(name, self.time, crc, size, content)
            .map_err(WriteError::Write)
    }
}

/// Checksum and length.
fn sum(mut content: impl Read) -> io::Result<(u32, u64)> {
    let mut crc = Crc::new();
    let mut size = 0_u64;
    let mut buffer = vec![0; SUM_BYTES];
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => return Ok((crc.sum(), size)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        crc.update(buffer.get(..count).unwrap_or_default());
        size = size.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

fn asic_manifest(result: &Bytes) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <asic:ASiCManifest xmlns:asic=\"http://uri.etsi.org/02918/v1.2.1#\" xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">\n\
         <asic:SigReference URI=\"META-INF/timestamp.tst\" MimeType=\"application/vnd.etsi.timestamp-token\"/>\n\
         <asic:DataObjectReference URI=\"ts-hashchainresult.xml\" MimeType=\"text/xml\">\n\
         <ds:DigestMethod Algorithm=\"{}\"/>\n\
         <ds:DigestValue>{}</ds:DigestValue>\n\
         </asic:DataObjectReference>\n\
         </asic:ASiCManifest>\n",
        DigestAlgorithm::Sha512.uri(),
        digest(DigestAlgorithm::Sha512, result).to_base64()
    )
}

fn manifest<'a>(files: impl Iterator<Item = &'a str>, attachments: usize) -> String {
    let mut xml = String::with_capacity(1024);
    xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    xml.push_str("<manifest:manifest xmlns:manifest=\"urn:oasis:names:tc:opendocument:xmlns:manifest:1.0\" manifest:version=\"1.2\">\n");
    let mut entry = |media_type: &str, path: &str| {
        // writing to a string cannot fail
        let _ = writeln!(
            xml,
            "    <manifest:file-entry manifest:media-type=\"{media_type}\" manifest:full-path=\"{path}\"/>"
        );
    };
    entry(CONTAINER_TYPE, "/");
    entry("text/xml", "message.xml");
    for file in files {
        entry("text/xml", file);
    }
    for number in 1..=attachments {
        entry("application/octet-stream", &format!("attachment{number}"));
    }
    xml.push_str("</manifest:manifest>\n");
    xml
}

const SUM_BYTES: usize = 65_536;
