//! The arguments, typed. What they do is elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::context::Connection;
use crate::output::Format;
use crate::sandbox::EXAMPLES;
use crate::wait::Goal;

#[cfg(test)]
mod tests;

/// The longest duration that is taken, in hours: a year. More is a slip, and would leave what a clock can count to.
const DURATION_HOURS_MAX: u64 = 8760;

/// Jails and their networks on a fleet of FreeBSD hosts
#[derive(Debug, Parser)]
#[command(name = "jailctl", version, about, arg_required_else_help = true)]
pub struct Cli {
    /// Which controller to speak to.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the objects of manifests so
    Apply(Apply),
    /// Show what applying manifests would change; exit status 1 if anything
    Diff(Diff),
    /// Show objects
    Get(Get),
    /// Show everything that is known of an object, in words
    Describe(Describe),
    /// Delete objects
    Delete(Delete),
    /// Stop jails and start them again, once, whatever their restart policy says
    Restart(Restart),
    /// How far the update of a jailset is; pause, resume, restart, undo it
    #[command(subcommand)]
    Rollout(Rollout),
    /// How many jails a jailset has
    Scale(Scale),
    /// Wait until objects are in a state
    Wait(Wait),
    /// Print what an agent does for objects, as an operator would have written it: commands, pf rules, ngctl scripts, jail.conf
    Render(Render),
    /// Write manifests for the jails of jail.conf(5), and say what of them no manifest says
    Import(Import),
    /// Run a command in a jail, with its input, output and exit status
    Exec(Exec),
    /// Log in to a jail on a terminal
    Console(Console),
    /// Show the console log of a jail: what its hooks, and the daemons that they start, wrote
    Logs(Logs),
    /// Explain a kind or a field of it, as in jail.spec.networks
    Explain(Explain),
    /// Pause, resume, cordon, drain and approve hosts; what stays behind on one
    #[command(subcommand)]
    Host(Host),
    /// The versions of jailctl and of the controller
    Version(Output),
    /// A script that completes jailctl's arguments in a shell
    Completion(Completion),
    /// A whole fleet on this machine, with emulated hosts: nothing else is needed
    Sandbox(Sandbox),
}

/// Manifests to read.
#[derive(Clone, Debug, Args)]
pub struct Files {
    /// A manifest, a directory of manifests (*.yaml, *.yml, *.json, in order of names), or - for standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    pub filenames: Vec<PathBuf>,
}

/// `apply`
#[derive(Clone, Debug, Args)]
pub struct Apply {
    /// Manifests.
    #[command(flatten)]
    pub files: Files,
    /// Check everything on the controller and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Once everything is applied, delete what was applied before as a part of the set and is not any more
    #[arg(long, requires = "applyset")]
    pub prune: bool,
    /// The set: an object that is there and stays, by which the set is named
    #[arg(long, value_name = "KIND/NAME", requires = "prune")]
    pub applyset: Option<String>,
    /// On what terms.
    #[command(flatten)]
    pub terms: Terms,
    /// Print the objects as they now are
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// `diff`
#[derive(Clone, Debug, Args)]
pub struct Diff {
    /// Manifests.
    #[command(flatten)]
    pub files: Files,
    /// On what terms it would be applied.
    #[command(flatten)]
    pub terms: Terms,
}

/// Whose the applied fields are.
#[derive(Clone, Debug, Args)]
pub struct Terms {
    /// Who applies: the fields in the manifests are this manager's from now on
    #[arg(long, default_value = "jailctl")]
    pub field_manager: String,
    /// Take over fields that other managers own
    #[arg(long)]
    pub force_conflicts: bool,
}

impl Default for Terms {
    /// What the command line says when it says nothing.
    fn default() -> Self {
        Self {
            field_manager: "jailctl".to_owned(),
            force_conflicts: false,
        }
    }
}

/// `get`
#[derive(Clone, Debug, Args)]
pub struct Get {
    /// jails, networks, hosts or all, and names to see only these; or KIND/NAME, as -o name prints it; or allocations, or events
    #[arg(value_name = "KIND [NAME…] | KIND/NAME…", required = true)]
    pub words: Vec<String>,
    /// table, wide, yaml, json, name, or jsonpath=EXPRESSION
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// Only objects with these labels: a=b,c!=d,e in (f,g),!h
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Go on showing changes
    #[arg(short, long)]
    pub watch: bool,
    /// Show in yaml and json who manages which field
    #[arg(long)]
    pub show_managed_fields: bool,
    /// Only allocations of this kind: address, mac, port, public-address, jail-name, nic, root, slice, user-ids or fib
    #[arg(long = "kind", value_name = "KIND")]
    pub sort: Option<String>,
    /// Only allocations that this host has
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Only allocations of this jail
    #[arg(long, value_name = "NAME")]
    pub jail: Option<String>,
    /// Only events of this object
    #[arg(long = "for", value_name = "KIND/NAME")]
    pub about: Option<String>,
}

/// `describe`
#[derive(Clone, Debug, Args)]
pub struct Describe {
    /// A kind, and names; no name: all of the kind. Or KIND/NAME, as -o name prints it
    #[arg(value_name = "KIND [NAME…] | KIND/NAME…", required = true)]
    pub words: Vec<String>,
}

/// `delete`
#[derive(Clone, Debug, Args)]
pub struct Delete {
    /// A kind and names, or KIND/NAME, as -o name prints it
    #[arg(
        value_name = "KIND NAME… | KIND/NAME…",
        required_unless_present = "filenames"
    )]
    pub words: Vec<String>,
    /// The objects of manifests.
    #[command(flatten)]
    pub files: Files,
    /// What becomes of what belongs to the objects: it goes once they are gone (background), they go after it (foreground), or it
    /// stays (orphan). Without it jailsets go after their jails, and of other kinds what belongs to them goes once they are gone
    #[arg(long, value_name = "POLICY")]
    pub cascade: Option<Cascade>,
    /// Return at once, without waiting until they are gone
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait, as in 90s or 5m
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
    /// Check on the controller and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What becomes of what belongs to an object that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cascade {
    /// It goes once the object is gone
    Background,
    /// The object goes after it
    Foreground,
    /// It stays
    Orphan,
}

