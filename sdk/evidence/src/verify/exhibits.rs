//! What lies in a container, taken out and not judged: for people who must see the pieces, above all of a container that is not valid.

use bytes::Bytes;
use jibek_certs::{
    digest::Digest, ocsp::OcspResponse, parse::Certificate, signer::SignatureAlgorithm,
    tsp::TimestampToken,
};
use time::OffsetDateTime;

use super::{MessageFacts, entries::present};
use crate::{
    container::Container,
    names,
    signature::{Form, Signature},
    xml,
};

/// The pieces of a container. Nothing here is proved: [`super::verify_container`] judges.
#[derive(Debug, Clone, Default)]
pub struct Exhibits {
    message: Option<MessageFacts>,
    signature: Option<SignatureExhibit>,
    token: Option<TimestampToken>,
    stamped: Option<(Option<&'static str>, Bytes)>,
}

/// A signature as it stands in the container.
#[derive(Debug, Clone)]
pub struct SignatureExhibit {
    algorithm: SignatureAlgorithm,
    certificate: Certificate,
    extra_certificates: Vec<Certificate>,
    ocsp_responses: Vec<Bytes>,
    references: Vec<ReferenceExhibit>,
    signed_info: Bytes,
    signing_time: Option<OffsetDateTime>,
    value: Bytes,
}

/// One thing that the signature refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceExhibit {
    uri: String,
    digest: Digest,
}

impl Exhibits {
    /// Takes out what can be read; what cannot is absent.
    pub fn of(container: &Container) -> Self {
        let message = container.entry("message.xml").and_then(MessageFacts::of);
        let batch_token = container
            .entry("META-INF/timestamp.tst")
            .filter(|token| !token.is_empty())
            .and_then(|token| TimestampToken::parse(token).ok());
        let tree = container
            .entry("META-INF/signatures.xml")
            .and_then(|document| xml::parse(document).ok());
        let read = tree
            .as_ref()
            .and_then(|tree| Signature::read(tree, Form::Container).ok());
        let token = batch_token.or_else(|| {
            let (_, der) = read.as_ref()?.time_stamp()?;
            TimestampToken::parse(&der).ok()
        });
        let signature = read.as_ref().map(SignatureExhibit::of);
        let batch = present(container, "ts-hashchain.xml")
            .then(|| container.entry("ts-hashchainresult.xml"))
            .flatten();
        let stamped = match batch {
            Some(result) => Some((Some(names::STAMP_CHAIN_RESULT), result.clone())),
            None => signature
                .as_ref()
                .map(|signature| (None, signature.value.clone())),
        };
        Self {
            message,
            signature,
            token,
            stamped,
        }
    }

    /// What the message says of itself.
    pub fn message(&self) -> Option<&MessageFacts> {
        self.message.as_ref()
    }

    /// The signature.
    pub fn signature(&self) -> Option<&SignatureExhibit> {
        self.signature.as_ref()
    }

    /// The time-stamp token.
    pub fn token(&self) -> Option<&TimestampToken> {
        self.token.as_ref()
    }

    /// The bytes that the token must cover (`signatures-and-log.md` 3.5): those of the entry named, or the signature value.
    pub fn stamped(&self) -> Option<(Option<&'static str>, &Bytes)> {
        self.stamped.as_ref().map(|(name, bytes)| (*name, bytes))
    }
}

impl SignatureExhibit {
    fn of(signature: &Signature<'_>) -> Self {
        Self {
            algorithm: signature.algorithm,
            certificate: signature.certificate.clone(),
            extra_certificates: signature.extra_certificates().unwrap_or_default(),
            ocsp_responses: signature
                .ocsp_responses()
                .into_iter()
                .map(Bytes::from)
                .collect(),
            references: signature
                .references
                .iter()
                .map(|reference| ReferenceExhibit {
                    uri: reference.uri.to_owned(),
                    digest: reference.digest,
                })
                .collect(),
            signed_info: signature.signed_bytes().into(),
            signing_time: signature.signing_time(),
            value: signature.value.clone().into(),
        }
    }

    /// How the value was made.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The signing certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Intermediate certificates that came along.
    pub fn extra_certificates(&self) -> &[Certificate] {
        &self.extra_certificates
    }

    /// OCSP responses that came along, in DER; those that cannot be read too.
    pub fn ocsp_responses(&self) -> &[Bytes] {
        &self.ocsp_responses
    }

    /// The status that the first readable OCSP response tells.
    pub fn first_ocsp(&self) -> Option<OcspResponse> {
        self.ocsp_responses
            .iter()
            .find_map(|der| OcspResponse::parse(der.clone()).ok())
    }

    /// What it refers to, in its order.
    pub fn references(&self) -> &[ReferenceExhibit] {
        &self.references
    }

    /// SignedInfo in its canonical form: the bytes over which the value was made.
    pub fn signed_info(&self) -> &Bytes {
        &self.signed_info
    }

    /// The claimed time of signing.
    pub fn signing_time(&self) -> Option<OffsetDateTime> {
        self.signing_time
    }

    /// The decoded signature value: for elliptic curves r and s, one behind the other.
    pub fn value(&self) -> &Bytes {
        &self.value
    }
}

impl ReferenceExhibit {
    /// The URI, as `/message.xml`.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The digest that was signed.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{container::ContainerLimits, fixtures};
    use jibek_certs::digest::digest;

    /// The pieces are those that the dossier computed by hand, of valid and of spoilt containers.
    #[test]
    fn the_pieces_of_containers() {
        for (file, signed_info, stamped) in [
            ("asic/valid-signed-hashchain.asice", 1101, None),
            (
                "asic/valid-batch-ts.asice",
                0,
                Some(names::STAMP_CHAIN_RESULT),
            ),
            ("asic/wrong-message.asice", 0, None),
            (
                "asic/invalid-ts-hashchainresult.asice",
                0,
                Some(names::STAMP_CHAIN_RESULT),
            ),
        ] {
            let Some(bytes) = fixtures::read("the_pieces_of_containers", file) else {
                return;
            };
            let container = Container::read(&bytes, &ContainerLimits::default()).unwrap();
            let exhibits = Exhibits::of(&container);
            let signature = exhibits.signature().unwrap();
            assert!(signed_info == 0 || signature.signed_info().len() == signed_info);
            signature
                .certificate()
                .verify(
                    signature.algorithm(),
                    signature.signed_info(),
                    signature.value(),
                )
                .unwrap();
            // that one was put together from older material
            let is_old = file == "asic/invalid-ts-hashchainresult.asice";
            assert!(is_old || exhibits.message().is_some(), "{file}");
            assert!(signature.first_ocsp().is_some(), "{file}");
            let token = exhibits.token().unwrap();
            let (name, data) = exhibits.stamped().unwrap();
            assert_eq!(name, stamped, "{file}");
            assert_eq!(
                digest(token.imprint().algorithm(), data) == *token.imprint(),
                !is_old,
                "{file}"
            );
        }
    }
}
