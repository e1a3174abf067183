//! Images and roots made of them: fetched by fetch(1), checked by sha256(1) and by what tar(1) lists, unpacked by tar(1), removed by rm(1) once chflags(1) has taken away what would hinder it.
//!
//! All of it takes long and goes on beside everything else, a command at a time. What a step makes gets its name only when it is whole, so whoever dies between two commands leaves nothing that is taken for
//! more than it is; the next one begins the step anew, and fetch(1) goes on where it was (`-r`, with `-F` whatever the times of the two files say: the digest is the judge).

use std::collections::VecDeque;
use std::time::Duration;

use cellblock_agent_core::image::{
    self, BASE, BASEJAIL, GONE, LISTING, MARK, NEW, PART, REFUSED, ROOT, RootMark, SHARED,
    STORAGE_MARK, TARBALL,
};
use cellblock_agent_core::op::Op;
use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::Layout;

use super::{Performer, effect, log};
use crate::command::{Command, Output, Program, words};
use crate::error::Failure;
use crate::observe;
use crate::system::{Process, succeed};

/// How long a tarball may take to come.
const FETCH_TIMEOUT: Duration = Duration::from_secs(6 * 3_600 - 600);

/// How long fetch(1) waits for a server that says nothing, in seconds.
const SILENCE_S: &str = "60";

/// How long reading, unpacking or removing a whole base may take.
const DISK_TIMEOUT: Duration = Duration::from_secs(3_600);

/// How large a tarball may become, in octets; the base of 15.1 has about 2^28.
const TARBALL_BYTES_MAX: u64 = 1 << 34;

/// The steps in which progress is told, in octets: a report a second would be worth nobody's while.
const PROGRESS_BYTES: u64 = 1 << 24;

/// How the names begin of files that fetch(1) writes before it gives them the name that it was told (`mkstemps`, usr.bin/fetch/fetch.c).
const FETCHING: &str = ".fetch.";

/// The file with the standard error of what works in a folder.
const STDERR: &str = "stderr";

/// Work on the storage that goes on beside everything else.
pub(crate) struct StorageJob {
    folder: String,
    /// The image's digest, or the jail's uid.
    pub(crate) of: String,
    stages: VecDeque<Stage>,
    running: Option<Running>,
    /// What is half made, and is removed where it cannot be made whole: the disk may be full of it.
    debris: Option<String>,
    /// Why it could not, while that goes on.
    failed: Option<Failure>,
}

/// The command that runs now.
struct Running {
    stage: Stage,
    command: Command,
    process: Box<dyn Process>,
}

/// One step of it.
enum Stage {
    /// Removes the files that what was done before has left.
    Tidy,
    /// Writes the mark, before anything else is there.
    Mark(String),
    /// Removes what a clone has of its image beside the base.
    Strip,
    /// A command that must succeed, what it does, and what becomes of it, where that grows.
    Run(&'static str, Command),
    /// fetch(1)
    Fetch(String, Command),
    /// sha256(1) of what came of that tarball, and whether some of it had come before.
    Sum(String, Command, bool),
    /// tar(1)'s listing of it.
    List(String, Command),
    /// Removes a tree, flags and all, if it is there.
    Clear(String),
    /// The parts of a thin root that are its own, and the links to those that are not, below the first path from the second.
    Template(String, String),
    /// Gives what is whole its name.
    Rename(String, String),
    /// Removes the folder itself, its mark with it.
    Leave,
}

impl Stage {
    fn command(&self) -> Option<&Command> {
        match self {
            Self::Run(_, command)
            | Self::Fetch(_, command)
            | Self::Sum(_, command, _)
            | Self::List(_, command) => Some(command),
            Self::Tidy
            | Self::Strip
            | Self::Mark(_)
            | Self::Clear(_)
            | Self::Template(..)
            | Self::Rename(..)
            | Self::Leave => None,
        }
    }

