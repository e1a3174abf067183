//! What ngctl(8) prints of nodes, hooks and settings, and asking it.
//!
//! `list -l` is `show` for every node, a blank line between two (`ListCmd`, usr.sbin/ngctl/list.c). A jail's root can bring an interface to the host under any name, and ng_ether(4)
//! names a node after it: a line that is none of ours to read is passed over, and can't be taken for a node of ours, whose names are longer than an interface's can be.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_agent_core::names;
use cellblock_agent_core::observed::{EtherSettings, Netgraph, Node, Peer, SwitchSettings};

use crate::command::{Command, Program, words};
use crate::error::Failure;
use crate::system::{System, succeed};

/// How often a node is asked. The kernel returns from sending once the answer is in the socket (`ngc_send`, sys/netgraph/ng_socket.c); ngctl itself waits for none (`MsgCmd` polls with a timeout of
/// 0, usr.sbin/ngctl/msg.c), and one that has not come is asked for again.
const ASK_TRIES: usize = 5;

/// How often the list is read again because a node went while it was printed.
const LIST_TRIES: usize = 3;

/// ENOBUFS.
const TOO_LARGE: &str = "No buffer space available";

/// What a node without a name is called (usr.sbin/ngctl/list.c).
const UNNAMED: &str = "<unnamed>";

/// The host's netgraph. `ether` are the interfaces whose settings are asked for. One that cannot be read keeps nothing else of the host from being looked at.
pub(crate) fn look(system: &dyn System, ether: &BTreeSet<String>) -> Netgraph {
    match try_look(system, ether) {
        Ok(nodes) => Netgraph {
            nodes,
            unread: None,
        },
        Err(failure) => Netgraph {
            nodes: Vec::new(),
            unread: Some(explain(&failure)),
        },
    }
}

/// What failed, and what helps where the size of an answer or of ngctl's socket was the reason (`ngs_rcvmsg` and `ng_attach_common`, sys/netgraph/ng_socket.c).
fn explain(failure: &Failure) -> String {
    let mut message = failure.to_string();
    if message.contains(TOO_LARGE) {
        message.push_str(if message.contains("can't create node") {
            "; net.graph.recvspace is more than kern.ipc.maxsockbuf allows: lower it, in spec.sysctls of the Host if it is there"
        } else {
            "; the answer is larger than net.graph.recvspace: raise that in spec.sysctls of the Host"
        });
    }
    message
}

/// Each node is asked by an ngctl of its own, so that what is printed is the answer to what was asked, at the price of a process for each.
fn try_look(system: &dyn System, ether: &BTreeSet<String>) -> Result<Vec<Node>, Failure> {
    let mut nodes = parse(&list(system)?);
    for node in nodes.iter_mut().filter(|node| is_marked(&node.name)) {
        match node.kind.as_str() {
            "eiface" => node.interface = Some(interface_of(system, &node.name)?),
            "bridge" => node.switch = Some(switch_settings(system, &node.name)?),
            _ => {}
        }
    }
    for interface in ether {
        let name = names::ether_node(interface);
        if let Some(node) = nodes
            .iter_mut()
            .find(|node| node.name == name && node.kind == "ether")
        {
            node.ether = Some(settings(system, &name)?);
        }
    }
    Ok(nodes)
}

fn list(system: &dyn System) -> Result<String, Failure> {
    let command = Command::new(Program::Ngctl, ["list", "-l"]);
    for _ in 1..LIST_TRIES {
        let output = system.run(&command)?;
        if output.is_success() {
            return Ok(output.stdout);
        }
    }
    Ok(succeed(system, &command)?.stdout)
}

/// Whether a node's name is one that an agent gives, of whatever cluster.
fn is_marked(name: &str) -> bool {
    let mut parts = name.split('_');
    matches!(parts.next(), Some("cbsw" | "cbif" | "cbhp")) && parts.next().is_some()
}

/// The node of that name; none if there is none.
pub(crate) fn node(system: &dyn System, name: &str) -> Result<Option<Node>, Failure> {
    let path = format!("{name}:");
    let command = Command::new(Program::Ngctl, words!["show", path]);
    let output = system.run(&command)?;
    if output.is_success() {
        let found = parse(&output.stdout).into_iter().next();
        return found.map(Some).ok_or_else(|| Failure::Unreadable {
            program: "ngctl",
            what: format!("no node {name} in what it printed of it"),
        });
    }
    // `ngctl: send msg: No such file or directory` (recording `06`).
    if output.stderr.contains("No such file or directory") {
        return Ok(None);
    }
    Err(Failure::refused(&command, &output))
}

/// The name that the interface of a node has now, in whatever stack it is.
pub(crate) fn interface_of(system: &dyn System, node: &str) -> Result<String, Failure> {
    let answer = ask(system, node, "getifname")?;
    unquote(&answer).ok_or_else(|| Failure::Unreadable {
        program: "ngctl",
        what: format!("`{answer}` is no name of an interface"),
    })
}

/// The settings of an ng_ether(4) node.
pub(crate) fn settings(system: &dyn System, node: &str) -> Result<EtherSettings, Failure> {
    let flag = |message: &str| -> Result<bool, Failure> {
        let answer = ask(system, node, message)?;
        match answer.as_str() {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(Failure::Unreadable {
                program: "ngctl",
                what: format!("`{answer}` in answer to {message}"),
            }),
        }
    };
    Ok(EtherSettings {
        promiscuous: flag("getpromisc")?,
        autosrc: flag("getautosrc")?,
    })
}

