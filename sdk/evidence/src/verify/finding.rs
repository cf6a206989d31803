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
    /// The signed properties name another certificate.
    CertificateDiffers,
    /// The signed properties name no certificate.
    CertificateUnnamed,
    /// A hash chain that the signature does not refer to.
    ChainUnreferenced,
    /// Two elements of one Id.
    DuplicateIds,
    /// An entry that containers do not have.
    EntryUnknown,
    /// The OCSP response is younger than the time-stamp.
    OcspFromFuture,
    /// The signed properties are not signed.
    PropertiesUncovered,
    /// The claimed time of signing is after the proved one.
    SigningTimeAfterStamp,
    /// SHA-1.
    WeakAlgorithm,
}

impl FindingKind {
    /// Every kind, in alphabetical order.
    pub const ALL: [Self; 12] = [
        Self::AttachmentAbsent,
        Self::AttachmentDiffers,
        Self::AttachmentUncovered,
        Self::CertificateDiffers,
        Self::CertificateUnnamed,
        Self::ChainUnreferenced,
        Self::DuplicateIds,
        Self::EntryUnknown,
        Self::OcspFromFuture,
        Self::PropertiesUncovered,
        Self::SigningTimeAfterStamp,
        Self::WeakAlgorithm,
    ];

    /// A stable word for programs.
    pub fn id(self) -> &'static str {
        match self {
            Self::AttachmentAbsent => "attachment_absent",
            Self::AttachmentDiffers => "attachment_differs",
            Self::AttachmentUncovered => "attachment_uncovered",
            Self::CertificateDiffers => "certificate_differs",
            Self::CertificateUnnamed => "certificate_unnamed",
            Self::ChainUnreferenced => "chain_unreferenced",
            Self::DuplicateIds => "duplicate_ids",
            Self::EntryUnknown => "entry_unknown",
            Self::OcspFromFuture => "ocsp_from_future",
            Self::PropertiesUncovered => "properties_uncovered",
            Self::SigningTimeAfterStamp => "signing_time_after_stamp",
            Self::WeakAlgorithm => "weak_algorithm",
        }
    }
}
