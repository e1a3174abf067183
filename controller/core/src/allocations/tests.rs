use cellblock_schemas::Kind;
use serde_json::json;

use super::{Query, Sort, list};
use crate::testing::{World, bridge, jail, shared};

fn world() -> World {
    let mut world = World::with_hosts(&["a", "b"]);
    world.apply(bridge("lan")).expect("a network");
    world.apply(shared("inside")).expect("a network");
    let publish = json!([{"name": "web", "ports": ["80-81"], "uplink": "external"}]);
    let spec = json!({"host": "a", "publish": publish});
    world.apply(jail("www", &["lan"], spec)).expect("a jail");
    world
        .apply(jail("db", &["inside"], json!({"host": "b"})))
        .expect("a jail");
    world
}

fn all() -> Query {
    Query {
        limit: 1_000,
        ..Query::default()
    }
}

fn values(world: &World, query: &Query) -> Vec<(Sort, String, String)> {
    let (listed, is_more) = list(&world.index, query);
    assert!(!is_more);
    listed
        .into_iter()
        .map(|one| (one.sort, one.value, format!("{}/{}", one.host, one.owner)))
        .collect()
}

#[test]
fn every_claim_is_listed_with_who_has_it_and_where() {
    let world = world();
    let found = values(&world, &all());
    assert_eq!(found.len(), world.index.claims().len());
    let has = |sort, value: &str, whose: &str| {
        found.contains(&(sort, value.to_owned(), whose.to_owned()))
    };
    assert!(has(Sort::Address, "10.30.0.10", "a/www"), "{found:?}");
    assert!(has(Sort::Address, "192.0.2.1", "b/db"));
    assert!(has(Sort::Port, "203.0.113.1:80-81/tcp", "a/www"));
    assert!(has(Sort::JailName, "db", "b/db"));
    assert!(has(Sort::Root, "/jails/db", "b/db"));
    let bridges = found
        .iter()
        .filter(|(sort, _, whose)| *sort == Sort::Mac && whose == "a/lan");
    assert_eq!(bridges.count(), 1);
}

#[test]
fn they_are_chosen_by_sort_host_and_jail() {
    let world = world();
    let addresses = Query {
        sort: Some(Sort::Address),
        ..all()
    };
    assert_eq!(values(&world, &addresses).len(), 3);
    let host = Query {
        host: Some("b".to_owned()),
        ..all()
    };
    let of_b = values(&world, &host);
    assert!(of_b.iter().all(|(_, _, whose)| whose == "b/db"), "{of_b:?}");
    assert_eq!(of_b.len(), 3);
    let jail = |name: &str| Query {
        jail: Some(name.to_owned()),
        ..all()
    };
    assert_eq!(values(&world, &jail("db")), of_b);
    assert_eq!(values(&world, &jail("nobody")), []);
}

#[test]
fn pages_follow_each_other_without_a_gap() {
    let world = world();
    for jail in [None, Some("www".to_owned())] {
        let whole = Query {
            jail: jail.clone(),
            ..all()
        };
        let whole = list(&world.index, &whole).0;
        let mut paged = Vec::new();
        let mut query = Query {
            limit: 1,
            jail,
            ..Query::default()
        };
        loop {
            let (page, is_more) = list(&world.index, &query);
            paged.extend(page);
            query.after = paged.last().map(|last| last.resource.clone());
            if !is_more {
                break;
            }
        }
        assert_eq!(paged, whole);
    }
}

#[test]
fn what_was_given_up_is_told_with_its_generation() {
    let mut world = world();
    world
        .apply(jail("db", &[], json!({"host": "b"})))
        .expect("it may leave");
    let query = Query {
        jail: Some("db".to_owned()),
        sort: Some(Sort::Address),
        ..all()
    };
    let given_up = list(&world.index, &query).0;
    assert_eq!(given_up[0].retired, Some(2));
    world.report("b");
    assert_eq!(list(&world.index, &query).0, []);
}

#[test]
fn what_is_kept_is_told_with_whom_it_is_for_in_its_place() {
    let mut world = world();
    let whole = list(&world.index, &all()).0;
    world.delete(Kind::Jail, "www").expect("it may go");
    world.report("a");
    let query = Query {
        jail: Some("www".to_owned()),
        ..all()
    };
    let of_www = list(&world.index, &query).0;
    let sorts: Vec<_> = of_www.iter().map(|one| one.sort).collect();
    assert_eq!(sorts, [Sort::Address, Sort::Address, Sort::Mac]);
    for one in &of_www {
        assert!(one.kept.is_some());
        assert_eq!((one.host.as_str(), one.owner.as_str()), ("a", "www"));
    }
    let now = list(&world.index, &all()).0;
    let places = |listed: &[super::Allocation]| {
        let resources = listed.iter().map(|one| one.resource.clone());
        resources.collect::<Vec<_>>()
    };
    let mut wanted = places(&whole);
    wanted.retain(|resource| places(&now).contains(resource));
    assert_eq!(places(&now), wanted, "in the order of what they are");
    assert_eq!(
        now.len(),
        whole.len() - 3,
        "its port, its name and its root are nobody's"
    );
    let networks = json!([{"network": "lan", "addresses": ["10.30.0.10"]}]);
    let other = jail("other", &[], json!({"host": "a", "networks": networks}));
    world.apply(other).expect("nobody has it");
    assert_eq!(
        list(&world.index, &query).0.len(),
        2,
        "what somebody has is not kept"
    );
}
