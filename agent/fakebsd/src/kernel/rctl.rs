//! Resource limits as rules (sys/kern/kern_rctl.c). Usage is always nothing: the emulated jails do no work.

use super::Kernel;
use super::errno::Errno;

/// The resources in the order `rctl -u` lists them (recording `08`).
pub(crate) const RESOURCES: &[&str] = &[
    "cputime",
    "datasize",
    "stacksize",
    "coredumpsize",
    "memoryuse",
    "memorylocked",
    "maxproc",
    "openfiles",
    "vmemoryuse",
    "pseudoterminals",
    "swapuse",
    "nthr",
    "msgqqueued",
    "msgqsize",
    "nmsgq",
    "nsem",
    "nsemop",
    "nshm",
    "shmsize",
    "wallclock",
    "pcpu",
    "readbps",
    "writebps",
    "readiops",
    "writeiops",
];

const ACTIONS: &[&str] = &[
    "sighup",
    "sigint",
    "sigquit",
    "sigill",
    "sigtrap",
    "sigabrt",
    "sigemt",
    "sigfpe",
    "sigkill",
    "sigbus",
    "sigsegv",
    "sigsys",
    "sigpipe",
    "sigalrm",
    "sigterm",
    "sigurg",
    "sigstop",
    "sigtstp",
    "sigchld",
    "sigttin",
    "sigttou",
    "sigio",
    "sigxcpu",
    "sigxfsz",
    "sigvtalrm",
    "sigprof",
    "sigwinch",
    "siginfo",
    "sigusr1",
    "sigusr2",
    "sigthr",
    "deny",
    "log",
    "devctl",
    "throttle",
];

/// Resources that cannot be denied: not `RACCT_DENIABLE`, but for memoryuse and pcpu, which are limited in another way.
const UNDENIABLE: &[&str] = &[
    "cputime",
    "wallclock",
    "readbps",
    "writebps",
    "readiops",
    "writeiops",
];

/// `RACCT_DECAYING`, but for pcpu.
const THROTTLED: &[&str] = &["readbps", "writebps", "readiops", "writeiops"];

/// `RACCT_SLOPPY`.
const NOT_PER_PROCESS: &[&str] = &[
    "pseudoterminals",
    "swapuse",
    "msgqqueued",
    "msgqsize",
    "nmsgq",
    "nsem",
    "nshm",
    "shmsize",
];

/// `RACCT_IN_MILLIONS`.
const IN_MILLIONS: &[&str] = &["cputime", "wallclock", "pcpu"];

const SUBJECTS: &[&str] = &["process", "user", "loginclass", "jail"];

/// One rule, or a filter when parts are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) subject: String,
    pub(crate) subject_id: String,
    pub(crate) resource: String,
    pub(crate) action: String,
    pub(crate) amount: Option<i64>,
    pub(crate) per: String,
}

impl Rule {
    /// Parses `subject:id:resource:action=amount/per` (rctl_string_to_rule); EINVAL for words the kernel does not know.
    pub(crate) fn parse(text: &str) -> Result<Self, Errno> {
        let mut parts = text.splitn(4, ':');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let (subject, subject_id, resource, rest) = (next(), next(), next(), next());
        let (rest, per) = match rest.split_once('/') {
            Some((rest, per)) => (rest.to_owned(), per.to_owned()),
            None => (rest, String::new()),
        };
        let (action, amount) = match rest.split_once('=') {
            Some((action, "")) => (action.to_owned(), None),
            Some((action, amount)) => (
                action.to_owned(),
                Some(expand_number(amount).ok_or(Errno::EINVAL)?),
            ),
            None => (rest, None),
        };
        let known = |word: &str, list: &[&str]| word.is_empty() || list.contains(&word);
        if !known(&subject, SUBJECTS)
            || subject.is_empty() && !subject_id.is_empty()
            || !known(&resource, RESOURCES)
            || !known(&action, ACTIONS)
            || !known(&per, SUBJECTS)
        {
            return Err(Errno::EINVAL);
        }
        if IN_MILLIONS.contains(&resource.as_str())
            && amount.is_some_and(|amount| amount > i64::MAX / 1_000_000)
        {
            return Err(Errno::ERANGE);
        }
        Ok(Self {
            subject,
            subject_id,
            resource,
            action,
            amount,
            per,
        })
    }

    pub(crate) fn matches(&self, rule: &Rule) -> bool {
        let fits = |want: &str, have: &str| want.is_empty() || want == have;
        fits(&self.subject, &rule.subject)
            && fits(&self.subject_id, &rule.subject_id)
            && fits(&self.resource, &rule.resource)
            && fits(&self.action, &rule.action)
            && self.amount.is_none_or(|amount| rule.amount == Some(amount))
            && fits(&self.per, &rule.per)
    }

    /// rctl_rule_to_sbuf.
    pub(crate) fn text(&self) -> String {
        let per = if self.per == self.subject {
            String::new()
        } else {
            format!("/{}", self.per)
        };
        format!(
            "{}:{}:{}:{}={}{per}",
            self.subject,
            self.subject_id,
            self.resource,
            self.action,
            self.amount.unwrap_or(0)
        )
    }
}

/// expand_number(3), which rctl(8) asks: `512M` is 536870912.
fn expand_number(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = text[digits.len()..].to_ascii_lowercase();
    let shift = match suffix.strip_suffix('b').unwrap_or(&suffix) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        "e" => 60,
        _ => return None,
    };
    let number = digits.parse::<i64>().ok().filter(|number| *number >= 0)?;
    (number <= i64::MAX >> shift).then(|| number << shift)
}

impl Kernel {
    /// RCTL_ADD_RULE (`sys_rctl_add_rule`, `rctl_rule_add`): a rule needs all its parts but what its amount counts for; the newest stands first (recording `08`). A `deny` rule takes the place of one
    /// of another amount, any other only of its equal.
    pub(crate) fn rctl_add(&mut self, mut rule: Rule) -> Result<(), Errno> {
        if rule.per.is_empty() {
            rule.per.clone_from(&rule.subject);
        }
        if rule.subject.is_empty()
            || rule.subject_id.is_empty()
            || rule.resource.is_empty()
            || rule.action.is_empty()
            || rule.amount.is_none()
        {
            return Err(Errno::EINVAL);
        }
        let is = |list: &[&str]| list.contains(&rule.resource.as_str());
        if rule.action == "deny" && is(UNDENIABLE)
            || rule.action == "throttle" && !is(THROTTLED)
            || rule.per == "process" && is(NOT_PER_PROCESS)
        {
            return Err(Errno::EOPNOTSUPP);
        }
        let amount = rule.amount.filter(|_| rule.action != "deny");
        let place = Rule {
            amount,
            ..rule.clone()
        };
        self.rctl.retain(|other| !place.matches(other));
        self.rctl.insert(0, rule);
        Ok(())
    }

    /// RCTL_REMOVE_RULE: ESRCH when the filter fits none.
    pub(crate) fn rctl_remove(&mut self, filter: &Rule) -> Result<(), Errno> {
        let before = self.rctl.len();
        self.rctl.retain(|rule| !filter.matches(rule));
        if self.rctl.len() == before {
            Err(Errno::ESRCH)
        } else {
            Ok(())
        }
    }
}
