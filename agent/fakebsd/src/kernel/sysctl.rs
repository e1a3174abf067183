//! The sysctl tree: which OIDs there are, in the order the kernel lists them, and their values.
//!
//! OIDs come and go with modules. Those that every network stack has for itself are marked; their values live in the stack.

use super::Kernel;
use super::errno::Errno;
use super::vnet::{HOST, VnetId};

/// What an OID is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only a name; `sysctl -N` lists it.
    Node,
    /// Read and written, with its value at boot.
    Writable(&'static str),
    /// As `Writable`, one value per stack.
    PerStack(&'static str),
    /// Settable by the loader only, with its value at boot.
    Tunable(&'static str),
    /// Read-only.
    Fixed(&'static str),
    /// Computed when asked.
    Computed,
}

/// One OID.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Oid {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The module that brings it.
    module: Option<&'static str>,
}

const fn oid(name: &'static str, kind: Kind) -> Oid {
    Oid {
        name,
        kind,
        module: None,
    }
}

const fn module_oid(module: &'static str, name: &'static str, kind: Kind) -> Oid {
    Oid {
        name,
        kind,
        module: Some(module),
    }
}

/// "Create a loopback route when configuring an IPv6 address" (sys/netinet6/in6.c).
pub(crate) const USE_LOOPBACK: &str = "net.inet6.icmp6.nd6_useloopback";

/// The level of whoever asks: each jail has its own.
const SECURELEVEL: &str = "kern.securelevel";

/// Every OID the emulated kernel can have, in listing order within each subtree (recordings `01`, `07`, `12`).
const OIDS: &[Oid] = &[
    oid("kern.ostype", Kind::Fixed("FreeBSD")),
    oid("kern.osrelease", Kind::Computed),
    oid("kern.osreldate", Kind::Computed),
    oid("kern.hostname", Kind::Computed),
    oid("kern.hostuuid", Kind::Computed),
    oid("kern.boottime", Kind::Computed),
    oid(SECURELEVEL, Kind::Writable("-1")),
    oid("hw.machine", Kind::Fixed("amd64")),
    oid("kern.features.rctl", Kind::Fixed("1")),
    oid("kern.features.vimage", Kind::Fixed("1")),
    oid("kern.racct.enable", Kind::Computed),
    oid("net.fibs", Kind::Computed),
    oid("net.my_fibnum", Kind::Computed),
    oid("net.add_addr_allfibs", Kind::PerStack("0")),
    oid("net.inet.ip.forwarding", Kind::PerStack("0")),
    oid("net.inet.tcp.msl", Kind::PerStack("30000")),
    oid("net.inet6.ip6.forwarding", Kind::PerStack("0")),
    oid("net.inet6.ip6.rfc6204w3", Kind::PerStack("0")),
    oid("net.inet6.ip6.accept_rtadv", Kind::PerStack("0")),
    oid("net.inet6.ip6.dad_count", Kind::PerStack("1")),
    oid(USE_LOOPBACK, Kind::PerStack("1")),
    module_oid(
        "if_epair",
        "net.link.epair.netisr_maxqlen",
        Kind::Writable("2100"),
    ),
    module_oid(
        "if_epair",
        "net.link.epair.ether_gen_addr",
        Kind::Tunable("1"),
    ),
    module_oid("if_bridge", "net.link.bridge.ipfw", Kind::Writable("0")),
    module_oid(
        "if_bridge",
        "net.link.bridge.member_ifaddrs",
        Kind::Writable("1"),
    ),
    module_oid(
        "if_bridge",
        "net.link.bridge.log_mac_flap",
        Kind::Writable("1"),
    ),
    module_oid(
        "if_bridge",
        "net.link.bridge.allow_llz_overlap",
        Kind::Writable("0"),
    ),
    module_oid(
        "if_bridge",
        "net.link.bridge.inherit_mac",
        Kind::Writable("0"),
    ),
    module_oid("if_bridge", "net.link.bridge.log_stp", Kind::Writable("0")),
    module_oid(
        "if_bridge",
        "net.link.bridge.pfil_local_phys",
        Kind::Writable("0"),
    ),
    module_oid(
        "if_bridge",
        "net.link.bridge.pfil_member",
        Kind::Writable("0"),
    ),
    module_oid("if_bridge", "net.link.bridge.ipfw_arp", Kind::Writable("0")),
    module_oid(
        "if_bridge",
        "net.link.bridge.pfil_bridge",
        Kind::Writable("0"),
    ),
    module_oid(
        "if_bridge",
        "net.link.bridge.pfil_onlyip",
        Kind::Writable("1"),
    ),
    module_oid(
        "if_lagg",
        "net.link.lagg.lacp.default_strict_mode",
        Kind::Writable("1"),
    ),
    module_oid("if_lagg", "net.link.lagg.lacp.debug", Kind::Writable("0")),
    module_oid(
        "if_lagg",
        "net.link.lagg.default_flowid_shift",
        Kind::Writable("16"),
    ),
    module_oid(
        "if_lagg",
        "net.link.lagg.default_use_numa",
        Kind::Writable("1"),
    ),
    module_oid(
        "if_lagg",
        "net.link.lagg.default_use_flowid",
        Kind::Writable("0"),
    ),
    module_oid(
        "if_lagg",
        "net.link.lagg.failover_rx_all",
        Kind::Writable("0"),
    ),
    module_oid("ng_socket", "net.graph.recvspace", Kind::Writable("20480")),
    module_oid("pf", "net.pf.filter_local", Kind::PerStack("0")),
    oid("security.jail.mount_tmpfs_allowed", Kind::Fixed("0")),
    oid("security.jail.mount_procfs_allowed", Kind::Fixed("0")),
    oid("security.jail.mount_devfs_allowed", Kind::Fixed("0")),
    oid("security.jail.env", Kind::Fixed("")),
    oid("security.jail.meta_maxbufsize", Kind::Writable("4096")),
    module_oid("zfs", "security.jail.param.zfs", Kind::Node),
    module_oid(
        "zfs",
        "security.jail.param.zfs.mount_snapshot",
        Kind::Fixed("0"),
    ),
    module_oid("zfs", "security.jail.param.zfs.", Kind::Fixed("0")),
    oid("security.jail.param.mac", Kind::Node),
    oid("security.jail.param.sysvshm", Kind::Node),
    oid("security.jail.param.sysvshm.", Kind::Fixed("0")),
    oid("security.jail.param.sysvsem", Kind::Node),
    oid("security.jail.param.sysvsem.", Kind::Fixed("0")),
    oid("security.jail.param.sysvmsg", Kind::Node),
    oid("security.jail.param.sysvmsg.", Kind::Fixed("0")),
    oid("security.jail.param.env", Kind::Fixed("4096")),
    oid("security.jail.param.meta", Kind::Fixed("4096")),
    oid("security.jail.param.allow", Kind::Node),
    oid("security.jail.param.allow.mount", Kind::Node),
    module_oid(
        "zfs",
        "security.jail.param.allow.mount.zfs",
        Kind::Fixed("0"),
    ),
    module_oid(
        "nullfs",
        "security.jail.param.allow.mount.nullfs",
        Kind::Fixed("0"),
    ),
    oid("security.jail.param.allow.mount.tmpfs", Kind::Fixed("0")),
    oid("security.jail.param.allow.mount.procfs", Kind::Fixed("0")),
    oid("security.jail.param.allow.mount.devfs", Kind::Fixed("0")),
    oid("security.jail.param.allow.mount.", Kind::Fixed("0")),
    oid("security.jail.param.allow.setaudit", Kind::Fixed("0")),
    oid("security.jail.param.allow.routing", Kind::Fixed("0")),
    oid("security.jail.param.allow.settime", Kind::Fixed("0")),
    oid("security.jail.param.allow.adjtime", Kind::Fixed("0")),
    oid("security.jail.param.allow.extattr", Kind::Fixed("0")),
    oid("security.jail.param.allow.nfsd", Kind::Fixed("0")),
    oid("security.jail.param.allow.suser", Kind::Fixed("0")),
    oid(
        "security.jail.param.allow.unprivileged_parent_tampering",
        Kind::Fixed("0"),
    ),
    oid(
        "security.jail.param.allow.unprivileged_proc_debug",
        Kind::Fixed("0"),
    ),
    oid("security.jail.param.allow.read_msgbuf", Kind::Fixed("0")),
    oid("security.jail.param.allow.reserved_ports", Kind::Fixed("0")),
    oid("security.jail.param.allow.mlock", Kind::Fixed("0")),
    oid("security.jail.param.allow.socket_af", Kind::Fixed("0")),
    oid("security.jail.param.allow.quotas", Kind::Fixed("0")),
    oid("security.jail.param.allow.chflags", Kind::Fixed("0")),
    oid("security.jail.param.allow.raw_sockets", Kind::Fixed("0")),
    oid("security.jail.param.allow.sysvipc", Kind::Fixed("0")),
    oid("security.jail.param.allow.set_hostname", Kind::Fixed("0")),
    oid("security.jail.param.ip6", Kind::Node),
    oid("security.jail.param.ip6.saddrsel", Kind::Fixed("0")),
    oid("security.jail.param.ip6.addr", Kind::Node),
    oid("security.jail.param.ip6.", Kind::Fixed("0")),
    oid("security.jail.param.ip4", Kind::Node),
    oid("security.jail.param.ip4.saddrsel", Kind::Fixed("0")),
    oid("security.jail.param.ip4.addr", Kind::Node),
    oid("security.jail.param.ip4.", Kind::Fixed("0")),
    oid("security.jail.param.cpuset", Kind::Node),
    oid("security.jail.param.cpuset.id", Kind::Fixed("0")),
    oid("security.jail.param.host", Kind::Node),
    oid("security.jail.param.host.hostid", Kind::Fixed("0")),
    oid("security.jail.param.host.hostuuid", Kind::Fixed("64")),
    oid("security.jail.param.host.domainname", Kind::Fixed("256")),
    oid("security.jail.param.host.hostname", Kind::Fixed("256")),
    oid("security.jail.param.host.", Kind::Fixed("0")),
    oid("security.jail.param.children", Kind::Node),
    oid("security.jail.param.children.max", Kind::Fixed("0")),
    oid("security.jail.param.children.cur", Kind::Fixed("0")),
    oid("security.jail.param.dying", Kind::Fixed("0")),
    oid("security.jail.param.vnet", Kind::Fixed("0")),
    oid("security.jail.param.persist", Kind::Fixed("0")),
    oid("security.jail.param.devfs_ruleset", Kind::Fixed("0")),
    oid("security.jail.param.enforce_statfs", Kind::Fixed("0")),
    oid("security.jail.param.osrelease", Kind::Fixed("32")),
    oid("security.jail.param.osreldate", Kind::Fixed("0")),
    oid("security.jail.param.securelevel", Kind::Fixed("0")),
    oid("security.jail.param.path", Kind::Fixed("1024")),
    oid("security.jail.param.name", Kind::Fixed("256")),
    oid("security.jail.param.parent", Kind::Fixed("0")),
    oid("security.jail.param.jid", Kind::Fixed("0")),
    oid("security.jail.children.cur", Kind::Computed),
    oid("security.jail.children.max", Kind::Computed),
    oid("security.jail.devfs_ruleset", Kind::Writable("0")),
    oid("security.jail.enforce_statfs", Kind::Writable("2")),
    oid("security.jail.mlock_allowed", Kind::Writable("0")),
    oid("security.jail.mount_allowed", Kind::Writable("0")),
    oid("security.jail.chflags_allowed", Kind::Writable("0")),
    oid("security.jail.allow_raw_sockets", Kind::Writable("0")),
    oid("security.jail.sysvipc_allowed", Kind::Writable("0")),
    oid("security.jail.socket_unixiproute_only", Kind::Writable("1")),
    oid("security.jail.set_hostname_allowed", Kind::Writable("1")),
    oid("security.jail.jail_max_af_ips", Kind::Writable("255")),
    oid("security.jail.vnet", Kind::Computed),
    oid("security.jail.jailed", Kind::Computed),
];

/// Who asks: the jail (0: none), its stack and the process's fib.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) jid: i32,
    pub(crate) stack: VnetId,
    pub(crate) fib: u32,
}

impl Asker {
    /// A process on the host itself.
    pub(crate) const HOST: Asker = Asker {
        jid: 0,
        stack: HOST,
        fib: 0,
    };
}

impl Kernel {
    fn oid_exists(&self, oid: &Oid) -> bool {
        let jail_meta = matches!(
            oid.name,
            "security.jail.param.meta"
                | "security.jail.param.env"
                | "security.jail.env"
                | "security.jail.meta_maxbufsize"
        );
        (self.release.has_jail_meta() || !jail_meta)
            && oid.module.is_none_or(|module| self.module_loaded(module))
    }

    pub(crate) fn find_oid(&self, name: &str) -> Option<&'static Oid> {
        OIDS.iter()
            .find(|oid| oid.name == name && self.oid_exists(oid))
    }

    /// The OIDs at or below `name`, in listing order.
    pub(crate) fn oids_below(&self, name: &str) -> Vec<&'static Oid> {
        let prefix = format!("{name}.");
        OIDS.iter()
            .filter(|oid| {
                (oid.name == name || oid.name.starts_with(&prefix)) && self.oid_exists(oid)
            })
            .collect()
    }

    /// The names of the jail parameters this kernel has, with `true` for subsystems (`host`, `sysvshm`, …).
    pub(crate) fn jail_parameter_exists(&self, name: &str) -> bool {
        let full = format!("security.jail.param.{name}");
        self.find_oid(&full).is_some()
    }

    pub(crate) fn sysctl_value(&self, asker: Asker, oid: &Oid) -> String {
        match oid.kind {
            Kind::Writable(_) if oid.name == SECURELEVEL => {
                self.securelevel_of(asker.jid).to_string()
            }
            Kind::Node => String::new(),
            Kind::Fixed(value) | Kind::Tunable(value) => value.to_owned(),
            Kind::Writable(value) => self
                .sysctls
                .get(oid.name)
                .cloned()
                .unwrap_or_else(|| value.to_owned()),
            Kind::PerStack(value) => self
                .vnet(asker.stack)
                .sysctls
                .get(oid.name)
                .cloned()
                .unwrap_or_else(|| value.to_owned()),
            Kind::Computed => self.computed(asker, oid.name),
        }
    }

    fn computed(&self, asker: Asker, name: &str) -> String {
        let jail = self.jail(asker.jid);
        match name {
            "kern.osrelease" => jail.map_or_else(
                || self.release.name().to_owned(),
                |jail| jail.osrelease.clone(),
            ),
            "kern.osreldate" => jail.map_or_else(
                || self.release.osreldate().to_string(),
                |jail| jail.osreldate.to_string(),
            ),
            "kern.hostname" => {
                jail.map_or_else(|| self.hostname.clone(), |jail| jail.hostname.clone())
            }
            "kern.hostuuid" => {
                jail.map_or_else(|| self.hostuuid.clone(), |jail| jail.hostuuid.clone())
            }
            "kern.racct.enable" => u8::from(self.racct).to_string(),
            "kern.boottime" => format!("{{ sec = {}, usec = 0 }}", self.boot_epoch_s()),
            "net.fibs" => self.vnet(asker.stack).fibs.len().to_string(),
            "net.my_fibnum" => asker.fib.to_string(),
            "security.jail.children.cur" => jail
                .map_or(self.jails.all.len(), |jail| jail.children.len())
                .to_string(),
            "security.jail.children.max" => {
                jail.map_or(999_999, |jail| jail.children_max).to_string()
            }
            "security.jail.vnet" => u8::from(jail.is_some_and(|jail| jail.owns_stack)).to_string(),
            "security.jail.jailed" => u8::from(jail.is_some()).to_string(),
            _ => String::new(),
        }
    }

    /// Sets an OID. EPERM for what cannot be set, ENOTCAPABLE for fewer fibs (recording `04`).
    pub(crate) fn sysctl_set(
        &mut self,
        asker: Asker,
        oid: &'static Oid,
        value: &str,
    ) -> Result<(), Errno> {
        match oid.kind {
            Kind::Writable(_) if oid.name == SECURELEVEL => self.raise_securelevel(asker, value),
            Kind::Writable(_) => {
                self.sysctls.insert(oid.name, value.to_owned());
                Ok(())
            }
            Kind::PerStack(_) => {
                self.vnet_mut(asker.stack)
                    .sysctls
                    .insert(oid.name, value.to_owned());
                Ok(())
            }
            Kind::Computed if oid.name == "net.fibs" => self.set_fibs(asker.stack, value),
            Kind::Computed if oid.name == "kern.hostuuid" && asker.jid == 0 => {
                value.clone_into(&mut self.hostuuid);
                Ok(())
            }
            Kind::Computed if oid.name == "kern.hostname" => {
                match self.jails.all.get_mut(&asker.jid) {
                    Some(jail) => value.clone_into(&mut jail.hostname),
                    None => value.clone_into(&mut self.hostname),
                }
                Ok(())
            }
            Kind::Computed | Kind::Node | Kind::Fixed(_) | Kind::Tunable(_) => Err(Errno::EPERM),
        }
    }

    /// The securelevel of a jail, or of the host (0).
    pub(crate) fn securelevel_of(&self, jid: i32) -> i64 {
        let of_host = || self.sysctls.get(SECURELEVEL)?.parse().ok();
        match self.jail(jid) {
            Some(jail) => jail.securelevel,
            None => of_host().unwrap_or(-1),
        }
    }

    /// Raised only, with that of every jail below (`sysctl_kern_securelvl`, sys/kern/kern_mib.c).
    fn raise_securelevel(&mut self, asker: Asker, value: &str) -> Result<(), Errno> {
        let level: i64 = value.parse().map_err(|_| Errno::EINVAL)?;
        if level < self.securelevel_of(asker.jid) {
            return Err(Errno::EPERM);
        }
        let mut below = vec![asker.jid];
        if asker.jid == 0 {
            self.sysctls.insert(SECURELEVEL, level.to_string());
            below.extend(self.jails.all.keys());
        }
        while let Some(jid) = below.pop() {
            if let Some(jail) = self.jails.all.get_mut(&jid) {
                jail.securelevel = jail.securelevel.max(level);
                below.extend(&jail.children);
            }
        }
        Ok(())
    }

    fn set_fibs(&mut self, stack: VnetId, value: &str) -> Result<(), Errno> {
        let wanted: usize = value.parse().map_err(|_| Errno::EINVAL)?;
        let fibs = &mut self.vnet_mut(stack).fibs;
        if wanted < fibs.len() {
            return Err(Errno::ENOTCAPABLE);
        }
        if wanted > 65536 {
            return Err(Errno::EINVAL);
        }
        fibs.resize_with(wanted, Default::default);
        Ok(())
    }

    /// The number an OID of the host holds.
    pub(crate) fn sysctl_number(&self, name: &str) -> Option<i64> {
        self.find_oid(name)
            .and_then(|oid| self.sysctl_value(Asker::HOST, oid).parse().ok())
    }

    pub(crate) fn vnet_sysctl_number(&self, stack: VnetId, name: &str) -> Option<i64> {
        let asker = Asker {
            stack,
            ..Asker::HOST
        };
        self.find_oid(name)
            .and_then(|oid| self.sysctl_value(asker, oid).parse().ok())
    }

    /// Every OID that has another value than the kernel boots with, for the fingerprint.
    pub(crate) fn changed_sysctls(&self) -> Vec<String> {
        let is_changed = |(name, value): &(&&'static str, &String)| {
            let kind = self.find_oid(name).map(|oid| oid.kind);
            !matches!(kind, Some(Kind::Writable(default) | Kind::PerStack(default)) if default == value.as_str())
        };
        let host = self
            .sysctls
            .iter()
            .filter(is_changed)
            .map(|(name, value)| format!("sysctl {name}={value}"));
        let stacks = self.vnets.iter().flat_map(|(id, vnet)| {
            vnet.sysctls
                .iter()
                .filter(is_changed)
                .map(move |(name, value)| format!("sysctl vnet{} {name}={value}", id.0))
        });
        host.chain(stacks).collect()
    }
}
