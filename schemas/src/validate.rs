//! Validation: the rules that one object must keep, all violations at once, nothing changed.
//!
//! ```text
//! structural::check (shape) ──► default ──► validate (this) ──► unsupported ──► cross-object rules (controller/core)
//! ```
//!
//! What needs a second object to be judged (does the network exist, does the address lie in one of its subnets, is it taken)
//! is deliberately not here: `controller/core` decides it against its index. What needs the host (is the interface there,
//! does the kernel know the parameter) is the agent's. Called by admission and by `jailctl`, on a defaulted object.

use crate::object::Object;
use crate::path::FieldPath;
use crate::selector::{LabelSelector, SelectorOperator};
use crate::violation::{Cause, Findings, Violation};

mod firewall;
mod host;
mod image;
mod jail;
mod jail_set;
pub mod limits;
mod meta;
pub mod names;
mod network;
pub mod parameters;
mod paths;
mod probes;
mod publish;
mod reserved;
mod update;

#[cfg(test)]
mod tests;

pub use jail::JAIL_NETWORKS_MAX;
pub use update::validate_update;

/// Every rule that the object breaks.
#[must_use]
pub fn validate(object: &Object) -> Vec<Violation> {
    let mut findings = Findings::default();
    meta::validate(object, &mut findings);
    let spec = FieldPath::new("spec");
    match object {
        Object::Host(host) => host::validate(&host.spec, &spec, &mut findings),
        Object::Network(network) => network::validate(&network.spec, &spec, &mut findings),
        Object::Image(image) => image::validate(&image.spec, &spec, &mut findings),
        Object::Jail(jail) => jail::validate(jail, &spec, &mut findings),
        Object::JailSet(set) => jail_set::validate(set, &spec, &mut findings),
    }
    findings.0
}

/// A label selector: keys, values, and values exactly where the operator takes some.
fn selector(selector: &LabelSelector, path: &FieldPath, findings: &mut Findings) {
    let labels = path.field("matchLabels");
    for (key, value) in &selector.match_labels {
        findings.check(&labels.key(key), names::qualified(key));
        findings.check(&labels.key(key), names::label_value(value));
    }
    for (index, requirement) in selector.match_expressions.iter().enumerate() {
        let at = path.field("matchExpressions").index(index);
        findings.check(&at.field("key"), names::qualified(&requirement.key));
        for (position, value) in requirement.values.iter().enumerate() {
            findings.check(
                &at.field("values").index(position),
                names::label_value(value),
            );
        }
        let takes_values = match requirement.operator {
            SelectorOperator::In | SelectorOperator::NotIn => true,
            SelectorOperator::Exists | SelectorOperator::DoesNotExist => false,
        };
        match (takes_values, requirement.values.is_empty()) {
            (true, true) => findings.add_as(
                Cause::Required,
                &at.field("values"),
                "this operator needs values",
                "give at least one value",
            ),
            (false, false) => findings.add_as(
                Cause::Forbidden,
                &at.field("values"),
                "this operator takes no values",
                "remove them",
            ),
            (true, false) | (false, true) => {}
        }
    }
}

/// Exactly one of several fields must be given.
fn exactly_one(path: &FieldPath, fields: &[(&str, bool)], findings: &mut Findings) {
    let given: Vec<&str> = fields
        .iter()
        .filter(|(_, given)| *given)
        .map(|(name, _)| *name)
        .collect();
    let all: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let all = all.join(", ");
    match given.as_slice() {
        [_] => {}
        [] => findings.add_as(
            Cause::Required,
            path,
            format!("none of {all} is given"),
            "give exactly one of them",
        ),
        several => {
            let message = format!("{} are given together", several.join(" and "));
            findings.add_as(
                Cause::Forbidden,
                path,
                message,
                format!("give exactly one of {all}"),
            );
        }
    }
}
