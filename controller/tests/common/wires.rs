//! One set of verbs over both wires, with answers that can be compared.

use cellblock_proto::v1;
use cellblock_proto::v1::watch_event::Type;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::http::{APPLY, Answer, JSON, JSON_PATCH, MERGE, get, get_until, send, text};
use super::{DEADLINE, Objects, World, json_of};

/// Who writes in these tests.
pub(crate) const MANAGER: &str = "test";

/// How a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Rest,
    Grpc,
}

pub(crate) const BOTH: [Wire; 2] = [Wire::Rest, Wire::Grpc];

/// Why a request was refused, in the same words for both: a reason of Kubernetes', and the fields that are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: String,
    pub(crate) fields: Vec<String>,
}

pub(crate) type Outcome<T = Value> = Result<T, Refused>;

/// A page of a list: names, revision, where the next begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Value>,
    pub(crate) revision: u64,
    pub(crate) next: String,
}

/// What a watch told: of what type, which object, at which revision.
pub(crate) type Told = (String, String, u64);

/// How something is patched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patch {
    Merge,
    Json,
}

/// A controller and clients of it.
pub(crate) struct Wires {
    pub(crate) world: World,
    pub(crate) objects: Objects,
    /// What watches select by.
    pub(crate) labels: String,
    /// The documents that the last watch told, but for bookmarks.
    pub(crate) seen: Vec<Value>,
    kind: &'static str,
    collection: String,
}

