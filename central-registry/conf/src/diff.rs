//! What changed from one configuration to another, in words.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use jibek_certs::{
    digest::{DigestAlgorithm, digest},
    parse::Certificate,
};
use jibek_protocol::id::SubsystemId;

use crate::{
    model::{
        AnchorContent, CertificationAuthority, CertificationService, PrivateParameters,
        SecurityServer, SharedParameters,
    },
    snapshot::Snapshot,
};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Change {
    /// The instance that it is in.
    pub instance: String,
    /// What is concerned: `member`, `server`, `certification service` and so on.
    pub kind: &'static str,
    /// Which one.
    pub name: String,
    /// What happened to it.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum What {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// A property that has one value.
    Changed {
        /// The property.
        property: &'static str,
        /// Before.
        from: String,
        /// After.
        to: String,
    },
    /// A property that has many values got one more.
    Gained {
        /// The property.
        property: &'static str,
        /// The value.
        value: String,
    },
    /// A property that has many values lost one.
    Lost {
        /// The property.
        property: &'static str,
        /// The value.
        value: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            instance,
            kind,
            name,
            what,
        } = self;
        let shown = |value: &str| match value {
            "" => "nothing".to_owned(),
            value => format!("{value:?}"),
        };
        write!(out, "{instance}: {kind} {name}")?;
        match what {
            What::Added => write!(out, " added"),
            What::Removed => write!(out, " removed"),
            What::Changed { property, from, to } => {
                write!(
                    out,
                    ": {property} changed from {} to {}",
                    shown(from),
                    shown(to)
                )
            }
            What::Gained { property, value } => write!(out, ": {property} {value} added"),
            What::Lost { property, value } => write!(out, ": {property} {value} removed"),
        }
    }
}

/// All differences between two configurations, by instance, kind and name; expiry is none.
#[must_use]
pub fn diff(before: &Snapshot, after: &Snapshot) -> Vec<Change> {
    let mut changes = Vec::new();
    let instances = pair(
        before.instances().map(|name| (name.to_owned(), name)),
        after.instances().map(|name| (name.to_owned(), name)),
    );
    for (instance, sides) in instances {
        let mut describe = Differ {
            instance: &instance,
            changes: &mut changes,
        };
        match sides {
            (Some(_), Some(_)) => {}
            (None, _) => describe.push("instance", &instance, What::Added),
            (_, None) => describe.push("instance", &instance, What::Removed),
        }
        if let (Some(one), Some(other)) = (before.shared(&instance), after.shared(&instance)) {
            describe.things(shared(one), shared(other));
        }
    }
    let mut describe = Differ {
        instance: after.own_instance(),
        changes: &mut changes,
    };
    let of = |snapshot: &Snapshot| snapshot.private().map(private);
    // The kept history has none; that says nothing about what was published.
    if let (Some(one), Some(other)) = (of(before), of(after)) {
        describe.things(one, other);
    }
    let optional = |snapshot: &Snapshot| -> Things {
        let parts = snapshot.optional_parts();
        parts
            .map(|(name, bytes)| {
                let mut thing = Thing::default();
                thing.one("content", hash(bytes));
                (("optional part", name.to_owned()), thing)
            })
            .collect()
    };
    describe.things(optional(before), optional(after));
    changes.sort();
    changes
}

/// Things by kind and name.
type Things = BTreeMap<(&'static str, String), Thing>;

/// Properties of a thing.
#[derive(Debug, Default)]
struct Thing {
    single: BTreeMap<&'static str, String>,
    many: BTreeMap<&'static str, Vec<String>>,
}

impl Thing {
    fn one(&mut self, property: &'static str, value: impl Into<String>) {
        self.single.insert(property, value.into());
    }

    fn many(&mut self, property: &'static str, values: impl IntoIterator<Item = String>) {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort();
        values.dedup();
        self.many.insert(property, values);
    }
}

struct Differ<'a> {
    instance: &'a str,
    changes: &'a mut Vec<Change>,
}

