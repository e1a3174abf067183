//! Derived defaults that nobody owns. They are no part of what an apply merges: what the manifest says now derives them anew. Constant
//! defaults stay as they are stored.

use std::collections::BTreeMap;

use cellblock_schemas::Kind;
use serde_json::Value;

use crate::fields::{Element, Managers};

/// Takes how addresses come out of the attachments of a document that nobody stated it for. Whoever took `addresses` away did not
/// write the `static` that had been derived from them.
pub(super) fn forget(kind: Kind, document: &mut Value, stated: &Value, managers: &Managers) {
    let place: &[&str] = match kind {
        Kind::Host | Kind::Network | Kind::Image => return,
        Kind::Jail => &["spec", "networks"],
        Kind::JailSet => &["spec", "template", "spec", "networks"],
    };
    let pointer = format!("/{}", place.join("/"));
    let stated = stated.pointer(&pointer).and_then(Value::as_array);
    let Some(Value::Array(attachments)) = document.pointer_mut(&pointer) else {
        return;
    };
    for attachment in attachments {
        let Some(interface) = attachment.get("interface") else {
            continue;
        };
        let is_stated = stated.into_iter().flatten().any(|stated| {
            stated.get("interface") == Some(interface) && stated.get("addressing").is_some()
        });
        let mut path: Vec<Element> = place.iter().map(|step| field(step)).collect();
        path.push(Element::key(BTreeMap::from([("interface", interface)])));
        path.push(field("addressing"));
        if !is_stated
            && !managers.owns(&path)
            && let Some(members) = attachment.as_object_mut()
        {
            members.shift_remove("addressing");
        }
    }
}

fn field(name: &str) -> Element {
    Element::Field(name.to_owned())
}
