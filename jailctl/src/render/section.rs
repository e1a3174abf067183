//! The parts in which an operator would keep what is done to a host, and which operation belongs to which.
//!
//! Their order is that in which they are done: nothing needs what comes behind it.

use std::collections::BTreeSet;

use cellblock_agent_core::names;
use cellblock_agent_core::op::{Op, Step, Subject};
use cellblock_schemas::view::HostView;

/// One part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    /// Modules and sysctls.
    Kernel,
    /// Loopbacks, bridges, laggs, vlans, and all addresses on interfaces that are not made for one jail alone.
    Interfaces,
    /// Switches, uplinks at them, and the host's own interfaces there.
    Netgraph,
    /// Routing tables.
    Routes,
    /// Anchors.
    Pf,
    /// Files of the host.
    Files,
    /// Everything of one jail, in the order in which it is done.
    Jail,
}

impl Section {
    /// Its name in a heading and in a document.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Interfaces => "interfaces",
            Self::Netgraph => "netgraph",
            Self::Routes => "routes",
            Self::Pf => "pf",
            Self::Files => "files",
            Self::Jail => "jail",
        }
    }
}

/// Interfaces that belong to a part by their names.
pub(super) struct Interfaces {
    /// The host's own at netgraph switches.
    ports: BTreeSet<String>,
    /// The host ends of jails' links.
    ends: BTreeSet<String>,
}

impl Interfaces {
    /// Those of a view.
    pub(super) fn of(view: &HostView) -> Self {
        let networks = view.networks.values();
        let jails = view.jails.values();
        let ends = jails.flat_map(|jail| {
            let bound = jail.binding.attachments.iter();
            bound.map(|bound| names::epair_host_end(&jail.uid, &bound.interface))
        });
        Self {
            ports: networks
                .map(|network| names::switch_port(&network.uid))
                .collect(),
            ends: ends.collect(),
        }
    }

    /// The part that a step belongs to.
    ///
    /// An address of a jail on an interface that others use too comes before the routes that lead by it, as in a plan.
    pub(super) fn section(&self, step: &Step) -> Section {
        let is_alias =
            matches!(&step.op, Op::AddAddress { interface, .. } if !self.ends.contains(interface));
        match &step.subject {
            Subject::Jail(_) if !is_alias => Section::Jail,
            Subject::Jail(_) | Subject::Host | Subject::HostPart(_) | Subject::Network(_) => {
                of(&step.op, &self.ports)
            }
        }
    }
}

fn of(op: &Op, ports: &BTreeSet<String>) -> Section {
    match op {
        Op::LoadModule { .. } | Op::SetSysctl { .. } => Section::Kernel,
        Op::CreateSwitch { .. }
        | Op::SetSwitch { .. }
        | Op::ConnectUplink { .. }
        | Op::DisconnectUplink { .. }
        | Op::SetEther { .. }
        | Op::CreateEiface(_)
        | Op::ConnectEiface { .. }
        | Op::DisconnectEiface { .. }
        | Op::ShutdownNode { .. } => Section::Netgraph,
        Op::SetMac { interface, .. }
        | Op::SetMtu { interface, .. }
        | Op::SetUp { interface, .. }
        | Op::DisableInet6 { interface }
        | Op::AddAddress { interface, .. }
        | Op::RemoveAddress { interface, .. }
        | Op::DestroyInterface {
            name: interface, ..
        } => {
            if ports.contains(interface) {
                Section::Netgraph
            } else {
                Section::Interfaces
            }
        }
        Op::CreateLoopback { .. }
        | Op::CreateBridge { .. }
        | Op::CreateLagg { .. }
        | Op::SetLagg { .. }
        | Op::RemovePort { .. }
        | Op::CreateVlan { .. }
        | Op::SetVlan { .. }
        | Op::UnsetVlan { .. }
        | Op::CreateEpair(_)
        | Op::AddMember { .. }
        | Op::RemoveMember { .. }
        | Op::SetMemberFlag { .. }
        | Op::RestoreNic { .. } => Section::Interfaces,
        Op::AddRoute { .. }
        | Op::RemoveRoute { .. }
        | Op::AddTableRoute { .. }
        | Op::RemoveTableRoute { .. } => Section::Routes,
        Op::LoadAnchor { .. }
        | Op::ClearAnchor { .. }
        | Op::SetPfConf { .. }
        | Op::KillStates { .. }
        | Op::KillTranslated { .. }
        | Op::KillBetween { .. }
        | Op::KillUnpermitted { .. }
        | Op::KillLabelled { .. } => Section::Pf,
        Op::WriteFile { .. }
        | Op::RemoveFile { .. }
        | Op::RotateConsole { .. }
        | Op::MarkStorage { .. }
        | Op::FetchImage { .. }
        | Op::UnpackBase { .. }
        | Op::MakeRoot { .. }
        | Op::RemoveRoot { .. }
        | Op::RemoveImage { .. }
        | Op::CreateDataset { .. }
        | Op::SnapshotDataset { .. }
        | Op::CloneDataset { .. }
        | Op::DestroyDataset { .. } => Section::Files,
        Op::StartJail { .. }
        | Op::StopJail { .. }
        | Op::SetJail { .. }
        | Op::AddLimit { .. }
        | Op::RemoveLimit { .. }
        | Op::Unmount { .. }
        | Op::ReturnNic { .. }
        | Op::MoveToVnet { .. }
        | Op::RenameInVnet { .. }
        | Op::AddAddressInVnet { .. }
        | Op::RemoveAddressInVnet { .. }
        | Op::SetMtuInVnet { .. }
        | Op::UpInVnet { .. }
        | Op::AcceptRtadvInVnet { .. }
        | Op::AddLinkRouteInVnet { .. }
        | Op::SetDefaultRouteInVnet { .. }
        | Op::LoadAnchorInVnet { .. }
        | Op::RaiseInVnet { .. } => Section::Jail,
    }
}
