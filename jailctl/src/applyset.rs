//! `jailctl apply --prune`: what was applied before as part of the same set, and is applied no more, goes. Sets are marked as kubectl
//! marks them (kubernetes/enhancements, KEP-3659; kubernetes/kubectl, `pkg/cmd/apply/applyset.go`): a label on each member that
//! names the set by its parent, and on the parent who keeps it and of which kinds the members are.
//!
//! Nothing is taken away before everything was applied, and what is taken away follows from the labels alone; so a run that was broken
//! off is made up for by the next.

use std::collections::BTreeSet;

use anyhow::bail;
use cellblock_proto::v1 as wire;
use cellblock_proto::v1::apply_result::Outcome;
use cellblock_schemas::manifest::Document;
use cellblock_schemas::{API_VERSION, Kind};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::args::Terms;
use crate::client::{Client, Removal, Stored};
use crate::host::until_unchanged;
use crate::printer::Printer;
use crate::target::{Targets, Usage, label};

/// On a member: of which set it is.
const PART_OF: &str = "applyset.kubernetes.io/part-of";

/// On a parent: the set's id.
const ID: &str = "applyset.kubernetes.io/id";

/// On a parent: who keeps the set.
const TOOLING: &str = "applyset.kubernetes.io/tooling";

/// On a parent: of which kinds the members are, `Jail.cellblock.dev,Network.cellblock.dev`.
const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";

/// Who we are there; a set that another program keeps is left alone.
const TOOL: &str = "jailctl";

/// Whose the parent's marks are.
const FIELD_MANAGER: &str = "jailctl-applyset";

/// A set of objects that are applied together.
#[derive(Debug)]
pub struct ApplySet {
    parent: (Kind, String),
    id: String,
    kinds: BTreeSet<Kind>,
}

impl ApplySet {
    /// The set of a parent, `KIND/NAME`, which has to be there.
    ///
    /// # Errors
    /// It is not there, or somebody else keeps its set.
    pub async fn of(client: &mut Client, parent: &str) -> anyhow::Result<Self> {
        let Targets::Objects(parents) = Targets::read(&[parent.to_owned()])? else {
            bail!(Usage(format!(
                "`{parent}` is no KIND/NAME: a set is named by an object that stays, as in network/lan"
            )));
        };
        let [(kind, name)] = parents.as_slice() else {
            bail!(Usage(format!("`{parent}` is no KIND/NAME")));
        };
        let found = client.get_each(&parents).await?;
        let Some(object) = found.objects.first() else {
            bail!(
                "there is no {}: the parent of a set has to be there before; apply it first, without --prune",
                label(*kind, name)
            );
        };
        let id = id(*kind, name);
        let said = mark(object, "labels", ID);
        if !said.is_empty() && said != id {
            bail!(
                "{} has the label {ID} of another set, {said}; take the label away, or name another parent",
                label(*kind, name)
            );
        }
        let tooling = mark(object, "annotations", TOOLING);
        if !tooling.is_empty() && tooling.split('/').next() != Some(TOOL) {
            bail!(
                "the set of {} is kept by {tooling}, so it is left alone",
                label(*kind, name)
            );
        }
        let known = mark(object, "annotations", KINDS);
        let kinds = known
            .split(',')
            .filter_map(|kind| Kind::from_name(kind.split('.').next()?));
        Ok(Self {
            kinds: kinds.collect(),
            parent: (*kind, name.clone()),
            id,
        })
    }

    /// Makes documents members of the set.
    ///
    /// # Errors
    /// One is a member of another set already, or is the parent.
    pub async fn join(
        &self,
        client: &mut Client,
        documents: &mut [Document],
    ) -> anyhow::Result<()> {
        let mut others = Vec::new();
        for kind in Kind::ALL {
            for object in client.list(kind, PART_OF).await?.0 {
                if mark(&object, "labels", PART_OF) != self.id {
                    others.push((object.kind, object.name));
                }
            }
        }
        for document in documents {
            let named = key(document);
            let label = label(named.0, &named.1);
            if named == self.parent {
                bail!(
                    "{label} is the parent of the set and cannot be a member of it: it would go with the last of them; apply it without --prune"
                );
            }
            if others.contains(&named) {
                bail!(
                    "{label} is a member of another set; take its label {PART_OF} away first, or leave it out"
                );
            }
            let labels = &mut document.object.metadata_mut().labels;
            let said = labels.insert(PART_OF.to_owned(), self.id.clone());
            if said.is_some_and(|said| said != self.id) {
                bail!("the manifest of {label} has a label {PART_OF} of another set");
            }
            document.value["metadata"]["labels"][PART_OF] = self.id.as_str().into();
        }
        Ok(())
    }

    /// The members that are none of the documents, users before what they lean on.
    ///
    /// # Errors
    /// The controller did not answer.
    pub async fn left_over(
        &self,
        client: &mut Client,
        documents: &[Document],
    ) -> anyhow::Result<Vec<Stored>> {
        let stay: BTreeSet<_> = documents.iter().map(key).collect();
        let selector = format!("{PART_OF}={}", self.id);
        let mut left = Vec::new();
        for kind in Kind::ALL.into_iter().rev() {
            let members = client.list(kind, &selector).await?.0;
            let gone = members.into_iter().filter(|member| {
                let named = (member.kind, member.name.clone());
                !stay.contains(&named) && named != self.parent
            });
            left.extend(gone);
        }
        Ok(left)
    }

