//! Every exchange proves itself: its containers, from both servers, judged by what the auditor's program judges with.

use std::io::{Cursor, Read};

use bytes::Bytes;
use http::StatusCode;
use jibek_evidence::{
    container::{Container, ContainerLimits},
    verify::{Outcome, verify_container},
};
use jibek_protocol::id::{ClientId, encode_part};
use zip::ZipArchive;

use crate::world::World;

/// One message of an exchange, proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// `message.xml`: the REST block or SOAP envelope that was signed.
    pub message: Bytes,
    /// SHA-512 of the body that was signed, when there is one.
    pub body_sha512: Option<Vec<u8>>,
}

/// What a server can prove of a message id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proofs {
    /// Requests, in the order of the server's log.
    pub requests: Vec<Proved>,
    /// Answers, in the order of the server's log.
    pub responses: Vec<Proved>,
}

impl World {
    /// Stamps what waits on every server.
    ///
    /// # Panics
    ///
    /// When a time-stamp cannot be had.
    pub async fn stamp(&self) {
        for server in self.running.servers() {
            #[expect(clippy::panic, reason = "a test fails here")]
            if let Err(error) = server.inside.stamp().await {
                panic!("server {} could not stamp: {error}", server.id.code());
            }
        }
    }

    /// Fetches the containers of a message id from a server and verifies each against the configuration in force.
    ///
    /// # Panics
    ///
    /// When they cannot be fetched, one is not valid, or something about one should worry a court.
    pub async fn proofs(&self, server: usize, party: &str, message_id: &str) -> Proofs {
        match self.try_proofs(server, party, message_id).await {
            Ok(proofs) => proofs,
            #[expect(clippy::panic, reason = "a test fails here")]
            Err(error) => panic!("server {server}, {party}, message {message_id}: {error}"),
        }
    }

    async fn try_proofs(
        &self,
        server: usize,
        party: &str,
        message_id: &str,
    ) -> Result<Proofs, Box<dyn std::error::Error>> {
        let server = self.running.server(server);
        let party = ClientId::from_header(party)?;
        let url = format!(
            "{}/asic?queryId={}&xRoadInstance={}&memberClass={}&memberCode={}&subsystemCode={}",
            server.url(),
            encode_part(message_id),
            party.instance(),
            party.member().class(),
            party.member().code(),
            party.subsystem().unwrap_or_default(),
        );
        let answer = self.http.get(&url).await?;
        if answer.status() != StatusCode::OK {
            return Err(String::from_utf8_lossy(answer.body()).into());
        }
        let snapshot = server.inside.configuration();
        let mut archive = ZipArchive::new(Cursor::new(answer.into_body()))?;
        let mut proofs = Proofs::default();
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index)?;
            let name = entry.name()?.into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            let proved = judge(&bytes, &*snapshot).map_err(|error| format!("{name}: {error}"))?;
            if name.contains("-request") {
                proofs.requests.push(proved);
            } else if name.contains("-response") {
                proofs.responses.push(proved);
            } else {
                return Err(format!("an unexpected container {name}").into());
            }
        }
        Ok(proofs)
    }
}

fn judge(
    bytes: &[u8],
    trust: &dyn jibek_certs::trust::Trust,
) -> Result<Proved, Box<dyn std::error::Error>> {
    let container = Container::read(bytes, &ContainerLimits::default())?;
    let verdict = verify_container(&container, trust);
    if !verdict.findings.is_empty() {
        return Err(format!("findings: {:?}", verdict.findings).into());
    }
    let report = match verdict.outcome {
        Outcome::Valid(report) => report,
        other => return Err(format!("{other:?}").into()),
    };
    let body = match report.attachments() {
        [] => None,
        [body] if body.is_verified() && body.name() == "/attachment1" => {
            Some(body.digest().as_bytes().to_vec())
        }
        other => return Err(format!("attachments {other:?}").into()),
    };
    let message = container
        .entry("message.xml")
        .cloned()
        .ok_or("no message.xml")?;
    Ok(Proved {
        message,
        body_sha512: body,
    })
}
