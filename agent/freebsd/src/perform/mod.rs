//! Operations as commands: each looks first, does only what is missing, and reads back what it did.
//!
//! An operation may be performed again after a crash at any of its commands. Nothing is touched whose name, mark or number is not what the operation says.

mod address;
mod bridge;
mod clone;
mod epair;
mod file;
pub(crate) mod jail;
mod kernel;
mod lagg;
mod limit;
mod mount;
mod netgraph;
mod nic;
mod pf;
mod pf_conf;
mod route;
pub(crate) mod storage;
mod vlan;
mod vnet;
mod zfs;

use std::collections::BTreeMap;
use std::sync::Mutex;

use cellblock_agent_core::mark::Mark;
use cellblock_agent_core::observed::Interface;
use cellblock_agent_core::op::Op;
use cellblock_schemas::net::Mac;

use crate::command::{Command, Output, Program, words};
use crate::error::Failure;
use crate::observe::{self, ifconfig};
use crate::system::{System, succeed};
use jail::Work;

/// The longest name of an interface: IFNAMSIZ is 16 with its NUL (sys/net/if.h).
const NAME_BYTES_MAX: usize = 15;

/// What performing needs.
pub(crate) struct Performer<'a> {
    /// Runs the commands.
    pub(crate) system: &'a dyn System,
    /// The agent's folder: files are written nowhere else.
    pub(crate) folder: &'a str,
    /// The host's pf takes one transaction at a time: a second pfctl loses its ticket (`DIOCXCOMMIT: Device busy`).
    pub(crate) pf: &'a Mutex<()>,
}

