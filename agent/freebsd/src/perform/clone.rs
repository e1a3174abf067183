//! Cloned interfaces: made, marked and named by one command, so that a crash leaves nothing unmarked.
//!
//! ifconfig(8) performs the words behind `create` one by one on what it made, and prints the name that the interface has at its end, on failure too (`ifconfig_ioctl` and `printifnamemaybe`,
//! sbin/ifconfig/ifconfig.c). Between the words a kill can still fall; what it leaves carries the mark already, under the driver's own name, and is found by it.

use cellblock_agent_core::observed::Interface;

use super::{Performer, carries, effect, interface_word};
use crate::command::{Command, Program, words};
use crate::error::Failure;

impl Performer<'_> {
    /// What is under `name`: ours, nothing, or an error.
    pub(super) fn find_ours(
        &self,
        name: &str,
        description: &str,
    ) -> Result<Option<Interface>, Failure> {
        let found = self.find(name)?;
        if found
            .as_ref()
            .is_some_and(|interface| !carries(interface, description))
        {
            return Err(Failure::NameTaken {
                what: "interface",
                name: name.to_owned(),
            });
        }
        Ok(found)
    }

    /// `ifconfig DRIVER create descr … name NAME up`, unless it is there already.
    pub(super) fn clone_marked(
        &self,
        driver: &str,
        name: &str,
        description: &str,
    ) -> Result<(), Failure> {
        let name = interface_word(name)?;
        if self.find_ours(name, description)?.is_some() {
            return Ok(());
        }
        let arguments = words![driver, "create", "descr", description, "name", name, "up"];
        let command = Command::new(Program::Ifconfig, arguments);
        let output = self.run(&command)?;
        if output.is_success() {
            return Ok(());
        }
        if let Some(made) = output.stdout.lines().next_back() {
            self.undo(made.trim(), description);
        }
        Err(Failure::refused(&command, &output))
    }

    /// Destroys what a failed operation made itself, if it still carries our mark. A failure of this is only logged: the first error is the one to tell, and the mark stays to be found.
    pub(super) fn undo(&self, made: &str, description: &str) {
        let undone = self.find(made).and_then(|found| match found {
            Some(interface) if carries(&interface, description) => {
                self.ifconfig(words![made, "destroy"]).map(|_| ())
            }
            Some(_) | None => Ok(()),
        });
        if let Err(error) = undone {
            tracing::warn!(interface = made, %error, "what a failed operation made is left behind");
        }
    }

    /// A cloned lo(4).
    pub(super) fn create_loopback(&self, name: &str, description: &str) -> Result<(), Failure> {
        self.clone_marked("lo", name, description)?;
        self.set_up(name, true)?;
        let found = self.expect(name)?;
        effect(carries(&found, description), || {
            format!("loopback {name} does not carry its mark")
        })
    }

    /// Destroys an interface that still carries exactly `description`.
    pub(super) fn destroy_interface(&self, name: &str, description: &str) -> Result<(), Failure> {
        let Some(found) = self.find(name)? else {
            return Ok(());
        };
        if found.description.as_deref() != Some(description) || description.is_empty() {
            return Err(Failure::Changed(format!(
                "interface {name} does not carry the description `{description}` any more"
            )));
        }
        let command = Command::new(Program::Ifconfig, words![name, "destroy"]);
        let output = self.run(&command)?;
        match self.find(name)? {
            None => Ok(()),
            // Another one of that name, which came back from a jail (recording `12`).
            Some(left) if left.description.as_deref() != Some(description) => Ok(()),
            Some(_) if output.is_success() => {
                effect(false, || format!("interface {name} is still there"))
            }
            Some(_) => Err(Failure::refused(&command, &output)),
        }
    }
}
