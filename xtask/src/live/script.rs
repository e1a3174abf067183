//! One text out of the library, the kind of host, the example and the row.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::row::{self, Row};
use crate::run;

/// Where everything is on a real host, unless [`super::FOLDER`] says otherwise.
const FOLDER: &str = "/var/tmp/cellblock-live";

/// The port that the controller of a row listens on, on a real host's loopback.
const PORT: u16 = 17_443;

/// The interfaces that stand for the NICs of the examples: ends of epairs.
const NICS: [&str; 4] = ["lv0", "lv1", "lv2", "lv3"];

/// What ends the example in its script.
const END: &str = "END-OF-EXAMPLE";

/// Where a row runs.
#[derive(Debug)]
pub(super) struct Place {
    kind: &'static str,
    folder: String,
    programs: String,
    roots: String,
    base: String,
    port: u16,
}

impl Place {
    /// A real host.
    ///
    /// # Errors
    ///
    /// When a path could not stand in a script as it is.
    pub(super) fn real(folder: Option<&str>, base: Option<&str>) -> Result<Self> {
        let folder = folder.unwrap_or(FOLDER);
        let base = base.unwrap_or("/");
        for path in [folder, base] {
            let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
            ensure!(
                path.starts_with('/') && path.chars().all(plain),
                "`{path}` is no plain absolute path"
            );
        }
        Ok(Self {
            kind: "freebsd.sh",
            folder: format!("{folder}/run"),
            programs: format!("{folder}/bin"),
            roots: format!("{folder}/roots"),
            base: base.to_owned(),
            port: PORT,
        })
    }

    /// An emulated host in a folder of its own.
    ///
    /// # Errors
    ///
    /// When there is no free port.
    pub(super) fn emulated(folder: &Path, programs: &Path) -> Result<Self> {
        let free = TcpListener::bind("127.0.0.1:0").context("no free port")?;
        Ok(Self {
            kind: "emulated.sh",
            folder: folder.display().to_string(),
            programs: programs.display().to_string(),
            roots: "/jails".to_owned(),
            base: "/".to_owned(),
            port: free.local_addr()?.port(),
        })
    }

    /// Where the programs are there.
    pub(super) fn programs(&self) -> &str {
        &self.programs
    }

    /// The library with the variables of this place.
    fn prelude(&self, what: &str) -> Result<String> {
        let mut text = format!("# cellblock live: {what}\n{{\n");
        for file in ["lib.sh", self.kind] {
            text.push_str(&read(&row::folder().join(file))?);
        }
        let _ = writeln!(
            text,
            "DIR='{}'\nPROGRAMS='{}'\nROOTS='{}'\nBASE='{}'\nPORT={}",
            self.folder, self.programs, self.roots, self.base, self.port
        );
        Ok(text)
    }
}

/// A script that says what the host is.
///
/// # Errors
///
/// When the library cannot be read.
pub(super) fn facts(place: &Place) -> Result<String> {
    Ok(format!(
        "{}facts\nexit 0\n}} </dev/null\n",
        place.prelude("facts")?
    ))
}

/// The script of a row. All of it stands in braces: a shell reads it to the end before it runs the first command, none of which then
/// takes the rest for its input.
///
/// # Errors
///
/// When the library or the example cannot be read.
pub(super) fn row(row: &Row, place: &Place, spare: &[String]) -> Result<String> {
    let mut text = place.prelude(&format!("row {}", row.name))?;
    for (number, name) in NICS.into_iter().enumerate() {
        let _ = writeln!(text, "NIC{number}={name}");
    }
    let example = example(row)?;
    ensure!(
        !example.contains(END),
        "{} holds {END}",
        row.example.display()
    );
    let needs = if row.needs.pf { "pf" } else { "" };
    let _ = write!(
        text,
        "SPARE='{}'\nMODULES='{}'\nNEEDS='{needs}'\n\
         example() {{ cat <<'{END}'\n{}\n{END}\n}}\n\
         exec 2>&1\ntrap finish EXIT\ntrap 'exit 129' HUP INT TERM\nbegin_host\n{}\noutcome=passed\nexit 0\n}} </dev/null\n",
        spare.join(" "),
        row.needs.modules.join(" "),
        example.trim_end(),
        row.text,
    );
    Ok(text)
}

/// The manifest of a row's example.
pub(super) fn example(row: &Row) -> Result<String> {
    let folder = if row.is_networking() {
        "examples/networking"
    } else {
        "examples/jails"
    };
    read(&run::root().join(folder).join(&row.example))
}

/// A fresh folder on this machine; its path is short, because sockets are made in it.
///
/// # Errors
///
/// When it cannot be made.
pub(super) fn scratch(name: &str) -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("cblive-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder)
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}
