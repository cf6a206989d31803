//! The SDK against real servers on loopback: well-behaved ones and others.

#[cfg(test)]
#[path = "loopback/blocking.rs"]
mod blocking;
#[cfg(test)]
#[path = "loopback/evidence.rs"]
mod evidence;
#[cfg(test)]
#[path = "loopback/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "loopback/provider.rs"]
mod provider;
#[cfg(test)]
#[path = "loopback/rest.rs"]
mod rest;
#[cfg(test)]
#[path = "loopback/soap.rs"]
mod soap;
#[cfg(test)]
#[path = "loopback/streams.rs"]
mod streams;
#[cfg(test)]
#[path = "loopback/support.rs"]
mod support;
#[cfg(test)]
#[path = "loopback/tls.rs"]
mod tls;
