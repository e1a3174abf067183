//! ngctl(8): one command from argv, or a script from `-f`.

use super::Context;
use crate::emulator::Emulator;
use crate::kernel::Kernel;
use crate::kernel::errno::Errno;
use crate::kernel::netgraph::{BridgeConfig, Node, NodeType};
use crate::kernel::vnet::VnetId;
use crate::output::Output;

/// sysexits(3).
const EX_NOHOST: i32 = 68;

/// EX_OSERR, with which a failed command ends ngctl.
const OSERR: i32 = 71;

/// EX_USAGE, with which a command ends it that has other words behind it than it takes.
const USAGE: i32 = 64;

/// Runs ngctl with the words after its name.
pub(crate) fn run(
    host: &mut Emulator,
    context: &Context,
    arguments: &[String],
    stdin: &str,
) -> Output {
    let mut context = context.clone();
    let mut file = None;
    let mut words = arguments;
    while let Some((word, rest)) = words.split_first() {
        if !word.starts_with('-') || word == "-" {
            break;
        }
        words = rest;
        match word.as_str() {
            "-f" => {
                let Some((path, rest)) = words.split_first() else {
                    return Output::failure(
                        64,
                        "usage: ngctl [-j jail] [-d] [-f file] [-n name] [command ...]",
                    );
                };
                file = Some(path.clone());
                words = rest;
            }
            "-j" => {
                let Some((jail, rest)) = words.split_first() else {
                    return Output::failure(
                        64,
                        "usage: ngctl [-j jail] [-d] [-f file] [-n name] [command ...]",
                    );
                };
                words = rest;
                match host.kernel.find_jail(context.jid, jail) {
                    Some(jail) => context = context.inside(&host.kernel, jail.jid),
                    None => {
                        let why = host.kernel.no_jail(context.jid, jail);
                        return Output::failure(EX_NOHOST, format!("ngctl: {why}"));
                    }
                }
            }
            "-n" => words = words.get(1..).unwrap_or_default(),
            _ => {}
        }
    }
    host.kernel.last_pid += 1;
    let name = format!("ngctl{}", host.kernel.last_pid);
    let socket = match host.kernel.ng_open_socket(context.stack, &name) {
        Ok(socket) => socket,
        Err(error) => {
            let message = format!("ngctl: can't create node: {}", error.text());
            return Output::failure(OSERR, message);
        }
    };
    let mut session = Session {
        kernel: &mut host.kernel,
        stack: context.stack,
        socket,
        output: Output::success(),
    };
    match file.as_deref() {
        Some("-") => session.script(stdin),
        Some(path) => match host.files.read_text(path) {
            Ok(text) => session.script(&text),
            Err(error) => session.output.fail(66, format!("ngctl: {path}: {error}")),
        },
        None => {
            if let Err(status) = session.command(words) {
                session.output.status = status;
            }
        }
    }
    let output = std::mem::take(&mut session.output);
    host.kernel.ng_shutdown(context.stack, socket);
    output
}

/// How a command is to be called, which is what ngctl says of one with other words behind it.
fn usage(command: &str) -> Option<&'static str> {
    Some(match command {
        "list" | "ls" => "list [-ln]",
        "show" | "inquire" | "info" => "show [-n] <path>",
        "mkpeer" => "mkpeer [path] <type> <hook> <peerhook>",
        "connect" | "join" => "connect [path] <relpath> <hook> <peerhook>",
        "name" => "name <path> <name>",
        "rmhook" | "disconnect" => "rmhook [path] <hook>",
        "shutdown" | "kill" | "rmnode" => "shutdown <path>",
        "msg" | "cmd" => "msg path command [args ... ]",
        _ => return None,
    })
}

/// One running ngctl: its socket node is what `.` means.
struct Session<'a> {
    kernel: &'a mut Kernel,
    stack: VnetId,
    socket: u32,
    output: Output,
}

