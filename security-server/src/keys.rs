//! The keys of this server: the token they live in, and which of them count under the present configuration.

mod pin;
mod slow;
mod token;
mod vault;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use jibek_certs::{Certificate, Signer, SoftKey, Timestamp, trust::Trust};
use jibek_conf::Snapshot;
use jibek_protocol::{
    id::{MemberId, ServerId},
    profile::Profile,
};

pub use pin::{Pin, PinError, PinSource};
use slow::SlowSigner;
pub use token::{KeyEntry, KeyId, KeyUsage, Token, TokenError};
pub use vault::VaultError;

/// The keys that count now, kept in step with the configuration.
#[derive(Debug)]
pub struct KeyRing {
    token: Token,
    server: ServerId,
    current: ArcSwap<Keys>,
    signature_takes: Option<Duration>,
}

/// The keys that count under one configuration at one time.
#[derive(Debug, Default)]
pub struct Keys {
    auth: Option<Arc<AuthKey>>,
    auth_problem: Option<String>,
    sign: BTreeMap<MemberId, Arc<SignKey>>,
}

/// The key by which other servers know us.
#[derive(Debug)]
pub struct AuthKey {
    certificate: Certificate,
    chain: Vec<Certificate>,
    key: Arc<SoftKey>,
}

/// The key by which a member signs.
#[derive(Debug)]
pub struct SignKey {
    certificate: Certificate,
    chain: Vec<Certificate>,
    signer: Arc<dyn Signer>,
}

impl KeyRing {
    /// Holds the keys of `token` for `server`. None counts before the first [`Self::refresh`].
    pub fn new(token: Token, server: ServerId) -> Self {
        let keys = Keys {
            auth_problem: Some("no configuration was read yet".to_owned()),
            ..Keys::default()
        };
        Self {
            token,
            server,
            current: ArcSwap::from_pointee(keys),
            signature_takes: None,
        }
    }

    /// Lets every signature of a sign key take so long at least, as in a slow device. For development.
    #[must_use]
    pub fn slowed(mut self, signature_takes: Option<Duration>) -> Self {
        self.signature_takes = signature_takes;
        self
    }

    /// Chooses again: on every new configuration, after an import, and once a minute, since certificates come and go by time.
    pub fn refresh(&self, snapshot: &Snapshot, now: Timestamp) {
        if let Err(error) = self.token.reload() {
            tracing::warn!(%error, "the token's folder holds something unreadable; the keys known before stay");
        }
        let keys = self.choose(snapshot, now);
        let before = self.current.load();
        if before.same(&keys) {
            return; // users compare pointers to see a change
        }
        if let Some(problem) = &keys.auth_problem {
            tracing::warn!(%problem, "no authentication key can be used");
        }
        self.current.store(Arc::new(keys));
    }

    /// Returns the keys that count now.
    pub fn current(&self) -> Arc<Keys> {
        self.current.load_full()
    }

    /// A ring with nothing but this authentication key.
    #[cfg(test)]
    pub(crate) fn for_test(auth: Option<AuthKey>) -> Arc<Self> {
        let directory = tempfile::tempdir().unwrap();
        let token = Token::create(
            directory.path().join("token").as_path(),
            &Pin::new("test").unwrap(),
        )
        .unwrap();
        let ring = Self::new(token, ServerId::from_header("KG/GOV/1/ss1").unwrap());
        ring.current.store(Arc::new(Keys {
            auth: auth.map(Arc::new),
            ..Keys::default()
        }));
        Arc::new(ring)
    }

    /// Returns the token behind.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Returns whose keys these are.
    pub fn server(&self) -> &ServerId {
        &self.server
    }

    fn signer(&self, key: &Arc<SoftKey>) -> Arc<dyn Signer> {
        let key: Arc<dyn Signer> = Arc::<SoftKey>::clone(key);
        match self.signature_takes {
            Some(takes) => Arc::new(SlowSigner { key, takes }),
            None => key,
        }
    }

    fn choose(&self, snapshot: &Snapshot, now: Timestamp) -> Keys {
        let mut keys = Keys::default();
        let Some(authorities) = snapshot.authorities(snapshot.own_instance()) else {
            keys.auth_problem = Some("the configuration of the own instance is missing".to_owned());
            return keys;
        };
        let mut problem = "the token holds no authentication key".to_owned();
        for entry in self.token.entries() {
            let Some(key) = self.token.key(&entry.id) else {
                continue;
            };
            if entry.usage == KeyUsage::Auth && entry.certificates.is_empty() {
                problem = format!("authentication key {} has no certificate yet", entry.id);
            }
            for certificate in entry.certificates {
                let chain = authorities.chain_of(&certificate);
                match entry.usage {
                    KeyUsage::Auth => match self.auth_fault(&certificate, snapshot, now) {
                        Some(fault) => problem = fault,
                        None if keys
                            .auth
                            .as_ref()
                            .is_none_or(|held| newer(&certificate, &held.certificate)) =>
                        {
                            keys.auth = Some(Arc::new(AuthKey {
                                certificate,
                                chain,
                                key: Arc::clone(&key),
                            }));
                        }
                        None => {}
                    },
                    KeyUsage::Sign if certificate.is_valid_at(now) => {
                        let member = authorities.by_subject(certificate.issuer()).find_map(|ca| {
                            let profile = Profile::from_class_name(&ca.profile_class)?;
                            profile
                                .member(certificate.subject().attributes(), snapshot.own_instance())
                                .ok()
                        });
                        let Some(member) = member else { continue };
                        if keys
                            .sign
                            .get(&member)
                            .is_none_or(|held| newer(&certificate, &held.certificate))
                        {
                            let signer = self.signer(&key);
                            keys.sign.insert(
                                member,
                                Arc::new(SignKey {
                                    certificate,
                                    chain,
                                    signer,
                                }),
                            );
                        }
                    }
                    KeyUsage::Sign => {}
                }
            }
        }
        keys.auth_problem = keys.auth.is_none().then_some(problem);
        keys
    }

