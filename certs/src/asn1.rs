//! The ASN.1 structures of OCSP (RFC 6960), CMS (RFC 5652) and time-stamps (RFC 3161), declared so that whatever is signed or
//! compared stays the raw bytes it came as: such parts are [`Any`].
//!
//! Tokens are not always DER (some have indefinite lengths), so they are read with [`rasn::ber`]; everything is written as DER.
//! Both decoders bound their depth.

#![allow(
    missing_docs,
    reason = "the fields are those of the RFCs, under their names"
)]

use ::time::{Duration, OffsetDateTime};
pub use rasn::types::{
    Any, BitString, Integer, ObjectIdentifier, OctetString, SequenceOf, SetOf, Utf8String,
};
use rasn::{AsnType, Decode, Decoder, Encode, Encoder, types::GeneralizedTime};

/// A moment as `rasn` holds it.
pub type Asn1Time = GeneralizedTime;

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct AlgorithmIdentifier {
    pub algorithm: ObjectIdentifier,
    pub parameters: Option<Any>,
}

// OCSP

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct OcspRequest {
    pub tbs: OcspTbsRequest,
    #[rasn(tag(explicit(0)))]
    pub signature: Option<Any>,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct OcspTbsRequest {
    #[rasn(tag(explicit(0)))]
    pub version: Option<Integer>,
    #[rasn(tag(explicit(1)))]
    pub requestor: Option<Any>,
    pub requests: SequenceOf<OcspSingleRequest>,
    #[rasn(tag(explicit(2)))]
    pub extensions: Option<Any>,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct OcspSingleRequest {
    /// A [`CertId`], raw.
    pub cert_id: Any,
    #[rasn(tag(explicit(0)))]
    pub extensions: Option<Any>,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertId {
    pub hash_algorithm: AlgorithmIdentifier,
    pub issuer_name_hash: OctetString,
    pub issuer_key_hash: OctetString,
    /// The INTEGER, raw.
    pub serial_number: Any,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct BasicOcspResponse {
    /// An [`OcspResponseData`], raw: it is signed.
    pub tbs: Any,
    pub signature_algorithm: AlgorithmIdentifier,
    pub signature: BitString,
    #[rasn(tag(explicit(0)))]
    pub certificates: Option<SequenceOf<Any>>,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct OcspResponseData {
    #[rasn(tag(explicit(0)))]
    pub version: Option<Integer>,
    pub responder: ResponderId,
    pub produced_at: GeneralizedTime,
    pub responses: SequenceOf<OcspSingleResponse>,
    #[rasn(tag(explicit(1)))]
    pub extensions: Option<Any>,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
#[rasn(choice)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6960 has these two")]
pub enum ResponderId {
    /// The name's DER.
    #[rasn(tag(explicit(1)))]
    Name(Any),
    /// SHA-1 of the key.
    #[rasn(tag(explicit(2)))]
    Key(OctetString),
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct OcspSingleResponse {
    /// A [`CertId`], raw: it is compared byte for byte.
    pub cert_id: Any,
    pub status: CertStatus,
    pub this_update: GeneralizedTime,
    #[rasn(tag(explicit(0)))]
    pub next_update: Option<GeneralizedTime>,
    #[rasn(tag(explicit(1)))]
    pub extensions: Option<Any>,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
#[rasn(choice)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6960 has these three")]
pub enum CertStatus {
    #[rasn(tag(0))]
    Good(()),
    #[rasn(tag(1))]
    Revoked(RevokedInfo),
    #[rasn(tag(2))]
    Unknown(()),
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct RevokedInfo {
    pub time: GeneralizedTime,
    #[rasn(tag(explicit(0)))]
    pub reason: Option<Any>,
}

// CMS

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContentInfo {
    pub content_type: ObjectIdentifier,
    #[rasn(tag(explicit(0)))]
    pub content: SignedData,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignedData {
    pub version: Integer,
    pub digest_algorithms: SetOf<AlgorithmIdentifier>,
    pub content: EncapsulatedContent,
    #[rasn(tag(0))]
    pub certificates: Option<SetOf<Any>>,
    #[rasn(tag(1))]
    pub crls: Option<SetOf<Any>>,
    pub signers: SetOf<SignerInfo>,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct EncapsulatedContent {
    pub content_type: ObjectIdentifier,
    #[rasn(tag(explicit(0)))]
    pub content: Option<OctetString>,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignerInfo {
    pub version: Integer,
    pub id: SignerId,
    pub digest_algorithm: AlgorithmIdentifier,
    #[rasn(tag(0))]
    pub signed: Option<SetOf<Attribute>>,
    pub signature_algorithm: AlgorithmIdentifier,
    pub signature: OctetString,
    #[rasn(tag(1))]
    pub unsigned: Option<SetOf<Attribute>>,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
#[rasn(choice)]
#[expect(clippy::exhaustive_enums, reason = "RFC 5652 has these two")]
pub enum SignerId {
    IssuerAndSerial(IssuerAndSerial),
    #[rasn(tag(0))]
    SubjectKeyId(OctetString),
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct IssuerAndSerial {
    /// The name's DER.
    pub issuer: Any,
    /// The INTEGER, raw.
    pub serial: Any,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attribute {
    pub kind: ObjectIdentifier,
    pub values: SetOf<Any>,
}

// Time-stamps

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct MessageImprint {
    pub hash_algorithm: AlgorithmIdentifier,
    pub hashed_message: OctetString,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimeStampReq {
    pub version: Integer,
    pub imprint: MessageImprint,
    pub policy: Option<ObjectIdentifier>,
    pub nonce: Option<Integer>,
    #[rasn(default)]
    pub cert_req: bool,
    #[rasn(tag(0))]
    pub extensions: Option<SequenceOf<Any>>,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimeStampResp {
    pub status: PkiStatusInfo,
    /// A [`ContentInfo`], raw.
    pub token: Option<Any>,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct PkiStatusInfo {
    pub status: Integer,
    pub text: Option<SequenceOf<Utf8String>>,
    pub failure: Option<BitString>,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct TstInfo {
    pub version: Integer,
    pub policy: ObjectIdentifier,
    pub imprint: MessageImprint,
    pub serial: Integer,
    pub gen_time: GeneralizedTime,
    pub accuracy: Option<Accuracy>,
    #[rasn(default)]
    pub ordering: bool,
    pub nonce: Option<Integer>,
    #[rasn(tag(explicit(0)))]
    pub tsa: Option<Any>,
    #[rasn(tag(1))]
    pub extensions: Option<SequenceOf<Any>>,
}

#[derive(AsnType, Decode, Encode, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Accuracy {
    pub seconds: Option<Integer>,
    #[rasn(tag(0))]
    pub millis: Option<Integer>,
    #[rasn(tag(1))]
    pub micros: Option<Integer>,
}

/// A moment read from ASN.1; `None` beyond the year 9999.
pub fn from_asn1_time(time: &GeneralizedTime) -> Option<OffsetDateTime> {
    let whole = OffsetDateTime::from_unix_timestamp(time.timestamp()).ok()?;
    whole.checked_add(Duration::nanoseconds(time.timestamp_subsec_nanos().into()))
}

/// A moment for ASN.1, cut to whole seconds; `None` outside the years that GeneralizedTime can tell.
pub fn to_asn1_time(moment: OffsetDateTime) -> Option<GeneralizedTime> {
    let moment = moment.to_offset(::time::UtcOffset::UTC);
    let format = ::time::macros::format_description!("[year][month][day][hour][minute][second]Z");
    let text = moment.format(format).ok().filter(|text| text.len() == 15)?;
    let mut der = vec![0x18, 15];
    der.extend(text.as_bytes());
    rasn::der::decode(&der).ok()
}

/// An object identifier from its dotted form; `None` when it is none.
pub fn oid(dotted: &str) -> Option<ObjectIdentifier> {
    let arcs: Vec<u32> = dotted
        .split('.')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    ObjectIdentifier::new(arcs)
}

/// The dotted form of an object identifier.
pub fn dotted(oid: &ObjectIdentifier) -> String {
    oid.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// An INTEGER from its content, which is kept as it is.
pub fn integer(content: &[u8]) -> Any {
    Any::new(tlv(0x02, content))
}

/// One DER value from its tag byte and its content.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ 0..=0x7f) => der.push(short),
        Ok(one) => der.extend([0x81, one]),
        Err(_) => {
            let length = u32::try_from(content.len())
                .unwrap_or(u32::MAX)
                .to_be_bytes();
            let zeros = length.iter().take_while(|byte| **byte == 0).count();
            der.push(0x84_u8.saturating_sub(u8::try_from(zeros).unwrap_or(0)));
            der.extend(length.iter().skip(zeros));
        }
    }
    der.extend_from_slice(content);
    der
}

/// How many bytes the first value of `bytes` has, tag and length included; `None` when its length is indefinite, malformed or
/// beyond the end.
pub fn first_length(bytes: &[u8]) -> Option<usize> {
    let (header, content) = match *bytes.get(1)? {
        short @ 0..=0x7f => (2, usize::from(short)),
        long => {
            let count = usize::from(long & 0x7f);
            let length = bytes.get(2..count.checked_add(2)?)?;
            if !(1..=4).contains(&count) {
                return None;
            }
            let value = length
                .iter()
                .fold(0_usize, |value, byte| value << 8 | usize::from(*byte));
            (count.checked_add(2)?, value)
        }
    };
    let total = content.checked_add(header)?;
    (bytes.first()? & 0x1f != 0x1f && total <= bytes.len()).then_some(total)
}

/// The dotted form of an object identifier that `x509-parser` read. One that is longer than any real one stays hex: turning its
/// numbers into decimals would take long.
pub(crate) fn dotted_oid(oid: &x509_parser::asn1_rs::Oid<'_>) -> String {
    if oid.as_bytes().len() > LONGEST_OID {
        return format!("#{}", crate::digest::hex(oid.as_bytes()));
    }
    oid.to_id_string()
}

const LONGEST_OID: usize = 64;

/// The ASN.1 NULL, as parameters of an algorithm.
pub fn null() -> Any {
    Any::new(vec![5, 0])
}
