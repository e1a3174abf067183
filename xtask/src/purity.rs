//! Purity of the cores: what a pure crate may not depend on.
//!
//! A pure crate decides; it does not read a clock, open a file, draw a random number or talk to anybody. Two things hold
//! it to that. This check looks at the crate's dependencies on every target, so that nothing that does I/O is even linked.
//! The `clippy.toml` beside the crate bans what the standard library itself offers (clocks, `HashMap`, `std::env`,
//! `std::fs` …); clippy takes the file nearest to the crate's own manifest.

use anyhow::{Result, bail};

use crate::{printer, run};

#[cfg(test)]
mod tests;

/// The crates whose purity is checked, with the folder in which each lives.
const PURE: &[(&str, &str)] = &[
    ("cellblock-schemas", "schemas"),
    ("cellblock-controller-core", "controller/core"),
    ("cellblock-agent-core", "agent/core"),
];

/// What a pure crate may not depend on, directly or through others, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("tokio", "decisions do not wait"),
    ("async-io", "decisions do not wait"),
    ("mio", "decisions do not wait"),
    ("tonic", "the wire belongs to the shells"),
    ("prost", "the wire belongs to the shells"),
    ("etcd-client", "storage belongs to cellblock-store"),
    ("redb", "storage belongs to cellblock-store"),
    ("libc", "the system belongs to the adapters"),
    ("rustix", "the system belongs to the adapters"),
    ("nix", "the system belongs to the adapters"),
    ("rand", "seeds are arguments"),
    ("rand_core", "seeds are arguments"),
    ("fastrand", "seeds are arguments"),
    ("getrandom", "seeds are arguments"),
    ("uuid", "identities are arguments"),
    ("chrono", "time is an argument"),
    ("tracing", "a core returns what there is to say"),
    ("log", "a core returns what there is to say"),
];

/// Edges of the graph that are tolerated, as (crate, the dependency it may have) with the reason.
///
/// `cpufeatures` asks the kernel which instructions the processor has, on aarch64 Linux, Android and Apple by way of libc;
/// on x86-64, and on FreeBSD everywhere, it does not depend on libc. The answer selects among implementations of the same
/// digest and is therefore invisible to the caller.
const TOLERATED: &[(&str, &str)] = &[("cpufeatures", "libc")];

/// Checks every pure crate's dependencies, on all targets.
///
/// # Errors
///
/// Each forbidden dependency with the chain that leads to it.
pub(crate) fn check() -> Result<()> {
    let mut violations = Vec::new();
    for (name, folder) in PURE {
        if !run::root().join(folder).join("clippy.toml").is_file() {
            violations.push(format!(
                "{folder}/clippy.toml is missing: it bans clocks, files and hash maps"
            ));
        }
        // `--no-dedupe` shows a crate's dependencies under each of its dependents, so that every chain is seen whole.
        let tree = [
            "tree",
            "--package",
            name,
            "--edges",
            "normal",
            "--target",
            "all",
            "--no-dedupe",
        ];
        let layout = ["--prefix", "depth", "--format", " {p}"];
        let tree = run::output(run::cargo(tree).args(layout))?;
        if !tree.starts_with(&format!("0 {name} ")) {
            bail!(
                "cargo tree no longer prints what this check reads; it began: {}",
                tree.lines().next().unwrap_or("")
            );
        }
        let found = forbidden(&tree);
        printer::result(&format!("{name}: {} forbidden dependencies", found.len()));
        violations.extend(found);
    }
    if !violations.is_empty() {
        bail!("a pure crate is not pure:\n  {}", violations.join("\n  "));
    }
    Ok(())
}

/// The forbidden dependencies in the output of `cargo tree --prefix depth --format ' {p}'`, one line each.
fn forbidden(tree: &str) -> Vec<String> {
    let mut chain: Vec<&str> = Vec::new();
    let mut found = std::collections::BTreeSet::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let (Some(Ok(depth)), Some(name)) = (words.next().map(str::parse::<usize>), words.next())
        else {
            continue;
        };
        chain.truncate(depth);
        chain.push(name);
        let parent = depth.checked_sub(1).and_then(|above| chain.get(above));
        let tolerated = TOLERATED
            .iter()
            .any(|(from, to)| parent == Some(from) && name == *to);
        if let Some((_, reason)) = FORBIDDEN.iter().find(|(banned, _)| *banned == name)
            && !tolerated
        {
            found.insert(format!("{} ({reason})", chain.join(" → ")));
        }
    }
    found.into_iter().collect()
}