impl Performer<'_> {
    /// Performs `op`.
    pub(crate) fn perform(&self, op: &Op) -> Result<(), Failure> {
        match op {
            Op::LoadModule { module } => self.load_module(module),
            Op::SetSysctl { oid, value } => self.set_sysctl(oid, value),
            Op::CreateLoopback { name, description } => self.create_loopback(name, description),
            Op::CreateBridge {
                name,
                description,
                mac,
            } => self.create_bridge(name, description, *mac),
            Op::SetMac { interface, mac } => self.set_mac(interface, *mac),
            Op::SetMtu { interface, mtu } => self.set_mtu(interface, *mtu),
            Op::CreateEpair(epair) => self.create_epair(epair),
            Op::AddMember { bridge, member } => self.add_member(bridge, member),
            Op::RemoveMember { bridge, member } => self.remove_member(bridge, member),
            Op::SetMemberFlag {
                bridge,
                member,
                flag,
                on,
            } => self.set_member_flag(bridge, member, *flag, *on),
            Op::CreateLagg { name, description } => self.create_lagg(name, description),
            Op::SetLagg {
                name,
                protocol,
                hash,
                ports,
                remove,
            } => self.set_lagg(name, protocol, hash.as_deref(), ports, remove),
            Op::RemovePort { lagg, port } => self.remove_port(lagg, port),
            Op::CreateVlan { name, description } => self.create_vlan(name, description),
            Op::SetVlan { name, id, parent } => self.set_vlan(name, *id, parent),
            Op::UnsetVlan { name } => self.unset_vlan(name),
            Op::CreateSwitch { switch, settings } => self.create_switch(switch, *settings),
            Op::SetSwitch { switch, settings } => self.set_switch(switch, *settings),
            Op::ConnectUplink { switch, interface } => self.connect_uplink(switch, interface),
            Op::DisconnectUplink { switch, interface } => self.disconnect_uplink(switch, interface),
            Op::SetEther {
                interface,
                settings,
            } => self.set_ether(interface, *settings),
            Op::CreateEiface(eiface) => self.create_eiface(eiface),
            Op::ConnectEiface { node, switch, hook } => self.connect_eiface(node, switch, hook),
            Op::DisconnectEiface { node } => self.disconnect_eiface(node),
            Op::ShutdownNode { node, kind } => self.shutdown_node(node, kind),
            Op::SetUp { interface, up } => self.set_up(interface, *up),
            Op::DisableInet6 { interface } => self.disable_inet6(interface),
            Op::AddAddress {
                interface,
                address,
                prefix_length,
                no_dad,
            } => self.add_address(interface, *address, *prefix_length, *no_dad),
            Op::RemoveAddress {
                interface,
                address,
                prefix_length,
            } => self.remove_address(interface, *address, *prefix_length),
            Op::AddRoute {
                destination,
                interface,
            } => self.add_route(None, *destination, interface),
            Op::RemoveRoute {
                destination,
                interface,
            } => self.remove_route(*destination, interface),
            Op::AddTableRoute { route } => self.add_table_route(route),
            Op::RemoveTableRoute { route } => self.remove_table_route(route),
            Op::DestroyInterface { name, description } => self.destroy_interface(name, description),
            Op::WriteFile { path, content } => self.write_file(path, content),
            Op::RemoveFile { path } => self.remove_file(path),
            Op::StartJail { .. } | Op::StopJail { .. } => self.perform_to_its_end(self.begin(op)?),
            Op::SetJail {
                name,
                jid,
                parameters,
                mark,
            } => self.set_jail(name, *jid, parameters, mark.as_deref()),
            Op::AddLimit { rule } => self.add_limit(rule),
            Op::RemoveLimit { rule } => self.remove_limit(rule),
            Op::Unmount { target } => self.unmount(target),
            Op::ReturnNic {
                jail,
                jid,
                nic,
                from,
                to,
            } => self.return_nic(jail, *jid, nic, from, to),
            Op::RestoreNic { from, nic } => self.restore_nic(from, nic),
            Op::MoveToVnet { interface, jail } => self.move_to_vnet(interface, jail),
            Op::RenameInVnet { jail, from, to } => self.rename_in_vnet(jail, from, to),
            Op::AddAddressInVnet {
                jail,
                interface,
                address,
                prefix_length,
            } => self.add_address_in_vnet(jail, interface, *address, *prefix_length),
            Op::RemoveAddressInVnet {
                jail,
                interface,
                address,
                prefix_length,
            } => self.remove_address_in_vnet(jail, interface, *address, *prefix_length),
            Op::SetMtuInVnet {
                jail,
                interface,
                mtu,
            } => self.set_mtu_in_vnet(jail, interface, *mtu),
            Op::UpInVnet { jail, interface } => self.up_in_vnet(jail, interface),
            Op::AcceptRtadvInVnet { jail, interface } => self.accept_rtadv_in_vnet(jail, interface),
            Op::AddLinkRouteInVnet {
                jail,
                destination,
                interface,
            } => self.add_route(Some(jail), *destination, interface),
            Op::SetDefaultRouteInVnet {
                jail,
                family,
                gateway,
                scope,
                replace,
            } => {
                let way = match scope {
                    Some(interface) => format!("{gateway}%{}", interface_word(interface)?),
                    None => gateway.to_string(),
                };
                self.set_default_route_in_vnet(jail, *family, *gateway, &way, *replace)
            }
            Op::LoadAnchor {
                anchor,
                rules,
                parts,
            } => self.load_anchor(None, anchor, rules, parts),
            Op::LoadAnchorInVnet {
                jail,
                anchor,
                rules,
            } => self.load_anchor(Some(jail), anchor, rules, &BTreeMap::new()),
            Op::RaiseInVnet {
                jail,
                refer,
                enable,
            } => self.raise_in_vnet(jail, *refer, *enable),
            Op::SetPfConf {
                path,
                from,
                to,
                main,
                back,
            } => {
                let change = pf_conf::Change {
                    path,
                    from: from.as_deref(),
                    to: to.as_deref(),
                    main: main.as_ref(),
                };
                if *back {
                    self.put_pf_conf_back(&change)
                } else {
                    self.set_pf_conf(&change)
                }
            }
            Op::ClearAnchor { anchor } => self.clear_anchor(anchor),
            Op::KillStates { address } => self.kill_states(*address),
            Op::KillTranslated { from, to, except } => self.kill_translated(*from, *to, except),
            Op::MarkStorage { folder, mark } => self.mark_storage(folder, mark),
            Op::FetchImage { .. }
            | Op::UnpackBase { .. }
            | Op::MakeRoot { .. }
            | Op::RemoveRoot { .. }
            | Op::RemoveImage { .. } => self.perform_storage(op),
            Op::CreateDataset {
                name,
                owner,
                folder,
            } => self.create_dataset(name, owner, folder, None),
            Op::CloneDataset {
                name,
                owner,
                folder,
                snapshot,
                guid,
            } => self.create_dataset(name, owner, folder, Some((snapshot, guid))),
            Op::SnapshotDataset { name, guid, owner } => self.snapshot_dataset(name, guid, owner),
            Op::DestroyDataset {
                name,
                guid,
                owner,
                folder,
                whole,
            } => self.destroy_dataset(name, guid, owner, folder, whole.as_deref()),
            Op::RotateConsole { path } => self.rotate_console(path),
            Op::KillBetween { isolation } => self.kill_between(isolation),
            Op::KillUnpermitted {
                inside,
                firewall,
                fresh,
            } => self.kill_unpermitted(inside.as_deref(), firewall, *fresh),
            Op::KillLabelled { label } => self.kill_labelled(label),
        }
    }

    /// Begins an operation that may take long; none: there is nothing to wait for.
    pub(crate) fn begin(&self, op: &Op) -> Result<Option<Work>, Failure> {
        if let Op::StartJail { name, conf } = op {
            return self.begin_start(name, conf);
        }
        if let Op::StopJail {
            name, jid, conf, ..
        } = op
        {
            return self.begin_stop(name, *jid, conf.as_deref());
        }
        self.perform(op).map(|()| None)
    }

    /// Runs a command that changes something, and logs it with what it read.
    fn run(&self, command: &Command) -> Result<Output, Failure> {
        let output = self.system.run(command)?;
        log(command, &output);
        Ok(output)
    }

    /// Likewise, and it must succeed.
    fn change(&self, command: &Command) -> Result<Output, Failure> {
        let output = self.run(command)?;
        if output.is_success() {
            Ok(output)
        } else {
            Err(Failure::refused(command, &output))
        }
    }

    /// `ifconfig` with `arguments`, which must succeed.
    fn ifconfig(&self, arguments: Vec<String>) -> Result<Output, Failure> {
        self.change(&Command::new(Program::Ifconfig, arguments))
    }

    /// An interface of the host; none if there is none of that name.
    fn find(&self, name: &str) -> Result<Option<Interface>, Failure> {
        observe::interface(self.system, None, interface_word(name)?)
    }

    /// The names of the host's interfaces, one that two have twice.
    fn names(&self) -> Result<Vec<String>, Failure> {
        let list = Command::new(Program::Ifconfig, words!["-l"]);
        let output = succeed(self.system, &list)?;
        let names = ifconfig::parse_names(&output.stdout);
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// An interface of the host that must be there.
    fn expect(&self, name: &str) -> Result<Interface, Failure> {
        self.find(name)?
            .ok_or_else(|| Failure::Changed(format!("interface {name} is not there")))
    }

    fn set_mac(&self, name: &str, mac: Mac) -> Result<(), Failure> {
        if self.expect(name)?.mac == Some(mac) {
            return Ok(());
        }
        self.ifconfig(words![name, "ether", mac.to_string()])?;
        let now = self.expect(name)?.mac;
        effect(now == Some(mac), || {
            format!("the MAC address of {name} is still not {mac}")
        })
    }

    fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), Failure> {
        // Setting it on a member of a bridge is refused even where it is that already (recording `14`).
        if self.expect(name)?.mtu == mtu {
            return Ok(());
        }
        self.ifconfig(words![name, "mtu", mtu.to_string()])?;
        let now = self.expect(name)?.mtu;
        effect(now == mtu, || {
            format!("the MTU of {name} is {now}, not {mtu}")
        })
    }

    fn set_up(&self, name: &str, up: bool) -> Result<(), Failure> {
        if self.expect(name)?.is_up() == up {
            return Ok(());
        }
        let word = if up { "up" } else { "down" };
        self.ifconfig(words![name, word])?;
        let now = self.expect(name)?.is_up();
        effect(now == up, || format!("interface {name} is not {word}"))
    }
}

