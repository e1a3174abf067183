//! How large an answer may be: it comes as one datagram into the socket's receive buffer (sys/netgraph/ng_socket.c).

use crate::kernel::Kernel;
use crate::kernel::errno::Errno;
use crate::kernel::vnet::VnetId;

/// What a socket's buffer may be at most: `BUF_MAX_ADJ` of the 2 MiB that kern.ipc.maxsockbuf is (sys/kern/uipc_sockbuf.c).
const RECVSPACE_MAX: u64 = 2 * 1024 * 1024 * 2048 / (256 + 2048);

/// What every answer has: the sender's `struct sockaddr_ng` of 16 octets and `struct ng_mesg` of 56 (sys/netgraph/ng_message.h).
const ENVELOPE: usize = 16 + 56;

/// `struct nodeinfo`.
const NODE: usize = 72;

/// `struct linkinfo`.
const LINK: usize = 136;

/// `numnames` of `struct namelist`.
const COUNT: usize = 4;

impl Kernel {
    fn ng_receive_space(&self) -> u64 {
        let set = self.sysctls.get("net.graph.recvspace");
        set.and_then(|value| value.parse().ok())
            .unwrap_or(20 * 1024)
    }

    /// `soreserve` of a new socket (`ng_attach_common`).
    pub(super) fn ng_reserve(&self) -> Result<(), Errno> {
        if self.ng_receive_space() > RECVSPACE_MAX {
            return Err(Errno::ENOBUFS);
        }
        Ok(())
    }

    /// `sbappendaddr_locked` of an answer (`ngs_rcvmsg`).
    fn ng_fits(&self, octets: usize) -> Result<(), Errno> {
        let octets = u64::try_from(octets + ENVELOPE).unwrap_or(u64::MAX);
        if octets > self.ng_receive_space() {
            return Err(Errno::ENOBUFS);
        }
        Ok(())
    }

    /// NGM_LISTNODES, NGM_LISTNAMES: `struct namelist`, with every node of the stack, ngctl's own too, or every one that has a name.
    pub(crate) fn ng_list_fits(&self, vnet: VnetId, named_only: bool) -> Result<(), Errno> {
        let nodes = self.netgraph(vnet).nodes.values();
        let listed = nodes.filter(|node| !named_only || !node.name.is_empty());
        self.ng_fits(COUNT + NODE * listed.count())
    }

    /// NGM_LISTHOOKS: `struct hooklist`.
    pub(crate) fn ng_hooks_fit(&self, hooks: usize) -> Result<(), Errno> {
        self.ng_fits(NODE + LINK * hooks)
    }
}
