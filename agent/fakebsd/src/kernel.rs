//! The model of the kernel: everything that a reboot takes away.

use std::time::Duration;

use crate::hardware::HardwareProfile;
use crate::release::Release;

/// The state of the emulated kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Which FreeBSD this is.
    pub release: Release,
    /// Virtual time since the host was made; a reboot does not set it back.
    pub now: Duration,
}

impl Kernel {
    /// The kernel of a host that has just booted.
    pub fn boot(release: Release, _hardware: &HardwareProfile, now: Duration) -> Self {
        Self { release, now }
    }

    /// Everything observable as sorted lines, for comparing a host before and after.
    pub fn fingerprint(&self) -> Vec<String> {
        Vec::new()
    }
}
