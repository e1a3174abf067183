//! Netgraph nodes and hooks through ngctl(8): one script on its standard input per operation, so that an agent which dies leaves none half done.
//!
//! Nodes are reached by their names, and what they are is looked at before anything is changed: a name on a node of another type is somebody else's.

use cellblock_agent_core::names::{ETHER, LOWER, LOWER_LINK, UPPER, UPPER_LINK, ether_node};
use cellblock_agent_core::observed::{EtherSettings, Node, SwitchSettings};
use cellblock_agent_core::op::Eiface;

use super::{Performer, carries, effect, interface_word, word};
use crate::command::{Command, Program, words};
use crate::error::Failure;
use crate::observe::netgraph;

/// The longest name of a node: NG_NODESIZ is 32 with its NUL (sys/netgraph/ng_message.h).
const NODE_BYTES_MAX: usize = 31;

/// The types that we make.
const BRIDGE: &str = "bridge";
const EIFACE: &str = "eiface";

impl Performer<'_> {
    /// Runs a script, a line each.
    fn ngctl(&self, lines: &[String]) -> Result<(), Failure> {
        let mut script = lines.join("\n");
        script.push('\n');
        let command = Command::new(Program::Ngctl, words!["-f", "-"]).stdin(script);
        self.change(&command).map(|_| ())
    }

    /// A node of that type; none if there is none of that name.
    fn node(&self, name: &str, kind: &str) -> Result<Option<Node>, Failure> {
        let found = netgraph::node(self.system, node_word(name)?)?;
        if found.as_ref().is_some_and(|node| node.kind != kind) {
            return Err(Failure::NameTaken {
                what: "netgraph node",
                name: name.to_owned(),
            });
        }
        Ok(found)
    }

    fn expect_node(&self, name: &str, kind: &str) -> Result<Node, Failure> {
        self.node(name, kind)?
            .ok_or_else(|| Failure::Changed(format!("netgraph node {name} is not there")))
    }

    /// A switch goes with the last hook that is connected to it, ngctl's own at its making, unless it is persistent (recording `06`). It has its name before it is.
    pub(super) fn create_switch(
        &self,
        switch: &str,
        settings: SwitchSettings,
    ) -> Result<(), Failure> {
        if self.node(switch, BRIDGE)?.is_some() {
            return Ok(());
        }
        self.ngctl(&[
            format!("mkpeer . {BRIDGE} a {LOWER_LINK}"),
            format!("name .:a {switch}"),
            set_config(switch, settings),
            format!("msg {switch}: setpersistent"),
        ])?;
        effect(self.node(switch, BRIDGE)?.is_some(), || {
            format!("netgraph switch {switch} is not there")
        })
    }

    pub(super) fn set_switch(&self, switch: &str, wanted: SwitchSettings) -> Result<(), Failure> {
        self.expect_node(switch, BRIDGE)?;
        if netgraph::switch_settings(self.system, switch)? == wanted {
            return Ok(());
        }
        self.ngctl(&[set_config(switch, wanted)])?;
        let now = netgraph::switch_settings(self.system, switch)?;
        effect(now == wanted, || {
            format!("the configuration of netgraph switch {switch} has not changed")
        })
    }

    /// Both hooks in one script: while only one is connected, the host's own traffic goes one way.
    pub(super) fn connect_uplink(&self, switch: &str, interface: &str) -> Result<(), Failure> {
        let ether = self.ether_of(interface)?;
        let missing = |found: &Node| {
            let wanted = [(LOWER_LINK, LOWER), (UPPER_LINK, UPPER)];
            let missing = wanted.into_iter().filter(|(link, hook)| {
                let peer = found.hooks.get(*link);
                peer.is_none_or(|peer| peer.node != ether || peer.hook != *hook)
            });
            missing.collect::<Vec<_>>()
        };
        let before = missing(&self.expect_node(switch, BRIDGE)?);
        if before.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = before
            .iter()
            .map(|(link, hook)| format!("connect {ether}: {switch}: {hook} {link}"))
            .collect();
        let connected = self.ngctl(&lines).and_then(|()| {
            let now = missing(&self.expect_node(switch, BRIDGE)?);
            effect(now.is_empty(), || {
                format!("{interface} is not connected to netgraph switch {switch}")
            })
        });
        connected.inspect_err(|_| self.let_go(switch, &ether))
    }

    /// Takes a half connected uplink off its switch. A failure of this is only logged: the first error is the one to tell, and what is left is seen by the next look.
    fn let_go(&self, switch: &str, ether: &str) {
        if let Err(error) = self.disconnect(switch, ether) {
            tracing::warn!(switch, ether, %error, "an uplink is left half connected");
        }
    }

    pub(super) fn disconnect_uplink(&self, switch: &str, interface: &str) -> Result<(), Failure> {
        let ether = ether_node(interface_word(interface)?);
        self.disconnect(switch, &ether)
    }

    fn disconnect(&self, switch: &str, ether: &str) -> Result<(), Failure> {
        let links = |found: &Node| -> Vec<&str> {
            let links = [LOWER_LINK, UPPER_LINK].into_iter();
            links
                .filter(|link| {
                    found
                        .hooks
                        .get(*link)
                        .is_some_and(|peer| peer.node == ether)
                })
                .collect()
        };
        let Some(found) = self.node(switch, BRIDGE)? else {
            return Ok(());
        };
        let links_before = links(&found);
        if links_before.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = links_before
            .iter()
            .map(|link| format!("rmhook {switch}: {link}"))
            .collect();
        self.ngctl(&lines)?;
        let left = self.node(switch, BRIDGE)?;
        effect(left.is_none_or(|found| links(&found).is_empty()), || {
            format!("{ether} is still connected to netgraph switch {switch}")
        })
    }

    /// The ng_ether(4) node of an interface, which says of itself that it is that one's.
    fn ether_of(&self, interface: &str) -> Result<String, Failure> {
        let ether = ether_node(interface_word(interface)?);
        self.expect_node(&ether, "ether")?;
        let of = netgraph::interface_of(self.system, &ether)?;
        if of == interface {
            Ok(ether)
        } else {
            Err(Failure::Changed(format!(
                "netgraph node {ether} is of interface {of}, not of {interface}"
            )))
        }
    }

    pub(super) fn set_ether(&self, interface: &str, wanted: EtherSettings) -> Result<(), Failure> {
        let ether = self.ether_of(interface)?;
        let present = netgraph::settings(self.system, &ether)?;
        if present == wanted {
            return Ok(());
        }
        let mut lines = Vec::new();
        if present.promiscuous != wanted.promiscuous {
            let flag = u8::from(wanted.promiscuous);
            lines.push(format!("msg {ether}: setpromisc {flag}"));
        }
        if present.autosrc != wanted.autosrc {
            let flag = u8::from(wanted.autosrc);
            lines.push(format!("msg {ether}: setautosrc {flag}"));
        }
        self.ngctl(&lines)?;
        let now = netgraph::settings(self.system, &ether)?;
        effect(now == wanted, || {
            format!("the settings of ng_ether(4) on {interface} have not changed")
        })
    }

    /// Made at its switch and named by one script; its interface is asked for, because the driver counts (`ngeth0`), then marked and named.
    pub(super) fn create_eiface(&self, eiface: &Eiface) -> Result<(), Failure> {
        let (node, interface) = (node_word(&eiface.node)?, interface_word(&eiface.interface)?);
        if self.node(node, EIFACE)?.is_none() {
            self.make_eiface(eiface)?;
        }
        let made = netgraph::interface_of(self.system, node)?;
        if made != interface {
            if self.find(interface)?.is_some() {
                return Err(Failure::NameTaken {
                    what: "interface",
                    name: interface.to_owned(),
                });
            }
            self.only_one(interface_word(&made)?)?;
            let description = eiface.description.as_str();
            self.ifconfig(words![made, "descr", description, "name", interface])?;
        }
        // Before it moves: inside, its root could be faster.
        self.set_mac(interface, eiface.mac)?;
        self.set_mtu(interface, eiface.mtu)?;
        let ours = carries(&self.expect(interface)?, &eiface.description);
        effect(
            ours && netgraph::interface_of(self.system, node)? == interface,
            || format!("{interface} is not the marked interface of netgraph node {node}"),
        )
    }

    fn make_eiface(&self, eiface: &Eiface) -> Result<(), Failure> {
        let (switch, hook) = (node_word(&eiface.switch)?, hook_word(&eiface.hook)?);
        if self.expect_node(switch, BRIDGE)?.hooks.contains_key(hook) {
            return Err(Failure::Changed(format!(
                "hook {hook} of netgraph switch {switch} is taken by now"
            )));
        }
        let made = self.ngctl(&[
            format!("mkpeer {switch}: {EIFACE} {hook} {ETHER}"),
            format!("name {switch}:{hook} {}", eiface.node),
        ]);
        made.inspect_err(|error| {
            // Made by the first line and not named by the second: nobody would know it for ours. After a first line that failed, what is at the hook is somebody else's.
            if !failed_at(error, 2) {
                return;
            }
            let unnamed = self.expect_node(switch, BRIDGE).is_ok_and(|found| {
                let peer = found.hooks.get(hook);
                peer.is_some_and(|peer| peer.kind == EIFACE && peer.node != eiface.node)
            });
            if unnamed && let Err(error) = self.ngctl(&[format!("shutdown {switch}:{hook}")]) {
                tracing::warn!(switch, hook, %error, "what a failed operation made is left behind");
            }
        })
    }

    /// An interface of that name is there, and one only: ifconfig(8) would take the first of two (recording `12`).
    fn only_one(&self, name: &str) -> Result<(), Failure> {
        let count = self.names()?.iter().filter(|found| *found == name).count();
        if count == 1 {
            Ok(())
        } else {
            Err(Failure::Changed(format!(
                "{count} interfaces of the host are called {name}"
            )))
        }
    }

    pub(super) fn connect_eiface(
        &self,
        node: &str,
        switch: &str,
        hook: &str,
    ) -> Result<(), Failure> {
        let (node, switch, hook) = (node_word(node)?, node_word(switch)?, hook_word(hook)?);
        let at = || -> Result<Option<String>, Failure> {
            let found = self.expect_node(node, EIFACE)?;
            Ok(found.hooks.get(ETHER).map(|peer| peer.node.clone()))
        };
        match at()? {
            Some(at) if at == switch => return Ok(()),
            Some(at) => {
                return Err(Failure::Changed(format!(
                    "netgraph node {node} is connected to {at}"
                )));
            }
            None => {}
        }
        self.expect_node(switch, BRIDGE)?;
        self.ngctl(&[format!("connect {node}: {switch}: {ETHER} {hook}")])?;
        effect(at()?.as_deref() == Some(switch), || {
            format!("netgraph node {node} is not connected to {switch}")
        })
    }

    pub(super) fn disconnect_eiface(&self, node: &str) -> Result<(), Failure> {
        let connected = || -> Result<bool, Failure> {
            let found = self.expect_node(node, EIFACE)?;
            Ok(found.hooks.contains_key(ETHER))
        };
        if !connected()? {
            return Ok(());
        }
        self.ngctl(&[format!("rmhook {node}: {ETHER}")])?;
        effect(!connected()?, || {
            format!("netgraph node {node} is still connected")
        })
    }

    pub(super) fn shutdown_node(&self, node: &str, kind: &str) -> Result<(), Failure> {
        if self.node(node, kind)?.is_none() {
            return Ok(());
        }
        self.change(&Command::new(
            Program::Ngctl,
            words!["shutdown", format!("{node}:")],
        ))?;
        effect(self.node(node, kind)?.is_none(), || {
            format!("netgraph node {node} is still there")
        })
    }
}

