//! `-s`: anchors, states, interfaces, timeouts, limits, and `all`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::rules::Format;
use super::{Done, Run};
use crate::pf::facts::Release;
use crate::pf::kernel::State;
use crate::pf::names::{self, LIMITS, TIMEOUTS};
use crate::pf::rule::{Direction, ScrubActions};

#[rustfmt::skip]
const TCP_STATES: [&str; 11] = [
    "CLOSED", "LISTEN", "SYN_SENT", "SYN_RCVD", "ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT_1", "CLOSING", "LAST_ACK",
    "FIN_WAIT_2", "TIME_WAIT",
];
const OTHER_STATES: [&str; 3] = ["NO_TRAFFIC", "SINGLE", "MULTIPLE"];

impl Run<'_> {
    /// A title of `-s all`, with a blank line before all but the first.
    pub(super) fn title(&mut self, title: &str) {
        if std::mem::replace(&mut self.titled, true) {
            self.print("");
        }
        self.print(title);
    }

    pub(super) fn show(&mut self, what: &str) -> Done {
        let anchor = self.anchor();
        match what {
            "Anchors" => self.show_anchors(&anchor)?,
            "rules" => self.show_rules(&anchor, Format::Rules, 0, false),
            "labels" => self.show_rules(&anchor, Format::Labels, 0, false),
            "nat" => self.show_nat(&anchor, 0, false)?,
            "states" => self.show_states(false),
            "info" => self.show_info(),
            "Running" => {
                self.print(if self.pf.enabled {
                    "Enabled"
                } else {
                    "Disabled"
                });
                self.output.status = i32::from(!self.pf.enabled);
            }
            "timeouts" => self.show_timeouts(),
            "memory" => self.show_limits(),
            "Tables" => self.show_tables(false)?,
            "Interfaces" => self.show_interfaces(),
            "creatorids" => self.show_creators(),
            "all" => self.show_all(&anchor)?,
            // No Ethernet rules, no ALTQ, no source nodes, no fingerprints are kept.
            _ => {}
        }
        Ok(())
    }

    fn show_all(&mut self, anchor: &str) -> Done {
        self.show_nat(anchor, 0, true)?;
        self.show_rules(anchor, Format::Rules, 0, true);
        self.show_states(true);
        self.title("INFO:");
        self.show_info();
        self.show_rules(anchor, Format::Labels, 0, true);
        self.title("TIMEOUTS:");
        self.show_timeouts();
        self.title("LIMITS:");
        self.show_limits();
        self.show_tables(true)
    }

    /// `-s Anchors` lists everything below; names that begin with `_` only with `-v`.
    fn show_anchors(&mut self, anchor: &str) -> Done {
        if self.pf.anchor(anchor).is_none() {
            return self.die("Anchor does not exist.");
        }
        let mut paths = Vec::new();
        self.walk(anchor, &mut |path| paths.push(path.to_owned()));
        for path in paths {
            if !path.starts_with('_') || self.options.verbose > 0 {
                self.print(&format!("  {path}"));
            }
        }
        if self.options.verbose > 1 {
            self.print("Ethernet:");
        }
        Ok(())
    }

    fn show_states(&mut self, all: bool) {
        let wanted = self.options.interface.clone();
        let states: Vec<State> = self
            .pf
            .states()
            .filter(|state| {
                let name = state
                    .interface
                    .as_ref()
                    .unwrap_or(&state.original_interface);
                wanted.as_ref().is_none_or(|wanted| wanted == name)
            })
            .cloned()
            .collect();
        if all && !states.is_empty() {
            self.title("STATES:");
        }
        for state in states {
            self.show_state(&state);
        }
    }

    /// `print_state`: the wire or the stack first, in brackets what differs on the other side.
    fn show_state(&mut self, state: &State) {
        let (far, near) = match state.direction {
            Direction::Out => (&state.wire, &state.stack),
            Direction::In => (&state.stack, &state.wire),
        };
        let protocol = state.wire.protocol;
        let name =
            names::protocol_name(protocol).map_or_else(|| protocol.to_string(), str::to_owned);
        let interface = state.interface.as_deref().unwrap_or("all");
        let end = |place: usize| {
            let (shown, other) = (far.ends[place], near.ends[place]);
            let icmp = matches!(protocol, 1 | 58);
            // For ICMP one side's identifier is shown for both.
            let hidden = icmp && place == usize::from(state.direction == Direction::In);
            let other = if hidden { (other.0, shown.1) } else { other };
            if shown == other {
                host_text(shown)
            } else {
                format!("{} ({})", host_text(shown), host_text(other))
            }
        };
        let arrow = if state.direction == Direction::Out {
            "->"
        } else {
            "<-"
        };
        let [begin, answer] = state.progress;
        let (left, right) = if state.direction == Direction::Out {
            (begin, answer)
        } else {
            (answer, begin)
        };
        let level = |value: u8| match protocol {
            6 => TCP_STATES
                .get(usize::from(value))
                .map_or_else(|| value.to_string(), |name| (*name).to_owned()),
            1 | 58 => value.to_string(),
            _ => OTHER_STATES
                .get(usize::from(value))
                .map_or_else(|| value.to_string(), |name| (*name).to_owned()),
        };
        let line = format!(
            "{interface} {name} {} {arrow} {}       {}:{}",
            end(1),
            end(0),
            level(left),
            level(right)
        );
        self.print(&line);
        if self.options.verbose > 0 {
            self.show_state_details(state);
        }
    }

    fn show_state_details(&mut self, state: &State) {
        if state.wire.protocol == 6 {
            self.print("   [0 + 1]  [0 + 1]");
        }
        let now = self.facts.now();
        let age = clock(now.saturating_sub(state.created));
        let left = clock(state.expires.saturating_sub(now));
        let ([there, back], [bytes_there, bytes_back]) = (state.packets, state.bytes);
        let mut line = format!(
            "   age {age}, expires in {left}, {there}:{back} pkts, {bytes_there}:{bytes_back} bytes"
        );
        if state.rule.is_some() {
            line.push_str(&format!(", rule {}", state.rule_number));
        }
        let [no_sync, sloppy, pflow, allow_options] = state.flags;
        let words = [
            (allow_options, "allow-opts"),
            (sloppy, "sloppy"),
            (no_sync, "no-sync"),
            (pflow, "pflow"),
        ];
        for (_, word) in words.iter().filter(|(set, _)| *set) {
            line.push_str(&format!(", {word}"));
        }
        line.push_str(&scrub_words(&state.scrub));
        self.print(&line);
        if self.options.verbose > 1 {
            let route = state
                .route
                .map_or_else(String::new, |hop| format!(" route-to: {hop}"));
            self.print(&format!(
                "   id: {:016x} creatorid: {:08x}{route}",
                state.id, self.pf.host_id
            ));
            if state.interface.as_ref() != Some(&state.original_interface) {
                self.print(&format!("   origif: {}", state.original_interface));
            }
        }
    }

    fn show_timeouts(&mut self) {
        for (place, (name, _)) in TIMEOUTS.iter().enumerate() {
            let unit = if name.starts_with("adaptive") {
                " states"
            } else {
                "s"
            };
            let line = format!("{name:<20} {:>10}{unit}", self.pf.timeouts[place]);
            self.print(&line);
        }
    }

    /// 14 knows no limits of anchors.
    fn show_limits(&mut self) {
        let count = if self.facts.release() == Release::V15 {
            LIMITS.len()
        } else {
            4
        };
        for (place, (name, _)) in LIMITS.iter().enumerate().take(count) {
            let line = match self.pf.limits[place] {
                u32::MAX => format!("{name:<13} unlimited"),
                limit => format!("{name:<13} hard limit {limit:>8}"),
            };
            self.print(&line);
        }
    }

    /// Interfaces, their groups, and what rules name though it does not exist.
    fn show_interfaces(&mut self) {
        let mut names: BTreeSet<String> = BTreeSet::from(["all".to_owned()]);
        for name in self.facts.interface_names() {
            names.extend(
                self.facts
                    .interface(&name)
                    .into_iter()
                    .flat_map(|interface| interface.groups),
            );
            names.insert(name);
        }
        names.extend(self.pf.skip.iter().cloned());
        let paths: Vec<String> = self
            .pf
            .anchor_paths()
            .map(str::to_owned)
            .chain([String::new()])
            .collect();
        for path in paths {
            let Some(anchor) = self.pf.anchor(&path) else {
                continue;
            };
            for kind in crate::pf::rule::RulesetKind::ALL {
                names.extend(
                    anchor
                        .rules(kind)
                        .iter()
                        .map(|rule| rule.rule.interface.clone()),
                );
            }
        }
        names.remove("");
        let wanted = self.options.interface.clone();
        let shown = |name: &String| {
            let Some(wanted) = &wanted else { return true };
            name == wanted
                || self
                    .facts
                    .interface(name)
                    .is_some_and(|found| found.groups.contains(wanted))
        };
        let names: Vec<String> = names.iter().filter(|name| shown(name)).cloned().collect();
        for name in names {
            let skip = self.options.verbose > 0 && self.pf.skip.contains(&name);
            self.print(&format!("{name}{}", if skip { " (skip)" } else { "" }));
            if self.options.verbose > 1 {
                let cleared = self.date(Duration::ZERO);
                self.print(&format!("\tCleared:     {cleared}"));
                self.print(&format!("\tReferences:  {:<18}", 0));
                for family in ["4", "6"] {
                    for way in ["In", "Out"] {
                        for verdict in ["Pass", "Block"] {
                            let text = format!("{way}{family}/{verdict}:");
                            self.print(&format!(
                                "\t{text:<12} [ Packets: {:<18} Bytes: {:<18} ]",
                                0, 0
                            ));
                        }
                    }
                }
            }
        }
    }

    fn show_creators(&mut self) {
        self.print("Creator IDs:");
        if self.pf.states().next().is_some() {
            let line = format!("{:08x}", self.pf.host_id);
            self.print(&line);
        }
    }
}

/// An address with its port (`print_host`).
fn host_text((address, port): (IpAddr, u16)) -> String {
    match (address, port) {
        (_, 0) => address.to_string(),
        (IpAddr::V4(_), _) => format!("{address}:{port}"),
        (IpAddr::V6(_), _) => format!("{address}[{port}]"),
    }
}

/// Hours, minutes and seconds.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// What the packets of a state are scrubbed of, in the order of `print_state` (sbin/pfctl/pf_print_state.c).
fn scrub_words(scrub: &ScrubActions) -> String {
    let number = |word: &str, value: u16| (value != 0).then(|| format!("{word} {value}"));
    let words = [
        scrub.no_df.then(|| "no-df".to_owned()),
        scrub.set_tos.map(|tos| format!("set-tos {tos:#04x}")),
        scrub.random_id.then(|| "random-id".to_owned()),
        scrub.reassemble_tcp.then(|| "reassemble-tcp".to_owned()),
        scrub
            .set_prio
            .map(|(low, high)| format!("set-prio ({low:#04x} {high:#04x})")),
        number("min-ttl", scrub.min_ttl.into()),
        number("max-mss", scrub.max_mss),
    ];
    let words = words.into_iter().flatten();
    words.map(|word| format!(", {word}")).collect()
}
