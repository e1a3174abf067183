//! Two controllers that decide from the same index: of each class of rules that relate an object to others, the second write is void,
//! and decided anew it is refused or waits.

use cellblock_schemas::{ConditionStatus, Kind};
use serde_json::{Value, json};

use crate::admit::{Admitted, Rejection, Request, Through, admit};
use crate::testing::{World, bridge, host, jail, shared};
use crate::write::Write;

fn create(document: &Value) -> Request {
    let kind = document["kind"].as_str().and_then(Kind::from_name);
    Request::Create {
        kind: kind.expect("a kind"),
        document: document.clone(),
        manager: "jailctl".to_owned(),
    }
}

fn update(document: &Value) -> Request {
    let kind = document["kind"].as_str().and_then(Kind::from_name);
    Request::Update {
        kind: kind.expect("a kind"),
        document: document.clone(),
        through: Through::Object,
        manager: "jailctl".to_owned(),
    }
}

fn delete(kind: Kind, name: &str) -> Request {
    Request::Delete {
        kind,
        name: name.to_owned(),
        uid: None,
        revision: None,
        propagation: None,
    }
}

/// Both are decided before either is written. What comes of the second once it is decided anew.
fn race(world: &mut World, first: Request, second: Request) -> Result<Admitted, Rejection> {
    let (one, two) = (world.now(), world.now());
    let first = admit(&world.index, first, &one).expect("the first may");
    let late = admit(&world.index, second.clone(), &two).expect("alone the second may too");
    assert!(world.commit(&first.write.expect("it is new")));
    assert!(
        !world.commit(&late.write.expect("it is new")),
        "both were written"
    );
    world.request(second)
}

fn world() -> World {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    world
}

fn at(name: &str, address: &str) -> Value {
    let networks = json!([{"network": "lan", "addresses": [address]}]);
    jail(name, &[], json!({"host": "a", "networks": networks}))
}

fn publishing(name: &str, ports: &str) -> Value {
    let publish = json!([{"name": "web", "ports": [ports], "uplink": "external"}]);
    jail(name, &["lan"], json!({"host": "a", "publish": publish}))
}

#[track_caller]
fn refused(answer: Result<Admitted, Rejection>, word: &str) {
    let text = answer.expect_err("it is refused").to_string();
    assert!(text.contains(word), "{text}");
}

#[test]
fn one_given_address() {
    let mut world = world();
    let (one, two) = (at("one", "10.30.0.20"), at("two", "10.30.0.20"));
    let answer = race(&mut world, create(&one), create(&two));
    refused(answer, "10.30.0.20");
}

#[test]
fn one_free_address() {
    let mut world = world();
    let (one, two) = (
        jail("one", &["lan"], json!({})),
        jail("two", &["lan"], json!({})),
    );
    race(&mut world, create(&one), create(&two)).expect("there is another");
    assert_ne!(world.address("one"), world.address("two"));
}

#[test]
fn one_port_and_ports_that_overlap() {
    for (one, two) in [("80", "80"), ("80-90", "85-95"), ("80-90", "85")] {
        let mut world = world();
        let (one, two) = (publishing("one", one), publishing("two", two));
        refused(race(&mut world, create(&one), create(&two)), "port");
    }
}

#[test]
fn a_port_of_an_address_that_is_given_away_whole() {
    let mut world = world();
    let own = json!([{"name": "all", "uplink": "external", "address": "main"}]);
    let whole = jail(
        "one",
        &["lan"],
        json!({"host": "a", "publicAddresses": own}),
    );
    let answer = race(&mut world, create(&whole), create(&publishing("two", "80")));
    refused(answer, "203.0.113.1");
}

#[test]
fn subnets_that_overlap_on_one_wire() {
    let mut world = world();
    let mut narrow = shared("east");
    narrow["spec"]["subnets"] = json!([{"cidr": "192.0.2.0/29"}]);
    let answer = race(&mut world, create(&narrow), create(&shared("west")));
    refused(answer, "192.0.2.0");
}

