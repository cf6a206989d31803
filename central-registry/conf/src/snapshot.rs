//! A configuration as everybody else holds it: immutable, complete, with its indexes built once.
//!
//! A message takes one [`Snapshot`] and keeps it. Clones share everything; [`Snapshot::content_id`] is equal for equal content,
//! so that a cache that names it survives a publication that changed nothing but the expiry.

use std::{mem::take, sync::Arc, time::Duration};

use bytes::Bytes;
use jibek_certs::{
    digest::{Digest, DigestAlgorithm, Hasher},
    parse::Certificate,
    trust::{Authorities, Trust},
};
use jibek_protocol::{
    id::{ClientId, GlobalGroupId, MemberId, ServerId},
    profile::{Profile, Profiles},
};
use time::OffsetDateTime;

use crate::{
    aside::drop_aside,
    model::{
        DEFAULT_OCSP_FETCH_INTERVAL, DEFAULT_OCSP_FRESHNESS, DEFAULT_TIMESTAMPING_INTERVAL,
        PrivateParameters, SharedParameters,
    },
    part,
};

mod build;
mod error;
mod index;
mod instance;
mod server;

use index::Index;
use instance::SMALL;

pub(crate) use build::InForce;
pub(crate) use instance::Instance;

pub use error::{ConfExpired, SnapshotError, UnknownProfile};
pub use server::{AuthCertError, ServerAddress, ServerEntry};

/// The parts of one instance as bytes, before they are understood.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InstanceParts {
    /// The instance; must be what its shared parameters say.
    pub instance: String,
    /// Version of the configuration format.
    pub version: u8,
    /// `shared-params.xml`.
    pub shared: Bytes,
    /// When it expires; `None` is never.
    pub shared_expires: Option<OffsetDateTime>,
    /// `private-params.xml`; only the own instance has it.
    pub private: Option<Bytes>,
    /// When that expires; `None` is never.
    pub private_expires: Option<OffsetDateTime>,
    /// Optional parts by content identifier, also those that nobody here understands; only the own instance has them.
    pub optional: Vec<(String, Bytes)>,
}

impl InstanceParts {
    /// An instance of which only the shared parameters are known, never expiring.
    pub fn new(instance: impl Into<String>, version: u8, shared: impl Into<Bytes>) -> Self {
        Self {
            instance: instance.into(),
            version,
            shared: shared.into(),
            shared_expires: None,
            private: None,
            private_expires: None,
            optional: Vec::new(),
        }
    }
}

/// An approved time-stamping service of the own instance.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ApprovedTsa {
    /// Name for people.
    pub name: String,
    /// Where it answers.
    pub url: String,
    /// What verifies its tokens.
    pub certificate: Certificate,
}

/// Shared parameters of one instance as they were published.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PublishedPart<'a> {
    /// The instance.
    pub instance: &'a str,
    /// Version of the configuration format.
    pub version: u8,
    /// `shared-params.xml`, byte for byte.
    pub shared: &'a Bytes,
}

/// An immutable configuration with its indexes; cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    content: Arc<Content>,
    expiry: Arc<Expiry>,
    warnings: Arc<[String]>,
}

/// When what expires; `None` is never.
#[derive(Clone, Debug)]
struct Expiry {
    /// Shared parameters of each instance, in the order of the instances.
    shared: Vec<Option<OffsetDateTime>>,
    /// Private parameters of the own instance.
    private: Option<OffsetDateTime>,
}

#[derive(Clone, Debug)]
struct Content {
    id: Digest,
    own: String,
    /// Declared certificate profiles that it is read with.
    profiles: Profiles,
    /// The own instance first, the others by name.
    instances: Vec<Arc<Instance>>,
    /// Of each instance, read with the profiles.
    authorities: Vec<Authorities>,
    monitoring_client: Option<ClientId>,
    ocsp_fetch_interval: Duration,
    verify_next_update: bool,
    index: Index,
    timestamp_certificates: Vec<Certificate>,
    warnings: Vec<String>,
}

/// The last holder may be a message, which shall not wait for a country to be let go.
impl Drop for Content {
    fn drop(&mut self) {
        if self.index.members.len() > SMALL {
            drop_aside((take(&mut self.index), take(&mut self.instances)));
        }
    }
}

