//! What evidence and servers ask of the configuration. The configuration's snapshot implements [`Trust`].

use std::{collections::HashMap, time::Duration};

use crate::parse::{Certificate, Name};

/// A certification authority that the configuration approves: one certificate, top or intermediate, with its OCSP services.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ApprovedCa {
    /// The CA's certificate.
    pub certificate: Certificate,
    /// Whether it is the top of its approved CA entry; else an intermediate of it.
    pub top: bool,
    /// Certificates of the OCSP responders listed for it.
    pub ocsp_responders: Vec<Certificate>,
    /// Addresses of the OCSP responders listed for it, in order.
    pub ocsp_urls: Vec<String>,
    /// The certificate profile's Java class name, as configured (`signatures-and-log.md` 6.1).
    pub profile_class: String,
    /// Whether it issues authentication certificates only. X-Road's signature check does not consult it.
    pub authentication_only: bool,
}

impl ApprovedCa {
    /// An approved CA without OCSP services; set what else is configured.
    pub fn new(certificate: Certificate, top: bool, profile_class: impl Into<String>) -> Self {
        Self {
            certificate,
            top,
            ocsp_responders: Vec::new(),
            ocsp_urls: Vec::new(),
            profile_class: profile_class.into(),
            authentication_only: false,
        }
    }
}

/// The approved CAs of one instance, in the order of its configuration, found by subject.
#[derive(Debug, Clone, Default)]
pub struct Authorities {
    list: Vec<ApprovedCa>,
    by_subject: HashMap<String, Vec<usize>>,
}

impl Authorities {
    /// Indexes the approved CAs of an instance.
    pub fn new(list: Vec<ApprovedCa>) -> Self {
        let mut by_subject: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, ca) in list.iter().enumerate() {
            by_subject
                .entry(ca.certificate.subject().canonical().to_owned())
                .or_default()
                .push(at);
        }
        Self { list, by_subject }
    }

    /// All CAs with this subject, the last configured first: of several X-Road tries only that one, we try all
    /// (`signatures-and-log.md` 8 number 11).
    pub fn by_subject<'a>(
        &'a self,
        subject: &Name,
    ) -> impl Iterator<Item = &'a ApprovedCa> + use<'a> {
        let found = self
            .by_subject
            .get(subject.canonical())
            .map(Vec::as_slice)
            .unwrap_or_default();
        found.iter().rev().filter_map(|at| self.list.get(*at))
    }

    /// Every approved CA, in the order of the configuration.
    pub fn all(&self) -> &[ApprovedCa] {
        &self.list
    }

    /// The intermediate CAs above `leaf`, from the leaf upward, without the top CA: what a server sends in the TLS handshake and
    /// puts into signatures (`message-path.md` 5.2). Issuer names are followed until none is found or a self-issued certificate
    /// is reached; the last one found is left out.
    pub fn chain_of(&self, leaf: &Certificate) -> Vec<Certificate> {
        let mut chain: Vec<Certificate> = Vec::new();
        let mut current = leaf.clone();
        while !current.is_self_issued() && chain.len() < LONGEST_CHAIN {
            // Of CAs with equal names, the one whose key made the signature; a lone one is taken as it is.
            let next = self
                .by_subject(current.issuer())
                .find(|ca| current.verify_signed_by(&ca.certificate).is_ok())
                .or_else(|| self.by_subject(current.issuer()).next());
            let Some(next) = next
                .map(|ca| ca.certificate.clone())
                .filter(|next| !chain.contains(next))
            else {
                break;
            };
            chain.push(next.clone());
            current = next;
        }
        chain.pop();
        chain
    }
}

/// What the configuration answers to those who judge certificates, OCSP responses and time-stamps.
pub trait Trust: Send + Sync {
    /// The instance that we belong to.
    fn own_instance(&self) -> &str;

    /// The approved CAs of an instance; `None` when the configuration does not have the instance.
    fn authorities(&self, instance: &str) -> Option<&Authorities>;

    /// The approved CAs of every instance.
    fn all_authorities(&self) -> Vec<&Authorities>;

    /// The approved time-stamping certificates of every instance.
    fn timestamp_certificates(&self) -> &[Certificate];

    /// How old an OCSP response may be: the own instance's `ocspFreshnessSeconds` (default 3600 s).
    fn ocsp_freshness(&self) -> Duration;

    /// Whether an OCSP response's nextUpdate counts; on unless the configuration's extension turns it off.
    fn verify_next_update(&self) -> bool;
}

/// Longest chain of issuers that is followed.
const LONGEST_CHAIN: usize = 8;
