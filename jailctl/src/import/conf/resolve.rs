//! What jail(8) makes of the blocks for each jail (`load_config` and `add_param`, usr.sbin/jail/config.c): wildcards in their order, `+=`, `no` forms, variables.

use cellblock_schemas::manifest::Diagnostic;

use super::{Block, Piece, Place, Read, Statement, Written};

/// How deep variables may need variables. jail(8) knows no bound; this keeps a file from using up the stack.
const DEPTH_MAX: usize = 256;

/// Variables that are replaced for one parameter, those within variables counted each time: a few lines can double a text as often.
const REPLACED_MAX: usize = 10_000;

/// Parameters that jail(8) itself looks at (`intparams`, usr.sbin/jail/config.c): no variable may be called so.
const OWN: [&str; 45] = [
    "allow.chflags",
    "allow.dying",
    "allow.mount",
    "allow.raw_sockets",
    "allow.set_hostname",
    "allow.socket_af",
    "allow.sysvipc",
    "command",
    "depend",
    "devfs_ruleset",
    "exec.clean",
    "exec.consolelog",
    "exec.created",
    "exec.fib",
    "exec.jail_user",
    "exec.poststart",
    "exec.poststop",
    "exec.prepare",
    "exec.prestart",
    "exec.prestop",
    "exec.release",
    "exec.start",
    "exec.stop",
    "exec.system_jail_user",
    "exec.system_user",
    "exec.timeout",
    "host.hostname",
    "interface",
    "ip4.addr",
    "ip6.addr",
    "ip_hostname",
    "jid",
    "mount",
    "mount.devfs",
    "mount.fdescfs",
    "mount.fstab",
    "mount.procfs",
    "name",
    "path",
    "persist",
    "securelevel",
    "stop.timeout",
    "vnet",
    "vnet.interface",
    "zfs.dataset",
];

/// A value with its variables replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The text.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

/// A parameter of a jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, with a `no` where it was written so.
    pub name: String,
    /// Its values; none where the bare name stands.
    pub values: Vec<Value>,
    /// Where it stands; of several places the last.
    pub place: Place,
}

/// One jail with all that applies to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// The name of its block, those of the blocks around it before it.
    pub name: String,
    /// Its parameters but for `name` and `jid` where its block's name is all there is of them.
    pub parameters: Vec<Parameter>,
    /// Where its block begins.
    pub place: Place,
}

/// A parameter or variable while a jail is put together.
#[derive(Clone, Debug)]
struct Slot {
    name: String,
    is_variable: bool,
    values: Vec<Written>,
    place: Place,
    /// The jail's own name, which nothing may change (`PF_IMMUTABLE`).
    is_fixed: bool,
    /// It is only there because of the block's name.
    is_implied: bool,
}

/// The jails of blocks.
pub(super) fn resolve(blocks: Vec<Block>) -> Read {
    let mut read = Read::default();
    let mut seen: Vec<(&str, &Place)> = Vec::new();
    for (place, block) in blocks.iter().enumerate() {
        if is_wild(&block.name) {
            continue;
        }
        let mut mistakes = Vec::new();
        if let Some((_, first)) = seen.iter().find(|(name, _)| *name == block.name) {
            let message = format!("jail {} is defined at {first} already", block.name);
            let help =
                "jail(8) does not put the two together, and takes one of them: write one block";
            mistakes.push(block.place.error(&block.name, message, help));
        }
        seen.push((&block.name, &block.place));
        let slots = collected(&blocks, place, block, &mut mistakes);
        let parameters = expanded(block, &slots, &mut mistakes);
        if mistakes.is_empty() {
            read.jails.push(Configured {
                name: block.name.clone(),
                parameters,
                place: block.place.clone(),
            });
        }
        read.mistakes.extend(mistakes);
    }
    read
}

/// `wild_jail_name`
fn is_wild(name: &str) -> bool {
    name.split('.').any(|part| part == "*")
}

/// `wild_jail_match`: a last `*` is one or more components, one before it is one.
fn matches_wild(name: &str, wild: &str) -> bool {
    let (mut name, mut wild) = (name, wild);
    while let (Some((one, names)), Some((pattern, wilds))) =
        (name.split_once('.'), wild.split_once('.'))
    {
        if one != pattern && pattern != "*" {
            return false;
        }
        (name, wild) = (names, wilds);
    }
    name == wild || wild == "*"
}

fn collected(
    blocks: &[Block],
    place: usize,
    block: &Block,
    mistakes: &mut Vec<Diagnostic>,
) -> Vec<Slot> {
    let implied = |name: &str| Slot {
        name: name.to_owned(),
        is_variable: false,
        values: vec![Written {
            pieces: vec![Piece::Text(block.name.clone())],
            place: block.place.clone(),
        }],
        place: block.place.clone(),
        is_fixed: true,
        is_implied: true,
    };
    let is_number = block.name.parse::<i64>().is_ok_and(|number| number != 0);
    let mut slots = vec![implied(if is_number { "jid" } else { "name" })];
    let mut did_self = false;
    for (at, wild) in blocks.iter().enumerate() {
        if !is_wild(&wild.name) {
            continue;
        }
        if place < at && !did_self {
            block
                .statements
                .iter()
                .for_each(|one| add(&mut slots, one, mistakes));
            did_self = true;
        }
        if matches_wild(&block.name, &wild.name) {
            wild.statements
                .iter()
                .for_each(|one| add(&mut slots, one, mistakes));
        }
    }
    if !did_self {
        block
            .statements
            .iter()
            .for_each(|one| add(&mut slots, one, mistakes));
    }
    if !slots.iter().any(|slot| slot.name == "name") {
        slots.push(implied("name"));
    }
    slots
}

