//! `-f`: parse, optimise, and load in one transaction (`pfctl_rules`).

use super::{Done, Exit, Run};
use crate::pf::optimize;
use crate::pf::parse::{Parsed, Request, parse};
use crate::pf::print::{Style, rule_text};
use crate::pf::rule::{Rule, Ruleset, RulesetKind};

/// The order in which pfctl loads the lists, and prints them with `-v`.
const ORDER: [RulesetKind; 5] = [
    RulesetKind::Scrub,
    RulesetKind::Nat,
    RulesetKind::Rdr,
    RulesetKind::Binat,
    RulesetKind::Filter,
];

impl Run<'_> {
    /// Loads a file, or standard input for `-`, and what its `load anchor` lines name. Nothing is loaded if any of it
    /// has an error.
    pub(super) fn load(&mut self, file: &str) -> Done {
        let anchor = self.anchor();
        let mut loads = vec![(anchor.clone(), self.read(file, &anchor)?)];
        let mut place = 0;
        while place < loads.len() {
            for (name, file) in loads[place].1.load_anchors.clone() {
                if self.options.verbose > 0 {
                    self.error(&format!("\nLoading anchor {name} from {file}"));
                }
                let parsed = self.read(&file, &name)?;
                // Only the outermost text may load further anchors.
                if place == 0 {
                    loads.push((name, parsed));
                }
            }
            place += 1;
        }
        if self.options.no_action {
            return Ok(());
        }
        let parts = self.parts();
        let now = self.facts.now();
        for (path, parsed) in &mut loads {
            if *path == anchor && path.is_empty() && parts.settings {
                self.pf
                    .apply_settings(parsed, self.options.merge, self.facts);
            }
            for kind in ORDER {
                self.drop_identical(parsed.rules.rules_mut(kind));
            }
            self.pf.load(path, parsed, parts, now);
        }
        Ok(())
    }

    /// The kernel takes a rule once: it refuses an identical one (`EEXIST`, `pf_ioctl_addrule`, sys/netpfil/pf/pf_ioctl.c), and pfctl goes on after it has said so (`pfctl_load_rule`).
    fn drop_identical(&mut self, rules: &mut Vec<Rule>) {
        let mut known: Vec<Rule> = Vec::with_capacity(rules.len());
        let mut taken = Vec::with_capacity(rules.len());
        for rule in std::mem::take(rules) {
            let meaning = Rule {
                number: 0,
                ..rule.clone()
            };
            if rule.anchor_call.is_empty() && known.contains(&meaning) {
                let text = rule_text(&rule, self.style(), None);
                self.print(&format!("{text} -- rule was already present"));
            } else {
                known.push(meaning);
                taken.push(rule);
            }
        }
        *rules = taken;
    }

    fn read(&mut self, file: &str, anchor: &str) -> Done<Parsed> {
        let (name, text) = if file == "-" {
            ("stdin", self.stdin.to_owned())
        } else {
            match self.facts.read_file(file) {
                Some(text) => (file, text),
                None if file == "/dev/null" => (file, String::new()),
                None => {
                    self.warn(&format!("pushfile: {file}: No such file or directory"));
                    self.warn("cannot open the main config file!: No such file or directory");
                    return self.refuse();
                }
            }
        };
        let mut lines = text.lines().zip(1..);
        if let Some((_, number)) = lines.find(|(line, _)| self.facts.lacks(line)) {
            self.error(&format!("{name}:{number}: syntax error"));
            return self.refuse();
        }
        let parts = self.parts();
        let mut parsed = parse(&Request {
            facts: self.facts,
            name,
            text: &text,
            macros: &self.options.macros,
            anchor,
            verbose: self.options.verbose > 0,
            with_settings: parts.settings,
            with_tables: parts.tables,
        });
        self.output.stdout.push_str(&parsed.stdout);
        self.output.stderr.push_str(&parsed.stderr);
        if parsed.failed {
            return self.refuse();
        }
        let optimize = match self.options.optimize {
            Some(level) => level != "none",
            None => parsed.settings.optimize.unwrap_or(true),
        };
        if optimize {
            let seed = u32::try_from(self.facts.now().as_millis() & 0xffff_ffff).unwrap_or(0);
            optimize::optimize(&mut parsed, self.facts, seed);
        }
        for kind in ORDER {
            expand_labels(&mut parsed.rules, kind);
        }
        if self.options.verbose > 0 {
            for kind in ORDER {
                let wanted = match kind {
                    RulesetKind::Scrub | RulesetKind::Filter => parts.filter,
                    RulesetKind::Nat | RulesetKind::Binat | RulesetKind::Rdr => parts.translation,
                };
                if wanted {
                    self.print_loaded(&parsed.rules, kind, 0);
                }
            }
        }
        Ok(parsed)
    }

    fn refuse<T>(&mut self) -> Done<T> {
        if !self.options.no_action {
            self.warn("Syntax error in config file: pf rules not loaded");
        }
        Err(Exit(1))
    }

    /// What `-v` shows of a list while it is loaded.
    fn print_loaded(&mut self, rules: &Ruleset, kind: RulesetKind, depth: usize) {
        let numbered = self.options.verbose > 1;
        let style = Style {
            numbered,
            numeric: self.options.numeric,
        };
        for rule in rules.rules(kind) {
            let indent = if numbered {
                String::new()
            } else {
                "  ".repeat(depth)
            };
            let text = rule_text(rule, style, Some(&|_, _| None));
            match &rule.inline {
                Some(inline) if !inline.rules(kind).is_empty() => {
                    self.print(&format!("{indent}{text} {{"));
                    self.print_loaded(inline, kind, depth + 1);
                    self.print(&format!("{}}}", "  ".repeat(depth)));
                }
                Some(_) | None => self.print(&format!("{indent}{text}")),
            }
        }
    }
}

