//! Asks getent(1) which numbers the host has for names of users, groups and protocols: what pfctl(8) would find too, wherever nsswitch.conf(5) looks.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_agent_core::host::Wanted;
use cellblock_agent_core::observed::Numbers;

use crate::command::{Command, Program};
use crate::error::Failure;
use crate::system::System;

#[cfg(test)]
mod tests;

/// What getent exits with for a key that it does not find (`RV_NOTFOUND`, usr.bin/getent/getent.c).
const NOT_FOUND: i32 = 2;

/// The numbers of what is asked for; one command for each name.
pub(super) fn numbers(system: &dyn System, wanted: &Wanted) -> Result<Numbers, Failure> {
    Ok(Numbers {
        users: look_up(system, "passwd", &wanted.users)?,
        groups: look_up(system, "group", &wanted.groups)?,
        protocols: look_up(system, "protocols", &wanted.protocols)?,
    })
}

fn look_up(
    system: &dyn System,
    database: &'static str,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, Option<u32>>, Failure> {
    let found = names.iter().map(|name| {
        let command = Command::new(Program::Getent, [database, name.as_str()]);
        let output = system.run(&command)?;
        if output.status == NOT_FOUND {
            return Ok((name.clone(), None));
        }
        if !output.is_success() {
            return Err(Failure::refused(&command, &output));
        }
        let number = parse(database, &output.stdout).ok_or_else(|| Failure::Unreadable {
            program: "getent",
            what: format!("no number in what it printed of {database} {name}"),
        })?;
        Ok((name.clone(), Some(number)))
    });
    found.collect()
}

/// The number in the first line: the third field of passwd(5) and group(5), the second word of protocols(5).
fn parse(database: &str, text: &str) -> Option<u32> {
    let line = text.lines().next()?;
    let number = match database {
        "protocols" => line.split_whitespace().nth(1)?,
        _ => line.split(':').nth(2)?,
    };
    number.parse().ok()
}
