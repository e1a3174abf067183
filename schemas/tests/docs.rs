//! Every manifest that the documentation shows is read and checked as `jailctl apply -f` would. A fragment of one is indented, as it stands in the whole.

#![expect(clippy::disallowed_methods, reason = "the pages are files")]

use std::path::{Path, PathBuf};

use cellblock_schemas::manifest::{check, parse};

/// The pages below a folder.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of pages") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The blocks of manifests of a page, each with the line of its beginning. YAML that is not ours is marked `yml`.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            None if line == "```yaml" => open = Some((number + 1, String::new())),
            None => {}
            Some(_) if line == "```" => found.extend(open.take()),
            Some((_, block)) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    assert_eq!(open, None, "a block that does not end");
    found
}

#[test]
fn every_manifest_in_the_documentation_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = vec![root.join("README.md")];
    pages(&root.join("docs"), &mut found);
    pages(&root.join("examples"), &mut found);
    let mut checked = 0;
    let mut mistakes = String::new();
    for page in found {
        let text = std::fs::read_to_string(&page).expect("a page");
        for (line, block) in blocks(&text) {
            if block.starts_with(' ') {
                continue;
            }
            checked += 1;
            let name = format!("{}, counted from line {line}", page.display());
            let errors = match parse(&name, &block) {
                Ok(documents) => check(&documents),
                Err(errors) => errors,
            };
            mistakes.extend(errors.iter().map(|error| error.render(false) + "\n"));
        }
    }
    assert!(mistakes.is_empty(), "{mistakes}");
    assert!(checked >= 8, "only {checked} manifests were found");
}
