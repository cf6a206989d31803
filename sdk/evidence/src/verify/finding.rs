//! What the verdict does not depend on and a court should know.

/// One thing that a court should know beside the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    kind: FindingKind,
    text: String,
}

impl Finding {
    pub(crate) fn new(kind: FindingKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    /// What was found.
    pub fn kind(&self) -> FindingKind {
        self.kind
    }

    /// A stable word for programs.
    pub fn id(&self) -> &'static str {
        self.kind.id()
    }

    /// A sentence for people.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// A signed attachment is not in the container: it was not kept, or taken out.
    AttachmentAbsent,
    /// An attachment is not what was signed.
    AttachmentDiffers,
    /// An attachment that nobody signed.
    AttachmentUncovered,
    /// The log keeps no such bodies. It has the body's digest, which is the signed one.
    BodyNotKept,
    /// The message's body is not there: a log that keeps no bodies, or somebody took it out.
    BodyRemoved,
    /// The signed properties name another certificate.
    CertificateDiffers,
    /// The signed properties name no certificate.
    CertificateUnnamed,
    /// A hash chain that the signature does not refer to.
    ChainUnreferenced,
    /// The signature document holds something that is neither signed nor looked at.
    ContentUnverified,
    /// Two elements of one Id.
    DuplicateIds,
    /// An entry that containers do not have.
    EntryUnknown,
    /// Value or certificate is not written as it should be, and can be read all the same.
    LooseEncoding,
    /// A manifest of the container does not say what is in it.
    ManifestDiffers,
    /// The OCSP response is younger than the time-stamp.
    OcspFromFuture,
    /// The signed properties are not signed.
    PropertiesUncovered,
    /// The claimed time of signing is after the proved one.
    SigningTimeAfterStamp,
    /// The claimed time of signing is long before the proved one.
    SigningTimeFarFromStamp,
    /// SHA-1, or a key of fewer than 2048 bits.
    WeakAlgorithm,
    /// Readers of the ZIP file's directory see something else than readers front to back.
    ZipDirectoryDiffers,
    /// An entry that becomes a link when it is unpacked.
    ZipLink,
    /// An entry's name that leads out of the folder it is unpacked to.
    ZipUnsafeName,
}

impl FindingKind {
    /// Every kind, in alphabetical order.
    pub const ALL: [Self; 21] = [
        Self::AttachmentAbsent,
        Self::AttachmentDiffers,
        Self::AttachmentUncovered,
        Self::BodyNotKept,
        Self::BodyRemoved,
        Self::CertificateDiffers,
        Self::CertificateUnnamed,
        Self::ChainUnreferenced,
        Self::ContentUnverified,
        Self::DuplicateIds,
        Self::EntryUnknown,
        Self::LooseEncoding,
        Self::ManifestDiffers,
        Self::OcspFromFuture,
        Self::PropertiesUncovered,
        Self::SigningTimeAfterStamp,
        Self::SigningTimeFarFromStamp,
        Self::WeakAlgorithm,
        Self::ZipDirectoryDiffers,
        Self::ZipLink,
        Self::ZipUnsafeName,
    ];

    /// A stable word for programs.
    pub fn id(self) -> &'static str {
        match self {
            Self::AttachmentAbsent => "attachment_absent",
            Self::AttachmentDiffers => "attachment_differs",
            Self::AttachmentUncovered => "attachment_uncovered",
            Self::BodyNotKept => "body_not_kept",
            Self::BodyRemoved => "body_removed",
            Self::CertificateDiffers => "certificate_differs",
            Self::CertificateUnnamed => "certificate_unnamed",
            Self::ChainUnreferenced => "chain_unreferenced",
            Self::ContentUnverified => "content_unverified",
            Self::DuplicateIds => "duplicate_ids",
            Self::EntryUnknown => "entry_unknown",
            Self::LooseEncoding => "loose_encoding",
            Self::ManifestDiffers => "manifest_differs",
            Self::OcspFromFuture => "ocsp_from_future",
            Self::PropertiesUncovered => "properties_uncovered",
            Self::SigningTimeAfterStamp => "signing_time_after_stamp",
            Self::SigningTimeFarFromStamp => "signing_time_far_from_stamp",
            Self::WeakAlgorithm => "weak_algorithm",
            Self::ZipDirectoryDiffers => "zip_directory_differs",
            Self::ZipLink => "zip_link",
            Self::ZipUnsafeName => "zip_unsafe_name",
        }
    }

    /// Whether something is in the container that the signature does not cover: what a strict auditor does not let pass.
    pub fn is_uncovered(self) -> bool {
        match self {
            Self::AttachmentDiffers
            | Self::AttachmentUncovered
            | Self::ChainUnreferenced
            | Self::ContentUnverified
            | Self::EntryUnknown
            | Self::PropertiesUncovered
            | Self::ZipDirectoryDiffers
            | Self::ZipLink
            | Self::ZipUnsafeName => true,
            Self::AttachmentAbsent
            | Self::BodyNotKept
            | Self::BodyRemoved
            | Self::CertificateDiffers
            | Self::CertificateUnnamed
            | Self::DuplicateIds
            | Self::LooseEncoding
            | Self::ManifestDiffers
            | Self::OcspFromFuture
            | Self::SigningTimeAfterStamp
            | Self::SigningTimeFarFromStamp
            | Self::WeakAlgorithm => false,
        }
    }
}
