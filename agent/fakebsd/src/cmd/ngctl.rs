//! ngctl(8): one command from argv, or a script from `-f`.

use super::Context;
use crate::emulator::Emulator;
use crate::kernel::Kernel;
use crate::kernel::errno::Errno;
use crate::kernel::netgraph::{Node, NodeType};
use crate::kernel::vnet::VnetId;
use crate::output::Output;

/// EX_OSERR, with which a failed command ends ngctl.
const OSERR: i32 = 71;

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
                        return Output::failure(1, format!("ngctl: {why}"));
                    }
                }
            }
            "-n" => words = words.get(1..).unwrap_or_default(),
            _ => {}
        }
    }
    host.kernel.last_pid += 1;
    let name = format!("ngctl{}", host.kernel.last_pid);
    let socket = host.kernel.ng_open_socket(context.stack, &name);
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
            if session.command(words).is_err() {
                session.output.status = OSERR;
            }
        }
    }
    let output = std::mem::take(&mut session.output);
    host.kernel.ng_shutdown(context.stack, socket);
    output
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
            if self.command(&words).is_err() {
                self.output
                    .fail(OSERR, format!("ngctl: line {}: error in file", number + 1));
                return;
            }
        }
    }

    /// Runs one command; its message has been written when this is an error.
    fn command(&mut self, words: &[String]) -> Result<(), ()> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let result = match words[..] {
            ["list" | "ls", ..] => {
                self.list();
                Ok(())
            }
            ["show" | "inquire", path] => self.show(path),
            ["mkpeer", path, kind, hook, peer] => self
                .find(path)
                .and_then(|node| self.kernel.ng_mkpeer(self.stack, node, kind, hook, peer)),
            ["mkpeer", kind, hook, peer] => {
                self.kernel
                    .ng_mkpeer(self.stack, self.socket, kind, hook, peer)
            }
            ["connect", path, relative, hook, peer_hook] => {
                self.connect(path, relative, hook, peer_hook)
            }
            ["name", path, name] => self
                .find(path)
                .and_then(|node| self.kernel.ng_name(self.stack, node, name)),
            ["rmhook" | "disconnect", path, hook] => self
                .find(path)
                .map(|node| self.kernel.ng_rmhook(self.stack, node, hook)),
            ["shutdown" | "kill" | "rmnode", path] => match self.find(path) {
                Ok(node) => {
                    self.kernel.ng_shutdown(self.stack, node);
                    Ok(())
                }
                Err(error) => {
                    self.output
                        .error(format!("ngctl: shutdown: {}", error.text()));
                    return Err(());
                }
            },
            ["msg", path, command, ref rest @ ..] => self.message(path, command, rest),
            _ => {
                self.output.error(format!(
                    "ngctl: unknown command \"{}\"",
                    words.first().unwrap_or(&"")
                ));
                return Err(());
            }
        };
        result.map_err(|error| {
            self.output
                .error(format!("ngctl: send msg: {}", error.text()))
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

    fn list(&mut self) {
        let lines: Vec<String> = self
            .kernel
            .netgraph(self.stack)
            .listed()
            .map(Self::node_line)
            .collect();
        self.output
            .line(format!("There are {} total nodes:", lines.len()));
        for line in lines {
            self.output.line(line);
        }
    }

    fn show(&mut self, path: &str) -> Result<(), Errno> {
        let id = self.find(path)?;
        let graph = self.kernel.netgraph(self.stack);
        let Some(node) = graph.nodes.get(&id) else {
            return Err(Errno::ENOENT);
        };
        let mut lines = vec![Self::node_line(node)];
        if !node.hooks.is_empty() {
            lines.push(format!(
                "  {:<15} {:<15} {:<12} {:<15} {:<15}",
                "Local hook", "Peer name", "Peer type", "Peer ID", "Peer hook"
            ));
            lines.push(format!(
                "  {:<15} {:<15} {:<12} {:<15} {:<15}",
                "----------", "---------", "---------", "-------", "---------"
            ));
        }
        for hook in node.hooks.iter().rev() {
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
        let (kind, promiscuous, auto_source, interface) =
            match self.kernel.netgraph(self.stack).nodes.get(&id) {
                Some(node) => (
                    node.kind,
                    node.promiscuous,
                    node.auto_source,
                    node.interface,
                ),
                None => return Err(Errno::ENOENT),
            };
        let on = rest.first().is_some_and(|word| *word == "1");
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
            (NodeType::Bridge, "getconfig") => self.respond(
                command,
                2,
                id,
                "{ debugLevel=1 loopTimeout=60 maxStaleness=900 minStableAge=1 }",
            ),
            (NodeType::Bridge, "getstats") => self.respond(command, 4, id, "{}"),
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
            (NodeType::Ether, "setpromisc") => {
                if let Some(node) = self.kernel.ng_node_mut(self.stack, id) {
                    node.promiscuous = on;
                }
            }
            (NodeType::Ether, "setautosrc") => {
                if let Some(node) = self.kernel.ng_node_mut(self.stack, id) {
                    node.auto_source = on;
                }
            }
            (NodeType::Socket | NodeType::Ether | NodeType::Bridge | NodeType::Eiface, _) => {
                return Err(Errno::EINVAL);
            }
        }
        Ok(())
    }
}