/// `equalopts`: the same name, or one is the other with a `no` before it, or behind a dot of what both begin with.
fn is_same(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one, other);
    loop {
        if one == other
            || one.strip_prefix("no") == Some(other)
            || other.strip_prefix("no") == Some(one)
        {
            return true;
        }
        match (one.split_once('.'), other.split_once('.')) {
            (Some((head, rest)), Some((other_head, other_rest))) if head == other_head => {
                (one, other) = (rest, other_rest);
            }
            (_, _) => return false,
        }
    }
}

/// `add_param`
fn add(slots: &mut Vec<Slot>, statement: &Statement, mistakes: &mut Vec<Diagnostic>) {
    let Some(slot) = slots
        .iter_mut()
        .find(|slot| is_same(&slot.name, &statement.name))
    else {
        let name = &statement.name;
        if statement.is_variable && OWN.iter().any(|own| is_same(own, name)) {
            let message = format!("variable ${name} cannot have the same name as a parameter");
            let help = "give the variable another name";
            mistakes.push(statement.place.error(name, message, help));
        }
        slots.push(Slot {
            name: statement.name.clone(),
            is_variable: statement.is_variable,
            values: statement.values.clone(),
            place: statement.place.clone(),
            is_fixed: !statement.is_variable && matches!(&*statement.name, "jid" | "name"),
            is_implied: false,
        });
        return;
    };
    let name = &statement.name;
    if slot.is_variable != statement.is_variable {
        let message = format!("variable ${name} cannot have the same name as a parameter");
        let help = "give the variable another name";
        mistakes.push(statement.place.error(name, message, help));
        return;
    }
    if slot.is_fixed {
        let message = format!("cannot redefine parameter {name}");
        let help = "the name of the block is the jail's: rename the block, and remove this";
        mistakes.push(statement.place.error(name, message, help));
        return;
    }
    slot.name.clone_from(name);
    if !statement.appends || statement.values.is_empty() {
        slot.values.clear();
    }
    slot.values.extend(statement.values.iter().cloned());
    slot.place = statement.place.clone();
}

fn expanded(block: &Block, slots: &[Slot], mistakes: &mut Vec<Diagnostic>) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    for slot in slots {
        let mut expansion = Expansion {
            slots,
            through: vec![&slot.name],
            replaced: 0,
            mistakes,
            jail: &block.name,
        };
        let values: Vec<Value> = slot
            .values
            .iter()
            .filter_map(|value| {
                Some(Value {
                    text: expansion.text(&slot.name, value)?,
                    place: value.place.clone(),
                })
            })
            .collect();
        if !slot.is_variable && !slot.is_implied {
            parameters.push(Parameter {
                name: slot.name.clone(),
                values,
                place: slot.place.clone(),
            });
        }
    }
    parameters
}

/// The variables of one parameter being replaced.
struct Expansion<'a> {
    slots: &'a [Slot],
    /// The names that are being looked up, each because of the one before.
    through: Vec<&'a str>,
    replaced: usize,
    mistakes: &'a mut Vec<Diagnostic>,
    jail: &'a str,
}

impl<'a> Expansion<'a> {
    fn mistake(&mut self, value: &Written, parameter: &str, message: String, help: &str) {
        let message = format!("jail {}: {message}", self.jail);
        let found = value.place.error(parameter, message, help);
        if !self.mistakes.contains(&found) {
            self.mistakes.push(found);
        }
    }

    /// None where there is a mistake, which is noted.
    fn text(&mut self, parameter: &str, value: &'a Written) -> Option<String> {
        let mut text = String::new();
        for piece in &value.pieces {
            match piece {
                Piece::Text(more) => text.push_str(more),
                Piece::Variable(name) => text.push_str(&self.variable(parameter, value, name)?),
            }
        }
        Some(text)
    }

    fn variable(&mut self, parameter: &str, value: &'a Written, name: &str) -> Option<String> {
        let slots = self.slots;
        let slot = slots.iter().find(|slot| slot.name == name);
        let Some(slot) = slot.filter(|slot| !slot.values.is_empty()) else {
            let message = format!("variable \"{name}\" not found");
            let help =
                "define it, or put a backslash before the $ where the character itself is meant";
            self.mistake(value, parameter, message, help);
            return None;
        };
        self.replaced += 1;
        if self.replaced > REPLACED_MAX {
            let message = format!("more than {REPLACED_MAX} variables to replace");
            self.mistake(value, parameter, message, "write one of the values out");
            return None;
        }
        if self.through.len() > DEPTH_MAX {
            let message = format!("variables that need variables, {DEPTH_MAX} deep");
            self.mistake(value, parameter, message, "write one of the values out");
            return None;
        }
        if self.through.contains(&slot.name.as_str()) {
            let message = format!("variable loop: {name} is needed to know {name}");
            self.mistake(value, parameter, message, "write one of the values out");
            return None;
        }
        let [single] = slot.values.as_slice() else {
            let message = format!("${name} has several values");
            let help = if value.pieces.len() > 1 {
                "several values cannot be substituted inline: write them out"
            } else {
                "jail(8) of 15.1 dies of a list in a variable (load_config, usr.sbin/jail/config.c): write the values out"
            };
            self.mistake(value, parameter, message, help);
            return None;
        };
        self.through.push(&slot.name);
        let text = self.text(parameter, single);
        self.through.pop();
        text
    }
}
