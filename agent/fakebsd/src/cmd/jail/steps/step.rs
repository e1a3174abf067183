//! Which steps there are and in which order they stand (startcommands and stopcommands of usr.sbin/jail/jail.c).

/// One kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Prepare,
    Inet,
    Inet6,
    Mount,
    Fstab,
    Devfs,
    Fdescfs,
    Procfs,
    Prestart,
    Operation,
    Created,
    Dataset,
    Interface,
    Start,
    Command,
    Poststart,
    Prestop,
    Stop,
    Terminate,
    Poststop,
    Release,
}

pub(super) const START: &[Step] = &[
    Step::Prepare,
    Step::Inet,
    Step::Inet6,
    Step::Mount,
    Step::Fstab,
    Step::Devfs,
    Step::Fdescfs,
    Step::Procfs,
    Step::Prestart,
    Step::Operation,
    Step::Created,
    Step::Dataset,
    Step::Interface,
    Step::Start,
    Step::Command,
    Step::Poststart,
];

pub(super) const STOP: &[Step] = &[
    Step::Prestop,
    Step::Stop,
    Step::Terminate,
    Step::Operation,
    Step::Poststop,
    Step::Procfs,
    Step::Fdescfs,
    Step::Devfs,
    Step::Fstab,
    Step::Mount,
    Step::Inet6,
    Step::Inet,
    Step::Release,
];

impl Step {
    /// The parameter whose values are the step's commands.
    pub(super) fn parameter(self) -> &'static str {
        match self {
            Self::Prepare => "exec.prepare",
            Self::Inet => "ip4.addr",
            Self::Inet6 => "ip6.addr",
            Self::Mount => "mount",
            Self::Fstab => "mount.fstab",
            Self::Devfs => "mount.devfs",
            Self::Fdescfs => "mount.fdescfs",
            Self::Procfs => "mount.procfs",
            Self::Prestart => "exec.prestart",
            Self::Operation => "",
            Self::Created => "exec.created",
            Self::Dataset => "zfs.dataset",
            Self::Interface => "vnet.interface",
            Self::Start => "exec.start",
            Self::Command => "command",
            Self::Poststart => "exec.poststart",
            Self::Prestop => "exec.prestop",
            Self::Stop => "exec.stop",
            Self::Terminate => "stop.timeout",
            Self::Poststop => "exec.poststop",
            Self::Release => "exec.release",
        }
    }

    /// Steps that are not taken back when a start fails: the hooks.
    pub(super) fn is_hook(self) -> bool {
        matches!(
            self,
            Self::Prepare
                | Self::Prestart
                | Self::Created
                | Self::Start
                | Self::Command
                | Self::Poststart
        )
    }

    pub(super) fn runs_inside(self) -> bool {
        matches!(self, Self::Start | Self::Command | Self::Stop)
    }
}
