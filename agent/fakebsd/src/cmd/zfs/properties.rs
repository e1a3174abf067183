//! Native properties: their defaults, what they may be set to, and how sizes and times are written.

/// Native properties in the order of `zfs get all`, with their defaults; `None` for those that are computed (recording `10`).
pub(super) const PROPERTIES: &[(&str, Option<&str>)] = &[
    ("type", None),
    ("creation", None),
    ("used", None),
    ("available", None),
    ("referenced", None),
    ("compressratio", None),
    ("mounted", None),
    ("origin", None),
    ("quota", Some("0")),
    ("reservation", Some("0")),
    ("recordsize", Some("131072")),
    ("mountpoint", None),
    ("sharenfs", Some("off")),
    ("checksum", Some("on")),
    ("compression", Some("on")),
    ("atime", Some("on")),
    ("devices", Some("on")),
    ("exec", Some("on")),
    ("setuid", Some("on")),
    ("readonly", Some("off")),
    ("jailed", Some("off")),
    ("snapdir", Some("hidden")),
    ("aclmode", Some("discard")),
    ("aclinherit", Some("restricted")),
    ("createtxg", None),
    ("canmount", Some("on")),
    ("xattr", Some("sa")),
    ("copies", Some("1")),
    ("version", None),
    ("utf8only", None),
    ("normalization", None),
    ("casesensitivity", None),
    ("vscan", Some("off")),
    ("nbmand", Some("off")),
    ("sharesmb", Some("off")),
    ("refquota", Some("0")),
    ("refreservation", Some("0")),
    ("guid", None),
    ("primarycache", Some("all")),
    ("secondarycache", Some("all")),
    ("usedbysnapshots", None),
    ("usedbydataset", None),
    ("usedbychildren", None),
    ("usedbyrefreservation", None),
    ("logbias", Some("latency")),
    ("objsetid", None),
    ("dedup", Some("off")),
    ("mlslabel", Some("none")),
    ("sync", Some("standard")),
    ("dnodesize", Some("legacy")),
    ("refcompressratio", None),
    ("written", None),
    ("logicalused", None),
    ("logicalreferenced", None),
    ("volmode", Some("default")),
    ("filesystem_limit", Some("none")),
    ("snapshot_limit", Some("none")),
    ("filesystem_count", Some("none")),
    ("snapshot_count", Some("none")),
    ("snapdev", Some("hidden")),
    ("acltype", Some("nfsv4")),
    ("context", Some("none")),
    ("fscontext", Some("none")),
    ("defcontext", Some("none")),
    ("rootcontext", Some("none")),
    ("relatime", Some("on")),
    ("redundant_metadata", Some("all")),
    ("overlay", Some("on")),
    ("encryption", Some("off")),
    ("keylocation", Some("none")),
    ("keyformat", Some("none")),
    ("pbkdf2iters", Some("0")),
    ("special_small_blocks", Some("0")),
    ("prefetch", Some("all")),
    ("direct", Some("standard")),
    ("longname", Some("off")),
    ("defaultuserquota", None),
    ("defaultgroupquota", None),
    ("defaultprojectquota", None),
    ("defaultuserobjquota", None),
    ("defaultgroupobjquota", None),
    ("defaultprojectobjquota", None),
];

/// Properties that children do not take from their parents.
pub(super) const NOT_INHERITED: &[&str] = &[
    "quota",
    "reservation",
    "refquota",
    "refreservation",
    "canmount",
];

/// Properties whose values are sizes.
pub(super) const SIZES: &[&str] = &[
    "used",
    "available",
    "referenced",
    "quota",
    "reservation",
    "refquota",
    "refreservation",
    "recordsize",
    "usedbysnapshots",
    "usedbydataset",
    "usedbychildren",
    "usedbyrefreservation",
    "written",
    "logicalused",
    "logicalreferenced",
];

/// `64m` is 67108864.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match lower[digits.len()..].trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Whether a property may be set to a value.
pub(super) fn check(name: &str, value: &str) -> Result<(), String> {
    if name.contains(':') {
        return Ok(());
    }
    match PROPERTIES.iter().find(|(known, _)| *known == name) {
        None => Err(format!("cannot set property: invalid property '{name}'")),
        Some((_, None)) if name != "mountpoint" => {
            Err(format!("cannot set property: '{name}' is readonly"))
        }
        Some(_) if SIZES.contains(&name) && value != "none" && parse_size(value).is_none() => {
            Err(format!("cannot set property: bad numeric value '{value}'"))
        }
        Some(_) => Ok(()),
    }
}

/// The value as it is stored: sizes as numbers.
pub(super) fn normalize_value(name: &str, value: &str) -> String {
    match value {
        "none" if SIZES.contains(&name) => "0".to_owned(),
        _ if SIZES.contains(&name) => {
            parse_size(value).map_or_else(|| value.to_owned(), |size| size.to_string())
        }
        value => value.to_owned(),
    }
}

/// zfs_nicenum: three digits and a unit.
pub(in crate::cmd) fn nice(bytes: u64) -> String {
    let mut unit = 0;
    let mut scaled = bytes as f64;
    while scaled >= 1024.0 && unit < 5 {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        return format!("{bytes}B");
    }
    let letter = ['B', 'K', 'M', 'G', 'T', 'P'][unit];
    let whole =
        (scaled - scaled.round()).abs() < 1e-9 && bytes.trailing_zeros() >= 10 * unit as u32;
    let digits = if whole || scaled >= 100.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.digits$}{letter}")
}

/// Days since the epoch to year, month, day.
fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// `Sat Nov 21 23:51 2026`, in UTC.
pub(super) fn date_text(epoch_s: u64) -> String {
    let days = (epoch_s / 86_400) as i64;
    let (year, month, day) = civil(days);
    let month = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ][month as usize - 1];
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][days.rem_euclid(7) as usize];
    let (hour, minute) = (epoch_s % 86_400 / 3600, epoch_s % 3600 / 60);
    format!("{weekday} {month} {day:>2} {hour:>2}:{minute:02} {year}")
}
