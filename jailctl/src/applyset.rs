//! `jailctl apply --prune`: what was applied before as part of the same set, and is applied no more, goes. Sets are marked as kubectl
//! marks them (kubernetes/enhancements, KEP-3659; kubernetes/kubectl, `pkg/cmd/apply/applyset.go`): a label on each member that
//! names the set by its parent, and on the parent who keeps it and of which kinds the members are.
//!
//! Nothing is taken away before everything was applied, and what is taken away follows from the labels alone; so a run that was broken
//! off is made up for by the next.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use cellblock_schemas::manifest::Document;
use cellblock_schemas::{API_VERSION, Kind};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::{Client, Removal, Stored};
use crate::describe;
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
    /// What else the parent says that there is, word for word: kinds of a newer release, or of somebody else.
    unknown: BTreeSet<String>,
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
        let (kinds, unknown) = read_kinds(known);
        Ok(Self {
            kinds,
            unknown,
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
        let named: Vec<_> = documents.iter().map(key).collect();
        let there = client.get_each(&named).await?.objects.into_iter();
        let others = there.filter(|object| {
            let said = mark(object, "labels", PART_OF);
            !said.is_empty() && said != self.id
        });
        let others: BTreeSet<_> = others.map(|object| (object.kind, object.name)).collect();
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

    /// The members that are none of the documents and are not going already, users before what they lean on.
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
                !stay.contains(&named) && named != self.parent && !is_going(member)
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
                false => printer.note(&format!("{label} changed meanwhile, and stays")),
            }
        }
        let kinds = documents.iter().map(|document| document.object.kind());
        self.note(client, kinds.collect()).await
    }

    /// Deletes a member, if it is what was listed, but for its status.
    async fn remove(&self, client: &mut Client, member: &Stored) -> anyhow::Result<bool> {
        let mut revision = member.revision;
        let removed = until_unchanged(async || {
            let removal = Removal {
                uid: uid(member),
                revision,
                ..Removal::of(member.kind, &member.name)
            };
            let refused = match client.delete(&removal).await {
                Err(refused) if refused.reason == "NotFound" => return Ok(true),
                Err(refused) if refused.reason == "Conflict" => refused,
                answer => return answer.map(|_| true),
            };
            let found = client.get(member.kind, &member.name).await;
            match found {
                Err(gone) if gone.reason == "NotFound" => Ok(true),
                Err(refused) => Err(refused),
                Ok(object) if is_same(member, &object) => {
                    revision = object.revision;
                    Err(refused)
                }
                Ok(_) => Ok(false),
            }
        });
        Ok(removed.await?)
    }

    /// Writes at the parent, which is there, what the set is.
    async fn note(&self, client: &mut Client, kinds: BTreeSet<Kind>) -> anyhow::Result<()> {
        let (kind, name) = &self.parent;
        let tooling = format!("{TOOL}/v{}", env!("CARGO_PKG_VERSION"));
        let kinds = written_kinds(&kinds, &self.unknown);
        let noted = until_unchanged(async || {
            let parent = client.get(*kind, name).await?;
            let marks = [
                ("labels", ID, self.id.as_str()),
                ("annotations", TOOLING, &tooling),
                ("annotations", KINDS, &kinds),
            ];
            if marks
                .iter()
                .all(|(at, key, value)| mark(&parent, at, key) == *value)
            {
                return Ok(());
            }
            let patch = json!({"metadata": {
                "uid": uid(&parent),
                "resourceVersion": parent.revision.to_string(),
                "labels": {(ID): self.id},
                "annotations": {(TOOLING): tooling, (KINDS): kinds},
            }});
            client.patch(*kind, name, &patch, FIELD_MANAGER).await
        });
        noted.await.with_context(|| {
            format!(
                "what the set is could not be written at {}",
                label(*kind, name)
            )
        })
    }
}

/// Warns of what is left over while jails that stay use it: it is deleted only when they are gone, and takes no new ones meanwhile.
/// `applied`: objects as they are to be.
///
/// # Errors
/// The controller did not answer.
pub async fn warn_of_users(
    client: &mut Client,
    left: &[Stored],
    applied: &[Stored],
    printer: &Printer,
) -> anyhow::Result<()> {
    if !left.iter().any(|member| describe::is_used(member.kind)) {
        return Ok(());
    }
    let (listed, _) = client.list(Kind::Jail, "").await?;
    for (member, users) in used(left, applied, listed) {
        printer.warning(&format!(
            "{}: jails that stay use it ({}); it is deleted only when none does any more, and takes no new ones until then",
            label(member.kind, &member.name),
            users.join(", ")
        ));
    }
    Ok(())
}