impl Snapshot {
    /// Understands and indexes parts. What hurts only some (an unreadable CA certificate, a damaged optional part) becomes a
    /// warning; every other defect refuses the whole.
    ///
    /// # Errors
    /// [`SnapshotError`]; also for a damaged part of a foreign instance: leave that instance out and try again.
    pub fn from_parts(
        own_instance: &str,
        parts: Vec<InstanceParts>,
    ) -> Result<Self, SnapshotError> {
        build::from_parts(own_instance, parts)
    }

    /// Puts instances together that were read before.
    pub(crate) fn of(own_instance: &str, all: Vec<InForce>) -> Result<Self, SnapshotError> {
        build::snapshot(own_instance, all)
    }

    /// Whether it is made of these instances and no others, in any order.
    pub(crate) fn is_made_of(&self, all: &[InForce]) -> bool {
        let own = &self.content.instances;
        let holds = |one: &InForce| own.iter().any(|held| Arc::ptr_eq(held, &one.instance));
        own.len() == all.len() && all.iter().all(holds)
    }

    /// An instance as it was read.
    pub(crate) fn instance_read(&self, name: &str) -> Option<&Arc<Instance>> {
        let mut all = self.content.instances.iter();
        all.find(|instance| instance.name() == name)
    }

    /// The same content with other expiry times of the own shared and private parameters.
    #[must_use]
    pub fn with_expiry(
        &self,
        shared: Option<OffsetDateTime>,
        private: Option<OffsetDateTime>,
    ) -> Self {
        let mut expiry = Expiry::clone(&self.expiry);
        if let Some(own) = expiry.shared.first_mut() {
            *own = shared;
        }
        expiry.private = private;
        self.expiring(expiry)
    }

    /// The same content with another expiry time of a foreign instance's parameters.
    #[must_use]
    pub fn with_foreign_expiry(&self, instance: &str, expires: Option<OffsetDateTime>) -> Self {
        let mut expiry = Expiry::clone(&self.expiry);
        let names = self.content.instances.iter().skip(1);
        for (known, at) in names.zip(expiry.shared.iter_mut().skip(1)) {
            if known.name() == instance {
                *at = expires;
            }
        }
        self.expiring(expiry)
    }

    /// The same content with these warnings after those of the content itself.
    #[must_use]
    pub fn with_warnings(&self, passing: impl IntoIterator<Item = String>) -> Self {
        let own = self.content.warnings.iter().cloned();
        Self {
            content: Arc::clone(&self.content),
            expiry: Arc::clone(&self.expiry),
            warnings: own.chain(passing).collect(),
        }
    }

    /// The same configuration read with declared certificate profiles. X-Road's own names keep their meaning, names that are
    /// not declared stay unknown.
    #[must_use]
    pub fn with_profiles(mut self, profiles: &Profiles) -> Self {
        if !profiles.is_empty() {
            let content = Arc::make_mut(&mut self.content);
            content.profiles = profiles.clone();
            for authorities in &mut content.authorities {
                let mut list = authorities.all().to_vec();
                for ca in &mut list {
                    ca.profile_class = profiles.resolve(&ca.profile_class).into_owned();
                }
                *authorities = Authorities::new(list);
            }
        }
        self
    }

    /// What is left when foreign instances that have expired are taken away (`registry-and-globalconf.md` 1.8); `None` when
    /// nothing has to go. The own instance stays, expired or not: ask [`Snapshot::check_valid`].
    #[must_use]
    pub fn without_expired(&self, now: OffsetDateTime) -> Option<Self> {
        let expired = |at: &Option<OffsetDateTime>| at.is_some_and(|at| now > at);
        if !self.expiry.shared.iter().skip(1).any(expired) {
            return None;
        }
        let mut warnings = self.passing_warnings().to_vec();
        let mut kept = Vec::new();
        let all = self.content.instances.iter().zip(&self.expiry.shared);
        for (at, (instance, expires)) in all.enumerate() {
            match expires.filter(|expires| at > 0 && now > *expires) {
                Some(expires) => warnings.push(left_out(instance.name(), expires)),
                None => kept.push(InForce {
                    instance: Arc::clone(instance),
                    shared_expires: *expires,
                    private_expires: self.expiry.private.filter(|_| at == 0),
                }),
            }
        }
        // They stood together before.
        let rest = Self::of(&self.content.own, kept).ok()?;
        let rest = rest.with_profiles(&self.content.profiles);
        Some(rest.with_warnings(warnings))
    }

