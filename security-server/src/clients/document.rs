//! One client's document: the literal file, then a checked [`Client`].

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::Uri;
use jibek_certs::Certificate;
use jibek_protocol::{
    id::{ClientId, GlobalGroupId},
    path::PathPattern,
};
use serde::Deserialize;
use toml::Spanned;

use super::{Client, ConnectionType, LocalGroup, Right, Service, ServiceKind, Subject};
use crate::config::{ConfigError, Keeping, RawKeep, Source};

/// Why a client's document was refused: the file, the line and the reason.
pub type ClientsError = ConfigError;

/// Checks the text of the document at `path`; the certificate files it names lie relative to it.
pub(super) fn parse(text: &str, path: &Path) -> Result<Client, ClientsError> {
    let source = Source { text, path };
    let raw: RawClient = toml::from_str(text).map_err(|error| source.toml_error(&error))?;
    raw.check(&source)
}

/// Returns the certificate files that the document at `path` names, for watching. Empty when the document is wrong.
pub(super) fn certificate_files(text: &str, path: &Path) -> Vec<PathBuf> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(default)]
        certificates: Vec<PathBuf>,
    }
    // Most clients have none, and a document is parsed once more for this.
    if !text.contains("certificates") {
        return Vec::new();
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    toml::from_str::<Named>(text)
        .map(|named| {
            named
                .certificates
                .into_iter()
                .map(|file| folder.join(file))
                .collect()
        })
        .unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClient {
    client: Spanned<String>,
    #[serde(default = "plain")]
    connection: RawConnection,
    #[serde(default)]
    certificates: Vec<Spanned<PathBuf>>,
    #[serde(default)]
    service: Vec<Spanned<RawService>>,
    #[serde(default)]
    group: Vec<RawGroup>,
    request_bodies: Option<RawKeep>,
    answer_bodies: Option<RawKeep>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawConnection {
    Http,
    Https,
    HttpsMutual,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawService {
    code: Spanned<String>,
    version: Option<Spanned<String>>,
    kind: RawKind,
    url: Spanned<String>,
    timeout_seconds: Option<Spanned<u64>>,
    verify_tls: Option<bool>,
    disabled: Option<String>,
    request_bodies: Option<RawKeep>,
    answer_bodies: Option<RawKeep>,
    #[serde(default)]
    allow: Vec<RawRight>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawKind {
    Rest,
    Soap,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRight {
    subject: Spanned<String>,
    method: Option<Spanned<String>>,
    path: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    code: Spanned<String>,
    #[serde(default)]
    members: Vec<Spanned<String>>,
}

impl RawClient {
    fn check(self, source: &Source<'_>) -> Result<Client, ClientsError> {
        let id = client_id(source, &self.client)?;
        let folder = source.path.parent().unwrap_or(Path::new(""));
        let mut certificates = Vec::new();
        for file in &self.certificates {
            let path = folder.join(file.get_ref());
            let bytes = std::fs::read(&path).map_err(|error| {
                source.error(
                    file,
                    format!("cannot read {}: {}", path.display(), error.kind()),
                )
            })?;
            let certificate = Certificate::from_der_or_pem(&bytes).map_err(|error| {
                source.error(
                    file,
                    format!("{} is no certificate: {error}", path.display()),
                )
            })?;
            certificates.push(certificate);
        }
        let connection = match self.connection {
            RawConnection::Http => ConnectionType::Http,
            RawConnection::Https => ConnectionType::Https,
            RawConnection::HttpsMutual if certificates.is_empty() => {
                return Err(source.error(
                    &self.client,
                    "connection https-mutual needs at least one of `certificates`",
                ));
            }
            RawConnection::HttpsMutual => ConnectionType::HttpsMutual,
        };
        let mut groups: Vec<LocalGroup> = Vec::new();
        for group in self.group {
            let code = name(source, &group.code)?;
            if groups.iter().any(|held| held.code == code) {
                return Err(source.error(&group.code, format!("group {code} is there twice")));
            }
            let members = group.members.iter().map(|member| client_id(source, member));
            groups.push(LocalGroup {
                code,
                members: members.collect::<Result<BTreeSet<_>, _>>()?,
            });
        }
        let keeping = Keeping::new(self.request_bodies, self.answer_bodies);
        let mut services: Vec<Arc<Service>> = Vec::new();
        for raw in self.service {
            let service = raw.get_ref().check(source, &groups, keeping)?;
            if services
                .iter()
                .any(|held| held.code == service.code && held.version == service.version)
            {
                return Err(source.error(
                    &raw.get_ref().code,
                    format!("service {} is there twice", service.code),
                ));
            }
            services.push(Arc::new(service));
        }
        Ok(Client {
            id,
            connection,
            certificates,
            services,
            groups,
            keeping,
        })
    }
}

impl RawService {
    fn check(
        &self,
        source: &Source<'_>,
        groups: &[LocalGroup],
        clients: Keeping,
    ) -> Result<Service, ClientsError> {
        let url: Uri = self.url.get_ref().parse().map_err(|error| {
            source.error(
                &self.url,
                format!("`{}` is no URL: {error}", self.url.get_ref()),
            )
        })?;
        if !matches!(url.scheme_str(), Some("http" | "https"))
            || url.host().is_none_or(str::is_empty)
        {
            return Err(source.error(
                &self.url,
                "a service's URL begins with http:// or https:// and a host",
            ));
        }
        if url
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(source.error(&self.url, "a service's URL holds no user name or password"));
        }
        let timeout = match &self.timeout_seconds {
            Some(seconds) if (1..=3600).contains(seconds.get_ref()) => *seconds.get_ref(),
            Some(seconds) => {
                return Err(source.error(
                    seconds,
                    format!("{} is not between 1 and 3600 seconds", seconds.get_ref()),
                ));
            }
            None => 60,
        };
        let kind = match self.kind {
            RawKind::Rest => ServiceKind::Rest,
            RawKind::Soap => ServiceKind::Soap,
        };
        let version = self
            .version
            .as_ref()
            .map(|version| name(source, version))
            .transpose()?;
        if let (ServiceKind::Rest, Some(version)) = (kind, &self.version) {
            return Err(source.error(version, "a REST service has no version in its identifier"));
        }
        let rights = self
            .allow
            .iter()
            .map(|right| right.check(source, kind, groups));
        Ok(Service {
            code: name(source, &self.code)?,
            version,
            kind,
            url,
            timeout: Duration::from_secs(timeout),
            verify_tls: self.verify_tls.unwrap_or(true),
            disabled: self.disabled.clone(),
            rights: rights.collect::<Result<_, _>>()?,
            keeping: Keeping::new(self.request_bodies, self.answer_bodies).or(clients),
        })
    }
}

impl RawRight {
    fn check(
        &self,
        source: &Source<'_>,
        kind: ServiceKind,
        groups: &[LocalGroup],
    ) -> Result<Right, ClientsError> {
        let text = self.subject.get_ref();
        let subject = if let Some(group) = text.strip_prefix("group:") {
            let group = GlobalGroupId::from_header(group).map_err(|error| {
                source.error(
                    &self.subject,
                    format!("`{text}` is not group:INSTANCE/CODE: {error}"),
                )
            })?;
            Subject::Global(group)
        } else if let Some(code) = text.strip_prefix("local:") {
            if !groups.iter().any(|group| group.code == code) {
                return Err(source.error(
                    &self.subject,
                    format!("there is no [[group]] with the code {code}"),
                ));
            }
            Subject::Local(code.to_owned())
        } else {
            Subject::Client(client_id(source, &self.subject)?)
        };
        let method = match self
            .method
            .as_ref()
            .map(|method| (method, method.get_ref().as_str()))
        {
            None | Some((_, "*")) => None,
            Some((at, method)) if kind == ServiceKind::Soap => {
                return Err(source.error(
                    at,
                    format!("a right on a SOAP service has no method ({method})"),
                ));
            }
            Some((_, method)) if METHODS.contains(&method.to_ascii_uppercase().as_str()) => {
                Some(method.to_ascii_uppercase())
            }
            Some((at, method)) => {
                return Err(source.error(at, format!("`{method}` is no method of REST services")));
            }
        };
        let path = self
            .path
            .as_ref()
            .map_or(EVERY_PATH, |path| path.get_ref().as_str());
        if let (Some(at), true) = (&self.path, kind == ServiceKind::Soap && path != EVERY_PATH) {
            return Err(source.error(at, "a right on a SOAP service has no path"));
        }
        let pattern = match (PathPattern::parse(path), &self.path) {
            (Ok(pattern), _) => pattern,
            (Err(error), Some(at)) => return Err(source.error(at, error.to_string())),
            (Err(error), None) => return Err(source.error(&self.subject, error.to_string())),
        };
        Ok(Right {
            subject,
            method,
            pattern,
        })
    }
}

fn client_id(source: &Source<'_>, text: &Spanned<String>) -> Result<ClientId, ClientsError> {
    ClientId::from_header(text.get_ref()).map_err(|error| {
        source.error(
            text,
            format!(
                "`{}` is not instance/class/member[/subsystem]: {error}",
                text.get_ref()
            ),
        )
    })
}

/// A code: present, and without characters that X-Road's documents forbid in identifiers (`message-path.md` 1.4).
fn name(source: &Source<'_>, text: &Spanned<String>) -> Result<String, ClientsError> {
    let code = text.get_ref();
    if code.trim().is_empty() || jibek_protocol::id::suspicious_characters(code) {
        return Err(source.error(text, format!("`{code}` cannot be a code")));
    }
    Ok(code.clone())
}

fn plain() -> RawConnection {
    RawConnection::Http
}

const EVERY_PATH: &str = "**";
const METHODS: [&str; 8] = [
    "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
];
