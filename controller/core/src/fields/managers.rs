//! The managers of an object and what each owns: `metadata.managedFields`, read, brought up to date and written again.

use std::fmt;

use cellblock_schemas::meta::{FIELDS_V1, ManagedFieldsEntry};
use cellblock_schemas::{API_VERSION, Kind};
use jiff::Timestamp;
use serde_json::Value;

use super::compare::Comparison;
use super::set::{Element, Path, Set};
use super::shape::Schema;

/// How many managers that update are told apart. Names are the clients' to choose, so somebody may choose another one every
/// time; as kube-apiserver's `capmanagers.go`, the oldest are then put together.
const UPDATERS_MAX: usize = 10;

/// Whom the oldest updates are put down to, by kube-apiserver's name.
const ANCIENT: &str = "ancient-changes";

/// Who owns what an object had before it was first applied, if nobody was recorded, by kube-apiserver's name.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// How a manager writes. The order is that of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// In any other way.
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// A manager. The same name is somebody else when it writes in another way, or through another subresource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// How it writes.
    pub operation: Operation,
    /// Its name.
    pub manager: String,
    /// `status`, or empty for the object itself.
    pub subresource: String,
}

impl fmt::Display for Who {
    /// As kube-apiserver says it in conflicts (apimachinery, `util/managedfields/internal/conflict.go`): the version is said
    /// of updates only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.manager)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        match self.operation {
            Operation::Apply => Ok(()),
            Operation::Update => write!(f, " using {API_VERSION}"),
        }
    }
}

/// A field that somebody else owns and that was stated otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who owns it.
    pub who: Who,
    /// The field.
    pub path: Path,
}

#[derive(Clone, Debug, PartialEq)]
struct Managed {
    who: Who,
    time: Option<Timestamp>,
    fields: Set,
}

/// Everybody who owns fields of one object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Managers(Vec<Managed>);

impl Managers {
    /// Reads them. An entry of another version of the API, or that cannot be read, owns nothing.
    #[must_use]
    pub fn read(entries: &[ManagedFieldsEntry]) -> Self {
        let read = |entry: &ManagedFieldsEntry| {
            let operation = match entry.operation.as_str() {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            };
            if entry.api_version != API_VERSION {
                return None;
            }
            Some(Managed {
                who: Who {
                    operation,
                    manager: entry.manager.clone(),
                    subresource: entry.subresource.clone(),
                },
                time: entry.time,
                fields: Set::from_fields_v1(&entry.fields_v1)?,
            })
        };
        Self(entries.iter().filter_map(read).collect())
    }

    /// Writes them, in kube-apiserver's order: those that apply first, then by time, then by name.
    #[must_use]
    pub fn write(mut self) -> Vec<ManagedFieldsEntry> {
        self.0.retain(|managed| !managed.fields.is_empty());
        self.0.sort_by(|a, b| {
            let key = |managed: &Managed| (managed.who.operation, managed.time);
            key(a).cmp(&key(b)).then_with(|| a.who.cmp(&b.who))
        });
        let write = |managed: Managed| ManagedFieldsEntry {
            manager: managed.who.manager,
            operation: managed.who.operation.as_str().to_owned(),
            api_version: API_VERSION.to_owned(),
            time: managed.time,
            fields_type: FIELDS_V1.to_owned(),
            fields_v1: managed.fields.to_fields_v1(),
            subresource: managed.who.subresource,
        };
        self.0.into_iter().map(write).collect()
    }

    /// What one manager owns.
    #[must_use]
    pub fn fields_of(&self, who: &Who) -> Option<&Set> {
        let own = self.0.iter().find(|managed| managed.who == *who);
        own.map(|managed| &managed.fields)
    }

    /// Whether anybody owns a field.
    #[must_use]
    pub fn owns(&self, field: &[Element]) -> bool {
        self.0.iter().any(|managed| managed.fields.contains(field))
    }

    /// What the others own.
    pub(super) fn others<'a>(&'a self, who: &'a Who) -> impl Iterator<Item = &'a Set> {
        let others = self.0.iter().filter(move |managed| managed.who != *who);
        others.map(|managed| &managed.fields)
    }

    /// Puts everything that an object has down to somebody if nobody was recorded, so that the first to apply does not come
    /// to own it without a word.
    #[must_use]
    pub fn before_first_apply(self, kind: Kind, live: &Value) -> Self {
        if !self.0.is_empty() {
            return self;
        }
        let who = Who {
            operation: Operation::Update,
            manager: BEFORE_FIRST_APPLY.to_owned(),
            subresource: String::new(),
        };
        Self(vec![Managed {
            who,
            time: None,
            fields: Schema::of(kind).fields(live),
        }])
    }

