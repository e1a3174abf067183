//! From jails as jail(8) sees them to manifests, and what of them no manifest says.
//!
//! The table of `schemas` decides where a parameter goes. Whatever is not carried over becomes a note; nothing is dropped in silence.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_schemas::API_VERSION;
use cellblock_schemas::validate::parameters::{self, Owner, Takes};
use serde_json::{Map, Value as Json, json};

use super::conf::{Configured, Parameter};
use super::mounts;
use super::network::{Attached, Networks};

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No manifest says it.
    LeftOut,
    /// A manifest says it otherwise.
    Changed,
    /// The operator has to see to it.
    ToDo,
    /// The jail has no manifest.
    NoManifest,
}

impl Verdict {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::LeftOut => "left out",
            Self::Changed => "changed",
            Self::ToDo => "to do",
            Self::NoManifest => "no manifest",
        }
    }
}

/// One thing to know of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The jail by the name in its file, or `host/NAME`.
    pub about: String,
    /// The parameter; empty: the jail as a whole.
    pub what: String,
    /// Where it stands, `file:line`.
    pub place: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
    /// What to do; empty: nothing.
    pub help: String,
}

/// One object and what there is to know of it.
#[derive(Clone, Debug)]
pub struct Document {
    /// `jail/web`
    pub label: String,
    /// The jail's name in its file; empty for others.
    pub origin: String,
    /// The object.
    pub value: Json,
}

/// What the operator said beside the files.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Host's name.
    pub host: String,
    /// The interface of addresses that are given without one.
    pub interface: Option<String>,
}

/// Manifests and notes.
#[derive(Debug, Default)]
pub struct Imported {
    /// The Host, Networks, then Jails.
    pub documents: Vec<Document>,
    /// What to know.
    pub notes: Vec<Note>,
}

/// One jail on its way.
pub(super) struct Draft<'a> {
    pub(super) jail: &'a Configured,
    pub(super) parameters: Map<String, Json>,
    pub(super) notes: Vec<Note>,
}

impl Draft<'_> {
    /// The last value of a parameter by its own name.
    pub(super) fn last(&self, name: &str) -> Option<&str> {
        let parameter = self.jail.parameters.iter().find(|one| one.name == name)?;
        parameter.values.last().map(|value| value.text.as_str())
    }

    pub(super) fn note(
        &mut self,
        parameter: &Parameter,
        verdict: Verdict,
        why: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.notes.push(Note {
            about: self.jail.name.clone(),
            what: parameter.name.clone(),
            place: parameter.place.to_string(),
            verdict,
            why: why.into(),
            help: help.into(),
        });
    }
}

/// Makes manifests of jails.
#[must_use]
pub fn convert(
    jails: &[Configured],
    files: &dyn super::conf::Files,
    options: &Options,
) -> Imported {
    let mut imported = Imported::default();
    let mut networks = Networks::new(options.interface.clone());
    let mut names = BTreeSet::new();
    let labels: BTreeMap<&str, String> = jails
        .iter()
        .map(|jail| (jail.name.as_str(), label(jail)))
        .collect();
    let mut documents = Vec::new();
    for jail in jails {
        let mut draft = Draft {
            jail,
            parameters: Map::new(),
            notes: Vec::new(),
        };
        match spec(&mut draft, &mut networks, files, options, &labels) {
            Ok(spec) => {
                let name = label(jail);
                if names.insert(name.clone()) {
                    documents.push(Document {
                        label: format!("jail/{name}"),
                        origin: jail.name.clone(),
                        value: object("Jail", &name, spec.into()),
                    });
                } else {
                    let why = format!("another jail's manifest has the name {name} already");
                    draft.refuse(why, "rename one of the two jails");
                }
            }
            Err((why, help)) => draft.refuse(why, help),
        }
        imported.notes.append(&mut draft.notes);
    }
    let (uplinks, objects) = networks.finish(&options.host, &mut imported.notes);
    let mut host = Map::new();
    if !uplinks.is_empty() {
        host.insert("uplinks".to_owned(), uplinks.into());
    }
    let parameters = documents
        .iter()
        .map(|one: &Document| &one.value["spec"]["parameters"]);
    let fib = parameters.filter_map(|all| all["exec.fib"].as_u64()).max();
    if let Some(fib) = fib.filter(|fib| *fib > 0) {
        host.insert("fibs".to_owned(), (fib + 1).into());
    }
    imported.documents.push(Document {
        label: format!("host/{}", options.host),
        origin: String::new(),
        value: object("Host", &options.host, host.into()),
    });
    imported
        .documents
        .extend(objects.into_iter().map(|(name, spec)| Document {
            label: format!("network/{name}"),
            origin: String::new(),
            value: object("Network", &name, spec),
        }));
    imported.documents.append(&mut documents);
    imported
}

fn object(kind: &str, name: &str, spec: Json) -> Json {
    json!({
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": { "name": name },
        "spec": spec,
    })
}