/// All four fields: one that is left out would become 0 (`ng_parse_composite`, sys/netgraph/ng_parse.c).
fn set_config(switch: &str, settings: SwitchSettings) -> String {
    let SwitchSettings {
        debug_level,
        loop_timeout_s,
        max_staleness_s,
        min_stable_age_s,
    } = settings;
    format!(
        "msg {switch}: setconfig {{ debugLevel={debug_level} loopTimeout={loop_timeout_s} maxStaleness={max_staleness_s} minStableAge={min_stable_age_s} }}"
    )
}

/// Whether a script ended at that line (`ReadFile`, usr.sbin/ngctl/main.c).
fn failed_at(error: &Failure, line: usize) -> bool {
    let ending = format!("line {line}: error in file");
    matches!(error, Failure::Command { stderr, .. } if stderr.trim_end().ends_with(&ending))
}

/// The name of a node as a word of a script: a blank would end it, `.` and `:` separate hooks, `[` begins an ID (`ng_path_parse`, sys/netgraph/ng_base.c).
fn node_word(name: &str) -> Result<&str, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    word("the netgraph node's name", name, NODE_BYTES_MAX, plain)
}

fn hook_word(name: &str) -> Result<&str, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric();
    word("the netgraph hook", name, NODE_BYTES_MAX, plain)
}
