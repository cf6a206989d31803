//! From the raw file to a consistent state, or to the line that is wrong.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use jibek_certs::{
    digest::{DigestAlgorithm, digest},
    parse::Certificate,
    signer::KeyKind,
};
use jibek_conf::{
    files::read_bounded,
    model::{
        CertificationAuthority, CertificationService, GlobalGroup, Maintenance, ManagementService,
        Member, MemberClass, OcspResponder, PrivateParameters, SecurityServer, SharedParameters,
        Subsystem, TimestampingService,
    },
};
use jibek_protocol::{
    id::{ClientId, MemberId, ServerId},
    profile::Profiles,
};
use toml::Spanned;

use super::{Config, ConfigError, explained};
use crate::raw::{
    RawCa, RawConfig, RawGroup, RawManagement, RawMember, RawOcsp, RawServer, RawTsa,
};

pub(super) struct SourceText<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl SourceText<'_> {
    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self
            .text
            .bytes()
            .take(offset)
            .filter(|byte| *byte == b'\n')
            .count()
    }

    fn error<T>(&self, at: &Spanned<T>, reason: impl Into<String>) -> ConfigError {
        ConfigError {
            path: self.path.to_owned(),
            line: Some(self.line(at.span().start)),
            reason: reason.into(),
        }
    }
}

pub(super) struct Checker<'a> {
    source: &'a SourceText<'a>,
    pub(super) folder: PathBuf,
    pub(super) instance: String,
    /// Declared members and subsystems.
    clients: HashSet<ClientId>,
    profiles: Profiles,
}

