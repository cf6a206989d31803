//! Name constraints (RFC 5280 section 4.2.1.10): what an authority may name.

use std::net::IpAddr;

use bytes::Bytes;
use x509_parser::extensions::{GeneralName, GeneralSubtree, NameConstraints};

use crate::parse::{Certificate, Name};

/// A name of a subject, or what it must or must not lie below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AltName {
    /// A distinguished name in the form of [`Name::canonical`].
    Directory(String),
    /// A host, lower case.
    Dns(String),
    /// A mailbox, or a host or domain of mailboxes.
    Email(String),
    /// An address, or an address and its mask.
    Ip(Vec<u8>),
    /// A kind that no rule is known for here, by its tag in GeneralName.
    Other(u8),
    /// A URI, or a host or domain.
    Uri(String),
}

/// The constraints of one authority.
#[derive(Debug, Clone, Default)]
pub(crate) struct Constraints {
    permitted: Vec<AltName>,
    excluded: Vec<AltName>,
}

/// Names do not keep to the constraints of an authority above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breach {
    /// A name lies outside of what is permitted, or within what is excluded.
    Name,
    /// A constraint or a name is of a kind that no rule is known for here.
    Kind,
    /// Too many names against too many constraints.
    Work,
}

impl AltName {
    pub(crate) fn new(certificate: &Bytes, name: &GeneralName<'_>) -> Self {
        match name {
            GeneralName::DirectoryName(name) => {
                Self::Directory(Name::new(certificate, name).canonical().to_owned())
            }
            GeneralName::DNSName(host) => Self::Dns(host.to_ascii_lowercase()),
            GeneralName::RFC822Name(mailbox) => Self::Email((*mailbox).to_owned()),
            GeneralName::IPAddress(bytes) => Self::Ip(bytes.to_vec()),
            GeneralName::URI(uri) => Self::Uri((*uri).to_owned()),
            GeneralName::OtherName(..) => Self::Other(0),
            GeneralName::X400Address(_) => Self::Other(3),
            GeneralName::EDIPartyName(_) => Self::Other(5),
            GeneralName::RegisteredID(_) => Self::Other(8),
            GeneralName::Invalid(..) => Self::Other(u8::MAX),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Email(_) => 1,
            Self::Dns(_) => 2,
            Self::Directory(_) => 4,
            Self::Uri(_) => 6,
            Self::Ip(_) => 7,
            Self::Other(tag) => *tag,
        }
    }

    /// Whether this name lies below `constraint`; both of one kind.
    fn is_below(&self, constraint: &Self) -> Option<bool> {
        match (self, constraint) {
            (Self::Directory(name), Self::Directory(above)) => Some(name.starts_with(above)),
            (Self::Dns(host), Self::Dns(domain)) => {
                let is_host = !host.is_empty() && !host.starts_with('.');
                let is_domain = !domain.starts_with(['.', '*']);
                (is_host && is_domain).then(|| is_host_below(host, domain))
            }
            (Self::Email(mailbox), Self::Email(above)) => is_mailbox_below(mailbox, above),
            (Self::Ip(address), Self::Ip(network)) => is_address_below(address, network),
            (Self::Uri(uri), Self::Uri(above)) => {
                let host = uri_host(uri)?;
                match above.strip_prefix('.') {
                    Some(_) => Some(is_host_below(&host, &above.to_ascii_lowercase())),
                    None => Some(host.eq_ignore_ascii_case(above)),
                }
            }
            _ => None,
        }
    }

    /// Whether this name may stand for one below `constraint`: a host with a wildcard stands for many.
    fn may_be_below(&self, constraint: &Self) -> Option<bool> {
        if let (Self::Dns(host), Self::Dns(domain)) = (self, constraint)
            && let Some(parent) = host.strip_prefix("*.")
            && !domain.starts_with(['.', '*'])
        {
            return Some(is_host_below(parent, domain) || is_host_below(domain, parent));
        }
        self.is_below(constraint)
    }
}

