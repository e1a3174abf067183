//! The programs that building and testing need beside Rust, a C compiler and git: found, or installed, and said so.
//!
//! `protoc` compiles the `.proto` files (ours and etcd-client's), `etcd` is what the tests run against, `openssl` makes their certificates. All come
//! from the system's own package manager; kubectl, of which the tests need two, has a file of its own. Called before every task that needs
//! one of them.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{kubectl, printer, run};

#[cfg(test)]
mod tests;

/// A program that has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prerequisite {
    /// The protobuf compiler with the well-known types (`google/protobuf/*.proto`), which some systems package apart.
    Protoc,
    /// The etcd server.
    Etcd,
    /// openssl(1), by which the tests make certificates as the operator's page says. FreeBSD and macOS have one of their own.
    Openssl,
}

/// What the tests need.
pub(crate) const FOR_TESTS: &[Prerequisite] = &[
    Prerequisite::Protoc,
    Prerequisite::Etcd,
    Prerequisite::Openssl,
];

/// A system's package manager and what the prerequisites are called there.
struct Manager {
    /// The program; the first manager whose program is in `PATH` is used.
    program: &'static str,
    /// The arguments that bring the lists of packages up to date, if that is a step of its own.
    refresh: Option<&'static [&'static str]>,
    /// The arguments before the packages' names; they must not ask questions.
    install: &'static [&'static str],
    /// Whether it has to run as root.
    root: bool,
    protoc: &'static [&'static str],
    etcd: &'static [&'static str],
    openssl: &'static [&'static str],
}

/// In the order in which they are looked for: `brew` last, because it is also found on Linux, beside the system's own.
const MANAGERS: &[Manager] = &[
    Manager {
        program: "apt-get",
        refresh: Some(&["update", "-q"]),
        install: &["install", "-y", "-q", "--no-install-recommends"],
        root: true,
        protoc: &["protobuf-compiler", "libprotobuf-dev"],
        etcd: &["etcd-server"],
        openssl: &["openssl"],
    },
    Manager {
        program: "dnf",
        refresh: None,
        install: &["install", "-y"],
        root: true,
        protoc: &["protobuf-compiler", "protobuf-devel"],
        etcd: &["etcd"],
        openssl: &["openssl"],
    },
    Manager {
        program: "pkg",
        refresh: None,
        install: &["install", "-y"],
        root: true,
        protoc: &["protobuf"],
        // The ports tree's devel/etcd35 sets PKGNAMEPREFIX=coreos- and PKGNAMESUFFIX=35.
        etcd: &["coreos-etcd35"],
        openssl: &["openssl"],
    },
    Manager {
        program: "brew",
        refresh: None,
        install: &["install"],
        root: false,
        protoc: &["protobuf"],
        etcd: &["etcd"],
        openssl: &["openssl"],
    },
];

impl Prerequisite {
    fn name(self) -> &'static str {
        match self {
            Self::Protoc => "protoc with the well-known types",
            Self::Etcd => "etcd",
            Self::Openssl => "openssl",
        }
    }

    fn packages(self, manager: &Manager) -> &'static [&'static str] {
        match self {
            Self::Protoc => manager.protoc,
            Self::Etcd => manager.etcd,
            Self::Openssl => manager.openssl,
        }
    }

    /// The program's path, if it is there and whole.
    fn find(self) -> Option<PathBuf> {
        match self {
            Self::Protoc => find_protoc().filter(|protoc| has_well_known_types(protoc)),
            Self::Etcd => run::find_program("etcd"),
            Self::Openssl => run::find_program("openssl"),
        }
    }
}

/// Makes sure that everything is there that the tests need.
///
/// # Errors
///
/// As [`ensure`], and as [`kubectl::ensure`].
pub(crate) fn ensure_for_tests() -> Result<()> {
    ensure(FOR_TESTS)?;
    kubectl::ensure()
}