impl<'a> Checker<'a> {
    pub(super) fn new(
        source: &'a SourceText<'a>,
        instance: &Spanned<String>,
    ) -> Result<Self, ConfigError> {
        let code = instance.get_ref();
        // The instance stands in a quoted parameter of the signed directory and names a folder.
        if code.is_empty()
            || code.starts_with('.')
            || code.contains(['\'', '"', ';'])
            || !is_code(code)
        {
            return Err(source.error(instance, format!("{code:?} cannot be an instance")));
        }
        let folder = source.path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self {
            source,
            folder,
            instance: code.clone(),
            clients: HashSet::new(),
            profiles: Profiles::default(),
        })
    }

    pub(super) fn config(mut self, raw: RawConfig) -> Result<Config, ConfigError> {
        let listen = raw
            .listen
            .get_ref()
            .parse()
            .map_err(|_| self.error(&raw.listen, "is not an address with port"))?;
        let address = raw.address.get_ref().clone();
        if !is_address(&address) {
            return Err(self.error(
                &raw.address,
                format!("{address:?} is not a host with an optional port"),
            ));
        }
        let publish_interval = Duration::from_secs(raw.publish_interval_seconds.max(1).into());
        let validity = raw
            .validity_seconds
            .as_ref()
            .map_or(DEFAULT_VALIDITY, |seconds| {
                Duration::from_secs((*seconds.get_ref()).into())
            });
        if validity < publish_interval * 2 {
            let reason = "the validity must be at least twice the publication interval";
            return Err(raw
                .validity_seconds
                .as_ref()
                .map_or_else(|| self.whole(reason), |at| self.error(at, reason)));
        }
        let key = match &raw.key {
            None => KeyKind::Rsa2048,
            Some(name) => match name.get_ref().as_str() {
                "rsa2048" => KeyKind::Rsa2048,
                "p256" => KeyKind::EcP256,
                other => return Err(self.error(name, format!("{other:?} is not rsa2048 or p256"))),
            },
        };
        let timestamping = raw.timestamping_interval_seconds.as_ref();
        let timestamping_interval = timestamping.map_or(60, |seconds| *seconds.get_ref());
        if let Some(at) = timestamping.filter(|_| {
            timestamping_interval == 0 || timestamping_interval >= raw.ocsp_freshness_seconds
        }) {
            return Err(self.error(
                at,
                "the time-stamping interval must be above 0 and below the OCSP freshness",
            ));
        }

        self.profiles = Profiles::new(&raw.certificate_profile)
            .map_err(|error| self.whole(&error.to_string()))?;
        let mut shared = SharedParameters::new(&self.instance);
        shared.ocsp_freshness = Duration::from_secs(raw.ocsp_freshness_seconds.into());
        let mut classes = BTreeMap::new();
        for class in &raw.member_class {
            let code = self.code(&class.code)?;
            if classes
                .insert(code.to_owned(), class.description.clone())
                .is_some()
            {
                return Err(
                    self.error(&class.code, format!("member class {code:?} is there twice"))
                );
            }
        }
        shared.members = self.members(&raw.member, &classes)?;
        shared.servers = self.servers(&raw.server)?;
        shared.groups = self.groups(&raw.group, &shared.servers)?;
        shared.certification_services = raw
            .ca
            .iter()
            .map(|ca| self.ca(ca))
            .collect::<Result<_, _>>()?;
        shared.timestamping_services = self.tsas(&raw.tsa)?;
        shared.member_classes = classes
            .into_iter()
            .map(|(code, description)| MemberClass { code, description })
            .collect();
        let mut private =
            PrivateParameters::new(&self.instance, self.management(&raw.management, &address)?);
        private.anchors = self.partners(&raw.partner)?;
        private.timestamping_interval = Duration::from_secs(timestamping_interval.into());
        let others = self.others(&raw.registry, &address)?;
        let history = match &raw.history_days {
            None => DEFAULT_HISTORY_DAYS,
            Some(days) if *days.get_ref() == 0 => {
                return Err(self.error(days, "the history is kept for at least a day"));
            }
            Some(days) => *days.get_ref(),
        };
        let history = Duration::from_secs(u64::from(history) * 86_400);
        let state_dir = self.folder.join(raw.state_dir);
        Ok(Config {
            instance: self.instance,
            listen,
            address,
            state_dir,
            publish_interval,
            validity,
            history,
            key,
            others,
            shared,
            private,
        })
    }

    /// Members by class and code, each with its subsystems by code.
    fn members(
        &mut self,
        raw: &[RawMember],
        classes: &BTreeMap<String, String>,
    ) -> Result<Vec<Member>, ConfigError> {
        let mut members = BTreeMap::new();
        for one in raw {
            let (class, code) = (self.code(&one.class)?, self.code(&one.code)?);
            let Some(description) = classes.get(class) else {
                return Err(self.error(
                    &one.class,
                    format!("{class:?} is no member class; declare it as [[member_class]]"),
                ));
            };
            let id = MemberId::new(&self.instance, class, code)
                .map_err(|error| self.error(&one.code, error.to_string()))?;
            if !self.clients.insert(ClientId::from(id.clone())) {
                return Err(self.error(&one.code, format!("member {id} is there twice")));
            }
            let mut subsystems = BTreeMap::new();
            for subsystem in &one.subsystems {
                let code = self.code(&subsystem.code)?;
                let client = ClientId::new(&self.instance, class, id.code(), Some(code))
                    .map_err(|error| self.error(&subsystem.code, error.to_string()))?;
                if !self.clients.insert(client.clone()) {
                    return Err(self.error(&subsystem.code, format!("{client} is there twice")));
                }
                subsystems.insert(
                    code.to_owned(),
                    Subsystem {
                        code: code.to_owned(),
                        name: subsystem.name.clone(),
                    },
                );
            }
            let (class_description, name) = (description.clone(), one.name.clone());
            let subsystems = subsystems.into_values().collect();
            members.insert(
                (class.to_owned(), code.to_owned()),
                Member {
                    id,
                    class_description,
                    name,
                    subsystems,
                },
            );
        }
        Ok(members.into_values().collect())
    }

    /// Servers by identifier.
    fn servers(&self, raw: &[RawServer]) -> Result<Vec<SecurityServer>, ConfigError> {
        let mut servers = BTreeMap::new();
        let mut certificates: HashMap<Bytes, String> = HashMap::new();
        for one in raw {
            let ClientId::Member(owner) = self.client(&one.owner)? else {
                return Err(self.error(
                    &one.owner,
                    "the owner of a server is a member, not a subsystem",
                ));
            };
            let code = self.code(&one.code)?;
            let id = ServerId::new(owner.clone(), code)
                .map_err(|error| self.error(&one.code, error.to_string()))?;
            let mut hashes = Vec::new();
            for file in &one.auth_certificates {
                let certificate = self.certificate(file)?;
                if !certificate.is_authentication() {
                    return Err(self.error(
                        file,
                        format!("{} is no authentication certificate", file.get_ref()),
                    ));
                }
                let hash = Bytes::copy_from_slice(
                    digest(DigestAlgorithm::Sha256, certificate.der()).as_bytes(),
                );
                if let Some(other) = certificates.insert(hash.clone(), id.to_string()) {
                    return Err(
                        self.error(file, format!("the certificate already belongs to {other}"))
                    );
                }
                hashes.push(hash);
            }
            hashes.sort();
            let mut clients = Vec::new();
            for client in &one.clients {
                let known = self.client(client)?;
                if known == ClientId::from(owner.clone()) {
                    return Err(self.error(
                        client,
                        "the owner is a client of its server without being listed",
                    ));
                }
                clients.push(known);
            }
            clients.sort();
            clients.dedup();
            if let Some(address) = one
                .address
                .as_ref()
                .filter(|address| !is_host(address.get_ref()))
            {
                return Err(self.error(
                    address,
                    "a server's address is a host name or an IP address, without port",
                ));
            }
            let server = SecurityServer {
                id: id.clone(),
                address: one
                    .address
                    .as_ref()
                    .map(|address| address.get_ref().clone()),
                auth_certificate_hashes: hashes,
                clients,
                maintenance: one.maintenance.as_ref().map(|message| Maintenance {
                    message: Some(message.clone()).filter(|message| !message.is_empty()),
                }),
            };
            if servers.insert(id, server).is_some() {
                return Err(self.error(
                    &one.code,
                    format!("server {code:?} of this owner is there twice"),
                ));
            }
        }
        Ok(servers.into_values().collect())
    }

    /// Groups by code, with the one of all server owners, which nobody edits.
    fn groups(
        &self,
        raw: &[RawGroup],
        servers: &[SecurityServer],
    ) -> Result<Vec<GlobalGroup>, ConfigError> {
        let mut owners: Vec<_> = servers
            .iter()
            .map(|server| ClientId::from(server.id.owner().clone()))
            .collect();
        owners.sort();
        owners.dedup();
        let mut groups = BTreeMap::new();
        groups.insert(
            OWNERS_GROUP.to_owned(),
            GlobalGroup {
                code: OWNERS_GROUP.to_owned(),
                description: "Security server owners".to_owned(),
                members: owners,
            },
        );
        for one in raw {
            let code = self.code(&one.code)?.to_owned();
            let mut members = one
                .members
                .iter()
                .map(|member| self.client(member))
                .collect::<Result<Vec<_>, _>>()?;
            members.sort();
            members.dedup();
            let group = GlobalGroup {
                code: code.clone(),
                description: one.description.clone(),
                members,
            };
            if groups.insert(code.clone(), group).is_some() {
                let reason = match code.as_str() {
                    OWNERS_GROUP => "this group is made from the servers' owners".to_owned(),
                    _ => format!("group {code:?} is there twice"),
                };
                return Err(self.error(&one.code, reason));
            }
        }
        Ok(groups.into_values().collect())
    }

    fn ca(&self, raw: &RawCa) -> Result<CertificationService, ConfigError> {
        let certificate = self.certificate(&raw.certificate)?;
        let name = raw
            .name
            .clone()
            .unwrap_or_else(|| common_name(&certificate));
        let mut intermediates = Vec::new();
        for one in &raw.intermediates {
            let certificate = self.certificate(&one.certificate)?.der().clone();
            intermediates.push(CertificationAuthority {
                certificate,
                ocsp: self.ocsp(&one.ocsp)?,
            });
        }
        Ok(CertificationService {
            name,
            authentication_only: raw.authentication_only,
            top: CertificationAuthority {
                certificate: certificate.der().clone(),
                ocsp: self.ocsp(&raw.ocsp)?,
            },
            intermediates,
            profile_class: self.profile(&raw.profile)?,
            default_csr_format: None,
            acme: None,
        })
    }

    fn ocsp(&self, raw: &[RawOcsp]) -> Result<Vec<OcspResponder>, ConfigError> {
        let responder = |one: &RawOcsp| {
            let certificate = one
                .certificate
                .as_ref()
                .map(|file| self.certificate(file))
                .transpose()?;
            let certificate = certificate.map(|certificate| certificate.der().clone());
            Ok(OcspResponder {
                url: self.url(&one.url)?,
                certificate,
                cost: None,
            })
        };
        raw.iter().map(responder).collect()
    }

    /// The full class name of a profile, given as such or by its first word; one that is declared as it is given.
    fn profile(&self, raw: &Spanned<String>) -> Result<String, ConfigError> {
        let given = raw.get_ref();
        let short = given.strip_prefix(PROFILE_PACKAGE).unwrap_or(given);
        let short = short.strip_suffix(PROFILE_SUFFIX).unwrap_or(short);
        if PROFILES.contains(&short) {
            return Ok(format!("{PROFILE_PACKAGE}{short}{PROFILE_SUFFIX}"));
        }
        if self.profiles.declares(given) {
            return Ok(given.clone());
        }
        Err(self.error(
            raw,
            format!(
                "{given:?} is no certificate profile; known are {}, others are declared as [[certificate_profile]]",
                PROFILES.join(", ")
            ),
        ))
    }

    fn tsas(&self, raw: &[RawTsa]) -> Result<Vec<TimestampingService>, ConfigError> {
        let mut services: Vec<TimestampingService> = Vec::new();
        for one in raw {
            let certificate = self.certificate(&one.certificate)?;
            let url = self.url(&one.url)?;
            if services.iter().any(|known| known.url == url) {
                return Err(self.error(&one.url, "this time-stamping service is there twice"));
            }
            let name = one
                .name
                .clone()
                .unwrap_or_else(|| common_name(&certificate));
            services.push(TimestampingService {
                name,
                url,
                certificate: certificate.der().clone(),
                cost: None,
            });
        }
        Ok(services)
    }

    fn management(
        &self,
        raw: &RawManagement,
        address: &str,
    ) -> Result<ManagementService, ConfigError> {
        let provider = self.client(&raw.provider)?;
        let certificate = raw
            .certificate
            .as_ref()
            .map(|file| self.certificate(file))
            .transpose()?;
        let host = match address.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => address,
        };
        let default_url = || format!("https://{host}:4001/managementservice/");
        Ok(ManagementService {
            registration_url: raw.registration_url.clone().unwrap_or_else(default_url),
            registration_certificate: certificate.map(|certificate| certificate.der().clone()),
            provider,
        })
    }

    /// A declared member `CLASS/CODE` or subsystem `CLASS/CODE/SUBSYSTEM` of our instance.
    fn client(&self, raw: &Spanned<String>) -> Result<ClientId, ConfigError> {
        let text = raw.get_ref();
        let parts: Vec<&str> = text.split('/').collect();
        let client = match parts.as_slice() {
            [class, code] => ClientId::new(&self.instance, class, code, None),
            [class, code, subsystem] => ClientId::new(&self.instance, class, code, Some(subsystem)),
            _ => {
                return Err(self.error(
                    raw,
                    format!("{text:?} is not CLASS/CODE or CLASS/CODE/SUBSYSTEM"),
                ));
            }
        };
        let client = client.map_err(|error| self.error(raw, error.to_string()))?;
        if self.clients.contains(&client) {
            Ok(client)
        } else {
            Err(self.error(raw, format!("{client} is not declared as [[member]]")))
        }
    }

    fn certificate(&self, file: &Spanned<String>) -> Result<Certificate, ConfigError> {
        let path = self.folder.join(file.get_ref());
        let bytes = read_bounded(&path).map_err(|error| self.error(file, explained(&error)))?;
        let unreadable = |error| {
            self.error(
                file,
                format!(
                    "{} is no certificate: {}",
                    path.display(),
                    explained(&error)
                ),
            )
        };
        Certificate::from_der_or_pem(&bytes).map_err(unreadable)
    }

    fn url(&self, raw: &Spanned<String>) -> Result<String, ConfigError> {
        let url = raw.get_ref();
        if url.starts_with("http://") || url.starts_with("https://") {
            Ok(url.clone())
        } else {
            Err(self.error(raw, format!("{url:?} is not an http or https address")))
        }
    }

    fn code<'v>(&self, raw: &'v Spanned<String>) -> Result<&'v str, ConfigError> {
        let code = raw.get_ref();
        if is_code(code) {
            Ok(code)
        } else {
            Err(self.error(
                raw,
                format!("{code:?} cannot be a code: 1 to 255 characters, none of : ; / \\ %"),
            ))
        }
    }

    pub(super) fn error<T>(&self, at: &Spanned<T>, reason: impl Into<String>) -> ConfigError {
        self.source.error(at, reason)
    }

    fn whole(&self, reason: &str) -> ConfigError {
        ConfigError {
            path: self.source.path.to_owned(),
            line: None,
            reason: reason.to_owned(),
        }
    }
}

