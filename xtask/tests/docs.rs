//! Tests of the documentation against the repository: links lead somewhere, every reason code is explained, every refusal of
//! what is not yet realised is listed.
//!
//! They read source text, because a list of constants cannot be asked of the compiler and `xtask` depends on no crate of the
//! workspace. What the pages say beyond that is for a reader to judge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Where reason codes are made: everything that reports, refuses or holds back.
const SOURCES: [&str; 5] = [
    "agent/core/src",
    "agent/freebsd/src",
    "agent/src",
    "controller/core/src",
    "controller/src",
];

/// Words of the same form in those folders that are no reasons, each with what it is.
const OTHER_WORDS: [(&str, &str); 30] = [
    (
        "Apply",
        "an operation of managedFields, and a request in metrics",
    ),
    ("Create", "a request in metrics"),
    ("Delete", "a request in metrics"),
    ("Evict", "a request in metrics"),
    ("Get", "a request in metrics"),
    ("List", "a request in metrics"),
    ("Patch", "a request in metrics"),
    (
        "Update",
        "an operation of managedFields, and a request in metrics",
    ),
    ("UpdateStatus", "a request in metrics"),
    ("Version", "a request in metrics"),
    ("Watch", "a request in metrics"),
    ("ListAllocations", "a request in metrics"),
    ("ListEvents", "a request in metrics"),
    ("Background", "a policy of deletion"),
    ("Foreground", "a policy of deletion"),
    ("Orphan", "a policy of deletion"),
    ("Scale", "what a subresource of a JailSet is"),
    ("OnFailure", "a policy of restarts"),
    ("Never", "a policy of restarts"),
    ("Normal", "a type of events"),
    ("Warning", "a type of events"),
    ("Event", "a kind"),
    ("Cluster", "a kind, of which there is one and no object"),
    ("Host", "a kind"),
    ("Jail", "a kind"),
    ("Network", "a kind"),
    ("Enabled", "a word of pfctl(8)"),
    ("Internet", "a word of netstat(1)"),
    ("Internet6", "a word of netstat(1)"),
    ("Tables", "a word of pfctl(8)"),
];

/// Words of that form which the page's tables have in backticks and which are no codes: statuses and policies.
const NO_CODES: [&str; 3] = ["Always", "False", "True"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Every file below `folder` with the extension.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("{} cannot be listed", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Every page: those of `docs/`, and those at the root.
fn pages() -> Result<Vec<PathBuf>> {
    let mut pages = files(&root().join("docs"), "md")?;
    pages.extend(["README.md", "CHANGELOG.md"].map(|name| root().join(name)));
    Ok(pages)
}

/// The lines of a page that are prose: what stands in a fenced block is somebody else's text.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of `[text](target)` in a line, code spans left out.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (index, part) in line.split("](").enumerate() {
        if index > 0
            && let Some((target, _)) = part.split_once(')')
        {
            found.push(target);
        }
    }
    found
}

/// The anchor that a heading has on the usual forges.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter_map(|(_, line)| line.strip_prefix('#'))
        .map(|heading| anchor(heading.trim_start_matches('#')))
        .collect()
}

/// The path without `.` and `..`, so that a link that leaves the repository is seen.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    plain
}

/// Why a link leads nowhere.
fn broken(page: &Path, target: &str) -> Result<Option<String>> {
    if ["http://", "https://", "mailto:"]
        .iter()
        .any(|scheme| target.starts_with(scheme))
    {
        return Ok(None);
    }
    let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() {
        page.to_owned()
    } else {
        page.parent().unwrap_or(Path::new(".")).join(path)
    };
    if !plain(&file).starts_with(plain(&root())) {
        return Ok(Some("leaves the repository".to_owned()));
    }
    if !file.exists() {
        return Ok(Some("does not exist".to_owned()));
    }
    if !fragment.is_empty() && !anchors(&read(&file)?).contains(fragment) {
        return Ok(Some(format!("has no heading for #{fragment}")));
    }
    Ok(None)
}