impl Draft<'_> {
    fn refuse(&mut self, why: impl Into<String>, help: impl Into<String>) {
        self.notes.push(Note {
            about: self.jail.name.clone(),
            what: String::new(),
            place: self.jail.place.to_string(),
            verdict: Verdict::NoManifest,
            why: why.into(),
            help: help.into(),
        });
    }
}

/// The object's name of a jail.
fn label(jail: &Configured) -> String {
    let given = jail.parameters.iter().find(|one| one.name == "name");
    let given = given.and_then(|one| one.values.last());
    let name = given.map_or(jail.name.as_str(), |value| value.text.as_str());
    let text: String = name
        .chars()
        .map(|c| match c {
            'a'..='z' | '0'..='9' => c,
            'A'..='Z' => c.to_ascii_lowercase(),
            _ => '-',
        })
        .take(63)
        .collect();
    let text = text.trim_matches('-');
    if text.is_empty() || text.chars().all(|c| c.is_ascii_digit()) {
        format!("jail-{text}").trim_end_matches('-').to_owned()
    } else {
        text.to_owned()
    }
}

/// Why a jail has no manifest, and what to do.
type Refused = (String, String);

fn spec(
    draft: &mut Draft<'_>,
    networks: &mut Networks,
    files: &dyn super::conf::Files,
    options: &Options,
    labels: &BTreeMap<&str, String>,
) -> Result<Map<String, Json>, Refused> {
    let jail = draft.jail;
    if jail.name.contains('.') {
        return Err((
            "it is a jail within a jail, which the host's agent does not manage".to_owned(),
            "let its parent start it from a jail.conf(5) of its own, with children.max for the parent, or make it a jail of the host".to_owned(),
        ));
    }
    let Some(path) = draft.last("path").map(str::to_owned) else {
        return Err((
            "it has no path, so its root would be the host's".to_owned(),
            "give it a path".to_owned(),
        ));
    };
    let root = path.trim_end_matches('/');
    if !root.starts_with('/') {
        return Err((
            format!(
                "its path is `{path}`: a jail needs an absolute one, and not the host's own root"
            ),
            "give it a root below a directory of the host".to_owned(),
        ));
    }
    let mut spec = Map::new();
    spec.insert("host".to_owned(), options.host.as_str().into());
    let name = draft.last("name").unwrap_or(&jail.name).to_owned();
    if name.parse::<i64>().is_ok() {
        draft.notes.push(Note {
            about: jail.name.clone(),
            what: "name".to_owned(),
            place: jail.place.to_string(),
            verdict: Verdict::Changed,
            why: format!(
                "{name} is a number, which every tool reads as a jid; it is called {} in jls(8)",
                label(jail)
            ),
            help: String::new(),
        });
    } else if name != label(jail) {
        spec.insert("jailName".to_owned(), name.into());
    }
    spec.insert("root".to_owned(), json!({ "path": root }));
    for parameter in &jail.parameters {
        carry(draft, parameter);
    }
    let attached = networks.attach(draft);
    // Where the jail has attachments, the two follow from them.
    if let Attached::To(attachments) = &attached {
        for family in ["ip4", "ip6"] {
            let Some(word) = draft.parameters.remove(family) else {
                continue;
            };
            let Some(parameter) = jail.parameters.iter().find(|one| one.name == family) else {
                continue;
            };
            if word == "inherit" {
                let why = "a jail with addresses of its own in one family cannot have all of the host's in the other";
                draft.note(
                    parameter,
                    Verdict::LeftOut,
                    why,
                    "give it the addresses that it needs",
                );
            } else {
                let why = "it follows from the jail's addresses";
                draft.note(parameter, Verdict::Changed, why, "");
            }
        }
        spec.insert("networks".to_owned(), attachments.clone().into());
    }
    let mounts = mounts::mounts(draft, root, files);
    if !mounts.is_empty() {
        spec.insert("mounts".to_owned(), mounts.into());
    }
    if let Some(parameter) = jail.parameters.iter().find(|one| one.name == "depend") {
        let names: Vec<Json> = parameter
            .values
            .iter()
            .map(|value| labels.get(value.text.as_str()).unwrap_or(&value.text))
            .map(|name| name.as_str().into())
            .collect();
        spec.insert("dependsOn".to_owned(), names.into());
    }
    if !draft.parameters.is_empty() {
        let parameters = std::mem::take(&mut draft.parameters);
        spec.insert("parameters".to_owned(), parameters.into());
    }
    Ok(spec)
}

/// Puts one parameter where the table says, or notes why not. Those of networks, mounts and `depend` are looked at as a whole elsewhere.
fn carry(draft: &mut Draft<'_>, parameter: &Parameter) {
    let negated = parameters::negated(&parameter.name);
    let name = negated.as_deref().unwrap_or(&parameter.name);
    match parameters::owner(name) {
        Some(Owner::Field(_)) => {}
        Some(Owner::Reserved(why)) => reserved(draft, parameter, name, why),
        Some(Owner::Free(takes)) => match value(takes, parameter, negated.is_some()) {
            Ok(value) => {
                scalars(draft, parameter, takes);
                insert(draft, name, value);
            }
            Err((verdict, why, help)) => draft.note(parameter, verdict, why, help),
        },
        None => {
            let texts: Vec<&str> = parameter
                .values
                .iter()
                .map(|value| value.text.as_str())
                .collect();
            let value = match texts.as_slice() {
                [] => true.into(),
                [one] => (*one).into(),
                several => several.into(),
            };
            let why = "jail(8) of FreeBSD 15.1 has no parameter of that name; it is written as it stands, and the host's kernel is asked";
            draft.note(
                parameter,
                Verdict::ToDo,
                why,
                "look whether it is spelled right",
            );
            draft.parameters.insert(name.to_owned(), value);
        }
    }
}

