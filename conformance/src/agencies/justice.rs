//! The ministry of justice: the SOAP service `encumbrances` tells what rights others have in a property.

use std::future::Future;
use std::io;

use jibek_sdk::provider::{Layer, SoapLayer, SoapRequest, serve as run, service_fn};
use jibek_sdk::{Fault, escape_xml};
use tokio::net::TcpListener;

use super::Listing;

/// How it is registered.
pub const LISTING: Listing = Listing {
    agency: "Ministry of justice",
    class: "GOV",
    member: "70000004",
    subsystem: "justice",
    service: "encumbrances",
    soap: true,
};

/// Namespace of the service's elements.
pub const NAMESPACE: &str = "urn:kg:justice";

/// A right of somebody else in a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encumbrance {
    /// What it is.
    pub kind: &'static str,
    /// Whose it is.
    pub holder: &'static str,
    /// Since when, as year, month and day.
    pub since: &'static str,
}

/// Serves the register until `shutdown` resolves.
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
    let property = request
        .value("property")
        .ok_or_else(|| Fault::new("Client.NoProperty", "the request names no property", ""))?;
    let mut list = String::new();
    let found: Vec<_> = encumbrances(&property).collect();
    for Encumbrance {
        kind,
        holder,
        since,
    } in &found
    {
        list.push_str(&format!(
            "<j:encumbrance><j:kind>{}</j:kind><j:holder>{}</j:holder><j:since>{since}</j:since></j:encumbrance>",
            escape_xml(kind),
            escape_xml(holder),
        ));
    }
    Ok(format!(
        r#"<j:encumbrancesResponse xmlns:j="{NAMESPACE}"><j:property>{}</j:property><j:count>{}</j:count>{list}</j:encumbrancesResponse>"#,
        escape_xml(&property),
        found.len(),
    ))
}

/// Tells the encumbrances of a property; none for one that nobody has a right in.
pub fn encumbrances(property: &str) -> impl Iterator<Item = Encumbrance> {
    ENCUMBRANCES
        .iter()
        .filter(move |row| row.0 == property)
        .map(|row| row.1)
}

const ENCUMBRANCES: [(&str, Encumbrance); 3] = [
    (
        "99-02-0003-0018",
        Encumbrance {
            kind: "күрөө (pledge)",
            holder: "«Үлгү» банкы",
            since: "2021-04-30",
        },
    ),
    (
        "99-02-0003-0018",
        Encumbrance {
            kind: "тыюу (arrest)",
            holder: "Ош шаардык соту",
            since: "2024-11-02",
        },
    ),
    (
        "99-03-0001-0107",
        Encumbrance {
            kind: "сервитут (right of way)",
            holder: "Көл айылы",
            since: "2012-06-15",
        },
    ),
];