/// Makes sure that each program named is there, installing what is missing.
///
/// # Errors
///
/// The names of the packages, when the system's package manager is unknown, may not be used, or does not have them.
pub(crate) fn ensure(wanted: &[Prerequisite]) -> Result<()> {
    let missing: Vec<Prerequisite> = wanted
        .iter()
        .copied()
        .filter(|one| one.find().is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing
        .iter()
        .map(|one| one.name())
        .collect::<Vec<_>>()
        .join(", ");
    let Some(manager) = MANAGERS
        .iter()
        .find(|manager| run::find_program(manager.program).is_some())
    else {
        bail!("missing: {names}\n{}", by_hand(&missing));
    };
    let packages = packages(&missing, manager);
    printer::progress(&format!(
        "missing: {names}; installing {} with {}",
        packages.join(" "),
        manager.program
    ));
    install(manager, &packages)
        .with_context(|| format!("missing: {names}\n{}", by_hand(&missing)))?;
    for one in &missing {
        if one.find().is_none() {
            bail!(
                "{} is still missing after {} was installed\n{}",
                one.name(),
                packages.join(" "),
                by_hand(&missing)
            );
        }
    }
    printer::progress(&format!("installed: {}", packages.join(" ")));
    Ok(())
}

/// Installs Debian packages that are not installed yet; for tasks that need more than the prerequisites.
///
/// # Errors
///
/// When this is no Debian, or a package cannot be installed.
pub(crate) fn ensure_debian_packages(packages: &[&str]) -> Result<()> {
    let installed = run::output(
        Command::new("dpkg-query").args(["--show", "--showformat=${Package} ${Status}\\n"]),
    )
    .context("this step needs Debian's packages")?;
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| {
            !installed
                .lines()
                .any(|line| line == format!("{package} install ok installed"))
        })
        .collect();
    let Some(manager) = MANAGERS.iter().find(|manager| manager.program == "apt-get") else {
        bail!("the table of package managers has lost apt-get");
    };
    if missing.is_empty() {
        return Ok(());
    }
    printer::progress(&format!(
        "missing: {}; installing with apt-get",
        missing.join(", ")
    ));
    install(manager, &missing)
}

/// Brings Debian's lists of packages up to date.
///
/// # Errors
///
/// When this is no Debian, or it is not reached.
pub(crate) fn refresh_debian_packages() -> Result<()> {
    let manager = MANAGERS.iter().find(|one| one.program == "apt-get");
    let manager = manager.context("the table of package managers has lost apt-get")?;
    let refresh = manager.refresh.unwrap_or_default();
    run::run(command(manager)?.args(refresh))
}

fn packages(missing: &[Prerequisite], manager: &Manager) -> Vec<&'static str> {
    missing
        .iter()
        .flat_map(|one| one.packages(manager))
        .copied()
        .collect()
}

/// One line per package manager, with the command that installs what is missing.
fn by_hand(missing: &[Prerequisite]) -> String {
    let mut text = String::from("install it by hand, whichever is yours:");
    for manager in MANAGERS {
        text.push_str(&format!(
            "\n  {} install {}",
            manager.program,
            packages(missing, manager).join(" ")
        ));
    }
    text
}

fn install(manager: &Manager, packages: &[&str]) -> Result<()> {
    if let Some(refresh) = manager.refresh {
        run::run(command(manager)?.args(refresh))?;
    }
    run::run(command(manager)?.args(manager.install).args(packages))
}

/// The manager's command, under sudo where root is needed and we are not root.
fn command(manager: &Manager) -> Result<Command> {
    let is_root =
        || Ok::<bool, anyhow::Error>(run::output(Command::new("id").arg("-u"))?.trim() == "0");
    let mut command = if !manager.root || is_root()? {
        Command::new(manager.program)
    } else if run::find_program("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        if !std::io::stdin().is_terminal() {
            // Without a terminal nobody can type a password: fail at once instead of hanging.
            sudo.arg("-n");
        }
        sudo.args(["env", "DEBIAN_FRONTEND=noninteractive", manager.program]);
        sudo
    } else {
        bail!("{} needs root, and there is no sudo", manager.program);
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}

/// The `protoc` that the build scripts will use: `$PROTOC`, else the one in `PATH`.
fn find_protoc() -> Option<PathBuf> {
    match std::env::var_os("PROTOC") {
        Some(path) => Some(PathBuf::from(path)).filter(|path| path.is_file()),
        None => run::find_program("protoc"),
    }
}

/// Whether this `protoc` compiles a file that imports a well-known type: the question itself, because the folder that
/// holds those files differs from system to system.
fn has_well_known_types(protoc: &Path) -> bool {
    let folder = run::target().join("xtask");
    let probe = folder.join("probe.proto");
    let text = "syntax = \"proto3\";\nimport \"google/protobuf/timestamp.proto\";\nmessage Probe { google.protobuf.Timestamp at = 1; }\n";
    std::fs::create_dir_all(&folder).is_ok()
        && std::fs::write(&probe, text).is_ok()
        && run::output(
            Command::new(protoc)
                .arg("--proto_path")
                .arg(&folder)
                .arg("--descriptor_set_out")
                .arg(folder.join("probe.bin"))
                .arg(&probe),
        )
        .is_ok()
}
