//! `-t TABLE -T COMMAND`, and `-s Tables` (sbin/pfctl/pfctl_table.c).

use super::{Done, Exit, Run};
use crate::pf::kernel::{Refusal, Table};
use crate::pf::parse::{TableEntry, entries_of_file, entries_of_word};

/// The longest table name.
const NAME_MAX: usize = 31;

impl Run<'_> {
    /// One table command; the answer is the exit status, -1 when it failed.
    pub(super) fn table_command(&mut self, command: &str) -> Done<i32> {
        let name = self.options.table.clone().unwrap_or_default();
        if name.len() > NAME_MAX {
            return self.usage();
        }
        let takes_words = matches!(command, "add" | "delete" | "replace" | "test" | "expire");
        let has_words = !self.options.arguments.is_empty() || self.options.file.is_some();
        if has_words && !takes_words && command != "zero" {
            return self.usage();
        }
        let done = match command {
            "kill" => self.table_kill(&name),
            "flush" => self.table_flush(&name),
            "add" => self.table_add(&name)?,
            "delete" => self.table_delete(&name)?,
            "replace" => self.table_replace(&name)?,
            "show" => self.table_show(&name),
            "test" => return self.table_test(&name),
            "expire" => self.table_expire(&name)?,
            // Counters of addresses are not kept: there is nothing to reset.
            _ => self.table_zero(&name, has_words, command == "reset")?,
        };
        Ok(match done {
            Ok(()) => 0,
            Err(refusal) => {
                self.refuse_table(refusal);
                -1
            }
        })
    }

    fn refuse_table(&mut self, refusal: Refusal) {
        self.warn(match refusal {
            Refusal::NoTable => "Table does not exist.",
            Refusal::NoAnchor => "Anchor does not exist.",
            Refusal::ConstantTable => "Operation not permitted",
        });
    }

    /// `xprintf`.
    fn table_remark(&mut self, text: &str) {
        let dummy = if self.options.no_action {
            " (dummy)"
        } else {
            ""
        };
        self.remark(&format!("{text}{dummy}."));
    }

    /// The members that the command line and `-f` name.
    fn words(&mut self) -> Done<Option<Vec<TableEntry>>> {
        let mut entries = Vec::new();
        for word in self.options.arguments.clone() {
            match entries_of_word(self.facts, &word) {
                Ok(Some(more)) => entries.extend(more),
                Ok(None) => {
                    self.warn(&format!("cannot decode {word}: Invalid argument"));
                    return Ok(None);
                }
                Err(message) => {
                    self.error(&message);
                    return Ok(None);
                }
            }
        }
        if let Some(file) = self.options.file.clone() {
            let text = if file == "-" {
                Some(self.stdin.to_owned())
            } else {
                self.facts.read_file(&file)
            };
            let Some(more) = text.and_then(|text| entries_of_file(self.facts, &text)) else {
                self.warn(&format!("cannot load {file}: No such file or directory"));
                return Ok(None);
            };
            entries.extend(more);
        }
        Ok(Some(entries))
    }

    fn found(&self, name: &str) -> Result<&Table, Refusal> {
        let anchor = self.anchor();
        let found = self
            .pf
            .anchor(&anchor)
            .and_then(|anchor| anchor.tables.get(name));
        found.filter(|table| table.active).ok_or(Refusal::NoTable)
    }

    /// The table, to change; a copy when `-n` forbids changes.
    fn change<T>(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Table) -> T,
    ) -> Result<T, Refusal> {
        if self.found(name)?.constant {
            return Err(Refusal::ConstantTable);
        }
        let anchor = self.anchor();
        let dummy = self.options.no_action;
        let anchor = self
            .pf
            .anchor_mut(anchor.trim_matches('/'))
            .ok_or(Refusal::NoTable)?;
        let table = anchor.tables.get_mut(name).ok_or(Refusal::NoTable)?;
        if dummy {
            Ok(change(&mut table.clone()))
        } else {
            Ok(change(table))
        }
    }

    /// `CREATE_TABLE`: `add` and `replace` make the table, persistent, if it is not there.
    fn create(&mut self, name: &str) {
        if self.found(name).is_ok() {
            return;
        }
        self.table_remark("1 table created");
        if self.options.no_action {
            return;
        }
        let anchor = self.anchor();
        let table = self
            .pf
            .make_anchor(&anchor)
            .tables
            .entry(name.to_owned())
            .or_default();
        (table.active, table.persist) = (true, true);
    }

    fn table_kill(&mut self, name: &str) -> Result<(), Refusal> {
        self.found(name)?;
        if !self.options.no_action {
            let anchor = self.anchor();
            if let Some(found) = self.pf.anchor_mut(anchor.trim_matches('/')) {
                found.tables.remove(name);
            }
            self.pf.remove_if_empty(&anchor);
        }
        self.table_remark("1 table deleted");
        Ok(())
    }

    fn table_flush(&mut self, name: &str) -> Result<(), Refusal> {
        let count = self.change(name, |table| {
            let count = table.len();
            table.clear();
            count
        })?;
        self.table_remark(&format!("{count} addresses deleted"));
        Ok(())
    }

    fn table_add(&mut self, name: &str) -> Done<Result<(), Refusal>> {
        let Some(entries) = self.words()? else {
            return Err(Exit(-1));
        };
        self.create(name);
        let total = entries.len();
        let added = self.change(name, |table| {
            entries
                .into_iter()
                .filter(|entry| table.add(*entry))
                .collect::<Vec<_>>()
        });
        Ok(added.map(|added| {
            self.table_remark(&format!("{}/{total} addresses added", added.len()));
            self.feedback('A', &added);
        }))
    }

    fn table_delete(&mut self, name: &str) -> Done<Result<(), Refusal>> {
        let Some(entries) = self.words()? else {
            return Err(Exit(-1));
        };
        let total = entries.len();
        let deleted = self.change(name, |table| {
            let gone =
                |entry: &TableEntry| table.get(*entry) == Some(*entry) && table.remove(*entry);
            let mut gone = gone;
            entries
                .into_iter()
                .filter(|entry| gone(entry))
                .collect::<Vec<_>>()
        });
        Ok(deleted.map(|deleted| {
            self.table_remark(&format!("{}/{total} addresses deleted", deleted.len()));
            self.feedback('D', &deleted);
        }))
    }

    fn table_replace(&mut self, name: &str) -> Done<Result<(), Refusal>> {
        let Some(entries) = self.words()? else {
            return Err(Exit(-1));
        };
        self.create(name);
        let replaced = self.change(name, |table| {
            let old: Vec<TableEntry> = table.entries().collect();
            let network = |entry: &TableEntry| (entry.address, entry.bits);
            let (mut added, mut changed) = (Vec::new(), Vec::new());
            for entry in &entries {
                match old.iter().find(|known| network(known) == network(entry)) {
                    None if added.iter().any(|known| network(known) == network(entry)) => {}
                    None => added.push(*entry),
                    Some(known) if known.negated != entry.negated => changed.push(*entry),
                    Some(_) => {}
                }
            }
            let gone =
                |known: &&TableEntry| !entries.iter().any(|entry| network(entry) == network(known));
            let deleted: Vec<TableEntry> = old.iter().filter(gone).copied().collect();
            for entry in deleted.iter().chain(&changed) {
                table.remove(*entry);
            }
            for entry in added.iter().chain(&changed) {
                table.add(*entry);
            }
            (added, deleted, changed)
        });
        Ok(replaced.map(|(added, deleted, changed)| {
            let lists = [
                ('A', "added", &added),
                ('D', "deleted", &deleted),
                ('C', "changed", &changed),
            ];
            for (_, word, list) in lists {
                if !list.is_empty() {
                    self.table_remark(&format!("{} addresses {word}", list.len()));
                }
            }
            if lists.iter().all(|(_, _, list)| list.is_empty()) {
                self.table_remark("no changes");
            }
            for (letter, _, list) in lists {
                self.feedback(letter, list);
            }
        }))
    }

    fn table_show(&mut self, name: &str) -> Result<(), Refusal> {
        let entries: Vec<TableEntry> = self.found(name)?.entries().collect();
        for entry in entries {
            self.print(&entry_text(' ', entry));
            if self.options.verbose > 0 {
                let cleared = self.date(std::time::Duration::ZERO);
                self.print(&format!("\tCleared:     {cleared}"));
            }
        }
        Ok(())
    }

    /// Exit status 2 when not every address matches.
    fn table_test(&mut self, name: &str) -> Done<i32> {
        let Some(entries) = self.words()? else {
            return Ok(-1);
        };
        let found = match self.found(name) {
            Ok(found) => found,
            Err(refusal) => {
                self.refuse_table(refusal);
                return Ok(-1);
            }
        };
        let lookups: Vec<(TableEntry, Option<TableEntry>)> = entries
            .iter()
            .map(|entry| (*entry, found.lookup(entry.address)))
            .collect();
        let matches = |hit: &Option<TableEntry>| hit.is_some_and(|hit| !hit.negated);
        let count = lookups.iter().filter(|(_, hit)| matches(hit)).count();
        self.table_remark(&format!("{count}/{} addresses match", lookups.len()));
        for (entry, hit) in &lookups {
            match self.options.verbose {
                0 => {}
                1 if matches(hit) => self.print(&entry_text('M', *entry)),
                1 => {}
                _ => {
                    let answer = match hit {
                        None => "\t nomatch".to_owned(),
                        Some(hit) => format!("\t{}", &entry_text(' ', *hit)[2..]),
                    };
                    let letter = if matches(hit) {
                        'M'
                    } else if hit.is_some() {
                        'X'
                    } else {
                        ' '
                    };
                    let text = entry_text(letter, *entry);
                    self.print(&format!("{text}{answer}"));
                }
            }
        }
        Ok(if count < lookups.len() { 2 } else { 0 })
    }

    /// Entries have no age here: none is ever old enough.
    fn table_expire(&mut self, name: &str) -> Done<Result<(), Refusal>> {
        let [age] = self.options.arguments.as_slice() else {
            return self.usage();
        };
        if age.parse::<u32>().is_err() {
            return self.die("expiry time: invalid");
        }
        let found = self.found(name).map(|_| ());
        if found.is_ok() {
            self.table_remark("0/0 addresses expired");
        }
        Ok(found)
    }

    fn table_zero(&mut self, name: &str, some: bool, reset: bool) -> Done<Result<(), Refusal>> {
        let entries = if some {
            self.words()?
        } else {
            Some(Vec::new())
        };
        let Some(entries) = entries else {
            return Err(Exit(-1));
        };
        let found = match self.found(name) {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let known = entries
            .iter()
            .filter(|entry| found.get(**entry).is_some())
            .count();
        let text = if reset {
            format!("0/{} stats cleared", found.len())
        } else if some {
            format!("{known}/{} addresses cleared", entries.len())
        } else {
            "1 table/stats cleared".to_owned()
        };
        self.table_remark(&text);
        Ok(Ok(()))
    }

    fn feedback(&mut self, letter: char, entries: &[TableEntry]) {
        if self.options.verbose > 0 {
            for entry in entries {
                self.print(&entry_text(letter, *entry));
            }
        }
    }

    /// `-s Tables`.
    pub(super) fn show_tables(&mut self, titled: bool) -> Done {
        let anchor = self.anchor();
        let Some(found) = self.pf.anchor(&anchor) else {
            self.warn("Anchor does not exist.");
            return Err(Exit(1));
        };
        let flags = |table: &Table| {
            let letters = [
                (table.constant, 'c'),
                (table.persist, 'p'),
                (table.active, 'a'),
                (false, 'i'),
                (table.references > 0, 'r'),
                (false, 'h'),
                (table.counters, 'C'),
            ];
            letters
                .iter()
                .map(|(set, letter)| if *set { *letter } else { '-' })
                .collect::<String>()
        };
        let mut lines = Vec::new();
        for (name, table) in found.tables.iter().filter(|(_, table)| table.active) {
            if self.options.verbose == 0 {
                lines.push(name.clone());
                continue;
            }
            let suffix = if anchor.is_empty() {
                String::new()
            } else {
                format!("\t{anchor}")
            };
            lines.push(format!("{}\t{name}{suffix}", flags(table)));
            if self.options.verbose > 1 {
                lines.extend(self.table_statistics(table));
            }
        }
        if titled && !lines.is_empty() {
            self.title("TABLES:");
        }
        for line in lines {
            self.print(&line);
        }
        Ok(())
    }

    /// `print_tstats`.
    fn table_statistics(&self, table: &Table) -> Vec<String> {
        let mut lines = vec![
            format!("\tAddresses:   {}", table.len()),
            format!("\tCleared:     {}", self.date(std::time::Duration::ZERO)),
            format!(
                "\tReferences:  [ Anchors: {:<18} Rules: {:<18} ]",
                0, table.references
            ),
            format!("\tEvaluations: [ NoMatch: {:<18} Match: {:<18} ]", 0, 0),
        ];
        for name in [
            "In/Block:",
            "In/Pass:",
            "In/XPass:",
            "Out/Block:",
            "Out/Pass:",
            "Out/XPass:",
        ] {
            lines.push(format!(
                "\t{name:<12} [ Packets: {:<18} Bytes: {:<18} ]",
                0, 0
            ));
        }
        lines
    }
}

/// `print_addrx`.
fn entry_text(letter: char, entry: TableEntry) -> String {
    let not = if entry.negated { '!' } else { ' ' };
    let width = if entry.address.is_ipv4() { 32 } else { 128 };
    let bits = if entry.bits < width {
        format!("/{}", entry.bits)
    } else {
        String::new()
    };
    format!("{letter} {not}{}{bits}", entry.address)
}
