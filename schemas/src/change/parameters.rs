//! What a change of each of jail(8)'s parameters does to a jail that runs: the one table of it.
//!
//! The kernel says of each parameter whether jail_set(2) takes it for a living jail (`CTLFLAG_RW`) or only for a new one (`CTLFLAG_RDTUN`; the comment above `SYSCTL_JAIL_PARAM(, jid` in
//! sys/kern/kern_jail.c). That is necessary and not enough: what the kernel would take but what leaves the running jail other than one that is started with it is a restart here. Which
//! parameters there are, and whose, says `validate::parameters`.

/// What a change of a parameter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// jail_set(2) changes it in the running jail.
    Kernel(Kernel),
    /// jail(8) alone reads it, when the jail stops: its file is written anew.
    File,
    /// The jail is started with it.
    Restart,
}

/// A parameter that the kernel changes in a running jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// What it is in a jail that is started without it; none where that is the host's to say: then taking it away is a restart.
    pub default: Option<&'static str>,
    /// Whether the jail's own root may change it. Such a one is set when the manifest changes and left alone otherwise, but for what only the host can have done: a securelevel that is lower,
    /// and `host.*` without `allow.set_hostname`.
    pub is_jails_own: bool,
}

const fn live(default: &'static str) -> Effect {
    Effect::Kernel(Kernel {
        default: Some(default),
        is_jails_own: false,
    })
}

/// `kern.hostname` and its like are the jail's root's with `allow.set_hostname`, which is on unless it is taken away (`sysctl_hostname`, `sysctl_hostid`, sys/kern/kern_mib.c).
const fn jails_own(default: Option<&'static str>) -> Effect {
    Effect::Kernel(Kernel {
        default,
        is_jails_own: true,
    })
}

/// A permission that a new jail has not.
const DENIED: Effect = live("false");

/// One that it has (`JAIL_DEFAULT_ALLOW`, sys/kern/kern_jail.c).
const ALLOWED: Effect = live("true");