impl Wires {
    pub(crate) async fn to(world: World, kind: &'static str) -> Self {
        let plural = format!("{}s", kind.to_lowercase());
        Self {
            objects: world.objects().await,
            world,
            labels: String::new(),
            seen: Vec::new(),
            kind,
            collection: format!("/apis/cellblock.dev/v1alpha1/{plural}"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.collection)
    }

    pub(crate) async fn get(&mut self, wire: Wire, name: &str) -> Outcome {
        if wire == Wire::Rest {
            return rest(&get(&self.world, &self.path(name)).await);
        }
        let request = v1::GetRequest {
            kind: self.kind.to_owned(),
            name: name.to_owned(),
            not_older_than: None,
        };
        let got = self.objects.get(request).await;
        got.map(|got| json_of(&got.into_inner())).map_err(grpc)
    }

    pub(crate) async fn list(
        &mut self,
        wire: Wire,
        labels: &str,
        limit: u32,
        next: &str,
    ) -> Outcome<Page> {
        if wire == Wire::Rest {
            let labels = labels.replace('=', "%3D").replace(' ', "+");
            let path = &self.collection;
            let path = format!("{path}?labelSelector={labels}&limit={limit}&continue={next}");
            let mut list = rest(&get(&self.world, &path).await)?;
            return Ok(Page {
                revision: revision(&list),
                next: text(&list["metadata"]["continue"]),
                objects: list["items"]
                    .as_array_mut()
                    .map(std::mem::take)
                    .unwrap_or_default(),
            });
        }
        let request = v1::ListRequest {
            kind: self.kind.to_owned(),
            label_selector: labels.to_owned(),
            limit,
            continue_token: next.to_owned(),
            ..v1::ListRequest::default()
        };
        let page = self.objects.list(request).await.map_err(grpc)?.into_inner();
        Ok(Page {
            objects: page.objects.iter().map(json_of).collect(),
            revision: page.revision,
            next: page.continue_token,
        })
    }

    pub(crate) async fn create(&mut self, wire: Wire, document: &Value) -> Outcome {
        if wire == Wire::Rest {
            let path = format!("{}?fieldManager={MANAGER}", self.collection);
            return rest(&send(&self.world, "POST", &path, JSON, document).await);
        }
        let request = v1::CreateRequest {
            object: self.envelope(document),
            field_manager: MANAGER.to_owned(),
            ..v1::CreateRequest::default()
        };
        written(self.objects.create(request).await)
    }

    pub(crate) async fn update(&mut self, wire: Wire, document: &Value, status: bool) -> Outcome {
        if wire == Wire::Rest {
            let path = self.to_write(&text(&document["metadata"]["name"]), status);
            return rest(&send(&self.world, "PUT", &path, JSON, document).await);
        }
        let request = v1::UpdateRequest {
            object: self.envelope(document),
            field_manager: MANAGER.to_owned(),
            ..v1::UpdateRequest::default()
        };
        written(if status {
            self.objects.update_status(request).await
        } else {
            self.objects.update(request).await
        })
    }

    pub(crate) async fn patch(
        &mut self,
        wire: Wire,
        name: &str,
        how: Patch,
        patch: &Value,
        status: bool,
    ) -> Outcome {
        if wire == Wire::Rest {
            let media = match how {
                Patch::Merge => MERGE,
                Patch::Json => JSON_PATCH,
            };
            let path = self.to_write(name, status);
            return rest(&send(&self.world, "PATCH", &path, media, patch).await);
        }
        let how = match how {
            Patch::Merge => v1::patch_request::Type::Merge,
            Patch::Json => v1::patch_request::Type::Json,
        };
        let request = v1::PatchRequest {
            kind: self.kind.to_owned(),
            name: name.to_owned(),
            r#type: how.into(),
            patch: patch.to_string().into(),
            status,
            field_manager: MANAGER.to_owned(),
            ..v1::PatchRequest::default()
        };
        written(self.objects.patch(request).await)
    }

    pub(crate) async fn apply(
        &mut self,
        wire: Wire,
        document: &Value,
        manager: &str,
        force: bool,
    ) -> Outcome {
        if wire == Wire::Rest {
            let name = text(&document["metadata"]["name"]);
            let force = if force { "&force=true" } else { "" };
            let path = format!("{}?fieldManager={manager}{force}", self.path(&name));
            return rest(&send(&self.world, "PATCH", &path, APPLY, document).await);
        }
        let request = v1::ApplyRequest {
            objects: self.envelope(document).into_iter().collect(),
            field_manager: manager.to_owned(),
            force,
            dry_run: false,
        };
        let applied = self
            .objects
            .apply(request)
            .await
            .map_err(grpc)?
            .into_inner();
        let result = applied.results.into_iter().next().expect("one for each");
        match result.object {
            Some(object) => Ok(json_of(&object)),
            None => Err(named(
                result.reason,
                result.violations.into_iter().map(|one| one.field).collect(),
            )),
        }
    }

    /// Whether it is gone.
    pub(crate) async fn delete(
        &mut self,
        wire: Wire,
        name: &str,
        uid: &str,
        revision: u64,
    ) -> Outcome<bool> {
        if wire == Wire::Rest {
            let mut preconditions = json!({});
            if !uid.is_empty() {
                preconditions["uid"] = uid.into();
            }
            if revision != 0 {
                preconditions["resourceVersion"] = revision.to_string().into();
            }
            let options = json!({"preconditions": preconditions});
            let path = self.path(name);
            let answer = rest(&send(&self.world, "DELETE", &path, JSON, &options).await)?;
            return Ok(answer["kind"] == "Status");
        }
        let request = v1::DeleteRequest {
            kind: self.kind.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            revision,
            propagation_policy: String::new(),
            dry_run: false,
        };
        let deleted = self.objects.delete(request).await.map_err(grpc)?;
        Ok(deleted.into_inner().gone)
    }

    /// What happened after a revision until `last` came, which must be there by now; from 0, what there is and a bookmark.
    pub(crate) async fn watch(&mut self, wire: Wire, after: u64, last: &str) -> Outcome<Vec<Told>> {
        let mut told = Vec::new();
        self.seen.clear();
        if wire == Wire::Rest {
            let how = if after == 0 {
                "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
                    .to_owned()
            } else {
                format!("&resourceVersion={after}")
            };
            let labels = self.labels.replace('=', "%3D");
            let path = format!(
                "{}?watch=true&timeoutSeconds=20&labelSelector={labels}{how}",
                self.collection
            );
            let until = if last == "BOOKMARK" {
                "\"type\":\"BOOKMARK\"".to_owned()
            } else {
                format!("\"name\":\"{last}\"")
            };
            let answer = get_until(&self.world, &path, &until).await;
            rest_code(&answer)?;
            for line in answer.body.lines() {
                let event: Value = serde_json::from_str(line).expect("an event");
                let what = text(&event["type"]);
                let object = &event["object"];
                if what == "ERROR" {
                    return Err(Refused {
                        reason: text(&object["reason"]),
                        fields: Vec::new(),
                    });
                }
                if what != "BOOKMARK" {
                    self.seen.push(object.clone());
                }
                told.push((what, text(&object["metadata"]["name"]), revision(object)));
                if is_last(&told, last) {
                    break;
                }
            }
            return Ok(told);
        }
        let request = v1::WatchRequest {
            kind: self.kind.to_owned(),
            label_selector: self.labels.clone(),
            revision: after,
            ..v1::WatchRequest::default()
        };
        let mut events = self
            .objects
            .watch(request)
            .await
            .map_err(grpc)?
            .into_inner();
        while !is_last(&told, last) {
            let event = tokio::time::timeout(DEADLINE, events.message()).await;
            let event = event
                .expect("it comes in time")
                .map_err(grpc)?
                .expect("it goes on");
            let what = match event.r#type() {
                Type::Unspecified => "",
                Type::Added => "ADDED",
                Type::Modified => "MODIFIED",
                Type::Deleted => "DELETED",
                Type::Bookmark => "BOOKMARK",
            };
            let object = event.object.expect("an object");
            if what != "BOOKMARK" {
                self.seen.push(json_of(&object));
            }
            told.push((what.to_owned(), object.name, object.revision));
        }
        Ok(told)
    }

