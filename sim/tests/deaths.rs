//! Every manifest of `examples/`, given to emulated hosts by the real controller core, with the agent killed just before and just after each of its effects, while everything is made and while it is taken away:
//! it comes to the host that it would have made anyway, and leaves no trace of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cellblock_fakebsd::Release;
use cellblock_schemas::Object;
use cellblock_schemas::condition::ConditionStatus;
use cellblock_schemas::manifest::parse;
use cellblock_schemas::view::HostView;
use cellblock_sim::World;
use cellblock_sim::crash::Moment;
use cellblock_sim::fleet::Fleet;
use cellblock_sim::views::emptied;

/// How many passes a host may take to come to rest.
const ROUNDS_MAX: usize = 200;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder of examples");
    entries
        .map(|entry| entry.expect("an entry of it").path())
        .collect()
}

/// The documents of an example, hosts first. Those in `examples/` itself share their hosts.
fn documents(example: &str) -> Vec<Object> {
    let path = examples().join(example);
    let files = if path.is_dir() {
        entries(&path)
    } else {
        BTreeSet::from([examples().join("hosts.yaml"), path])
    };
    let mut objects = Vec::new();
    for file in files {
        if file
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let text = std::fs::read_to_string(&file).expect("a manifest");
            let documents = parse("manifest", &text).expect("a manifest without mistakes");
            objects.extend(documents.into_iter().map(|document| document.object));
        }
    }
    objects.sort_by_key(Object::kind);
    objects
}

/// A host on which nothing has been done yet, and what its agent is sent.
fn hosts(example: &str) -> Vec<(World, HostView)> {
    let mut fleet = Fleet::default();
    let mut roots = Vec::new();
    for object in documents(example) {
        fleet.apply_object(&object).expect("it is admitted");
        if let Object::Host(host) = &object {
            let connected = fleet.connect(&host.metadata.name);
            connected.expect("the reconcilers come to an end");
        }
        let spec = match object {
            Object::Jail(jail) => Some(jail.spec),
            Object::JailSet(set) => Some(set.spec.template.spec),
            Object::Host(_) | Object::Network(_) | Object::Image(_) => None,
        };
        let root = spec.and_then(|spec| spec.root);
        roots.extend(root.map(|root| root.path));
    }
    let names = fleet.index.hosts_by_load().map(|host| &host.metadata.name);
    let views = names.map(|name| fleet.view(name).expect("the host is there"));
    let used = views.filter(|view| !view.jails.is_empty());
    let hosts: Vec<_> = used
        .map(|view| {
            let world = World::new(Release::V15_1);
            world.add_public_addresses(&view.host);
            for root in &roots {
                let files = &mut world.host.emulator().files;
                files
                    .create_directories(&format!("{root}/dev"))
                    .expect("an empty file tree takes directories");
            }
            (world, view)
        })
        .collect();
    assert!(!hosts.is_empty(), "{example} puts nothing on any host");
    hosts
}

/// The host at rest, with every jail ready that shall be.
fn rest(world: &mut World, what: &str) {
    let rest = world
        .converge(ROUNDS_MAX)
        .unwrap_or_else(|stuck| panic!("{what}: {stuck:#?}"));
    assert_eq!(world.wrongs(), &BTreeSet::new(), "{what}");
    for jail in &rest.last.report.jails {
        for condition in &jail.conditions {
            let fine = condition.status == ConditionStatus::True;
            assert!(fine || jail.gone, "{what}: {:?} {condition:?}", jail.uid);
        }
    }
}