#[test]
fn relative_links_lead_somewhere() -> Result<()> {
    let mut wrong = Vec::new();
    let mut links = 0;
    for page in pages()? {
        let text = read(&page)?;
        for (line, content) in prose(&text) {
            for target in targets(content) {
                links += 1;
                if let Some(why) = broken(&page, target)? {
                    wrong.push(format!("{}:{}: {target} {why}", page.display(), line + 1));
                }
            }
        }
    }
    ensure!(links > 0, "no link was found");
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn every_page_is_reached_from_the_index() -> Result<()> {
    let docs = root().join("docs");
    let index = read(&docs.join("README.md"))?;
    let linked: BTreeSet<PathBuf> = prose(&index)
        .flat_map(|(_, line)| targets(line))
        .map(|target| plain(&docs.join(target.split('#').next().unwrap_or_default())))
        .collect();
    let missing: Vec<_> = files(&docs, "md")?
        .into_iter()
        .map(|page| plain(&page))
        .filter(|page| *page != plain(&docs.join("README.md")) && !linked.contains(page))
        .map(|page| page.display().to_string())
        .collect();
    ensure!(
        missing.is_empty(),
        "docs/README.md does not link {}",
        missing.join(", ")
    );
    Ok(())
}

/// `PfNotEffective`, `Paused`: letters only, capitals at the beginning of words.
fn is_code(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(|c| c.is_ascii_uppercase())
        && letters.next().is_some_and(|c| c.is_ascii_lowercase())
        && letters.all(|c| c.is_ascii_alphanumeric())
}

/// The string literals of a line that have the form of a code; comments left out.
fn codes(line: &str) -> impl Iterator<Item = &str> {
    let code = line.trim_start();
    let code = if code.starts_with("//") { "" } else { code };
    code.split('"')
        .skip(1)
        .step_by(2)
        .filter(|word| is_code(word))
}

/// Every code that the product can report or refuse with, and where it is made.
fn made() -> Result<BTreeMap<String, PathBuf>> {
    let mut made = BTreeMap::new();
    for source in SOURCES {
        for file in files(&root().join(source), "rs")? {
            let is_test = file.components().any(|part| part.as_os_str() == "tests")
                || ["tests.rs", "testing.rs"]
                    .iter()
                    .any(|name| file.ends_with(name));
            // The REST front makes no code of its own: its words are the Kubernetes API's (docs/reference/api.md).
            let speaks_kubernetes = file.starts_with(root().join("controller/src/rest"));
            if is_test || speaks_kubernetes {
                continue;
            }
            let text = read(&file)?;
            for code in text.lines().flat_map(codes) {
                if OTHER_WORDS.iter().all(|(word, _)| *word != code) {
                    made.entry(code.to_owned()).or_insert_with(|| file.clone());
                }
            }
        }
    }
    Ok(made)
}

#[test]
fn every_reason_code_is_explained() -> Result<()> {
    let page = read(&root().join("docs/reference/conditions.md"))?;
    // In the page's tables a code stands in backticks.
    let explained: BTreeSet<&str> = page
        .lines()
        .filter(|line| line.starts_with('|') || line.contains("SubnetOverlap"))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|word| is_code(word))
        .collect();
    let made = made()?;
    ensure!(
        made.contains_key("PfNotEffective") && made.contains_key("HostMissing"),
        "the codes are no longer where this test looks"
    );
    let unexplained: Vec<_> = made
        .iter()
        .filter(|(code, _)| !explained.contains(code.as_str()))
        .map(|(code, file)| format!("{code} ({})", plain(file).display()))
        .collect();
    ensure!(
        unexplained.is_empty(),
        "docs/reference/conditions.md does not explain {}",
        unexplained.join(", ")
    );
    let gone: Vec<_> = explained
        .into_iter()
        .filter(|code| !made.contains_key(*code))
        // What else stands in backticks in the tables: statuses, types, kinds' words and policies.
        .filter(|code| !NO_CODES.contains(code))
        .collect();
    ensure!(
        gone.is_empty(),
        "docs/reference/conditions.md explains what no longer exists: {}",
        gone.join(", ")
    );
    Ok(())
}

#[test]
fn everything_that_is_not_yet_realised_is_listed() -> Result<()> {
    let source = read(&root().join("schemas/src/unsupported.rs"))?;
    let page = read(&root().join("docs/reference/limits.md"))?;
    let tables = source
        .split_once("fn host_rows")
        .and_then(|(_, rest)| rest.split_once("\nfn rows"))
        .map(|(tables, _)| tables)
        .context("the tables are no longer where this test looks")?;
    let texts: Vec<&str> = tables
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .collect();
    ensure!(texts.len() > 15, "only {} texts were found", texts.len());
    let missing: Vec<_> = texts
        .into_iter()
        .filter(|text| !page.contains(text))
        .collect();
    ensure!(
        missing.is_empty(),
        "docs/reference/limits.md does not list {}",
        missing.join(", ")
    );
    Ok(())
}
