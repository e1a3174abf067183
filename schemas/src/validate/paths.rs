//! Rules for paths: on the host, inside a jail, and names of datasets.
//!
//! A path ends up in jail.conf(5), in fstab(5) lines and in commands. Quoting is the renderer's work; what would need it is
//! refused here all the same, because a space in one of these places has never been anything but a mistake.

use crate::structural::cut;
use crate::violation::Refusal;

#[cfg(test)]
mod tests;

/// Octets of a path: MAXPATHLEN and MNAMELEN are 1024 with the terminating NUL (sys/sys/mount.h).
const PATH_BYTES_MAX: usize = 1023;

/// Octets of one component: NAME_MAX (sys/sys/syslimits.h).
const NAME_BYTES_MAX: usize = 255;

/// An absolute path, written in its shortest form.
pub(super) fn absolute(path: &str) -> Result<(), Refusal> {
    let shown = cut(path);
    let Some(below) = path.strip_prefix('/') else {
        return Err(Refusal::new(
            format!("`{shown}` is not an absolute path"),
            "begin it with `/`",
        ));
    };
    if path.len() > PATH_BYTES_MAX {
        let message = format!(
            "a path of {} octets, but the kernel takes at most {PATH_BYTES_MAX}",
            path.len()
        );
        return Err(Refusal::new(message, "shorten it"));
    }
    if let Some(bad) = path.chars().find(|c| forbidden(*c)) {
        let message = format!("`{shown}` has the character {bad:?}");
        return Err(Refusal::new(
            message,
            "white space, quotes and what jail.conf(5) or the shell would read otherwise are refused",
        ));
    }
    // `putfsent` (sbin/mount/mount.c) writes them in the locale of whoever asks.
    if let Some(letter) = path.chars().find(|c| !c.is_ascii()) {
        return Err(Refusal::new(
            format!(
                "`{shown}` has the letter {letter:?}, which mount(8) does not print as it is, so that nobody could tell what is mounted there"
            ),
            "use letters of ASCII",
        ));
    }
    if below.is_empty() {
        return Err(Refusal::new(
            "`/` is the host's own root",
            "give a directory below it",
        ));
    }
    for component in below.split('/') {
        match component {
            "" => {
                return Err(Refusal::new(
                    format!("`{shown}` has an empty component"),
                    "write single slashes and none at the end",
                ));
            }
            "." | ".." => {
                let message = format!("`{shown}` has a `{component}` component");
                return Err(Refusal::new(message, "write the path that is meant"));
            }
            long if long.len() > NAME_BYTES_MAX => {
                let message = format!(
                    "a component of {} octets, but the kernel takes at most {NAME_BYTES_MAX}",
                    long.len()
                );
                return Err(Refusal::new(message, "shorten it"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A directory of the host that may become a jail's root or a mount's source.
pub(super) fn is_below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn forbidden(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(
            c,
            '"' | '\''
                | '\\'
                | '`'
                | '$'
                | '#'
                | ';'
                | '{'
                | '}'
                | '*'
                | '?'
                | '['
                | ']'
                | '<'
                | '>'
                | '|'
                | '&'
        )
}

/// How long the name of a storage's dataset may be: what stands below it is at most 78 longer, and ZFS takes 255 (`ZFS_MAX_DATASET_NAME_LEN`, sys/contrib/openzfs/include/sys/fs/zfs.h).
const DATASET_CHARS_MAX: usize = 160;

/// The name of a ZFS dataset below its pool, as zfs(8) takes it: components of letters, digits, `-`, `_`, `.` and `:` separated by `/`.
pub(super) fn dataset(name: &str) -> Result<(), Refusal> {
    let component = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'))
    };
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if first
        && name.len() <= DATASET_CHARS_MAX
        && name.contains('/')
        && name
            .split('/')
            .all(|part| component(part) && part != "." && part != "..")
    {
        Ok(())
    } else {
        Err(Refusal::new(
            format!("`{}` is not the name of a dataset below a pool", cut(name)),
            format!("write it as zroot/cellblock, in at most {DATASET_CHARS_MAX} characters"),
        ))
    }
}