/// Kills the agent at each effect of what follows from `view`, and compares each host with the one that nobody disturbed.
fn survives(from: &World, view: &HostView, wanted: Option<&[String]>, what: &str) -> World {
    let mut reference = from.fork();
    reference.start(None);
    reference.take(view.clone());
    rest(&mut reference, what);
    let effects = reference.effects();
    assert!(effects > 0, "{what} does nothing");
    let undisturbed = reference.fork();
    let settled = reference.settled();
    if let Some(wanted) = wanted {
        assert_eq!(settled, wanted, "{what}");
    }
    for number in 0..effects {
        for moment in [Moment::Before(number), Moment::After(number)] {
            let what = format!("{what}, killed {moment:?} of {effects}");
            let mut world = from.fork();
            world.start(Some(moment));
            world.take(view.clone());
            rest(&mut world, &what);
            assert_eq!(world.deaths(), 1, "{what}");
            assert_eq!(world.settled(), settled, "{what}");
        }
    }
    undisturbed
}

fn survives_any_death(example: &str) {
    for (world, view) in hosts(example) {
        let before = world.fork().settled();
        let what = format!("{example} on {}", view.host_name);
        let up = survives(&world, &view, None, &format!("{what}, made"));
        let gone = format!("{what}, taken away");
        survives(&up, &emptied(&view), Some(&before), &gone);
    }
}

macro_rules! examples {
    ($($test:ident $example:literal)*) => {
        const EXAMPLES: &[&str] = &[$($example),*];
        $(
            #[test]
            fn $test() {
                survives_any_death($example);
            }
        )*
    };
}

examples! {
    bsd_test01 "bsd-test01.yaml"
    nat_tom_dick_harry "nat-tom-dick-harry.yaml"
    n00_no_network "networking/n00-no-network"
    n01_shared_ip "networking/n01-shared-ip"
    n02_internal_first "networking/n02-internal-first"
    n03_loopback_nat "networking/n03-loopback-nat"
    n03_managed_pf_conf "networking/n03-managed-pf-conf"
    n03_shared_ports "networking/n03-shared-ports"
    n04_own_loopback "networking/n04-own-loopback"
    n05_ipv6_loopback "networking/n05-ipv6-loopback"
    n06_passthrough "networking/n06-passthrough"
    n07_routed "networking/n07-routed"
    n07_routed_hosts "networking/n07-routed-hosts"
    n08_bridge "networking/n08-bridge"
    n08_dynamic_addresses "networking/n08-dynamic-addresses"
    n09_netgraph_uplink "networking/n09-netgraph-uplink"
    n10_netgraph_internal "networking/n10-netgraph-internal"
    n11_lagg "networking/n11-lagg"
    n11_lagg_netgraph "networking/n11-lagg-netgraph"
    n12_routing_tables "networking/n12-routing-tables"
    n13_source_address "networking/n13-source-address"
    n14_users "networking/n14-users"
    n15_firewall "networking/n15-firewall"
    n19_own_pf "networking/n19-own-pf"
    n16_one_to_one_nat "networking/n16-one-to-one-nat"
    n17_duplicate_addresses "networking/n17-duplicate-addresses"
    n18_jails_together "networking/n18-jails-together"
    n20_host_rules "networking/n20-host-rules"
    j02_live_changes "jails/j02-live-changes"
    limits "jails/limits"
    j09_import "jails/j09-import"
    order "jails/order"
    probes "jails/probes"
    jailsets_web "jailsets/web"
    www_bridge "www-bridge.yaml"
    www_shared_ip "www-shared-ip.yaml"
}

#[test]
fn no_example_is_left_out() {
    let listed = EXAMPLES.iter().map(|example| examples().join(example));
    let listed: BTreeSet<PathBuf> = listed.collect();
    let mut there = entries(&examples());
    for folder in ["networking", "jails", "jailsets"] {
        there.extend(entries(&examples().join(folder)));
        there.remove(&examples().join(folder));
    }
    // These need a tarball on the host, and die in `images` and `zfs`.
    for of_images in ["j03-thick", "j03-zfs", "j04-thin"] {
        there.remove(&examples().join("jails").join(of_images));
    }
    there.remove(&examples().join("hosts.yaml"));
    there.retain(|path| path.is_dir() || path.extension().is_some_and(|found| found == "yaml"));
    assert_eq!(listed, there);
}
