//! The tax service: the SOAP service `taxDebt` tells what a person owes.

use std::future::Future;
use std::io;

use jibek_sdk::provider::{Layer, SoapLayer, SoapRequest, serve as run, service_fn};
use jibek_sdk::{Fault, escape_xml};
use tokio::net::TcpListener;

use super::Listing;

/// How it is registered.
pub const LISTING: Listing = Listing {
    agency: "Tax service",
    class: "GOV",
    member: "70000003",
    subsystem: "tax",
    service: "taxDebt",
    soap: true,
};

/// Namespace of the service's elements.
pub const NAMESPACE: &str = "urn:kg:tax";

/// Serves the tax service until `shutdown` resolves.
///
/// # Errors
/// What makes serving impossible.
pub async fn serve(listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    run(
        listener,
        SoapLayer::new().layer(service_fn(answer)),
        shutdown,
    )
    .await
}

async fn answer(request: SoapRequest) -> Result<String, Fault> {
    let pin = request
        .value("pin")
        .ok_or_else(|| Fault::new("Client.NoPin", "the request has no pin", ""))?;
    let (tyiyn, year) = debt(&pin)
        .ok_or_else(|| Fault::new("Client.UnknownPin", "nobody with this pin pays taxes", ""))?;
    Ok(format!(
        r#"<t:taxDebtResponse xmlns:t="{NAMESPACE}"><t:pin>{}</t:pin><t:debt>{}.{:02}</t:debt><t:currency>KGS</t:currency><t:year>{year}</t:year></t:taxDebtResponse>"#,
        escape_xml(&pin),
        tyiyn / 100,
        tyiyn % 100,
    ))
}

/// Tells what a person owes, in tyiyn (hundredths of a som), and for which year; `None` for who is not registered.
#[must_use]
pub fn debt(pin: &str) -> Option<(u64, u16)> {
    DEBTS
        .iter()
        .find(|debt| debt.0 == pin)
        .map(|debt| (debt.1, debt.2))
}

const DEBTS: [(&str, u64, u16); 6] = [
    ("29999198500001", 0, 2025),
    ("19999199000002", 0, 2025),
    ("29999197000003", 0, 2025),
    ("29999195500005", 1_284_050, 2024),
    ("29999199900007", 0, 2025),
    ("19999198800008", 310_007, 2025),
];
