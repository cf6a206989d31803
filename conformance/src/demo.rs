//! The country of the demo: four agencies, three security servers, one registry.

mod evidence;
mod story;

pub use evidence::{Exported, ProofError, export, prove, tamper};
pub use story::{Step, StoryError, tell};

use std::{net::SocketAddr, time::Duration};

use jibek_certs::KeyKind;
use jibek_protocol::id::{ClientId, IdError, MemberId, ServerId};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    agencies::{self, LISTINGS, Listing},
    country::{
        Allow, Net, Plan, PlannedClient, PlannedMember, PlannedServer, PlannedService, Timing,
    },
};

/// Instance of the demo's country.
pub const INSTANCE: &str = "KG";
/// Subsystem of the ministry of justice that calls for the citizen with the phone.
pub const PORTAL: &str = "KG/GOV/70000004/portal";

/// The plan of the demo: who there is, who may call whom.
///
/// # Errors
///
/// None in practice: every identifier is a constant.
pub fn plan(net: Net, key: KeyKind) -> Result<Plan, IdError> {
    let portal = ClientId::from_header(PORTAL)?;
    let member = |code: &str| MemberId::new(INSTANCE, "GOV", code);
    let server = |owner: &str, code: &str, clients: Vec<PlannedClient>| {
        Ok::<_, IdError>(PlannedServer {
            id: ServerId::new(member(owner)?, code)?,
            clients,
            started: true,
        })
    };
    let agency = |index: usize, listing: &Listing| client(net, index, listing, &portal);
    let [population, cadastre, justice, tax] = LISTINGS;
    let members = LISTINGS
        .iter()
        .map(|listing| {
            let mut subsystems = vec![listing.subsystem.to_owned()];
            if Some(listing.member) == Some(portal.member().code()) {
                subsystems.push("portal".to_owned());
            }
            Ok(PlannedMember {
                id: MemberId::new(INSTANCE, listing.class, listing.member)?,
                name: listing.agency.to_owned(),
                subsystems,
            })
        })
        .collect::<Result<Vec<_>, IdError>>()?;
    let calls_only = PlannedClient {
        id: portal.clone(),
        connection: "http".to_owned(),
        services: Vec::new(),
    };
    Ok(Plan {
        instance: INSTANCE.to_owned(),
        net,
        key,
        members,
        servers: vec![
            server(
                population.member,
                "ss1",
                vec![agency(0, &population)?, agency(3, &tax)?],
            )?,
            server(cadastre.member, "ss2", vec![agency(1, &cadastre)?])?,
            server(
                justice.member,
                "ss3",
                vec![agency(2, &justice)?, calls_only],
            )?,
        ],
        timing: Timing {
            publish: Duration::from_secs(10),
            fetch: Duration::from_secs(10),
            ..Timing::default()
        },
        legacy_tls: true,
    })
}

fn client(
    net: Net,
    index: usize,
    listing: &Listing,
    portal: &ClientId,
) -> Result<PlannedClient, IdError> {
    Ok(PlannedClient {
        id: listing.provider(INSTANCE)?,
        connection: "http".to_owned(),
        services: vec![PlannedService {
            code: listing.service.to_owned(),
            kind: if listing.soap { "soap" } else { "rest" }.to_owned(),
            url: format!("http://{}/", net.system(index)),
            allow: vec![Allow::everything(portal)],
            timeout: Duration::from_secs(60),
        }],
    })
}

/// The information systems of the four agencies, running in this process.
#[derive(Debug)]
pub struct Agencies {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Agencies {
    /// Starts all four.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on.
    pub async fn start(net: Net) -> Result<Self, (SocketAddr, std::io::Error)> {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Vec::new();
        let bind = |index: usize| async move {
            let address = net.system(index);
            TcpListener::bind(address)
                .await
                .map_err(|error| (address, error))
        };
        let end = |mut stopped: watch::Receiver<bool>| async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        tasks.push(tokio::spawn(agencies::population::serve(
            bind(0).await?,
            end(stopped.clone()),
        )));
        tasks.push(tokio::spawn(agencies::cadastre::serve(
            bind(1).await?,
            end(stopped.clone()),
        )));
        tasks.push(tokio::spawn(agencies::justice::serve(
            bind(2).await?,
            end(stopped.clone()),
        )));
        tasks.push(tokio::spawn(agencies::tax::serve(
            bind(3).await?,
            end(stopped),
        )));
        Ok(Self { stop, tasks })
    }

    /// Stops all four.
    pub async fn finish(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}