#[test]
fn one_uplink_for_two_bridges() {
    let mut world = World::with_hosts(&["a"]);
    let on_the_wire = |name: &str, net: &str| {
        let mut network = bridge(name);
        network["spec"] = json!({"bridge": {"uplink": "external"}, "subnets": [{"cidr": net}]});
        create(&network)
    };
    let (east, west) = (
        on_the_wire("east", "10.1.0.0/24"),
        on_the_wire("west", "10.2.0.0/24"),
    );
    refused(race(&mut world, east, west), "external");
}

#[test]
fn a_name_and_a_root() {
    let named = |name: &str, spec: Value| jail(name, &[], spec);
    for spec in [
        json!({"host": "a", "jailName": "same"}),
        json!({"host": "a", "root": {"path": "/jails/same"}}),
    ] {
        let mut world = world();
        let (one, two) = (named("one", spec.clone()), named("two", spec));
        refused(race(&mut world, create(&one), create(&two)), "same");
    }
}

#[test]
fn a_network_that_goes_while_a_jail_comes() {
    let mut world = world();
    let www = jail("www", &["lan"], json!({"host": "a"}));
    let answer = race(&mut world, delete(Kind::Network, "lan"), create(&www));
    refused(answer, "network lan is being deleted");
}

/// Not its subnets alone: whatever of it changes, a jail is not attached to what it was.
#[test]
fn a_network_that_changes_while_a_jail_comes() {
    let mut world = world();
    let mut wider = bridge("lan");
    wider["spec"]["isolation"] = json!("jails");
    let www = jail("www", &["lan"], json!({"host": "a"}));
    race(&mut world, update(&wider), create(&www)).expect("it fits the new one");
}

#[test]
fn a_subnet_that_goes_while_its_address_is_given() {
    let both = |world: &mut World, first: Request, second: Request, word: &str| {
        refused(race(world, first, second), word);
    };
    let mut elsewhere = bridge("lan");
    elsewhere["spec"]["subnets"] = json!([{"cidr": "10.31.0.0/24"}]);
    let given = at("www", "10.30.0.20");
    both(
        &mut world(),
        create(&given),
        update(&elsewhere),
        "10.30.0.20",
    );
    both(
        &mut world(),
        update(&elsewhere),
        create(&given),
        "10.30.0.20",
    );
}

#[test]
fn an_image_that_goes_while_a_jail_comes() {
    let mut world = world();
    let image = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Image", "metadata": {"name": "base"},
        "spec": {"release": {"tarball": "/dist/base.txz", "sha256": "0".repeat(64)}},
    });
    world.apply(image).expect("an image");
    let mut stored = crate::testing::host("a");
    stored["spec"]["storage"] = json!({"path": "/cellblock"});
    world.apply(stored).expect("a storage");
    let mut www = jail("www", &[], json!({"host": "a", "image": {"name": "base"}}));
    www["spec"].as_object_mut().expect("a spec").remove("root");
    let answer = race(&mut world, delete(Kind::Image, "base"), create(&www));
    refused(answer, "image base is being deleted");
}

/// A Host that gives up an uplink, or closes a port there, while a jail publishes one.
#[test]
fn a_host_that_changes_while_a_port_is_published() {
    let web = publishing("www", "80");
    let mut bare = crate::testing::host("a");
    bare["spec"]["uplinks"] = json!({});
    let mut first = world();
    let answer = race(&mut first, update(&bare), create(&web));
    answer.expect("accepted, and it waits");
    assert_eq!(first.scheduled("www").1, "UplinkMissing");
    let mut second = world();
    let answer = race(&mut second, create(&web), update(&bare));
    let still = second.binding("www").is_some();
    assert!(still, "what it has it keeps: {answer:?}");
    let mut closed = crate::testing::host("a");
    closed["spec"]["uplinks"]["external"]["block"] = json!([{"name": "web", "ports": ["80"]}]);
    let mut third = world();
    refused(race(&mut third, update(&closed), create(&web)), "80");
    let mut fourth = world();
    refused(race(&mut fourth, create(&web), update(&closed)), "80");
}

