//! Writing containers: a proper ASiC-E (`mimetype` first and stored, manifests of the standard) that X-Road's verifier takes too
//! (`observed.md` 3, containers).
//!
//! Everything is stored: deflating costs more than signing, and Java's stream reader needs the sizes of stored entries in the local
//! header, which is why the target must be seekable.

use bytes::Bytes;
use jibek_certs::digest::{DigestAlgorithm, digest};
use std::{
    fmt::Write as _,
    io::{Cursor, Read, Seek, Write},
};
use time::OffsetDateTime;
use zip::{CompressionMethod, DateTime, ZipWriter, result::ZipError, write::SimpleFileOptions};

use crate::names::CONTAINER_TYPE;

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
        source: std::io::Error,
    },
    /// The target failed.
    #[error("the container cannot be written")]
    Write(#[source] ZipError),
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
    let target = Cursor::new(Vec::with_capacity(size.saturating_add(8192)));
    Ok(
        write_container_to(target, parts, std::iter::empty::<&[u8]>())?
            .into_inner()
            .into(),
    )
}

/// Writes a container to `target`; `bodies` are further attachments, read as they are written, so size costs no memory.
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
    W: Write + Seek,
    B: Read,
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
        options: options(parts.time),
    };
    zip.zip
        .set_comment(format!("mimetype={CONTAINER_TYPE}"))
        .map_err(WriteError::Write)?;
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
    zip.zip.finish().map_err(WriteError::Write)
}

struct Entries<W: Write + Seek> {
    zip: ZipWriter<W>,
    options: SimpleFileOptions,
}

impl<W: Write + Seek> Entries<W> {
    fn entry(&mut self, name: &str, content: &[u8]) -> Result<(), WriteError> {
        let large = u32::try_from(content.len()).is_err();
        self.zip
            .start_file(name, self.options.large_file(large))
            .map_err(WriteError::Write)?;
        self.zip
            .write_all(content)
            .map_err(|error| WriteError::Write(ZipError::Io(error)))
    }

    fn stream(
        &mut self,
        name: &str,
        mut content: impl Read,
        number: usize,
    ) -> Result<(), WriteError> {
        self.zip
            .start_file(name, self.options.large_file(true))
            .map_err(WriteError::Write)?;
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(WriteError::Read { number, source }),
            };
            let read = buffer.get(..count).unwrap_or_default();
            self.zip
                .write_all(read)
                .map_err(|error| WriteError::Write(ZipError::Io(error)))?;
        }
    }
}

fn options(time: OffsetDateTime) -> SimpleFileOptions {
    let time = time.to_utc();
    let year = u16::try_from(time.year()).unwrap_or_default();
    // before 1980 there is no ZIP time
    let stamp = DateTime::from_date_and_time(
        year,
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
    );
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(stamp.unwrap_or_default())
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

const COPY_BYTES: usize = 65_536;