impl Cascade {
    /// The name in the API.
    #[must_use]
    pub fn policy(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

/// `restart`
#[derive(Clone, Debug, Args)]
pub struct Restart {
    /// Jails, by name
    #[arg(value_name = "jail NAME… | jail/NAME…", required = true)]
    pub words: Vec<String>,
}

/// `rollout`
#[derive(Clone, Debug, Subcommand)]
pub enum Rollout {
    /// Follow it until it is over; exit status 1 if it cannot get on, or is not over in time
    Status {
        /// The sets.
        #[command(flatten)]
        named: SetNames,
        /// Only say how far it is, and what is in the way
        #[arg(long)]
        no_wait: bool,
        /// How long to follow it at most, as in 90s or 5m; without it, until it is over or fails
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        timeout: Option<Duration>,
    },
    /// The revisions of the template that are kept
    History(SetNames),
    /// Bring no further jail to another revision
    Pause(SetNames),
    /// Go on
    Resume(SetNames),
    /// Stop the jails and start them again, as an update would
    Restart(SetNames),
    /// Go back to an earlier revision of the template
    Undo {
        /// The sets.
        #[command(flatten)]
        named: SetNames,
        /// Which, by the number that history shows; without it, the one before
        #[arg(long, value_name = "NUMBER")]
        to_revision: Option<u64>,
    },
}

/// JailSets by name.
#[derive(Clone, Debug, Args)]
pub struct SetNames {
    /// JailSets, by name
    #[arg(value_name = "jailset NAME… | jailset/NAME…", required = true)]
    pub words: Vec<String>,
}

/// `scale`
#[derive(Clone, Debug, Args)]
pub struct Scale {
    /// JailSets, by name
    #[arg(value_name = "jailset NAME… | jailset/NAME…", required = true)]
    pub words: Vec<String>,
    /// How many jails
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = number)]
    pub replicas: u32,
}

/// `wait`
#[derive(Clone, Debug, Args)]
pub struct Wait {
    /// A kind, and names; no name: all of the kind that there are. Or KIND/NAME, as -o name prints it
    #[arg(
        value_name = "KIND [NAME…] | KIND/NAME…",
        required_unless_present = "filenames"
    )]
    pub words: Vec<String>,
    /// The objects of manifests.
    #[command(flatten)]
    pub files: Files,
    /// condition=NAME[=True|False|Unknown], jsonpath=EXPRESSION[=VALUE], delete, or create
    #[arg(long = "for", value_name = "GOAL", default_value = "condition=Ready")]
    pub goal: Goal,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// How long, as in 90s or 5m
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
}

/// `render`
#[derive(Clone, Debug, Args)]
pub struct Render {
    /// A kind, and names; no name: all of the kind that there are. Or KIND/NAME, as -o name prints it
    #[arg(
        value_name = "KIND [NAME…] | KIND/NAME…",
        required_unless_present = "filenames"
    )]
    pub words: Vec<String>,
    /// Manifests, in place of a controller; without words everything in them.
    #[command(flatten)]
    pub files: Files,
    /// As a document
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Encoding>,
}

/// `import`
#[derive(Clone, Debug, Args)]
pub struct Import {
    /// Files as jail -f reads them, each by itself, or - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The name of the Host that the jails are on
    #[arg(long, value_name = "NAME", default_value = "imported")]
    pub host: String,
    /// The interface of addresses that stand in the file without one
    #[arg(long, value_name = "INTERFACE")]
    pub interface: Option<String>,
    /// Where a copy of the host's files is: included files and mount.fstab are looked for below it
    #[arg(long, value_name = "DIRECTORY")]
    pub root: Option<PathBuf>,
    /// Manifests and notes as one document (json), or manifests with their notes as comments (yaml)
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Encoding>,
}

