//! Addresses and interfaces: which Networks and uplinks they come to.
//!
//! jail.conf(5) names interfaces of the host, so each interface becomes an uplink of the Host and a Network on it. What hooks do with ifconfig(8) is recognised only as far as it is
//! what jib(8)'s users and the manual pages do; the rest is told.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value as Json, json};

use super::conf::Parameter;
use super::convert::{Draft, Note, Verdict, boolean};

/// The interface of addresses for which neither the file nor the operator names one: nothing is called so.
const UNNAMED: &str = "changeme0";

/// How a jail is attached.
pub(super) enum Attached {
    /// By these attachments.
    To(Vec<Json>),
    /// By nothing that a manifest would name.
    Nowhere,
}

/// What a Network is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    Shared,
    Passthrough,
    Bridge { has_uplink: bool },
}

/// The Networks of an import.
pub(super) struct Networks {
    interface: Option<String>,
    /// By name: the mode, and the interface of its uplink.
    made: BTreeMap<String, (Mode, String)>,
}

impl Networks {
    pub(super) fn new(interface: Option<String>) -> Self {
        Self {
            interface,
            made: BTreeMap::new(),
        }
    }

    /// The uplinks of the Host, and the Networks by name.
    pub(super) fn finish(
        self,
        host: &str,
        notes: &mut Vec<Note>,
    ) -> (Map<String, Json>, Vec<(String, Json)>) {
        let mut uplinks = Map::new();
        let mut networks = Vec::new();
        for (name, (mode, interface)) in self.made {
            let uplink = entry(&interface);
            let spec = match mode {
                Mode::Shared => json!({ "sharedIP": { "uplink": uplink } }),
                Mode::Passthrough => json!({ "passthrough": { "uplinks": [uplink] } }),
                Mode::Bridge { has_uplink: true } => json!({ "bridge": { "uplink": uplink } }),
                Mode::Bridge { has_uplink: false } => json!({ "bridge": {} }),
            };
            if mode != (Mode::Bridge { has_uplink: false }) {
                uplinks.insert(uplink, json!({ "interface": interface }));
            }
            if interface == UNNAMED {
                notes.push(Note {
                    about: format!("host/{host}"),
                    what: format!("spec.uplinks[{UNNAMED}].interface"),
                    place: String::new(),
                    verdict: Verdict::ToDo,
                    why: "addresses stand in the file without the interface that has them".to_owned(),
                    help: "import again with --interface NAME, or write its name there; take those addresses out of rc.conf, because the agent makes and removes them".to_owned(),
                });
            }
            networks.push((name, spec));
        }
        (uplinks, networks)
    }

    /// The attachments of a jail.
    pub(super) fn attach(&mut self, draft: &mut Draft<'_>) -> Attached {
        let find = |name: &str| {
            draft
                .jail
                .parameters
                .iter()
                .find(|one| one.name == name)
                .cloned()
        };
        let is_vnet = find("vnet").is_some_and(|vnet| match vnet.values.last() {
            Some(word) => word.text == "new",
            None => true,
        });
        if let Some(hostname) = find("ip_hostname")
            && boolean(&hostname, false) == Ok(true)
        {
            let why = "addresses would be those that the name service has for host.hostname when the jail starts";
            draft.note(
                &hostname,
                Verdict::LeftOut,
                why,
                "write them into spec.networks[].addresses",
            );
        }
        if let Some(vnet) = find("vnet")
            && vnet
                .values
                .last()
                .is_some_and(|word| word.text == "inherit")
        {
            let why = "it is what a jail without networks has";
            draft.note(&vnet, Verdict::Changed, why, "");
        }
        if is_vnet {
            return self.vnet(draft, &find);
        }
        if let Some(given) = find("vnet.interface") {
            let why = "the jail has no network stack of its own";
            draft.note(
                &given,
                Verdict::LeftOut,
                why,
                "jail(8) fails with it too: remove it, or add vnet",
            );
        }
        self.shared(draft, &find)
    }

