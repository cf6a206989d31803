//! One instance, read: what is expensive to make of its parts, and shared by every snapshot that it stands in.

use std::mem::take;

use bytes::Bytes;
use jibek_certs::{
    parse::Certificate,
    trust::{ApprovedCa, Authorities},
};
use jibek_protocol::id::GlobalGroupId;

use super::{ApprovedTsa, InstanceParts, SnapshotError};
use crate::{
    aside::drop_aside,
    model::{CertificationAuthority, PrivateParameters, SharedParameters},
    part,
};

/// Parts of an instance and what they say.
#[derive(Debug)]
pub(crate) struct Instance {
    /// Byte for byte; the optional ones sorted, expiry left out.
    pub(crate) parts: InstanceParts,
    pub(crate) shared: SharedParameters,
    /// Only the own instance's are read.
    pub(crate) private: Option<PrivateParameters>,
    pub(super) authorities: Authorities,
    pub(super) timestamping: Vec<ApprovedTsa>,
    pub(super) warnings: Vec<String>,
}

impl Instance {
    /// Reads the parts of an instance; the private ones only when it is `own`.
    pub(crate) fn read(own: &str, mut parts: InstanceParts) -> Result<Self, SnapshotError> {
        (parts.shared_expires, parts.private_expires) = (None, None);
        parts.optional.sort();
        let private = parts.private.as_ref().filter(|_| parts.instance == own);
        let private = private
            .map(|bytes| private_parameters(&parts.instance, bytes))
            .transpose()?;
        let shared = part::parse_shared(&parts.shared, parts.version).map_err(|source| {
            SnapshotError::Part {
                instance: parts.instance.clone(),
                part: "shared",
                source,
            }
        })?;
        if shared.instance != parts.instance {
            return Err(SnapshotError::OtherInstance {
                part: "shared",
                expected: parts.instance.clone(),
                found: shared.instance,
            });
        }
        let mut warnings = Vec::new();
        let authorities = authorities(&shared, &mut warnings);
        for group in &shared.groups {
            if GlobalGroupId::new(&shared.instance, &group.code).is_err() {
                warnings.push(format!(
                    "{}: a global group without code is ignored",
                    shared.instance
                ));
            }
        }
        let mut timestamping = Vec::new();
        for service in &shared.timestamping_services {
            let kind = "time-stamping service";
            let read = certificate(
                &shared.instance,
                kind,
                &service.name,
                &service.certificate,
                &mut warnings,
            );
            timestamping.extend(read.map(|certificate| ApprovedTsa {
                name: service.name.clone(),
                url: service.url.clone(),
                certificate,
            }));
        }
        Ok(Self {
            parts,
            shared,
            private,
            authorities,
            timestamping,
            warnings,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.parts.instance
    }

    /// Whether it was read of these very parts, whenever they expire; the optional ones sorted.
    pub(crate) fn was_read_of(&self, parts: &InstanceParts) -> bool {
        let own = &self.parts;
        let both = |one: &Option<Bytes>, other: &Option<Bytes>| match (one, other) {
            (Some(one), Some(other)) => same(one, other),
            (None, None) => true,
            _ => false,
        };
        own.instance == parts.instance
            && own.version == parts.version
            && same(&own.shared, &parts.shared)
            && both(&own.private, &parts.private)
            && own.optional == parts.optional
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.shared.members.len() > SMALL {
            let shared = &mut self.shared;
            drop_aside((
                take(&mut shared.members),
                take(&mut shared.servers),
                take(&mut shared.groups),
                take(&mut self.parts.shared),
            ));
        }
    }
}

/// Equal bytes; told at once where both are the same piece of memory.
fn same(one: &Bytes, other: &Bytes) -> bool {
    (one.as_ptr() == other.as_ptr() && one.len() == other.len()) || one == other
}

fn private_parameters(instance: &str, bytes: &[u8]) -> Result<PrivateParameters, SnapshotError> {
    let parsed = part::parse_private(bytes).map_err(|source| SnapshotError::Part {
        instance: instance.to_owned(),
        part: "private",
        source,
    })?;
    if parsed.instance != instance {
        let (expected, found) = (instance.to_owned(), parsed.instance);
        return Err(SnapshotError::OtherInstance {
            part: "private",
            expected,
            found,
        });
    }
    Ok(parsed)
}

fn authorities(shared: &SharedParameters, warnings: &mut Vec<String>) -> Authorities {
    let mut approved = Vec::new();
    for service in &shared.certification_services {
        let tops = std::iter::once((true, &service.top));
        for (top, ca) in tops.chain(service.intermediates.iter().map(|ca| (false, ca))) {
            let Some(certificate) = certificate(
                &shared.instance,
                "CA",
                &service.name,
                &ca.certificate,
                warnings,
            ) else {
                continue;
            };
            let mut one = ApprovedCa::new(certificate, top, service.profile_class.as_str());
            one.authentication_only = service.authentication_only;
            one.ocsp_urls = ca
                .ocsp
                .iter()
                .map(|responder| responder.url.clone())
                .collect();
            one.ocsp_responders = responders(&shared.instance, &service.name, ca, warnings);
            approved.push(one);
        }
    }
    Authorities::new(approved)
}

fn responders(
    instance: &str,
    service: &str,
    ca: &CertificationAuthority,
    warnings: &mut Vec<String>,
) -> Vec<Certificate> {
    let listed = ca
        .ocsp
        .iter()
        .filter_map(|responder| responder.certificate.as_ref());
    listed
        .filter_map(|der| certificate(instance, "OCSP responder", service, der, warnings))
        .collect()
}

/// A certificate that cannot be read is left out: what depends on it then fails, and nothing else.
fn certificate(
    instance: &str,
    kind: &str,
    name: &str,
    der: &Bytes,
    warnings: &mut Vec<String>,
) -> Option<Certificate> {
    match Certificate::from_der(der.clone()) {
        Ok(certificate) => Some(certificate),
        Err(error) => {
            warnings.push(format!(
                "{instance}: a certificate of the {kind} {name:?} cannot be read: {error}"
            ));
            None
        }
    }
}

/// Members of a configuration that is dropped where it is: a fraction of a millisecond.
pub(super) const SMALL: usize = 1000;