/// `exec`
#[derive(Clone, Debug, Args)]
pub struct Exec {
    /// The jail
    #[arg(value_name = "JAIL")]
    pub name: String,
    /// On a terminal, as for a shell; standard input must be one
    #[arg(short, long)]
    pub tty: bool,
    /// Pass standard input on; it always is, unless -n is given
    #[arg(short = 'i', long, conflicts_with = "no_stdin")]
    pub stdin: bool,
    /// Nothing to read: standard input stays with who started this, as in a loop that reads it
    #[arg(short, long, conflicts_with = "tty")]
    pub no_stdin: bool,
    /// As this user of the jail; without it, as root
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// The command and its words; no shell reads them
    #[arg(value_name = "COMMAND", required = true, last = true)]
    pub command: Vec<String>,
}

/// `console`
#[derive(Clone, Debug, Args)]
pub struct Console {
    /// The jail
    #[arg(value_name = "JAIL")]
    pub name: String,
    /// As this user of the jail; without it, as root
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
}

/// `logs`
#[derive(Clone, Debug, Args)]
pub struct Logs {
    /// The jail
    #[arg(value_name = "JAIL")]
    pub name: String,
    /// Go on with what is written
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last lines, so many
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u64>,
}

/// `host`
#[derive(Clone, Debug, Subcommand)]
pub enum Host {
    /// The agent goes on observing and changes nothing
    Pause(HostNames),
    /// The agent may change the host again
    Resume(HostNames),
    /// No new jail is placed there
    Cordon(HostNames),
    /// Jails may be placed there again
    Uncordon(HostNames),
    /// Cordon, and have the jails of sets made again elsewhere
    Drain(Drain),
    /// The agent may act on a host that had jails or interfaces of somebody else when it first ran
    Approve(HostNames),
    /// The machine is gone for good: its jails go to other hosts, and its agent, should it come back, only observes until approved
    Forget(HostNames),
    /// The agent of a host may show this key from now on, and no other
    AcceptKey {
        /// The host
        #[arg(value_name = "NAME")]
        name: String,
        /// The key's fingerprint, as the refusal of the agent shows it
        #[arg(value_name = "FINGERPRINT")]
        key: String,
    },
    /// What stays on a host after everything of ours was deleted, and why
    Residue(Output),
}

/// `host drain`
#[derive(Clone, Debug, Args)]
pub struct Drain {
    /// The hosts, one after the other
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// Leave jails that belong to no JailSet as they are
    #[arg(long)]
    pub leave_others: bool,
    /// How long it may take in all
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub timeout: Duration,
    /// Only say which jails would leave
    #[arg(long)]
    pub dry_run: bool,
}

/// `-o`, where there is no object to show.
#[derive(Clone, Copy, Debug, Args)]
pub struct Output {
    /// As a document
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Encoding>,
}

/// A document's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Encoding {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// `explain`
#[derive(Clone, Debug, Args)]
pub struct Explain {
    /// A kind, and the path of a field
    #[arg(value_name = "KIND[.FIELD…]")]
    pub path: String,
    /// Name the fields of fields too
    #[arg(long)]
    pub recursive: bool,
}

/// `completion`
#[derive(Clone, Copy, Debug, Args)]
pub struct Completion {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Hosts by name.
#[derive(Clone, Debug, Args)]
pub struct HostNames {
    /// The hosts
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

/// `sandbox`
#[derive(Clone, Debug, Args)]
pub struct Sandbox {
    /// Manifests, or directories of them
    #[arg(value_name = "FILE", default_value = EXAMPLES)]
    pub filenames: Vec<PathBuf>,
    /// End when everything is ready; exit status 1 if it does not become ready in time
    #[arg(long)]
    pub exit_when_ready: bool,
    /// How long everything may take to become ready
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
    /// How many emulated hosts
    #[arg(long, default_value_t = 3)]
    pub hosts: u8,
}

/// How many of something.
fn number(text: &str) -> Result<u32, String> {
    match text.parse::<i128>() {
        Ok(number) if number < 0 => Err("there can be no fewer than 0".to_owned()),
        Ok(number) => u32::try_from(number).map_err(|_| "that is too many".to_owned()),
        Err(_) => Err("that is no number".to_owned()),
    }
}

/// `90s`, `5m`, `1h`, `500ms`, or seconds without a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    if number.is_empty() {
        return Err("a duration is a number and a unit, as in 90s or 5m".to_owned());
    }
    // Nothing but digits: only its size can be wrong.
    let number: u64 = number.parse().map_err(|_| too_long())?;
    let unit_ms = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("`{unit}` is no unit; there are ms, s, m and h")),
    };
    number
        .checked_mul(unit_ms)
        .filter(|ms| *ms <= DURATION_HOURS_MAX * 3_600_000)
        .map(Duration::from_millis)
        .ok_or_else(too_long)
}

fn too_long() -> String {
    format!("that is too long; {DURATION_HOURS_MAX}h are the most")
}
