//! Processes and TCP connections, as far as jails and their stacks hang on them.
//!
//! A process is a command line in a jail that may end by itself; a connection is what keeps the stack of a dying jail alive.

use std::time::Duration;

use super::Kernel;
use super::ifnet::{Driver, IfId};
use super::timer::Timer;
use super::vnet::VnetId;

/// One process in a jail.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) jid: i32,
    pub(crate) command: String,
    /// Whether SIGTERM ends it.
    pub(crate) heeds_term: bool,
}

/// One established TCP connection, seen from the stack that would linger.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) stack: VnetId,
    /// The interface it runs over.
    pub(crate) interface: Option<IfId>,
    /// When the other side closes.
    pub(crate) peer_closes: Duration,
}

impl Kernel {
    /// Starts a process; with a lifetime it ends by itself.
    pub(crate) fn spawn(
        &mut self,
        jid: i32,
        command: &str,
        heeds_term: bool,
        lifetime: Option<Duration>,
    ) -> u32 {
        self.last_pid += 1;
        let pid = self.last_pid;
        self.processes.insert(
            pid,
            Process {
                jid,
                command: command.to_owned(),
                heeds_term,
            },
        );
        if let Some(jail) = self.jails.all.get_mut(&jid) {
            jail.processes.insert(pid);
        }
        if let Some(lifetime) = lifetime {
            self.schedule(lifetime, Timer::ProcessExits { pid });
        }
        pid
    }

    /// A process ends; a jail that does not persist ends with its last one.
    pub(crate) fn process_exits(&mut self, pid: u32) {
        let Some(process) = self.processes.remove(&pid) else {
            return;
        };
        let Some(jail) = self.jails.all.get_mut(&process.jid) else {
            return;
        };
        jail.processes.remove(&pid);
        if jail.processes.is_empty() && !jail.persist {
            self.jail_remove(process.jid);
        }
    }

    /// An established connection of `stack` whose other side closes at `peer_closes` (absolute virtual time).
    pub(crate) fn connect(
        &mut self,
        stack: VnetId,
        interface: Option<IfId>,
        peer_closes: Duration,
    ) {
        self.connections.push(Connection {
            stack,
            interface,
            peer_closes,
        });
    }

    /// A destroyed interface carries nothing any more: the far side's silence is then all there is to wait for.
    pub(crate) fn connections_lose_interface(&mut self, id: IfId) {
        for connection in &mut self.connections {
            if connection.interface == Some(id) {
                connection.interface = None;
            }
        }
    }

    /// How long a dying stack lingers: twice its own `net.inet.tcp.msl` after the last connection closed on both sides
    /// (recordings `11`, `14`).
    pub(crate) fn connections_linger(&mut self, stack: VnetId) -> Duration {
        let msl = self
            .vnet_sysctl_number(stack, "net.inet.tcp.msl")
            .unwrap_or(30_000);
        let now = self.now;
        let linger = Duration::from_millis(u64::try_from(msl).unwrap_or(0)) * 2;
        let longest = self
            .connections
            .iter()
            .filter(|connection| connection.stack == stack && connection.peer_closes > now)
            .map(|connection| {
                if connection.interface.is_some() {
                    connection.peer_closes - now + linger
                } else {
                    linger
                }
            })
            .max();
        self.connections
            .retain(|connection| connection.stack != stack);
        longest.unwrap_or(Duration::ZERO)
    }

    /// The interface over which `stack` reaches `address`, for a connection's sake.
    pub(crate) fn interface_towards(
        &self,
        stack: VnetId,
        address: std::net::IpAddr,
    ) -> Option<IfId> {
        let (_, route) = self.route_lookup(stack, 0, address)?;
        Some(match &self.ifnet(route.interface).driver {
            Driver::Loopback => match address {
                std::net::IpAddr::V4(address) => self
                    .vnet(stack)
                    .inet
                    .get(&address)
                    .and_then(|holders| holders.first().copied())
                    .unwrap_or(route.interface),
                std::net::IpAddr::V6(_) => route.interface,
            },
            Driver::Nic
            | Driver::Epair { .. }
            | Driver::Bridge(_)
            | Driver::Lagg(_)
            | Driver::Vlan(_)
            | Driver::Eiface { .. } => route.interface,
        })
    }
}

impl Kernel {
    /// The stack that has the address on one of its interfaces; the first found if several have it.
    pub(crate) fn stack_of_address(&self, address: std::net::IpAddr) -> Option<VnetId> {
        match address {
            std::net::IpAddr::V4(address) => self
                .vnets
                .iter()
                .find(|(_, vnet)| vnet.inet.contains_key(&address))
                .map(|(id, _)| *id),
            std::net::IpAddr::V6(address) => self
                .inet6_holders
                .get(&address)
                .and_then(|holders| holders.first())
                .map(|id| self.ifnet(*id).vnet),
        }
    }
}
