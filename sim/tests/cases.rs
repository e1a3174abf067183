//! Golden cases of the planner: a host in some state, a view, what the agent would do, and what it reports after one pass.
//!
//! Each folder of `tests/cases`, named by what it is about, has `view.yaml` and, where the host is not freshly prepared, `setup.txt` (see `cellblock_sim::scenario`), which is what an
//! `observed.txt` would be: the real adapter reads the emulated host's own words. `plan.txt` is the plan in words, `rendered.txt` every file and pf anchor that the plan writes,
//! `report.txt` what the controller is told after the next pass. `UPDATE_GOLDEN=1 cargo test -p cellblock-sim --test cases` writes them anew; read the difference before committing it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use cellblock_agent_core::op::{Op, Plan};
use cellblock_agent_core::pass::Passed;
use cellblock_schemas::condition::Condition;
use cellblock_schemas::view::HostView;
use cellblock_sim::scenario::{plan_now, play};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

#[test]
fn every_case_plans_and_reports_as_written() -> anyhow::Result<()> {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut failures = String::new();
    let mut count = 0;
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    for case in entries {
        count += 1;
        if let Err(error) = check(&case, update) {
            writeln!(failures, "{}: {error:#}\n", case.display())?;
        }
    }
    ensure!(failures.is_empty(), "{failures}");
    ensure!(count >= 25, "only {count} cases in {}", folder().display());
    Ok(())
}

fn check(case: &Path, update: bool) -> anyhow::Result<()> {
    let view = read_view(case, "view.yaml")?;
    let setup = if case.join("setup.txt").exists() {
        std::fs::read_to_string(case.join("setup.txt"))?
    } else {
        String::new()
    };
    let mut world = play(&setup, &view, &|name| read_view(case, name)).context("setup.txt")?;
    let plan = plan_now(&world);
    compare(
        &case.join("plan.txt"),
        &lines(plan.lines().into_iter()),
        update,
    )?;
    let rendered = rendered(&plan);
    check_files(case, &setup, !rendered.is_empty())?;
    if !rendered.is_empty() {
        compare(&case.join("rendered.txt"), &rendered, update)?;
    }
    let passed = world.pass().context("the next pass")?;
    let report = report(&passed, plan.steps.len(), &view);
    compare(&case.join("report.txt"), &lines(report.into_iter()), update)
}

/// No file of a case may be missing, and none may be there that nothing reads.
fn check_files(case: &Path, setup: &str, renders: bool) -> anyhow::Result<()> {
    let mut expected: BTreeSet<&str> = BTreeSet::from(["view.yaml", "plan.txt", "report.txt"]);
    if !setup.is_empty() {
        expected.insert("setup.txt");
    }
    if renders {
        expected.insert("rendered.txt");
    }
    expected.extend(
        setup
            .lines()
            .filter_map(|line| line.strip_prefix("agent converges on ")),
    );
    for entry in std::fs::read_dir(case)? {
        let name = entry?.file_name();
        if !name.to_str().is_some_and(|name| expected.contains(name)) {
            bail!("{} is read by nothing", name.display());
        }
    }
    Ok(())
}

fn read_view(case: &Path, name: &str) -> anyhow::Result<HostView> {
    let text = std::fs::read_to_string(case.join(name)).with_context(|| name.to_owned())?;
    serde_saphyr::from_str(&text).map_err(|error| anyhow::anyhow!("{name}: {error}"))
}

fn compare(path: &Path, text: &str, update: bool) -> anyhow::Result<()> {
    if update {
        return std::fs::write(path, text).with_context(|| path.display().to_string());
    }
    let golden = std::fs::read_to_string(path)
        .with_context(|| format!("{} (UPDATE_GOLDEN=1 writes it)", path.display()))?;
    if golden == text {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().display();
    bail!("{name} says\n{golden}but it is\n{text}UPDATE_GOLDEN=1 writes it anew");
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.fold(String::new(), |text, line| text + &line + "\n")
}

/// The files and anchors that a plan writes.
fn rendered(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        let (title, content) = if let Op::WriteFile { path, content } = &step.op {
            (path, content)
        } else if let Op::LoadAnchor { anchor, rules, .. } = &step.op {
            (anchor, rules)
        } else {
            continue;
        };
        text.push_str(&format!("==> {title}\n{content}"));
    }
    text
}

fn report(passed: &Passed, planned: usize, view: &HostView) -> Vec<String> {
    let mut lines = vec![format!("did {} of {planned}", passed.done)];
    for condition in &passed.report.conditions {
        lines.push(format!("host {}", describe(condition)));
    }
    for jail in &passed.report.jails {
        let name = &view.jails[&jail.uid].name;
        let gone = if jail.gone { ", gone" } else { "" };
        lines.push(format!("jail {name} {}{gone}", jail.phase));
        for condition in &jail.conditions {
            lines.push(format!("jail {name} {}", describe(condition)));
        }
    }
    lines.extend(
        passed
            .report
            .pending_plan
            .iter()
            .map(|line| format!("pending {line}")),
    );
    lines
}

fn describe(condition: &Condition) -> String {
    let status = condition.status.as_str();
    let mut text = format!("{}={status} {}", condition.kind, condition.reason);
    if !condition.message.is_empty() {
        text.push_str(": ");
        text.push_str(&condition.message);
    }
    text
}
