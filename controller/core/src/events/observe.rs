//! What there is to tell of a change of one object: conditions that became different, jails that a set made or took away,
//! deletions. Of a condition its own reason is told, so that the codes of events are those of conditions.

use cellblock_schemas::{Condition, ConditionStatus, Jail, Kind, Object};

use super::{About, Happening, Severity};
use crate::index::{Entry, ObjectEvent, What, own_kind};

/// Reasons of conditions that do not hold, or are not known, of which nobody has to do anything, and why: the table of
/// docs/reference/conditions.md, by which it is decided what is told as a warning.
const QUIET: [(&str, &[&str]); 3] = [
    (
        "it is as it was asked for",
        &["Deleting", "JailsAttached", "Paused", "Stopped"],
    ),
    (
        "it passes by itself",
        &[
            "AddressNotReleased",
            "AddressTentative",
            "Busy",
            "Changed",
            "DependentsRunning",
            "Dying",
            "ImagePreparing",
            "NeverHeard",
            "ProbePending",
            "Progressing",
            "ScopePending",
            "UplinkPending",
        ],
    ),
    (
        "it follows from something else, which is told if it is wrong",
        &[
            "DependencyNotReady",
            "DependencyNotScheduled",
            "NotMade",
            "NotRunning",
            "TooFew",
        ],
    ),
];

/// What happened to an object.
#[must_use]
pub fn observe(event: &ObjectEvent) -> Vec<Happening> {
    let entry = &*event.entry;
    let metadata = entry.object.metadata();
    let before = event.before.as_deref();
    // Another object of that name has nothing to do with the one before.
    let before = before.filter(|before| before.object.metadata().uid == metadata.uid);
    let mut told = Vec::new();
    let about = about(entry);
    let normal = |about: &About, reason: &str, message: String| Happening {
        about: about.clone(),
        severity: Severity::Normal,
        reason: reason.to_owned(),
        message,
        count: 1,
    };
    if event.what == What::Deleted {
        told.push(normal(&about, "Deleted", "it is gone".to_owned()));
    } else {
        let was_deleting = before.is_some_and(is_deleting);
        if is_deleting(entry) && !was_deleting {
            let message = match metadata.finalizers.as_slice() {
                [] => "it is being taken away".to_owned(),
                held => format!("it is being taken away; held by {}", held.join(", ")),
            };
            told.push(normal(&about, "Deleting", message));
        }
        told.extend(conditions(&about, before, entry));
    }
    if let Object::Jail(jail) = &entry.object {
        let is_changed = before.is_some_and(|before| {
            before.object.metadata().generation != metadata.generation && !is_deleting(entry)
        });
        let (reason, word) = match event.what {
            What::Added => ("JailMade", "made"),
            What::Deleted => ("JailGone", "gone"),
            What::Modified if is_changed => ("JailChanged", "changed"),
            What::Modified => return told,
        };
        let name = &jail.metadata.name;
        told.extend(set_of(jail).map(|set| normal(&set, reason, format!("jail {name} is {word}"))));
    }
    told
}

fn is_deleting(entry: &Entry) -> bool {
    entry.object.metadata().deletion_timestamp.is_some()
}

fn about(entry: &Entry) -> About {
    About {
        kind: entry.object.kind().as_str().to_owned(),
        name: entry.name().to_owned(),
        uid: entry.object.metadata().uid.clone(),
    }
}

/// The JailSet that a jail is one of.
fn set_of(jail: &Jail) -> Option<About> {
    let mut owners = jail.metadata.owner_references.iter();
    let set = owners.find(|owner| owner.controller && own_kind(owner) == Some(Kind::JailSet))?;
    Some(About {
        kind: set.kind.clone(),
        name: set.name.clone(),
        uid: set.uid.clone(),
    })
}

/// Conditions that have another status or reason than before. What else their messages say is no news: times and counts stand in
/// them.
fn conditions(about: &About, before: Option<&Entry>, after: &Entry) -> Vec<Happening> {
    let was = before.map_or(&[][..], |before| before.object.conditions());
    let mut told: Vec<Happening> = Vec::new();
    for condition in after.object.conditions() {
        let same = was.iter().any(|was| {
            was.kind == condition.kind
                && was.status == condition.status
                && was.reason == condition.reason
        });
        let happening = Happening {
            about: about.clone(),
            severity: severity(condition),
            reason: condition.reason.clone(),
            message: message(condition),
            count: 1,
        };
        // Of a host that is lost several conditions say the same.
        if !same && !told.contains(&happening) {
            told.push(happening);
        }
    }
    told
}

fn severity(condition: &Condition) -> Severity {
    let holds = condition.status == ConditionStatus::True;
    let mut quiet = QUIET.iter().flat_map(|(_, reasons)| *reasons);
    if holds || quiet.any(|reason| *reason == condition.reason) {
        Severity::Normal
    } else {
        Severity::Warning
    }
}

fn message(condition: &Condition) -> String {
    if condition.message.is_empty() {
        format!("{} is {}", condition.kind, condition.status.as_str())
    } else {
        condition.message.clone()
    }
}

#[cfg(test)]
mod tests {
    //! What is no warning is what the documents say.

    use super::QUIET;

    #[test]
    fn what_is_no_warning_stands_in_the_documents() {
        let page = include_str!("../../../../docs/reference/conditions.md");
        let (_, rows) = page
            .split_once("| nobody has to do anything, because | reasons |\n|---|---|\n")
            .expect("the table");
        let rows = rows.lines().take_while(|line| line.starts_with('|'));
        let said: Vec<String> = rows.map(str::to_owned).collect();
        let known = QUIET.map(|(why, reasons)| {
            let reasons: Vec<String> = reasons.iter().map(|one| format!("`{one}`")).collect();
            format!("| {why} | {} |", reasons.join(", "))
        });
        assert_eq!(said, known);
    }
}
