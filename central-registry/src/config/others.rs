//! Other registries: of this instance, and of partners.

use bytes::Bytes;
use jibek_certs::parse::Certificate;
use jibek_conf::{
    Anchor,
    files::read_bounded,
    model::{AnchorContent, SourceAddress},
    part::parse_anchor,
};
use toml::Spanned;

use super::{
    ConfigError,
    check::{Checker, is_address},
    explained,
};
use crate::raw::{RawPartner, RawRegistry};

impl Checker<'_> {
    /// Other registries that publish this instance.
    pub(super) fn others(
        &self,
        raw: &[RawRegistry],
        own_address: &str,
    ) -> Result<Vec<SourceAddress>, ConfigError> {
        let mut others: Vec<SourceAddress> = Vec::new();
        for one in raw {
            let address = one.address.get_ref();
            if !is_address(address) {
                return Err(self.error(
                    &one.address,
                    format!("{address:?} is not a host with an optional port"),
                ));
            }
            if address == own_address || others.iter().any(|known| known.address == *address) {
                return Err(self.error(&one.address, format!("{address:?} is there twice")));
            }
            others.push(SourceAddress {
                address: address.clone(),
                internal_certificates: self.certificates(&one.internal_certificates)?,
                external_certificates: self.certificates(&one.external_certificates)?,
            });
        }
        Ok(others)
    }

    /// DER of the certificates in files, each of which may hold several.
    fn certificates(&self, raw: &Spanned<Vec<Spanned<String>>>) -> Result<Vec<Bytes>, ConfigError> {
        let mut all = Vec::new();
        for file in raw.get_ref() {
            let path = self.folder.join(file.get_ref());
            let bytes = read_bounded(&path).map_err(|error| self.error(file, explained(&error)))?;
            let text = String::from_utf8_lossy(&bytes);
            let mut pems: Vec<&[u8]> = Vec::new();
            let mut rest = text.as_ref();
            while let Some((pem, after)) = rest.split_once(PEM_END) {
                pems.push(pem.as_bytes());
                rest = after;
            }
            let single = pems.is_empty().then_some(bytes.as_slice());
            let several = pems
                .iter()
                .map(|pem| [*pem, PEM_END.as_bytes(), b"\n"].concat());
            for one in several.chain(single.map(<[u8]>::to_vec)) {
                let certificate = Certificate::from_der_or_pem(&one).map_err(|error| {
                    let reason = explained(&error);
                    self.error(
                        file,
                        format!("{} is no certificate: {reason}", path.display()),
                    )
                })?;
                all.push(certificate.der().clone());
            }
        }
        if all.is_empty() {
            return Err(self.error(raw, "names no certificate"));
        }
        Ok(all)
    }

    /// External anchors of federation partners. Their hash, told by another channel, proves the file.
    pub(super) fn partners(&self, raw: &[RawPartner]) -> Result<Vec<AnchorContent>, ConfigError> {
        let mut anchors: Vec<AnchorContent> = Vec::new();
        for one in raw {
            let path = self.folder.join(one.anchor.get_ref());
            let bytes =
                read_bounded(&path).map_err(|error| self.error(&one.anchor, explained(&error)))?;
            let unusable = |error: &dyn std::error::Error| {
                self.error(
                    &one.anchor,
                    format!("{}: {}", path.display(), explained(error)),
                )
            };
            let anchor = Anchor::parse(bytes).map_err(|error| unusable(&error))?;
            if !anchor
                .hash()
                .eq_ignore_ascii_case(one.hash.get_ref().trim())
            {
                let reason = format!(
                    "the anchor {} has the hash {}",
                    path.display(),
                    anchor.hash()
                );
                return Err(self.error(&one.hash, reason));
            }
            if anchor.instance() == self.instance {
                return Err(self.error(&one.anchor, "the anchor is of the own instance"));
            }
            if anchors
                .iter()
                .any(|known| known.instance == anchor.instance())
            {
                let reason = format!("there are two anchors of {}", anchor.instance());
                return Err(self.error(&one.anchor, reason));
            }
            let content = parse_anchor(anchor.bytes()).map_err(|error| unusable(&error))?;
            anchors.push(content);
        }
        anchors.sort_by(|one, other| one.instance.cmp(&other.instance));
        Ok(anchors)
    }
}

const PEM_END: &str = "-----END CERTIFICATE-----";
