//! The ledger: every form that a release ever wrote is read for ever, and what is learned from a look, on 15 where jails carry `meta` and on 14 where they do not.
//!
//! `ledger/vN.json` was written by the first release of form N and never changes. `UPDATE_GOLDEN=1` writes the newest one, for a new form only. Form 3 is a journal: `v3.json` has a snapshot and every kind of
//! change, `v3-added.json` what it has learned since.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may read files and the environment"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cellblock_agent_core::Ledger;
use cellblock_agent_core::execute::Unkept;
use cellblock_agent_core::guard::RolledBack;
use cellblock_agent_core::ledger::journal::{Disk, Journal, LoadError, Unreadable};
use cellblock_agent_core::ledger::{Change, Contents, LEDGER_VERSION, Owned, OwnedJail};
use cellblock_agent_core::observed::{Address, Interface, JailMeta, Observed, ObservedJail};
use cellblock_agent_core::plan::{self, owner_of};
use cellblock_agent_core::probe::{Revived, Verdict, Verdicts};
use cellblock_schemas::host::ViewMark;
use cellblock_schemas::ids::{ClusterUid, Generation, Uid};
use cellblock_schemas::jail::Root;
use cellblock_schemas::view::{HostView, JailView, NetworkView};
use sha2::{Digest as _, Sha256};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn view() -> HostView {
    let mut jail = JailView {
        name: "a".to_owned(),
        uid: Uid("jail-a".to_owned()),
        ..JailView::default()
    };
    jail.spec.root = Some(Root {
        path: "/jails/a".to_owned(),
    });
    HostView {
        cluster: ClusterUid("c1".to_owned()),
        mark: ViewMark {
            epoch: 2,
            generation: Generation(7),
        },
        host_name: "vm15".to_owned(),
        jails: [(jail.uid.clone(), jail)].into(),
        ..HostView::default()
    }
}

fn sample() -> Ledger {
    contents().into()
}

/// A ledger with one of everything.
fn contents() -> Contents {
    let vtnet0 = || "vtnet0".to_owned();
    Contents {
        view: Some(view().into()),
        view_digest: "00ff".to_owned(),
        approved: true,
        boot_id: "1721131000".to_owned(),
        owned: [
            Owned::Alias {
                interface: vtnet0(),
                address: address("10.0.2.50"),
            },
            Owned::Alias {
                interface: vtnet0(),
                address: address("fd00:2::50"),
            },
            Owned::BroughtUp {
                interface: vtnet0(),
            },
            Owned::Inet6Enabled {
                interface: vtnet0(),
            },
            Owned::Member {
                bridge: "cbsbpkr3lrnxbr".to_owned(),
                member: vtnet0(),
            },
            Owned::LinkLocal {
                interface: vtnet0(),
            },
            Owned::Redirect {
                anchor: "cellblock/j40".to_owned(),
                label: "cellblock:jail-a:abcdefghij".to_owned(),
            },
            Owned::Translation {
                anchor: "cellblock/nsbpkr3lrnx".to_owned(),
                from: "192.0.2.0/28".parse().expect("a prefix"),
                to: Some(address("10.0.2.15")),
            },
            forwarding(Some("1")),
        ]
        .into(),
        jails: [(Uid("jail-a".to_owned()), started(7))].into(),
        rolled_back: BTreeMap::new(),
    }
}

/// The sample with this jail a.
fn knowing(jail: OwnedJail) -> Ledger {
    Ledger::from(Contents {
        jails: [(Uid("jail-a".to_owned()), jail)].into(),
        ..contents()
    })
}

/// What the ledger had of the same in that form.
fn sample_of(version: u32) -> Ledger {
    let mut ledger = contents();
    if version == 1 {
        ledger.owned.retain(|owned| {
            !matches!(
                owned,
                Owned::LinkLocal { .. } | Owned::Redirect { .. } | Owned::Translation { .. }
            )
        });
        ledger.owned.remove(&forwarding(Some("1")));
        ledger.owned.insert(forwarding(None));
        for jail in ledger.jails.values_mut() {
            jail.root.clear();
            jail.fields.clear();
            jail.former.clear();
            jail.restart.clear();
        }
    }
    if version == 3 {
        return changed();
    }
    ledger.into()
}

