//! Modules and sysctls.

use super::{Performer, effect, word};
use crate::command::{Command, Program, words};
use crate::error::Failure;
use crate::observe;

impl Performer<'_> {
    /// `kldload -n`, which is content with a module that is there already.
    pub(super) fn load_module(&self, module: &str) -> Result<(), Failure> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let module = word("the module name", module, 255, plain)?;
        if observe::has_module(self.system, module)? {
            return Ok(());
        }
        self.change(&Command::new(Program::Kldload, ["-n", module]))?;
        let there = observe::has_module(self.system, module)?;
        effect(there, || format!("module {module} is not in the kernel"))
    }

    /// `sysctl OID=VALUE`. A value that the kernel rounds or refuses shows in what it says afterwards.
    pub(super) fn set_sysctl(&self, oid: &str, value: &str) -> Result<(), Failure> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '%');
        let oid = word("the sysctl", oid, 255, plain)?;
        let now = || -> Result<Option<String>, Failure> {
            Ok(observe::sysctls(self.system, [oid])?.remove(oid))
        };
        if now()?.as_deref() == Some(value) {
            return Ok(());
        }
        self.change(&Command::new(
            Program::Sysctl,
            words![format!("{oid}={value}")],
        ))?;
        let now = now()?;
        effect(now.as_deref() == Some(value), || match now {
            Some(now) => format!("sysctl {oid} is {now}, not {value}"),
            None => format!("this kernel has no sysctl {oid}"),
        })
    }
}
