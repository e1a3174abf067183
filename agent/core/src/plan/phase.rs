//! The order of operations, as data: removal before creation, in dependency order. Steps of one phase keep the order in which they were planned.

/// When an operation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The kernel must be able to do what follows.
    Module,
    /// Declared sysctls.
    Sysctl,
    /// Rules of what goes are taken away before their states are killed, and before their jails stop.
    ClearAnchor,
    /// New rules stand before the jails that they are for.
    LoadAnchor,
    /// No rule is left that could make them again. Those of a jail that stops for good, or is started again while others share its ports, end after it, in a later plan.
    KillStates,
    /// What refers to our anchors, once their rules stand.
    PfConf,
    /// A NIC comes back before its jail is removed: the kernel gives it back when the jail's network stack ends, which an open connection puts off by minutes (freebsd-facts, section 3).
    ReturnNic,
    /// A jail goes before everything else that it stands on.
    StopJail,
    /// Deepest first.
    Unmount,
    /// Aliases of jails that are gone, and routes to them.
    RemoveAddress,
    /// Epairs and ng_eifaces go after their jails: a jail whose epair went first died 19 s later (freebsd-facts, section 3).
    DestroyEpair,
    /// A bridge lets go of the host's own NIC before it is destroyed, a lagg of its ports, a vlan of its tag.
    RemoveMember,
    /// Bridges, netgraph switches and loopbacks without users, vlans and laggs that nothing stands upon.
    DestroyInterface,
    /// What the host's own interfaces and sysctls were before.
    Restore,
    /// Roots of jails that are gone, once nothing is mounted in them, and images that nothing is made of.
    RemoveRoot,
    /// The last traces of a jail: the states of its addresses, then its file; the ledger forgets it with that.
    RemoveFile,
    /// Images, and roots made of them: they go on beside everything that follows.
    MakeRoot,
    /// Laggs, vlans, loopbacks, bridges, netgraph switches and the host's interfaces at these.
    CreateInterface,
    /// Their MAC addresses and MTUs; a lagg's ports, a vlan's tag.
    ShapeInterface,
    /// Uplinks join before jails, so that the bridge's MTU is theirs.
    AddUplink,
    /// Addresses of bridges and of the host's interfaces at switches, which are gateways.
    AddGateway,
    /// Ng_eifaces, and epairs, their MTU set before they join a bridge: a member's MTU cannot be set (recording `02`).
    CreateEpair,
    /// Host ends join their bridges, ng_eifaces their switches.
    AddMember,
    /// Aliases for shared-IP jails, and addresses of host ends of routed links.
    AddAddress,
    /// Routes to jails over them.
    AddRoute,
    /// Resource limits, before the programs that they are for.
    AddLimit,
    /// Those of jails that are gone, and those that others have taken the place of.
    RemoveLimit,
    /// What is changed in a jail that runs, before its file says so: the ledger has the names before, and that it is done with the file.
    SetJail,
    /// jail.conf files.
    WriteFile,
    /// Jails, each after the states of addresses that it had and has no more.
    StartJail,
    /// What drifted inside a running VNET jail.
    RepairVnet,
}