impl Differ<'_> {
    fn push(&mut self, kind: &'static str, name: &str, what: What) {
        self.changes.push(Change {
            instance: self.instance.to_owned(),
            kind,
            name: name.to_owned(),
            what,
        });
    }

    fn things(&mut self, before: Things, after: Things) {
        for ((kind, name), sides) in pair(before, after) {
            match sides {
                (Some(one), Some(other)) => self.properties(kind, &name, &one, &other),
                (None, _) => self.push(kind, &name, What::Added),
                (_, None) => self.push(kind, &name, What::Removed),
            }
        }
    }

    fn properties(&mut self, kind: &'static str, name: &str, one: &Thing, other: &Thing) {
        for (property, from) in &one.single {
            let to = other.single.get(property).cloned().unwrap_or_default();
            if *from != to {
                let (property, from) = (*property, from.clone());
                self.push(kind, name, What::Changed { property, from, to });
            }
        }
        let nothing = Vec::new();
        for (property, from) in &one.many {
            let to = other.many.get(property).unwrap_or(&nothing);
            for value in from.iter().filter(|value| to.binary_search(value).is_err()) {
                let (property, value) = (*property, value.clone());
                self.push(kind, name, What::Lost { property, value });
            }
            for value in to.iter().filter(|value| from.binary_search(value).is_err()) {
                let (property, value) = (*property, value.clone());
                self.push(kind, name, What::Gained { property, value });
            }
        }
    }
}

fn shared(shared: &SharedParameters) -> Things {
    let mut things = Things::new();
    let mut add = |kind, name: String, thing| {
        things.insert((kind, name), thing);
    };
    for source in &shared.sources {
        let mut thing = Thing::default();
        thing.many(
            "internal key",
            source.internal_certificates.iter().map(hash),
        );
        thing.many(
            "external key",
            source.external_certificates.iter().map(hash),
        );
        add("source", source.address.clone(), thing);
    }
    for service in &shared.certification_services {
        let (name, thing) = certification_service(service);
        add("certification service", name, thing);
    }
    for service in &shared.timestamping_services {
        let mut thing = Thing::default();
        thing.one("name", service.name.as_str());
        thing.one("certificate", certificate(&service.certificate));
        thing.one(
            "cost",
            service
                .cost
                .map(|cost| format!("{cost:?}"))
                .unwrap_or_default(),
        );
        add("time-stamping service", service.url.clone(), thing);
    }
    for member in &shared.members {
        let mut thing = Thing::default();
        thing.one("name", member.name.as_str());
        add("member", member.id.to_string(), thing);
        for subsystem in &member.subsystems {
            let mut thing = Thing::default();
            thing.one("name", subsystem.name.clone().unwrap_or_default());
            let id = SubsystemId::new(member.id.clone(), &subsystem.code);
            let id = id.map_or_else(|_| subsystem.code.clone(), |id| id.to_string());
            add("subsystem", id, thing);
        }
    }
    for one in &shared.servers {
        add("server", one.id.to_string(), server(one));
    }
    for group in &shared.groups {
        let mut thing = Thing::default();
        thing.one("description", group.description.as_str());
        thing.many("member", group.members.iter().map(ToString::to_string));
        add("global group", group.code.clone(), thing);
    }
    for class in &shared.member_classes {
        let mut thing = Thing::default();
        thing.one("description", class.description.as_str());
        add("member class", class.code.clone(), thing);
    }
    let mut settings = Thing::default();
    settings.one(
        "OCSP freshness",
        format!("{} s", shared.ocsp_freshness.as_secs()),
    );
    settings.many(
        "extension",
        shared.extensions.iter().map(|one| one.name.clone()),
    );
    add("settings", "of all".to_owned(), settings);
    things
}

