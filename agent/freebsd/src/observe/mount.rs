//! Reads mounts: `mount -p`, which alone also shows those that are marked to be ignored (sbin/mount/mount.c).

use cellblock_agent_core::observed::ObservedMount;

/// Reads the mounts in the kernel's order, which is the order in which they were made. Lines that are not mounts are passed over.
#[must_use]
pub fn parse(text: &str) -> Vec<ObservedMount> {
    text.lines().filter_map(line).collect()
}

/// `/dev/vtbd0<tabs>/<tabs>ufs<tab>rw<tabs>1 1`. Tabs fill a column up; a column that is already as wide gets one blank (`putfsent`), and paths may have blanks.
/// The last four fields cannot, so the line is read from its end.
fn line(line: &str) -> Option<ObservedMount> {
    let mut rest = line;
    let mut field = || {
        let trimmed = rest.trim_end();
        let at = trimmed.rfind(char::is_whitespace)?;
        let separator = trimmed[at..].chars().next()?.len_utf8();
        rest = &trimmed[..at];
        Some(&trimmed[at + separator..])
    };
    let (pass, dump, _options, fs_type) = (field()?, field()?, field()?, field()?);
    pass.parse::<u32>().ok()?;
    dump.parse::<u32>().ok()?;
    let paths = rest.trim_end();
    let (source, target) = match paths.split_once('\t') {
        Some((source, target)) => (source, target.trim_start_matches('\t')),
        None => {
            let at = paths.find(" /")?;
            (&paths[..at], &paths[at + 1..])
        }
    };
    Some(ObservedMount {
        source: source.to_owned(),
        target: target.to_owned(),
        fs_type: fs_type.to_owned(),
    })
}

#[cfg(test)]
mod tests;
