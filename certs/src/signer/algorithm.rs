//! Signature algorithms and their names: URIs in XML, AlgorithmIdentifiers in X.509, OCSP and CMS.

use rasn::{AsnType, Decode, Decoder, Encode, Encoder};

use crate::{
    asn1::{AlgorithmIdentifier, Any, Integer, dotted, null, oid},
    digest::DigestAlgorithm,
};

/// A signature algorithm that X-Road's verifiers accept. RSASSA-PSS always with MGF1 over the same digest and a salt as long as
/// the digest (`signatures-and-log.md` 1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// RSA PKCS#1 v1.5 with SHA-1: old evidence and old CAs only.
    RsaPkcs1Sha1,
    /// RSA PKCS#1 v1.5 with SHA-224.
    RsaPkcs1Sha224,
    /// RSA PKCS#1 v1.5 with SHA-256.
    RsaPkcs1Sha256,
    /// RSA PKCS#1 v1.5 with SHA-384.
    RsaPkcs1Sha384,
    /// RSA PKCS#1 v1.5 with SHA-512: X-Road's default.
    RsaPkcs1Sha512,
    /// RSASSA-PSS with SHA-1: old evidence only.
    RsaPssSha1,
    /// RSASSA-PSS with SHA-224.
    RsaPssSha224,
    /// RSASSA-PSS with SHA-256.
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384.
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512: X-Road's choice for hardware tokens with `CKM_RSA_PKCS_PSS`.
    RsaPssSha512,
    /// ECDSA with SHA-1: old evidence only.
    EcdsaSha1,
    /// ECDSA with SHA-224.
    EcdsaSha224,
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// ECDSA with SHA-512: X-Road's default for EC keys, on P-256 too.
    EcdsaSha512,
}

