//! netgraph(4): nodes, names, hooks and the node types that switches are made of (sys/netgraph/ng_base.c, ng_bridge.c, ng_eiface.c,
//! ng_ether.c).

use std::collections::BTreeMap;

mod answers;
mod config;
mod hooks;

use super::Kernel;
use super::errno::Errno;
use super::ifnet::{Driver, IfId, NewIf};
use super::units::Units;
use super::vnet::VnetId;

pub(crate) use config::BridgeConfig;

/// The longest name of a node or a hook: NG_NODESIZ and NG_HOOKSIZ are 32 with their NUL (sys/netgraph/ng_message.h).
const NAME_BYTES_MAX: usize = 31;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeType {
    Socket,
    Ether,
    Bridge,
    Eiface,
}

impl NodeType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Ether => "ether",
            Self::Bridge => "bridge",
            Self::Eiface => "eiface",
        }
    }

    fn by_name(name: &str) -> Option<(Self, &'static str)> {
        match name {
            "bridge" => Some((Self::Bridge, "ng_bridge")),
            "eiface" => Some((Self::Eiface, "ng_eiface")),
            "ether" => Some((Self::Ether, "ng_ether")),
            _ => None,
        }
    }
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) name: String,
    pub(crate) peer: u32,
    pub(crate) peer_hook: String,
}

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) kind: NodeType,
    /// In the order they were made.
    pub(crate) hooks: Vec<Hook>,
    pub(crate) persistent: bool,
    pub(crate) interface: Option<IfId>,
    /// What an eiface counts: the driver hands out the lowest free number, whatever its nodes and interfaces are called.
    unit: Option<u32>,
    pub(crate) promiscuous: bool,
    pub(crate) auto_source: bool,
    /// Of a bridge.
    pub(crate) config: BridgeConfig,
}

/// The nodes of one stack. `ngctl list` walks the hash of IDs, so the emulation keeps that hash.
#[derive(Clone, Debug)]
pub(crate) struct Netgraph {
    pub(crate) nodes: BTreeMap<u32, Node>,
    names: BTreeMap<String, u32>,
    buckets: Vec<Vec<u32>>,
    next_id: u32,
    eiface_units: Units,
}

impl Default for Netgraph {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::new(),
            names: BTreeMap::new(),
            buckets: vec![Vec::new(); 16],
            next_id: 1,
            eiface_units: Units::default(),
        }
    }
}

impl Netgraph {
    /// The nodes in the order of NGM_LISTNODES: bucket by bucket, the newest of a bucket first.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &Node> {
        self.buckets
            .iter()
            .flat_map(|bucket| bucket.iter().rev())
            .filter_map(|id| self.nodes.get(id))
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Node> {
        self.names.get(name).and_then(|id| self.nodes.get(id))
    }

    fn add(&mut self, kind: NodeType, name: &str, interface: Option<IfId>) -> u32 {
        if (self.nodes.len() + 1) * 2 > self.buckets.len() - 1 {
            self.rehash();
        }
        let id = self.next_id;
        self.next_id += 1;
        let at = id as usize & (self.buckets.len() - 1);
        self.buckets[at].push(id);
        if !name.is_empty() {
            self.names.insert(name.to_owned(), id);
        }
        self.nodes.insert(
            id,
            Node {
                id,
                name: name.to_owned(),
                kind,
                hooks: Vec::new(),
                persistent: false,
                interface,
                unit: None,
                promiscuous: false,
                auto_source: false,
                config: BridgeConfig::default(),
            },
        );
        id
    }

    /// ng_ID_rehash: twice the buckets; the order within one turns round.
    fn rehash(&mut self) {
        let size = self.buckets.len() * 2;
        let old: Vec<u32> = self
            .buckets
            .iter()
            .flat_map(|bucket| bucket.iter().rev().copied())
            .collect();
        self.buckets = vec![Vec::new(); size];
        for id in old {
            self.buckets[id as usize & (size - 1)].push(id);
        }
    }

