//! Mounted file systems, as mount(8) lists them.

use super::Kernel;
use super::errno::Errno;
use super::zfs::Files;
use crate::files::normalize;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) special: String,
    pub(crate) node: String,
    pub(crate) fstype: String,
    pub(crate) read_only: bool,
    /// Whether `mount` says `local`.
    pub(crate) local: bool,
    /// Further words `mount` prints: `noatime`, `nfsv4acls`.
    pub(crate) options: Vec<&'static str>,
    /// The devfs ruleset that it was mounted with; 0 for none.
    pub(crate) ruleset: u16,
    /// What stands below the mount point, and is not seen while this is mounted. Kept for ZFS alone.
    pub(crate) hidden: Files,
}

impl Mount {
    pub(crate) fn new(special: &str, node: &str, fstype: &str, read_only: bool) -> Self {
        Self {
            special: special.to_owned(),
            node: normalize(node),
            fstype: fstype.to_owned(),
            read_only,
            local: fstype != "devfs",
            options: Vec::new(),
            ruleset: 0,
            hidden: Files::new(),
        }
    }
}

impl Mount {
    /// Whether a path is its mount point or below it.
    pub(crate) fn covers(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.node.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether it holds a vnode at or below `node`: a nullfs has the directory that it shows (`nullfs_mount`, sys/fs/nullfs/null_vfsops.c).
    fn holds(&self, node: &str) -> bool {
        let shown = self.special.strip_prefix(node.trim_end_matches('/'));
        self.fstype == "nullfs"
            && shown.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Kernel {
    pub(crate) fn boot_mounts() -> Vec<Mount> {
        vec![
            Mount::new("/dev/vtbd0", "/", "ufs", false),
            Mount::new("devfs", "/dev", "devfs", false),
            Mount::new("tmpfs", "/tmp", "tmpfs", false),
            Mount::new("/dev/vtbd1", "/payload", "ufs", true),
        ]
    }

    pub(crate) fn mounted_at(&self, node: &str) -> Option<&Mount> {
        let node = normalize(node);
        self.mounts.iter().rev().find(|mount| mount.node == node)
    }

    /// The file system that holds `path`.
    pub(crate) fn mount_of(&self, path: &str) -> Option<&Mount> {
        let path = normalize(path);
        self.mounts
            .iter()
            .rev()
            .filter(|mount| {
                mount.node == "/"
                    || path == mount.node
                    || path.starts_with(&format!("{}/", mount.node))
            })
            .max_by_key(|mount| mount.node.len())
    }

    /// A second nullfs on the same place is a deadlock (recording `08`).
    pub(crate) fn mount(&mut self, mount: Mount) -> Result<(), Errno> {
        if mount.fstype == "nullfs"
            && self
                .mounted_at(&mount.node)
                .is_some_and(|at| at.fstype == "nullfs")
        {
            return Err(Errno::EDEADLK);
        }
        self.mounts.push(mount);
        Ok(())
    }

    /// Takes the topmost mount away; EINVAL when nothing is mounted, EBUSY when another mount or a jail is below.
    pub(crate) fn unmount(&mut self, node: &str, force: bool) -> Result<Mount, Errno> {
        let node = normalize(node);
        let at = self
            .mounts
            .iter()
            .rposition(|mount| mount.node == node)
            .ok_or(Errno::EINVAL)?;
        let below = format!("{}/", node.trim_end_matches('/'));
        let covered = self.mounts[at + 1..]
            .iter()
            .any(|mount| mount.node.starts_with(&below) || mount.holds(&node));
        if !force && (covered || self.path_busy(&node)) {
            return Err(Errno::EBUSY);
        }
        let gone = self.mounts.remove(at);
        self.leave_ruleset(gone.ruleset);
        Ok(gone)
    }

    /// Whether a jail, living or dying, has its root at or below `node`.
    pub(crate) fn path_busy(&self, node: &str) -> bool {
        node != "/" && self.jails.roots_below(node)
    }
}