impl Session<'_> {
    fn script(&mut self, text: &str) {
        for (number, line) in text.lines().enumerate() {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            if words.is_empty() || words[0].starts_with('#') {
                continue;
            }
            if let Err(status) = self.command(&words) {
                self.output
                    .fail(status, format!("ngctl: line {}: error in file", number + 1));
                return;
            }
        }
    }

    /// Runs one command; its message has been written when this is an error, which is ngctl's exit status.
    fn command(&mut self, words: &[String]) -> Result<(), i32> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let result = match words[..] {
            ["list" | "ls", "-l"] => self.list_long(),
            ["list" | "ls", ref rest @ ..] if matches!(rest, [] | ["-n"]) => {
                self.list(!rest.is_empty())
            }
            ["show" | "inquire" | "info", path] => self.show(path, true),
            ["show" | "inquire" | "info", "-n", path] => self.show(path, false),
            ["mkpeer", path, kind, hook, peer] => self
                .find(path)
                .and_then(|node| self.kernel.ng_mkpeer(self.stack, node, kind, hook, peer)),
            ["mkpeer", kind, hook, peer] => {
                self.kernel
                    .ng_mkpeer(self.stack, self.socket, kind, hook, peer)
            }
            ["connect" | "join", path, relative, hook, peer_hook] => {
                self.connect(path, relative, hook, peer_hook)
            }
            ["connect" | "join", relative, hook, peer_hook] => {
                self.connect(".:", relative, hook, peer_hook)
            }
            ["name", path, name] => self
                .find(path)
                .and_then(|node| self.kernel.ng_name(self.stack, node, name)),
            ["rmhook" | "disconnect", path, hook] => self
                .find(path)
                .map(|node| self.kernel.ng_rmhook(self.stack, node, hook)),
            ["rmhook" | "disconnect", hook] => {
                self.kernel.ng_rmhook(self.stack, self.socket, hook);
                Ok(())
            }
            ["shutdown" | "kill" | "rmnode", path] => match self.find(path) {
                Ok(node) => {
                    self.kernel.ng_shutdown(self.stack, node);
                    Ok(())
                }
                Err(error) => {
                    self.output
                        .error(format!("ngctl: shutdown: {}", error.text()));
                    return Err(OSERR);
                }
            },
            ["msg" | "cmd", path, command, ref rest @ ..] => self.message(path, command, rest),
            [command, ..] if let Some(usage) = usage(command) => {
                self.output.error(format!("ngctl: usage: {usage}"));
                return Err(USAGE);
            }
            _ => {
                self.output.error(format!(
                    "ngctl: \"{}\": unknown command",
                    words.first().unwrap_or(&"")
                ));
                return Err(OSERR);
            }
        };
        result.map_err(|error| {
            self.output
                .error(format!("ngctl: send msg: {}", error.text()));
            OSERR
        })
    }

    fn find(&self, path: &str) -> Result<u32, Errno> {
        self.kernel.ng_find(self.stack, self.socket, path)
    }

    fn node_line(node: &Node) -> String {
        let name = if node.name.is_empty() {
            "<unnamed>"
        } else {
            &node.name
        };
        format!(
            "  Name: {name:<15} Type: {:<15} ID: {:08x}   Num hooks: {}",
            node.kind.name(),
            node.id,
            node.hooks.len()
        )
    }

    /// `-n`: only nodes with a name (NGM_LISTNAMES).
    fn list(&mut self, named_only: bool) -> Result<(), Errno> {
        self.kernel.ng_list_fits(self.stack, named_only)?;
        let lines: Vec<String> = self
            .kernel
            .netgraph(self.stack)
            .listed()
            .filter(|node| !(named_only && node.name.is_empty()))
            .map(Self::node_line)
            .collect();
        let named = if named_only { "named " } else { "" };
        self.output
            .line(format!("There are {} total {named}nodes:", lines.len()));
        for line in lines {
            self.output.line(line);
        }
        Ok(())
    }

    /// `show` for each node by its ID, a blank line between two (`ListCmd`, usr.sbin/ngctl/list.c).
    fn list_long(&mut self) -> Result<(), Errno> {
        self.kernel.ng_list_fits(self.stack, false)?;
        let graph = self.kernel.netgraph(self.stack);
        let ids: Vec<u32> = graph.listed().map(|node| node.id).collect();
        self.output
            .line(format!("There are {} total nodes:", ids.len()));
        for (number, id) in ids.iter().enumerate() {
            if number > 0 {
                self.output.line("");
            }
            self.show(&format!("[{id:x}]:"), true)?;
        }
        Ok(())
    }

    fn show(&mut self, path: &str, with_hooks: bool) -> Result<(), Errno> {
        let id = self.find(path)?;
        let graph = self.kernel.netgraph(self.stack);
        let Some(node) = graph.nodes.get(&id) else {
            return Err(Errno::ENOENT);
        };
        // All hooks are sent whether they are printed or not.
        self.kernel.ng_hooks_fit(node.hooks.len())?;
        let mut lines = vec![Self::node_line(node)];
        let hooks = if with_hooks {
            node.hooks.as_slice()
        } else {
            &[]
        };
        if !hooks.is_empty() {
            lines.push(format!(
                "  {:<15} {:<15} {:<12} {:<15} {:<15}",
                "Local hook", "Peer name", "Peer type", "Peer ID", "Peer hook"
            ));
            lines.push(format!(
                "  {:<15} {:<15} {:<12} {:<15} {:<15}",
                "----------", "---------", "---------", "-------", "---------"
            ));
        }
        for hook in hooks.iter().rev() {
            let Some(peer) = graph.nodes.get(&hook.peer) else {
                continue;
            };
            let name = if peer.name.is_empty() {
                "<unnamed>"
            } else {
                &peer.name
            };
            lines.push(format!(
                "  {:<15} {name:<15} {:<12} {:<15} {:<15}",
                hook.name,
                peer.kind.name(),
                format!("{:08x}", peer.id),
                hook.peer_hook
            ));
        }
        for line in lines {
            self.output.line(line);
        }
        Ok(())
    }

    /// `connect NODE: OTHER: hook peerhook`; OTHER is relative to NODE when it names no node.
    fn connect(
        &mut self,
        path: &str,
        relative: &str,
        hook: &str,
        peer_hook: &str,
    ) -> Result<(), Errno> {
        let node = self.find(path)?;
        let peer = if relative.contains(':') {
            self.find(relative)?
        } else {
            self.find(&format!("[{node:x}]:{relative}"))?
        };
        self.kernel
            .ng_connect_nodes(self.stack, node, hook, peer, peer_hook)
    }

    fn respond(&mut self, command: &str, number: u32, node: u32, arguments: &str) {
        self.output.line(format!(
            "Rec'd response \"{command}\" ({number}) from \"[{node:x}]:\":"
        ));
        self.output.line(format!("Args:\t{arguments}"));
    }

    fn message(&mut self, path: &str, command: &str, rest: &[&str]) -> Result<(), Errno> {
        let id = self.find(path)?;
        let nodes = &self.kernel.netgraph(self.stack).nodes;
        let Some(node) = nodes.get(&id).cloned() else {
            return Err(Errno::ENOENT);
        };
        let (kind, promiscuous, auto_source, interface) = (
            node.kind,
            node.promiscuous,
            node.auto_source,
            node.interface,
        );
        // Any number but 0 (`ng_ether_rcvmsg`).
        let on = rest
            .first()
            .is_some_and(|word| word.parse().is_ok_and(|number: i64| number != 0));
        match (kind, command) {
            (NodeType::Eiface, "getifname") => {
                let name = interface
                    .and_then(|id| self.kernel.ifs.all.get(&id))
                    .map(|ifnet| ifnet.name.clone())
                    .unwrap_or_default();
                self.respond(command, 1, id, &format!("\"{name}\""));
            }
            (NodeType::Ether, "getifname") => {
                let name = interface
                    .and_then(|id| self.kernel.ifs.all.get(&id))
                    .map(|ifnet| ifnet.name.clone())
                    .unwrap_or_default();
                self.respond(command, 1, id, &format!("\"{name}\""));
            }
            (NodeType::Bridge, "getconfig") => self.respond(command, 2, id, &node.config.text()),
            (NodeType::Bridge, "setconfig") => {
                let config = BridgeConfig::parse(rest)?;
                if let Some(node) = self.kernel.ng_node_mut(self.stack, id) {
                    node.config = config;
                }
            }
            (NodeType::Bridge, "getstats") => {
                let link = format!("link{}", rest.first().unwrap_or(&""));
                let nodes = &self.kernel.netgraph(self.stack).nodes;
                let has = |node: &Node| node.hooks.iter().any(|hook| hook.name == link);
                if !nodes.get(&id).is_some_and(has) {
                    return Err(Errno::ENOTCONN);
                }
                self.respond(command, 4, id, "{}");
            }
            (NodeType::Bridge, "setpersistent") => {
                if let Some(node) = self.kernel.ng_node_mut(self.stack, id) {
                    node.persistent = true;
                }
            }
            (NodeType::Ether, "getpromisc") => {
                self.respond(command, 5, id, if promiscuous { "1" } else { "0" })
            }
            (NodeType::Ether, "getautosrc") => {
                self.respond(command, 7, id, if auto_source { "1" } else { "0" })
            }
            (NodeType::Ether, "setpromisc") => self.kernel.ng_set_promiscuous(self.stack, id, on),
            (NodeType::Ether, "setautosrc") => {
                if let Some(node) = self.kernel.ng_node_mut(self.stack, id) {
                    node.auto_source = on;
                }
            }
            // No node of the type knows such a message (NGM_ASCII2BINARY, sys/netgraph/ng_base.c).
            (NodeType::Socket | NodeType::Ether | NodeType::Bridge | NodeType::Eiface, _) => {
                return Err(Errno::ENOSYS);
            }
        }
        Ok(())
    }
}
