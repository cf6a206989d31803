//! The population register: `GET /persons/{pin}` tells who somebody is.

use std::convert::Infallible;
use std::future::Future;
use std::io;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use jibek_sdk::provider::{Layer, ProviderLayer, json, serve as run, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;

use super::{Listing, segments};

/// How it is registered.
pub const LISTING: Listing = Listing {
    agency: "Population register",
    class: "GOV",
    member: "70000001",
    subsystem: "population",
    service: "population",
    soap: false,
};

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Personal identification number.
    pub pin: String,
    /// Surname.
    pub surname: String,
    /// Given name.
    pub given_name: String,
    /// Year of birth.
    pub born: u16,
    /// Where the person is registered.
    pub address: String,
    /// Whether the person is alive.
    pub alive: bool,
}

/// Serves the register until `shutdown` resolves.
///
/// # Errors
/// What makes serving impossible.
pub async fn serve(listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    run(
        listener,
        ProviderLayer::new().layer(service_fn(answer)),
        shutdown,
    )
    .await
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = segments(request.uri().path());
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    Ok(match (request.method(), path.as_slice()) {
        (&Method::GET, ["persons", pin]) => match person(pin) {
            Some(person) => json(StatusCode::OK, &person),
            None => json(
                StatusCode::NOT_FOUND,
                &json!({ "error": "no person with this PIN" }),
            ),
        },
        (_, ["persons", _]) => json(
            StatusCode::METHOD_NOT_ALLOWED,
            &json!({ "error": "only GET" }),
        ),
        _ => json(
            StatusCode::NOT_FOUND,
            &json!({ "error": "try /persons/{pin}" }),
        ),
    })
}

/// Finds a person.
#[must_use]
pub fn person(pin: &str) -> Option<Person> {
    PERSONS.iter().find(|person| person.0 == pin).map(
        |&(pin, surname, given_name, born, address, alive)| Person {
            pin: pin.to_owned(),
            surname: surname.to_owned(),
            given_name: given_name.to_owned(),
            born,
            address: address.to_owned(),
            alive,
        },
    )
}

type Row = (
    &'static str,
    &'static str,
    &'static str,
    u16,
    &'static str,
    bool,
);

const PERSONS: [Row; 8] = [
    (
        "29999198500001",
        "Сынакбаев",
        "Темирбек",
        1985,
        "Бишкек, Алма-Терек көчөсү 12",
        true,
    ),
    (
        "19999199000002",
        "Сынакова",
        "Айсулуу",
        1990,
        "Ош, Жаңы-Дөбө көчөсү 4",
        true,
    ),
    (
        "29999197000003",
        "Үлгүбеков",
        "Нурдөөлөт",
        1970,
        "Каракол, Көл көчөсү 31",
        true,
    ),
    (
        "19999200100004",
        "Мисалова",
        "Бегимай",
        2001,
        "Нарын, Тоо көчөсү 8",
        true,
    ),
    (
        "29999195500005",
        "Мисалбеков",
        "Качкынбай",
        1955,
        "Талас, Кең-Сай көчөсү 2",
        true,
    ),
    (
        "19999194000006",
        "Үлгүбекова",
        "Сайкал",
        1940,
        "Баткен, Өрүк көчөсү 17",
        false,
    ),
    (
        "29999199900007",
        "Болжолов",
        "Эламан",
        1999,
        "Жалал-Абад, Жаңгак көчөсү 5",
        true,
    ),
    (
        "19999198800008",
        "Болжолова",
        "Чынара",
        1988,
        "Бишкек, Ак-Кайың көчөсү 40",
        true,
    ),
];