/// The sample after every kind of change.
fn changed() -> Ledger {
    let mut ledger = sample();
    for change in changes() {
        let is_new = ledger.commit(vec![change], &mut Unkept);
        assert!(is_new.expect("no file never fails"));
    }
    ledger
}

/// Every kind of change, and a view with something new, something else and something gone.
fn changes() -> Vec<Change> {
    let (mut first, mut second) = (view(), view());
    let network = |name: &str| {
        (
            name.to_owned(),
            NetworkView {
                slices: Vec::new(),
                name: name.to_owned(),
                ..NetworkView::default()
            },
        )
    };
    first.networks = [network("lan"), network("back")].into();
    first.mark.generation = Generation(8);
    second.networks = [network("back")].into();
    second.mark.generation = Generation(9);
    let jail = JailView {
        name: "b".to_owned(),
        uid: Uid("jail-b".to_owned()),
        ..JailView::default()
    };
    second.jails = [(jail.uid.clone(), jail)].into();
    let owned = || Owned::BroughtUp {
        interface: "igb0".to_owned(),
    };
    let (a, b) = (Uid("jail-a".to_owned()), Uid("jail-b".to_owned()));
    vec![
        Change::TakeView(first.into(), "0100".to_owned()),
        Change::TakeView(second.into(), "0101".to_owned()),
        Change::EnterBoot("1721139999".to_owned()),
        Change::Own(owned()),
        Change::Own(forwarding(Some("1"))),
        Change::Disown(owned()),
        Change::KnowJail(b, started(9)),
        Change::ForgetJail(a),
    ]
}

fn forwarding(value: Option<&str>) -> Owned {
    Owned::Sysctl {
        oid: "net.inet.ip.forwarding".to_owned(),
        previous: "0".to_owned(),
        value: value.map(str::to_owned),
    }
}

/// Jail a as the ledger has it once it was started with that jid; 0: announced.
fn started(jid: u32) -> OwnedJail {
    OwnedJail {
        name: "a".to_owned(),
        jid,
        hash: "a09a205893ffeaac".to_owned(),
        path: "/jails/a".to_owned(),
        root: "/jails/current".to_owned(),
        fields: [("spec.root.path".to_owned(), "/jails/a".to_owned())].into(),
        former: [address("10.0.2.51")].into(),
        restart: "spec.parameters.securelevel changed from `1` to `2`".to_owned(),
        mounts: vec!["/jails/a/dev".to_owned()],
        addresses: vec![address("10.0.2.50")],
        conf: "/var/db/cellblock/jails/a.conf".to_owned(),
        ..OwnedJail::default()
    }
}

fn golden(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/ledger/v{version}.json"))
}

/// A disk that never fails.
#[derive(Clone, Debug, Default)]
struct Memory {
    place: Rc<RefCell<Option<Octets>>>,
    beside: Rc<RefCell<Octets>>,
}

/// A file on it.
#[derive(Clone, Debug, Default)]
struct Octets(Rc<RefCell<Vec<u8>>>);

impl io::Write for Octets {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Disk for Memory {
    type File = Octets;

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let place = self.place.borrow();
        Ok(place.as_ref().map(|file| file.0.borrow().clone()))
    }