impl SignatureAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 15] = [
        Self::RsaPkcs1Sha1,
        Self::RsaPkcs1Sha224,
        Self::RsaPkcs1Sha256,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha512,
        Self::RsaPssSha1,
        Self::RsaPssSha224,
        Self::RsaPssSha256,
        Self::RsaPssSha384,
        Self::RsaPssSha512,
        Self::EcdsaSha1,
        Self::EcdsaSha224,
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::EcdsaSha512,
    ];

    /// The URI in `ds:SignatureMethod` (`signatures-and-log.md` 1.4).
    pub const fn uri(self) -> &'static str {
        match self {
            Self::RsaPkcs1Sha1 => "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
            Self::RsaPkcs1Sha224 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha224",
            Self::RsaPkcs1Sha256 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
            Self::RsaPkcs1Sha384 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
            Self::RsaPkcs1Sha512 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
            Self::RsaPssSha1 => "http://www.w3.org/2007/05/xmldsig-more#sha1-rsa-MGF1",
            Self::RsaPssSha224 => "http://www.w3.org/2007/05/xmldsig-more#sha224-rsa-MGF1",
            Self::RsaPssSha256 => "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1",
            Self::RsaPssSha384 => "http://www.w3.org/2007/05/xmldsig-more#sha384-rsa-MGF1",
            Self::RsaPssSha512 => "http://www.w3.org/2007/05/xmldsig-more#sha512-rsa-MGF1",
            Self::EcdsaSha1 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1",
            Self::EcdsaSha224 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha224",
            Self::EcdsaSha256 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
            Self::EcdsaSha384 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384",
            Self::EcdsaSha512 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
        }
    }

    /// The algorithm with this URI, compared byte for byte.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.uri() == uri)
    }

    /// The digest it signs.
    pub const fn digest(self) -> DigestAlgorithm {
        match self {
            Self::RsaPkcs1Sha1 | Self::RsaPssSha1 | Self::EcdsaSha1 => DigestAlgorithm::Sha1,
            Self::RsaPkcs1Sha224 | Self::RsaPssSha224 | Self::EcdsaSha224 => {
                DigestAlgorithm::Sha224
            }
            Self::RsaPkcs1Sha256 | Self::RsaPssSha256 | Self::EcdsaSha256 => {
                DigestAlgorithm::Sha256
            }
            Self::RsaPkcs1Sha384 | Self::RsaPssSha384 | Self::EcdsaSha384 => {
                DigestAlgorithm::Sha384
            }
            Self::RsaPkcs1Sha512 | Self::RsaPssSha512 | Self::EcdsaSha512 => {
                DigestAlgorithm::Sha512
            }
        }
    }

    /// Whether it needs an elliptic-curve key.
    pub const fn is_ecdsa(self) -> bool {
        matches!(
            self,
            Self::EcdsaSha1
                | Self::EcdsaSha224
                | Self::EcdsaSha256
                | Self::EcdsaSha384
                | Self::EcdsaSha512
        )
    }

    /// Whether it is RSASSA-PSS.
    pub const fn is_pss(self) -> bool {
        matches!(
            self,
            Self::RsaPssSha1
                | Self::RsaPssSha224
                | Self::RsaPssSha256
                | Self::RsaPssSha384
                | Self::RsaPssSha512
        )
    }

    /// RSA PKCS#1 v1.5 with this digest.
    pub const fn rsa(digest: DigestAlgorithm) -> Self {
        match digest {
            DigestAlgorithm::Sha1 => Self::RsaPkcs1Sha1,
            DigestAlgorithm::Sha224 => Self::RsaPkcs1Sha224,
            DigestAlgorithm::Sha256 => Self::RsaPkcs1Sha256,
            DigestAlgorithm::Sha384 => Self::RsaPkcs1Sha384,
            DigestAlgorithm::Sha512 => Self::RsaPkcs1Sha512,
        }
    }

    /// RSASSA-PSS with this digest.
    pub const fn pss(digest: DigestAlgorithm) -> Self {
        match digest {
            DigestAlgorithm::Sha1 => Self::RsaPssSha1,
            DigestAlgorithm::Sha224 => Self::RsaPssSha224,
            DigestAlgorithm::Sha256 => Self::RsaPssSha256,
            DigestAlgorithm::Sha384 => Self::RsaPssSha384,
            DigestAlgorithm::Sha512 => Self::RsaPssSha512,
        }
    }

    /// ECDSA with this digest.
    pub const fn ecdsa(digest: DigestAlgorithm) -> Self {
        match digest {
            DigestAlgorithm::Sha1 => Self::EcdsaSha1,
            DigestAlgorithm::Sha224 => Self::EcdsaSha224,
            DigestAlgorithm::Sha256 => Self::EcdsaSha256,
            DigestAlgorithm::Sha384 => Self::EcdsaSha384,
            DigestAlgorithm::Sha512 => Self::EcdsaSha512,
        }
    }

    /// The AlgorithmIdentifier in X.509, OCSP and CMS: RSA with parameters NULL, ECDSA without, PSS with all of its own.
    pub fn identifier(self) -> AlgorithmIdentifier {
        let parameters = match self {
            _ if self.is_ecdsa() => None,
            _ if self.is_pss() => Some(PssParameters::new(self.digest()).encode()),
            _ => Some(null()),
        };
        AlgorithmIdentifier {
            algorithm: known_oid(self.oid()),
            parameters,
        }
    }

    /// The algorithm with this identifier; `None` for one that is not known here, and for parameters that do not belong to it:
    /// RSA wants NULL or none, ECDSA none (NULL is borne), PSS wants one digest throughout and a salt of its length.
    pub fn from_identifier(identifier: &AlgorithmIdentifier) -> Option<Self> {
        let parameters = identifier.parameters.as_ref().map(Any::as_bytes);
        Self::from_parts(&dotted(&identifier.algorithm), parameters)
    }

    /// The same from the dotted object identifier and the DER of the parameters.
    pub fn from_parts(oid: &str, parameters: Option<&[u8]>) -> Option<Self> {
        if oid == RSASSA_PSS {
            return Some(Self::pss(PssParameters::decode(parameters?)?.digest()?));
        }
        if parameters.is_some_and(|parameters| parameters != NULL) {
            return None;
        }
        Self::ALL
            .into_iter()
            .find(|algorithm| !algorithm.is_pss() && algorithm.oid() == oid)
    }

    /// The dotted object identifier. The three of PSS share one.
    const fn oid(self) -> &'static str {
        match self {
            Self::RsaPkcs1Sha1 => "1.2.840.113549.1.1.5",
            Self::RsaPkcs1Sha224 => "1.2.840.113549.1.1.14",
            Self::RsaPkcs1Sha256 => "1.2.840.113549.1.1.11",
            Self::RsaPkcs1Sha384 => "1.2.840.113549.1.1.12",
            Self::RsaPkcs1Sha512 => "1.2.840.113549.1.1.13",
            Self::RsaPssSha1
            | Self::RsaPssSha224
            | Self::RsaPssSha256
            | Self::RsaPssSha384
            | Self::RsaPssSha512 => RSASSA_PSS,
            Self::EcdsaSha1 => "1.2.840.10045.4.1",
            Self::EcdsaSha224 => "1.2.840.10045.4.3.1",
            Self::EcdsaSha256 => "1.2.840.10045.4.3.2",
            Self::EcdsaSha384 => "1.2.840.10045.4.3.3",
            Self::EcdsaSha512 => "1.2.840.10045.4.3.4",
        }
    }
}