/// Every parameter that an operator may give.
pub const TABLE: &[(&str, Effect)] = &[
    ("ip4.saddrsel", ALLOWED),
    ("ip4", Effect::Restart),
    ("ip6.saddrsel", ALLOWED),
    ("ip6", Effect::Restart),
    // Unless said it is the jail's name, which is no constant: the renderer and the planner put it in.
    ("host.hostname", jails_own(None)),
    ("host.domainname", jails_own(Some(""))),
    (
        "host.hostuuid",
        jails_own(Some("00000000-0000-0000-0000-000000000000")),
    ),
    ("host.hostid", jails_own(Some("0"))),
    // What the jail has in `new` is gone with `inherit`.
    ("host", Effect::Restart),
    // The jail's root may raise it (`sysctl_kern_securelvl`, sys/kern/kern_mib.c), jail_set(2) may lower it. A new jail has the host's.
    ("securelevel", jails_own(None)),
    // jail_set(2) takes it, and the devfs that is mounted keeps the ruleset that it was mounted with.
    ("devfs_ruleset", Effect::Restart),
    ("children.max", live("0")),
    // Unless said it is the host's security.jail.enforce_statfs.
    (
        "enforce_statfs",
        Effect::Kernel(Kernel {
            default: None,
            is_jails_own: false,
        }),
    ),
    ("osrelease", Effect::Restart),
    ("osreldate", Effect::Restart),
    // Programs have read it when they started.
    ("env", Effect::Restart),
    ("allow.set_hostname", ALLOWED),
    // It gives or takes away the namespace that shared memory stands in (`shm_prison_set`, sys/kern/sysv_shm.c).
    ("allow.sysvipc", Effect::Restart),
    ("allow.raw_sockets", DENIED),
    ("allow.chflags", DENIED),
    ("allow.mount", DENIED),
    ("allow.mount.devfs", DENIED),
    ("allow.quotas", DENIED),
    ("allow.read_msgbuf", DENIED),
    ("allow.socket_af", DENIED),
    ("allow.mlock", DENIED),
    // mountd(8) and nfsd(8) look for it when they start. The kernel refuses it to nobody: where the root is no file system of its own it warns when the jail is created, and not later (`kern_jail_set`).
    ("allow.nfsd", Effect::Restart),
    ("allow.reserved_ports", ALLOWED),
    ("allow.unprivileged_parent_tampering", DENIED),
    ("allow.unprivileged_proc_debug", ALLOWED),
    ("allow.suser", ALLOWED),
    ("allow.extattr", DENIED),
    ("allow.adjtime", DENIED),
    ("allow.settime", DENIED),
    ("allow.routing", DENIED),
    ("allow.setaudit", DENIED),
    ("allow.mount.fdescfs", DENIED),
    ("allow.mount.fusefs", DENIED),
    ("allow.mount.nullfs", DENIED),
    ("allow.mount.procfs", DENIED),
    ("allow.mount.linprocfs", DENIED),
    ("allow.mount.linsysfs", DENIED),
    ("allow.mount.tmpfs", DENIED),
    ("allow.mount.zfs", DENIED),
    ("allow.vmm", DENIED),
    ("allow.vmm_ppt", DENIED),
    // What modules keep for a jail was handed to its programs when they started.
    ("linux", Effect::Restart),
    ("linux.osname", Effect::Restart),
    ("linux.osrelease", Effect::Restart),
    ("linux.oss_version", Effect::Restart),
    ("mac.do", Effect::Restart),
    ("mac.do.rules", Effect::Restart),
    // As allow.sysvipc.
    ("sysvmsg", Effect::Restart),
    ("sysvsem", Effect::Restart),
    ("sysvshm", Effect::Restart),
    ("zfs", Effect::Restart),
    ("zfs.mount_snapshot", Effect::Restart),
    // What has run when the jail was started has run with the old one.
    ("exec.prepare", Effect::Restart),
    ("exec.prestart", Effect::Restart),
    ("exec.created", Effect::Restart),
    ("exec.start", Effect::Restart),
    ("exec.poststart", Effect::Restart),
    ("exec.prestop", Effect::File),
    ("exec.stop", Effect::File),
    ("exec.poststop", Effect::File),
    ("exec.release", Effect::File),
    ("exec.clean", Effect::Restart),
    ("exec.jail_user", Effect::Restart),
    ("exec.system_jail_user", Effect::Restart),
    ("exec.system_user", Effect::Restart),
    // What has been started in time is not asked again.
    ("exec.timeout", Effect::File),
    // Daemons have the old one open.
    ("exec.consolelog", Effect::Restart),
    ("exec.fib", Effect::Restart),
    ("stop.timeout", Effect::File),
    ("zfs.dataset", Effect::Restart),
    ("mount.devfs", Effect::Restart),
    ("mount.fdescfs", Effect::Restart),
    ("mount.procfs", Effect::Restart),
];

/// What a change of the parameter does. One that the table lacks, a later release's or a module's, is a restart: nothing is known of it.
#[must_use]
pub fn effect(name: &str) -> Effect {
    let mut table = TABLE.iter();
    let found = table.find(|(known, _)| *known == name);
    found.map_or(Effect::Restart, |(_, effect)| *effect)
}

/// Whether a change of the parameter leaves the jail running; `taken_away`: it is not given any more.
#[must_use]
pub fn is_live(name: &str, taken_away: bool) -> bool {
    match effect(name) {
        // It never goes away: unless said it is the jail's name.
        Effect::Kernel(_) if name == "host.hostname" => true,
        Effect::Kernel(kernel) => !taken_away || kernel.default.is_some(),
        Effect::File => true,
        Effect::Restart => false,
    }
}

#[cfg(test)]
mod tests {
    //! The two tables are about the same parameters.

    use std::collections::BTreeSet;

    use super::*;
    use crate::validate::parameters::{self, Owner};

    #[test]
    fn each_parameter_that_may_be_given_has_one_row() {
        let free = parameters::TABLE
            .iter()
            .filter(|(_, owner)| matches!(owner, Owner::Free(_)));
        let free: BTreeSet<&str> = free.map(|(name, _)| *name).collect();
        let rows: BTreeSet<&str> = TABLE.iter().map(|(name, _)| *name).collect();
        assert_eq!(rows, free);
        assert_eq!(rows.len(), TABLE.len());
    }

    #[test]
    fn what_the_host_decides_is_live_to_change_and_not_to_take_away() {
        assert!(is_live("securelevel", false) && !is_live("securelevel", true));
        assert!(is_live("allow.raw_sockets", true) && is_live("host.hostname", true));
        assert!(!is_live("exec.start", false) && is_live("exec.stop", true));
        assert!(!is_live("allow.of_a_module", false));
    }
}
