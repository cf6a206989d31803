//! The OCSP responder's answers.

use jibek_certs::{
    Certificate, DigestAlgorithm,
    asn1::{
        Any, BasicOcspResponse, BitString, CertId, CertStatus, OcspRequest, OcspResponseData,
        OcspSingleResponse, ResponderId, RevokedInfo, dotted, integer, tlv, to_asn1_time,
    },
    digest::digest,
};
use time::{Duration, OffsetDateTime};

use crate::{
    authority::{DevPki, Status},
    faults::Fault,
};

impl DevPki {
    /// The OCSP responder's answer to the body of a request, as of `now`, with what `fault` makes wrong in it.
    ///
    /// CertIDs are echoed byte for byte as they were asked, because X-Road recognises its own only (`observed.md` 2). Errors are
    /// answers too: malformedRequest, internalError, unauthorized (an issuer that is not ours).
    pub fn answer_ocsp(&self, request: &[u8], now: OffsetDateTime, fault: Fault) -> Vec<u8> {
        let result = match rasn::ber::decode::<OcspRequest>(request) {
            Ok(request) => self.respond(&request, now, fault),
            Err(_) => Err(MALFORMED_REQUEST),
        };
        match result {
            Ok(basic) => {
                let mut bytes = tlv(0x06, BASIC);
                bytes.extend(tlv(0x04, &basic));
                let mut response = vec![0x0a, 1, 0];
                response.extend(tlv(0xa0, &tlv(0x30, &bytes)));
                tlv(0x30, &response)
            }
            Err(status) => vec![0x30, 3, 0x0a, 1, status],
        }
    }

    fn respond(
        &self,
        request: &OcspRequest,
        now: OffsetDateTime,
        fault: Fault,
    ) -> Result<Vec<u8>, u8> {
        let this_update = fault.shift(now);
        let mut by_root = None;
        let mut responses = Vec::new();
        for single in request.tbs.requests.iter().take(MOST_CERTIFICATES) {
            let id: CertId =
                rasn::ber::decode(single.cert_id.as_bytes()).map_err(|_| MALFORMED_REQUEST)?;
            let root = self.issuer(&id).ok_or(UNAUTHORIZED)?;
            // One responder signs: a request for both CAs at once is answered for the first.
            if *by_root.get_or_insert(root) != root {
                continue;
            }
            responses.push(OcspSingleResponse {
                cert_id: match fault {
                    Fault::WrongCertificate | Fault::WrongImprint => other_certificate(id.clone())?,
                    _ => single.cert_id.clone(),
                },
                status: self.certificate_status(root, &id, this_update, fault)?,
                this_update: to_asn1_time(this_update).ok_or(INTERNAL_ERROR)?,
                next_update: Some(
                    to_asn1_time(this_update.saturating_add(NEXT_UPDATE)).ok_or(INTERNAL_ERROR)?,
                ),
                extensions: None,
            });
        }
        let responder = match by_root.ok_or(MALFORMED_REQUEST)? {
            true => self.root_ocsp_certificate(),
            false => self.ocsp_certificate(),
        };
        self.sign_response(responder, responses, this_update, fault)
            .ok_or(INTERNAL_ERROR)
    }

    /// Whether a CertID speaks of the root (true) or of the issuing CA (false) as issuer.
    fn issuer(&self, id: &CertId) -> Option<bool> {
        let algorithm = DigestAlgorithm::from_oid(&dotted(&id.hash_algorithm.algorithm))?;
        let is = |ca: &Certificate| {
            let name = digest(algorithm, ca.subject().der());
            let key = digest(algorithm, ca.key_bits());
            *id.issuer_name_hash == *name.as_bytes() && *id.issuer_key_hash == *key.as_bytes()
        };
        if is(self.issuing_ca()) {
            Some(false)
        } else {
            is(self.root_ca()).then_some(true)
        }
    }

    fn certificate_status(
        &self,
        by_root: bool,
        id: &CertId,
        this_update: OffsetDateTime,
        fault: Fault,
    ) -> Result<CertStatus, u8> {
        let revoked = |since: OffsetDateTime| {
            let time = to_asn1_time(since).ok_or(INTERNAL_ERROR)?;
            Ok(CertStatus::Revoked(RevokedInfo { time, reason: None }))
        };
        match fault {
            Fault::Revoked => return revoked(this_update),
            Fault::Unknown => return Ok(CertStatus::Unknown(())),
            _ => {}
        }
        let serial = serial(id).and_then(|serial| self.status(by_root, serial));
        match serial {
            Some(Status::Good) => Ok(CertStatus::Good(())),
            Some(Status::Revoked(since)) => revoked(since),
            None => Ok(CertStatus::Unknown(())),
        }
    }

    fn sign_response(
        &self,
        responder: &Certificate,
        responses: Vec<OcspSingleResponse>,
        produced_at: OffsetDateTime,
        fault: Fault,
    ) -> Option<Vec<u8>> {
        let data = OcspResponseData {
            version: None,
            responder: ResponderId::Name(Any::new(responder.subject().der().to_vec())),
            produced_at: to_asn1_time(produced_at)?,
            responses,
            extensions: None,
        };
        let tbs = rasn::der::encode(&data).ok()?;
        let (algorithm, mut signature) = Self::sign_sha256(&self.ocsp_key, &tbs).ok()?;
        if fault == Fault::Unsigned {
            signature.fill(0);
        }
        let response = BasicOcspResponse {
            tbs: Any::new(tbs),
            signature_algorithm: algorithm.identifier(),
            signature: BitString::from_vec(signature),
            certificates: Some(vec![Any::new(responder.der().to_vec())]),
        };
        rasn::der::encode(&response).ok()
    }
}

/// The serial number as this authority gives them; anything longer was not issued here.
fn serial(id: &CertId) -> Option<u64> {
    let content = id.serial_number.as_bytes().get(2..)?;
    let significant = content.strip_prefix(&[0]).unwrap_or(content);
    if content.first().is_some_and(|first| *first >= 0x80) || significant.len() > 8 {
        return None;
    }
    Some(
        significant
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}

/// The same CertID with another serial number.
fn other_certificate(mut id: CertId) -> Result<Any, u8> {
    id.serial_number = integer(&[0x7f, 0xff]);
    rasn::der::encode(&id)
        .map(Any::new)
        .map_err(|_| INTERNAL_ERROR)
}

const MALFORMED_REQUEST: u8 = 1;
const INTERNAL_ERROR: u8 = 2;
const UNAUTHORIZED: u8 = 6;
/// Content of id-pkix-ocsp-basic.
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
const MOST_CERTIFICATES: usize = 16;
const NEXT_UPDATE: Duration = Duration::DAY;
