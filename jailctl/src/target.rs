//! What a command is about, as kubectl writes it: `KIND`, `KIND NAME…`, or `KIND/NAME…`, the form that `-o name` prints.
//!
//! Whether the objects exist is not asked here.

use cellblock_schemas::{Kind, suggest};

#[cfg(test)]
mod tests;

/// The command line makes no sense; the exit status tells it from a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// What was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Everything of these kinds.
    Kinds(Vec<Kind>),
    /// These objects, in the order in which they were named.
    Objects(Vec<(Kind, String)>),
}

impl Targets {
    /// Reads the words of a command line.
    ///
    /// # Errors
    /// There is no such kind, or the two forms are mixed.
    pub fn read(words: &[String]) -> Result<Self, Usage> {
        let Some((first, rest)) = words.split_first() else {
            return Err(Usage(format!(
                "nothing is named; give KIND, KIND NAME… or KIND/NAME…, where KIND is one of {}",
                plurals()
            )));
        };
        if words.iter().all(|word| word.contains('/')) {
            let objects = words.iter().map(|word| object(word));
            return objects.collect::<Result<_, _>>().map(Self::Objects);
        }
        if let Some(odd) = words.iter().find(|word| word.contains('/')) {
            return Err(Usage(format!(
                "`{odd}` names its kind itself, the other words do not; give either KIND NAME… or KIND/NAME… throughout"
            )));
        }
        let kinds = kinds(first)?;
        if rest.is_empty() {
            return Ok(Self::Kinds(kinds));
        }
        let pairs = kinds
            .iter()
            .flat_map(|kind| rest.iter().map(|name| (*kind, name.clone())));
        Ok(Self::Objects(pairs.collect()))
    }

    /// The kinds among them, each once, in their order of dependence.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        let mut kinds = match self {
            Self::Kinds(kinds) => kinds.clone(),
            Self::Objects(objects) => objects.iter().map(|(kind, _)| *kind).collect(),
        };
        kinds.sort();
        kinds.dedup();
        kinds
    }
}

/// `jail/www`
#[must_use]
pub fn label(kind: Kind, name: &str) -> String {
    format!("{}/{name}", kind.as_str().to_ascii_lowercase())
}

fn object(word: &str) -> Result<(Kind, String), Usage> {
    match word.split_once('/') {
        Some((word, name)) if !name.is_empty() && !name.contains('/') => {
            Ok((kind(word)?, name.to_owned()))
        }
        Some(_) | None => Err(Usage(format!("`{word}` is no KIND/NAME, as in jail/www"))),
    }
}

fn kinds(word: &str) -> Result<Vec<Kind>, Usage> {
    if word == "all" {
        return Ok(Kind::ALL.to_vec());
    }
    word.split(',').map(kind).collect()
}

/// `jail`, `jails`, `Jail`, `j` …
///
/// # Errors
/// There is no such kind.
pub fn kind(word: &str) -> Result<Kind, Usage> {
    let lower = word.to_ascii_lowercase();
    let known = Kind::ALL.into_iter().find(|kind| {
        lower == kind.plural()
            || lower == kind.as_str().to_ascii_lowercase()
            || lower == kind.short_name()
    });
    known.ok_or_else(|| {
        let near = Kind::ALL.into_iter().find(|kind| {
            let names = [kind.plural(), kind.as_str()];
            suggest::nearest(&lower, names).is_some()
        });
        let help = near
            .map(|kind| format!("; did you mean `{}`?", kind.plural()))
            .unwrap_or_default();
        Usage(format!(
            "there is no kind `{word}`; there are {}{help}",
            plurals()
        ))
    })
}

fn plurals() -> String {
    Kind::ALL.map(Kind::plural).join(", ")
}