/// The configuration of an ng_bridge(4) node.
pub(crate) fn switch_settings(system: &dyn System, node: &str) -> Result<SwitchSettings, Failure> {
    let answer = ask(system, node, "getconfig")?;
    parse_config(&answer).ok_or_else(|| Failure::Unreadable {
        program: "ngctl",
        what: format!("`{answer}` in answer to getconfig"),
    })
}

/// `{ debugLevel=1 loopTimeout=60 maxStaleness=900 minStableAge=1 }` (recording `06`); what is 0 is left out (`ng_unparse_composite`, sys/netgraph/ng_parse.c).
fn parse_config(answer: &str) -> Option<SwitchSettings> {
    let inner = answer.strip_prefix('{')?.strip_suffix('}')?;
    let mut settings = SwitchSettings::default();
    for word in inner.split_whitespace() {
        let (name, value) = word.split_once('=')?;
        match name {
            "debugLevel" => settings.debug_level = value.parse().ok()?,
            "loopTimeout" => settings.loop_timeout_s = value.parse().ok()?,
            "maxStaleness" => settings.max_staleness_s = value.parse().ok()?,
            "minStableAge" => settings.min_stable_age_s = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(settings)
}

/// What a node answers to a message without arguments.
fn ask(system: &dyn System, node: &str, message: &str) -> Result<String, Failure> {
    let path = format!("{node}:");
    let command = Command::new(Program::Ngctl, words!["msg", path, message]);
    for _ in 0..ASK_TRIES {
        if let Some(answer) = parse_answer(&succeed(system, &command)?.stdout) {
            return Ok(answer);
        }
    }
    Err(Failure::Unreadable {
        program: "ngctl",
        what: format!("no answer of {node} to {message}"),
    })
}

/// The arguments of a response (`MsgRead`, usr.sbin/ngctl/msg.c).
fn parse_answer(text: &str) -> Option<String> {
    let mut lines = text.lines();
    lines.find(|line| line.starts_with("Rec'd response "))?;
    let answer = lines.next()?.strip_prefix("Args:\t")?;
    Some(answer.to_owned())
}

/// A string as netgraph writes it: quoted, with C escapes (`ng_encode_string`, sys/netgraph/ng_parse.c).
fn unquote(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = Vec::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        let byte = match character {
            '\\' => match characters.next()? {
                'n' => b'\n',
                't' => b'\t',
                'v' => 0x0b,
                'f' => 0x0c,
                'r' => b'\r',
                'x' => {
                    let digits: String = characters.by_ref().take(2).collect();
                    if digits.len() != 2 {
                        return None;
                    }
                    u8::from_str_radix(&digits, 16).ok()?
                }
                plain => u8::try_from(plain).ok()?,
            },
            plain => {
                let mut buffer = [0; 4];
                bytes.extend_from_slice(plain.encode_utf8(&mut buffer).as_bytes());
                continue;
            }
        };
        bytes.push(byte);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads what `list -l` or `show` printed; sockets are left out: each is a program that runs just now, ngctl itself among them.
#[must_use]
pub fn parse(text: &str) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for line in text.lines() {
        if let Some(node) = header(line) {
            nodes.push(node);
        } else if let (Some(node), Some((hook, peer))) = (nodes.last_mut(), hook(line)) {
            node.hooks.insert(hook, peer);
        }
    }
    nodes.retain(|node| node.kind != "socket");
    nodes
}

/// `  Name: %-15s Type: %-15s ID: %08x   Num hooks: %d`, read from its end, because a name may have blanks in it.
fn header(line: &str) -> Option<Node> {
    let rest = line.strip_prefix("  Name: ")?;
    let (rest, hooks) = rest.rsplit_once("   Num hooks: ")?;
    hooks.parse::<u32>().ok()?;
    let (rest, id) = rest.rsplit_once(" ID: ")?;
    u32::from_str_radix(id, 16).ok()?;
    let (name, kind) = rest.rsplit_once(" Type: ")?;
    Some(Node {
        name: named(name),
        kind: kind.trim_end().to_owned(),
        hooks: BTreeMap::new(),
        interface: None,
        ether: None,
        switch: None,
    })
}

/// `  %-15s %-15s %-12s %-15s %-15s`: our hook, the peer's name, type, ID and hook.
fn hook(line: &str) -> Option<(String, Peer)> {
    let words: Vec<&str> = line.strip_prefix("  ")?.split_whitespace().collect();
    let [hook, name @ .., kind, id, peer_hook] = words.as_slice() else {
        return None;
    };
    if name.is_empty() || id.len() != 8 {
        return None;
    }
    u32::from_str_radix(id, 16).ok()?;
    let peer = Peer {
        node: named(&name.join(" ")),
        kind: (*kind).to_owned(),
        hook: (*peer_hook).to_owned(),
    };
    Some(((*hook).to_owned(), peer))
}

fn named(name: &str) -> String {
    let name = name.trim_end();
    if name == UNNAMED {
        String::new()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests;