/// What is left over and used, with the jails that stay and use it.
fn used<'a>(
    left: &'a [Stored],
    applied: &[Stored],
    listed: Vec<Stored>,
) -> Vec<(&'a Stored, Vec<String>)> {
    let among = |some: &[Stored], jail: &Stored| {
        let mut same = some.iter();
        same.any(|one| one.kind == Kind::Jail && one.name == jail.name)
    };
    let mut jails: Vec<Stored> = listed
        .into_iter()
        .filter(|jail| !among(left, jail) && !among(applied, jail))
        .collect();
    jails.extend(applied.iter().filter(|one| one.kind == Kind::Jail).cloned());
    let with_users = left.iter().map(|member| {
        let users = describe::users(member, &jails);
        (member, users.into_iter().map(str::to_owned).collect())
    });
    with_users
        .filter(|(_, users): &(_, Vec<String>)| !users.is_empty())
        .collect()
}

/// The kinds that a parent names, and what else it names.
fn read_kinds(text: &str) -> (BTreeSet<Kind>, BTreeSet<String>) {
    let (mut kinds, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let known = one.split_once('.').filter(|(_, of)| *of == group());
        match known.and_then(|(kind, _)| Kind::from_name(kind)) {
            Some(kind) => drop(kinds.insert(kind)),
            None => drop(unknown.insert(one.to_owned())),
        }
    }
    (kinds, unknown)
}

fn written_kinds(kinds: &BTreeSet<Kind>, unknown: &BTreeSet<String>) -> String {
    let known = kinds.iter().map(|kind| format!("{kind}.{}", group()));
    let all: BTreeSet<String> = known.chain(unknown.iter().cloned()).collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

fn group() -> &'static str {
    API_VERSION.split('/').next().unwrap_or_default()
}

fn uid(object: &Stored) -> &str {
    object.value["metadata"]["uid"].as_str().unwrap_or_default()
}

fn is_going(object: &Stored) -> bool {
    !object.value["metadata"]["deletionTimestamp"].is_null()
}

/// Whether an object is as it was, but for what its host reports.
fn is_same(before: &Stored, now: &Stored) -> bool {
    let members = [
        "uid",
        "generation",
        "labels",
        "annotations",
        "ownerReferences",
    ];
    let same = |member: &&str| before.value["metadata"][member] == now.value["metadata"][member];
    members.iter().all(same) && !is_going(now)
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
    let hash = Sha256::digest(format!("{name}..{kind}.{}", group()).as_bytes());
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

    #[test]
    fn kinds_that_are_not_known_stay_word_for_word() {
        let said = "Jail.cellblock.dev,Jail.example.org,Volume.cellblock.dev";
        let (kinds, unknown) = read_kinds(said);
        assert_eq!(kinds, [Kind::Jail].into());
        assert_eq!(written_kinds(&kinds, &unknown), said);
        assert_eq!(read_kinds(""), Default::default());
    }

    #[test]
    fn what_a_jail_that_stays_uses_is_told_before_it_is_deleted() {
        let object = |kind, name: &str, spec: Value| Stored {
            kind,
            name: name.to_owned(),
            revision: 1,
            value: json!({ "spec": spec }),
        };
        let jail = |name, network| {
            object(
                Kind::Jail,
                name,
                json!({"networks": [{"network": network}]}),
            )
        };
        let left = [
            object(Kind::Network, "old", json!({})),
            object(Kind::Network, "free", json!({})),
            jail("going", "old"),
        ];
        let listed = || {
            vec![
                jail("going", "old"),
                jail("stays", "old"),
                jail("moves", "free"),
            ]
        };
        let names = |applied: &[Stored]| -> Vec<(String, Vec<String>)> {
            let found = used(&left, applied, listed()).into_iter();
            found
                .map(|(one, users)| (one.name.clone(), users))
                .collect()
        };
        let own = |users: &[&str]| users.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(
            names(&[]),
            [
                ("old".to_owned(), own(&["stays"])),
                ("free".to_owned(), own(&["moves"]))
            ]
        );
        let moved = [jail("moves", "new")];
        assert_eq!(names(&moved), [("old".to_owned(), own(&["stays"]))]);
    }

    #[test]
    fn what_only_its_host_changed_is_the_same() {
        let object = |value: Value| Stored {
            kind: Kind::Jail,
            name: "www".to_owned(),
            revision: 7,
            value,
        };
        let listed = object(
            json!({"metadata": {"uid": "1", "generation": 2, "labels": {"a": "b"}}, "status": {"x": 1}}),
        );
        let reported = object(
            json!({"metadata": {"uid": "1", "generation": 2, "labels": {"a": "b"}}, "status": {"x": 2}}),
        );
        assert!(is_same(&listed, &reported));
        for (member, value) in [
            ("uid", json!("2")),
            ("generation", json!(3)),
            ("labels", json!({})),
            ("deletionTimestamp", json!("2026-01-01T00:00:00Z")),
        ] {
            let mut changed = reported.clone();
            changed.value["metadata"][member] = value;
            assert!(!is_same(&listed, &changed), "{member}");
        }
    }
}
