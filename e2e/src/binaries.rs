//! The programs under test. Cargo tells a test only where the binaries of its own package are, so they are looked for beside the
//! test, and built when one is missing or older than a source file of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::{Context as _, bail};

/// The programs: package and binary.
const PROGRAMS: [(&str, &str); 3] = [
    ("cellblock-controller", "cellblockd"),
    ("cellblock-agent", "cellblock-agent"),
    ("jailctl", "jailctl"),
];

/// The environment variable that names a folder of programs to test as they are, such as those of a package.
const PROGRAMS_FOLDER: &str = "CELLBLOCK_PROGRAMS";

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Finds the programs in the folder that the running test was built into, and builds what is missing or stale.
    ///
    /// # Errors
    /// They cannot be built; the error holds what cargo said.
    pub fn find() -> anyhow::Result<Self> {
        static FOUND: OnceLock<Result<Binaries, String>> = OnceLock::new();
        FOUND
            .get_or_init(|| Self::find_or_build().map_err(|error| format!("{error:#}")))
            .clone()
            .map_err(anyhow::Error::msg)
    }

    /// `cellblockd`.
    #[must_use]
    pub fn cellblockd(&self) -> PathBuf {
        self.folder.join("cellblockd")
    }

    /// `cellblock-agent`.
    #[must_use]
    pub fn agent(&self) -> PathBuf {
        self.folder.join("cellblock-agent")
    }

    /// `jailctl`.
    #[must_use]
    pub fn jailctl(&self) -> PathBuf {
        self.folder.join("jailctl")
    }

    /// Whether they were built for release, as programs that are tested as they are always count.
    #[must_use]
    pub fn is_release(&self) -> bool {
        self.folder.ends_with("release") || std::env::var_os(PROGRAMS_FOLDER).is_some()
    }

    fn find_or_build() -> anyhow::Result<Self> {
        if let Some(folder) = std::env::var_os(PROGRAMS_FOLDER) {
            let folder = PathBuf::from(folder);
            for (_, program) in PROGRAMS {
                anyhow::ensure!(
                    folder.join(program).is_file(),
                    "{PROGRAMS_FOLDER}: there is no {program} in {}",
                    folder.display()
                );
            }
            return Ok(Self { folder });
        }
        let test = std::env::current_exe().context("this test cannot find itself")?;
        // <target>/<profile>/deps/<test>
        let folder = test
            .parent()
            .and_then(Path::parent)
            .with_context(|| format!("{} is in no target directory", test.display()))?;
        let binaries = Self {
            folder: folder.to_owned(),
        };
        // Tests run as many processes at once: one of them builds, the others wait for it.
        let lock = std::fs::File::create(folder.join(".cellblock-e2e.lock"))
            .with_context(|| format!("{} cannot be written", folder.display()))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
        if PROGRAMS
            .iter()
            .any(|(_, program)| is_stale(folder, program))
        {
            binaries.build()?;
        }
        Ok(binaries)
    }

    fn build(&self) -> anyhow::Result<()> {
        let target = self
            .folder
            .parent()
            .context("the profile's folder is in the target directory")?;
        let profile = match self.folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["build", "--quiet", "--bins", "--profile", profile])
            .arg("--target-dir")
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        for (package, _) in PROGRAMS {
            command.args(["-p", package]);
        }
        let output = command
            .output()
            .context("cargo could not be run to build the programs under test")?;
        if !output.status.success() {
            bail!(
                "the programs under test could not be built; `{command:?}` said:\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }
}

/// Whether a program is missing or older than a file that it was made from, as cargo's dep-info beside it lists them.
fn is_stale(folder: &Path, program: &str) -> bool {
    let Some(built) = modified(&folder.join(program)) else {
        return true;
    };
    let Ok(text) = std::fs::read_to_string(folder.join(format!("{program}.d"))) else {
        return true;
    };
    let Some((_, sources)) = text.split_once(": ") else {
        return true;
    };
    sources
        .replace("\\ ", "\u{0}")
        .split_whitespace()
        .map(|source| source.replace('\u{0}', " "))
        .any(|source| modified(Path::new(&source)).is_none_or(|changed| changed > built))
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}
