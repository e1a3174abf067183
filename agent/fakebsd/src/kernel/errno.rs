//! The errors the kernel answers with, and strerror(3)'s words for them. Programs print them; the kernel only returns them.

/// An errno value; only those that the emulated kernel can return.
#[expect(
    clippy::upper_case_acronyms,
    reason = "errno names are written as errno(2) writes them"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errno {
    EPERM,
    ENOENT,
    ESRCH,
    ENXIO,
    EDEADLK,
    EBUSY,
    EEXIST,
    EINVAL,
    ENAMETOOLONG,
    EOPNOTSUPP,
    EADDRINUSE,
    EADDRNOTAVAIL,
    EISCONN,
    ENOTCONN,
    ELOOP,
    ENOSYS,
    EPFNOSUPPORT,
    EPROTONOSUPPORT,
    ENOSPC,
    ENOTCAPABLE,
    ENOBUFS,
    EALREADY,
    ERANGE,
}

impl Errno {
    /// strerror(3).
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::EPERM => "Operation not permitted",
            Self::ENOENT => "No such file or directory",
            Self::ESRCH => "No such process",
            Self::ENXIO => "Device not configured",
            Self::EDEADLK => "Resource deadlock avoided",
            Self::EBUSY => "Device busy",
            Self::EEXIST => "File exists",
            Self::EINVAL => "Invalid argument",
            Self::ENAMETOOLONG => "File name too long",
            Self::EOPNOTSUPP => "Operation not supported",
            Self::EADDRINUSE => "Address already in use",
            Self::EISCONN => "Socket is already connected",
            Self::ENOTCONN => "Socket is not connected",
            Self::ELOOP => "Too many levels of symbolic links",
            Self::ENOSYS => "Function not implemented",
            Self::EADDRNOTAVAIL => "Can't assign requested address",
            Self::EPFNOSUPPORT => "Protocol family not supported",
            Self::EPROTONOSUPPORT => "Protocol not supported",
            Self::ENOSPC => "No space left on device",
            Self::ENOTCAPABLE => "Capabilities insufficient",
            Self::ENOBUFS => "No buffer space available",
            Self::EALREADY => "Operation already in progress",
            Self::ERANGE => "Result too large",
        }
    }
}

/// What the bridge(4) and vnet code of 15 answers: errno and, behind it, the sentence ifconfig prints in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) errno: Errno,
    pub(crate) reason: Option<&'static str>,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self {
            errno,
            reason: None,
        }
    }
}

impl Refusal {
    pub(crate) fn because(errno: Errno, reason: &'static str) -> Self {
        Self {
            errno,
            reason: Some(reason),
        }
    }
}