    fn remove(&mut self, id: u32) {
        if let Some(node) = self.nodes.remove(&id) {
            self.names.remove(&node.name);
            if let Some(unit) = node.unit {
                self.eiface_units.release(unit);
            }
        }
        let at = id as usize & (self.buckets.len() - 1);
        self.buckets[at].retain(|other| *other != id);
    }

    fn connect(&mut self, a: u32, a_hook: &str, b: u32, b_hook: &str) {
        for (id, name, peer, peer_hook) in [(a, a_hook, b, b_hook), (b, b_hook, a, a_hook)] {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.hooks.push(Hook {
                    name: name.to_owned(),
                    peer,
                    peer_hook: peer_hook.to_owned(),
                });
            }
        }
    }

    /// Takes both ends of a connection away; returns the nodes that lost one.
    fn disconnect(&mut self, id: u32, hook: &str) -> Vec<u32> {
        let Some(node) = self.nodes.get_mut(&id) else {
            return Vec::new();
        };
        let Some(at) = node.hooks.iter().position(|entry| entry.name == hook) else {
            return Vec::new();
        };
        let entry = node.hooks.remove(at);
        if let Some(peer) = self.nodes.get_mut(&entry.peer) {
            peer.hooks.retain(|other| other.name != entry.peer_hook);
        }
        vec![id, entry.peer]
    }
}

/// `[1a9]` (ng_decodeidname): a node by its ID.
fn id_name(name: &str) -> Option<u32> {
    let hex = name.strip_prefix('[')?.strip_suffix(']')?;
    u32::from_str_radix(hex, 16).ok().filter(|id| *id != 0)
}

impl Kernel {
    pub(crate) fn netgraph(&self, vnet: VnetId) -> &Netgraph {
        &self.vnet(vnet).netgraph
    }

    fn netgraph_mut(&mut self, vnet: VnetId) -> &mut Netgraph {
        &mut self.vnet_mut(vnet).netgraph
    }

    /// The socket node that a running ngctl is.
    pub(crate) fn ng_open_socket(&mut self, vnet: VnetId, name: &str) -> Result<u32, Errno> {
        self.load_module("ng_socket");
        self.ng_reserve()?;
        Ok(self.netgraph_mut(vnet).add(NodeType::Socket, name, None))
    }

    /// Follows `NODE:hook.hook` from the socket.
    pub(crate) fn ng_find(&self, vnet: VnetId, socket: u32, path: &str) -> Result<u32, Errno> {
        let (node, hooks) = match path.split_once(':') {
            Some((node, hooks)) => (node, hooks),
            None => (".", path),
        };
        let graph = self.netgraph(vnet);
        let mut id = match node {
            "." | "" => socket,
            _ => match id_name(node) {
                Some(id) => id,
                None => graph.by_name(node).ok_or(Errno::ENOENT)?.id,
            },
        };
        for hook in hooks.split('.').filter(|hook| !hook.is_empty()) {
            let node = graph.nodes.get(&id).ok_or(Errno::ENOENT)?;
            id = node
                .hooks
                .iter()
                .find(|entry| entry.name == hook)
                .ok_or(Errno::ENOENT)?
                .peer;
        }
        graph
            .nodes
            .get(&id)
            .map(|node| node.id)
            .ok_or(Errno::ENOENT)
    }

    /// NGM_MKPEER: the peer is made first, so a refused hook still costs a node ID (recording `06`). Nodes of ng_ether come with their interfaces only (`ng_ether_constructor`).
    pub(crate) fn ng_mkpeer(
        &mut self,
        vnet: VnetId,
        node: u32,
        kind: &str,
        hook: &str,
        peer_hook: &str,
    ) -> Result<(), Errno> {
        let (kind, module) = NodeType::by_name(kind).ok_or(Errno::ENOENT)?;
        self.load_module(module);
        if kind == NodeType::Ether {
            let peer = self.netgraph_mut(vnet).add(kind, "", None);
            self.netgraph_mut(vnet).remove(peer);
            return Err(Errno::EINVAL);
        }
        let peer = self.ng_make(vnet, kind);
        if let Err(errno) = self.ng_connect_nodes(vnet, node, hook, peer, peer_hook) {
            self.ng_shutdown(vnet, peer);
            return Err(errno);
        }
        Ok(())
    }

