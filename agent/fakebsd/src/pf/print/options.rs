//! What stands behind `keep state`: probability, state options, scrub actions, labels, tags, queues, routes.

use crate::pf::names::TIMEOUTS;
use crate::pf::rule::{Action, Rule};

/// `set ( … )`.
pub(super) fn set_text(rule: &Rule, text: &mut String) {
    let mut parts = Vec::new();
    match rule.scrub.set_prio {
        Some((first, second)) if first == second => parts.push(format!(" prio {first}")),
        Some((first, second)) => parts.push(format!(" prio({first}, {second})")),
        None => {}
    }
    if rule.action != Action::Scrub
        && let Some(tos) = rule.scrub.set_tos
    {
        parts.push(format!(" tos 0x{tos:02x}"));
    }
    if !parts.is_empty() {
        text.push_str(&format!(" set ({} )", parts.join(",")));
    }
}

pub(super) fn options_text(rule: &Rule, text: &mut String) {
    if rule.probability != 0 {
        text.push_str(&format!(" probability {}%", percent(rule.probability)));
    }
    state_options_text(rule, text);
    if rule.allow_options {
        text.push_str(" allow-opts");
    }
    if rule.fragment {
        text.push_str(" fragment");
    }
    scrub_text(rule, text);
    for label in rule.labels.iter().take_while(|label| !label.is_empty()) {
        text.push_str(&format!(" label \"{label}\""));
    }
    if rule.identifier != 0 {
        text.push_str(&format!(" ridentifier {}", rule.identifier));
    }
    let (first, second, pipe) = rule.dummynet;
    let word = if pipe { "dnpipe" } else { "dnqueue" };
    if second != 0 {
        text.push_str(&format!(" {word}({first}, {second})"));
    } else if first != 0 {
        text.push_str(&format!(" {word} {first}"));
    }
    match (rule.queue.0.as_str(), rule.queue.1.as_str()) {
        ("", _) => {}
        (queue, "") => text.push_str(&format!(" queue {queue}")),
        (queue, priority) => text.push_str(&format!(" queue({queue}, {priority})")),
    }
    if !rule.tag.is_empty() {
        text.push_str(&format!(" tag {}", rule.tag));
    }
    if !rule.tagged.is_empty() {
        text.push_str(if rule.tagged_negated {
            " ! tagged "
        } else {
            " tagged "
        });
        text.push_str(&rule.tagged);
    }
    if let Some(rtable) = rule.rtable {
        text.push_str(&format!(" rtable {rtable}"));
    }
    if rule.divert_port != 0 {
        text.push_str(&format!(" divert-to {}", rule.divert_port));
    }
}

/// A share of 2³² in percent, without zeros behind the last digit that counts.
fn percent(probability: u32) -> String {
    let text = format!(
        "{:.6}",
        f64::from(probability) * 100.0 / (f64::from(u32::MAX) + 1.0)
    );
    let text = text.trim_end_matches('0');
    text.strip_suffix('.').unwrap_or(text).to_owned()
}

fn state_options_text(rule: &Rule, text: &mut String) {
    let state = &rule.state;
    let mut parts: Vec<String> = Vec::new();
    let number = |parts: &mut Vec<String>, name: &str, value: u32| {
        if value > 0 {
            parts.push(format!("{name} {value}"));
        }
    };
    number(&mut parts, "max", state.max);
    if state.no_sync {
        parts.push("no-sync".to_owned());
    }
    if state.source_track {
        let kind = if state.source_track_rule {
            "rule"
        } else {
            "global"
        };
        parts.push(format!("source-track {kind}"));
    }
    number(&mut parts, "max-src-states", state.max_src_states);
    number(&mut parts, "max-src-conn", state.max_src_conn);
    if state.max_src_conn_rate.0 > 0 {
        parts.push(format!(
            "max-src-conn-rate {}/{}",
            state.max_src_conn_rate.0, state.max_src_conn_rate.1
        ));
    }
    number(&mut parts, "max-src-nodes", state.max_src_nodes);
    if !state.overload.is_empty() {
        let flush = if state.flush { " flush" } else { "" };
        let global = if state.flush_global { " global" } else { "" };
        parts.push(format!("overload <{}>{flush}{global}", state.overload));
    }
    let words = [
        (state.if_bound, "if-bound"),
        (state.sloppy, "sloppy"),
        (state.pflow, "pflow"),
    ];
    parts.extend(
        words
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, word)| (*word).to_owned()),
    );
    for (index, seconds) in &state.timeouts {
        let name = TIMEOUTS
            .get(usize::from(*index))
            .map_or("inv.timeout", |(name, _)| name);
        parts.push(format!("{name} {seconds}"));
    }
    if !parts.is_empty() {
        text.push_str(&format!(" ({})", parts.join(", ")));
    }
}

fn scrub_text(rule: &Rule, text: &mut String) {
    let scrub = &rule.scrub;
    let mut parts = String::new();
    if scrub.no_df {
        parts.push_str(" no-df");
    }
    if scrub.random_id {
        parts.push_str(" random-id");
    }
    if scrub.min_ttl != 0 {
        parts.push_str(&format!(" min-ttl {}", scrub.min_ttl));
    }
    let max_mss = if scrub.max_mss == 0 {
        String::new()
    } else {
        format!(" max-mss {}", scrub.max_mss)
    };
    let set_tos = scrub
        .set_tos
        .map_or_else(String::new, |tos| format!(" set-tos 0x{tos:02x}"));
    let reassemble = if scrub.reassemble_tcp {
        " reassemble tcp"
    } else {
        ""
    };
    if rule.action == Action::Scrub {
        let no = if scrub.fragment_no_reassemble {
            "no "
        } else {
            ""
        };
        text.push_str(&format!(
            "{parts}{max_mss}{set_tos}{reassemble} fragment {no}reassemble"
        ));
    } else if !parts.is_empty() || !max_mss.is_empty() || scrub.reassemble_tcp {
        text.push_str(&format!(" scrub({parts}{set_tos}{reassemble}{max_mss})"));
    }
}
