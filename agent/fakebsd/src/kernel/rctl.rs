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
    "deny", "log", "devctl", "throttle", "sigterm", "sigkill", "sighup", "sigint", "sigusr1",
    "sigusr2", "sigxcpu",
];

const SUBJECTS: &[&str] = &["process", "user", "loginclass", "jail"];

/// One rule, or a filter when parts are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) subject: String,
    pub(crate) subject_id: String,
    pub(crate) resource: String,
    pub(crate) action: String,
    pub(crate) amount: Option<i64>,
}

impl Rule {
    /// Parses `subject:id:resource:action=amount`; EINVAL for words the kernel does not know.
    pub(crate) fn parse(text: &str) -> Result<Self, Errno> {
        let mut parts = text.splitn(4, ':');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let (subject, subject_id, resource, rest) = (next(), next(), next(), next());
        let (action, amount) = match rest.split_once('=') {
            Some((action, amount)) => (
                action.to_owned(),
                Some(expand_number(amount).ok_or(Errno::EINVAL)?),
            ),
            None => (rest, None),
        };
        let known = |word: &str, list: &[&str]| word.is_empty() || list.contains(&word);
        if !known(&subject, SUBJECTS) || !known(&resource, RESOURCES) || !known(&action, ACTIONS) {
            return Err(Errno::EINVAL);
        }
        Ok(Self {
            subject,
            subject_id,
            resource,
            action,
            amount,
        })
    }

    pub(crate) fn matches(&self, rule: &Rule) -> bool {
        let fits = |want: &str, have: &str| want.is_empty() || want == have;
        fits(&self.subject, &rule.subject)
            && fits(&self.subject_id, &rule.subject_id)
            && fits(&self.resource, &rule.resource)
            && fits(&self.action, &rule.action)
            && self.amount.is_none_or(|amount| rule.amount == Some(amount))
    }

    pub(crate) fn text(&self) -> String {
        format!(
            "{}:{}:{}:{}={}",
            self.subject,
            self.subject_id,
            self.resource,
            self.action,
            self.amount.unwrap_or(0)
        )
    }
}

/// `512M` is 536870912.
fn expand_number(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..].to_ascii_lowercase()[..] {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_shl(shift)
}

impl Kernel {
    /// RCTL_ADD_RULE: a rule needs all its parts; the newest stands first (recording `08`). A rule that is there is not added again.
    pub(crate) fn rctl_add(&mut self, rule: Rule) -> Result<(), Errno> {
        if rule.subject.is_empty()
            || rule.subject_id.is_empty()
            || rule.resource.is_empty()
            || rule.action.is_empty()
            || rule.amount.is_none()
        {
            return Err(Errno::EINVAL);
        }
        if !self.rctl.contains(&rule) {
            self.rctl.insert(0, rule);
        }
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
