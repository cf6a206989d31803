//! What a message looks up, each in one step however large the country is.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use bytes::Bytes;
use jibek_protocol::id::{ClientId, GlobalGroupId, MemberId, ServerId, SubsystemId};

use super::{Instance, ServerAddress, ServerEntry};
use crate::model::SecurityServer;

/// Indexes over all instances, the own one first. Identifiers are shared with the instances.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    pub(super) servers: Vec<ServerEntry>,
    pub(super) server_numbers: HashMap<ServerId, usize>,
    pub(super) auth_certificates: HashMap<Bytes, Vec<usize>>,
    /// Clients of the same servers share one list.
    pub(super) providers: HashMap<ClientId, Arc<[ServerAddress]>>,
    pub(super) clients: HashSet<ClientId>,
    /// Numbers of the instance and of the member in it.
    pub(super) members: HashMap<MemberId, (usize, usize)>,
    pub(super) groups: HashMap<GlobalGroupId, HashSet<ClientId>>,
}

impl Index {
    pub(super) fn of(instances: &[Arc<Instance>]) -> Self {
        let mut index = Self::default();
        for (number, instance) in instances.iter().enumerate() {
            index.members(number, instance);
            index.groups(instance);
            for server in &instance.shared.servers {
                index.server(server);
            }
        }
        index.providers();
        index
    }

    fn members(&mut self, number: usize, instance: &Instance) {
        let members = &instance.shared.members;
        let subsystems: usize = members.iter().map(|member| member.subsystems.len()).sum();
        self.members.reserve(members.len());
        self.clients
            .reserve(members.len().saturating_add(subsystems));
        let servers = instance.shared.servers.iter();
        let named: HashSet<&ClientId> = servers.flat_map(|server| &server.clients).collect();
        for (at, member) in members.iter().enumerate() {
            self.members.insert(member.id.clone(), (number, at));
            self.clients.insert(ClientId::from(member.id.clone()));
            for subsystem in &member.subsystems {
                let Ok(id) = SubsystemId::new(member.id.clone(), &subsystem.code) else {
                    continue;
                };
                let id = ClientId::from(id);
                let known = named.get(&id).map(|known| ClientId::clone(known));
                self.clients.insert(known.unwrap_or(id));
            }
        }
    }

    fn groups(&mut self, instance: &Instance) {
        for group in &instance.shared.groups {
            // One without a code is told of as a warning.
            if let Ok(id) = GlobalGroupId::new(&instance.shared.instance, &group.code) {
                let members = self.groups.entry(id).or_default();
                members.extend(group.members.iter().cloned());
            }
        }
    }

    fn server(&mut self, server: &SecurityServer) {
        let mut served: HashSet<ClientId> = server.clients.iter().cloned().collect();
        served.insert(ClientId::from(server.id.owner().clone()));
        let number = self.servers.len();
        self.server_numbers
            .entry(server.id.clone())
            .or_insert(number);
        for hash in &server.auth_certificate_hashes {
            if !hash.is_empty() {
                let of_hash = self.auth_certificates.entry(hash.clone()).or_default();
                of_hash.push(number);
            }
        }
        self.servers.push(ServerEntry {
            id: server.id.clone(),
            address: server.address.clone(),
            clients: server.clients.clone(),
            served,
            maintenance: server
                .maintenance
                .as_ref()
                .map(|it| it.message.clone().unwrap_or_default()),
            hashes: server.auth_certificate_hashes.clone(),
        });
    }

    fn providers(&mut self) {
        self.providers.reserve(self.clients.len());
        for server in &self.servers {
            let Some(address) = &server.address else {
                continue;
            };
            let address = ServerAddress {
                server: server.id.clone(),
                address: address.clone(),
                maintenance: server.maintenance.clone(),
            };
            let alone: Arc<[ServerAddress]> = [address.clone()].into();
            // Lists with this server at their end, each by the list that it continues.
            let mut longer: HashMap<usize, [Arc<[ServerAddress]>; 2]> = HashMap::new();
            // Only clients of the server's own instance are looked up there; X-Road keeps one such map per instance.
            let own = |client: &&ClientId| client.instance() == server.id.instance();
            for client in server.served.iter().filter(own) {
                match self.providers.entry(client.clone()) {
                    Entry::Vacant(free) => drop(free.insert(Arc::clone(&alone))),
                    Entry::Occupied(mut held) => {
                        let before = Arc::clone(held.get());
                        let continued = || {
                            let all = before.iter().cloned().chain([address.clone()]).collect();
                            [Arc::clone(&before), all]
                        };
                        let known = longer.entry(before.as_ptr().addr());
                        let [_, all] = known.or_insert_with(continued);
                        held.insert(Arc::clone(all));
                    }
                }
            }
        }
    }
}
