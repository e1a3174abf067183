//! What was rendered as a document: the same in the same order, for programs.

use serde_json::{Map, Value, json};

use super::rehearse::Told;
use super::text::pf_conf;
use super::{Action, Page, Rendered, Section, Shown, name_of};

/// Everything.
pub(super) fn document(rendered: &Rendered) -> Value {
    let mut document = Map::new();
    let hosts: Vec<Value> = rendered.pages.iter().map(page).collect();
    document.insert("hosts".to_owned(), hosts.into());
    if !rendered.told.is_empty() {
        document.insert("told".to_owned(), told(&rendered.told));
    }
    document.into()
}

fn page(page: &Page) -> Value {
    let mut document = Map::new();
    document.insert("host".to_owned(), page.host.as_str().into());
    document.insert("release".to_owned(), page.release.into());
    if page
        .shown
        .iter()
        .any(|shown| shown.entry.section == Section::Pf)
    {
        let lines: Vec<String> = pf_conf().collect();
        document.insert("pfConf".to_owned(), lines.into());
    }
    let parts: Vec<Value> = page.shown.iter().map(part).collect();
    document.insert("parts".to_owned(), parts.into());
    if !page.told.is_empty() {
        document.insert("told".to_owned(), told(&page.told));
    }
    document.into()
}

fn part(shown: &Shown) -> Value {
    let entry = &shown.entry;
    let of: Vec<String> = entry.of.iter().map(name_of).collect();
    let mut part = Map::new();
    part.insert("section".to_owned(), entry.section.name().into());
    part.insert("about".to_owned(), entry.about.as_str().into());
    part.insert("objects".to_owned(), of.into());
    if let Some(anchor) = &entry.anchor {
        part.insert("anchor".to_owned(), anchor.as_str().into());
    }
    match &shown.own {
        Some(own) => {
            part.insert("ownRules".to_owned(), own.rules.as_str().into());
            part.insert("sharedWith".to_owned(), own.others.clone().into());
        }
        None => {
            let actions: Vec<Value> = entry.actions.iter().map(action).collect();
            part.insert("actions".to_owned(), actions.into());
        }
    }
    part.into()
}

fn action(action: &Action) -> Value {
    match action {
        Action::Run { argv, stdin: None } => json!({ "run": argv }),
        Action::Run {
            argv,
            stdin: Some(stdin),
        } => json!({ "run": argv, "stdin": stdin }),
        Action::Write { path, content } => json!({ "write": path, "content": content }),
        Action::Wait { message } => json!({ "wait": message }),
    }
}

fn told(told: &[Told]) -> Value {
    let told = told.iter().map(|told| {
        let mut document = json!({ "object": name_of(&told.of), "is": told.word });
        if !told.reason.is_empty() {
            document["reason"] = told.reason.as_str().into();
        }
        document["message"] = told.message.as_str().into();
        document
    });
    told.collect()
}
