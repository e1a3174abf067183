//! The names: of objects, of jails, of interfaces, of labels. Pure text rules, each with the reason in its message.

use crate::structural::cut;
use crate::violation::Refusal;

#[cfg(test)]
mod tests;

/// Characters of an interface's name: IFNAMSIZ is 16 with the terminating NUL (sys/net/if.h).
pub const INTERFACE_CHARS_MAX: usize = 15;

/// Characters of a jail's name. The kernel takes 255 (MAXHOSTNAMELEN, sys/kern/kern_jail.c), which is also what a file's name may have (NAME_MAX), and the agent calls files after
/// the jail: `.NAME.conf.new` while it writes one, `NAME.console`.
pub const JAIL_NAME_CHARS_MAX: usize = 240;

/// Characters of a DNS label (RFC 1123).
pub const DNS_LABEL_CHARS_MAX: usize = 63;

/// A DNS label: lower-case letters, digits and `-`, beginning and ending with a letter or digit.
pub(crate) fn dns_label(name: &str) -> Result<(), Refusal> {
    let help = "a DNS label: lower-case letters, digits and `-`, beginning and ending with a letter or digit, at most 63 characters";
    if name.is_empty() {
        return Err(Refusal::new("the name is empty", help));
    }
    if name.chars().count() > DNS_LABEL_CHARS_MAX {
        let message = format!(
            "`{}` has {} characters, but a name has at most {DNS_LABEL_CHARS_MAX}",
            cut(name),
            name.chars().count()
        );
        return Err(Refusal::new(message, help));
    }
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.chars().all(inner) && !name.starts_with('-') && !name.ends_with('-') {
        Ok(())
    } else {
        Err(Refusal::new(
            format!("`{}` is not a DNS label", cut(name)),
            help,
        ))
    }
}

/// The name of an interface inside a jail.
pub(crate) fn interface(name: &str) -> Result<(), Refusal> {
    let help = "a letter first, then letters, digits, `-` and `_`, at most 15 characters";
    let count = name.chars().count();
    if count > INTERFACE_CHARS_MAX {
        let message = format!(
            "`{}` has {count} characters, but an interface's name has at most {INTERFACE_CHARS_MAX}",
            cut(name)
        );
        return Err(Refusal::new(message, help));
    }
    if name == "lo0" {
        let message = "`lo0` is every jail's own loopback interface";
        return Err(Refusal::new(message, "give the attachment another name"));
    }
    if name.contains('.') {
        let message = format!(
            "`{}` has a dot, which rc.conf(5) in the jail cannot spell as a variable's name",
            cut(name)
        );
        return Err(Refusal::new(message, help));
    }
    let rest = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(rest) {
        Ok(())
    } else {
        Err(Refusal::new(
            format!("`{}` is not a name for an interface", cut(name)),
            help,
        ))
    }
}

/// The name of an interface that exists on a host. It may have a dot (`igb0.30`).
pub(crate) fn host_interface(name: &str) -> Result<(), Refusal> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if first && name.chars().all(plain) && name.len() <= INTERFACE_CHARS_MAX {
        Ok(())
    } else {
        let help = "the name that ifconfig(8) shows, such as igb0, at most 15 characters";
        Err(Refusal::new(
            format!("`{}` is not the name of an interface", cut(name)),
            help,
        ))
    }
}

/// A jail's name as jls(8) shows it.
pub(crate) fn jail_name(name: &str) -> Result<(), Refusal> {
    let count = name.chars().count();
    if name.is_empty() {
        return Err(Refusal::new(
            "the jail's name is empty",
            "leave the field out to use the object's name",
        ));
    }
    if count > JAIL_NAME_CHARS_MAX {
        let message = format!(
            "the jail's name has {count} characters, but it may have at most {JAIL_NAME_CHARS_MAX}"
        );
        return Err(Refusal::new(message, "shorten it"));
    }
    if name.contains('.') {
        let message = format!(
            "`{}` has a dot, which separates a jail from its child jails",
            cut(name)
        );
        return Err(Refusal::new(message, "write `-` or `_` instead"));
    }
    if name
        .trim_start_matches(['+', '-'])
        .chars()
        .all(|c| c.is_ascii_digit())
    {
        let message = format!(
            "`{}` is a number, which every tool reads as a jid",
            cut(name)
        );
        return Err(Refusal::new(message, "begin it with a letter"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if let Some(bad) = name.chars().find(|c| !plain(*c)) {
        let message = format!("`{}` has the character {bad:?}", cut(name));
        let help = "letters, digits, `-` and `_`: others mean something to jail.conf(5), rctl(8) or the shell";
        return Err(Refusal::new(message, help));
    }
    if name.starts_with('-') {
        let message = format!(
            "`{}` begins with `-`, which jail(8) would read as an option",
            cut(name)
        );
        return Err(Refusal::new(message, "begin it with a letter"));
    }
    Ok(())
}

/// The name of an entry that other fields refer to: an uplink, a public address, a published port, a rule.
pub(crate) fn entry(name: &str) -> Result<(), Refusal> {
    dns_label(name)
}

/// The key of a label, an annotation or a taint: an optional DNS name and `/`, then a name of at most 63 characters.
pub(crate) fn qualified(key: &str) -> Result<(), Refusal> {
    let help = "a name of letters, digits, `-`, `_` and `.`, at most 63 characters, beginning and ending with a letter or digit; before it a DNS name and `/` if wanted";
    let refuse = || {
        Err(Refusal::new(
            format!("`{}` is not a valid key", cut(key)),
            help,
        ))
    };
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            if prefix.len() > 253 || !prefix.split('.').all(|label| dns_label(label).is_ok()) {
                return refuse();
            }
            name
        }
        None => key,
    };
    if name.is_empty() || !is_label_text(name) {
        refuse()
    } else {
        Ok(())
    }
}

/// The value of a label or taint: empty, or as the name of a key.
pub(crate) fn label_value(value: &str) -> Result<(), Refusal> {
    if value.is_empty() || is_label_text(value) {
        return Ok(());
    }
    let help = "letters, digits, `-`, `_` and `.`, at most 63 characters, beginning and ending with a letter or digit; free text belongs into annotations";
    Err(Refusal::new(
        format!("`{}` is not a valid label value", cut(value)),
        help,
    ))
}

fn is_label_text(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= DNS_LABEL_CHARS_MAX
        && text.chars().all(inner)
        && edge(text.chars().next())
        && edge(text.chars().next_back())
}