    /// Writes at the parent what the set is before it changes: of no fewer kinds than it has, or comes to have.
    ///
    /// # Errors
    /// The controller refused it, or did not answer.
    pub async fn announce(
        &self,
        client: &mut Client,
        documents: &[Document],
        left: &[Stored],
    ) -> anyhow::Result<()> {
        let kinds = documents.iter().map(|document| document.object.kind());
        let kinds = kinds.chain(left.iter().map(|member| member.kind));
        self.note(client, kinds.chain(self.kinds.iter().copied()).collect())
            .await
    }

    /// Takes away what is left over, and writes at the parent what the set is now.
    ///
    /// # Errors
    /// The controller refused it, or did not answer.
    pub async fn prune(
        &self,
        client: &mut Client,
        documents: &[Document],
        printer: &Printer,
    ) -> anyhow::Result<()> {
        for member in self.left_over(client, documents).await? {
            let label = label(member.kind, &member.name);
            match self.remove(client, &member).await? {
                true => printer.note(&format!("{label} pruned")),
                false => printer.note(&format!("{label} is not of the set any more, and stays")),
            }
        }
        let kinds = documents.iter().map(|document| document.object.kind());
        self.note(client, kinds.collect()).await
    }

    /// Deletes a member, if it still is one at the moment that it is deleted.
    async fn remove(&self, client: &mut Client, member: &Stored) -> anyhow::Result<bool> {
        let removed = until_unchanged(async || {
            let found = client
                .get_each(&[(member.kind, member.name.clone())])
                .await?;
            let Some(object) = found.objects.first() else {
                return Ok(true);
            };
            if mark(object, "labels", PART_OF) != self.id {
                return Ok(false);
            }
            let removal = Removal {
                revision: object.revision,
                ..Removal::of(object.kind, &object.name)
            };
            match client.delete(&removal).await {
                Err(refused) if refused.reason == "NotFound" => Ok(true),
                answer => answer.map(|_| true),
            }
        });
        Ok(removed.await?)
    }

    async fn note(&self, client: &mut Client, kinds: BTreeSet<Kind>) -> anyhow::Result<()> {
        let (kind, name) = &self.parent;
        let group = API_VERSION.split('/').next().unwrap_or_default();
        let mut kinds: Vec<String> = kinds.iter().map(|kind| format!("{kind}.{group}")).collect();
        kinds.sort();
        let tooling = format!("{TOOL}/v{}", env!("CARGO_PKG_VERSION"));
        let document = json!({
            "apiVersion": API_VERSION,
            "kind": kind.as_str(),
            "metadata": {
                "name": name,
                "labels": {(ID): self.id},
                "annotations": {(TOOLING): tooling, (KINDS): kinds.join(",")},
            },
        });
        let object = wire::Object {
            kind: kind.to_string(),
            name: name.clone(),
            revision: 0,
            json: document.to_string().into_bytes().into(),
        };
        let terms = Terms {
            field_manager: FIELD_MANAGER.to_owned(),
            force_conflicts: true,
        };
        for result in client.apply(vec![object], &terms, false).await? {
            if result.outcome() == Outcome::Refused {
                let why = result.violations.iter();
                let why: Vec<_> = why
                    .map(|one| format!("{}: {}", one.field, one.message))
                    .collect();
                bail!(
                    "what the set is could not be written at {}: {}; nothing was pruned",
                    label(*kind, name),
                    why.join("; ")
                );
            }
        }
        Ok(())
    }
}

fn key(document: &Document) -> (Kind, String) {
    let object = &document.object;
    (object.kind(), object.metadata().name.clone())
}

fn mark<'a>(object: &'a Stored, member: &str, key: &str) -> &'a str {
    let marks = object.value.pointer(&format!("/metadata/{member}"));
    let found = marks
        .and_then(|marks| marks.get(key))
        .and_then(Value::as_str);
    found.unwrap_or_default()
}

/// `applyset-`, the SHA-256 of name, namespace, kind and group between dots in base64url without padding, `-v1`.
fn id(kind: Kind, name: &str) -> String {
    let group = API_VERSION.split('/').next().unwrap_or_default();
    let hash = Sha256::digest(format!("{name}..{kind}.{group}").as_bytes());
    format!("applyset-{}-v1", base64url(&hash))
}

fn base64url(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in octets.chunks(3) {
        let bits = three
            .iter()
            .fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet));
        let bits = bits << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            let place = (bits >> (18 - 6 * digit)) & 63;
            text.push(char::from(DIGITS[place as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_kubectl() {
        assert_eq!(base64url(b"Man"), "TWFu");
        assert_eq!(base64url(b"Ma"), "TWE");
        assert_eq!(base64url(b"M"), "TQ");
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
        let id = id(Kind::Network, "lan");
        assert_eq!(
            id,
            "applyset-J2AuUK_pRHbjKVbJg9G4D5Hz37t4kjs6w1x6cEFKgvk-v1"
        );
        assert!(id.len() <= 63, "it is a label's value");
    }
}