fn server(server: &SecurityServer) -> Thing {
    let mut thing = Thing::default();
    thing.one("address", server.address.clone().unwrap_or_default());
    let hashes = server.auth_certificate_hashes.iter();
    thing.many("authentication certificate", hashes.map(|bytes| hex(bytes)));
    thing.many("client", server.clients.iter().map(ToString::to_string));
    let maintenance = server
        .maintenance
        .as_ref()
        .map(|one| one.message.clone().unwrap_or_else(|| "on".to_owned()));
    thing.one("maintenance", maintenance.unwrap_or_default());
    thing
}

/// A top certificate cannot change: another one is another service.
fn certification_service(service: &CertificationService) -> (String, Thing) {
    let mut thing = Thing::default();
    thing.one("name", service.name.as_str());
    thing.one("profile", service.profile_class.as_str());
    thing.one(
        "use",
        if service.authentication_only {
            "authentication only"
        } else {
            "all"
        },
    );
    let ocsp = |authority: &CertificationAuthority| -> Vec<String> {
        let whose = certificate(&authority.certificate);
        let responders = authority.ocsp.iter();
        responders
            .map(|one| {
                let key = one
                    .certificate
                    .as_ref()
                    .map(|der| format!(", certificate {}", hash(der)));
                format!("{} of {whose}{}", one.url, key.unwrap_or_default())
            })
            .collect()
    };
    let all = std::iter::once(&service.top).chain(&service.intermediates);
    thing.many("OCSP responder", all.flat_map(ocsp));
    let intermediates = service.intermediates.iter();
    thing.many(
        "intermediate authority",
        intermediates.map(|one| certificate(&one.certificate)),
    );
    (certificate(&service.top.certificate), thing)
}

fn private(private: &PrivateParameters) -> Things {
    let mut things = Things::new();
    let mut management = Thing::default();
    management.one("provider", private.management.provider.to_string());
    management.one(
        "registration address",
        private.management.registration_url.as_str(),
    );
    let pinned = private.management.registration_certificate.as_ref();
    management.one(
        "registration certificate",
        pinned.map(certificate).unwrap_or_default(),
    );
    things.insert(("management services", "of all".to_owned()), management);
    let mut interval = Thing::default();
    interval.one(
        "time-stamping interval",
        format!("{} s", private.timestamping_interval.as_secs()),
    );
    things.insert(("private settings", "of all".to_owned()), interval);
    for anchor in &private.anchors {
        things.insert(("partner", anchor.instance.clone()), partner(anchor));
    }
    things
}

fn partner(anchor: &AnchorContent) -> Thing {
    let mut thing = Thing::default();
    let sources = anchor.sources.iter();
    thing.many("source", sources.clone().map(|source| source.url.clone()));
    thing.many(
        "key",
        sources.flat_map(|source| source.certificates.iter().map(hash)),
    );
    thing
}

/// A certificate's subject with enough of its digest to tell it from others.
fn certificate(der: &Bytes) -> String {
    match Certificate::from_der(der.clone()) {
        Ok(certificate) => format!("{} ({})", certificate.subject().rfc2253(), hash(der)),
        Err(_) => hash(der),
    }
}

/// The first 16 digits of a SHA-256.
fn hash(bytes: &Bytes) -> String {
    hex(digest(DigestAlgorithm::Sha256, bytes).as_bytes())
        .chars()
        .take(16)
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Both sides by key.
fn pair<K: Ord, V>(
    before: impl IntoIterator<Item = (K, V)>,
    after: impl IntoIterator<Item = (K, V)>,
) -> BTreeMap<K, (Option<V>, Option<V>)> {
    let mut pairs: BTreeMap<K, (Option<V>, Option<V>)> = BTreeMap::new();
    for (key, value) in before {
        pairs.entry(key).or_insert((None, None)).0 = Some(value);
    }
    for (key, value) in after {
        pairs.entry(key).or_insert((None, None)).1 = Some(value);
    }
    pairs
}

#[cfg(test)]
mod tests;