    /// The managers after `who` applied `stated`, which made `before` into `after`.
    ///
    /// # Errors
    /// Fields that others own would become something else, and `force` is not set.
    pub fn applied(
        mut self,
        change: &Change<'_>,
        stated: &Value,
        who: &Who,
        force: bool,
    ) -> Result<Self, Vec<Conflict>> {
        let schema = Schema::of(change.kind);
        let comparison = Comparison::of(schema, change.before, change.after);
        let fields = schema.fields(stated);
        // A stated field that is gone was stated as what it is anyway (`paused: false`): that is another value, too.
        let unsaid = comparison.removed.intersection(&fields);
        let changed = comparison.modified.union(&comparison.added).union(&unsaid);
        let mut conflicts = Vec::new();
        for other in self.0.iter_mut().filter(|managed| managed.who != *who) {
            let disputed = other.fields.intersection(&changed);
            conflicts.extend(disputed.paths().into_iter().map(|path| Conflict {
                who: other.who.clone(),
                path,
            }));
            other.fields = other
                .fields
                .difference(&disputed)
                .difference(&comparison.removed);
        }
        if !force && !conflicts.is_empty() {
            conflicts.sort_by(|a, b| (&a.who, &a.path).cmp(&(&b.who, &b.path)));
            return Err(conflicts);
        }
        match self.0.iter_mut().find(|managed| managed.who == *who) {
            // Repeating oneself is no change, and does not move the time.
            Some(own) if own.fields == fields && change.before == change.after => {}
            Some(own) => {
                own.fields = fields;
                own.time = Some(change.now);
            }
            None => self.0.push(Managed {
                who: who.clone(),
                time: Some(change.now),
                fields,
            }),
        }
        Ok(self)
    }

    /// The managers after `who` wrote, in any other way than by apply, what made `before` into `after`.
    #[must_use]
    pub fn updated(mut self, change: &Change<'_>, who: &Who) -> Self {
        let comparison = Comparison::of(Schema::of(change.kind), change.before, change.after);
        let changed = comparison.modified.union(&comparison.added);
        for managed in &mut self.0 {
            managed.fields = managed
                .fields
                .difference(&changed)
                .difference(&comparison.removed);
        }
        if !changed.is_empty() {
            match self.0.iter_mut().find(|managed| managed.who == *who) {
                Some(own) => {
                    own.fields = own.fields.union(&changed);
                    own.time = Some(change.now);
                }
                None => self.0.push(Managed {
                    who: who.clone(),
                    time: Some(change.now),
                    fields: changed,
                }),
            }
        }
        self.0.retain(|managed| !managed.fields.is_empty());
        self.cap();
        self
    }

    /// Puts the oldest updates together until there are few enough.
    fn cap(&mut self) {
        let is_update = |managed: &&Managed| managed.who.operation == Operation::Update;
        let updaters = self.0.iter().filter(is_update).count();
        if updaters <= UPDATERS_MAX {
            return;
        }
        let (mut updaters, appliers): (Vec<_>, Vec<_>) =
            self.0.drain(..).partition(|managed| is_update(&managed));
        updaters.sort_by(|a, b| (a.time, &a.who).cmp(&(b.time, &b.who)));
        // Those of one subresource stay together: a name in `status` says nothing of `spec`.
        while updaters.len() > UPDATERS_MAX {
            let oldest = updaters.remove(0);
            let who = Who {
                operation: Operation::Update,
                manager: ANCIENT.to_owned(),
                subresource: oldest.who.subresource.clone(),
            };
            match updaters.iter_mut().find(|managed| managed.who == who) {
                Some(ancient) => {
                    ancient.fields = ancient.fields.union(&oldest.fields);
                    ancient.time = ancient.time.max(oldest.time);
                }
                // The one beside it in age goes into the same bucket next.
                None => {
                    let next = updaters
                        .iter()
                        .position(|managed| managed.who.subresource == who.subresource);
                    let mut ancient = Managed { who, ..oldest };
                    if let Some(next) = next {
                        let next = updaters.remove(next);
                        ancient.fields = ancient.fields.union(&next.fields);
                        ancient.time = ancient.time.max(next.time);
                    }
                    updaters.insert(0, ancient);
                    if next.is_none() {
                        break;
                    }
                }
            }
        }
        self.0 = appliers;
        self.0.append(&mut updaters);
    }
}

/// One change of an object.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The object's kind.
    pub kind: Kind,
    /// What managers may speak of, before.
    pub before: &'a Value,
    /// And after.
    pub after: &'a Value,
    /// When.
    pub now: Timestamp,
}
