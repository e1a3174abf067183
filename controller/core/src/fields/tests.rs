//! Who owns what: golden cases after the ideas of structured-merge-diff's tests (`merge/*_test.go`), and laws.

mod cases;
mod laws;

use cellblock_schemas::Kind;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Change, Conflict, Managers, Operation, Who, apply};

/// An object and its managers.
#[derive(Clone, Debug, PartialEq)]
struct State {
    kind: Kind,
    live: Value,
    managers: Managers,
    seconds: i64,
}

fn applier(name: &str) -> Who {
    who(name, Operation::Apply)
}

fn who(name: &str, operation: Operation) -> Who {
    Who {
        operation,
        manager: name.to_owned(),
        subresource: String::new(),
    }
}

impl State {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            live: json!({}),
            managers: Managers::default(),
            seconds: 1_700_000_000,
        }
    }

    fn now(&mut self) -> Timestamp {
        self.seconds += 1;
        Timestamp::from_second(self.seconds).expect("within range")
    }

    fn apply(&mut self, name: &str, stated: &Value, force: bool) -> Result<(), Vec<Conflict>> {
        let now = self.now();
        let who = applier(name);
        let after = apply(self.kind, &self.live, stated, &self.managers, &who);
        let change = Change {
            kind: self.kind,
            before: &self.live,
            after: &after,
            now,
        };
        self.managers = self
            .managers
            .clone()
            .applied(&change, stated, &who, force)?;
        self.live = after;
        Ok(())
    }

    fn update(&mut self, name: &str, after: Value) {
        let now = self.now();
        let change = Change {
            kind: self.kind,
            before: &self.live,
            after: &after,
            now,
        };
        let who = who(name, Operation::Update);
        self.managers = self.managers.clone().updated(&change, &who);
        self.live = after;
    }

    /// What an applier owns, in `FieldsV1` form.
    fn owned(&self, name: &str) -> Value {
        self.managers
            .fields_of(&applier(name))
            .map_or(Value::Null, super::Set::to_fields_v1)
    }
}

fn said(conflicts: Result<(), Vec<Conflict>>) -> Vec<String> {
    let conflicts = conflicts.expect_err("a conflict");
    let said = conflicts
        .iter()
        .map(|conflict| format!("{} {}", conflict.who, conflict.path));
    said.collect()
}
