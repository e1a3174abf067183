//! What may stand in the tarball of a release: directories, files, and links that stay below the root. Read from what `tar -tv` prints, before anything is unpacked.
//!
//! tar(1) itself refuses `..` and to write through a link, and takes the leading slash off absolute names, as long as it is not given `-P` (`SECURITY`, contrib/libarchive/tar/bsdtar.c); a tarball that asks
//! for any of it is no release of FreeBSD's, and none of it is unpacked. A symbolic link to an absolute path is one within the jail, whose root is the jail's; nothing on the host follows it.

#[cfg(test)]
mod tests;

/// How many entries a tarball may have: a base of 15.1 has about 30,000.
const ENTRIES_MAX: usize = 2_000_000;

/// The columns before the name: mode, links, owner, group, size, and three of the date (`list_item_verbose`, contrib/libarchive/tar/util.c).
const COLUMNS: usize = 8;

/// Why a tarball is not unpacked, from its listing.
///
/// # Errors
/// An entry is something else than a file, a directory or a link, or leads out of the root; or there is none.
pub fn check(listing: &str) -> Result<(), String> {
    let mut count = 0_usize;
    for line in listing.lines().filter(|line| !line.is_empty()) {
        count += 1;
        if count > ENTRIES_MAX {
            return Err(format!("it has more than {ENTRIES_MAX} entries"));
        }
        let entry = line
            .chars()
            .next()
            .zip(name(line))
            .ok_or_else(|| format!("its listing cannot be read: `{}`", cut(line)))?;
        check_entry(entry.0, entry.1)?;
        check_entered(entry.0, entry.1)?;
    }
    if count == 0 {
        return Err("there is nothing in it".to_owned());
    }
    Ok(())
}

/// What follows the date.
fn name(line: &str) -> Option<&str> {
    let mut rest = line;
    for _ in 0..COLUMNS {
        rest = rest.trim_start_matches(' ');
        rest = &rest[rest.find(' ')?..];
    }
    rest.strip_prefix(' ')
}

fn check_entry(kind: char, text: &str) -> Result<(), String> {
    match kind {
        'd' => check_name(text),
        '-' | 'h' => {
            let mut parts = text.split(" link to ");
            let path = parts.next().unwrap_or_default();
            check_name(path)?;
            for target in parts {
                check_name(target).map_err(|_| {
                    let (path, target) = (cut(path), cut(target));
                    format!("`{path}` is a hard link to `{target}`, which is outside")
                })?;
            }
            Ok(())
        }
        'l' => {
            let mut parts = text.split(" -> ");
            let (Some(path), Some(target), None) = (parts.next(), parts.next(), parts.next())
            else {
                return Err(format!("the link `{}` cannot be read", cut(text)));
            };
            check_name(path)?;
            if climbs(path, target) {
                let (path, target) = (cut(path), cut(target));
                return Err(format!(
                    "`{path}` is a link to `{target}`, which leaves the root"
                ));
            }
            Ok(())
        }
        'b' | 'c' => Err(format!("`{}` is a device", cut(text))),
        'p' => Err(format!("`{}` is a pipe", cut(text))),
        's' => Err(format!("`{}` is a socket", cut(text))),
        _ => Err(format!("nobody knows what `{}` is", cut(text))),
    }
}

/// What is gone into on the host when a root is made of it is a directory: a link there would lead out of it.
fn check_entered(kind: char, text: &str) -> Result<(), String> {
    let path = text.split(" -> ").next().unwrap_or_default();
    let path = path.split(" link to ").next().unwrap_or_default();
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let parts: Vec<&str> = parts.collect();
    if kind != 'd' && matches!(parts[..], [] | ["usr"]) {
        return Err(format!("`{}` is no directory", cut(path)));
    }
    Ok(())
}

fn check_name(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        return Err(format!("`{}` is an absolute path", cut(path)));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(format!("`{}` has `..` in it", cut(path)));
    }
    if path.is_empty() {
        return Err("an entry has no name".to_owned());
    }
    Ok(())
}

/// Whether a symbolic link at `path` climbs above the root that `path` is below.
fn climbs(path: &str, target: &str) -> bool {
    let parts = |text: &'static str| move |part: &&str| *part != text && !part.is_empty();
    let mut depth = path.split('/').filter(parts(".")).count().saturating_sub(1);
    if target.starts_with('/') {
        depth = 0;
    }
    for part in target.split('/').filter(parts(".")) {
        if part == ".." {
            let Some(above) = depth.checked_sub(1) else {
                return true;
            };
            depth = above;
        } else {
            depth += 1;
        }
    }
    false
}

fn cut(text: &str) -> String {
    text.chars().take(120).collect()
}