    /// When the next foreign instance expires.
    #[must_use]
    pub fn next_foreign_expiry(&self) -> Option<OffsetDateTime> {
        self.expiry.shared.iter().skip(1).flatten().min().copied()
    }

    /// When the shared parameters of an instance expire; `None` is never, or an instance that is not known.
    #[must_use]
    pub fn expires_of(&self, instance: &str) -> Option<OffsetDateTime> {
        let mut known = self.content.instances.iter().zip(&self.expiry.shared);
        *known.find(|(known, _)| known.name() == instance)?.1
    }

    /// The instance that we belong to.
    #[must_use]
    pub fn own_instance(&self) -> &str {
        &self.content.own
    }

    /// All instances, the own one first, the others by name.
    pub fn instances(&self) -> impl Iterator<Item = &str> {
        self.content
            .instances
            .iter()
            .map(|instance| instance.name())
    }

    /// Whether the configuration describes this instance.
    #[must_use]
    pub fn knows_instance(&self, instance: &str) -> bool {
        self.instance_read(instance).is_some()
    }

    /// What operators should know: what was skipped when this was built, and what is amiss with its sources.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Digest of all parts: equal for equal content, whatever its expiry.
    #[must_use]
    pub fn content_id(&self) -> &Digest {
        &self.content.id
    }

    /// Whether a server may use the own configuration, or still (`registry-and-globalconf.md` 1.8): the shared and the
    /// private parameters are there and have not expired. Who only verifies what was signed once does not ask.
    ///
    /// # Errors
    /// [`ConfExpired`] names the part that expired first, or the missing one.
    pub fn check_valid(&self, now: OffsetDateTime) -> Result<(), ConfExpired> {
        let names = [part::SHARED_PARAMETERS, part::PRIVATE_PARAMETERS];
        let expired = names
            .into_iter()
            .zip(self.own_expiry())
            .filter_map(|(name, expires)| Some((name, expires?)));
        if let Some((name, expired_at)) = expired
            .filter(|(_, expires)| now > *expires)
            .min_by_key(|(_, expires)| *expires)
        {
            return Err(ConfExpired::Expired {
                part: name.to_owned(),
                expired_at,
                now,
            });
        }
        match self.private() {
            Some(_) => Ok(()),
            None => Err(ConfExpired::Missing {
                part: part::PRIVATE_PARAMETERS.to_owned(),
            }),
        }
    }