fn reserved(draft: &mut Draft<'_>, parameter: &Parameter, name: &str, why: &str) {
    match name {
        // As in a file of jail(8): a command in the jail behind those of exec.start.
        "command" => {
            let commands: Vec<Json> = texts(parameter);
            if !commands.is_empty() {
                append(draft, "exec.start", commands);
            }
            draft.note(
                parameter,
                Verdict::Changed,
                "in a file it is another word for exec.start, which it is added to",
                "",
            );
        }
        "persist" if boolean(parameter, parameter.name != name) == Ok(true) => {}
        "persist" => draft.note(
            parameter,
            Verdict::Changed,
            why.to_owned(),
            "delete the Jail, or stop it by runPolicy, where it shall go with its last process",
        ),
        "name" => {}
        _ => draft.note(parameter, Verdict::LeftOut, why.to_owned(), ""),
    }
}

/// What is not the last value of a parameter that has one.
fn scalars(draft: &mut Draft<'_>, parameter: &Parameter, takes: Takes) {
    if takes != Takes::List && parameter.values.len() > 1 {
        let why = format!(
            "it has {} values, of which jail(8) takes the last without a word",
            parameter.values.len()
        );
        draft.note(parameter, Verdict::Changed, why, "");
    }
}

fn insert(draft: &mut Draft<'_>, name: &str, value: Json) {
    if name != "exec.start" {
        draft.parameters.insert(name.to_owned(), value);
    } else if let Json::Array(values) = value {
        append(draft, name, values);
    } else {
        append(draft, name, vec![value]);
    }
}

fn append(draft: &mut Draft<'_>, name: &str, mut values: Vec<Json>) {
    let mut all = match draft.parameters.remove(name) {
        Some(Json::Array(before)) => before,
        Some(before) => vec![before],
        None => Vec::new(),
    };
    all.append(&mut values);
    let value = match <[Json; 1]>::try_from(all) {
        Ok([one]) => one,
        Err(several) => several.into(),
    };
    draft.parameters.insert(name.to_owned(), value);
}

fn texts(parameter: &Parameter) -> Vec<Json> {
    let texts = parameter.values.iter().map(|value| value.text.as_str());
    texts
        .filter(|text| !text.trim().is_empty())
        .map(Json::from)
        .collect()
}

/// What is to be noted in place of a value.
type Instead = (Verdict, String, String);

fn value(takes: Takes, parameter: &Parameter, is_negated: bool) -> Result<Json, Instead> {
    let last = parameter.values.last().map(|value| value.text.as_str());
    let refuse = |why: String| {
        let help = "jail(8) refuses it too: mend the file";
        Err((Verdict::LeftOut, why, help.to_owned()))
    };
    match (takes, last) {
        (Takes::Boolean, _) => boolean(parameter, is_negated)
            .map(Json::from)
            .or_else(refuse),
        (Takes::Integer(..), Some(text)) => match text.trim().parse::<i64>() {
            Ok(number) => Ok(number.into()),
            Err(_) => refuse(format!("`{text}` is no number")),
        },
        // jailparam_import, lib/libjail/jail.c.
        (Takes::Word(words), None) if words.contains(&"new") => Ok("new".into()),
        (Takes::Word(_) | Takes::Text | Takes::Short(_), Some(text)) => Ok(text.into()),
        (Takes::List, _) => {
            let mut texts = texts(parameter);
            match texts.len() {
                0 => Err((
                    Verdict::Changed,
                    "it is empty, which does nothing".to_owned(),
                    String::new(),
                )),
                1 => Ok(texts.remove(0)),
                _ => Ok(texts.into()),
            }
        }
        (Takes::Integer(..) | Takes::Word(_) | Takes::Text | Takes::Short(_), None) => {
            refuse("it has no value".to_owned())
        }
    }
}

/// `bool_param` of usr.sbin/jail/config.c, where a value is one that jail(8) takes.
pub(super) fn boolean(parameter: &Parameter, is_negated: bool) -> Result<bool, String> {
    let value = match parameter.values.last().map(|value| value.text.as_str()) {
        None => true,
        Some(text) if text.eq_ignore_ascii_case("true") => true,
        Some(text) if text.eq_ignore_ascii_case("false") => false,
        Some(text) => match text.parse::<i64>() {
            Ok(number) => number != 0,
            Err(_) => return Err(format!("`{text}` is neither true nor false")),
        },
    };
    Ok(value != is_negated)
}