/// `expand_label`: `$if`, `$srcaddr` and their kin in labels and tags.
fn expand_labels(rules: &mut Ruleset, kind: RulesetKind) {
    for rule in rules.rules_mut(kind) {
        if let Some(inline) = rule.inline.as_mut() {
            expand_labels(inline, kind);
        }
        let sample = rule.clone();
        for label in rule
            .labels
            .iter_mut()
            .chain([&mut rule.tag, &mut rule.tagged])
        {
            if label.contains('$') {
                *label = expanded(label, &sample);
            }
        }
        // A label that came out empty ends the list.
        let kept = rule
            .labels
            .iter()
            .take_while(|label| !label.is_empty())
            .count();
        rule.labels.truncate(kept);
    }
}

fn expanded(label: &str, rule: &Rule) -> String {
    use crate::pf::names;
    use crate::pf::rule::{Address, Op, RuleAddress};
    let address = |end: &RuleAddress| {
        let text = match &end.address {
            Address::Interface { name, .. } => format!("({name})"),
            Address::Any
            | Address::Net { .. }
            | Address::Range { .. }
            | Address::Table(_)
            | Address::NoRoute
            | Address::UrpfFailed => crate::pf::print::address_text(&end.address, rule.af),
        };
        if end.negated {
            format!("! {text}")
        } else {
            text
        }
    };
    let port = |end: &RuleAddress| match end.port {
        None => String::new(),
        Some(port) => {
            let (first, last) = (port.first, port.last);
            match port.op {
                Op::Inside => format!("{first}><{last}"),
                Op::Outside => format!("{first}<>{last}"),
                Op::Equal => first.to_string(),
                Op::NotEqual => format!("!={first}"),
                Op::Less => format!("<{first}"),
                Op::LessEqual => format!("<={first}"),
                Op::Greater => format!(">{first}"),
                Op::GreaterEqual => format!(">={first}"),
                Op::Range => String::new(),
            }
        }
    };
    let interface = if rule.interface.is_empty() {
        "any"
    } else {
        rule.interface.as_str()
    };
    let protocol = names::protocol_name(rule.protocol)
        .map_or_else(|| rule.protocol.to_string(), str::to_owned);
    label
        .replace("$if", interface)
        .replace("$srcaddr", &address(&rule.source))
        .replace("$dstaddr", &address(&rule.destination))
        .replace("$srcport", &port(&rule.source))
        .replace("$dstport", &port(&rule.destination))
        .replace("$proto", &protocol)
        .replace("$nr", &rule.number.to_string())
}