    fn shared(
        &mut self,
        draft: &mut Draft<'_>,
        find: &dyn Fn(&str) -> Option<Parameter>,
    ) -> Attached {
        let default = draft.last("interface").map(str::to_owned);
        let mut order: Vec<String> = Vec::new();
        let mut addresses: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in ["ip4.addr", "ip6.addr"] {
            let Some(parameter) = find(name) else {
                continue;
            };
            let mut given: Vec<String> = Vec::new();
            for text in parameter
                .values
                .iter()
                .flat_map(|value| value.text.split(','))
            {
                let (interface, rest) = text
                    .split_once('|')
                    .map_or((default.as_deref(), text), |(interface, rest)| {
                        (Some(interface), rest)
                    });
                let (address, options) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
                let Some(address) = host_address(address) else {
                    let why = format!("`{text}` is no address");
                    draft.note(
                        &parameter,
                        Verdict::LeftOut,
                        why,
                        "jail(8) refuses it too: mend the file",
                    );
                    continue;
                };
                if !options.trim().is_empty() {
                    let why = format!(
                        "`{}` are options of ifconfig(8) that an alias of ours has not",
                        options.trim()
                    );
                    draft.note(
                        &parameter,
                        Verdict::LeftOut,
                        why,
                        "set them by rc.conf, or by exec.prestart",
                    );
                }
                let interface = interface
                    .or(self.interface.as_deref())
                    .unwrap_or(UNNAMED)
                    .to_owned();
                let network = entry(&interface);
                self.made
                    .entry(network.clone())
                    .or_insert((Mode::Shared, interface));
                if !order.contains(&network) {
                    order.push(network.clone());
                }
                given.push(network.clone());
                addresses.entry(network).or_default().push(address);
            }
            // The first of each family is the jail's loopback and source.
            if given
                .first()
                .is_some_and(|first| order.iter().find(|one| given.contains(one)) != Some(first))
            {
                let why = "the first address of this family stands on another interface than that of the other one: the order of networks is one for both";
                draft.note(&parameter, Verdict::Changed, why, "look which of its addresses shall be the jail's 127.0.0.1 and ::1, and order spec.networks");
            }
        }
        if order.is_empty() {
            return Attached::Nowhere;
        }
        let attachments = order.into_iter().map(|network| {
            let addresses = addresses.remove(&network).unwrap_or_default();
            json!({ "network": network, "addresses": addresses })
        });
        Attached::To(attachments.collect())
    }

    fn vnet(
        &mut self,
        draft: &mut Draft<'_>,
        find: &dyn Fn(&str) -> Option<Parameter>,
    ) -> Attached {
        for name in ["ip4.addr", "ip6.addr", "interface"] {
            if let Some(parameter) = find(name) {
                let why = "a jail with a network stack of its own has its addresses inside it";
                draft.note(
                    &parameter,
                    Verdict::LeftOut,
                    why,
                    "jail(8) fails with it too: configure them in the jail, or in spec.networks",
                );
            }
        }
        let interfaces = find("vnet.interface");
        let Some(parameter) = interfaces.filter(|one| !one.values.is_empty()) else {
            if let Some(vnet) = find("vnet") {
                let why = "a network stack comes with a network, and vnet.interface names none";
                draft.note(
                    &vnet,
                    Verdict::LeftOut,
                    why,
                    "attach the jail to a bridge, routed or netgraph network",
                );
            }
            return Attached::Nowhere;
        };
        let mut attachments = Vec::new();
        for name in parameter
            .values
            .iter()
            .flat_map(|value| value.text.split([',', ' ']))
        {
            if name.is_empty() {
                continue;
            }
            let network = if is_made(name) {
                self.switched(draft, &parameter, name)
            } else {
                let network = format!("{}-own", entry(name));
                self.made
                    .entry(network.clone())
                    .or_insert((Mode::Passthrough, name.to_owned()));
                network
            };
            let mut attachment = json!({ "network": network, "addressing": "jail" });
            attachment["interface"] = name.replace('.', "_").into();
            if name.contains('.') {
                let why = format!(
                    "{name} is called {} in the jail, because rc.conf(5) there cannot spell a dot",
                    name.replace('.', "_")
                );
                draft.note(
                    &parameter,
                    Verdict::ToDo,
                    why,
                    "change the names in the jail's rc.conf",
                );
            }
            attachments.push(attachment);
        }
        Attached::To(attachments)
    }