    fn doing(&self) -> &'static str {
        match self {
            Self::Run(doing, _) => doing,
            Self::Fetch(..) => "fetching",
            Self::Sum(..) => "checking the digest",
            Self::List(..) => "checking the listing",
            Self::Mark(_) | Self::Template(..) | Self::Rename(..) => "making the root",
            Self::Tidy | Self::Strip | Self::Clear(_) | Self::Leave => "removing",
        }
    }
}

impl Performer<'_> {
    /// Begins work on the storage; none: there is nothing to do.
    pub(crate) fn begin_storage(&self, op: &Op) -> Result<Option<StorageJob>, Failure> {
        let Some(of) = op.storage_of() else {
            return Ok(None);
        };
        let folder = folder_of(op)?;
        self.check_real(folder)?;
        if !op.is_irreversible() {
            self.check_storage(folder)?;
        }
        if let Op::FetchImage { dataset, .. }
        | Op::UnpackBase { dataset, .. }
        | Op::MakeRoot { dataset, .. } = op
            && let Some(dataset) = dataset
        {
            self.check_stands(folder, dataset)?;
        }
        let begun = if let Op::FetchImage {
            folder,
            mark,
            tarball,
            digest,
            ..
        } = op
        {
            self.fetch(folder, mark, tarball, digest)?
        } else if let Op::UnpackBase { folder, .. } = op {
            self.unpack(folder)?
        } else if let Op::MakeRoot {
            folder,
            mark,
            image,
            cloned,
            ..
        } = op
        {
            if *cloned {
                self.take_clone(folder, mark)?
            } else {
                self.make_root(folder, mark, image)?
            }
        } else if let Op::RemoveRoot { folder, jail, mark } = op {
            self.remove_root(folder, jail, mark.as_ref())?
        } else if let Op::RemoveImage { folder, mark, .. } = op {
            self.check_unmounted(folder)?;
            self.check_not_mounted_on(folder)?;
            self.remove(folder, mark.as_deref(), &[BASE, "base.gone", "base.new"])?
        } else {
            None
        };
        for stage in begun.iter().flatten() {
            if let Some(command) = stage.command() {
                self.end_former(command)?;
            }
        }
        Ok(begun.map(|stages| StorageJob {
            folder: folder.to_owned(),
            of: of.to_owned(),
            debris: stages.iter().find_map(|stage| {
                if let Stage::Rename(new, _) = stage
                    && new.ends_with(NEW)
                {
                    Some(new.clone())
                } else {
                    None
                }
            }),
            stages: stages.into(),
            running: None,
            failed: None,
        }))
    }

    /// Does it to its end.
    pub(super) fn perform_storage(&self, op: &Op) -> Result<(), Failure> {
        let Some(mut job) = self.begin_storage(op)? else {
            return Ok(());
        };
        while !self.go_on_storage(&mut job, DISK_TIMEOUT)? {}
        Ok(())
    }

    /// Goes on with it as far as it comes within `patience` for each command; whether it has ended.
    pub(crate) fn go_on_storage(
        &self,
        job: &mut StorageJob,
        patience: Duration,
    ) -> Result<bool, Failure> {
        loop {
            let went = self.advance(job, patience);
            match (went, job.failed.take(), job.debris.take()) {
                (Ok(true), Some(first), _) | (Err(_), Some(first), _) => return Err(first),
                (Err(failure), None, Some(debris)) => {
                    job.running = None;
                    job.stages = VecDeque::from([Stage::Clear(debris)]);
                    job.failed = Some(told_of_disk(&job.folder, failure));
                }
                (went, failed, debris) => {
                    (job.failed, job.debris) = (failed, debris);
                    return went;
                }
            }
        }
    }

    fn advance(&self, job: &mut StorageJob, patience: Duration) -> Result<bool, Failure> {
        loop {
            if let Some(running) = &mut job.running {
                let Some(output) = running.process.wait(patience)? else {
                    self.check_size(job)?;
                    return Ok(false);
                };
                log(&running.command, &output);
                let Some(Running { stage, command, .. }) = job.running.take() else {
                    return Ok(false);
                };
                self.after(&job.folder, &stage, &command, &output)?;
            }
            let Some(stage) = job.stages.pop_front() else {
                return Ok(true);
            };
            self.next(job, stage)?;
        }
    }

    /// What a job is doing, in words.
    pub(crate) fn doing(&self, job: &StorageJob) -> Result<String, Failure> {
        let Some(running) = &job.running else {
            return Ok("working".to_owned());
        };
        let doing = running.stage.doing();
        let what = image::short(&job.of);
        let Stage::Fetch(tarball, _) = &running.stage else {
            return Ok(format!("{doing} ({what})"));
        };
        let part = format!("{}/{PART}", job.folder);
        let size = self.system.file_size(&part)?.unwrap_or_default();
        let come = size / PROGRESS_BYTES * (PROGRESS_BYTES >> 20);
        Ok(format!("{doing} {tarball}: {come} MB so far"))
    }

    fn next(&self, job: &mut StorageJob, stage: Stage) -> Result<(), Failure> {
        match &stage {
            Stage::Tidy => {
                for entry in self.system.list_dir(&job.folder)?.unwrap_or_default() {
                    if entry == REFUSED || entry.starts_with(FETCHING) {
                        self.system
                            .remove_file(&format!("{}/{entry}", job.folder))?;
                    }
                }
            }
            Stage::Strip => {
                for name in [TARBALL, PART, LISTING, REFUSED, STDERR] {
                    self.system.remove_file(&format!("{}/{name}", job.folder))?;
                }
            }
            Stage::Mark(text) => {
                let path = format!("{}/{MARK}", job.folder);
                self.system.write_file(&path, text)?;
            }
            Stage::Run(_, command)
            | Stage::Fetch(_, command)
            | Stage::Sum(_, command, _)
            | Stage::List(_, command) => {
                let command = command
                    .clone()
                    .discard_stdout()
                    .stderr_file(format!("{}/{STDERR}", job.folder));
                let process = self.system.start(&command)?;
                job.running = Some(Running {
                    stage,
                    command,
                    process,
                });
            }
            Stage::Clear(path) => {
                if self.system.list_dir(path)?.is_some() {
                    // Without `-x` it would go on in what is mounted below, which was looked for before.
                    for (program, words) in [
                        (Program::Rm, words!["-r", "-f", "-x", path]),
                        (Program::Chflags, words!["-R", "-x", "0", path]),
                    ] {
                        let command = Command::new(program, words).timeout(DISK_TIMEOUT);
                        job.stages.push_front(Stage::Run("removing", command));
                    }
                }
            }
            Stage::Template(into, base) => {
                let parts = self.template(into, base)?;
                for command in parts.into_iter().rev() {
                    job.stages.push_front(Stage::Run("copying", command));
                }
            }
            Stage::Rename(from, to) => self.rename(from, to)?,
            Stage::Leave => self.leave(&job.folder)?,
        }
        Ok(())
    }

    fn after(
        &self,
        folder: &str,
        stage: &Stage,
        command: &Command,
        output: &Output,
    ) -> Result<(), Failure> {
        let part = format!("{folder}/{PART}");
        match stage {
            Stage::Sum(tarball, _, resumed) if output.status == SUM_DIFFERS => {
                self.system.remove_file(&part)?;
                if *resumed {
                    return Err(Failure::EffectMissing(format!(
                        "{tarball}: what came in several parts has another SHA-256 than spec.release.sha256; it is fetched anew"
                    )));
                }
                let why = "the SHA-256 of what is there is not spec.release.sha256".to_owned();
                self.refuse(folder, tarball, why)
            }
            // The digest was right, so the file is as it was meant to be.
            Stage::List(tarball, _) if !output.is_success() => {
                let said = Failure::refused(command, output);
                self.refuse(
                    folder,
                    tarball,
                    format!("it is no tarball that can be read: {said}"),
                )
            }
            Stage::List(tarball, _) => match image::listing::check(&output.stdout) {
                Ok(()) => Ok(()),
                Err(why) => self.refuse(
                    folder,
                    tarball,
                    format!("it is not unpacked, because {why}"),
                ),
            },
            Stage::Fetch(tarball, _) if !output.is_success() => {
                // What is longer than what is there cannot be gone on with (`local file is longer than remote file`, usr.bin/fetch/fetch.c).
                if output.stderr.contains("is longer than remote file") {
                    self.system.remove_file(&part)?;
                }
                let failure = Failure::refused(command, output);
                Err(Failure::EffectMissing(format!(
                    "{tarball} cannot be fetched: {failure}"
                )))
            }
            Stage::Run(..)
            | Stage::Fetch(..)
            | Stage::Sum(..)
            | Stage::Tidy
            | Stage::Strip
            | Stage::Mark(_)
            | Stage::Clear(_)
            | Stage::Template(..)
            | Stage::Rename(..)
            | Stage::Leave
                if output.is_success() =>
            {
                Ok(())
            }
            Stage::Run(..)
            | Stage::Fetch(..)
            | Stage::Sum(..)
            | Stage::Tidy
            | Stage::Strip
            | Stage::Mark(_)
            | Stage::Clear(_)
            | Stage::Template(..)
            | Stage::Rename(..)
            | Stage::Leave => Err(Failure::refused(command, output)),
        }
    }

    fn refuse(&self, folder: &str, tarball: &str, why: String) -> Result<(), Failure> {
        let path = format!("{folder}/{REFUSED}");
        self.system
            .write_file(&path, &image::refusal(tarball, &why))?;
        Err(Failure::ImageRefused(format!("{tarball}: {why}")))
    }

    /// What grows beyond every measure is ended.
    fn check_size(&self, job: &StorageJob) -> Result<(), Failure> {
        let Some(Running {
            stage: Stage::Fetch(tarball, _),
            command,
            ..
        }) = &job.running
        else {
            return Ok(());
        };
        let part = format!("{}/{PART}", job.folder);
        let mut size = self.system.file_size(&part)?.unwrap_or_default();
        for entry in self.system.list_dir(&job.folder)?.unwrap_or_default() {
            if entry.starts_with(FETCHING) {
                let path = format!("{}/{entry}", job.folder);
                size += self.system.file_size(&path)?.unwrap_or_default();
            }
        }
        if size <= TARBALL_BYTES_MAX {
            return Ok(());
        }
        self.end_former(command)?;
        self.system.remove_file(&part)?;
        let why = format!("it has more than {TARBALL_BYTES_MAX} octets");
        self.refuse(&job.folder, tarball, why)
    }

    /// Ends the same command of an agent that is no more.
    fn end_former(&self, command: &Command) -> Result<(), Failure> {
        let output = self.system.run(&observe::kill_line(&command.line()))?;
        match output.status {
            // Nothing matched (`STATUS_NOMATCH`, bin/pkill/pkill.c).
            0 | 1 => Ok(()),
            _ => Err(Failure::refused(command, &output)),
        }
    }

    fn has(&self, folder: &str, name: &str) -> Result<bool, Failure> {
        let entries = self.system.list_dir(folder)?.unwrap_or_default();
        Ok(entries.iter().any(|entry| entry == name))
    }

    /// The mark is the one that was seen when this was planned.
    fn check_mark(&self, folder: &str, mark: Option<&str>) -> Result<(), Failure> {
        let found = self.system.read_file(&format!("{folder}/{MARK}"))?;
        if found.as_deref() == mark {
            return Ok(());
        }
        Err(Failure::Changed(format!(
            "{folder} is not marked as it was when this was planned"
        )))
    }

    /// No jail runs below a folder, whoever's it is. A dying one has no process any more, and jls(8) does not print it.
    pub(super) fn check_unused(&self, folder: &str) -> Result<(), Failure> {
        let command = Command::new(
            Program::Jls,
            ["-n", "--libxo=json", "jid", "name", "dying", "path"],
        );
        let jails = observe::jls::parse(&succeed(self.system, &command)?.stdout)?;
        let below = format!("{folder}/");
        match jails.iter().find(|jail| jail.path.starts_with(&below)) {
            None => Ok(()),
            Some(jail) => Err(Failure::Changed(format!(
                "jail {} (jid {}) has its root at {}: nothing is removed under a jail",
                jail.name, jail.jid, jail.path
            ))),
        }
    }

    /// Nothing is mounted below a folder, or from it.
    pub(super) fn check_unmounted(&self, folder: &str) -> Result<(), Failure> {
        let command = Command::new(Program::Mount, ["-p"]);
        let mounts = observe::mount::parse(&succeed(self.system, &command)?.stdout);
        let below = format!("{folder}/");
        let mut found = mounts.iter();
        match found
            .find(|mount| mount.target.starts_with(&below) || mount.source.starts_with(&below))
        {
            None => Ok(()),
            Some(mount) => Err(Failure::Changed(format!(
                "{} is mounted on {}: nothing is removed over a mount",
                mount.source, mount.target
            ))),
        }
    }

    /// What was mounted last at a folder, or above, is its dataset: nothing is written into what is mounted over that, or below its mount point.
    fn check_stands(&self, folder: &str, dataset: &str) -> Result<(), Failure> {
        let command = Command::new(Program::Mount, ["-p"]);
        let mounts = observe::mount::parse(&succeed(self.system, &command)?.stdout);
        let is_at = |target: &str| {
            let rest = folder.strip_prefix(target.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let last = mounts.iter().rfind(|mount| is_at(&mount.target));
        if last.is_some_and(|mount| mount.target == folder && mount.source == dataset) {
            return Ok(());
        }
        Err(Failure::Changed(format!(
            "dataset {dataset} is not what is mounted at {folder} any more"
        )))
    }

    /// Nothing is mounted on a folder that is removed: what is seen in it would be another file system's.
    fn check_not_mounted_on(&self, folder: &str) -> Result<(), Failure> {
        let command = Command::new(Program::Mount, ["-p"]);
        let mounts = observe::mount::parse(&succeed(self.system, &command)?.stdout);
        match mounts.iter().rfind(|mount| mount.target == folder) {
            None => Ok(()),
            Some(mount) => Err(Failure::Changed(format!(
                "{} is mounted on {folder}: nothing in it is removed",
                mount.source
            ))),
        }
    }

    fn fetch(
        &self,
        folder: &str,
        mark: &str,
        tarball: &str,
        digest: &str,
    ) -> Result<Option<Vec<Stage>>, Failure> {
        if self.has(folder, TARBALL)? {
            return Ok(None);
        }
        if self
            .system
            .list_dir(folder)?
            .is_some_and(|list| !image::is_empty(list.iter()))
        {
            self.check_mark(folder, Some(mark))?;
        }
        let part = format!("{folder}/{PART}");
        let url = image::url(tarball);
        // Of a file of the host nothing is gone on with: fetch(1) puts it together wrongly (seen on 15.1).
        let resumed = image::is_remote(tarball) && self.has(folder, PART)?;
        let mut fetch = words!["-q"];
        if image::is_remote(tarball) {
            fetch.extend(words!["-F", "-r"]);
        }
        fetch.extend(words!["-T", SILENCE_S, "-o", &part, url]);
        let fetch = Command::new(Program::Fetch, fetch).timeout(FETCH_TIMEOUT);
        let sum = words!["-q", "-c", digest, &part];
        let sum = Command::new(Program::Sha256, sum).timeout(DISK_TIMEOUT);
        let list = Command::new(
            Program::Tar,
            words!["-t", "-v", "--numeric-owner", "-f", &part],
        )
        .timeout(DISK_TIMEOUT)
        .stdout_file(format!("{folder}/{LISTING}"));
        Ok(Some(vec![
            Stage::Mark(mark.to_owned()),
            Stage::Tidy,
            Stage::Fetch(tarball.to_owned(), fetch),
            Stage::Sum(tarball.to_owned(), sum, resumed),
            Stage::List(tarball.to_owned(), list),
            Stage::Rename(part, format!("{folder}/{TARBALL}")),
        ]))
    }

    /// Into a folder that has its name only once all of it is there. Without `-P` tar(1) refuses `..` and to write through links, which the listing was read for (`EXTRACT_FLAGS`,
    /// contrib/libarchive/tar/bsdtar.c); with `-p` modes, owners and file flags are those of the tarball, by its numbers and not by its names, which the host may have for others (`--numeric-owner`).
    fn extract(tarball: &str, whole: &str) -> Vec<Stage> {
        let new = format!("{whole}{NEW}");
        let tar = words!["-x", "-p", "--numeric-owner", "-f", tarball, "-C", &new];
        vec![
            Stage::Clear(new.clone()),
            Stage::Run("unpacking", Command::new(Program::Mkdir, [&new])),
            Stage::Run(
                "unpacking",
                Command::new(Program::Tar, tar).timeout(DISK_TIMEOUT),
            ),
            Stage::Rename(new, whole.to_owned()),
        ]
    }

    fn unpack(&self, folder: &str) -> Result<Option<Vec<Stage>>, Failure> {
        if self.has(folder, BASE)? {
            return Ok(None);
        }
        Ok(Some(Self::extract(
            &format!("{folder}/{TARBALL}"),
            &format!("{folder}/{BASE}"),
        )))
    }

    fn make_root(
        &self,
        folder: &str,
        mark: &RootMark,
        image: &str,
    ) -> Result<Option<Vec<Stage>>, Failure> {
        if self.has(folder, ROOT)? {
            self.check_mark(folder, Some(&mark.to_string()))?;
            return Ok(None);
        }
        let present = self.system.read_file(&format!("{folder}/{MARK}"))?;
        let owner = present.as_deref().and_then(RootMark::parse);
        let is_free = match owner {
            Some(owner) => owner.jail == mark.jail && owner.cluster == mark.cluster,
            None => self
                .system
                .list_dir(folder)?
                .is_none_or(|list| image::is_empty(list.iter())),
        };
        if !is_free {
            return Err(Failure::NameTaken {
                what: "folder",
                name: folder.to_owned(),
            });
        }
        let whole = format!("{folder}/{ROOT}");
        let mut stages = vec![Stage::Mark(mark.to_string())];
        match mark.layout {
            Layout::Thick => {
                stages.extend(Self::extract(&format!("{image}/{TARBALL}"), &whole));
            }
            Layout::Thin => {
                let new = format!("{whole}{NEW}");
                stages.extend([
                    Stage::Clear(new.clone()),
                    Stage::Run("copying", Command::new(Program::Mkdir, [&new])),
                    Stage::Template(new.clone(), format!("{image}/{BASE}")),
                    Stage::Rename(new, whole),
                ]);
            }
        }
        Ok(Some(stages))
    }

    /// Makes the root of what stands in the clone of an image: the base is whole, and there alone.
    fn take_clone(&self, folder: &str, mark: &RootMark) -> Result<Option<Vec<Stage>>, Failure> {
        if self.has(folder, ROOT)? {
            self.check_mark(folder, Some(&mark.to_string()))?;
            return Ok(None);
        }
        let present = self.system.read_file(&format!("{folder}/{MARK}"))?;
        let of_image = image::image_mark(&mark.cluster);
        if present.is_none_or(|found| found != of_image && found != mark.to_string()) {
            return Err(Failure::Changed(format!(
                "{folder} is not marked as the clone of an image is"
            )));
        }
        Ok(Some(vec![
            Stage::Mark(mark.to_string()),
            Stage::Strip,
            Stage::Rename(format!("{folder}/{BASE}"), format!("{folder}/{ROOT}")),
        ]))
    }

    /// What of the base is the jail's own is copied, and what it shares is a link into the basejail, relative so that on the host too it leads nowhere else.
    fn template(&self, into: &str, base: &str) -> Result<Vec<Command>, Failure> {
        let mut commands = Vec::new();
        let listed = |path: &str| -> Result<Vec<String>, Failure> {
            Ok(self.system.list_dir(path)?.unwrap_or_default())
        };
        let mut add = |path: &str, up: &str| {
            let (from, to) = (format!("{base}/{path}"), format!("{into}/{path}"));
            commands.push(if SHARED.contains(&path) {
                let target = format!("{up}{BASEJAIL}/{path}");
                Command::new(Program::Ln, words!["-s", target, to])
            } else {
                Command::new(Program::Cp, words!["-a", from, to]).timeout(DISK_TIMEOUT)
            });
        };
        let usr = format!("{base}/usr");
        self.check_real(base)?;
        self.check_real(&usr)?;
        // What is mounted on is made, not copied: cp(1) copies into a directory that is there (bin/cp/cp.c).
        let made = ["usr", "dev", BASEJAIL];
        let entries = listed(base)?;
        for name in entries.iter().filter(|name| !made.contains(&name.as_str())) {
            add(name, "");
        }
        for name in &listed(&usr)? {
            add(&format!("usr/{name}"), "../");
        }
        commands.insert(
            0,
            Command::new(
                Program::Mkdir,
                words![
                    "-p",
                    format!("{into}/{BASEJAIL}"),
                    format!("{into}/usr"),
                    format!("{into}/dev")
                ],
            ),
        );
        Ok(commands)
    }

    /// A directory that is there is reached without a symbolic link.
    fn check_real(&self, path: &str) -> Result<(), Failure> {
        let is_real = match self.system.real_path(path)? {
            Some(real) => real == path,
            None => self.system.list_dir(path)?.is_none(),
        };
        if is_real {
            return Ok(());
        }
        Err(Failure::Changed(format!(
            "{path} is a symbolic link, or leads through one"
        )))
    }

    /// The storage of a folder is there, as it was when this was planned: without it all would be made anew where a disk should be mounted.
    fn check_storage(&self, folder: &str) -> Result<(), Failure> {
        let mut above = folder.rsplitn(3, '/');
        let storage = above.nth(2).unwrap_or_default();
        let path = format!("{storage}/{STORAGE_MARK}");
        if self.system.read_file(&path)?.is_some() {
            return Ok(());
        }
        Err(Failure::Changed(format!("{path} is not there any more")))
    }

    /// Writes which storage it is, and never over what another one was.
    pub(super) fn mark_storage(&self, folder: &str, mark: &str) -> Result<(), Failure> {
        if self.system.real_path(folder)?.as_deref() != Some(folder) {
            let message = format!("{folder} is not the directory any more that it was");
            return Err(Failure::Changed(message));
        }
        let path = format!("{folder}/{STORAGE_MARK}");
        match self.system.read_file(&path)? {
            Some(found) if found == mark => return Ok(()),
            Some(_) => {
                return Err(Failure::NameTaken {
                    what: "file",
                    name: path,
                });
            }
            None => {}
        }
        self.system.write_file(&path, mark)?;
        let now = self.system.read_file(&path)?;
        effect(now.as_deref() == Some(mark), || {
            format!("{path} does not hold what was written")
        })
    }

    fn remove_root(
        &self,
        folder: &str,
        jail: &Uid,
        mark: Option<&RootMark>,
    ) -> Result<Option<Vec<Stage>>, Failure> {
        if mark.is_some_and(|mark| mark.jail != *jail) {
            return Err(Failure::Changed(format!("{folder} is another jail's")));
        }
        self.check_unmounted(folder)?;
        self.check_not_mounted_on(folder)?;
        self.check_unused(folder)?;
        let mark = mark.map(RootMark::to_string);
        self.remove(folder, mark.as_deref(), &[ROOT, "root.gone", "root.new"])
    }

    /// The first of `trees` is what is whole, and is not any more from the first command on.
    fn remove(
        &self,
        folder: &str,
        mark: Option<&str>,
        trees: &[&str],
    ) -> Result<Option<Vec<Stage>>, Failure> {
        let Some(entries) = self.system.list_dir(folder)? else {
            return Ok(None);
        };
        self.check_mark(folder, mark)?;
        let mut stages = Vec::new();
        if let Some(whole) = trees.first()
            && entries.iter().any(|entry| entry == whole)
        {
            let whole = format!("{folder}/{whole}");
            let gone = format!("{whole}{GONE}");
            stages.push(Stage::Clear(gone.clone()));
            // A directory with uchg, uunlnk or the like cannot be renamed (`ufs_rename`, sys/ufs/ufs/ufs_vnops.c), and root in the jail may have set it.
            let unflag = Command::new(Program::Chflags, words!["-h", "0", &whole]);
            stages.push(Stage::Run("removing", unflag));
            stages.push(Stage::Rename(whole, gone));
        }
        let trees = trees.iter().skip(1);
        stages.extend(trees.map(|tree| Stage::Clear(format!("{folder}/{tree}"))));
        stages.push(Stage::Leave);
        Ok(Some(stages))
    }

    /// `mv` into a directory that is there would move below it, so nothing may be there.
    fn rename(&self, from: &str, to: &str) -> Result<(), Failure> {
        let (folder, name) = to.rsplit_once('/').unwrap_or_default();
        effect(!self.has(folder, name)?, || {
            format!("{to} is there already")
        })?;
        self.change(&Command::new(Program::Mv, [from, to]))?;
        effect(self.has(folder, name)?, || format!("{to} is not there"))
    }

    /// Removes what is left of a folder: files, its mark the last of them.
    fn leave(&self, folder: &str) -> Result<(), Failure> {
        let entries = self.system.list_dir(folder)?.unwrap_or_default();
        for entry in entries.iter().filter(|entry| *entry != MARK) {
            self.system.remove_file(&format!("{folder}/{entry}"))?;
        }
        self.system.remove_file(&format!("{folder}/{MARK}"))?;
        self.change(&Command::new(Program::Rmdir, [folder]))?;
        Ok(())
    }
}

/// A failure to make something, with the disk where it is full.
fn told_of_disk(folder: &str, failure: Failure) -> Failure {
    let is_full = if let Failure::Command { stderr, .. } = &failure {
        // ENOSPC, and EDQUOT of a dataset with a quota (lib/libc/gen/errlst.c; recording `10`).
        stderr.contains("No space left on device") || stderr.contains("Disc quota exceeded")
    } else if let Failure::System(error) = &failure {
        error.is_disk_full()
    } else {
        false
    };
    if is_full {
        Failure::EffectMissing(format!("the file system of {folder} is full: {failure}"))
    } else {
        failure
    }
}

/// What sha256(1) ends with when the digest is another one (`main`, sbin/md5/md5.c).
const SUM_DIFFERS: i32 = 2;

/// The folder that an operation works in: an absolute path without a way out, whose last part is what the operation is for.
fn folder_of(op: &Op) -> Result<&str, Failure> {
    let (Op::FetchImage { folder, .. }
    | Op::UnpackBase { folder, .. }
    | Op::MakeRoot { folder, .. }
    | Op::RemoveRoot { folder, .. }
    | Op::RemoveImage { folder, .. }) = op
    else {
        return Ok("");
    };
    let is_plain = folder.starts_with('/')
        && folder
            .split('/')
            .skip(1)
            .all(|part| !matches!(part, "" | "." | ".."));
    let last = folder.rsplit('/').next();
    if is_plain && last == op.storage_of() {
        Ok(folder)
    } else {
        Err(Failure::Word {
            what: "the folder",
            word: folder.clone(),
        })
    }
}
