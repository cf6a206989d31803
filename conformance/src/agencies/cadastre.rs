//! The cadastre: `GET /properties/{code}` tells the owner of a property, and
//! `POST /properties/{code}/registrations?new_owner={pin}` with a deed in PDF registers a new one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use jibek_certs::digest::{DigestAlgorithm, Hasher};
use jibek_sdk::provider::{Caller, Layer, ProviderLayer, chunk, json, serve as run, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;

use super::{Listing, segments};

/// How it is registered.
pub const LISTING: Listing = Listing {
    agency: "Cadastre",
    class: "GOV",
    member: "70000002",
    subsystem: "cadastre",
    service: "cadastre",
    soap: false,
};

/// Largest deed, in bytes.
pub const DEED_BYTES: u64 = 64 * 1024 * 1024;

/// A property and who owns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Property {
    /// Cadastral code.
    pub code: String,
    /// What it is.
    pub kind: String,
    /// Where it is.
    pub address: String,
    /// Its area in square metres.
    pub area_m2: u32,
    /// PIN of the owner.
    pub owner: String,
    /// How often it has been registered, which numbers the registrations.
    pub registrations: u32,
}

/// What a registration is confirmed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Number of the registration: code of the property and a running number.
    pub receipt: String,
    /// PIN of the owner until now.
    pub previous_owner: String,
    /// PIN of the owner from now on.
    pub new_owner: String,
    /// SHA-512 of the deed, in lower-case hex.
    pub deed_sha512: String,
    /// Size of the deed in bytes.
    pub deed_bytes: u64,
    /// Who registered, in the name of whom.
    pub registered_by: String,
    /// Message id under which the evidence is found.
    pub message_id: String,
}

/// The register; clones share it.
#[derive(Clone, Debug)]
pub struct Register(Arc<Mutex<BTreeMap<String, Property>>>);

/// Serves a fresh register until `shutdown` resolves.
///
/// # Errors
/// What makes serving impossible.
pub async fn serve(listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let register = Register::default();
    let service = service_fn(move |request| {
        let register = register.clone();
        async move { Ok::<_, Infallible>(register.answer(request).await) }
    });
    run(listener, ProviderLayer::new().layer(service), shutdown).await
}

impl Register {
    /// Finds a property.
    #[must_use]
    pub fn property(&self, code: &str) -> Option<Property> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(code)
            .cloned()
    }

    /// Registers a new owner; gives the property as it was, with the number of this registration. `None` if there is no
    /// such property.
    #[must_use]
    pub fn register(&self, code: &str, new_owner: &str) -> Option<Property> {
        let mut properties = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let property = properties.get_mut(code)?;
        property.registrations = property.registrations.saturating_add(1);
        let before = property.clone();
        new_owner.clone_into(&mut property.owner);
        Some(before)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = segments(request.uri().path());
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        match (request.method(), path.as_slice()) {
            (&Method::GET, ["properties", code]) => match self.property(code) {
                Some(property) => json(StatusCode::OK, &property),
                None => refuse(StatusCode::NOT_FOUND, "no property with this code"),
            },
            (&Method::POST, ["properties", code, "registrations"]) => {
                match self.registration(code, request).await {
                    Ok(receipt) => json(StatusCode::CREATED, &receipt),
                    Err((status, reason)) => refuse(status, reason),
                }
            }
            _ => refuse(
                StatusCode::NOT_FOUND,
                "try /properties/{code} or POST /properties/{code}/registrations",
            ),
        }
    }

    async fn registration(
        &self,
        code: &str,
        request: Request<Incoming>,
    ) -> Result<Receipt, (StatusCode, &'static str)> {
        let caller = Caller::of(&request)
            .cloned()
            .ok_or((StatusCode::FORBIDDEN, "who is calling?"))?;
        let new_owner = request
            .uri()
            .query()
            .and_then(|query| query.strip_prefix("new_owner="))
            .map(str::to_owned);
        let is_pin =
            |pin: &String| pin.len() == 14 && pin.bytes().all(|byte| byte.is_ascii_digit());
        let new_owner = new_owner
            .filter(is_pin)
            .ok_or((StatusCode::BAD_REQUEST, "new_owner is no PIN"))?;
        let (deed_sha512, deed_bytes) = read_deed(request.into_body()).await?;
        let before = self
            .register(code, &new_owner)
            .ok_or((StatusCode::NOT_FOUND, "no property with this code"))?;
        Ok(Receipt {
            receipt: format!("{code}/{}", before.registrations),
            previous_owner: before.owner,
            new_owner,
            deed_sha512,
            deed_bytes,
            registered_by: caller.client.to_string(),
            message_id: caller.message_id,
        })
    }
}

/// Reads a deed as it comes, never holding it: its SHA-512 in hex, and its size.
async fn read_deed(mut body: Incoming) -> Result<(String, u64), (StatusCode, &'static str)> {
    let (mut hasher, mut bytes, mut start) = (
        Hasher::new(DigestAlgorithm::Sha512),
        0_u64,
        Vec::<u8>::new(),
    );
    let broken = |_| (StatusCode::BAD_REQUEST, "the deed broke off");
    while let Some(chunk) = chunk(&mut body).await.map_err(broken)? {
        start.extend(chunk.iter().take(PDF.len().saturating_sub(start.len())));
        hasher.update(&chunk);
        bytes = bytes.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if bytes > DEED_BYTES {
            return Err((StatusCode::PAYLOAD_TOO_LARGE, "the deed is too large"));
        }
    }
    if start != PDF {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "the deed is no PDF"));
    }
    Ok((hasher.finish().to_hex(), bytes))
}

fn refuse(status: StatusCode, reason: &str) -> Response<Full<Bytes>> {
    json(status, &json!({ "error": reason }))
}

impl Default for Register {
    fn default() -> Self {
        let property = |&(code, kind, address, area_m2, owner, registrations): &Row| Property {
            code: code.to_owned(),
            kind: kind.to_owned(),
            address: address.to_owned(),
            area_m2,
            owner: owner.to_owned(),
            registrations,
        };
        let properties = PROPERTIES
            .iter()
            .map(|row| (row.0.to_owned(), property(row)))
            .collect();
        Self(Arc::new(Mutex::new(properties)))
    }
}

type Row = (
    &'static str,
    &'static str,
    &'static str,
    u32,
    &'static str,
    u32,
);

const PDF: &[u8] = b"%PDF-";

const PROPERTIES: [Row; 5] = [
    (
        "99-01-0001-0001",
        "турак үй (house)",
        "Бишкек, Алма-Терек көчөсү 12",
        184,
        "29999198500001",
        1,
    ),
    (
        "99-01-0001-0002",
        "батир (flat)",
        "Бишкек, Ак-Кайың көчөсү 40, 7",
        61,
        "19999198800008",
        3,
    ),
    (
        "99-02-0003-0018",
        "дүкөн (shop)",
        "Ош, Жаңы-Дөбө көчөсү 2",
        95,
        "29999195500005",
        2,
    ),
    (
        "99-03-0001-0107",
        "айыл жери (farmland)",
        "Көл айылы, Түндүк талаа",
        12_400,
        "29999197000003",
        1,
    ),
    (
        "99-04-0002-0005",
        "турак үй (house)",
        "Нарын, Тоо көчөсү 8",
        120,
        "19999200100004",
        1,
    ),
];
