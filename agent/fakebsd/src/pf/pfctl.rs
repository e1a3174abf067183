//! pfctl(8): argv and standard input to exit status and text (`main` of sbin/pfctl/pfctl.c).
//!
//! Options are read as getopt(3) reads them; what they ask for is done in pfctl's fixed order: disable, show, flush,
//! kill, tables, load, enable, debug level.

use std::collections::BTreeMap;

use super::facts::{NetFacts, Release};
use super::kernel::{Parts, Pf};
use super::parse::DEBUG_LEVELS;

mod flush;
mod info;
mod kill;
mod load;
mod rules;
mod show;
mod tables;

/// What a command left: exit status and both streams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Exit status.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

const USAGE: &str = "usage: pfctl [-AdeghMmNnOPqRSrvz] [-a anchor] [-D macro=value] [-F modifier]
\t[-f file] [-i interface] [-K host | network]
\t[-k host | network | gateway | label | id] [-o level] [-p device]
\t[-s modifier] [-t table -T command [address ...]] [-x level]
";

#[rustfmt::skip]
const FLUSH: &[&str] = &[
    "nat", "queue", "rules", "Sources", "states", "info", "Tables", "osfp", "all", "ethernet", "Reset",
];
#[rustfmt::skip]
const SHOW: &[&str] = &[
    "ethernet", "nat", "queue", "rules", "Anchors", "Sources", "states", "info", "Interfaces", "labels", "timeouts",
    "memory", "Tables", "osfp", "Running", "all", "creatorids",
];
#[rustfmt::skip]
const TABLE: &[&str] = &[
    "kill", "flush", "add", "delete", "load", "replace", "show", "test", "zero", "expire", "reset",
];
const OPTIMIZE: &[&str] = &["none", "basic", "profile"];

/// The command line.
#[derive(Debug, Clone, Default)]
struct Options {
    anchor: Option<String>,
    recurse: bool,
    disable: bool,
    enable: bool,
    quiet: bool,
    no_action: bool,
    merge: bool,
    kill_match: bool,
    numeric: bool,
    no_dns: bool,
    clear_counters: bool,
    debug_output: bool,
    verbose: u8,
    flush: Option<&'static str>,
    show: Option<&'static str>,
    table_command: Option<&'static str>,
    table: Option<String>,
    file: Option<String>,
    interface: Option<String>,
    kill: Vec<String>,
    kill_sources: Vec<String>,
    optimize: Option<&'static str>,
    level: Option<&'static str>,
    macros: BTreeMap<String, String>,
    only_filter: bool,
    only_translation: bool,
    only_settings: bool,
    only_tables: bool,
    only_altq: bool,
    arguments: Vec<String>,
    /// Whether the device must be opened for writing.
    writes: bool,
}

/// The command ends here, with this status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exit(i32);

type Done<T = ()> = Result<T, Exit>;

/// One run of pfctl.
struct Run<'a> {
    pf: &'a mut Pf,
    facts: &'a dyn NetFacts,
    stdin: &'a str,
    options: Options,
    output: Output,
    /// Whether a title was printed already, for the blank line between them.
    titled: bool,
    labels: bool,
}

/// Runs `pfctl` (`argv[0]`) against one stack's pf.
pub fn pfctl(pf: &mut Pf, facts: &dyn NetFacts, argv: &[String], stdin: &str) -> Output {
    pf.purge(facts.now());
    let mut run = Run {
        pf,
        facts,
        stdin,
        options: Options::default(),
        output: Output::default(),
        titled: false,
        labels: false,
    };
    let status = match run
        .read_options(argv.get(1..).unwrap_or_default())
        .and_then(|()| run.main())
    {
        Ok(()) => run.output.status,
        Err(Exit(status)) => status,
    };
    Output {
        status: status & 0xff,
        ..run.output
    }
}

fn lookup(word: &str, list: &'static [&'static str]) -> Option<&'static str> {
    if word.is_empty() {
        None
    } else {
        list.iter().find(|known| known.starts_with(word)).copied()
    }
}

