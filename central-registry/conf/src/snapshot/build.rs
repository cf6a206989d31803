//! From instances to a snapshot with its indexes.

use super::*;

/// An instance with its place in time.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    pub(crate) instance: Arc<Instance>,
    /// When its shared parameters expire; `None` is never.
    pub(crate) shared_expires: Option<OffsetDateTime>,
    /// The same of its private parameters.
    pub(crate) private_expires: Option<OffsetDateTime>,
}

/// Reads parts and puts them together.
pub(super) fn from_parts(own: &str, parts: Vec<InstanceParts>) -> Result<Snapshot, SnapshotError> {
    for (at, one) in parts.iter().enumerate() {
        if parts
            .iter()
            .take(at)
            .any(|known| known.instance == one.instance)
        {
            return Err(twice(&one.instance));
        }
    }
    let read = |parts: InstanceParts| -> Result<InForce, SnapshotError> {
        let (shared_expires, private_expires) = (parts.shared_expires, parts.private_expires);
        Ok(InForce {
            instance: Arc::new(Instance::read(own, parts)?),
            shared_expires,
            private_expires,
        })
    };
    let all: Vec<_> = parts.into_iter().map(read).collect::<Result<_, _>>()?;
    snapshot(own, all)
}

/// Puts instances together.
pub(super) fn snapshot(own: &str, mut all: Vec<InForce>) -> Result<Snapshot, SnapshotError> {
    // The own instance comes first, in every index: what a foreign one claims never hides what the own one says.
    all.sort_by(|one, other| {
        let (one, other) = (one.instance.name(), other.instance.name());
        (one != own, one).cmp(&(other != own, other))
    });
    for pair in all.windows(2) {
        if let [one, other] = pair
            && one.instance.name() == other.instance.name()
        {
            return Err(twice(one.instance.name()));
        }
    }
    let Some(first) = all.first().filter(|first| first.instance.name() == own) else {
        return Err(SnapshotError::OwnInstanceMissing {
            instance: own.to_owned(),
        });
    };
    let expiry = Expiry {
        shared: all.iter().map(|one| one.shared_expires).collect(),
        private: first.instance.private.as_ref().and(first.private_expires),
    };
    let instances: Vec<_> = all.into_iter().map(|one| one.instance).collect();
    let content = content(own, instances);
    let warnings = content.warnings.as_slice().into();
    Ok(Snapshot {
        content: Arc::new(content),
        expiry: Arc::new(expiry),
        warnings,
    })
}

fn twice(instance: &str) -> SnapshotError {
    SnapshotError::Twice {
        instance: instance.to_owned(),
    }
}

/// Instances, the own one first.
fn content(own: &str, instances: Vec<Arc<Instance>>) -> Content {
    let mut warnings: Vec<_> = instances
        .iter()
        .flat_map(|one| one.warnings.iter().cloned())
        .collect();
    let optional = instances.first().map_or(&[][..], |own| &own.parts.optional);
    let optional = Optional::read(optional, &mut warnings);
    let all = instances.iter().flat_map(|one| &one.timestamping);
    Content {
        id: content_id(own, &instances),
        own: own.to_owned(),
        profiles: Profiles::default(),
        authorities: instances
            .iter()
            .map(|one| one.authorities.clone())
            .collect(),
        monitoring_client: optional.monitoring_client,
        ocsp_fetch_interval: optional.ocsp_fetch_interval,
        verify_next_update: optional.verify_next_update,
        index: Index::of(&instances),
        timestamp_certificates: all.map(|tsa| tsa.certificate.clone()).collect(),
        warnings,
        instances,
    }
}

fn content_id(own: &str, instances: &[Arc<Instance>]) -> Digest {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hash_one(&mut hasher, own.as_bytes());
    for one in instances {
        let parts = &one.parts;
        hash_one(&mut hasher, parts.instance.as_bytes());
        hash_one(&mut hasher, &[parts.version]);
        hash_one(&mut hasher, &parts.shared);
        if parts.instance == own {
            if let Some(bytes) = &parts.private {
                hash_one(&mut hasher, bytes);
            }
            for (identifier, bytes) in &parts.optional {
                hash_one(&mut hasher, identifier.as_bytes());
                hash_one(&mut hasher, bytes);
            }
        }
    }
    hasher.finish()
}

struct Optional {
    monitoring_client: Option<ClientId>,
    ocsp_fetch_interval: Duration,
    verify_next_update: bool,
}

impl Optional {
    /// Damaged optional parts leave the defaults in force (`registry-and-globalconf.md` 2.3).
    fn read(parts: &[(String, Bytes)], warnings: &mut Vec<String>) -> Self {
        let mut read = Self {
            monitoring_client: None,
            ocsp_fetch_interval: DEFAULT_OCSP_FETCH_INTERVAL,
            verify_next_update: true,
        };
        for (identifier, bytes) in parts {
            let result = match identifier.as_str() {
                part::MONITORING => {
                    part::parse_monitoring(bytes).map(|client| read.monitoring_client = client)
                }
                part::FETCH_INTERVAL => {
                    part::parse_fetch_interval(bytes).map(|every| read.ocsp_fetch_interval = every)
                }
                part::NEXT_UPDATE => {
                    part::parse_next_update(bytes).map(|check| read.verify_next_update = check)
                }
                _ => Ok(()),
            };
            if let Err(error) = result {
                warnings.push(format!(
                    "the optional part {identifier} cannot be read, its default applies: {error}"
                ));
            }
        }
        read
    }
}

fn hash_one(hasher: &mut Hasher, bytes: &[u8]) {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    hasher.update(&length.to_be_bytes());
    hasher.update(bytes);
}