    /// When the own configuration expires; `None` is never.
    #[must_use]
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        self.own_expiry().into_iter().flatten().min()
    }

    /// Addresses of the servers at which exactly this client is registered, or which it owns. Servers without address
    /// are left out.
    #[must_use]
    pub fn servers_of(&self, provider: &ClientId) -> &[ServerAddress] {
        let found = self.content.index.providers.get(provider);
        found.map_or(&[], |servers| servers)
    }

    /// Whether a member or subsystem is listed.
    #[must_use]
    pub fn knows_client(&self, client: &ClientId) -> bool {
        self.content.index.clients.contains(client)
    }

    /// The full name of a member.
    #[must_use]
    pub fn member_name(&self, member: &MemberId) -> Option<&str> {
        let (instance, at) = self.content.index.members.get(member)?;
        let instance = self.content.instances.get(*instance)?;
        Some(&instance.shared.members.get(*at)?.name)
    }

    /// All servers of all instances.
    pub fn servers(&self) -> impl Iterator<Item = &ServerEntry> {
        self.content.index.servers.iter()
    }

    /// A server by its identifier.
    #[must_use]
    pub fn server(&self, id: &ServerId) -> Option<&ServerEntry> {
        let index = &self.content.index;
        index.servers.get(*index.server_numbers.get(id)?)
    }

    /// The server that an authentication certificate belongs to, by the SHA-256 of its DER.
    #[must_use]
    pub fn server_by_auth_cert(&self, sha256: &[u8; 32]) -> Option<&ServerEntry> {
        self.with_auth_hash(sha256).next()
    }

    /// The server that an authentication certificate belongs to, over all instances (by SHA-1 where the own
    /// configuration has version 2).
    #[must_use]
    pub fn server_by_auth_certificate(&self, certificate: &Certificate) -> Option<&ServerEntry> {
        self.with_auth_certificate(certificate).next()
    }

    /// Whether a server that presents this certificate may act for a client (`message-path.md` 5.4 step 4): exactly this
    /// client must be registered at a server with this certificate, or own it.
    ///
    /// # Errors
    /// [`AuthCertError`] in X-Road's words.
    pub fn auth_cert_serves(
        &self,
        certificate: &Certificate,
        client: &ClientId,
    ) -> Result<&ServerEntry, AuthCertError> {
        if let Some(server) = self
            .with_auth_certificate(certificate)
            .find(|server| server.serves(client))
        {
            return Ok(server);
        }
        Err(match self.server_by_auth_certificate(certificate) {
            Some(server) => AuthCertError::NotRegistered {
                client: client.clone(),
                server: server.id().clone(),
            },
            None => AuthCertError::NotAssociated {
                subject: certificate.subject().rfc2253().to_owned(),
            },
        })
    }

    /// Whether a client is registered at a server or owns it.
    #[must_use]
    pub fn server_has_client(&self, server: &ServerId, client: &ClientId) -> bool {
        self.server(server)
            .is_some_and(|server| server.serves(client))
    }

    /// Whether a client is in a global group.
    #[must_use]
    pub fn in_global_group(&self, group: &GlobalGroupId, client: &ClientId) -> bool {
        let groups = &self.content.index.groups;
        groups
            .get(group)
            .is_some_and(|members| members.contains(client))
    }

    /// Approved time-stamping services of the own instance, in listed order.
    #[must_use]
    pub fn tsa_urls(&self) -> &[ApprovedTsa] {
        let own = self.content.instances.first();
        own.map_or(&[], |own| &own.timestamping)
    }

    /// How often OCSP responses are fetched (default 1200 s).
    #[must_use]
    pub fn ocsp_fetch_interval(&self) -> Duration {
        self.content.ocsp_fetch_interval
    }

    /// How often servers time-stamp their log (default 60 s).
    #[must_use]
    pub fn timestamping_interval(&self) -> Duration {
        self.private()
            .map_or(DEFAULT_TIMESTAMPING_INTERVAL, |private| {
                private.timestamping_interval
            })
    }

    /// Who may query monitoring data of every server.
    #[must_use]
    pub fn monitoring_client(&self) -> Option<&ClientId> {
        self.content.monitoring_client.as_ref()
    }

    /// Addresses of all servers of all instances; one may occur more than once.
    pub fn peer_addresses(&self) -> impl Iterator<Item = &str> {
        self.content
            .index
            .servers
            .iter()
            .filter_map(ServerEntry::address)
    }

    /// Private parameters of the own instance, when they are known.
    #[must_use]
    pub fn private(&self) -> Option<&PrivateParameters> {
        self.content.instances.first()?.private.as_ref()
    }

    /// Shared parameters of an instance.
    #[must_use]
    pub fn shared(&self, instance: &str) -> Option<&SharedParameters> {
        self.instance_read(instance)
            .map(|instance| &instance.shared)
    }

    /// Configuration version of an instance.
    #[must_use]
    pub fn version(&self, instance: &str) -> Option<u8> {
        self.instance_read(instance)
            .map(|instance| instance.parts.version)
    }

    /// The configured class name of the profile that reads the subjects of certificates issued by `ca` in an instance.
    #[must_use]
    pub fn profile_class(&self, instance: &str, ca: &Certificate) -> Option<&str> {
        let all = self.authorities(instance)?.all();
        all.iter()
            .rev()
            .find(|one| one.certificate == *ca)
            .map(|one| one.profile_class.as_str())
    }

    /// The profile that reads the subjects of certificates issued by `ca` in an instance.
    ///
    /// # Errors
    /// [`UnknownProfile`].
    pub fn profile_of(&self, instance: &str, ca: &Certificate) -> Result<Profile, UnknownProfile> {
        let class = self.profile_class(instance, ca).unwrap_or_default();
        Profile::from_class_name(class).ok_or_else(|| UnknownProfile {
            class: class.to_owned(),
        })
    }

    /// Shared parameters of every instance as they were published.
    pub fn parts(&self) -> impl Iterator<Item = PublishedPart<'_>> {
        self.content.instances.iter().map(|one| PublishedPart {
            instance: &one.parts.instance,
            version: one.parts.version,
            shared: &one.parts.shared,
        })
    }

    /// Optional parts of the own instance by content identifier, byte for byte; also those that nobody here understands.
    pub fn optional_parts(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        let own = self.content.instances.first().into_iter();
        own.flat_map(|own| {
            let optional = own.parts.optional.iter();
            optional.map(|(name, bytes)| (name.as_str(), bytes))
        })
    }

    /// The files of `/verificationconf` (`signatures-and-log.md` 5.4) without the leading folder, in order: shared
    /// parameters and version of every instance, then the own instance's name.
    #[must_use]
    pub fn verification_files(&self) -> Vec<(String, Bytes)> {
        let mut files = Vec::new();
        for part in self.parts() {
            let directory = crate::files::directory_name(part.instance);
            let metadata = format!("{{\"configurationVersion\":\"{}\"}}", part.version);
            files.push((
                format!("{directory}/shared-params.xml"),
                part.shared.clone(),
            ));
            files.push((
                format!("{directory}/shared-params.xml.metadata"),
                Bytes::from(metadata),
            ));
        }
        files.push((
            "instance-identifier".to_owned(),
            Bytes::copy_from_slice(self.own_instance().as_bytes()),
        ));
        files
    }

    /// The warnings that are not about the content.
    pub(crate) fn passing_warnings(&self) -> &[String] {
        let own = self.content.warnings.len();
        self.warnings.get(own..).unwrap_or_default()
    }

    fn own_expiry(&self) -> [Option<OffsetDateTime>; 2] {
        [
            self.expiry.shared.first().copied().flatten(),
            self.expiry.private,
        ]
    }

    fn expiring(&self, expiry: Expiry) -> Self {
        Self {
            content: Arc::clone(&self.content),
            expiry: Arc::new(expiry),
            warnings: Arc::clone(&self.warnings),
        }
    }

    fn own_version(&self) -> u8 {
        self.version(&self.content.own)
            .unwrap_or(crate::model::NEWEST_VERSION)
    }

    fn with_auth_certificate(
        &self,
        certificate: &Certificate,
    ) -> impl Iterator<Item = &ServerEntry> {
        let algorithm = if self.own_version() <= 2 {
            DigestAlgorithm::Sha1
        } else {
            DigestAlgorithm::Sha256
        };
        self.with_auth_hash(certificate.digest(algorithm).as_bytes())
    }

    fn with_auth_hash(&self, hash: &[u8]) -> impl Iterator<Item = &ServerEntry> + use<'_> {
        let index = &self.content.index;
        let found = index.auth_certificates.get(hash);
        let found = found.map(Vec::as_slice).unwrap_or_default();
        found.iter().filter_map(|at| index.servers.get(*at))
    }
}

impl Trust for Snapshot {
    fn own_instance(&self) -> &str {
        &self.content.own
    }

    fn authorities(&self, instance: &str) -> Option<&Authorities> {
        let mut known = self.content.instances.iter().zip(&self.content.authorities);
        let (_, authorities) = known.find(|(known, _)| known.name() == instance)?;
        Some(authorities)
    }

    fn all_authorities(&self) -> Vec<&Authorities> {
        self.content.authorities.iter().collect()
    }

    fn timestamp_certificates(&self) -> &[Certificate] {
        &self.content.timestamp_certificates
    }

    fn ocsp_freshness(&self) -> Duration {
        self.shared(&self.content.own)
            .map_or(DEFAULT_OCSP_FRESHNESS, |shared| shared.ocsp_freshness)
    }

    fn verify_next_update(&self) -> bool {
        self.content.verify_next_update
    }
}

/// Says that an expired foreign instance is not there.
pub(crate) fn left_out(instance: &str, expired: OffsetDateTime) -> String {
    format!(
        "the configuration of {instance} expired at {expired} and is left out; nothing newer came from its sources"
    )
}

#[cfg(test)]
mod tests;
