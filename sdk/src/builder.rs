//! The builder whose type says what is still missing: address, then identity, then credentials.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use jibek_protocol::id::ClientId;

use crate::blocking;
use crate::consumer::Consumer;
use crate::error::BuildError;
use crate::tls::Credentials;

/// Builds a [`Consumer`]; `Step` is what has been given so far.
#[derive(Debug)]
#[must_use]
pub struct ConsumerBuilder<Step> {
    step: Step,
}

/// The address of the security server is missing.
#[derive(Debug)]
pub struct NeedsServer(());

/// The identity of the information system is missing.
#[derive(Debug)]
pub struct NeedsIdentity {
    server: Uri,
}

/// The credentials are missing.
#[derive(Debug)]
pub struct NeedsCredentials {
    server: Uri,
    client: ClientId,
}

/// Nothing is missing.
#[derive(Debug)]
pub struct Complete {
    server: Uri,
    client: ClientId,
    credentials: Credentials,
    deadlines: Deadlines,
}

/// How long to wait. None of these limits how long a body may take that keeps moving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deadlines {
    /// For TCP and TLS to the security server; default 10 s.
    pub connect: Duration,
    /// From the last byte of the request that moved to the head of the reply; default 330 s, a little more than a
    /// security server gives a service for its first byte.
    pub answer: Duration,
    /// Between two chunks of the reply; default 90 s.
    pub chunk: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(330),
            chunk: Duration::from_secs(90),
        }
    }
}

impl Consumer {
    /// Starts to build a consumer.
    pub fn builder() -> ConsumerBuilder<NeedsServer> {
        ConsumerBuilder {
            step: NeedsServer(()),
        }
    }
}

impl ConsumerBuilder<NeedsServer> {
    /// Takes the address of the own security server, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// [`BuildError::Server`] if it is no such address: scheme `http` or `https`, a host, no path, no query.
    pub fn server(self, address: &str) -> Result<ConsumerBuilder<NeedsIdentity>, BuildError> {
        let refuse = |reason| BuildError::Server {
            address: address.to_owned(),
            reason,
        };
        let server: Uri = address.parse().map_err(|_| refuse("it is no address"))?;
        if server.scheme() != Some(&Scheme::HTTP) && server.scheme() != Some(&Scheme::HTTPS) {
            return Err(refuse("it starts with neither http:// nor https://"));
        }
        if server.host().is_none_or(str::is_empty) {
            return Err(refuse("it names no host"));
        }
        if server
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(refuse("it holds a user name"));
        }
        if server.path_and_query().map_or("/", PathAndQuery::as_str) != "/" {
            return Err(refuse("it has a path or a query"));
        }
        Ok(ConsumerBuilder {
            step: NeedsIdentity { server },
        })
    }
}

impl ConsumerBuilder<NeedsIdentity> {
    /// Takes the member or subsystem in whose name calls are made; it must be registered at the security server.
    pub fn identity(self, client: impl Into<ClientId>) -> ConsumerBuilder<NeedsCredentials> {
        ConsumerBuilder {
            step: NeedsCredentials {
                server: self.step.server,
                client: client.into(),
            },
        }
    }
}

impl ConsumerBuilder<NeedsCredentials> {
    /// Takes what the security server asks of the client's connections.
    ///
    /// # Errors
    /// [`BuildError::Server`] if credentials and address do not fit: TLS goes with `https`, none with `http`.
    pub fn credentials(
        self,
        credentials: Credentials,
    ) -> Result<ConsumerBuilder<Complete>, BuildError> {
        let NeedsCredentials { server, client } = self.step;
        let https = server.scheme() == Some(&Scheme::HTTPS);
        let reason = match credentials {
            Credentials::None if https => Some("https needs TLS credentials"),
            Credentials::Tls(_) if !https => Some("TLS credentials need https"),
            Credentials::None | Credentials::Tls(_) => None,
        };
        if let Some(reason) = reason {
            return Err(BuildError::Server {
                address: server.to_string(),
                reason,
            });
        }
        Ok(ConsumerBuilder {
            step: Complete {
                server,
                client,
                credentials,
                deadlines: Deadlines::default(),
            },
        })
    }
}

impl ConsumerBuilder<Complete> {
    /// Changes how long to wait for the security server; see [`Deadlines`] for the defaults.
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.step.deadlines = deadlines;
        self
    }

    /// Builds the consumer. Opens no connection.
    ///
    /// # Errors
    /// [`BuildError`] if certificates or keys are not usable.
    pub fn build(self) -> Result<Consumer, BuildError> {
        let Complete {
            server,
            client,
            credentials,
            deadlines,
        } = self.step;
        let tls = credentials.into_config()?;
        Ok(Consumer::assemble(Arc::new(server), client, tls, deadlines))
    }

    /// Builds the consumer for a program without asynchronous runtime. Opens no connection.
    ///
    /// # Errors
    /// [`BuildError`] if certificates or keys are not usable, or the system has no resources for it.
    pub fn build_blocking(self) -> Result<blocking::Consumer, BuildError> {
        blocking::Consumer::new(self.build()?)
    }
}