/// What X-Road's relaxed rule allows in identifiers (`registry-and-globalconf.md` 4.1).
fn is_code(code: &str) -> bool {
    let length = code.chars().count();
    (1..=255).contains(&length)
        && code.trim() == code
        && !code.chars().any(|one| {
            one.is_control()
                || matches!(one, ':' | ';' | '/' | '\\' | '%' | '\u{feff}' | '\u{200b}')
        })
}

pub(super) fn is_address(address: &str) -> bool {
    !address.is_empty() && !address.contains(['/', ' ', '@', '?', '#'])
}

fn is_host(address: &str) -> bool {
    address.parse::<std::net::IpAddr>().is_ok()
        || (!address.is_empty()
            && address.len() <= 253
            && address
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')))
}

fn common_name(certificate: &Certificate) -> String {
    let attributes = certificate.subject().attributes();
    let named = attributes
        .iter()
        .rev()
        .find(|(oid, _)| oid == COMMON_NAME)
        .map(|(_, value)| value.clone());
    named.unwrap_or_else(|| certificate.subject().rfc2253().to_owned())
}

const DEFAULT_HISTORY_DAYS: u32 = 3650;
const DEFAULT_VALIDITY: Duration = Duration::from_secs(600);
pub(super) const OWNERS_GROUP: &str = "security-server-owners";
const COMMON_NAME: &str = "2.5.4.3";
const PROFILE_PACKAGE: &str = "ee.ria.xroad.common.certificateprofile.impl.";
const PROFILE_SUFFIX: &str = "CertificateProfileInfoProvider";
/// Names that X-Road servers resolve (`registry-and-globalconf.md` 4.5).
const PROFILES: [&str; 8] = [
    "Basic",
    "BasicACME",
    "Ejbca",
    "FiVRK",
    "Fo",
    "Is",
    "SkEsteId",
    "SkKlass3",
];
