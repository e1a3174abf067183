//! pf's matches of the user or the group that a socket belongs to, as a manifest writes them: `root`, `!= 1000`, `> 1000`, `1000:1999`, `1000><2000`, `1000<>2000` (pf.conf(5)).
//!
//! Only their form. Which number a name stands for is the host's to say, so the agent asks there.

use crate::jail::UserIdRange;

/// How many octets the name of a user or a group has at most (`MAXLOGNAME` is 33 with its NUL, sys/sys/param.h).
const NAME_MAX: usize = 32;

/// What pf calls a socket that it does not find, and the number that it keeps for those (sbin/pfctl/parse.y).
const UNKNOWN: (&str, u32) = ("unknown", u32::MAX);

/// One match. `Id` is what is known of a user or a group: what was written, or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdMatch<Id> {
    /// This one, or one in the relation to it.
    One(Relation, Id),
    /// Both, and what lies between (`:`).
    Within(Id, Id),
    /// What lies between (`><`).
    Between(Id, Id),
    /// What lies below the first or above the second (`<>`).
    Outside(Id, Id),
}

/// How an id relates to that of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// It is that one.
    Equal,
    /// It is another one.
    NotEqual,
    /// It is less.
    Less,
    /// It is not more.
    LessOrEqual,
    /// It is more.
    More,
    /// It is not less.
    MoreOrEqual,
}

impl Relation {
    /// As pf.conf(5) writes it.
    #[must_use]
    pub fn operator(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::More => ">",
            Self::MoreOrEqual => ">=",
        }
    }
}

/// The longer ones first: each is looked for at the beginning of a text.
const RELATIONS: [Relation; 6] = [
    Relation::NotEqual,
    Relation::LessOrEqual,
    Relation::MoreOrEqual,
    Relation::Equal,
    Relation::Less,
    Relation::More,
];

impl<'a> IdMatch<&'a str> {
    /// Reads one match; none if it is not one.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let pair = |between: &str| {
            let (first, last) = text.split_once(between)?;
            Some((first.trim(), last.trim()))
        };
        let found = if let Some((first, last)) = pair("><") {
            Self::Between(first, last)
        } else if let Some((first, last)) = pair("<>") {
            Self::Outside(first, last)
        } else if let Some((first, last)) = pair(":") {
            Self::Within(first, last)
        } else {
            let found = RELATIONS.into_iter().find_map(|relation| {
                let rest = text.strip_prefix(relation.operator())?;
                Some((relation, rest))
            });
            let (relation, rest) = found.unwrap_or((Relation::Equal, text));
            Self::One(relation, rest.trim())
        };
        found.ids().into_iter().all(is_id).then_some(found)
    }
}

impl<Id: Copy> IdMatch<Id> {
    /// The one or two ids that it names.
    #[must_use]
    pub fn ids(self) -> Vec<Id> {
        match self {
            Self::One(_, id) => vec![id],
            Self::Within(first, last) | Self::Between(first, last) | Self::Outside(first, last) => {
                vec![first, last]
            }
        }
    }

    /// The same of what `resolve` makes of its ids; none if it makes nothing of one.
    pub fn resolve<Other>(
        self,
        mut resolve: impl FnMut(Id) -> Option<Other>,
    ) -> Option<IdMatch<Other>> {
        Some(match self {
            Self::One(relation, id) => IdMatch::One(relation, resolve(id)?),
            Self::Within(first, last) => IdMatch::Within(resolve(first)?, resolve(last)?),
            Self::Between(first, last) => IdMatch::Between(resolve(first)?, resolve(last)?),
            Self::Outside(first, last) => IdMatch::Outside(resolve(first)?, resolve(last)?),
        })
    }
}

impl IdMatch<u32> {
    /// Whether no id at all can match: a range whose ends have changed places.
    #[must_use]
    pub fn is_empty(self) -> bool {
        match self {
            Self::One(_, _) | Self::Outside(_, _) => false,
            Self::Within(first, last) => first > last,
            Self::Between(first, last) => last.saturating_sub(first) < 2,
        }
    }
}

/// What stands for the user ids that a jail was given.
pub const OWN: &str = "own";

/// A match of the user ids that a jail was given, or of all others, with their numbers; every other one as it is. None if it has none, and for a relation that a range does not have.
#[must_use]
pub fn with_own(text: &str, own: Option<UserIdRange>) -> Option<String> {
    let parsed = IdMatch::parse(text);
    if !parsed.is_some_and(|parsed| parsed.ids().contains(&OWN)) {
        return Some(text.to_owned());
    }
    let UserIdRange { first, last } = own?;
    match parsed? {
        IdMatch::One(Relation::Equal, _) => Some(format!("{first}:{last}")),
        IdMatch::One(Relation::NotEqual, _) => Some(format!("{first}<>{last}")),
        IdMatch::One(_, _)
        | IdMatch::Within(_, _)
        | IdMatch::Between(_, _)
        | IdMatch::Outside(_, _) => None,
    }
}

/// Whether an id is written as a number.
#[must_use]
pub fn is_number(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name or a number that pf may be told.
fn is_id(id: &str) -> bool {
    if id.is_empty() || id.len() > NAME_MAX || id.starts_with('-') || id == UNKNOWN.0 {
        return false;
    }
    if is_number(id) {
        return id.parse::<u32>().is_ok_and(|id| id != UNKNOWN.1);
    }
    id.chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

#[cfg(test)]
mod tests;
