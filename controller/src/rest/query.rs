//! The options of a request, as they stand behind the question mark.
//!
//! Names and meanings are those of kubernetes/apimachinery `pkg/apis/meta/v1/types.go` (`ListOptions`, `CreateOptions`,
//! `UpdateOptions`, `PatchOptions`, `DeleteOptions`); how they are validated is in `pkg/apis/meta/v1/validation`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{HeaderMap, Uri, header};
use cellblock_controller_core::admit::Validation;
use cellblock_schemas::{Cause, Kind};
use percent_encoding::percent_decode_str;

use super::failure::Failure;
use crate::verbs::{From, Least, ListQuery, RecordSelector, Selector};

/// Who writes when neither an option nor the program's name says.
const MANAGER: &str = "unknown";

/// How long the name of who writes is at most.
const MANAGER_CHARS_MAX: usize = 128;

/// The options by name. Of several of one name the first counts, except of `dryRun`, which is a list.
#[derive(Debug, Default)]
pub(super) struct Query(BTreeMap<String, Vec<String>>);

/// What a list is asked for, whatever it is of.
#[derive(Debug)]
pub(super) struct Wanted {
    /// 0: all.
    pub(super) limit: usize,
    pub(super) continue_token: String,
    pub(super) least: Least,
    pub(super) exactly: Option<u64>,
}

/// How a write is to be done.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) dry_run: bool,
    pub(super) validation: Validation,
    /// As it was said; empty if it was not.
    pub(super) manager: String,
    pub(super) force: Option<bool>,
}