    fn ng_make(&mut self, vnet: VnetId, kind: NodeType) -> u32 {
        match kind {
            NodeType::Eiface => self.ng_make_eiface(vnet),
            NodeType::Socket | NodeType::Ether | NodeType::Bridge => {
                self.netgraph_mut(vnet).add(kind, "", None)
            }
        }
    }

    fn ng_make_eiface(&mut self, vnet: VnetId) -> u32 {
        let graph = self.netgraph_mut(vnet);
        let unit = graph.eiface_units.lowest_free(|_| true);
        graph.eiface_units.take(unit);
        let name = format!("ngeth{unit}");
        // "Give this node the same name as the interface (if possible)" (`ng_eiface_constructor`).
        let node_name = if graph.names.contains_key(&name) {
            ""
        } else {
            name.as_str()
        };
        let id = graph.add(NodeType::Eiface, node_name, None);
        let bits = self.random().to_be_bytes();
        let mac = [
            (bits[0] & 0xfe) | 0x02,
            bits[1],
            bits[2],
            bits[3],
            bits[4],
            bits[5],
        ];
        let driver = Driver::Eiface { linked: false };
        let interface = self.attach(
            vnet,
            NewIf {
                name,
                cloner: None,
                driver,
                mtu: 1500,
                mac: Some(mac),
                group: None,
            },
        );
        if let Some(node) = self.netgraph_mut(vnet).nodes.get_mut(&id) {
            node.interface = Some(interface);
            node.unit = Some(unit);
        }
        id
    }

    /// An ng_eiface has a link while its hook is connected (recording `06`).
    fn ng_note_links(&mut self, vnet: VnetId, nodes: &[u32]) {
        for id in nodes {
            let Some(node) = self.netgraph(vnet).nodes.get(id) else {
                continue;
            };
            let (linked, interface) = (!node.hooks.is_empty(), node.interface);
            if node.kind == NodeType::Eiface
                && let Some(interface) = interface.and_then(|id| self.ifs.all.get_mut(&id))
            {
                interface.driver = Driver::Eiface { linked };
            }
        }
    }

    pub(crate) fn ng_rmhook(&mut self, vnet: VnetId, node: u32, hook: &str) {
        let touched = self.netgraph_mut(vnet).disconnect(node, hook);
        self.ng_after_disconnect(vnet, &touched);
    }

    /// A switch goes with its last hook unless it is persistent; an ether node is reset then (`ng_bridge_disconnect`, `ng_ether_disconnect`).
    fn ng_after_disconnect(&mut self, vnet: VnetId, touched: &[u32]) {
        self.ng_note_links(vnet, touched);
        for id in touched {
            let nodes = &self.netgraph(vnet).nodes;
            if nodes.get(id).is_some_and(|node| node.hooks.is_empty()) {
                self.ng_set_promiscuous(vnet, *id, false);
            }
            let gone = self.netgraph(vnet).nodes.get(id).is_some_and(|node| {
                node.kind == NodeType::Bridge && node.hooks.is_empty() && !node.persistent
            });
            if gone {
                self.netgraph_mut(vnet).remove(*id);
            }
        }
    }

    /// NGM_SHUTDOWN: hooks go; ether nodes stay, an eiface takes its interface along.
    pub(crate) fn ng_shutdown(&mut self, vnet: VnetId, id: u32) {
        let Some(node) = self.netgraph(vnet).nodes.get(&id) else {
            return;
        };
        let (kind, interface) = (node.kind, node.interface);
        let hooks: Vec<String> = node.hooks.iter().map(|hook| hook.name.clone()).collect();
        let mut touched = Vec::new();
        for hook in hooks {
            touched.extend(self.netgraph_mut(vnet).disconnect(id, &hook));
        }
        touched.retain(|other| *other != id);
        self.ng_after_disconnect(vnet, &touched);
        if kind == NodeType::Ether {
            self.ng_set_promiscuous(vnet, id, false);
            return;
        }
        self.netgraph_mut(vnet).remove(id);
        if let Some(interface) = interface
            && kind == NodeType::Eiface
            && self.ifs.all.contains_key(&interface)
        {
            self.detach(interface);
        }
    }

