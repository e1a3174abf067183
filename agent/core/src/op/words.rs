//! Operations in words, one line each: what `jailctl plan` prints.

use std::fmt;
use std::net::IpAddr;

use super::Op;
use crate::image::{layout_word, short, snapshot};

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoadModule { module } => write!(f, "load module {module}"),
            Self::SetSysctl { oid, value } => write!(f, "set sysctl {oid}={value}"),
            Self::CreateLoopback { name, description } => {
                write!(f, "create loopback {name} ({description})")
            }
            Self::CreateBridge {
                name,
                description,
                mac,
            } => write!(f, "create bridge {name} {mac} ({description})"),
            Self::CreateLagg { name, description } => {
                write!(f, "create lagg {name} ({description})")
            }
            Self::SetLagg {
                name,
                protocol,
                hash,
                ports,
                remove,
            } => {
                write!(f, "set lagg {name}: {protocol}")?;
                if let Some(hash) = hash {
                    write!(f, ", hash {hash}")?;
                }
                write!(f, ", ports {}", ports.join(", "))?;
                if !remove.is_empty() {
                    write!(f, ", without {}", remove.join(", "))?;
                }
                Ok(())
            }
            Self::RemovePort { lagg, port } => write!(f, "take {port} out of lagg {lagg}"),
            Self::CreateVlan { name, description } => {
                write!(f, "create vlan {name} ({description})")
            }
            Self::SetVlan { name, id, parent } => {
                write!(f, "set vlan {name}: VLAN {id} on {parent}")
            }
            Self::UnsetVlan { name } => write!(f, "take the tag off vlan {name}"),
            Self::SetMac { interface, mac } => write!(f, "set MAC address of {interface} to {mac}"),
            Self::SetMtu { interface, mtu } => write!(f, "set MTU of {interface} to {mtu}"),
            Self::CreateEpair(epair) => write!(
                f,
                "create epair {} {} / {} {} mtu {} ({})",
                epair.host_end,
                epair.host_mac,
                epair.jail_end,
                epair.jail_mac,
                epair.mtu,
                epair.host_description
            ),
            Self::AddMember { bridge, member } => write!(f, "add {member} to bridge {bridge}"),
            Self::RemoveMember { bridge, member } => {
                write!(f, "take {member} out of bridge {bridge}")
            }
            Self::CreateSwitch { switch, .. } => write!(f, "create netgraph switch {switch}"),
            Self::SetSwitch { switch, .. } => {
                write!(f, "set the configuration of netgraph switch {switch}")
            }
            Self::ConnectUplink { switch, interface } => {
                write!(f, "connect {interface} to netgraph switch {switch}")
            }
            Self::DisconnectUplink { switch, interface } => {
                write!(f, "disconnect {interface} from netgraph switch {switch}")
            }
            Self::SetEther {
                interface,
                settings,
            } => write!(
                f,
                "set ng_ether of {interface}: promiscuous {}, autosrc {}",
                settings.promiscuous, settings.autosrc
            ),
            Self::CreateEiface(eiface) => write!(
                f,
                "create ng_eiface {} at {}:{}, interface {} {} mtu {} ({})",
                eiface.node,
                eiface.switch,
                eiface.hook,
                eiface.interface,
                eiface.mac,
                eiface.mtu,
                eiface.description
            ),
            Self::ConnectEiface { node, switch, hook } => {
                write!(f, "connect ng_eiface {node} to {switch}:{hook}")
            }
            Self::DisconnectEiface { node } => {
                write!(f, "disconnect ng_eiface {node} from its switch")
            }
            Self::ShutdownNode { node, kind } => write!(f, "shut down ng_{kind} {node}"),
            Self::SetMemberFlag {
                bridge,
                member,
                flag,
                on,
            } => {
                let sign = if *on { "" } else { "-" };
                write!(
                    f,
                    "set {sign}{} of {member} in bridge {bridge}",
                    flag.verb()
                )
            }
            Self::SetUp { interface, up } => {
                write!(f, "bring {interface} {}", if *up { "up" } else { "down" })
            }
            Self::DisableInet6 { interface } => write!(f, "disable IPv6 on {interface} again"),
            Self::AddAddress {
                interface,
                address,
                prefix_length,
                ..
            } => {
                write!(f, "add {address}/{prefix_length} to {interface}")
            }
            Self::RemoveAddress {
                interface,
                address,
                prefix_length,
            } => {
                write!(f, "remove {address}/{prefix_length} from {interface}")
            }
            Self::AddRoute {
                destination,
                interface,
            } => write!(f, "add route to {destination} over {interface}"),
            Self::RemoveRoute {
                destination,
                interface,
            } => write!(f, "remove route to {destination} over {interface}"),
            Self::AddTableRoute { route } => write!(
                f,
                "add route to {} {} to routing table {}",
                route.destination, route.via, route.fib
            ),
            Self::RemoveTableRoute { route } => write!(
                f,
                "remove route to {} {} from routing table {}",
                route.destination, route.via, route.fib
            ),
            Self::DestroyInterface { name, description } => {
                write!(f, "destroy {name} ({description})")
            }
            Self::WriteFile { path, .. } => write!(f, "write {path}"),
            Self::RemoveFile { path } => write!(f, "remove {path}"),
            Self::StartJail { name, conf } => write!(f, "start jail {name} ({conf})"),
            Self::StopJail {
                name,
                jid,
                restart: Some(cause),
                ..
            } => write!(f, "stop jail {name} (jid {jid}) to start it again: {cause}"),
            Self::AddLimit { rule } => write!(f, "add limit {rule}"),
            Self::RemoveLimit { rule } => write!(f, "remove limit {rule}"),
            Self::SetJail {
                name,
                jid,
                parameters,
                mark,
            } => {
                let words = parameters
                    .iter()
                    .map(|(name, value)| format!(" {name}={value}"));
                let mark = mark.as_ref().map_or("", |_| " and its mark");
                write!(
                    f,
                    "set jail {name} (jid {jid}):{}{mark}",
                    words.collect::<String>()
                )
            }
            Self::StopJail { name, jid, .. } => write!(f, "stop jail {name} (jid {jid})"),
            Self::Unmount { target } => write!(f, "unmount {target}"),
            Self::ReturnNic {
                jail, nic, from, ..
            } => write!(
                f,
                "take {} back out of jail {jail}, where it is called {from:?}",
                nic.interface
            ),
            Self::RestoreNic { from, nic } => {
                write!(f, "make {from:?} again what {} was", nic.interface)
            }
            Self::MoveToVnet { interface, jail } => write!(f, "move {interface} into jail {jail}"),
            Self::RenameInVnet { jail, from, to } => {
                write!(f, "in jail {jail}: rename {from} to {to}")
            }
            Self::AddAddressInVnet {
                jail,
                interface,
                address,
                prefix_length,
            } => {
                write!(
                    f,
                    "in jail {jail}: add {address}/{prefix_length} to {interface}"
                )
            }
            Self::RemoveAddressInVnet {
                jail,
                interface,
                address,
                prefix_length,
            } => {
                write!(
                    f,
                    "in jail {jail}: remove {address}/{prefix_length} from {interface}"
                )
            }
            Self::SetMtuInVnet {
                jail,
                interface,
                mtu,
            } => write!(f, "in jail {jail}: set the MTU of {interface} to {mtu}"),
            Self::UpInVnet { jail, interface } => write!(f, "in jail {jail}: bring {interface} up"),
            Self::AcceptRtadvInVnet { jail, interface } => {
                write!(
                    f,
                    "in jail {jail}: accept router advertisements on {interface}"
                )
            }
            Self::AddLinkRouteInVnet {
                jail,
                destination,
                interface,
            } => write!(
                f,
                "in jail {jail}: add route to {destination} over {interface}"
            ),
            Self::SetDefaultRouteInVnet {
                jail,
                family,
                gateway,
                replace,
                ..
            } => write!(
                f,
                "in jail {jail}: {} {} default route to {gateway}",
                if *replace { "change" } else { "add" },
                family.keyword()
            ),
            Self::LoadAnchor { anchor, rules, .. } => write!(
                f,
                "load pf anchor {anchor} ({} rules)",
                rules.lines().count()
            ),
            Self::LoadAnchorInVnet {
                jail,
                anchor,
                rules,
            } => write!(
                f,
                "in jail {jail}: load pf anchor {anchor} ({} rules)",
                rules.lines().count()
            ),
            Self::RaiseInVnet {
                jail,
                refer,
                enable,
            } => {
                let what = match (refer, enable) {
                    (true, true) => "refer to our anchors and enable pf",
                    (true, false) => "refer to our anchors",
                    (false, _) => "enable pf",
                };
                write!(f, "in jail {jail}: {what}")
            }
            Self::SetPfConf {
                path,
                from,
                to,
                main,
                back: _,
            } => {
                let what = match main.as_ref().map(|main| &main.references) {
                    None => "leave what is loaded",
                    Some(lines) if lines.is_empty() => {
                        "take the lines that refer to our anchors out of what is loaded"
                    }
                    Some(_) => "add the lines that refer to our anchors to what is loaded",
                };
                let write = match to {
                    _ if from == to => "keep",
                    Some(_) => "write",
                    None => "remove",
                };
                write!(f, "{write} {path} and {what}")
            }
            Self::ClearAnchor { anchor } => write!(f, "clear pf anchor {anchor}"),
            Self::KillStates { address } => write!(f, "kill states of {address}"),
            Self::KillTranslated { from, to: None, .. } => {
                write!(f, "kill states translated from {from}")
            }
            Self::KillTranslated {
                from, to: Some(to), ..
            } => {
                write!(f, "kill states translated from {from} to {to}")
            }
            Self::MarkStorage { folder, .. } => write!(f, "mark storage {folder}"),
            Self::FetchImage {
                tarball, digest, ..
            } => write!(f, "fetch {tarball} ({})", short(digest)),
            Self::UnpackBase { digest, .. } => {
                write!(f, "unpack image {} for thin jails", short(digest))
            }
            Self::MakeRoot { folder, mark, .. } => write!(
                f,
                "make {} root {folder} of image {}",
                layout_word(mark.layout),
                short(&mark.digest)
            ),
            Self::RemoveRoot { folder, .. } => write!(f, "remove root {folder}"),
            Self::RemoveImage { digest, .. } => write!(f, "remove image {}", short(digest)),
            Self::CreateDataset { name, .. } => write!(f, "create dataset {name}"),
            Self::SnapshotDataset { name, .. } => write!(f, "take snapshot {}", snapshot(name)),
            Self::CloneDataset { name, snapshot, .. } => {
                write!(f, "clone {snapshot} to dataset {name}")
            }
            Self::DestroyDataset { name, guid, .. } => {
                write!(f, "destroy dataset {name} (guid {guid})")
            }
            Self::RotateConsole { path } => write!(f, "rotate {path}"),
            Self::KillBetween { isolation } => {
                let addresses = isolation.addresses();
                let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
                write!(f, "kill states between {}", addresses.join(", "))
            }
            Self::KillUnpermitted {
                inside: Some(jail),
                firewall,
                ..
            } => write!(
                f,
                "in jail {jail}: kill states that the firewall of {} does not permit",
                firewall.jail
            ),
            Self::KillUnpermitted { firewall, .. } => write!(
                f,
                "kill states that the firewall of {} does not permit",
                firewall.jail
            ),
            Self::KillLabelled { label } => write!(f, "kill states labelled {label}"),
        }
    }
}