impl Constraints {
    pub(crate) fn new(certificate: &Bytes, parsed: &NameConstraints<'_>) -> Self {
        let read = |subtrees: &Option<Vec<GeneralSubtree<'_>>>| {
            let subtrees = subtrees.iter().flatten();
            subtrees
                .map(|subtree| AltName::new(certificate, &subtree.base))
                .collect()
        };
        Self {
            permitted: read(&parsed.permitted_subtrees),
            excluded: read(&parsed.excluded_subtrees),
        }
    }

    /// Whether nothing is constrained, which nobody may say.
    pub(crate) fn is_empty(&self) -> bool {
        self.permitted.is_empty() && self.excluded.is_empty()
    }

    /// Whether the subject and the alternative names of a certificate keep to these constraints.
    pub(super) fn check(&self, certificate: &Certificate) -> Result<(), Breach> {
        let constraints = self.permitted.len().saturating_add(self.excluded.len());
        let subject = subject_names(certificate);
        let names = certificate.alt_names().iter().chain(&subject);
        let work = certificate.alt_names().len().saturating_add(subject.len());
        if constraints.saturating_mul(work) > MOST_COMPARISONS {
            return Err(Breach::Work);
        }
        for name in names {
            let mut same_kind = self
                .permitted
                .iter()
                .filter(|permitted| permitted.kind() == name.kind())
                .map(|permitted| name.is_below(permitted).ok_or(Breach::Kind))
                .peekable();
            if same_kind.peek().is_some() {
                let mut is_permitted = false;
                for below in same_kind {
                    is_permitted |= below?;
                }
                if !is_permitted {
                    return Err(Breach::Name);
                }
            }
            for excluded in self
                .excluded
                .iter()
                .filter(|excluded| excluded.kind() == name.kind())
            {
                if name.may_be_below(excluded).ok_or(Breach::Kind)? {
                    return Err(Breach::Name);
                }
            }
        }
        Ok(())
    }
}

/// The names in the subject: itself when it is not empty; mailboxes when there are no alternative names at all; and, as Java reads
/// it, the last common name as a host or an address when no alternative name is one.
fn subject_names(certificate: &Certificate) -> Vec<AltName> {
    let subject = certificate.subject();
    let alternatives = certificate.alt_names();
    let mut names = Vec::new();
    if !subject.attributes().is_empty() {
        names.push(AltName::Directory(subject.canonical().to_owned()));
    }
    let of = |kind: &'static str| {
        let attributes = subject.attributes().iter();
        attributes
            .filter(move |(oid, _)| oid == kind)
            .map(|(_, value)| value)
    };
    if alternatives.is_empty() {
        names.extend(of(EMAIL_ADDRESS).map(|mailbox| AltName::Email(mailbox.clone())));
    }
    let Some(common_name) = of(COMMON_NAME).next_back() else {
        return names;
    };
    let named = match common_name.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => Some(AltName::Ip(address.octets().to_vec())),
        Ok(IpAddr::V6(address)) => Some(AltName::Ip(address.octets().to_vec())),
        Err(_) => is_host(common_name).then(|| AltName::Dns(common_name.to_ascii_lowercase())),
    };
    names.extend(named.filter(|name| {
        !alternatives
            .iter()
            .any(|alternative| alternative.kind() == name.kind())
    }));
    names
}

/// Whether a text can be the name of a host: labels of letters, digits and hyphens.
fn is_host(text: &str) -> bool {
    text.split('.').all(|label| {
        label.starts_with(|c: char| c.is_ascii_alphanumeric())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    })
}

/// `a.b.c` lies below `b.c` and below itself, below `.b.c` only when something stands before it. Both lower case.
fn is_host_below(host: &str, domain: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if domain.is_empty() || host == domain {
        return true;
    }
    match domain.strip_prefix('.') {
        Some(parent) => host
            .strip_suffix(parent)
            .is_some_and(|left| left.len() > 1 && left.ends_with('.')),
        None => host
            .strip_suffix(domain)
            .is_some_and(|left| left.ends_with('.')),
    }
}

/// `None` for what is no mailbox, or no constraint of mailboxes.
fn is_mailbox_below(mailbox: &str, above: &str) -> Option<bool> {
    let (local, host) = mailbox.split_once('@')?;
    if host.contains('@') || above.matches('@').count() > 1 {
        return None;
    }
    Some(match above.split_once('@') {
        Some((wanted, wanted_host)) => local == wanted && host.eq_ignore_ascii_case(wanted_host),
        None if above.starts_with('.') => {
            is_host_below(&host.to_ascii_lowercase(), &above.to_ascii_lowercase())
        }
        None => above.is_empty() || host.eq_ignore_ascii_case(above),
    })
}

