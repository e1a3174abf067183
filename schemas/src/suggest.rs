//! "Did you mean …?": the nearest of the names that would have been right.

#[cfg(test)]
mod tests;

/// The candidate that `written` was most likely meant to be, if one is near enough to be worth saying.
#[must_use]
pub fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = written.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= distance_max(written, candidate))
        .min_by(|left, right| left.0.cmp(&right.0).then(left.1.cmp(right.1)))
        .map(|(_, candidate)| candidate)
}

/// One slip in a short word, one in three letters of a longer one: beyond that a suggestion misleads.
fn distance_max(written: &str, candidate: &str) -> usize {
    (written.chars().count().min(candidate.chars().count()) / 3).max(1)
}

/// A help line: the nearest name, or else all of them.
#[must_use]
pub fn help(written: &str, candidates: &[&str], what: &str) -> String {
    match nearest(written, candidates.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if candidates.is_empty() => String::new(),
        None => format!("{what}: {}", candidates.join(", ")),
    }
}