    fn to_write(&self, name: &str, status: bool) -> String {
        let below = if status { "/status" } else { "" };
        format!("{}{below}?fieldManager={MANAGER}", self.path(name))
    }

    fn envelope(&self, document: &Value) -> Option<v1::Object> {
        Some(v1::Object {
            kind: self.kind.to_owned(),
            name: String::new(),
            revision: 0,
            json: document.to_string().into(),
        })
    }
}

fn is_last(told: &[Told], last: &str) -> bool {
    told.last()
        .is_some_and(|(what, name, _)| name == last || what == last)
}

/// The revision of an object or a list.
pub(crate) fn revision(of: &Value) -> u64 {
    let revision = of["metadata"]["resourceVersion"].as_str();
    revision.unwrap_or_default().parse().unwrap_or_default()
}

fn rest_code(answer: &Answer) -> Outcome<()> {
    if answer.code < 300 {
        return Ok(());
    }
    let (reason, fields) = answer.refusal();
    // Kubernetes' name for a document that is too large is another than that of gRPC here; its fields begin with a dot where they
    // are owned.
    let mut fields: Vec<String> = fields
        .into_iter()
        .map(|field| field.trim_start_matches('.').to_owned())
        .collect();
    fields.sort();
    Err(Refused {
        reason: reason.replace("RequestEntityTooLarge", "TooLarge"),
        fields,
    })
}

fn rest(answer: &Answer) -> Outcome {
    rest_code(answer)?;
    Ok(answer.json())
}

fn written(answer: Result<tonic::Response<v1::WriteResponse>, Status>) -> Outcome {
    let object = answer.map_err(grpc)?.into_inner().object;
    Ok(json_of(&object.expect("an object")))
}

fn grpc(status: Status) -> Refused {
    let detail = super::rejection(&status);
    let mut fields: Vec<String> = detail.violations.into_iter().map(|one| one.field).collect();
    fields.sort();
    let reason = match (detail.reason.as_str(), status.code()) {
        ("", Code::InvalidArgument) => "BadRequest".to_owned(),
        ("", code) => format!("{code:?}"),
        (reason, _) => reason.to_owned(),
    };
    named(reason, fields)
}

/// Kubernetes names no field where the object as a whole is not there, is there already, or is another one by now.
fn named(reason: String, mut fields: Vec<String>) -> Refused {
    const WHOLE: [&str; 3] = ["metadata.name", "metadata.uid", "metadata.resourceVersion"];
    if matches!(
        reason.as_str(),
        "NotFound" | "AlreadyExists" | "Conflict" | "TooManyRequests"
    ) {
        fields.retain(|field| !WHOLE.contains(&field.as_str()));
    }
    Refused { reason, fields }
}
