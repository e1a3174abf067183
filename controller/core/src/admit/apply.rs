//! Admission of server-side apply: what a manager states is merged into what is there ([`crate::fields`]), and the whole is
//! admitted like every other spec.

use std::sync::Arc;

use cellblock_schemas::{API_VERSION, Cause, Kind, Violation, part};
use serde_json::{Map, Value, json};

use super::spec::Stated;
use super::{
    Admitted, Now, Reason, Rejection, Through, client_side, derived, managed, spec, status,
};
use crate::fields::{self, Change, Conflict, Managers, Operation, Set};
use crate::index::{Entry, Index};
use crate::rules::Together;

/// How long the name of a manager may be, as with kube-apiserver (apimachinery, `apis/meta/v1/validation`).
const MANAGER_CHARS_MAX: usize = 128;

/// How something is stated.
pub(super) struct Stating<'a> {
    pub(super) through: Through,
    pub(super) manager: &'a str,
    pub(super) force: bool,
}

pub(super) fn apply(
    index: &Index,
    kind: Kind,
    document: Value,
    stating: &Stating<'_>,
    together: &Together,
    now: &Now,
) -> Result<Admitted, Rejection> {
    let through = stating.through;
    let applied = document.clone();
    let (stated, mut mistaken) = read(kind, document, through, stating.manager)?;
    let name = text(&stated, "/metadata/name");
    let before = index.get(kind, name);
    let live = before.map_or(Value::Null, |entry| entry.object.to_value());
    if through != Through::Object && before.is_none() {
        return Err(Rejection::not_found(kind, name));
    }
    let finalizers = stated
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array);
    let finalizers = finalizers.into_iter().flatten().filter_map(Value::as_str);
    let stored = before.map(|before| &before.object);
    mistaken.extend(managed::strange_finalizers(stored, kind, finalizers));
    let uid = text(&stated, "/metadata/uid");
    if before.is_none() && !uid.is_empty() {
        // Who names the uid means that object and no new one of its name (`endpoints/handlers/patch.go`, `applyPatch`).
        return Err(Rejection::new(
            Reason::Conflict,
            kind,
            name,
            "metadata.uid",
            format!(
                "uid mismatch: the document speaks of {uid}, and there is no {kind} of that name"
            ),
            "leave the uid out if it shall be made anew",
        ));
    }
    let mut application = Application {
        kind,
        name,
        through,
        manager: stating.manager,
        force: stating.force,
        now,
        live: managed::present(&live, through),
        stated: managed::speakable(&stated, through),
        managers: Managers::default(),
    };
    if let Some(before) = before {
        let known = Managers::read(&before.object.metadata().managed_fields);
        application.managers =
            known.before_first_apply(kind, &managed::speakable(&live, Through::Object));
    }
    let merged = application.merged(before, &stated);
    match through {
        Through::Object | Through::Scale => {
            let Stated { object, mistakes } = spec::read(kind, merged)?;
            let mut draft = spec::begin(index, before, &object)?;
            spec::keep_identity(&mut draft, &object, now);
            // What could not be read is refused below, with everything else; who owns it is then no question.
            if mistakes.is_empty() {
                let after = managed::present(&draft.object.to_value(), through);
                let own = client_side::own(kind, stating.manager, &live);
                let managers = application.settle(&after, &own)?;
                let metadata = draft.object.metadata_mut();
                metadata.managed_fields = managers.write();
                client_side::follow(stating.manager, &applied, &mut metadata.annotations);
                // The whole fits, so the part has only mistakes that the whole does not show.
                if !mistaken.is_empty() {
                    return Err(Rejection::invalid(kind, name, mistaken));
                }
            }
            spec::admit(draft, mistakes, together, now)
        }
        Through::Status if !mistaken.is_empty() => Err(Rejection::invalid(kind, name, mistaken)),
        Through::Status => {
            let merged = status::checked(index, kind, merged)?;
            let mut draft = status::begin(index, kind, &merged)?;
            status::refuse_unobserved(&draft, &merged)?;
            let after = managed::present(&draft.object.to_value(), through);
            let managers = application.settle(&after, &Set::default())?;
            draft.object.metadata_mut().managed_fields = managers.write();
            draft.finish(Vec::new())
        }
    }
}

