//! Rules for `metadata`, after Kubernetes' for the same fields.

use std::collections::BTreeMap;

use crate::meta::{FOREGROUND, ORPHAN};
use crate::object::Object;
use crate::path::FieldPath;
use crate::validate::names;
use crate::violation::{Cause, Findings};

/// Octets of all annotations of an object together, as Kubernetes bounds them: they are stored with every object and sent
/// with every watch event.
pub(super) const ANNOTATION_BYTES_MAX: usize = 256 * 1024;

/// Labels of one object. Kubernetes has no such bound; here an index entry is kept for each.
pub(super) const LABELS_MAX: usize = 256;

pub(super) fn validate(object: &Object, findings: &mut Findings) {
    let metadata = object.metadata();
    let path = FieldPath::new("metadata");
    let (api_version, kind) = match object {
        Object::Host(host) => (&host.api_version, &host.kind),
        Object::Network(network) => (&network.api_version, &network.kind),
        Object::Image(image) => (&image.api_version, &image.kind),
        Object::Jail(jail) => (&jail.api_version, &jail.kind),
        Object::JailSet(set) => (&set.api_version, &set.kind),
    };
    if api_version != crate::API_VERSION {
        let help = format!("write {}", crate::API_VERSION);
        findings.add_as(
            Cause::NotSupported,
            &FieldPath::new("apiVersion"),
            format!("`{api_version}` is not known"),
            help,
        );
    }
    if kind != object.kind().as_str() {
        let help = format!("write {}", object.kind());
        findings.add(
            &FieldPath::new("kind"),
            format!("`{kind}` does not fit a {}", object.kind()),
            help,
        );
    }
    findings.check(&path.field("name"), names::dns_label(&metadata.name));
    words(&metadata.labels, &metadata.annotations, &path, findings);
    for (index, finalizer) in metadata.finalizers.iter().enumerate() {
        findings.check(
            &path.field("finalizers").index(index),
            names::qualified(finalizer),
        );
    }
    // As Kubernetes' `ValidateFinalizers` (`apimachinery/pkg/api/validation/objectmeta.go`).
    if metadata.finalizers.iter().any(|name| name == ORPHAN)
        && metadata.finalizers.iter().any(|name| name == FOREGROUND)
    {
        findings.add(
            &path.field("finalizers"),
            format!("{ORPHAN} and {FOREGROUND} contradict each other: what belongs to the object stays, or goes before it"),
            "keep one of the two",
        );
    }
    owners(object, &path.field("ownerReferences"), findings);
}

/// Owner references, after `validateOwnerReference` of Kubernetes' `apimachinery/pkg/api/validation/objectmeta.go`.
fn owners(object: &Object, path: &FieldPath, findings: &mut Findings) {
    let metadata = object.metadata();
    let mut controllers = 0;
    for (place, owner) in metadata.owner_references.iter().enumerate() {
        let path = path.index(place);
        for (field, said) in [
            ("apiVersion", owner.api_version.as_str()),
            ("kind", &owner.kind),
            ("name", &owner.name),
            ("uid", owner.uid.as_str()),
        ] {
            if said.is_empty() {
                let help = "write what the owner itself has there, or leave out the reference";
                findings.add(&path.field(field), "is empty", help);
            }
        }
        let is_itself = owner.api_version == crate::API_VERSION
            && owner.kind == object.kind().as_str()
            && owner.name == metadata.name;
        if is_itself || (!owner.uid.as_str().is_empty() && owner.uid == metadata.uid) {
            findings.add(&path, "names the object itself", "leave it out");
        }
        controllers += usize::from(owner.controller);
        if owner.controller && controllers > 1 {
            let message = "an object has one owner that controls it, and this is another";
            findings.add(&path.field("controller"), message, "leave it out");
        }
    }
}

/// Labels and annotations, of an object or of a template.
pub(super) fn words(
    given: &BTreeMap<String, String>,
    notes: &BTreeMap<String, String>,
    path: &FieldPath,
    findings: &mut Findings,
) {
    let labels = path.field("labels");
    if given.len() > LABELS_MAX {
        let message = format!(
            "{} labels, but an object has at most {LABELS_MAX}",
            given.len()
        );
        findings.add_as(
            Cause::TooMany,
            &labels,
            message,
            "put what is not selected by into annotations",
        );
    } else {
        for (key, value) in given {
            findings.check(&labels.key(key), names::qualified(key));
            findings.check(&labels.key(key), names::label_value(value));
        }
    }
    let annotations = path.field("annotations");
    for key in notes.keys() {
        findings.check(&annotations.key(key), names::qualified(&key.to_lowercase()));
    }
    let size: usize = notes
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if size > ANNOTATION_BYTES_MAX {
        let message =
            format!("{size} octets, but annotations have at most {ANNOTATION_BYTES_MAX} together");
        findings.add_as(
            Cause::TooLong,
            &annotations,
            message,
            "keep large texts elsewhere and refer to them",
        );
    }
}
