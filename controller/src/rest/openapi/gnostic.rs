//! OpenAPI documents of version 2 in protobuf, the only form in which programs of before Kubernetes 1.27 ask for them.
//!
//! The messages are those of google/gnostic-models, `openapiv2/OpenAPIv2.proto`, with the fields that our documents have: a
//! description of what these programs read (kubernetes/kube-openapi, `pkg/util/proto/document.go`), not of all of OpenAPI.

use prost::Message;
use serde_json::{Map, Value};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Document {
    #[prost(string, tag = "1")]
    swagger: String,
    #[prost(message, optional, tag = "2")]
    info: Option<Info>,
    #[prost(message, optional, tag = "8")]
    paths: Option<Paths>,
    #[prost(message, optional, tag = "9")]
    definitions: Option<Schemas>,
}

#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(string, tag = "2")]
    version: String,
}

/// Any value, as YAML; JSON is YAML too.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "2")]
    yaml: String,
}

#[derive(Clone, PartialEq, Message)]
struct NamedAny {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Any>,
}

/// `Definitions`, and `Properties`, which has the same form.
#[derive(Clone, PartialEq, Message)]
struct Schemas {
    #[prost(message, repeated, tag = "1")]
    additional_properties: Vec<NamedSchema>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedSchema {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct Schema {
    #[prost(string, tag = "1")]
    reference: String,
    #[prost(string, tag = "2")]
    format: String,
    #[prost(string, tag = "4")]
    description: String,
    #[prost(message, optional, tag = "5")]
    default: Option<Any>,
    #[prost(string, repeated, tag = "19")]
    required: Vec<String>,
    #[prost(message, repeated, tag = "20")]
    values: Vec<Any>,
    #[prost(message, optional, boxed, tag = "21")]
    additional_properties: Option<Box<AdditionalPropertiesItem>>,
    #[prost(message, optional, tag = "22")]
    of_type: Option<TypeItem>,
    #[prost(message, optional, tag = "23")]
    items: Option<ItemsItem>,
    #[prost(message, optional, tag = "25")]
    properties: Option<Schemas>,
    #[prost(message, repeated, tag = "31")]
    vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct AdditionalPropertiesItem {
    #[prost(message, optional, boxed, tag = "1")]
    schema: Option<Box<Schema>>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeItem {
    #[prost(string, repeated, tag = "1")]
    value: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ItemsItem {
    #[prost(message, repeated, tag = "1")]
    schema: Vec<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct Paths {
    #[prost(message, repeated, tag = "2")]
    path: Vec<NamedPathItem>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedPathItem {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<PathItem>,
}

#[derive(Clone, PartialEq, Message)]
struct PathItem {
    #[prost(message, optional, tag = "2")]
    get: Option<Operation>,
    #[prost(message, optional, tag = "3")]
    put: Option<Operation>,
    #[prost(message, optional, tag = "4")]
    post: Option<Operation>,
    #[prost(message, optional, tag = "5")]
    delete: Option<Operation>,
    #[prost(message, optional, tag = "8")]
    patch: Option<Operation>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(string, repeated, tag = "7")]
    consumes: Vec<String>,
    #[prost(message, repeated, tag = "8")]
    parameters: Vec<ParametersItem>,
    #[prost(message, repeated, tag = "13")]
    vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct ParametersItem {
    #[prost(message, optional, tag = "1")]
    parameter: Option<Parameter>,
}

#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(message, optional, tag = "2")]
    non_body_parameter: Option<NonBodyParameter>,
}

#[derive(Clone, PartialEq, Message)]
struct NonBodyParameter {
    #[prost(message, optional, tag = "3")]
    query: Option<QueryParameter>,
}

/// `QueryParameterSubSchema`.
#[derive(Clone, PartialEq, Message)]
struct QueryParameter {
    #[prost(string, tag = "2")]
    place: String,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(string, tag = "6")]
    of_type: String,
}

impl Document {
    /// The same document as `swagger`, which is one of ours in JSON.
    pub(super) fn of(swagger: &Value) -> Self {
        Self {
            swagger: text(swagger, "swagger"),
            info: swagger.get("info").map(|info| Info {
                title: text(info, "title"),
                version: text(info, "version"),
            }),
            paths: members(swagger, "paths").map(|paths| Paths {
                path: paths.iter().map(path).collect(),
            }),
            definitions: members(swagger, "definitions").map(schemas),
        }
    }
}

fn text(of: &Value, name: &str) -> String {
    let value = of.get(name).and_then(Value::as_str);
    value.unwrap_or_default().to_owned()
}

fn texts(of: &Value, name: &str) -> Vec<String> {
    items(of, name)
        .filter_map(|one| one.as_str().map(str::to_owned))
        .collect()
}

fn items<'a>(of: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    of.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn members<'a>(of: &'a Value, name: &str) -> Option<&'a Map<String, Value>> {
    of.get(name).and_then(Value::as_object)
}

fn any(value: &Value) -> Any {
    Any {
        yaml: value.to_string(),
    }
}

fn extensions(of: &Value) -> Vec<NamedAny> {
    let members = of.as_object().into_iter().flatten();
    let extensions = members.filter(|(name, _)| name.starts_with("x-"));
    extensions
        .map(|(name, value)| NamedAny {
            name: name.clone(),
            value: Some(any(value)),
        })
        .collect()
}

fn schemas(of: &Map<String, Value>) -> Schemas {
    let named = of.iter().map(|(name, value)| NamedSchema {
        name: name.clone(),
        value: Some(schema(value)),
    });
    Schemas {
        additional_properties: named.collect(),
    }
}

fn schema(of: &Value) -> Schema {
    let of_type = of.get("type").and_then(Value::as_str);
    let values = of.get("additionalProperties").filter(|it| it.is_object());
    Schema {
        reference: text(of, "$ref"),
        format: text(of, "format"),
        description: text(of, "description"),
        default: of.get("default").map(any),
        required: texts(of, "required"),
        values: items(of, "enum").map(any).collect(),
        additional_properties: values.map(|values| {
            Box::new(AdditionalPropertiesItem {
                schema: Some(Box::new(schema(values))),
            })
        }),
        of_type: of_type.map(|name| TypeItem {
            value: vec![name.to_owned()],
        }),
        items: of.get("items").map(|items| ItemsItem {
            schema: vec![schema(items)],
        }),
        properties: members(of, "properties").map(schemas),
        vendor_extension: extensions(of),
    }
}

fn path((name, of): (&String, &Value)) -> NamedPathItem {
    let operation = |method: &str| of.get(method).map(operation);
    NamedPathItem {
        name: name.clone(),
        value: Some(PathItem {
            get: operation("get"),
            put: operation("put"),
            post: operation("post"),
            delete: operation("delete"),
            patch: operation("patch"),
        }),
    }
}

fn operation(of: &Value) -> Operation {
    // What is in the path or the body these programs do not look at.
    let queried = items(of, "parameters").filter(|one| one["in"] == "query");
    let parameters = queried.map(|one| {
        let query = QueryParameter {
            place: text(one, "in"),
            name: text(one, "name"),
            of_type: text(one, "type"),
        };
        ParametersItem {
            parameter: Some(Parameter {
                non_body_parameter: Some(NonBodyParameter { query: Some(query) }),
            }),
        }
    });
    Operation {
        consumes: texts(of, "consumes"),
        parameters: parameters.collect(),
        vendor_extension: extensions(of),
    }
}

#[cfg(test)]
mod tests;