/// Reads what a manager states, refusing what no manager may state. What does not fit the schema comes along: whoever corrects
/// one mistake wants to hear of all.
fn read(
    kind: Kind,
    document: Value,
    through: Through,
    manager: &str,
) -> Result<(Value, Vec<Violation>), Rejection> {
    let name = text(&document, "/metadata/name").to_owned();
    let problem = if manager.is_empty() {
        Some("is required to apply".to_owned())
    } else if manager.chars().count() > MANAGER_CHARS_MAX {
        Some(format!("has more than {MANAGER_CHARS_MAX} characters"))
    } else if manager.chars().any(char::is_control) {
        Some("has characters that cannot be printed".to_owned())
    } else {
        None
    };
    if let Some(problem) = problem {
        let help = "say who applies; fields belong to whoever applied them";
        let message = format!("the field manager {problem}");
        // A missing or senseless option is invalid like a field (apimachinery, `apis/meta/v1/validation`, `ValidatePatchOptions`).
        return Err(Rejection::new(
            Reason::Invalid,
            kind,
            &name,
            "fieldManager",
            message,
            help,
        ));
    }
    spec::measure(kind, &name, &document)?;
    if name.is_empty() && !text(&document, "/metadata/generateName").is_empty() {
        return Err(Rejection::new(
            Reason::Invalid,
            kind,
            &name,
            "metadata.generateName",
            "gives a name to what is created, and who applies says which object is meant",
            "state metadata.name, or create the object (kubectl create)",
        ));
    }
    let recorded = document.pointer("/metadata/managedFields");
    if recorded
        .and_then(Value::as_array)
        .is_some_and(|fields| !fields.is_empty())
    {
        return Err(Rejection::new(
            Reason::BadRequest,
            kind,
            &name,
            "metadata.managedFields",
            "is recorded by the controller, and must be absent when applying",
            "remove it",
        ));
    }
    // The status of an object is not stated through the object; what was printed with its status can be applied again.
    let mut document = document;
    let status = document
        .as_object_mut()
        .and_then(|members| members.shift_remove("status"));
    let (mut stated, mut mistaken) = part::read_partly(kind, document);
    if !stated.is_object() || name.is_empty() {
        return Err(Rejection::invalid(kind, &name, mistaken));
    }
    if let (Through::Status, Some(status)) = (through, status) {
        let (status, mistakes) = part::read_status(kind, status, true);
        mistaken.extend(mistakes);
        stated["status"] = status;
    }
    Ok((stated, mistaken))
}

struct Application<'a> {
    kind: Kind,
    name: &'a str,
    through: Through,
    manager: &'a str,
    force: bool,
    now: &'a Now,
    live: Value,
    stated: Value,
    managers: Managers,
}

impl Application<'_> {
    /// The whole document after the merge, with what the manager said of its identity.
    fn merged(&self, before: Option<&Arc<Entry>>, stated: &Value) -> Value {
        let who = managed::who(Operation::Apply, self.manager, self.through);
        let mut merged = fields::apply(self.kind, &self.live, &self.stated, &self.managers, &who);
        derived::forget(self.kind, &mut merged, &self.stated, &self.managers);
        let mut document = json!({
            "apiVersion": said(stated, "apiVersion", API_VERSION),
            "kind": said(stated, "kind", self.kind.as_str()),
        });
        let mut metadata = Map::new();
        for name in ["name", "uid", "resourceVersion"] {
            if let Some(value) = stated.pointer(&format!("/metadata/{name}")) {
                metadata.insert(name.to_owned(), value.clone());
            }
        }
        if let Value::Object(members) = merged["metadata"].take() {
            metadata.extend(members);
        }
        if let (Through::Object | Through::Scale, Some(before)) = (self.through, before) {
            managed::keep_own_finalizers(&before.object, &mut metadata);
        }
        document["metadata"] = Value::Object(metadata);
        for name in ["spec", "status"] {
            if let Some(value) = merged.get_mut(name) {
                document[name] = value.take();
            }
        }
        if self.through == Through::Status && document.get("status").is_none() && before.is_some() {
            document["status"] = Value::Null;
        }
        document
    }

    /// Who owns what, now that it is known what the object will be. Nobody else is asked about fields that are the manager's `own`.
    fn settle(&self, after: &Value, own: &Set) -> Result<Managers, Rejection> {
        let who = managed::who(Operation::Apply, self.manager, self.through);
        let change = Change {
            kind: self.kind,
            before: &self.live,
            after,
            now: self.now.timestamp,
        };
        let applied = |force| {
            let managers = self.managers.clone();
            managers.applied(&change, &self.stated, &who, force)
        };
        let settled = applied(self.force).or_else(|mut conflicts| {
            conflicts.retain(|conflict| !own.contains(&conflict.path.0));
            if conflicts.is_empty() {
                return applied(true);
            }
            Err(conflicts)
        });
        settled.map_err(|conflicts| self.refused(conflicts))
    }

    fn refused(&self, conflicts: Vec<Conflict>) -> Rejection {
        let violation = |conflict: &Conflict| {
            Violation {
            field: fields::place(self.kind, &self.stated, &conflict.path),
            message: format!(
                "is managed by {}, who wants something else ({})",
                conflict.who, conflict.path
            ),
            help: "leave it to them, state the same value to share it, or take it over with --force-conflicts"
                .to_owned(),
            cause: Cause::Invalid,
        }
        };
        Rejection {
            reason: Reason::Conflict,
            kind: self.kind,
            name: self.name.to_owned(),
            violations: conflicts.iter().map(violation).collect(),
            conflicts,
        }
    }
}

fn said(document: &Value, name: &str, otherwise: &str) -> Value {
    match document.get(name) {
        Some(said) if !said.is_null() && said != "" => said.clone(),
        Some(_) | None => Value::String(otherwise.to_owned()),
    }
}

fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    let text = document.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default()
}