    /// NGM_NAME (`ng_name_node`, sys/netgraph/ng_base.c).
    pub(crate) fn ng_name(&mut self, vnet: VnetId, id: u32, name: &str) -> Result<(), Errno> {
        let graph = self.netgraph_mut(vnet);
        if graph.nodes.get(&id).is_some_and(|node| node.name == name) {
            return Ok(());
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(['.', ':']) {
            return Err(Errno::EINVAL);
        }
        if id_name(name).is_some() {
            return Err(Errno::EINVAL);
        }
        if graph.names.contains_key(name) {
            return Err(Errno::EADDRINUSE);
        }
        if let Some(node) = graph.nodes.get_mut(&id) {
            graph.names.remove(&node.name);
            name.clone_into(&mut node.name);
            graph.names.insert(name.to_owned(), id);
        }
        Ok(())
    }

    /// NGM_ETHER_SET_PROMISC: the node asks its interface once (ifpromisc).
    pub(crate) fn ng_set_promiscuous(&mut self, vnet: VnetId, id: u32, wanted: bool) {
        let Some(node) = self.netgraph_mut(vnet).nodes.get_mut(&id) else {
            return;
        };
        if node.kind != NodeType::Ether || node.promiscuous == wanted {
            return;
        }
        node.promiscuous = wanted;
        let interface = node.interface;
        if let Some(ifnet) = interface.and_then(|id| self.ifs.all.get_mut(&id)) {
            ifnet.promiscuous = if wanted {
                ifnet.promiscuous + 1
            } else {
                ifnet.promiscuous.saturating_sub(1)
            };
        }
    }

    pub(crate) fn ng_node_mut(&mut self, vnet: VnetId, id: u32) -> Option<&mut Node> {
        self.netgraph_mut(vnet).nodes.get_mut(&id)
    }

    /// ng_ether gives every Ethernet interface a node, unless one of its name is there (as for an ng_eiface at home).
    pub(crate) fn netgraph_interface_arrived(&mut self, id: IfId) {
        if !self.module_loaded("ng_ether") {
            return;
        }
        let ifnet = self.ifnet(id);
        if ifnet.lagg.is_some() || ifnet.is_loopback() {
            return;
        }
        let (vnet, name) = (ifnet.vnet, ifnet.name.replace(['.', ':'], "_"));
        if self.netgraph(vnet).by_name(&name).is_none() {
            self.netgraph_mut(vnet)
                .add(NodeType::Ether, &name, Some(id));
        }
    }

    pub(crate) fn netgraph_attach_all(&mut self) {
        let all: Vec<(VnetId, Vec<IfId>)> = self
            .vnets
            .iter()
            .map(|(id, vnet)| (*id, vnet.interfaces.values().copied().collect()))
            .collect();
        for (_, interfaces) in all {
            for id in interfaces {
                self.netgraph_interface_arrived(id);
            }
        }
    }

    /// The ether node of an interface, whatever it is called.
    pub(crate) fn ether_node_of(&self, id: IfId) -> Option<&Node> {
        let mut nodes = self.netgraph(self.ifnet(id).vnet).nodes.values();
        nodes.find(|node| node.kind == NodeType::Ether && node.interface == Some(id))
    }

    pub(crate) fn netgraph_interface_departed(&mut self, id: IfId) {
        let Some(node) = self.ether_node_of(id).map(|node| node.id) else {
            return;
        };
        let vnet = self.ifnet(id).vnet;
        self.ng_shutdown(vnet, node);
        self.netgraph_mut(vnet).remove(node);
    }

    /// ng_ether_ifnet_arrival_event: the node follows its interface's name; one that is taken leaves it the old one, with a line in the log.
    pub(crate) fn netgraph_interface_renamed(&mut self, id: IfId) {
        let (vnet, name) = (
            self.ifnet(id).vnet,
            self.ifnet(id).name.replace(['.', ':'], "_"),
        );
        if let Some(node) = self.ether_node_of(id).map(|node| node.id) {
            let _ = self.ng_name(vnet, node, &name);
        }
    }
}
