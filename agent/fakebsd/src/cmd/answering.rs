//! rtadvd(8) and bootpd(8): a jail that is a router or a server for those who ask the wire for an address.

use std::net::{IpAddr, Ipv4Addr};

use super::Context;
use crate::emulator::Emulator;
use crate::kernel::ifnet::{IfId, Mac, mac_text, nd};
use crate::kernel::vnet;
use crate::output::Output;
use crate::outside::Router;
use crate::trace::unscoped;

/// Prefixes of another length make no addresses.
const PREFIX: u8 = 64;

/// The names of the programs, as the processes' commands begin.
const RTADVD: &str = "rtadvd";
const BOOTPD: &str = "bootpd";

/// What is not an option, and the values of those options in `valued`.
fn parsed<'a>(arguments: &'a [String], valued: &str) -> (Vec<&'a str>, Vec<(char, &'a str)>) {
    let (mut operands, mut values) = (Vec::new(), Vec::new());
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix('-').and_then(|rest| rest.chars().next()) {
            Some(letter) if valued.contains(letter) => {
                values.extend(words.next().map(|value| (letter, value.as_str())));
            }
            Some(_) => {}
            None => operands.push(word.as_str()),
        }
    }
    (operands, values)
}

/// `rtadvd [-c file] [-C socket] [-p file] interface …`: a daemon that tells the prefixes of its interfaces' addresses.
pub(super) fn rtadvd(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let (interfaces, _) = parsed(arguments, "cCMp");
    let command = format!("{RTADVD} {}", interfaces.join(" "));
    host.kernel.spawn(context.jid, &command, true, None);
    host.advertise();
    Output::success()
}

/// `bootpd -s [-h name] bootptab`: a daemon that gives each address of the file to the MAC address there.
pub(super) fn bootpd(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let (files, _) = parsed(arguments, "acdht");
    let file = files.first().copied().unwrap_or("/etc/bootptab");
    let command = format!("{BOOTPD} {file}");
    host.kernel.spawn(context.jid, &command, true, None);
    Output::success()
}

/// The colon-separated fields of the entry of a MAC address: its address, prefix length and gateway.
fn entry(table: &str, mac: Mac) -> Option<(Ipv4Addr, u8, Ipv4Addr)> {
    let digits = mac_text(mac).replace(':', "");
    let line = table
        .lines()
        .find(|line| line.split(':').any(|field| field == format!("ha={digits}")))?;
    let field = |name: &str| -> Option<Ipv4Addr> {
        let mut fields = line.split(':');
        fields
            .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?
            .parse()
            .ok()
    };
    let prefix = u32::from(field("sm")?).leading_ones();
    Some((field("ip")?, u8::try_from(prefix).ok()?, field("gw")?))
}

impl Emulator {
    /// The commands of the processes beside an interface.
    fn daemons(&self, station: IfId, program: &str) -> Vec<Vec<String>> {
        let stack = self.kernel.ifnet(station).vnet;
        let is_there =
            |jid: i32| self.kernel.jail(jid).map_or(vnet::HOST, |jail| jail.stack) == stack;
        let processes = self.kernel.processes.values();
        processes
            .filter(|process| is_there(process.jid))
            .map(|process| process.command.split(' ').map(str::to_owned).collect())
            .filter(|command: &Vec<String>| command.first().is_some_and(|name| name == program))
            .collect()
    }

    /// The routers among the stations that hear an interface. A stack that does not forward advertises nothing (`ra_output`, usr.sbin/rtadvd/rtadvd.c).
    pub(crate) fn routers_near(&self, id: IfId) -> Vec<Router> {
        let mut routers = Vec::new();
        for station in self.stations_of(id) {
            let ifnet = self.kernel.ifnet(station);
            let forwards = self
                .kernel
                .vnet_sysctl_number(ifnet.vnet, "net.inet6.ip6.forwarding");
            let daemons = self.daemons(station, RTADVD);
            let names = daemons.iter().flatten();
            if !names.skip(1).any(|name| *name == ifnet.name)
                || forwards.unwrap_or_default() == 0
                || ifnet.nd & (nd::IFDISABLED | nd::ACCEPT_RTADV) != 0
            {
                continue;
            }
            let own = |is_link_local: bool| {
                let entries = ifnet.inet6.iter();
                entries.filter(move |entry| entry.is_link_local() == is_link_local)
            };
            let Some(IpAddr::V6(plain)) =
                own(true).next().map(|entry| unscoped(entry.address.into()))
            else {
                continue;
            };
            routers.extend(
                own(false)
                    .filter(|entry| entry.prefix == PREFIX)
                    .map(|entry| Router {
                        link_local: plain,
                        prefix: entry.address,
                    }),
            );
        }
        routers
    }

    /// What a bootpd(8) among the stations that hear an interface gives it.
    pub(crate) fn lease_near(&self, id: IfId) -> Option<(IpAddr, u8, IpAddr)> {
        let mac = self.kernel.ifnet(id).mac?;
        for station in self.stations_of(id) {
            for command in self.daemons(station, BOOTPD) {
                let table = command
                    .get(1)
                    .and_then(|file| self.files.read_text(file).ok());
                if let Some((address, prefix, router)) = table.and_then(|table| entry(&table, mac))
                {
                    return Some((address.into(), prefix, router.into()));
                }
            }
        }
        None
    }
}
