//! `jibek-certs`: DER of strangers.

use jibek_certs::{
    ocsp::OcspResponse,
    parse::{Certificate, CertificateRequest},
    signer::{KeyKind, PublicKey, Signer, SoftKey, ecdsa_der_to_raw, ecdsa_raw_to_der},
    tsp::TimestampToken,
};
use jibek_evidence::{
    container::{Container, ContainerLimits},
    verify::Exhibits,
};

use crate::seeds;

pub fn certificate(data: &[u8]) {
    if let Ok(certificate) = Certificate::from_der_or_pem(data) {
        let _ = (
            format!("{certificate:?}"),
            certificate.subject().canonical(),
        );
        let _ = (
            certificate.is_signing(),
            certificate.defect(),
            certificate.weaknesses(),
        );
        let _ = certificate.verify_signed_by(&certificate);
    }
    let _ = Certificate::from_der_leading(data);
    if let Ok(request) = CertificateRequest::from_der_or_pem(data) {
        let _ = request.verify();
    }
}

/// Keys and signature values, each by its own reader.
pub fn key(data: &[u8]) {
    let _ = (
        SoftKey::from_pkcs8_der(data),
        SoftKey::from_pem(data),
        PublicKey::of(data),
    );
    let _ = (ecdsa_raw_to_der(data), ecdsa_der_to_raw(data, 32));
}

pub fn key_seeds() -> Vec<Vec<u8>> {
    let key = SoftKey::generate(KeyKind::EcP256).expect("a key");
    vec![key.public_key_spki(), vec![7; 64]]
}

pub fn certificate_seeds() -> Vec<Vec<u8>> {
    let pems = seeds::files("certs", &[".pem"]);
    let ders = pems
        .iter()
        .filter_map(|pem| Some(Certificate::from_pem(pem).ok()?.der().to_vec()));
    ders.collect()
}

pub fn ocsp(data: &[u8]) {
    if let Ok(response) = OcspResponse::parse(data.to_vec()) {
        let _ = format!("{response:?}");
    }
    let _ = OcspResponse::parse_leading(data);
}

pub fn ocsp_seeds() -> Vec<Vec<u8>> {
    exhibits()
        .iter()
        .filter_map(Exhibits::signature)
        .flat_map(|signature| signature.ocsp_responses().to_vec())
        .map(|der| der.to_vec())
        .collect()
}

fn exhibits() -> Vec<Exhibits> {
    seeds::containers()
        .iter()
        .filter_map(|file| Container::read(file, &ContainerLimits::default()).ok())
        .map(|container| Exhibits::of(&container))
        .collect()
}

pub fn token(data: &[u8]) {
    if let Ok(token) = TimestampToken::parse(data) {
        let _ = token.verify(b"data", token.certificates());
        let _ = token.verify_signer(token.certificates());
    }
}

pub fn token_seeds() -> Vec<Vec<u8>> {
    seeds::entries("META-INF/timestamp.tst")
}