/// RSASSA-PSS-params (RFC 4055 section 3.1).
#[derive(AsnType, Decode, Encode, Debug)]
struct PssParameters {
    #[rasn(tag(explicit(0)))]
    hash: Option<AlgorithmIdentifier>,
    #[rasn(tag(explicit(1)))]
    mask: Option<AlgorithmIdentifier>,
    #[rasn(tag(explicit(2)))]
    salt: Option<Integer>,
    #[rasn(tag(explicit(3)))]
    trailer: Option<Integer>,
}

impl PssParameters {
    fn new(digest: DigestAlgorithm) -> Self {
        if digest == DigestAlgorithm::Sha1 {
            // The defaults, which DER leaves out.
            return Self {
                hash: None,
                mask: None,
                salt: None,
                trailer: None,
            };
        }
        let hash = AlgorithmIdentifier {
            algorithm: known_oid(digest.oid()),
            parameters: Some(null()),
        };
        let encoded = rasn::der::encode(&hash).unwrap_or_default(); // these values always encode
        Self {
            mask: Some(AlgorithmIdentifier {
                algorithm: known_oid(MGF1),
                parameters: Some(Any::new(encoded)),
            }),
            hash: Some(hash),
            salt: Some(Integer::from(digest.len())),
            trailer: None,
        }
    }

    fn encode(&self) -> Any {
        Any::new(rasn::der::encode(self).unwrap_or_default()) // these values always encode
    }

    fn decode(der: &[u8]) -> Option<Self> {
        rasn::der::decode(der).ok()
    }

    /// The one digest of all parts, SHA-1 when they are left to their defaults; `None` when they differ, or when the salt's length
    /// is not the digest's.
    fn digest(&self) -> Option<DigestAlgorithm> {
        let digest = match &self.hash {
            None => DigestAlgorithm::Sha1,
            Some(hash) => digest_of(hash)?,
        };
        let masking = match &self.mask {
            None => DigestAlgorithm::Sha1,
            Some(mask) if dotted(&mask.algorithm) == MGF1 => {
                digest_of(&rasn::der::decode(mask.parameters.as_ref()?.as_bytes()).ok()?)?
            }
            Some(_) => return None,
        };
        let salt = self.salt.as_ref();
        let same = masking == digest
            && salt.map_or(digest.len() == DEFAULT_SALT, |salt| {
                *salt == Integer::from(digest.len())
            })
            && self
                .trailer
                .as_ref()
                .is_none_or(|trailer| *trailer == Integer::from(1));
        same.then_some(digest)
    }
}

/// The digest that a key of RSASSA-PSS is bound to: `None` when its parameters cannot be used, `Some(None)` when it has none and
/// so is bound to no digest (RFC 4055 section 3.1).
pub(super) fn bound_digest(parameters: Option<&[u8]>) -> Option<Option<DigestAlgorithm>> {
    match parameters {
        None => Some(None),
        Some(der) => PssParameters::decode(der)?.digest().map(Some),
    }
}

