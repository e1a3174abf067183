//! Connecting hooks: which names a node takes, and what it says to others.

use super::{NAME_BYTES_MAX, NodeType};
use crate::kernel::Kernel;
use crate::kernel::errno::Errno;
use crate::kernel::vnet::VnetId;

/// The kinds of links of an ng_bridge with their first numbers: "Historically uplink0 is not allowed" (`ng_bridge_constructor`, sys/netgraph/ng_bridge.c).
const LINKS: [(&str, u32); 2] = [("uplink", 1), ("link", 0)];

/// How many links are tried for a hook that is given without a number; the kernel's limit is INT_MAX.
const LINK_MAX: u32 = i32::MAX.unsigned_abs();

impl Kernel {
    /// NGM_CONNECT: EEXIST when a hook of that name is there; the node's own verdict on the name otherwise. The newer node is asked last (`ng_con_nodes`, sys/netgraph/ng_base.c).
    pub(crate) fn ng_connect_nodes(
        &mut self,
        vnet: VnetId,
        node: u32,
        hook: &str,
        peer: u32,
        peer_hook: &str,
    ) -> Result<(), Errno> {
        for (id, name) in [(node, hook), (peer, peer_hook)] {
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(Errno::EINVAL);
            }
            let entry = self.netgraph(vnet).nodes.get(&id).ok_or(Errno::ENOENT)?;
            if entry.hooks.iter().any(|entry| entry.name == name) {
                return Err(Errno::EEXIST);
            }
        }
        let peer_hook = self.ng_new_hook(vnet, peer, peer_hook)?;
        let hook = self.ng_new_hook(vnet, node, hook)?;
        if node == peer && self.ng_kind(vnet, node) == NodeType::Bridge {
            return Err(Errno::ELOOP);
        }
        self.netgraph_mut(vnet)
            .connect(node, &hook, peer, &peer_hook);
        self.ng_note_links(vnet, &[node, peer]);
        Ok(())
    }

    fn ng_kind(&self, vnet: VnetId, id: u32) -> NodeType {
        let node = self.netgraph(vnet).nodes.get(&id);
        node.map_or(NodeType::Socket, |node| node.kind)
    }

    /// The newhook method of the node's type: the name that the hook has then, or why not.
    fn ng_new_hook(&self, vnet: VnetId, id: u32, name: &str) -> Result<String, Errno> {
        let has = |name: &str| {
            let node = self.netgraph(vnet).nodes.get(&id);
            node.is_some_and(|node| node.hooks.iter().any(|hook| hook.name == name))
        };
        match self.ng_kind(vnet, id) {
            NodeType::Socket => Ok(name.to_owned()),
            // "Divert hook is an alias for lower" (`ng_ether_newhook`).
            NodeType::Ether if name == "divert" && has("lower") => Err(Errno::EISCONN),
            NodeType::Ether if name == "lower" && has("divert") => Err(Errno::EISCONN),
            NodeType::Ether if matches!(name, "lower" | "upper" | "orphans" | "divert") => {
                Ok(name.to_owned())
            }
            NodeType::Ether => Err(Errno::EINVAL),
            NodeType::Eiface if name == "ether" => Ok(name.to_owned()),
            NodeType::Eiface => Err(Errno::EPFNOSUPPORT),
            NodeType::Bridge => link_name(name, has),
        }
    }
}

/// `ng_bridge_newhook`: a number without leading zeros, or none, and then the lowest free one.
fn link_name(name: &str, has: impl Fn(&str) -> bool) -> Result<String, Errno> {
    let kind = LINKS.iter().find(|(stem, _)| name.starts_with(stem));
    let (stem, first) = kind.ok_or(Errno::EINVAL)?;
    let digits = &name[stem.len()..];
    if digits.is_empty() {
        let free = (*first..LINK_MAX)
            .map(|number| format!("{stem}{number}"))
            .find(|name| !has(name));
        return free.ok_or(Errno::EINVAL);
    }
    let number: u32 = digits.parse().map_err(|_| Errno::EINVAL)?;
    if number < *first || format!("{stem}{number}") != name {
        return Err(Errno::EINVAL);
    }
    Ok(name.to_owned())
}
