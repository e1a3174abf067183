//! Reads what sysctl(8) prints: `sysctl -i OID …` names each oid before its value and says nothing of oids that do not exist.

use std::collections::{BTreeMap, BTreeSet};

/// The prefix of the oids that stand for the parameters of jails.
pub(crate) const JAIL_PARAMETERS: &str = "security.jail.param";

/// Reads the values of the oids `asked`. A value may have several lines: a line belongs to the value above it unless it begins with an oid that was asked for.
#[must_use]
pub fn parse<'a>(text: &str, asked: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
    let asked: BTreeSet<&str> = asked.into_iter().collect();
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        match line.split_once(':').filter(|(oid, _)| asked.contains(oid)) {
            Some((oid, value)) => {
                values.insert(oid.to_owned(), value.trim().to_owned());
                current = Some(oid.to_owned());
            }
            None => {
                if let Some(value) = current.as_ref().and_then(|oid| values.get_mut(oid)) {
                    value.push('\n');
                    value.push_str(line);
                }
            }
        }
    }
    values
}

/// Reads `sysctl -N security.jail.param`: the parameters that this kernel's jails know. A trailing dot marks a node that can also be `new` or `inherit`; its name stands without one too.
#[must_use]
pub fn parse_jail_parameters(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix(JAIL_PARAMETERS)?.strip_prefix('.'))
        .filter(|name| !name.is_empty() && !name.ends_with('.'))
        .map(str::to_owned)
        .collect()
}

/// Reads `sysctl -x kern.boot_id`: `kern.boot_id: Format: Length:16 Dump:0x…` (`show_var`, sbin/sysctl/sysctl.c).
#[must_use]
pub fn parse_boot_id(text: &str) -> Option<String> {
    let (_, dump) = text.trim().split_once("Dump:0x")?;
    let dump = dump.trim();
    let hexadecimal = !dump.is_empty() && dump.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal.then(|| dump.to_owned())
}

/// Reads the value of `kern.boottime`: `{ sec = 1750000000, usec = 123456 } Sun Jun …`.
#[must_use]
pub fn parse_boot_time(value: &str) -> Option<String> {
    let number = |key: &str| {
        let (_, rest) = value.split_once(key)?;
        let digits: String = rest
            .trim_start_matches([' ', '='])
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        (!digits.is_empty()).then_some(digits)
    };
    Some(format!("{}.{}", number("sec")?, number("usec")?))
}

#[cfg(test)]
mod tests;
