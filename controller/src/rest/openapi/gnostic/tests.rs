use std::collections::{BTreeMap, BTreeSet};

use cellblock_schemas::Kind;
use serde_json::json;

use super::super::swagger;
use super::*;

/// What is read out of the bytes.
fn read() -> Document {
    let bytes = Document::of(&swagger()).encode_to_vec();
    Document::decode(bytes.as_slice()).expect("what was encoded can be read")
}

fn values(of: &[NamedAny]) -> BTreeMap<&str, Value> {
    let values = of.iter().map(|one| {
        let yaml = one.value.as_ref().map(|any| any.yaml.as_str());
        let value = serde_json::from_str(yaml.unwrap_or_default());
        (one.name.as_str(), value.expect("JSON"))
    });
    values.collect()
}

/// Everything below a schema, itself too.
fn all(of: &Schema) -> Vec<&Schema> {
    let values = of.additional_properties.iter();
    let below = (of.properties.iter())
        .flat_map(|properties| &properties.additional_properties)
        .filter_map(|one| one.value.as_ref())
        .chain(of.items.iter().flat_map(|items| &items.schema))
        .chain(values.filter_map(|values| values.schema.as_deref()));
    std::iter::once(of).chain(below.flat_map(all)).collect()
}

#[test]
fn what_is_encoded_is_read_again() {
    let document = Document::of(&swagger());
    assert_eq!(read(), document);
    assert_eq!(document.swagger, "2.0");
}

#[test]
fn every_kind_has_its_schema_and_every_reference_one_to_lead_to() {
    let definitions = read().definitions.expect("definitions");
    let definitions = definitions.additional_properties;
    let names: BTreeSet<&str> = definitions.iter().map(|one| one.name.as_str()).collect();
    let mut kinds = BTreeSet::new();
    let mut references = 0;
    for definition in &definitions {
        let schema = definition.value.as_ref().expect("a schema");
        let extensions = values(&schema.vendor_extension);
        if let Some(of) = extensions.get("x-kubernetes-group-version-kind") {
            let text = |name: &str| of[0][name].as_str().unwrap_or_default().to_owned();
            kinds.insert(format!("{}/{}", text("group"), text("kind")));
        }
        for schema in all(schema) {
            let Some(target) = schema.reference.strip_prefix("#/definitions/") else {
                assert_eq!(schema.reference, "");
                let types = schema.of_type.as_ref().map(|one| one.value.len());
                assert!(matches!(types, None | Some(1)), "{schema:?}");
                continue;
            };
            assert!(names.contains(target), "{target}");
            // kube-openapi, `pkg/util/proto/document.go`, `parseReference`: beside a reference stands neither a type nor a property.
            assert_eq!((&schema.of_type, &schema.properties), (&None, &None));
            references += 1;
        }
    }
    assert!(references > 100, "only {references} references");
    // Beside the kinds: allocations, events and scales, each of which but the last is listed, and three questions about oneself.
    for kind in Kind::ALL
        .map(|kind| kind.as_str())
        .into_iter()
        .chain(["Allocation"])
    {
        for kind in [kind.to_owned(), format!("{kind}List")] {
            assert!(
                kinds.contains(&format!("cellblock.dev/{kind}")),
                "{kinds:?}"
            );
        }
    }
    assert_eq!(kinds.len(), 2 * (Kind::ALL.len() + 2) + 1 + 3, "{kinds:?}");
    let jail = definitions
        .iter()
        .find(|one| one.name == "dev.cellblock.v1alpha1.Jail.PortRange");
    let ports = jail.and_then(|one| one.value.as_ref()).expect("ports");
    assert_eq!(ports.format, "int-or-string");
}

#[test]
fn a_patch_of_every_kind_takes_dry_run() {
    // cli-runtime, `pkg/resource/dry_run_verifier.go`, `supportsDryRun`: without this kubectl refuses to ask.
    let paths = read().paths.expect("paths").path;
    for kind in Kind::ALL {
        let of = json!({"group": "cellblock.dev", "version": "v1alpha1", "kind": kind.as_str()});
        let patches = paths
            .iter()
            .filter_map(|path| path.value.as_ref()?.patch.as_ref());
        let patch = patches
            .filter(|patch| {
                values(&patch.vendor_extension).get("x-kubernetes-group-version-kind") == Some(&of)
            })
            .collect::<Vec<_>>();
        // Of itself and of its status, whichever is found first.
        assert_eq!(patch.len(), 2, "{kind}");
        for patch in patch {
            let options = patch.parameters.iter().filter_map(|one| {
                let parameter = one.parameter.as_ref()?.non_body_parameter.as_ref()?;
                Some(parameter.query.as_ref()?.name.as_str())
            });
            assert!(options.collect::<Vec<_>>().contains(&"dryRun"), "{kind}");
            assert_eq!(patch.consumes.len(), 3);
        }
    }
}
