//! Processes and TCP connections, as far as jails and their stacks hang on them.
//!
//! A process is a command line in a jail that may end by itself; a connection is what keeps the stack of a dying jail alive.

use std::time::Duration;

use super::Kernel;
use super::ifnet::{Driver, IfId};
use super::timer::Timer;
use super::vnet::{HOST, VnetId};

/// One process in a jail.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) jid: i32,
    pub(crate) command: String,
    /// Whether SIGTERM ends it.
    pub(crate) heeds_term: bool,
}

/// TCPTV_KEEPINTVL (sys/netinet/tcp_timer.h).
const KEEP_INTERVAL: Duration = Duration::from_secs(75);

/// How long a connection that we closed and the other side did not is kept in FIN_WAIT_2: TP_MAXIDLE, TCPTV_KEEPCNT intervals, and one more, because at its end the connection has not been
/// idle for longer than that (`tcp_timer_2msl`, sys/netinet/tcp_timer.c).
const FIN_WAIT_2: Duration = KEEP_INTERVAL.saturating_mul(9);

/// One established TCP connection, seen from the stack that would linger.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) stack: VnetId,
    /// The interface it runs over.
    pub(crate) interface: Option<IfId>,
    /// When the other side closes.
    pub(crate) peer_closes: Duration,
    /// When this side did, with its jail.
    pub(crate) closed: Option<Duration>,
    /// When the stack forgets it then.
    pub(crate) forgotten: Duration,
}

/// The command line of the dhclient(8) that holds an interface.
pub(crate) fn dhclient(interface: &str) -> String {
    format!("dhclient: {interface}")
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

    /// RTM_IFANNOUNCE of an interface that leaves a stack or its name: a dhclient(8) that holds it ends (`routehandler`, sbin/dhclient/dhclient.c).
    pub(crate) fn announce_departure(&mut self, stack: VnetId, interface: &str) {
        let command = dhclient(interface);
        let is_of = |process: &Process| {
            let jail = self.jail(process.jid);
            process.command == command && jail.map_or(HOST, |jail| jail.stack) == stack
        };
        let processes = self.processes.iter();
        let held: Vec<u32> = processes
            .filter(|(_, process)| is_of(process))
            .map(|(pid, _)| *pid)
            .collect();
        for pid in held {
            self.process_exits(pid);
        }
    }

    /// Whether it has not ended.
    pub(crate) fn has_process(&self, pid: u32) -> bool {
        self.processes.contains_key(&pid)
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
            closed: None,
            forgotten: Duration::MAX,
        });
    }

    /// A destroyed interface carries nothing any more: of a connection that this side has closed, the other side's end never comes.
    pub(crate) fn connections_lose_interface(&mut self, id: IfId) {
        let now = self.now;
        for connection in &mut self.connections {
            if connection.interface == Some(id) {
                connection.interface = None;
                if let Some(closed) = connection.closed.filter(|_| connection.peer_closes > now) {
                    connection.forgotten = closed + FIN_WAIT_2;
                }
            }
        }
    }

    /// The connections of a stack whose jail is removed are closed on this side. How long it lingers as things stand: twice its own `net.inet.tcp.msl` after the last of them closed on both
    /// sides (recordings `11`, `14`), and where the other side does not close, until they are given up.
    pub(crate) fn connections_linger(&mut self, stack: VnetId) -> Duration {
        let msl = self
            .vnet_sysctl_number(stack, "net.inet.tcp.msl")
            .unwrap_or(30_000);
        let now = self.now;
        let linger = Duration::from_millis(u64::try_from(msl).unwrap_or(0)) * 2;
        self.connections
            .retain(|connection| connection.stack != stack || connection.peer_closes > now);
        let own = |connection: &&mut Connection| connection.stack == stack;
        for connection in self.connections.iter_mut().filter(own) {
            connection.closed = Some(now);
            connection.forgotten = if connection.interface.is_none() {
                now + linger
            } else if connection.peer_closes < now + FIN_WAIT_2 {
                connection.peer_closes + linger
            } else {
                now + FIN_WAIT_2
            };
        }
        self.last_forgotten(stack).saturating_sub(now)
    }

    /// A dying stack goes once its last connection is forgotten, which may have come to be later than it looked when its jail was removed.
    pub(crate) fn dying_stack_may_go(&mut self, jid: i32) {
        let Some(stack) = self.jail(jid).map(|jail| jail.stack) else {
            return;
        };
        let left = self.last_forgotten(stack).saturating_sub(self.now);
        if !left.is_zero() {
            return self.schedule(left, Timer::JailGone { jid });
        }
        self.connections
            .retain(|connection| connection.stack != stack);
        self.jail_gone(jid);
    }

    fn last_forgotten(&self, stack: VnetId) -> Duration {
        let own = self.connections.iter();
        own.filter(|connection| connection.stack == stack)
            .map(|connection| connection.forgotten)
            .max()
            .unwrap_or(Duration::ZERO)
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
