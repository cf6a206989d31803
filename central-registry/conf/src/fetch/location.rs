//! From an anchor to the addresses that are tried (`registry-and-globalconf.md` 1.2).

use jibek_certs::parse::Certificate;

use super::{FetchOptions, HttpsUse};
use crate::{anchor::Anchor, model::SharedParameters};

/// An address of a signed directory with the keys that may sign what it gives, and no others.
#[derive(Clone, Debug)]
pub(super) struct Location {
    pub(super) url: String,
    pub(super) certificates: Vec<Certificate>,
    /// Tells apart one address with keys of the anchor and with keys learned since.
    pub(super) key: String,
}

/// All addresses: those learned from the last configuration, then the anchor's; of each, HTTPS before HTTP.
pub(super) fn candidates(
    anchor: &Anchor,
    shared: Option<&SharedParameters>,
    options: &FetchOptions,
) -> Vec<Location> {
    let mut all = all(anchor, shared, options);
    all.truncate(LOCATIONS_MAX);
    all
}

fn all(
    anchor: &Anchor,
    shared: Option<&SharedParameters>,
    options: &FetchOptions,
) -> Vec<Location> {
    let plain = anchor
        .sources()
        .iter()
        .filter(|source| source.url.starts_with(HTTP));
    let anchored = plain
        .clone()
        .map(|source| (source.url.clone(), source.certificates.clone()));
    let path = plain
        .clone()
        .find_map(|source| path(&source.url))
        .unwrap_or_default()
        .to_owned();
    let learned = shared
        .into_iter()
        .flat_map(|shared| &shared.sources)
        .map(|source| {
            let ders = match path.as_str() {
                "internalconf" => source.internal_certificates.clone(),
                "externalconf" => source.external_certificates.clone(),
                _ => [
                    source.internal_certificates.as_slice(),
                    &source.external_certificates,
                ]
                .concat(),
            };
            // One that cannot be read cannot verify anything.
            let certificates = ders
                .into_iter()
                .filter_map(|der| Certificate::from_der(der).ok())
                .collect();
            (format!("{HTTP}{}/{path}", source.address), certificates)
        });
    let mut all = group(learned.collect(), "learned", options);
    all.extend(group(anchored.collect(), "anchor", options));
    all
}

fn group(
    mut plain: Vec<(String, Vec<Certificate>)>,
    kind: &str,
    options: &FetchOptions,
) -> Vec<Location> {
    shuffle(&mut plain, options.order_seed);
    let location = |url: String, certificates: &[Certificate]| {
        let key = format!("{kind} {url}");
        Location {
            url,
            certificates: certificates.to_vec(),
            key,
        }
    };
    let mut all = Vec::new();
    if options.https == HttpsUse::Prefer {
        all.extend(
            plain
                .iter()
                .filter_map(|(url, certificates)| Some(location(https_twin(url)?, certificates))),
        );
    }
    all.extend(
        plain
            .iter()
            .map(|(url, certificates)| location(url.clone(), certificates)),
    );
    all.retain(|location| !location.certificates.is_empty());
    all
}

/// A source's HTTPS address has the default port; from another port there is no way to tell it.
fn https_twin(url: &str) -> Option<String> {
    let rest = url.strip_prefix(HTTP)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = match authority.rsplit_once(':') {
        Some((host, "80")) => host,
        Some((_, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => return None,
        _ => authority,
    };
    Some(format!("https://{host}/{path}"))
}

/// What follows the authority, without the leading slash.
fn path(url: &str) -> Option<&str> {
    Some(
        url.strip_prefix(HTTP)?
            .split_once('/')
            .map_or("", |(_, path)| path),
    )
}

/// Whether an address asks for a version by itself.
pub(super) fn has_version(url: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query
        .split('&')
        .any(|parameter| parameter.split('=').next() == Some("version"))
}

pub(super) fn with_version(url: &str, version: u8) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}version={version}")
}

/// Where a part is: a path of the same host, relative to the directory's. `None` for anything that leaves the host.
pub(super) fn resolve(directory_url: &str, location: &str) -> Option<String> {
    let (scheme, rest) = directory_url.split_once("://")?;
    let rest = rest.split(['?', '#']).next()?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let first_segment = location.split('/').next().unwrap_or_default();
    let graphic = location
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if location.is_empty() || location.starts_with("//") || first_segment.contains(':') || !graphic
    {
        return None;
    }
    if location.starts_with('/') {
        return Some(format!("{scheme}://{authority}{location}"));
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let slash = if folder.is_empty() { "" } else { "/" };
    Some(format!("{scheme}://{authority}/{folder}{slash}{location}"))
}

/// A fixed permutation per seed; 0 leaves the order.
fn shuffle<T>(items: &mut [T], seed: u64) {
    if seed == 0 {
        return;
    }
    let mut state = seed;
    for end in (1..items.len()).rev() {
        // xorshift64: fairness, not secrecy
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bound = u64::try_from(end).unwrap_or(u64::MAX).saturating_add(1);
        items.swap(end, usize::try_from(state % bound).unwrap_or(0));
    }
}

const HTTP: &str = "http://";
/// More addresses than a country has registries.
const LOCATIONS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_twins_exist_for_the_default_port_only() {
        assert_eq!(
            https_twin("http://cs/internalconf").as_deref(),
            Some("https://cs/internalconf")
        );
        assert_eq!(
            https_twin("http://cs:80/internalconf").as_deref(),
            Some("https://cs/internalconf")
        );
        assert_eq!(
            https_twin("http://[::1]/internalconf").as_deref(),
            Some("https://[::1]/internalconf")
        );
        assert_eq!(https_twin("http://cs:4080/internalconf"), None);
        assert_eq!(https_twin("http://[::1]:4080/internalconf"), None);
    }

    #[test]
    fn versions_are_asked_for_in_the_query() {
        assert!(has_version("http://cs/conf?a=b&version=3"));
        assert!(!has_version("http://cs/version=3?aversion=3"));
        assert_eq!(
            with_version("http://cs/conf", 6),
            "http://cs/conf?version=6"
        );
        assert_eq!(
            with_version("http://cs/conf?a=b", 6),
            "http://cs/conf?a=b&version=6"
        );
    }

    #[test]
    fn parts_come_from_the_directorys_host() {
        let directory = "http://cs:4080/NAME/conf?version=6";
        let resolved = |location: &str| resolve(directory, location);
        assert_eq!(
            resolved("/V6/1/shared-params.xml").as_deref(),
            Some("http://cs:4080/V6/1/shared-params.xml")
        );
        assert_eq!(
            resolved("1/shared-params.xml").as_deref(),
            Some("http://cs:4080/NAME/1/shared-params.xml")
        );
        assert_eq!(
            resolve("http://cs", "a.xml").as_deref(),
            Some("http://cs/a.xml")
        );
        for location in [
            "//evil/x",
            "http://evil/x",
            "file:/etc/passwd",
            "",
            "/a b",
            "/a\r\nb",
            "\\\\evil\\x",
        ] {
            assert_eq!(resolved(location), None, "{location:?}");
        }
    }

    #[test]
    fn equal_sources_are_mixed_but_never_lost() {
        let mut items: Vec<u32> = (0..10).collect();
        shuffle(&mut items, 0);
        assert_eq!(items, (0..10).collect::<Vec<_>>());
        shuffle(&mut items, 42);
        assert_ne!(items, (0..10).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..10).collect::<Vec<_>>());
    }
}
