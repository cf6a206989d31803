//! The demo's four agencies, written with the SDK: each is a whole service on one page.
//!
//! Persons, numbers, places and debts are invented. PINs have the shape of real ones but name a 99th day of a 99th month,
//! and property codes a 99th region, so that nobody is meant by accident.

pub mod cadastre;
pub mod deed;
pub mod justice;
pub mod population;
pub mod tax;

use jibek_sdk::{ClientId, IdError, ServiceId};

/// One service of the demo, as it is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Name of the agency, for people.
    pub agency: &'static str,
    /// Member class.
    pub class: &'static str,
    /// Member code.
    pub member: &'static str,
    /// Subsystem code.
    pub subsystem: &'static str,
    /// Service code.
    pub service: &'static str,
    /// Whether it is called by SOAP; otherwise by REST.
    pub soap: bool,
}

impl Listing {
    /// Gives the identifier of the service in an instance.
    ///
    /// # Errors
    /// [`IdError`] if the instance's name is blank.
    pub fn service(&self, instance: &str) -> Result<ServiceId, IdError> {
        ServiceId::new(self.provider(instance)?, self.service, None)
    }

    /// Gives the identifier of the providing subsystem in an instance.
    ///
    /// # Errors
    /// [`IdError`] if the instance's name is blank.
    pub fn provider(&self, instance: &str) -> Result<ClientId, IdError> {
        ClientId::new(instance, self.class, self.member, Some(self.subsystem))
    }
}

/// The services of the four agencies, in the order in which the story calls them first.
pub const LISTINGS: [Listing; 4] = [
    population::LISTING,
    cadastre::LISTING,
    justice::LISTING,
    tax::LISTING,
];

/// Path segments of a request, the first without its service prefix: `/persons/7` gives `persons` and `7`.
fn segments(path: &str) -> Vec<String> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts
        .map(|part| jibek_protocol::id::decode_part(part).unwrap_or_default())
        .collect()
}

#[cfg(test)]
mod tests;
