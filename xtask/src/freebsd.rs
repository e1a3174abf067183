//! Building for FreeBSD: natively there, from Linux by a cross toolchain.
//!
//! [`toolchain`] finds or makes the toolchain; this file only says what is built with it and where it ends up. The FreeBSD
//! build has a target folder of its own, `target/freebsd`, because it may use another release of the compiler than the
//! ordinary build, and the two would throw each other's work away.

mod toolchain;

use std::path::PathBuf;

use anyhow::Result;

use crate::{printer, run};
use toolchain::{Need, TARGET};

/// How far to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Type-check every library and program.
    Check,
    /// Link every program, without optimisation.
    Debug,
    /// Link every program as it would be released.
    Release,
}

/// Where a build leaves its programs.
pub(crate) fn programs(profile: &str) -> PathBuf {
    run::target().join("freebsd").join(TARGET).join(profile)
}

/// Builds the workspace for FreeBSD and names the programs that were linked.
///
/// # Errors
///
/// When the toolchain cannot be had (with what to install), or the build fails.
pub(crate) fn build(goal: Goal) -> Result<()> {
    let need = match goal {
        Goal::Check => Need::Check,
        Goal::Debug | Goal::Release => Need::Link,
    };
    let toolchain = toolchain::prepare(need)?;
    printer::progress(&format!("toolchain: {}", toolchain.description()));
    let target_folder = run::target().join("freebsd");
    let mut command = toolchain.cargo();
    command
        .current_dir(run::root())
        .env("CARGO_TARGET_DIR", &target_folder)
        .arg(match goal {
            Goal::Check => "check",
            Goal::Debug | Goal::Release => "build",
        })
        .args(["--locked", "--workspace", "--target", TARGET])
        .args(match goal {
            // Every library too, so that what no program uses yet compiles as well.
            Goal::Check | Goal::Debug => ["--lib", "--bins"].as_slice(),
            Goal::Release => &["--lib", "--bins", "--release"],
        });
    run::run(&mut command)?;
    let profile = match goal {
        Goal::Check => return Ok(()),
        Goal::Debug => "debug",
        Goal::Release => "release",
    };
    for program in ["cellblockd", "cellblock-agent", "jailctl"] {
        let file = programs(profile).join(program);
        let length = std::fs::metadata(&file).map(|meta| meta.len());
        match length {
            Ok(length) => printer::result(&format!("{} ({length} bytes)", file.display())),
            Err(error) => anyhow::bail!("{} was not linked: {error}", file.display()),
        }
    }
    Ok(())
}
