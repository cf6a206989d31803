//! From the bytes of parts to a snapshot with its indexes.

use super::*;
use crate::model::CertificationAuthority;
use jibek_certs::trust::ApprovedCa;

pub(super) fn snapshot(
    own: &str,
    mut parts: Vec<InstanceParts>,
) -> Result<Snapshot, SnapshotError> {
    let mut building = Building::default();
    let mut content_hash = Hasher::new(DigestAlgorithm::Sha256);
    let mut private = None;
    // The own instance comes first, in every index: what a foreign one claims never hides what the own one says.
    parts.sort_by(|one, other| {
        (one.instance != own, &one.instance).cmp(&(other.instance != own, &other.instance))
    });
    for one in &mut parts {
        one.optional.sort();
    }
    hash_one(&mut content_hash, own.as_bytes());
    for one in &parts {
        hash_one(&mut content_hash, one.instance.as_bytes());
        hash_one(&mut content_hash, &[one.version]);
        hash_one(&mut content_hash, &one.shared);
        if building
            .instances
            .iter()
            .any(|known| known.name == one.instance)
        {
            return Err(SnapshotError::Twice {
                instance: one.instance.clone(),
            });
        }
        if one.instance == own {
            if let Some(bytes) = &one.private {
                hash_one(&mut content_hash, bytes);
                private = Some(private_parameters(&one.instance, bytes)?);
            }
            for (identifier, bytes) in &one.optional {
                hash_one(&mut content_hash, identifier.as_bytes());
                hash_one(&mut content_hash, bytes);
            }
        }
        building.instance(one)?;
    }
    let Some(first) = parts.first().filter(|first| first.instance == own) else {
        return Err(SnapshotError::OwnInstanceMissing {
            instance: own.to_owned(),
        });
    };
    let expiry = Expiry {
        shared: parts.iter().map(|one| one.shared_expires).collect(),
        private: first.private.as_ref().and(first.private_expires),
    };
    let content = building.finish(content_hash.finish(), own, private, parts);
    let warnings = content.warnings.as_slice().into();
    Ok(Snapshot {
        content: Arc::new(content),
        expiry: Arc::new(expiry),
        warnings,
    })
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

#[derive(Default)]
struct Building {
    instances: Vec<Instance>,
    servers: Vec<ServerEntry>,
    clients: HashSet<ClientId>,
    member_names: HashMap<MemberId, String>,
    groups: HashMap<GlobalGroupId, HashSet<ClientId>>,
    timestamping: Vec<(String, ApprovedTsa)>,
    warnings: Vec<String>,
}

impl Building {
    fn instance(&mut self, parts: &InstanceParts) -> Result<(), SnapshotError> {
        let name = parts.instance.clone();
        let shared = part::parse_shared(&parts.shared, parts.version).map_err(|source| {
            SnapshotError::Part {
                instance: name.clone(),
                part: "shared",
                source,
            }
        })?;
        if shared.instance != name {
            return Err(SnapshotError::OtherInstance {
                part: "shared",
                expected: name,
                found: shared.instance,
            });
        }
        let authorities = self.authorities(&shared);
        self.directory(&shared);
        for service in &shared.timestamping_services {
            if let Some(certificate) = self.certificate(
                &name,
                "time-stamping service",
                &service.name,
                &service.certificate,
            ) {
                let (tsa, url) = (service.name.clone(), service.url.clone());
                self.timestamping.push((
                    name.clone(),
                    ApprovedTsa {
                        name: tsa,
                        url,
                        certificate,
                    },
                ));
            }
        }
        self.instances.push(Instance {
            name,
            version: parts.version,
            shared,
            authorities,
        });
        Ok(())
    }

    /// Members, groups and servers.
    fn directory(&mut self, shared: &SharedParameters) {
        for member in &shared.members {
            self.clients.insert(ClientId::from(member.id.clone()));
            for subsystem in &member.subsystems {
                let id = &member.id;
                self.clients.extend(ClientId::new(
                    id.instance(),
                    id.class(),
                    id.code(),
                    Some(&subsystem.code),
                ));
            }
            self.member_names
                .insert(member.id.clone(), member.name.clone());
        }
        for group in &shared.groups {
            match GlobalGroupId::new(&shared.instance, &group.code) {
                Ok(id) => self
                    .groups
                    .entry(id)
                    .or_default()
                    .extend(group.members.iter().cloned()),
                Err(_) => self.warnings.push(format!(
                    "{}: a global group without code is ignored",
                    shared.instance
                )),
            }
        }
        for server in &shared.servers {
            let mut served: HashSet<ClientId> = server.clients.iter().cloned().collect();
            served.insert(ClientId::from(server.id.owner().clone()));
            self.servers.push(ServerEntry {
                id: server.id.clone(),
                address: server.address.clone(),
                clients: server.clients.clone(),
                served,
                maintenance: server
                    .maintenance
                    .as_ref()
                    .map(|it| it.message.clone().unwrap_or_default()),
                hashes: server.auth_certificate_hashes.clone(),
            });
        }
    }

    fn authorities(&mut self, shared: &SharedParameters) -> Authorities {
        let mut approved = Vec::new();
        for service in &shared.certification_services {
            let tops = std::iter::once((true, &service.top));
            for (top, ca) in tops.chain(service.intermediates.iter().map(|ca| (false, ca))) {
                let Some(certificate) =
                    self.certificate(&shared.instance, "CA", &service.name, &ca.certificate)
                else {
                    continue;
                };
                let mut one = ApprovedCa::new(certificate, top, service.profile_class.as_str());
                one.authentication_only = service.authentication_only;
                one.ocsp_urls = ca
                    .ocsp
                    .iter()
                    .map(|responder| responder.url.clone())
                    .collect();
                one.ocsp_responders = self.responders(&shared.instance, &service.name, ca);
                approved.push(one);
            }
        }
        Authorities::new(approved)
    }

    fn responders(
        &mut self,
        instance: &str,
        service: &str,
        ca: &CertificationAuthority,
    ) -> Vec<Certificate> {
        let listed = ca
            .ocsp
            .iter()
            .filter_map(|responder| responder.certificate.as_ref());
        listed
            .filter_map(|der| self.certificate(instance, "OCSP responder", service, der))
            .collect()
    }

    /// A certificate that cannot be read is left out: what depends on it then fails, and nothing else.
    fn certificate(
        &mut self,
        instance: &str,
        kind: &str,
        name: &str,
        der: &Bytes,
    ) -> Option<Certificate> {
        match Certificate::from_der(der.clone()) {
            Ok(certificate) => Some(certificate),
            Err(error) => {
                self.warnings.push(format!(
                    "{instance}: a certificate of the {kind} {name:?} cannot be read: {error}"
                ));
                None
            }
        }
    }

    fn finish(
        mut self,
        id: Digest,
        own: &str,
        private: Option<PrivateParameters>,
        parts: Vec<InstanceParts>,
    ) -> Content {
        let optional = parts.first().map_or(&[][..], |own| &own.optional);
        let optional = Optional::read(optional, &mut self.warnings);
        let mut server_index = HashMap::new();
        let mut auth_certificates: HashMap<Bytes, Vec<usize>> = HashMap::new();
        let mut providers: HashMap<ClientId, Vec<ServerAddress>> = HashMap::new();
        for (at, server) in self.servers.iter().enumerate() {
            server_index.entry(server.id.clone()).or_insert(at);
            for hash in server.hashes.iter().filter(|hash| !hash.is_empty()) {
                auth_certificates.entry(hash.clone()).or_default().push(at);
            }
            let Some(address) = &server.address else {
                continue;
            };
            // Only clients of the server's own instance are looked up there; X-Road keeps one such map per instance.
            for client in server
                .served
                .iter()
                .filter(|client| client.instance() == server.id.instance())
            {
                providers
                    .entry(client.clone())
                    .or_default()
                    .push(ServerAddress {
                        server: server.id.clone(),
                        address: address.clone(),
                        maintenance: server.maintenance.clone(),
                    });
            }
        }
        let timestamp_certificates = self
            .timestamping
            .iter()
            .map(|(_, tsa)| tsa.certificate.clone())
            .collect();
        let timestamping = self
            .timestamping
            .into_iter()
            .filter(|(instance, _)| instance == own)
            .map(|(_, tsa)| tsa)
            .collect();
        Content {
            id,
            own: own.to_owned(),
            profiles: Profiles::default(),
            parts,
            instances: self.instances,
            private,
            monitoring_client: optional.monitoring_client,
            ocsp_fetch_interval: optional.ocsp_fetch_interval,
            verify_next_update: optional.verify_next_update,
            servers: self.servers,
            server_index,
            auth_certificates,
            providers,
            clients: self.clients,
            member_names: self.member_names,
            groups: self.groups,
            timestamping,
            timestamp_certificates,
            warnings: self.warnings,
        }
    }
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