fn log(command: &Command, output: &Output) {
    tracing::debug!(
        argv = ?command.argv,
        stdin = command.stdin.as_deref().unwrap_or_default(),
        status = output.status,
        stderr = output.stderr,
        "changing command"
    );
}

/// The effect of a command must be there, whatever its exit status was.
fn effect(there: bool, missing: impl FnOnce() -> String) -> Result<(), Failure> {
    if there {
        Ok(())
    } else {
        Err(Failure::EffectMissing(missing()))
    }
}

/// Whether `interface` carries the mark that `description` states; the readable name behind it does not count.
fn carries(interface: &Interface, description: &str) -> bool {
    let wanted = Mark::parse(description);
    wanted.is_some() && interface.description.as_deref().and_then(Mark::parse) == wanted
}

/// The name of an interface as a word of a command. ifconfig(8) would read `-x` as an option and `create` behind a name as a verb; blanks and line ends belong to nobody but a jail's root.
fn interface_word(name: &str) -> Result<&str, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    word("the interface name", name, NAME_BYTES_MAX, plain)
}

/// The name of a jail as a word. `jail -r '*'` would remove every jail, a number is read as a jid, and a dot separates a jail from its children (usr.sbin/jail).
fn jail_word(name: &str) -> Result<&str, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name = word("the jail name", name, 255, plain)?;
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Failure::Word {
            what: "the jail name",
            word: name.to_owned(),
        });
    }
    Ok(name)
}

/// A word that begins with a letter, a digit or `_` and has only the characters of `plain`.
fn word<'w>(
    what: &'static str,
    text: &'w str,
    bytes_max: usize,
    plain: impl Fn(char) -> bool,
) -> Result<&'w str, Failure> {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if first && text.len() <= bytes_max && text.chars().all(plain) {
        Ok(text)
    } else {
        Err(Failure::Word {
            what,
            word: text.chars().take(80).collect(),
        })
    }
}

#[cfg(test)]
mod tests;