#[test]
fn a_host_that_goes_while_a_jail_comes() {
    let mut world = world();
    let www = jail("www", &[], json!({"host": "a"}));
    let answer = race(&mut world, delete(Kind::Host, "a"), create(&www));
    match answer {
        Ok(_) => assert_eq!(world.scheduled("www").0, ConditionStatus::False),
        Err(rejection) => assert!(rejection.to_string().contains("host a"), "{rejection}"),
    }
}

#[test]
fn one_name_of_one_kind() {
    let mut world = world();
    let www = jail("www", &[], json!({}));
    refused(race(&mut world, create(&www), create(&www)), "www");
}

#[test]
fn one_free_range_of_user_ids() {
    let mut world = world();
    let asking = |name: &str| {
        jail(
            name,
            &["lan"],
            json!({"host": "a", "userIds": {"count": 10}}),
        )
    };
    let (one, two) = (asking("one"), asking("two"));
    race(&mut world, create(&one), create(&two)).expect("there is another");
    let ids = |name: &str| world.binding(name).and_then(|binding| binding.user_ids);
    assert!(ids("one").is_some());
    assert_ne!(ids("one"), ids("two"));
}

#[test]
fn one_address_that_is_kept() {
    let mut world = world();
    world
        .apply(jail("www", &["lan"], json!({"host": "a"})))
        .expect("a jail");
    let had = world.address("www").expect("it is bound");
    world.delete(Kind::Jail, "www").expect("it may go");
    world.report("a");
    let back = jail("www", &["lan"], json!({"host": "a"}));
    let answer = race(&mut world, create(&at("other", &had)), create(&back));
    answer.expect("there is another");
    assert_eq!(world.address("other").as_deref(), Some(&*had));
    assert_ne!(world.address("www").as_deref(), Some(&*had));
}

fn with_fib(name: &str, net: &str, fib: Value) -> Value {
    let mut network = shared(name);
    network["spec"]["subnets"] = json!([{"cidr": net}]);
    network["spec"]["fib"] = fib;
    network
}

#[test]
fn one_free_routing_table() {
    let mut world = world();
    let (one, two) = (
        with_fib("one", "10.1.0.0/24", json!("auto")),
        with_fib("two", "10.2.0.0/24", json!("auto")),
    );
    race(&mut world, create(&one), create(&two)).expect("there is another");
    let fib = |name: &str| world.index.network(name)?.status.as_ref()?.fib;
    assert_eq!((fib("one"), fib("two")), (Some(1), Some(2)));
}

#[test]
fn a_routing_table_that_is_named_while_it_is_given_out() {
    let own = || create(&with_fib("own", "10.1.0.0/24", json!("auto")));
    let naming = [
        jail(
            "www",
            &[],
            json!({"host": "a", "parameters": {"exec.fib": 1}}),
        ),
        with_fib("other", "10.2.0.0/24", json!(1)),
    ];
    for naming in naming {
        let mut first = world();
        refused(
            race(&mut first, own(), create(&naming)),
            "network own's own",
        );
        let mut second = world();
        race(&mut second, create(&naming), own()).expect("there is another");
        let status = second
            .index
            .network("own")
            .and_then(|own| own.status.as_ref());
        assert_eq!(status.and_then(|status| status.fib), Some(2));
    }
}

#[test]
fn a_host_that_comes_back_while_it_is_forgotten() {
    let mut world = World::with_hosts(&["a"]);
    let mut forgotten = host("a");
    forgotten["spec"]["forgotten"] = json!(true);
    refused(world.request(update(&forgotten)), "its agent is connected");
    let (session, _) = world.index.session("a").expect("it is connected");
    let session = serde_json::to_vec(session).expect("string keys only");
    world.lose("a");
    let now = world.now();
    let forget = admit(&world.index, update(&forgotten), &now).expect("it is gone");
    let mut back = Write::default();
    back.put(world.index.keys().session("a"), session);
    assert!(world.commit(&back));
    assert!(
        !world.commit(&forget.write.expect("a change")),
        "forgotten while its agent is connected"
    );
    world.hear("a");
    refused(world.request(update(&forgotten)), "its agent is connected");
}