impl Query {
    pub(super) fn read(uri: &Uri) -> Result<Self, Failure> {
        let mut options: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in uri.query().unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            options
                .entry(decoded(name)?)
                .or_default()
                .push(decoded(value)?);
        }
        let query = Self(options);
        let include = query.text("includeObject");
        if !["", "None", "Metadata", "Object"].contains(&include) {
            // kubernetes/apiserver, `pkg/endpoints/handlers/response.go`, `asTable`.
            let message = format!("unrecognized includeObject value: {include:?}");
            return Err(Failure::bad_request(message));
        }
        Ok(query)
    }

    pub(super) fn text(&self, name: &str) -> &str {
        let values = self.0.get(name).and_then(|values| values.first());
        values.map(String::as_str).unwrap_or_default()
    }

    /// What is said of `dryRun`.
    pub(super) fn dry_run(&self) -> &[String] {
        self.0.get("dryRun").map(Vec::as_slice).unwrap_or_default()
    }

    /// As Kubernetes' conversion from URLs has it: `?watch` alone is true, and so is everything that is not plainly false
    /// (apimachinery, `pkg/runtime/converter.go`, `Convert_Slice_string_To_bool`).
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        let value = self.0.get(name)?.first()?;
        Some(!matches!(value.to_lowercase().as_str(), "false" | "0"))
    }

    fn number(&self, name: &str) -> Result<u64, Failure> {
        match self.text(name) {
            "" => Ok(0),
            text => text
                .parse()
                .map_err(|_| Failure::bad_request(format!("{name} is a number, not `{text}`"))),
        }
    }

    fn revision(&self) -> Result<u64, Failure> {
        let text = self.text("resourceVersion");
        self.number("resourceVersion").map_err(|_| {
            let message =
                format!("Invalid value: {text:?}: it is of another store, or made up; list again");
            Failure::invalid_option("ListOptions", "resourceVersion", Cause::Invalid, message)
        })
    }

    /// How new has to be what is read.
    pub(super) fn least(&self) -> Result<Least, Failure> {
        let revision = self.revision()?;
        let is_said = !self.text("resourceVersion").is_empty();
        Ok(Least::of(is_said.then_some(revision)))
    }

    pub(super) fn selector(&self, kind: Kind) -> Result<Selector, Failure> {
        let selector = Selector::read(kind, self.text("labelSelector"), self.text("fieldSelector"));
        Ok(selector?)
    }

    pub(super) fn is_watch(&self) -> bool {
        self.flag("watch").unwrap_or(false)
    }

    /// What a list of events is asked for, of all or of one namespace.
    pub(super) fn records(&self, namespace: Option<&str>) -> Result<RecordSelector, Failure> {
        let (labels, fields) = (self.text("labelSelector"), self.text("fieldSelector"));
        let selector = RecordSelector::read(labels, fields)?;
        Ok(match namespace {
            None => selector,
            Some(namespace) => selector.with("metadata.namespace", namespace),
        })
    }

    /// What a list is asked for.
    pub(super) fn list(&self, kind: Kind) -> Result<ListQuery, Failure> {
        let Wanted {
            limit,
            continue_token,
            least,
            exactly,
        } = self.wanted()?;
        let all = ListQuery::all(kind, self.selector(kind)?);
        Ok(ListQuery {
            limit,
            // Who sets no limit expects no page: many programs never look for a continue token.
            bytes_max: if limit == 0 {
                usize::MAX
            } else {
                all.bytes_max
            },
            continue_token,
            least,
            exactly,
            ..all
        })
    }

    /// Of what revision, and from where on.
    pub(super) fn wanted(&self) -> Result<Wanted, Failure> {
        let revision = self.revision()?;
        let matching = self.text("resourceVersionMatch");
        let token = self.text("continue");
        let invalid = |cause, message: &str| {
            let field = "resourceVersionMatch";
            Err(Failure::invalid_option(
                "ListOptions",
                field,
                cause,
                message.to_owned(),
            ))
        };
        let exactly = match matching {
            "" | "NotOlderThan" => false,
            "Exact" => true,
            _ => {
                return invalid(
                    Cause::NotSupported,
                    "supported values: \"Exact\", \"NotOlderThan\"",
                );
            }
        };
        if !matching.is_empty() && !token.is_empty() {
            return invalid(Cause::Forbidden, "is forbidden when continue is provided");
        }
        if self.flag("sendInitialEvents").is_some() {
            let message = "is forbidden for list".to_owned();
            return Err(Failure::invalid_option(
                "ListOptions",
                "sendInitialEvents",
                Cause::Forbidden,
                message,
            ));
        }
        if !matching.is_empty() && self.text("resourceVersion").is_empty() {
            return invalid(
                Cause::Forbidden,
                "is forbidden unless resourceVersion is provided",
            );
        }
        if exactly && revision == 0 {
            return invalid(
                Cause::Forbidden,
                "\"Exact\" is forbidden for resourceVersion=0",
            );
        }
        if !token.is_empty() && revision != 0 {
            let message = "specifying resource version is not allowed when using continue";
            return Err(Failure::bad_request(message));
        }
        let limit = self.number("limit")?;
        // Pages of a revision are of exactly that one (kubernetes/apiserver, `pkg/storage/cacher/watch_cache.go`,
        // legacy exact match).
        let exactly = exactly || (limit != 0 && revision != 0 && matching.is_empty());
        Ok(Wanted {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            continue_token: token.to_owned(),
            least: self.least()?,
            exactly: exactly.then_some(revision),
        })
    }

    /// Where a watch begins. A revision of 0, or none, means what is there now, and then what happens; none is as new as the store only
    /// for who says whether that is to be told (`apiserver/pkg/storage/cacher/cacher.go`, `getWatchCacheResourceVersion`).
    pub(super) fn from(&self) -> Result<From, Failure> {
        let revision = self.revision()?;
        let matching = self.text("resourceVersionMatch");
        let initial = self.flag("sendInitialEvents");
        let invalid = |cause, message: &str| {
            let field = "resourceVersionMatch";
            Err(Failure::invalid_option(
                "ListOptions",
                field,
                cause,
                message.to_owned(),
            ))
        };
        if !matching.is_empty() && !self.text("continue").is_empty() {
            return invalid(Cause::Forbidden, "is forbidden when continue is provided");
        }
        match (initial, matching) {
            (Some(_), "NotOlderThan") | (None, "") => {}
            (Some(_), _) => {
                return invalid(
                    Cause::Forbidden,
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                );
            }
            (None, _) => {
                return invalid(
                    Cause::Forbidden,
                    "is forbidden for watch unless sendInitialEvents is provided",
                );
            }
        }
        Ok(match (initial, revision) {
            (Some(true), _) => From::Present(self.least()?),
            (None, 0) => From::Present(Least::Any),
            (Some(false), 0) => From::Now,
            (Some(false) | None, revision) => From::After(revision),
        })
    }

    /// How long a watch may last, if its client says.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, Failure> {
        let seconds = self.number("timeoutSeconds")?;
        Ok((seconds != 0).then(|| Duration::from_secs(seconds)))
    }

    /// How a write is to be done; `options` is what Kubernetes calls the set of them.
    pub(super) fn write(&self, options: &str) -> Result<Write, Failure> {
        let invalid = |field: &str, known: &str| {
            let value = self.text(field);
            let message = format!("Unsupported value: {value:?}: supported values: {known}");
            Err(Failure::invalid_option(
                options,
                field,
                Cause::NotSupported,
                message,
            ))
        };
        let manager = self.text("fieldManager");
        // apimachinery, `pkg/apis/meta/v1/validation`, `ValidateFieldManager`.
        if manager.chars().count() > MANAGER_CHARS_MAX {
            let message = format!("Too long: may not be more than {MANAGER_CHARS_MAX} characters");
            return Err(Failure::invalid_option(
                options,
                "fieldManager",
                Cause::TooLong,
                message,
            ));
        }
        if !manager.chars().all(is_printable) {
            let message = "Invalid value: should only contain printable characters".to_owned();
            return Err(Failure::invalid_option(
                options,
                "fieldManager",
                Cause::Invalid,
                message,
            ));
        }
        Ok(Write {
            dry_run: dry_run(self.dry_run(), options)?,
            validation: match self.text("fieldValidation") {
                "" | "Strict" => Validation::Strict,
                "Warn" => Validation::Warn,
                "Ignore" => Validation::Ignore,
                _ => return invalid("fieldValidation", "\"Ignore\", \"Strict\", \"Warn\""),
            },
            manager: manager.to_owned(),
            force: self.flag("force"),
        })
    }
}

