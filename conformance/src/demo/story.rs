//! Property re-registration from a phone: six calls, each written as an agency's developer would write it.

use bytes::Bytes;
use jibek_sdk::{CallError, ClientId, Consumer, Credentials, Method};
use tokio::time::Instant;

use super::{INSTANCE, PORTAL};
use crate::agencies::{
    cadastre::{self, Property, Receipt},
    deed, justice,
    population::{self, Person},
    tax,
};

/// The seller, who holds the phone.
const SELLER: &str = "29999198500001";
/// The buyer.
const BUYER: &str = "19999199000002";
/// The house.
const HOUSE: &str = "99-01-0001-0001";
/// Size of the deed, in bytes.
const DEED_BYTES: usize = 3 * 1024 * 1024;

/// One call of the story.
#[derive(Clone, Debug)]
pub struct Step {
    /// Who was asked.
    pub agency: &'static str,
    /// What for.
    pub what: String,
    /// What came out of it.
    pub outcome: String,
    /// Bytes of both bodies.
    pub bytes: usize,
    /// How long it took, in milliseconds.
    pub milliseconds: f64,
    /// Id under which both sides find the evidence.
    pub message_id: String,
}

/// Why the story did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    /// A call failed.
    #[error("{what}: {source}")]
    Call {
        /// What was called for.
        what: &'static str,
        /// Why it failed.
        source: CallError,
    },
    /// An answer that the story cannot go on with.
    #[error("{what}: {reason}")]
    Answer {
        /// What was called for.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

fn answer(what: &'static str, reason: impl std::fmt::Display) -> StoryError {
    StoryError::Answer {
        what,
        reason: format!("{reason}"),
    }
}

/// Plays the story against the security server at `server`, an HTTP URL; `told` hears each step as it is done.
///
/// # Errors
///
/// [`StoryError`] names the step.
pub async fn tell(server: &str, mut told: impl FnMut(&Step)) -> Result<Vec<Step>, StoryError> {
    let setup = |error: &dyn std::error::Error| answer("setting up", error);
    let portal = ClientId::from_header(PORTAL).map_err(|error| setup(&error))?;
    let consumer = Consumer::builder()
        .server(server)
        .map_err(|error| setup(&error))?
        .identity(portal)
        .credentials(Credentials::None)
        .map_err(|error| setup(&error))?
        .build()
        .map_err(|error| setup(&error))?;
    let mut steps = Vec::new();
    let mut done = |step: Step, steps: &mut Vec<Step>| {
        told(&step);
        steps.push(step);
    };

    let (step, _) = identity(&consumer).await?;
    done(step, &mut steps);
    let (step, property) = ownership(&consumer).await?;
    if property.owner != SELLER {
        // The sandbox was told this story before: the house is the buyer's already.
        tracing::info!("the house has a new owner already; it changes hands again");
    }
    done(step, &mut steps);
    done(encumbrances(&consumer).await?, &mut steps);
    done(tax_debt(&consumer).await?, &mut steps);
    let (step, _) = registration(&consumer).await?;
    done(step, &mut steps);
    let (step, property) = ownership(&consumer).await?;
    if property.owner != BUYER {
        return Err(answer(
            "the new owner",
            "the register does not show the buyer",
        ));
    }
    done(
        Step {
            what: "the register shows the new owner (REST GET)".to_owned(),
            ..step
        },
        &mut steps,
    );
    Ok(steps)
}

async fn identity(consumer: &Consumer) -> Result<(Step, Person), StoryError> {
    let what = "identity";
    let service = population::LISTING
        .service(INSTANCE)
        .map_err(|error| answer(what, error))?;
    let started = Instant::now();
    let mut reply = consumer
        .rest(&service)
        .path("/persons")
        .segment(SELLER)
        .user_id(SELLER)
        .send()
        .await
        .map_err(|source| StoryError::Call { what, source })?;
    let body = reply
        .bytes(64 * 1024)
        .await
        .map_err(|error| answer(what, error))?;
    let person: Person = serde_json::from_slice(&body).map_err(|error| answer(what, error))?;
    let step = Step {
        agency: population::LISTING.agency,
        what: "who holds the phone? (REST GET)".to_owned(),
        outcome: format!("{} {}", person.given_name, person.surname),
        bytes: body.len(),
        milliseconds: milliseconds(started),
        message_id: reply.message_id().to_owned(),
    };
    Ok((step, person))
}

async fn ownership(consumer: &Consumer) -> Result<(Step, Property), StoryError> {
    let what = "ownership";
    let service = cadastre::LISTING
        .service(INSTANCE)
        .map_err(|error| answer(what, error))?;
    let started = Instant::now();
    let mut reply = consumer
        .rest(&service)
        .path("/properties")
        .segment(HOUSE)
        .user_id(SELLER)
        .send()
        .await
        .map_err(|source| StoryError::Call { what, source })?;
    let body = reply
        .bytes(64 * 1024)
        .await
        .map_err(|error| answer(what, error))?;
    let property: Property = serde_json::from_slice(&body).map_err(|error| answer(what, error))?;
    let step = Step {
        agency: cadastre::LISTING.agency,
        what: "whose is the house? (REST GET)".to_owned(),
        outcome: format!("owner {}", property.owner),
        bytes: body.len(),
        milliseconds: milliseconds(started),
        message_id: reply.message_id().to_owned(),
    };
    Ok((step, property))
}

async fn encumbrances(consumer: &Consumer) -> Result<Step, StoryError> {
    let what = "encumbrances";
    let service = justice::LISTING
        .service(INSTANCE)
        .map_err(|error| answer(what, error))?;
    let request = format!(
        "<j:encumbrances xmlns:j=\"{}\"><j:property>{HOUSE}</j:property></j:encumbrances>",
        justice::NAMESPACE
    );
    let started = Instant::now();
    let reply = consumer
        .soap(&service)
        .body_xml(request)
        .user_id(SELLER)
        .send()
        .await
        .map_err(|source| StoryError::Call { what, source })?;
    let count = reply
        .value("count")
        .ok_or_else(|| answer(what, "the answer has no count"))?;
    if count != "0" {
        return Err(answer(what, "somebody has a right in the house"));
    }
    Ok(Step {
        agency: justice::LISTING.agency,
        what: "does anybody have a right in it? (SOAP)".to_owned(),
        outcome: "nobody".to_owned(),
        bytes: reply.envelope().len(),
        milliseconds: milliseconds(started),
        message_id: reply.message_id().to_owned(),
    })
}

async fn tax_debt(consumer: &Consumer) -> Result<Step, StoryError> {
    let what = "tax debt";
    let service = tax::LISTING
        .service(INSTANCE)
        .map_err(|error| answer(what, error))?;
    let request = format!(
        "<t:taxDebt xmlns:t=\"{}\"><t:pin>{SELLER}</t:pin></t:taxDebt>",
        tax::NAMESPACE
    );
    let started = Instant::now();
    let reply = consumer
        .soap(&service)
        .body_xml(request)
        .user_id(SELLER)
        .send()
        .await
        .map_err(|source| StoryError::Call { what, source })?;
    let debt = reply
        .value("debt")
        .ok_or_else(|| answer(what, "the answer has no debt"))?;
    Ok(Step {
        agency: tax::LISTING.agency,
        what: "does the seller owe taxes? (SOAP)".to_owned(),
        outcome: format!("{debt} som"),
        bytes: reply.envelope().len(),
        milliseconds: milliseconds(started),
        message_id: reply.message_id().to_owned(),
    })
}

async fn registration(consumer: &Consumer) -> Result<(Step, Receipt), StoryError> {
    let what = "registration";
    let service = cadastre::LISTING
        .service(INSTANCE)
        .map_err(|error| answer(what, error))?;
    let document = Bytes::from(deed::deed(
        &["DEED OF SALE", HOUSE, "seller", SELLER, "buyer", BUYER],
        DEED_BYTES,
    ));
    let started = Instant::now();
    let mut reply = consumer
        .rest(&service)
        .method(Method::POST)
        .path("/properties")
        .segment(HOUSE)
        .segment("registrations")
        .query("new_owner", BUYER)
        .header("Content-Type", "application/pdf")
        .user_id(SELLER)
        .body(document.clone())
        .send()
        .await
        .map_err(|source| StoryError::Call { what, source })?;
    let body = reply
        .bytes(64 * 1024)
        .await
        .map_err(|error| answer(what, error))?;
    let receipt: Receipt = serde_json::from_slice(&body).map_err(|error| answer(what, error))?;
    let digest = jibek_certs::digest::digest(jibek_certs::DigestAlgorithm::Sha512, &document);
    if receipt.deed_sha512 != digest.to_hex() {
        return Err(answer(what, "the receipt names another deed"));
    }
    let step = Step {
        agency: cadastre::LISTING.agency,
        what: "register the buyer, with the deed (REST POST)".to_owned(),
        outcome: format!("receipt {}", receipt.receipt),
        bytes: document.len() + body.len(),
        milliseconds: milliseconds(started),
        message_id: reply.message_id().to_owned(),
    };
    Ok((step, receipt))
}

fn milliseconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1000.0
}