    /// Why `certificate` cannot be our authentication certificate now.
    fn auth_fault(
        &self,
        certificate: &Certificate,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Option<String> {
        let name = || {
            format!(
                "authentication certificate {}",
                certificate.serial_decimal()
            )
        };
        if !certificate.is_valid_at(now) {
            return Some(format!(
                "{} is valid from {} to {}",
                name(),
                certificate.not_before(),
                certificate.not_after()
            ));
        }
        match snapshot.server_by_auth_certificate(certificate) {
            Some(entry) if *entry.id() == self.server => None,
            Some(entry) => Some(format!(
                "{} is registered for {}, not for {}",
                name(),
                entry.id(),
                self.server
            )),
            None => Some(format!("{} is not registered for any server", name())),
        }
    }
}

impl Keys {
    /// Returns the key for TLS with other servers: the newest whose certificate is valid and registered for this server.
    pub fn auth(&self) -> Option<&Arc<AuthKey>> {
        self.auth.as_ref()
    }

    /// Tells in words why there is no authentication key; `None` when there is one.
    pub fn auth_problem(&self) -> Option<&str> {
        self.auth_problem.as_deref()
    }

    /// Returns the key that `member` signs with: the newest valid certificate.
    pub fn sign_for(&self, member: &MemberId) -> Option<&Arc<SignKey>> {
        self.sign.get(member)
    }

    /// Returns every member's signing key.
    pub fn sign_keys(&self) -> impl Iterator<Item = (&MemberId, &Arc<SignKey>)> {
        self.sign.iter()
    }

    fn same(&self, other: &Self) -> bool {
        let auth = |keys: &Self| {
            keys.auth
                .as_ref()
                .map(|key| (key.certificate.clone(), key.chain.clone()))
        };
        let sign = |keys: &Self| -> Vec<_> {
            keys.sign
                .iter()
                .map(|(member, key)| (member.clone(), key.certificate.clone(), key.chain.clone()))
                .collect()
        };
        self.auth_problem == other.auth_problem
            && auth(self) == auth(other)
            && sign(self) == sign(other)
    }
}

impl AuthKey {
    /// Returns its certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Returns the intermediate CAs above it, from below, without the top CA (`message-path.md` 5.2).
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// Returns the private key.
    pub fn key(&self) -> &SoftKey {
        &self.key
    }

    #[cfg(test)]
    pub(crate) fn for_test(
        certificate: Certificate,
        chain: Vec<Certificate>,
        key: SoftKey,
    ) -> Self {
        Self {
            certificate,
            chain,
            key: Arc::new(key),
        }
    }
}

impl SignKey {
    /// Returns its certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Returns the intermediate CAs above it, from below, without the top CA.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// Returns what signs. It may block as long as its token takes.
    pub fn signer(&self) -> Arc<dyn Signer> {
        Arc::clone(&self.signer)
    }
}

fn newer(certificate: &Certificate, than: &Certificate) -> bool {
    certificate.not_before() > than.not_before()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jibek_certs::{Clock, KeyKind};

    use super::*;
    use crate::testing::Country;

    #[tokio::test]
    async fn only_registered_and_valid_certificates_count() {
        let country = Country::new().await;
        let (ours, other) = (
            country.server("KG/GOV/1/ss1", "127.0.0.1", &[]),
            country.server("KG/GOV/2/ss2", "127.0.0.2", &[]),
        );
        assert!(
            ours.ring
                .current()
                .auth_problem()
                .unwrap()
                .contains("no configuration")
        );
        let with_other_only = country.snapshot(&[&other]);
        let now = country.clock.now();
        ours.ring.refresh(&with_other_only.load(), now);
        let problem = ours.ring.current().auth_problem().unwrap().to_owned();
        assert!(
            problem.contains("not registered for any server"),
            "{problem}"
        );
        assert_eq!(
            ours.ring.current().sign_keys().count(),
            1,
            "signing needs no registration"
        );

        let both = country.snapshot(&[&ours, &other]);
        let keys = ours.ring.current();
        let member = MemberId::from_header("KG/GOV/1").unwrap();
        assert_eq!(
            keys.auth().unwrap().chain(),
            [country.pki.issuing_ca().clone()]
        );
        assert!(keys.sign_for(&member).is_some());
        assert!(keys.sign_for(other.ring.server().owner()).is_none());
        ours.ring.refresh(&both.load(), now);
        assert!(Arc::ptr_eq(&keys, &ours.ring.current()), "nothing changed");

        // Another process adds a key: it is taken in, and does not count without a certificate.
        let directory = country.directory.path().join("ss1");
        let elsewhere = Token::open(&directory, &Pin::new("1234").unwrap()).unwrap();
        elsewhere.generate(KeyUsage::Auth, KeyKind::EcP256).unwrap();
        ours.ring.refresh(&both.load(), now);
        assert_eq!(ours.ring.token().entries().len(), 3);
        assert!(Arc::ptr_eq(&keys, &ours.ring.current()));

        ours.ring.refresh(
            &both.load(),
            now + Duration::from_secs(20 * 365 * 24 * 3600),
        );
        let expired = ours.ring.current();
        assert!(expired.auth().is_none() && expired.sign_for(&member).is_none());
    }
}