/// Whether a write is only tried. An empty word is not the same as none: who sends it meant to say something (apimachinery,
/// `pkg/apis/meta/v1/validation/validation.go`, `ValidateDryRun`).
pub(super) fn dry_run(said: &[String], options: &str) -> Result<bool, Failure> {
    if let Some(other) = said.iter().find(|one| *one != "All") {
        let message = format!("Unsupported value: {other:?}: supported values: \"All\"");
        let field = "dryRun";
        return Err(Failure::invalid_option(
            options,
            field,
            Cause::NotSupported,
            message,
        ));
    }
    Ok(!said.is_empty())
}

impl Write {
    /// Who writes: as said, else the program's name out of its `User-Agent` (`endpoints/handlers/create.go`,
    /// `managerOrUserAgent`).
    pub(super) fn manager(&self, headers: &HeaderMap) -> String {
        if !self.manager.is_empty() {
            return self.manager.clone();
        }
        let agent = headers
            .get(header::USER_AGENT)
            .and_then(|agent| agent.to_str().ok());
        let program = agent
            .unwrap_or_default()
            .split('/')
            .next()
            .unwrap_or_default();
        let program: String = program
            .chars()
            .filter(|c| is_printable(*c))
            .take(MANAGER_CHARS_MAX)
            .collect();
        if program.is_empty() {
            MANAGER.to_owned()
        } else {
            program
        }
    }
}

/// Neither a control nor a blank other than the space, nor one of those that only turn the writing around.
fn is_printable(c: char) -> bool {
    let is_format = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    c == ' ' || !(c.is_control() || c.is_whitespace() || is_format)
}

fn decoded(text: &str) -> Result<String, Failure> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8();
    decoded
        .map(|text| text.into_owned())
        .map_err(|_| Failure::bad_request("an option is no UTF-8"))
}
