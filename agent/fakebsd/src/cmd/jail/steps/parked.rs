//! A jail(8) that waits for a hook while time passes for everybody else: put aside when the hook falls asleep, taken up when it wakes (`run_command` and `finish_command`,
//! usr.sbin/jail/command.c). Only where [`crate::Emulator::start`] began it, and only a hook that is `sleep` itself; any other takes its time at once.

use std::time::Duration;

use super::step::{START, STOP};
use super::{Run, Work};
use crate::cmd::Context;
use crate::cmd::jail::Options;
use crate::cmd::jailconf::ConfiguredJail;
use crate::emulator::Emulator;
use crate::output::Output;

/// A step, and which of its commands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct At {
    pub(super) place: usize,
    pub(super) number: usize,
}

/// A hook that sleeps.
#[derive(Clone, Debug)]
pub(super) struct Asleep {
    wakes: Duration,
    line: String,
    inside: bool,
    /// `exec.timeout` wakes it, not itself.
    timed_out: bool,
}

/// A jail(8) that waits for a hook.
#[derive(Clone, Debug)]
pub(crate) struct Parked {
    asleep: Asleep,
    context: Context,
    jails: Vec<ConfiguredJail>,
    jail: usize,
    verbose: i8,
    notes_removal: bool,
    jid_file: Option<String>,
    jid: Option<i32>,
    temporary_persist: bool,
    at: At,
    starting: bool,
    output: Output,
}

impl Parked {
    /// When it goes on, in virtual time.
    pub(crate) fn wakes(&self) -> Duration {
        self.asleep.wakes
    }

    /// Goes on until it ends, and its output is the answer, or until it waits again.
    pub(crate) fn go_on(self, host: &mut Emulator) -> Option<Output> {
        let options = Options {
            verbose: self.verbose,
            jid_file: self.jid_file,
            ..Options::default()
        };
        let mut run = Run::new(host, &self.context, &options, self.jails);
        run.notes_removal = self.notes_removal;
        run.output = self.output;
        let killed = self.asleep.inside
            && self
                .jid
                .and_then(|jid| run.host.kernel.jail(jid))
                .is_none_or(|jail| jail.dying);
        let failed = killed || self.asleep.timed_out;
        if failed {
            let how = if self.asleep.timed_out {
                "timed out"
            } else {
                "failed"
            };
            run.warn(self.jail, &format!("{}: {how}", self.asleep.line));
        }
        let mut work = Work::new(&mut run, self.jail);
        work.jid = self.jid;
        work.temporary_persist = self.temporary_persist;
        let At { place, number } = self.at;
        let next = At {
            place,
            number: number + 1,
        };
        // A stop whose hook fails leaves the jail where it is; a hook after the removal changes nothing any more.
        let left = failed && !self.starting && self.jid.is_some();
        if failed && self.starting {
            work.take_back(place, number);
        } else if self.starting {
            work.start_from(next);
        } else if !left {
            work.stop_from(next);
        }
        let output = run.finish();
        host.parked.is_none().then_some(output)
    }
}

impl Work<'_, '_> {
    /// Whether the hook is one for which jail(8) is put aside.
    pub(super) fn falls_asleep(
        &mut self,
        argv: &[String],
        inside: bool,
        timeout: Option<u64>,
    ) -> bool {
        let host = &self.run.host;
        let [program, seconds] = argv else {
            return false;
        };
        let Some(span) = seconds.parse().ok().map(Duration::from_secs) else {
            return false;
        };
        if !host.parks || !matches!(program.as_str(), "sleep" | "/bin/sleep") {
            return false;
        }
        let limit = timeout.map(Duration::from_secs);
        self.asleep = Some(Asleep {
            wakes: host.kernel.now + limit.map_or(span, |limit| limit.min(span)),
            line: argv.join(" "),
            inside,
            timed_out: limit.is_some_and(|limit| limit < span),
        });
        true
    }

    /// Puts the work aside until its hook wakes.
    pub(super) fn park(&mut self, at: At, starting: bool) -> bool {
        debug_assert!(
            at.place < START.len().max(STOP.len()),
            "a step that there is"
        );
        if let Some(asleep) = self.asleep.take() {
            let run = &mut *self.run;
            run.host.parked = Some(Parked {
                asleep,
                context: run.context.clone(),
                jails: run.jails.clone(),
                jail: self.at,
                verbose: run.verbose,
                notes_removal: run.notes_removal,
                jid_file: run.jid_file.clone(),
                jid: self.jid,
                temporary_persist: self.temporary_persist,
                at,
                starting,
                output: std::mem::take(&mut run.output),
            });
        }
        true
    }
}
