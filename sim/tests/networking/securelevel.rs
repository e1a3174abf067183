//! A host whose securelevel keeps everybody from pf: what needs no pf goes on, what needs it is told, and nothing is believed absent.

use cellblock_schemas::Kind;
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::report::HostReport;

use super::{ROUNDS_MAX, Row};

const PLAIN: &str = "n00-no-network/no-network.yaml";

const FIREWALL: &str = "n15-firewall/firewall.yaml";

fn raise(row: &Row, level: i64) {
    row.world.run(&format!("sysctl kern.securelevel={level}"));
}

fn jails(row: &Row) -> String {
    row.world.run("jls -n name jid")
}

fn told<'c>(conditions: &'c [Condition], kind: &str) -> &'c Condition {
    let mut conditions = conditions.iter();
    conditions
        .find(|condition| condition.kind == kind)
        .expect("it is told")
}

fn rest(row: &mut Row) -> HostReport {
    let rest = row.world.converge(ROUNDS_MAX).expect("it comes to rest");
    assert!(rest.last.plan.steps.is_empty(), "{:?}", rest.last.plan);
    rest.last.report
}

#[test]
fn what_needs_no_pf_starts_and_goes_where_pf_may_not_be_read() {
    let mut row = Row::new(PLAIN);
    row.world.run("kldload -n pf");
    raise(&row, 3);
    row.rest();
    assert!(!jails(&row).is_empty());
    row.take_away();
}

#[test]
fn what_needs_pf_runs_on_and_is_told_and_does_not_start() {
    let mut row = Row::up(FIREWALL);
    let before = jails(&row);
    let rules = |row: &Row| {
        let fingerprint = row.world.fingerprint().into_iter();
        let rules = fingerprint.filter(|line| line.contains("cellblock/"));
        rules.collect::<Vec<_>>()
    };
    let stood = rules(&row);
    assert!(!stood.is_empty());
    raise(&row, 3);
    let report = rest(&mut row);
    let pf = told(&report.conditions, "PfEffective");
    assert_eq!(pf.status, ConditionStatus::False);
    assert!(
        pf.message.contains("kern.securelevel of the host is 3"),
        "{pf:?}"
    );
    assert_eq!(
        told(&report.conditions, "Ready").status,
        ConditionStatus::True
    );
    assert_eq!(jails(&row), before);
    let names: Vec<String> = before
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.strip_prefix("name="))
        .map(str::to_owned)
        .collect();
    let mut blocked = 0;
    for jail in row.fleet.index.jails_of_host(super::HOST) {
        let uid = &jail.metadata.uid;
        let reported = report.jails.iter().find(|found| found.uid == *uid);
        let reported = reported.expect("it is reported");
        if jail.spec.firewall.is_none() {
            continue;
        }
        blocked += 1;
        let firewall = told(&reported.conditions, "FirewallReady");
        assert_eq!(firewall.reason, "FirewallNotInForce");
        assert!(
            firewall.message.contains("kern.securelevel"),
            "{firewall:?}"
        );
    }
    assert!(blocked > 0);
    for name in &names {
        row.world.run(&format!("jail -r {name}"));
    }
    rest(&mut row);
    let now = jails(&row);
    for jail in row.fleet.index.jails_of_host(super::HOST) {
        let runs = now.contains(&format!("name={} ", jail.metadata.name));
        assert_eq!(runs, jail.spec.firewall.is_none(), "{now}");
    }
    assert_eq!(rules(&row), stood);
    // Deleted, they are not given up: their rules may stand.
    let all = row.fleet.index.jails_of_host(super::HOST);
    let all: Vec<String> = all.map(|jail| jail.metadata.name.clone()).collect();
    for name in &all {
        row.fleet.delete(Kind::Jail, name).expect("it may go");
    }
    let view = row.fleet.view(super::HOST).expect("the host is there");
    row.world.take(view);
    let report = rest(&mut row);
    assert!(report.jails.iter().any(|jail| !jail.gone));
}