fn digest_of(identifier: &AlgorithmIdentifier) -> Option<DigestAlgorithm> {
    let parameters = identifier.parameters.as_ref().map(Any::as_bytes);
    if parameters.is_some_and(|parameters| parameters != NULL) {
        return None;
    }
    DigestAlgorithm::from_oid(&dotted(&identifier.algorithm))
}

fn known_oid(dotted: &str) -> crate::asn1::ObjectIdentifier {
    oid(dotted).unwrap_or_else(|| crate::asn1::ObjectIdentifier::new_unchecked(vec![].into()))
}

pub(super) const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";
const DEFAULT_SALT: usize = 20;
const MGF1: &str = "1.2.840.113549.1.1.8";
const NULL: &[u8] = &[5, 0];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::hex;

    #[test]
    fn uris_and_identifiers_are_found_again() {
        for algorithm in SignatureAlgorithm::ALL {
            assert_eq!(
                SignatureAlgorithm::from_uri(algorithm.uri()),
                Some(algorithm)
            );
            let identifier = algorithm.identifier();
            assert_eq!(
                SignatureAlgorithm::from_identifier(&identifier),
                Some(algorithm)
            );
            let der = rasn::der::encode(&identifier).unwrap();
            assert_eq!(
                rasn::der::decode::<AlgorithmIdentifier>(&der).unwrap(),
                identifier
            );
        }
    }

    /// The bytes that RFC 4055 and `openssl req -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32` write.
    #[test]
    fn pss_parameters_are_those_of_others() {
        let der = rasn::der::encode(&SignatureAlgorithm::RsaPssSha256.identifier()).unwrap();
        assert_eq!(
            hex(&der),
            "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d060960864801\
             65030402010500a203020120"
        );
    }

    #[test]
    fn pss_parameters_that_differ_are_refused() {
        let good = || PssParameters::new(DigestAlgorithm::Sha256);
        let read = |parameters: &PssParameters| {
            SignatureAlgorithm::from_parts(RSASSA_PSS, Some(parameters.encode().as_bytes()))
        };
        assert_eq!(read(&good()), Some(SignatureAlgorithm::RsaPssSha256));
        let explicit = PssParameters {
            trailer: Some(Integer::from(1)),
            ..good()
        };
        assert_eq!(read(&explicit), Some(SignatureAlgorithm::RsaPssSha256));
        let refused = [
            (
                "salt",
                PssParameters {
                    salt: Some(Integer::from(20)),
                    ..good()
                },
            ),
            (
                "default salt",
                PssParameters {
                    salt: None,
                    ..good()
                },
            ),
            (
                "trailer",
                PssParameters {
                    trailer: Some(Integer::from(2)),
                    ..good()
                },
            ),
            (
                "default digest",
                PssParameters {
                    hash: None,
                    ..good()
                },
            ),
            (
                "default mask",
                PssParameters {
                    mask: None,
                    ..good()
                },
            ),
            (
                "another mask",
                PssParameters {
                    mask: PssParameters::new(DigestAlgorithm::Sha512).mask,
                    ..good()
                },
            ),
        ];
        for (what, parameters) in refused {
            assert_eq!(read(&parameters), None, "{what}");
        }
        assert_eq!(
            SignatureAlgorithm::from_parts(RSASSA_PSS, Some(&[0x30, 0])),
            Some(SignatureAlgorithm::RsaPssSha1)
        );
        assert_eq!(SignatureAlgorithm::from_parts(RSASSA_PSS, None), None);
        assert_eq!(SignatureAlgorithm::from_parts(RSASSA_PSS, Some(NULL)), None);
    }

    #[test]
    fn parameters_that_do_not_belong_are_refused() {
        let integer = [2, 1, 0];
        for algorithm in SignatureAlgorithm::ALL.into_iter().filter(|a| !a.is_pss()) {
            let read = |parameters| SignatureAlgorithm::from_parts(algorithm.oid(), parameters);
            assert_eq!(read(None), Some(algorithm));
            assert_eq!(read(Some(NULL)), Some(algorithm));
            assert_eq!(read(Some(&integer)), None);
        }
    }
}