    fn open(&mut self) -> io::Result<Octets> {
        self.place
            .borrow()
            .clone()
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn begin(&mut self) -> io::Result<Octets> {
        let file = Octets::default();
        self.beside.replace(file.clone());
        Ok(file)
    }

    fn sync(&mut self, _: &mut Octets) -> io::Result<()> {
        Ok(())
    }

    fn replace(&mut self) -> io::Result<()> {
        self.place.replace(Some(self.beside.borrow().clone()));
        Ok(())
    }

    fn is_in_place(&mut self, _: &Octets, _: u64) -> bool {
        true
    }

    fn cut(&mut self, _: &mut Octets, _: u64) {}
}

fn on(octets: &[u8]) -> Memory {
    let memory = Memory::default();
    memory
        .place
        .replace(Some(Octets(Rc::new(RefCell::new(octets.to_vec())))));
    memory
}

#[test]
fn every_form_is_read_and_turned_into_the_newest() {
    for version in 1..=LEDGER_VERSION {
        let octets = std::fs::read(golden(version)).expect("every form has its file");
        let disk = on(&octets);
        let mut journal = Journal::new(disk.clone());
        let mut ledger = journal.load().expect("it is read for ever").ledger;
        let expected = sample_of(version);
        assert_eq!(ledger, expected, "form {version}");
        let next = Change::EnterBoot("another".to_owned());
        journal
            .append(&ledger, std::slice::from_ref(&next))
            .expect("a disk that never fails");
        ledger
            .commit(vec![next], &mut Unkept)
            .expect("no file never fails");
        let read = Journal::new(disk.clone())
            .load()
            .expect("what was written is read");
        assert_eq!(read.ledger, ledger, "form {version}");
        let octets = disk.clone().read().expect("readable").expect("a file");
        assert!(
            octets.starts_with(b"{\"version\":3,\"snapshot\":"),
            "form {version}"
        );
    }
}

#[test]
fn what_is_written_is_of_the_newest_form() {
    let disk = Memory::default();
    let mut journal = Journal::new(disk.clone());
    let changes = changes();
    let (first, more) = changes.split_at(6);
    let mut ledger = sample();
    journal
        .append(&ledger, first)
        .expect("a disk that never fails");
    ledger
        .commit(first.to_vec(), &mut Unkept)
        .expect("no file never fails");
    journal
        .append(&ledger, more)
        .expect("a disk that never fails");
    let text = disk.clone().read().expect("readable").expect("a file");
    let text = String::from_utf8(text).expect("JSON");
    let path = golden(LEDGER_VERSION);
    if std::env::var_os("UPDATE_GOLDEN").is_some() && !path.exists() {
        std::fs::write(&path, &text).expect("written");
    }
    let written = std::fs::read_to_string(&path).expect("every form has its file");
    assert_eq!(
        text, written,
        "the form has changed: raise LEDGER_VERSION, keep reading the old one, and write a new file"
    );
}

/// Two changes that came after the first file of form 3 was written.
#[test]
fn what_was_taken_back_is_written_so_for_ever() {
    let judged = RolledBack {
        target: "9c1185a5c5e9fc54".to_owned(),
        what: "set lagg cbvm2nzqlnxrlg: lacp, ports vtnet1".to_owned(),
        why: "no controller was reached".to_owned(),
        at: "2026-11-22T02:34:16Z".to_owned(),
    };
    let changes = vec![
        Change::Judge("uplink lan".to_owned(), judged.clone()),
        Change::Judge("uplink wan".to_owned(), judged),
        Change::Acquit("uplink lan".to_owned()),
    ];
    let disk = Memory::default();
    let mut ledger = Ledger::new();
    Journal::new(disk.clone())
        .append(&ledger, &changes)
        .expect("a disk that never fails");
    ledger
        .commit(changes, &mut Unkept)
        .expect("no file never fails");
    let text = disk.clone().read().expect("readable").expect("a file");
    let text = String::from_utf8(text).expect("JSON");
    let written = r#"{"judge":["uplink wan",{"target":"9c1185a5c5e9fc54","what":"set lagg cbvm2nzqlnxrlg: lacp, ports vtnet1","why":"no controller was reached","at":"2026-11-22T02:34:16Z"}]},{"acquit":"uplink lan"}]"#;
    assert!(text.contains(written), "{text}");
    let read = Journal::new(disk).load().expect("it is read");
    assert_eq!(read.ledger, ledger);
    assert_eq!(ledger.rolled_back.len(), 1);
}

/// What form 3 has learned to hold since its file was written.
fn added() -> Vec<Change> {
    let well = |is_well, message: &str| {
        Some(Verdict {
            is_well,
            is_unknown: false,
            message: message.to_owned(),
        })
    };
    let mut jail = started(7);
    jail.verdicts = Some(Box::new(Verdicts {
        jid: 7,
        started: well(true, ""),
        ready: Some(Verdict {
            is_well: false,
            is_unknown: true,
            message: "nc: not found".to_owned(),
        }),
        live: well(false, "no answer within 1 s"),
    }));
    jail.revived = Revived { count: 3, jid: 7 };
    vec![
        Change::Own(Owned::PfConf {
            path: "/etc/pf.conf".to_owned(),
            made: true,
        }),
        Change::Own(Owned::Storage {
            path: "/cellblock".to_owned(),
            mark: "c1:5f2a".to_owned(),
        }),
        Change::Own(Owned::Rejected {
            jail: Uid("jail-a".to_owned()),
            anchor: "cellblock/i40".to_owned(),
            rules: "pass user nobody".to_owned(),
            said: "unknown user nobody".to_owned(),
        }),
        Change::KnowJail(Uid("jail-a".to_owned()), jail),
    ]
}

#[test]
fn what_a_form_has_learned_is_read_for_ever_too() {
    let disk = Memory::default();
    let mut ledger = Ledger::new();
    Journal::new(disk.clone())
        .append(&ledger, &added())
        .expect("a disk that never fails");
    ledger
        .commit(added(), &mut Unkept)
        .expect("no file never fails");
    let text = disk.clone().read().expect("readable").expect("a file");
    let path = golden(LEDGER_VERSION).with_file_name("v3-added.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() && !path.exists() {
        std::fs::write(&path, &text).expect("written");
    }
    let written = std::fs::read(&path).expect("it has its file");
    let read = Journal::new(on(&written)).load().expect("it is read");
    assert_eq!(read.ledger, ledger);
    assert_eq!(text, written, "its words have changed");
}

/// Another text in the last line, with the checksum that whoever writes it gives it.
fn with_other_last(text: &str, from: &str, to: &str) -> Vec<u8> {
    let line = text.lines().last().expect("a line");
    let before = text.lines().rev().nth(1);
    let sum_of = |line: &str| line[line.len() - 18..line.len() - 2].to_owned();
    let chain = before.map_or(vec![0; 8], |line| {
        data_encoding::HEXLOWER
            .decode(sum_of(line).as_bytes())
            .expect("a checksum")
    });
    let end = format!(",\"sum\":\"{}\"}}", sum_of(line));
    let record = line.strip_suffix(&end).expect("its end").replace(from, to);
    let digest = Sha256::new_with_prefix(chain)
        .chain_update(&record)
        .finalize();
    let sum = data_encoding::HEXLOWER.encode(&digest[..8]);
    let head = &text[..text.len() - line.len() - 1];
    format!("{head}{record},\"sum\":\"{sum}\"}}\n").into_bytes()
}

/// Whoever moved such a file away would lose what the agent knows to be its own.
#[test]
fn what_is_not_known_and_whole_is_a_newer_agents_and_not_damaged() {
    let v3 = std::fs::read_to_string(golden(3)).expect("every form has its file");
    let same = with_other_last(&v3, "forgetJail", "forgetJail");
    assert_eq!(same, v3.as_bytes());
    let error = |octets: &[u8]| {
        let loaded = Journal::new(on(octets)).load();
        match loaded.expect_err("it is not read") {
            LoadError::Unreadable(error) => error,
            LoadError::Disk(error) => panic!("{error}"),
        }
    };
    let newer = with_other_last(&v3, "forgetJail", "forgetHost");
    let said = error(&newer);
    assert!(
        matches!(said, Unreadable::Unknown { line: 3, .. }),
        "{said}"
    );
    assert!(said.to_string().contains("forgetHost"), "{said}");
    // Also in the first line, and where the next one was never written to its end.
    let (first, _) = v3.split_once('\n').expect("lines");
    let first = format!("{first}\n");
    let thing = |text: &str| with_other_last(text, "\"broughtUp\"", "\"broughtDown\"");
    let said = error(&thing(&first));
    assert!(
        matches!(said, Unreadable::Unknown { line: 1, .. }),
        "{said}"
    );
    let torn = [&newer[..newer.len() - 1], b"\0\0{\"chan"].concat();
    let said = error(&torn);
    assert!(matches!(
        said,
        Unreadable::Damaged { .. } | Unreadable::Unknown { .. }
    ));
    let altered = v3.replace("forgetJail", "forgetHost");
    let said = error(altered.as_bytes());
    assert!(
        matches!(said, Unreadable::Damaged { line: 3, .. }),
        "{said}"
    );
}

fn learn(view: &HostView, observed: &Observed, ledger: &mut Ledger) -> bool {
    plan::learn(view, observed, ledger, &mut Unkept).expect("no file never fails")
}

/// A host where jail a runs as `jid`; `meta`: on 15, with that mark.
fn host(jid: u32, meta: Option<&str>) -> Observed {
    let has_meta = meta.is_some();
    let jail = ObservedJail {
        jid,
        name: "a".to_owned(),
        path: "/jails/a".to_owned(),
        meta: meta.and_then(JailMeta::parse),
        ..ObservedJail::default()
    };
    Observed {
        boot_id: "1721131000".to_owned(),
        jails: vec![jail],
        jail_parameters: if has_meta {
            ["meta".to_owned()].into()
        } else {
            Default::default()
        },
        ..Observed::default()
    }
}

fn owner(observed: &Observed, ledger: &Ledger) -> Option<String> {
    owner_of(&view(), observed, ledger, &observed.jails[0]).map(|uid| uid.0)
}

#[test]
fn on_15_a_jail_is_ours_by_its_meta() {
    let (known, empty) = (sample(), Ledger::new());
    let ours = Some("jail-a".to_owned());
    assert_eq!(owner(&host(7, Some("c1:jail-a:aaaa")), &empty), ours);
    assert_eq!(owner(&host(7, Some("c2:jail-a:aaaa")), &known), None);
    // Without meta it is not one that we announced: somebody made it under that name.
    assert_eq!(owner(&host(8, Some("")), &known), None);
    let announced = knowing(started(0));
    assert_eq!(owner(&host(8, Some("")), &announced), None);
    // Made before this kernel's meta was used: the jid says it.
    assert_eq!(owner(&host(7, Some("")), &known), ours);
    let mut nested = host(7, Some("c1:jail-a:aaaa"));
    nested.jails[0].name = "theirs.a".to_owned();
    assert_eq!(owner(&nested, &known), None, "a jail in a jail");
}

#[test]
fn on_14_a_jail_is_ours_by_its_jid_or_by_the_start_that_was_announced() {
    let with = |jid| knowing(started(jid));
    let ours = Some("jail-a".to_owned());
    assert_eq!(owner(&host(7, None), &with(7)), ours);
    assert_eq!(
        owner(&host(8, None), &with(7)),
        None,
        "a jid that was used again"
    );
    assert_eq!(owner(&host(8, None), &with(0)), ours, "announced");
    let mut elsewhere = host(8, None);
    elsewhere.jails[0].path = "/elsewhere".to_owned();
    assert_eq!(owner(&elsewhere, &with(0)), None);
    let mut dying = host(8, None);
    dying.jails[0].dying = true;
    assert_eq!(owner(&dying, &with(7)), ours, "waiting for it harms nobody");
}

#[test]
fn the_jid_of_an_announced_jail_is_learned() {
    for meta in [Some("c1:jail-a:bbbb"), None] {
        let mut ledger = Contents {
            owned: [].into(),
            ..Contents::clone(&knowing(started(0)))
        }
        .into();
        let observed = host(9, meta);
        assert!(learn(&view(), &observed, &mut ledger));
        let jail = &ledger.jails[&Uid("jail-a".to_owned())];
        assert_eq!(jail.jid, 9);
        let hash = if meta.is_some() {
            "bbbb"
        } else {
            "a09a205893ffeaac"
        };
        assert_eq!(jail.hash, hash, "what it runs with, by its own mark");
        assert!(!learn(&view(), &observed, &mut ledger), "nothing new");
    }
}

#[test]
fn what_is_not_there_is_forgotten_and_what_is_there_is_kept() {
    let mut observed = host(7, None);
    let entry = |text| Address {
        address: address(text),
        prefix_length: 32,
        scope: None,
        tentative: false,
        duplicated: false,
    };
    observed.interfaces = vec![Interface {
        name: "vtnet0".to_owned(),
        addresses: vec![entry("10.0.2.50")],
        nd6: ["IFDISABLED"].into(),
        ..Interface::default()
    }];
    observed.sysctls = [("net.inet.ip.forwarding".to_owned(), Some("1".to_owned()))].into();
    let mut ledger = sample();
    assert!(learn(&view(), &observed, &mut ledger));
    let left: Vec<&Owned> = ledger.owned.iter().collect();
    assert_eq!(
        left,
        [
            &Owned::Alias {
                interface: "vtnet0".to_owned(),
                address: address("10.0.2.50")
            },
            &forwarding(Some("1")),
        ]
    );
    let nobody = HostView {
        jails: Default::default(),
        ..view()
    };
    observed.jails.clear();
    learn(&nobody, &observed, &mut ledger);
    assert_eq!(ledger.jails.len(), 1, "an address of it is there");
    observed.interfaces.clear();
    assert!(learn(&nobody, &observed, &mut ledger));
    assert_eq!(ledger.jails.len(), 0, "nothing of it is left anywhere");
}

#[test]
fn a_jail_is_remembered_while_its_file_or_a_mount_is_there() {
    let nobody = HostView {
        jails: Default::default(),
        ..view()
    };
    let mut observed = host(7, None);
    observed.jails.clear();
    observed.files = [("/var/db/cellblock/jails/a.conf".to_owned(), String::new())].into();
    let mut ledger = sample();
    learn(&nobody, &observed, &mut ledger);
    assert_eq!(ledger.jails.len(), 1, "its jail.conf is there");
    observed.files.clear();
    observed.mounts = vec![cellblock_agent_core::observed::ObservedMount {
        source: "devfs".to_owned(),
        target: "/jails/a/dev".to_owned(),
        fs_type: "devfs".to_owned(),
    }];
    learn(&nobody, &observed, &mut ledger);
    assert_eq!(ledger.jails.len(), 1, "its mount is there");
}

#[test]
fn a_reboot_takes_everything_away_that_carries_no_mark() {
    let mut observed = host(7, None);
    observed.boot_id = "1721139999".to_owned();
    observed.jails.clear();
    let mut ledger = sample();
    assert!(learn(&view(), &observed, &mut ledger));
    assert_eq!(ledger.owned.len(), 0);
    let jail = &ledger.jails[&Uid("jail-a".to_owned())];
    assert_eq!(
        (jail.jid, jail.mounts.len()),
        (0, 0),
        "a jid of another boot says nothing"
    );
    assert_eq!(jail.conf, started(7).conf, "names and files stay known");
}

#[test]
fn a_dataset_is_written_so_for_ever() {
    let owned = Owned::Dataset {
        name: "zroot/cellblock/roots/jail-a".to_owned(),
        guid: "14086415361427253253".to_owned(),
    };
    let text = serde_json::to_string(&owned).expect("it is written");
    let expected = r#"{"thing":"dataset","name":"zroot/cellblock/roots/jail-a","guid":"14086415361427253253"}"#;
    assert_eq!(text, expected);
    let read: Owned = serde_json::from_str(expected).expect("it is read");
    assert_eq!(read, owned);
}
