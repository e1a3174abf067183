//! `table <name> …`: `tabledef` of parse.y.

use std::net::IpAddr;

use super::host::{Host, TABLE_NAME_MAX};
use super::{Outcome, Parser};
use crate::pf::print::address_text;
use crate::pf::rule::{Address, Af};

/// A member of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableEntry {
    /// The address, masked.
    pub address: IpAddr,
    /// Prefix length.
    pub bits: u8,
    /// `!` before it.
    pub negated: bool,
}

/// A table as a text defines it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableDefinition {
    /// Its name.
    pub name: String,
    /// `const`.
    pub constant: bool,
    /// `persist`.
    pub persist: bool,
    /// `counters`.
    pub counters: bool,
    /// Its members; `None` if the text gave no list, which leaves those of an existing table alone.
    pub entries: Option<Vec<TableEntry>>,
}

/// Members from a list or a file, as they are printed back.
enum Source {
    List(Vec<Host>),
    File(String),
}

/// The entries that hosts stand for; `None` where one of them can't be an entry (`append_addr_host`).
pub(crate) fn entries_of(
    hosts: &[(Address, Option<Af>)],
    negated: bool,
) -> Option<Vec<TableEntry>> {
    hosts
        .iter()
        .map(|(address, af)| match (address, af) {
            (Address::Net { address, bits }, _) if *bits <= Af::of(*address).bits() => {
                Some(TableEntry {
                    address: *address,
                    bits: *bits,
                    negated,
                })
            }
            (Address::Any, Some(Af::Inet)) => Some(TableEntry {
                address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
                bits: 0,
                negated,
            }),
            (Address::Any, Some(Af::Inet6)) => Some(TableEntry {
                address: IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
                bits: 0,
                negated,
            }),
            (
                Address::Any
                | Address::Net { .. }
                | Address::Range { .. }
                | Address::Interface { .. }
                | Address::Table(_)
                | Address::NoRoute
                | Address::UrpfFailed,
                _,
            ) => None,
        })
        .collect()
}

impl Parser<'_> {
    pub(super) fn table(&mut self) -> Outcome<()> {
        self.bump();
        self.expect_char('<')?;
        let name = self.word()?;
        self.expect_char('>')?;
        let mut table = TableDefinition {
            name,
            ..TableDefinition::default()
        };
        let mut sources = Vec::new();
        let mut listed = false;
        loop {
            if self.at_word() {
                match self.word()?.as_str() {
                    "const" => table.constant = true,
                    "persist" => table.persist = true,
                    "counters" => table.counters = true,
                    other => return self.fail(&format!("invalid table option '{other}'")),
                }
            } else if self.key("file") {
                sources.push(Source::File(self.word()?));
                listed = true;
            } else if self.at_char('{') {
                if let Some(hosts) = self.member_list()? {
                    sources.push(Source::List(hosts));
                }
                listed = true;
            } else {
                break;
            }
        }
        if table.name.len() > TABLE_NAME_MAX {
            return self.fail(&format!("table name too long, max {TABLE_NAME_MAX} chars"));
        }
        if !self.request.with_tables {
            return Ok(());
        }
        let entries = self.members(&sources)?;
        table.entries = listed.then_some(entries);
        let text = definition_text(&table, &sources);
        self.say(&text);
        self.tables.push(table);
        Ok(())
    }

    /// `{ … }`; `None` for empty braces.
    fn member_list(&mut self) -> Outcome<Option<Vec<Host>>> {
        self.expect_char('{')?;
        self.newlines();
        if self.char('}') {
            return Ok(None);
        }
        let mut hosts = Vec::new();
        loop {
            hosts.extend(self.hosts()?);
            self.newlines();
            if self.char('}') {
                break;
            }
            self.char(',');
        }
        for host in &hosts {
            let problem = match host.address {
                Address::Any | Address::Net { .. } => continue,
                Address::Range { .. } => "address ranges are not permitted inside tables",
                Address::Interface { .. } => "dynamic addresses are not permitted inside tables",
                Address::Table(_) => "tables cannot contain tables",
                Address::NoRoute => "\"no-route\" is not permitted inside tables",
                Address::UrpfFailed => "\"urpf-failed\" is not permitted inside tables",
            };
            return self.fail(problem);
        }
        Ok(Some(hosts))
    }

    fn members(&mut self, sources: &[Source]) -> Outcome<Vec<TableEntry>> {
        let mut entries = Vec::new();
        for source in sources {
            match source {
                Source::List(hosts) => {
                    for host in hosts {
                        match entries_of(&[(host.address.clone(), host.af)], host.negated) {
                            Some(more) => entries.extend(more),
                            None => {
                                return self.fail("cannot create address buffer: Invalid argument");
                            }
                        }
                    }
                }
                Source::File(file) => {
                    let Some(text) = self.facts.read_file(file) else {
                        return self.fail(&format!(
                            "cannot load \"{file}\": No such file or directory"
                        ));
                    };
                    match entries_of_file(self.facts, &text) {
                        Some(more) => entries.extend(more),
                        None => return self.fail(&format!("file \"{file}\" contains bad data")),
                    }
                }
            }
        }
        Ok(entries)
    }
}

/// The members in a file: words, `#` and `;` begin remarks (`pfr_next_token`).
pub(crate) fn entries_of_file(
    facts: &dyn crate::pf::NetFacts,
    text: &str,
) -> Option<Vec<TableEntry>> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        for word in line.split_whitespace() {
            entries.extend(entries_of_word(facts, word).ok()??);
        }
    }
    Some(entries)
}

/// The members that one word of a command line or a file stands for (`append_addr`): the message of `host()` if it
/// is none, nothing if it can't be a member.
pub(crate) fn entries_of_word(
    facts: &dyn crate::pf::NetFacts,
    word: &str,
) -> Result<Option<Vec<TableEntry>>, String> {
    let name = word.trim_start_matches('!');
    let negated = (word.len() - name.len()) % 2 == 1;
    let hosts = super::host::lookup(facts, name)?;
    Ok(entries_of(&hosts, negated))
}

/// `print_tabledef`.
fn definition_text(table: &TableDefinition, sources: &[Source]) -> String {
    let mut text = format!("table <{}>", table.name);
    let flags = [
        (table.constant, " const"),
        (table.persist, " persist"),
        (table.counters, " counters"),
    ];
    text.extend(flags.iter().filter(|(set, _)| *set).map(|(_, word)| *word));
    let mut open = false;
    for source in sources {
        match source {
            Source::File(file) => {
                if std::mem::take(&mut open) {
                    text.push_str(" }");
                }
                text.push_str(&format!(" file \"{file}\""));
            }
            Source::List(hosts) => {
                if !std::mem::replace(&mut open, true) {
                    text.push_str(" {");
                }
                for host in hosts {
                    text.push_str(if host.negated { " !" } else { " " });
                    text.push_str(&address_text(&host.address, host.af));
                }
            }
        }
    }
    if open {
        text.push_str(" }");
    } else if sources.is_empty() && table.entries.is_some() {
        text.push_str(" { }");
    }
    text
}
