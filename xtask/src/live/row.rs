//! Rows, what they need, and what a host has.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::run;

/// A row of the table in product terms, as its file in `xtask/live/rows/` says in its first lines.
#[derive(Debug)]
pub(super) struct Row {
    /// The file's name without its end.
    pub(super) name: String,
    /// `# title:`
    pub(super) title: String,
    /// `# example:` the manifest below `examples/networking/` or, for a row of jails and their roots, `examples/jails/`.
    pub(super) example: PathBuf,
    /// `# needs:`
    pub(super) needs: Needs,
    /// The file.
    pub(super) text: String,
}

/// What a row needs of its host.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Needs {
    /// Jails with network stacks of their own.
    pub(super) vimage: bool,
    /// pf, which is enabled for the row where it is not.
    pub(super) pf: bool,
    /// NICs without addresses and routes of the host.
    pub(super) nics: usize,
    /// Kernel modules, which are loaded.
    pub(super) modules: Vec<String>,
    /// Programs of the base system that not every installation has.
    pub(super) programs: Vec<String>,
    /// The accounting of resources (`kern.racct.enable`).
    pub(super) racct: bool,
}

impl Needs {
    fn parse(text: &str) -> Result<Self> {
        let mut needs = Self::default();
        for word in text.split_whitespace() {
            match word.split_once('=') {
                None if word == "vimage" => needs.vimage = true,
                None if word == "racct" => needs.racct = true,
                None if word == "pf" => {
                    needs.pf = true;
                    needs.modules.push("pf".to_owned());
                }
                Some(("nics", number)) => {
                    needs.nics = number.parse().with_context(|| format!("`{word}`"))?;
                }
                Some(("module", name)) => needs.modules.push(name.to_owned()),
                Some(("program", path)) => needs.programs.push(path.to_owned()),
                _ => bail!("`{word}` is no need"),
            }
        }
        Ok(needs)
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if self.nics > 0 {
            words.push(format!("{} NICs without addresses", self.nics));
        }
        if self.vimage {
            words.push("VIMAGE".to_owned());
        }
        if self.racct {
            words.push("kern.racct.enable=1".to_owned());
        }
        words.extend(self.modules.iter().chain(&self.programs).cloned());
        f.write_str(&words.join(", "))
    }
}

impl Row {
    /// Whether it is one of the arrangements N0 to N20.
    pub(super) fn is_networking(&self) -> bool {
        let example = self.example.to_str().unwrap_or_default();
        let rest = example.strip_prefix('n').unwrap_or_default();
        rest.starts_with(|c: char| c.is_ascii_digit())
    }

    fn parse(name: &str, text: String) -> Result<Self> {
        let header = |key: &str| {
            let mut lines = text.lines().take_while(|line| line.starts_with('#'));
            lines
                .find_map(|line| line.strip_prefix(&format!("# {key}: ")))
                .map(|value| value.trim().to_owned())
                .with_context(|| format!("row {name} has no line `# {key}: …` at its beginning"))
        };
        Ok(Self {
            name: name.to_owned(),
            title: header("title")?,
            example: PathBuf::from(header("example")?),
            needs: Needs::parse(&header("needs")?).with_context(|| format!("row {name}"))?,
            text,
        })
    }
}

/// Where the scripts are.
pub(super) fn folder() -> PathBuf {
    run::root().join("xtask/live")
}

/// All rows, in order of their names: those of the examples, or those of a folder.
///
/// # Errors
///
/// When a row cannot be read, or lacks a line at its beginning.
pub(super) fn all(from: Option<&Path>) -> Result<Vec<Row>> {
    let rows = from.map_or_else(|| folder().join("rows"), Path::to_owned);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&rows)
        .with_context(|| format!("{} cannot be listed", rows.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    files
        .iter()
        .map(|file| {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("{} cannot be read", file.display()))?;
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            Row::parse(&name, text)
        })
        .collect()
}

/// What a host said of itself.
#[derive(Debug, Default)]
pub(super) struct Facts {
    release: String,
    is_root: bool,
    vimage: bool,
    modules: Vec<String>,
    /// Spare NICs.
    pub(super) nics: Vec<String>,
    pf: String,
    missing: String,
    installed: Vec<String>,
    taken: String,
    racct: bool,
    programs: Vec<(String, String)>,
}

impl Facts {
    /// Reads lines `key=value`.
    ///
    /// # Errors
    ///
    /// When they are not those of a FreeBSD host.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut facts = Self::default();
        let mut system = None;
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let value = value.trim();
            let words = || value.split_whitespace().map(str::to_owned).collect();
            match key {
                "system" => system = Some(value),
                "release" => value.clone_into(&mut facts.release),
                "uid" => facts.is_root = value == "0",
                "racct" => facts.racct = value == "1",
                "vimage" => facts.vimage = value == "1",
                "modules" => facts.modules = words(),
                "nics" => facts.nics = words(),
                "pf" => value.clone_into(&mut facts.pf),
                "installed" => facts.installed.push(value.to_owned()),
                "missing" => value.clone_into(&mut facts.missing),
                "taken" => value.clone_into(&mut facts.taken),
                "program" => {
                    let (name, sum) = value.split_once(' ').unwrap_or((value, ""));
                    facts.programs.push((name.to_owned(), sum.to_owned()));
                }
                _ => {}
            }
        }
        match system {
            Some("FreeBSD") => Ok(facts),
            Some(other) => bail!("it runs {other}, not FreeBSD"),
            None => bail!("it says nothing of itself"),
        }
    }

    /// Whether the host has this program with this sum already.
    pub(super) fn has(&self, program: &str, sum: &str) -> bool {
        self.programs
            .iter()
            .any(|(name, found)| name == program && found == sum)
    }

    /// What a row cannot have here, in words.
    pub(super) fn lacks(&self, needs: &Needs) -> Option<String> {
        if !self.is_root {
            return Some("root".to_owned());
        }
        if !self.taken.is_empty() {
            return Some(format!("a host without {}", self.taken));
        }
        if !self.missing.is_empty() {
            return Some(format!(
                "a base system with {} (CELLBLOCK_LIVE_BASE)",
                self.missing
            ));
        }
        if needs.vimage && !self.vimage {
            return Some("a kernel with VIMAGE".to_owned());
        }
        if needs.racct && !self.racct {
            return Some("kern.racct.enable=1 in /boot/loader.conf".to_owned());
        }
        let missing = needs
            .modules
            .iter()
            .find(|name| !self.modules.contains(name));
        if let Some(module) = missing {
            return Some(format!("the kernel module {module}"));
        }
        let missing = needs
            .programs
            .iter()
            .find(|path| !self.installed.contains(path));
        if let Some(program) = missing {
            return Some(program.clone());
        }
        if needs.pf && !["off", "ours"].contains(&self.pf.as_str()) {
            return Some(
                "the four lines in pf.conf (docs/networking/loopback-nat.md): this host's pf has rules of its own without them"
                    .to_owned(),
            );
        }
        (self.nics.len() < needs.nics).then(|| {
            format!(
                "{} NICs without addresses and routes; this host has {}",
                needs.nics,
                self.nics.len()
            )
        })
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FreeBSD {}, ", self.release)?;
        if self.nics.is_empty() {
            f.write_str("no spare NICs")?;
        } else {
            write!(f, "spare NICs {}", self.nics.join(" "))?;
        }
        write!(f, ", pf {}", self.pf)
    }
}
