//! Bad manifests through the real command line: one clear message each, exit status 1, nothing half-applied.
//!
//! `cases/<intent>/`: `before.yaml` is applied first where there is one, every other `*.yaml` is applied together, and
//! `errors.txt` is exactly what the operator is shown. With `UPDATE_GOLDEN=1` it is written instead of compared.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use cellblock_e2e::{Fleet, Said};

/// How much memory of its own `jailctl` may hold at a manifest of 100 MB, in octets: stacks of its threads, and the ten megabytes that
/// a manifest may have while it is read into a buffer that grows by doubling.
#[cfg(target_os = "linux")]
const MEMORY_MAX: u64 = 64 << 20;

#[test]
fn every_bad_manifest_is_refused_as_written_down() -> anyhow::Result<()> {
    let cases = sorted(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"))?;
    ensure!(cases.len() > 15, "the cases are there");
    let mut different = Vec::new();
    for case in &cases {
        if let Err(error) = run(&Fleet::controller_alone()?, case) {
            different.push(format!("{}: {error:#}", case.display()));
        }
    }
    ensure!(
        different.is_empty(),
        "{}\nlook, and run again with UPDATE_GOLDEN=1",
        different.join("\n\n")
    );
    Ok(())
}

fn run(fleet: &Fleet, case: &Path) -> anyhow::Result<()> {
    let mut arguments = vec!["apply".to_owned()];
    for path in sorted(case)? {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .context("a name of plain letters")?;
        if !name.ends_with(".yaml") {
            continue;
        }
        if name == "before.yaml" {
            fleet.apply(&std::fs::read_to_string(&path)?)?;
            continue;
        }
        // As an operator types it, from the workspace's root.
        let intent = case
            .file_name()
            .and_then(|name| name.to_str())
            .context("a name of plain letters")?;
        arguments.extend(["-f".to_owned(), format!("e2e/tests/cases/{intent}/{name}")]);
    }
    let before = fleet.inventory()?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = fleet.jailctl(&arguments)?.refused()?;
    ensure!(fleet.inventory()? == before, "half-applied: {said}");
    ensure!(
        said.stdout.is_empty(),
        "an error belongs to standard error: {said}"
    );
    fleet.assert_no_panic()?;
    golden(&case.join("errors.txt"), &said)
}

fn golden(path: &Path, said: &Said) -> anyhow::Result<()> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &said.stderr)?;
        return Ok(());
    }
    let expected = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    ensure!(
        said.stderr == expected,
        "said:\n{}\n--- expected:\n{expected}",
        said.stderr
    );
    Ok(())
}

fn sorted(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[test]
fn a_manifest_of_100_mb_is_refused_in_one_message_and_little_memory() -> anyhow::Result<()> {
    let fleet = Fleet::controller_alone()?;
    let path = fleet.folder().join("large.yaml");
    // Honest objects, over and over: neither a hole in a file nor one long line.
    let document = "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: web}\nspec: {root: {path: /jails/web}}\n---\n";
    let text = document.repeat(100 * 1024 * 1024 / document.len() + 1);
    std::fs::write(&path, &text)?;
    let path = path.display().to_string();
    let apply = |file: &str, stdin: &str| {
        let running = fleet.start_jailctl(&["apply", "-f", file], stdin)?;
        #[cfg(target_os = "linux")]
        running.limit_memory(MEMORY_MAX)?;
        running.end()?.refused()
    };
    for said in [apply(&path, "")?, apply("-", &text)?] {
        said.says(&["at most 10485760", "split it into several files"])?;
        ensure!(
            said.errors().count() == 2,
            "one message, and how it ended: {said}"
        );
    }
    ensure!(fleet.inventory()?.is_empty(), "something was applied");
    Ok(())
}

#[test]
fn one_bad_object_among_many_keeps_all_of_them_from_being_applied() -> anyhow::Result<()> {
    let fleet = Fleet::controller_alone()?;
    let mut text = String::from(
        "apiVersion: cellblock.dev/v1alpha1\nkind: Host\nmetadata: {name: fbsd-01}\nspec: {}\n---\napiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: lan}\nspec: {bridge: {}, subnets: [{cidr: 10.9.0.0/16}]}\n",
    );
    for number in 1..=250 {
        // The last one's is the first one's, 249 objects before.
        let address = format!("10.9.1.{}", if number == 250 { 1 } else { number });
        text.push_str(&format!(
            "---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {{name: jail-{number:03}}}\nspec: {{host: fbsd-01, root: {{path: /jails/{number}}}, networks: [{{network: lan, addresses: [{address}]}}]}}\n"
        ));
    }
    let said = fleet
        .jailctl_with(&["apply", "-f", "-"], &text)?
        .refused()?;
    said.says(&[
        "10.9.1.1",
        "the controller refused 1 of 252 objects; nothing was applied",
    ])?;
    ensure!(fleet.inventory()?.is_empty(), "something was applied");
    Ok(())
}
