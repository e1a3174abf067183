//! `-s info` (`print_status`), and dates.

use std::time::Duration;

use super::Run;
use super::show::clock;
use crate::pf::facts::Release;
use crate::pf::kernel::REASONS;

impl Run<'_> {
    /// Status, counters and their rates. 14 prints two reasons less.
    pub(super) fn show_info(&mut self) {
        let runtime = self.facts.now().saturating_sub(self.pf.since);
        let days = runtime.as_secs() / 86_400;
        let time = clock(Duration::from_secs(runtime.as_secs() % 86_400));
        let running = if self.pf.enabled {
            "Enabled"
        } else {
            "Disabled"
        };
        let debug = ["None", "Urgent", "Misc", "Loud"][usize::from(self.pf.debug.min(3))];
        let status = format!("Status: {running} for {days} days {time}");
        self.print(&format!("{status:<44}{:>15}", format!("Debug: {debug}")));
        self.print("");
        if self.options.verbose > 0 {
            let host_id = self.pf.host_id;
            self.print(&format!("Hostid:   0x{host_id:08x}"));
            self.print(&format!("Checksum: 0x{}", "0".repeat(32)));
            self.print("");
        }
        self.interface_statistics();
        self.print(&format!(
            "{:<27} {:>14} {:>16}",
            "State Table", "Total", "Rate"
        ));
        let entries = self.pf.states.len();
        self.print(&format!(
            "  {:<25} {entries:>14} {:>14}",
            "current entries", ""
        ));
        let statistics = self.pf.statistics.clone();
        let seconds = runtime.as_secs();
        for (name, count) in [
            ("searches", statistics.searches),
            ("inserts", statistics.inserts),
            ("removals", statistics.removals),
        ] {
            self.counter(name, count, seconds);
        }
        if self.options.verbose > 0 {
            self.print("Source Tracking Table");
            self.print(&format!("  {:<25} {:>14} {:>14}", "current entries", 0, ""));
            for name in ["searches", "inserts", "removals"] {
                self.counter(name, 0, seconds);
            }
        }
        self.print("Counters");
        let count = if self.facts.release() == Release::V15 {
            REASONS.len()
        } else {
            REASONS.len() - 1
        };
        for (place, name) in REASONS.iter().enumerate().take(count) {
            self.counter(
                name,
                statistics.reasons.get(&place).copied().unwrap_or(0),
                seconds,
            );
        }
        if self.options.verbose > 0 {
            self.limit_counters(seconds);
        }
    }

    fn counter(&mut self, name: &str, count: u64, seconds: u64) {
        let rate = if seconds > 0 {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a rate with one digit needs no more"
            )]
            let rate = count as f64 / seconds as f64;
            format!("{rate:>14.1}/s")
        } else {
            " ".repeat(14)
        };
        self.print(&format!("  {name:<25} {count:>14} {rate}"));
    }

    fn interface_statistics(&mut self) {
        if self.pf.log_interface.is_empty() {
            return;
        }
        let name = self.pf.log_interface.clone();
        self.print(&format!(
            "Interface Stats for {name:<16} {:>5} {:>16}",
            "IPv4", "IPv6"
        ));
        for name in ["Bytes In", "Bytes Out"] {
            self.print(&format!("  {name:<25} {:>14} {:>16}", 0, 0));
        }
        for title in ["Packets In", "Packets Out"] {
            self.print(&format!("  {title}"));
            for name in ["Passed", "Blocked"] {
                self.print(&format!("    {name:<23} {:>14} {:>16}", 0, 0));
            }
        }
        self.print("");
    }

    fn limit_counters(&mut self, seconds: u64) {
        self.print("Limit Counters");
        for name in [
            "max states per rule",
            "max-src-states",
            "max-src-nodes",
            "max-src-conn",
            "max-src-conn-rate",
            "overload table insertion",
            "overload flush states",
            "synfloods detected",
            "syncookies sent",
            "syncookies validated",
        ] {
            self.counter(name, 0, seconds);
        }
        self.print("Syncookies");
        self.print(&format!("  {:<25} never", "mode"));
        self.print(&format!("  {:<25} inactive", "active"));
        let (yes, no_df) = self.pf.reassemble;
        let (yes, no_df) = (
            if yes { "yes" } else { "no" },
            if no_df { "no-df" } else { "" },
        );
        self.print(&format!("Reassemble {yes:>24} {no_df}"));
    }

    /// A moment since boot as ctime(3) writes it, in UTC.
    pub(super) fn date(&self, since_boot: Duration) -> String {
        let seconds = self.facts.boot_epoch_s() + i64::try_from(since_boot.as_secs()).unwrap_or(0);
        let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
            [usize::try_from(days.rem_euclid(7)).unwrap_or(0)];
        let names = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let month = names[usize::try_from(month - 1).unwrap_or(0)];
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        format!("{weekday} {month} {day:>2} {hour:02}:{minute:02}:{second:02} {year}")
    }
}

/// Year, month and day of a number of days since 1970 (the usual arithmetic of eras of 400 years).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_place = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_place + 2) / 5 + 1;
    let month = if month_place < 10 {
        month_place + 3
    } else {
        month_place - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}