impl Run<'_> {
    fn print(&mut self, line: &str) {
        self.output.stdout.push_str(line);
        self.output.stdout.push('\n');
    }

    fn error(&mut self, line: &str) {
        self.output.stderr.push_str(line);
        self.output.stderr.push('\n');
    }

    /// `warnx`.
    fn warn(&mut self, line: &str) {
        self.error(&format!("pfctl: {line}"));
    }

    /// `errx`.
    fn die<T>(&mut self, line: &str) -> Done<T> {
        self.warn(line);
        Err(Exit(1))
    }

    fn usage<T>(&mut self) -> Done<T> {
        self.output.stderr.push_str(USAGE);
        Err(Exit(1))
    }

    /// What pfctl says unless `-q`.
    fn remark(&mut self, line: &str) {
        if !self.options.quiet {
            self.error(line);
        }
    }

    fn anchor(&self) -> String {
        self.options.anchor.clone().unwrap_or_default()
    }

    /// `getopt`, with pfctl's own checks of each argument.
    fn read_options(&mut self, argv: &[String]) -> Done {
        if argv.is_empty() {
            return self.usage();
        }
        let mut words = argv.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                break;
            }
            let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
                self.options.arguments.push(word.clone());
                break;
            };
            for (place, letter) in letters.char_indices() {
                if !"aDFfikKopstTx".contains(letter) {
                    self.flag(letter)?;
                    continue;
                }
                let rest = &letters[place + 1..];
                let argument = if rest.is_empty() {
                    words.next().cloned()
                } else {
                    Some(rest.to_owned())
                };
                let Some(argument) = argument else {
                    self.warn(
                        &format!("option requires an argument -- {letter}")
                            .replacen("pfctl: ", "", 1),
                    );
                    return self.usage();
                };
                self.argument(letter, argument)?;
                break;
            }
        }
        self.options.arguments.extend(words.cloned());
        Ok(())
    }

    fn flag(&mut self, letter: char) -> Done {
        let options = &mut self.options;
        match letter {
            'A' => options.only_altq = true,
            'd' => (options.disable, options.writes) = (true, true),
            'e' => (options.enable, options.writes) = (true, true),
            'g' => options.debug_output = true,
            'm' => options.merge = true,
            'M' => options.kill_match = true,
            'n' => options.no_action = true,
            'N' => options.only_translation = true,
            'O' => options.only_settings = true,
            'P' => options.numeric = true,
            'q' => options.quiet = true,
            'r' => {}
            'R' => options.only_filter = true,
            'S' => options.no_dns = true,
            'v' => options.verbose = options.verbose.saturating_add(1),
            'z' => (options.clear_counters, options.writes) = (true, true),
            'h' => return self.usage(),
            other => {
                self.warn(&format!("illegal option -- {other}"));
                return self.usage();
            }
        }
        Ok(())
    }

    fn argument(&mut self, letter: char, argument: String) -> Done {
        let chosen = |run: &mut Self, what: &str, list: &'static [&'static str]| match lookup(
            &argument, list,
        ) {
            Some(known) => Ok(known),
            None => {
                run.warn(&format!("Unknown {what} '{argument}'"));
                run.usage()
            }
        };
        match letter {
            'a' => self.options.anchor = Some(argument),
            'D' => match argument.rsplit_once('=') {
                Some((name, value)) => {
                    self.options
                        .macros
                        .insert(name.to_owned(), value.to_owned());
                }
                None => self.warn(&format!("could not parse macro definition {argument}")),
            },
            'F' => {
                self.options.flush = Some(chosen(self, "flush modifier", FLUSH)?);
                self.options.writes = true;
            }
            'f' => (self.options.file, self.options.writes) = (Some(argument), true),
            'i' => self.options.interface = Some(argument),
            'k' | 'K' => {
                let list = if letter == 'k' {
                    &mut self.options.kill
                } else {
                    &mut self.options.kill_sources
                };
                if list.len() >= 2 {
                    self.warn(&format!("can only specify -{letter} twice"));
                    return self.usage();
                }
                list.push(argument);
                self.options.writes = true;
            }
            'o' => self.options.optimize = Some(chosen(self, "optimization", OPTIMIZE)?),
            's' => self.options.show = Some(chosen(self, "show modifier", SHOW)?),
            't' => self.options.table = Some(argument),
            'T' => self.options.table_command = Some(chosen(self, "table command", TABLE)?),
            'x' => {
                self.options.level = Some(chosen(self, "debug level", &DEBUG_LEVELS)?);
                self.options.writes = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// What belongs together, and what excludes each other.
    fn check_options(&mut self) -> Done {
        let options = &mut self.options;
        let load = options.table_command == Some("load");
        if options.table_command.is_some() != options.table.is_some() && !load {
            return self.usage();
        }
        match options.table_command {
            Some("load") => (options.only_tables, options.table_command) = (true, None),
            Some(command) => options.writes = !command.starts_with(['s', 't']),
            None => {
                if let Some(word) = options.arguments.first().cloned() {
                    self.warn(&format!("unknown command line argument: {word} ..."));
                    return self.usage();
                }
            }
        }
        let Some(mut anchor) = self.options.anchor.clone() else {
            return Ok(());
        };
        let options = &mut self.options;
        if anchor.is_empty() {
            return self.die("anchor name must not be empty");
        }
        if !options.writes && options.show.is_none() && options.table_command.is_none() {
            self.warn("anchors apply to -f, -F, -s, and -T only");
            return self.usage();
        }
        if options.writes
            && options.table_command.is_none()
            && (anchor.starts_with('_') || anchor.contains("/_"))
        {
            return self
                .die("anchor names beginning with '_' cannot be modified from the command line");
        }
        if anchor.ends_with('*') {
            anchor.pop();
            if anchor.ends_with('/') {
                anchor.pop();
            }
            options.recurse = true;
        }
        options.anchor = Some(anchor);
        Ok(())
    }

    /// Which parts `-f` loads: everything, unless some were chosen; settings never into an anchor.
    fn parts(&self) -> Parts {
        let options = &self.options;
        let chosen = options.only_filter
            || options.only_translation
            || options.only_settings
            || options.only_tables
            || options.only_altq;
        Parts {
            filter: !chosen || options.only_filter,
            translation: !chosen || options.only_translation,
            settings: (!chosen || options.only_settings) && options.anchor.is_none(),
            tables: !chosen || options.only_tables,
        }
    }

    /// Opens the device and netlink. With `-n` 15 goes without the device but not without pf's netlink family, and 14
    /// without either (recording `05`; sbin/pfctl/pfctl.c).
    fn open(&mut self) -> Done {
        if self.options.no_action {
            let options = &mut self.options;
            (options.disable, options.enable) = (false, false);
            (options.flush, options.show, options.level) = (None, None, None);
            if !self.facts.pf_loaded() && self.facts.release() == Release::V15 {
                return self.die("Failed to open netlink: No such file or directory");
            }
            return Ok(());
        }
        if !self.facts.pf_loaded() {
            return self.die("/dev/pf: No such file or directory");
        }
        if self.options.verbose > 0 {
            self.error("No ALTQ support in kernel");
            self.error("ALTQ related functions disabled");
        }
        Ok(())
    }

    fn main(&mut self) -> Done {
        self.check_options()?;
        self.open()?;
        if self.options.disable {
            if !self.pf.enabled {
                return self.die("pf not enabled");
            }
            (self.pf.enabled, self.pf.since) = (false, self.facts.now());
            self.remark("pf disabled");
        }
        if let Some(show) = self.options.show {
            self.show(show)?;
        }
        if self.options.clear_counters {
            self.clear_counters();
        }
        if let Some(flush) = self.options.flush {
            self.flush(flush)?;
        }
        if !self.options.kill.is_empty() {
            self.kill_states()?;
        }
        if !self.options.kill_sources.is_empty() {
            self.kill_sources()?;
        }
        if let Some(command) = self.options.table_command {
            self.output.status = self.table_command(command)?;
        } else if let Some(file) = self.options.file.clone() {
            self.load(&file)?;
        }
        if self.options.enable {
            if self.pf.enabled {
                return self.die("pf already enabled");
            }
            (self.pf.enabled, self.pf.since) = (true, self.facts.now());
            self.remark("pf enabled");
        }
        if let Some(level) = self.options.level {
            let place = DEBUG_LEVELS
                .iter()
                .position(|known| *known == level)
                .unwrap_or(1);
            self.pf.debug = u8::try_from(place).unwrap_or(1);
            self.remark(&format!("debug level set to '{level}'"));
        }
        Ok(())
    }
}