/// `None` when one of them is no address or no network.
fn is_address_below(address: &[u8], network: &[u8]) -> Option<bool> {
    let (base, mask) = network.split_at_checked(network.len() / 2)?;
    // Ones, then zeros.
    let ones = mask
        .iter()
        .map(|byte| byte.leading_ones())
        .take_while(|ones| *ones == 8);
    let (full, rest) = mask.split_at_checked(ones.count())?;
    let is_prefix = match rest {
        [] => true,
        [first, zeros @ ..] => {
            first.leading_ones() + first.trailing_zeros() >= 8
                && zeros.iter().all(|byte| *byte == 0)
        }
    };
    let fits = matches!(address.len(), 4 | 16) && matches!(network.len(), 8 | 32);
    if !fits || !is_prefix || full.len() > base.len() {
        return None;
    }
    Some(
        address.len() == base.len()
            && address
                .iter()
                .zip(base)
                .zip(mask)
                .all(|((address, base), mask)| address & mask == base & mask),
    )
}

/// The host of a URI; `None` when it has none, or an address, which no constraint can name.
fn uri_host(uri: &str) -> Option<String> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    let is_address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    (!host.is_empty() && !is_address).then(|| host.to_ascii_lowercase())
}

/// Names times constraints. Real certificates have a handful of each.
const MOST_COMPARISONS: usize = 65_536;
const COMMON_NAME: &str = "2.5.4.3";
const EMAIL_ADDRESS: &str = "1.2.840.113549.1.9.1";

#[cfg(test)]
mod tests {
    use super::*;

    fn below(name: &AltName, constraint: &AltName) -> Option<bool> {
        name.is_below(constraint)
    }

    /// The examples of RFC 5280 section 4.2.1.10, and what x509-limbo adds.
    #[test]
    fn names_lie_below_others() {
        let dns = |text: &str| AltName::Dns(text.to_owned());
        let email = |text: &str| AltName::Email(text.to_owned());
        let uri = |text: &str| AltName::Uri(text.to_owned());
        for (name, constraint, expected) in [
            (dns("host.example.com"), dns("example.com"), Some(true)),
            (dns("example.com"), dns("example.com"), Some(true)),
            (dns("notexample.com"), dns("example.com"), Some(false)),
            (dns("a.example.com"), dns(".example.com"), None),
            (dns("a.example.com"), dns("*.example.com"), None),
            (dns(".example.com"), dns("example.com"), None),
            (dns("example.org"), dns(""), Some(true)),
            (email("me@example.com"), email("example.com"), Some(true)),
            (email("me@EXAMPLE.com"), email("me@example.com"), Some(true)),
            (
                email("Me@example.com"),
                email("me@example.com"),
                Some(false),
            ),
            (email("me@a.example.com"), email("example.com"), Some(false)),
            (email("me@a.example.com"), email(".example.com"), Some(true)),
            (email("me@example.com"), email(".example.com"), Some(false)),
            (email("example.com"), email("example.com"), None),
            (email("me@you@example.com"), email("example.com"), None),
            (email("me@example.com"), email("me@you@example.com"), None),
            (
                uri("https://a.example.com:1/x"),
                uri(".example.com"),
                Some(true),
            ),
            (
                uri("https://me@example.com/x"),
                uri("example.com"),
                Some(true),
            ),
            (
                uri("https://a.example.com"),
                uri("example.com"),
                Some(false),
            ),
            (uri("https://127.0.0.1/"), uri("example.com"), None),
            (uri("urn:x"), uri("example.com"), None),
            (dns("example.com"), email("example.com"), None),
            (AltName::Other(0), AltName::Other(0), None),
        ] {
            let text = format!("{name:?} {constraint:?}");
            assert_eq!(below(&name, &constraint), expected, "{text}");
        }
        let ip = |bytes: &[u8]| AltName::Ip(bytes.to_vec());
        let network = || ip(&[192, 0, 2, 0, 255, 255, 255, 0]);
        assert_eq!(below(&ip(&[192, 0, 2, 7]), &network()), Some(true));
        assert_eq!(below(&ip(&[192, 0, 3, 7]), &network()), Some(false));
        assert_eq!(below(&ip(&[0; 16]), &network()), Some(false));
        assert_eq!(below(&ip(&[192, 0, 2]), &network()), None);
        let holes = ip(&[192, 0, 2, 0, 255, 0, 255, 0]);
        assert_eq!(below(&ip(&[192, 0, 2, 7]), &holes), None);
        let odd = ip(&[192, 0, 2, 0, 255, 255, 254, 0]);
        assert_eq!(below(&ip(&[192, 0, 3, 7]), &odd), Some(true));
        let wild = dns("*.example.com");
        assert_eq!(wild.may_be_below(&dns("a.example.com")), Some(true));
        assert_eq!(wild.may_be_below(&dns("a.example.org")), Some(false));
    }
}
