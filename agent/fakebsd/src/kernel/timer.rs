//! What the kernel does later: callouts on virtual time.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::Kernel;
use super::ifnet::IfId;

/// One pending callout.
#[derive(Clone, Debug)]
pub(crate) enum Timer {
    /// Duplicate address detection is over.
    Dad { interface: IfId, address: Ipv6Addr },
    /// A dying jail may be gone.
    JailGone { jid: i32 },
    /// A process ends by itself.
    ProcessExits { pid: u32 },
}

impl Kernel {
    pub(crate) fn schedule(&mut self, after: Duration, timer: Timer) {
        self.timer_sequence += 1;
        self.timers
            .insert((self.now + after, self.timer_sequence), timer);
    }

    /// Lets time pass and fires what falls due, in order.
    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        while let Some(entry) = self.timers.first_entry() {
            let (at, _) = *entry.key();
            if at > until {
                break;
            }
            let timer = entry.remove();
            self.now = self.now.max(at);
            match timer {
                Timer::Dad { interface, address } => self.finish_dad(interface, address),
                Timer::JailGone { jid } => self.dying_stack_may_go(jid),
                Timer::ProcessExits { pid } => self.process_exits(pid),
            }
        }
        self.now = until;
    }
}