    /// The bridge of an epair that hooks make.
    fn switched(&mut self, draft: &mut Draft<'_>, parameter: &Parameter, name: &str) -> String {
        let hooks = [
            "exec.prepare",
            "exec.prestart",
            "exec.created",
            "exec.poststart",
            "exec.prestop",
            "exec.poststop",
            "exec.release",
        ];
        let mut uplink = None;
        let mut bridge = None;
        let (stem, jib) = (
            name.trim_end_matches(['a', 'b']),
            name.split_once("b_").map(|(_, name)| name),
        );
        for hook in hooks {
            let Some(written) = draft
                .jail
                .parameters
                .iter()
                .find(|one| one.name == hook)
                .cloned()
            else {
                continue;
            };
            // What is left of it: another interface of the jail may have taken some.
            let left = match draft.parameters.remove(hook) {
                Some(Json::Array(values)) => values,
                Some(value) => vec![value],
                None => Vec::new(),
            };
            let mut kept = Vec::new();
            for value in left {
                let text = value.as_str().unwrap_or_default();
                let words: Vec<&str> = text.split_ascii_whitespace().collect();
                let is_jib = jib.is_some_and(|jib| is_jib(&words, jib));
                let is_pair = is_of_pair(text, &words, stem);
                if !is_jib && !is_pair {
                    kept.push(value);
                    continue;
                }
                if is_jib && words.contains(&"addm") {
                    uplink = words
                        .iter()
                        .skip_while(|word| Some(**word) != jib)
                        .nth(1)
                        .map(|word| word.trim_start_matches('!').to_owned());
                }
                if is_pair && words.contains(&"addm") {
                    bridge = words.get(1).map(|word| (*word).to_owned());
                }
                let why = format!("`{text}`: the network makes and removes the jail's epair(4)");
                draft.note(&written, Verdict::LeftOut, why, "");
            }
            match kept.len() {
                0 => drop(draft.parameters.remove(hook)),
                1 => drop(draft.parameters.insert(hook.to_owned(), kept.remove(0))),
                _ => drop(draft.parameters.insert(hook.to_owned(), kept.into())),
            }
        }
        if uplink.is_some() {
            let why = format!(
                "{name} is an epair(4) of jib: an if_bridge(4) of the network's own comes in place of jib's"
            );
            draft.note(parameter, Verdict::ToDo, why, "stop all jails of jib's bridge and destroy it before the import is applied: a NIC is a member of one bridge");
        } else {
            let why = format!(
                "{name} is made by hooks, and {} is not told by the file",
                match &bridge {
                    Some(bridge) => format!("what {bridge} is connected to"),
                    None => "what it is connected to".to_owned(),
                }
            );
            draft.note(parameter, Verdict::ToDo, why, "give the Network's bridge its uplink, or its subnet a gateway that the host has; see that no hook makes the epair(4) any more");
        }
        let (network, mode, interface) = match (uplink, bridge) {
            (Some(uplink), _) => (
                format!("{}-bridge", entry(&uplink)),
                Mode::Bridge { has_uplink: true },
                uplink,
            ),
            (None, Some(bridge)) => (entry(&bridge), Mode::Bridge { has_uplink: false }, bridge),
            (None, None) => (
                "switch".to_owned(),
                Mode::Bridge { has_uplink: false },
                String::new(),
            ),
        };
        self.made
            .entry(network.clone())
            .or_insert((mode, interface));
        network
    }
}

/// Whether a command is jib's, for the jail of that name.
fn is_jib(words: &[&str], name: &str) -> bool {
    let mut all = words.iter();
    all.any(|word| *word == "jib" || word.ends_with("/jib")) && words.contains(&name)
}

/// Whether a command is one of ifconfig(8) about an epair(4), and nothing else.
fn is_of_pair(text: &str, words: &[&str], stem: &str) -> bool {
    let mut all = words.iter();
    let is_ifconfig = |word: &&str| *word == "ifconfig" || word.ends_with("/ifconfig");
    words.first().is_some_and(is_ifconfig)
        && all.any(|word| word.trim_end_matches(['a', 'b']) == stem)
        && !text.contains([';', '|', '&', '$', '`', '('])
}

/// Whether an interface comes into being for the jail only.
fn is_made(name: &str) -> bool {
    let is_jib = name.starts_with('e') && name.contains("b_");
    is_jib
        || ["epair", "ng", "tap"]
            .iter()
            .any(|kind| name.starts_with(kind))
}

/// A name for an uplink or a Network after an interface.
fn entry(interface: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let text: String = interface.chars().map(plain).collect();
    match text.trim_matches('-') {
        "" => "unnamed".to_owned(),
        text => text.to_owned(),
    }
}

/// An address with its prefix length as a manifest has it; none: it is none.
fn host_address(text: &str) -> Option<String> {
    let (address, length) = text
        .split_once('/')
        .map_or((text, None), |(one, length)| (one, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let Some(length) = length else {
        return Some(address.to_string());
    };
    let length: u32 = match (length.parse::<std::net::Ipv4Addr>(), address) {
        (Ok(mask), IpAddr::V4(_)) => {
            let bits = mask.to_bits();
            (bits.leading_ones() + bits.trailing_zeros() >= 32).then_some(bits.leading_ones())?
        }
        (Ok(_), IpAddr::V6(_)) => return None,
        (Err(_), _) => length.parse().ok()?,
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    match length {
        // What an alias has unless said.
        length if length == most => Some(address.to_string()),
        length if (1..most).contains(&length) => Some(format!("{address}/{length}")),
        _ => None,
    }
}
