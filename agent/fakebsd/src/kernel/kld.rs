//! Kernel modules: which can be loaded, and what loading one brings into being.

use super::Kernel;
use super::errno::Errno;

/// The modules on the emulated disk.
const AVAILABLE: &[&str] = &[
    "if_bridge",
    "if_epair",
    "if_lagg",
    "if_tap",
    "if_vlan",
    "if_vxlan",
    "fdescfs",
    "linprocfs",
    "linsysfs",
    "linux",
    "linux64",
    "ng_bridge",
    "ng_eiface",
    "ng_ether",
    "ng_socket",
    "netgraph",
    "nullfs",
    "pf",
    "pflog",
    "pfsync",
    "procfs",
    "tmpfs",
    "unionfs",
    "zfs",
];

/// What a module pulls in when it is loaded.
fn dependencies(module: &str) -> &'static [&'static str] {
    match module {
        "if_bridge" => &["bridgestp"],
        // MODULE_DEPEND, sys/net/if_lagg.c, sys/compat/linprocfs/linprocfs.c, sys/compat/linsysfs/linsysfs.c.
        "if_lagg" => &["if_infiniband"],
        "linprocfs" | "linsysfs" => &["linux_common"],
        "ng_socket" => &["netgraph"],
        "ng_ether" | "ng_bridge" | "ng_eiface" => &["netgraph", "ng_socket"],
        "zfs" => &["opensolaris"],
        _ => &[],
    }
}

impl Kernel {
    pub(crate) fn module_loaded(&self, module: &str) -> bool {
        self.modules.iter().any(|loaded| loaded == module)
    }

    /// kldload(2): EPERM above securelevel 0 (`kern_kldload`, sys/kern/kern_linker.c), EEXIST when it is loaded, ENOENT when there is none.
    pub(crate) fn kldload(&mut self, module: &str) -> Result<(), Errno> {
        if self.securelevel_of(0) > 0 {
            return Err(Errno::EPERM);
        }
        let module = module.strip_suffix(".ko").unwrap_or(module);
        if self.module_loaded(module) {
            return Err(Errno::EEXIST);
        }
        if !AVAILABLE.contains(&module) || self.modules_missing.contains(module) {
            return Err(Errno::ENOENT);
        }
        self.load_module(module);
        Ok(())
    }

    /// Loads a module and what it needs; nothing if it is there.
    pub(crate) fn load_module(&mut self, module: &str) {
        if self.module_loaded(module) {
            return;
        }
        for needed in dependencies(module) {
            self.load_module(needed);
        }
        self.modules.push(module.to_owned());
        if module == "ng_ether" {
            self.netgraph_attach_all();
        }
    }

    /// kldunload(2).
    pub(crate) fn kldunload(&mut self, module: &str) -> Result<(), Errno> {
        if self.securelevel_of(0) > 0 {
            return Err(Errno::EPERM);
        }
        let module = module.strip_suffix(".ko").unwrap_or(module);
        let at = self
            .modules
            .iter()
            .position(|loaded| loaded == module)
            .ok_or(Errno::ENOENT)?;
        self.modules.remove(at);
        Ok(())
    }
}
