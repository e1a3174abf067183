//! What ifconfig(8) does to an interface: verbs take effect in the order they stand, addresses at the end, the first failure ends it.

mod bridge;
mod create;
mod words;

use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) use create::{create, reclaim};
use words::{classful, is_plain_flag, netmask, parse_mac, random_mac, user_flag, width_error};

use super::{Af, status};
use crate::cmd::Context;
use crate::emulator::Emulator;
use crate::kernel::addr::is_link_local;
use crate::kernel::errno::Errno;
use crate::kernel::ifnet::{IfId, nd};
use crate::output::Output;

/// A failure's line, without the program's name.
type Verdict<T> = Result<T, String>;

/// An IPv4 address as it was given.
#[derive(Default)]
struct Pending {
    /// 0 replaces the first address, 1 adds, -1 removes.
    alias: i8,
    inet: Option<Ipv4Addr>,
    inet6: Option<Ipv6Addr>,
    prefix: Option<u8>,
    broadcast: Option<Ipv4Addr>,
    anycast: bool,
}

/// One run over the words.
struct Run<'a> {
    host: &'a mut Emulator,
    context: &'a Context,
    id: IfId,
    af: Af,
    pending: Pending,
    stdout: String,
    /// Whether the name is printed at the end, as after `create` and `name`.
    print_name: bool,
    gone: bool,
}

fn failure(error: Errno, what: &str) -> String {
    format!("{what}: {}", error.text())
}

/// Applies `words` to an existing interface.
pub(super) fn apply(
    host: &mut Emulator,
    context: &Context,
    id: IfId,
    af: Option<Af>,
    words: &[String],
) -> Output {
    let run = Run {
        host,
        context,
        id,
        af: af.unwrap_or(Af::Inet),
        pending: Pending::default(),
        stdout: String::new(),
        print_name: false,
        gone: false,
    };
    run.finish(words)
}

impl Run<'_> {
    fn finish(mut self, words: &[String]) -> Output {
        let result = self
            .words(words)
            .and_then(|()| if self.gone { Ok(()) } else { self.addresses() });
        let mut output = Output {
            stdout: std::mem::take(&mut self.stdout),
            ..Output::default()
        };
        if let Err(line) = result {
            output.fail(1, format!("ifconfig: {line}"));
        }
        if self.print_name && !self.gone {
            let name = self.host.kernel.ifnet(self.id).name.clone();
            output.line(name);
        }
        output
    }

    fn words(&mut self, mut words: &[String]) -> Verdict<()> {
        while let Some((verb, rest)) = words.split_first() {
            let taken = self.verb(verb, rest)?;
            words = &rest[taken..];
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.host.kernel.ifnet(self.id).name.clone()
    }

    /// One verb; returns how many words after it were its own.
    fn verb(&mut self, verb: &str, rest: &[String]) -> Verdict<usize> {
        let argument = || {
            rest.first()
                .map(String::as_str)
                .ok_or_else(|| format!("'{verb}' requires argument"))
        };
        match verb {
            "up" | "down" => self.up(verb == "up"),
            "alias" | "add" => self.pending.alias = 1,
            "-alias" | "delete" | "remove" => self.pending.alias = -1,
            "name" => return self.rename(argument()?).map(|()| 1),
            "descr" | "description" => {
                let text = argument()?.to_owned();
                self.host.kernel.ifnet_mut(self.id).description =
                    (!text.is_empty()).then_some(text);
                return Ok(1);
            }
            "-descr" | "-description" => self.host.kernel.ifnet_mut(self.id).description = None,
            "group" => return self.group(argument()?).map(|()| 1),
            "-group" => {
                if !self.host.kernel.leave_group(self.id, argument()?) {
                    return Err(format!("SIOCDIFGROUP: {}", Errno::ENOENT.text()));
                }
                return Ok(1);
            }
            "mtu" => return self.mtu(argument()?).map(|()| 1),
            "ether" | "link" | "lladdr" => return self.ether(argument()?).map(|()| 1),
            "fib" => return self.fib(argument()?).map(|()| 1),
            "vnet" => return self.vnet(argument()?).map(|()| 1),
            "-vnet" => return self.unvnet(rest.first()).map(|()| 1),
            "destroy" | "unplumb" => {
                self.host
                    .kernel
                    .clone_destroy(self.id)
                    .map_err(|error| failure(error, "SIOCIFDESTROY"))?;
                self.gone = true;
                return Ok(rest.len());
            }
            "netmask" | "broadcast" | "prefixlen" => {
                return self.address_part(verb, argument()?).map(|()| 1);
            }
            "laggproto" | "laggport" | "-laggport" | "lagghash" => {
                return self.lagg(verb, argument()?).map(|()| 1);
            }
            "vlan" | "vlandev" | "vlanproto" | "vlanpcp" => return self.vlan(rest),
            // With or without the parent's name behind it (sbin/ifconfig/ifvlan.c).
            "-vlandev" => {
                self.host.kernel.vlan_unconfigure(self.id);
                return Ok(rest.len().min(1));
            }
            "anycast" => self.pending.anycast = true,
            _ if self.nd_verb(verb) => {}
            _ if user_flag(verb).is_some() => {
                let (bit, on) = user_flag(verb).unwrap_or_default();
                let flags = &mut self.host.kernel.ifnet_mut(self.id).user_flags;
                *flags = if on { *flags | bit } else { *flags & !bit };
            }
            _ => match self.bridge_verb(verb, rest)? {
                Some(taken) => return Ok(taken),
                None if is_plain_flag(verb) => {}
                None => self.address(verb)?,
            },
        }
        Ok(0)
    }

    /// What belongs to the address that is set at the end.
    fn address_part(&mut self, verb: &str, text: &str) -> Verdict<()> {
        let bad = || format!("{text}: bad value");
        match verb {
            "netmask" => self.pending.prefix = Some(netmask(text)?),
            "broadcast" => self.pending.broadcast = Some(text.parse().map_err(|_| bad())?),
            _ => {
                let prefix = text.parse().ok().filter(|prefix| *prefix <= 128);
                self.pending.prefix = Some(prefix.ok_or_else(bad)?);
            }
        }
        Ok(())
    }

    fn mtu(&mut self, text: &str) -> Verdict<()> {
        let refused = |error| failure(error, "ioctl SIOCSIFMTU (set mtu)");
        let mtu = text.parse().map_err(|_| refused(Errno::EINVAL))?;
        self.host.kernel.set_mtu(self.id, mtu).map_err(refused)
    }

    fn unvnet(&mut self, jail: Option<&String>) -> Verdict<()> {
        let name = self.name();
        let output = reclaim(self.host, self.context, &name, jail);
        if output.is_success() {
            return Ok(());
        }
        let line = output.stderr.trim_start_matches("ifconfig: ").trim_end();
        Err(line.to_owned())
    }

    fn up(&mut self, up: bool) {
        self.host.kernel.set_up(self.id, up);
    }

    fn rename(&mut self, name: &str) -> Verdict<()> {
        self.host
            .kernel
            .rename(self.id, name)
            .map_err(|error| failure(error, "ioctl SIOCSIFNAME (set name)"))?;
        self.print_name = true;
        Ok(())
    }

    fn group(&mut self, group: &str) -> Verdict<()> {
        if group.ends_with(|c: char| c.is_ascii_digit()) {
            return Err("setifgroup: group names may not end in a digit".into());
        }
        if group.len() > 15 {
            return Err("setifgroup: group name too long".into());
        }
        // A group that the interface is in already is no error (EEXIST is ignored by setifgroup).
        self.host.kernel.join_group(self.id, group);
        Ok(())
    }

    fn ether(&mut self, text: &str) -> Verdict<()> {
        let mac = if text == "random" {
            random_mac(self.host)
        } else {
            parse_mac(text).ok_or_else(|| format!("{text}: bad link-level address"))?
        };
        if mac[0] & 1 != 0 || self.host.kernel.ifnet(self.id).mac.is_none() {
            return Err(format!(
                "ioctl SIOCSIFLLADDR (set address): {}",
                Errno::EINVAL.text()
            ));
        }
        self.host.kernel.set_mac(self.id, Some(mac));
        let ports = self.host.kernel.lagg(self.id);
        for port in ports.map(|softc| softc.ports.clone()).unwrap_or_default() {
            self.host.kernel.set_mac(port, Some(mac));
        }
        Ok(())
    }

    fn fib(&mut self, text: &str) -> Verdict<()> {
        let fibs = self.host.kernel.vnet(self.context.stack).fibs.len();
        let fib = text
            .parse::<u32>()
            .ok()
            .filter(|fib| (*fib as usize) < fibs)
            .ok_or_else(|| format!("ioctl (SIOCSIFFIB): {}", Errno::EINVAL.text()))?;
        self.host.kernel.ifnet_mut(self.id).fib = fib;
        Ok(())
    }

    /// SIOCSIFVNET: refused when the stack has an interface of that name (if_vmove_loan).
    fn vnet(&mut self, jail: &str) -> Verdict<()> {
        let Some(stack) = self
            .host
            .kernel
            .find_jail(self.context.jid, jail)
            .map(|jail| jail.stack)
        else {
            return Err(self.host.kernel.no_jail(self.context.jid, jail));
        };
        if stack == self.context.stack || self.host.kernel.ifunit(stack, &self.name()).is_some() {
            return Err(failure(Errno::EEXIST, "SIOCSIFVNET"));
        }
        self.host.kernel.vmove(self.id, stack);
        self.gone = true;
        Ok(())
    }

    fn lagg(&mut self, verb: &str, argument: &str) -> Verdict<()> {
        let name = self.name();
        if self.host.kernel.lagg(self.id).is_none() {
            return Err(format!("{name}: SIOCSLAGG: {}", Errno::EINVAL.text()));
        }
        match verb {
            "laggport" => match self.host.kernel.lagg_add_port(self.id, argument) {
                // A port that this lagg has already is no error (setlaggport of sbin/ifconfig/iflagg.c).
                Ok(()) | Err(Errno::EEXIST) => Ok(()),
                Err(error) => Err(format!(
                    "{name} {argument}: SIOCSLAGGPORT: {}",
                    error.text()
                )),
            },
            "-laggport" => {
                let refused = |error| failure(error, "SIOCSLAGGDELPORT");
                let port = self.host.kernel.ifunit(self.context.stack, argument);
                let port = port.ok_or_else(|| refused(Errno::EINVAL))?;
                if self.host.kernel.ifnet(port).lagg != Some(self.id) {
                    return Err(refused(Errno::ENOENT));
                }
                self.host.kernel.lagg_drop_port(self.id, port);
                Ok(())
            }
            "laggproto"
                if !matches!(
                    argument,
                    "failover" | "lacp" | "loadbalance" | "roundrobin" | "broadcast" | "none"
                ) =>
            {
                Err(format!("Invalid aggregation protocol: {argument}"))
            }
            "laggproto" => {
                self.host.kernel.lagg_set_protocol(self.id, argument);
                Ok(())
            }
            _ => {
                let layers: Vec<&str> = argument.split(',').collect();
                if let Some(other) = layers
                    .iter()
                    .find(|one| !matches!(**one, "l2" | "l3" | "l4"))
                {
                    return Err(format!("Invalid lagghash option: {other}"));
                }
                self.host.kernel.lagg_set_hash(self.id, &layers);
                Ok(())
            }
        }
    }

    /// `vlan TAG vlandev PARENT` on an interface that exists.
    fn vlan(&mut self, rest: &[String]) -> Verdict<usize> {
        let [tag, "vlandev", parent, ..] = rest.iter().map(String::as_str).collect::<Vec<_>>()[..]
        else {
            return Err("both vlan and vlandev must be specified".into());
        };
        let parent = self
            .host
            .kernel
            .ifunit(self.context.stack, parent)
            .ok_or_else(|| failure(Errno::ENOENT, "SIOCSETVLAN"))?;
        let tag = tag
            .parse()
            .map_err(|_| format!("invalid value for vlan: {tag}"))?;
        self.host
            .kernel
            .vlan_configure(self.id, parent, tag)
            .map_err(|error| failure(error, "SIOCSETVLAN"))?;
        Ok(3)
    }

    fn nd_verb(&mut self, verb: &str) -> bool {
        if self.af != Af::Inet6 {
            return false;
        }
        let (word, on) = verb
            .strip_prefix('-')
            .map_or((verb, true), |word| (word, false));
        let bit = match word {
            "ifdisabled" => {
                self.host.kernel.set_ifdisabled(self.id, on);
                return true;
            }
            "no_dad" => nd::NO_DAD,
            "auto_linklocal" => nd::AUTO_LINKLOCAL,
            "accept_rtadv" => nd::ACCEPT_RTADV,
            "nud" => nd::PERFORMNUD,
            "no_radr" => nd::NO_RADR,
            "no_prefer_iface" => nd::NO_PREFER_IFACE,
            _ => return false,
        };
        let ifnet = self.host.kernel.ifnet_mut(self.id);
        ifnet.nd = if on { ifnet.nd | bit } else { ifnet.nd & !bit };
        if on && bit == nd::AUTO_LINKLOCAL && self.host.kernel.ifnet(self.id).up {
            self.host.kernel.inet6_attach_automatic(self.id);
        }
        true
    }

    /// A word that is no verb is an address of the family in force.
    fn address(&mut self, word: &str) -> Verdict<()> {
        let (text, prefix) = word
            .split_once('/')
            .map_or((word, None), |(text, prefix)| (text, Some(prefix)));
        match self.af {
            Af::Inet => {
                if let Some(prefix) = prefix {
                    self.pending.prefix = Some(
                        prefix
                            .parse()
                            .ok()
                            .filter(|bits| *bits <= 32)
                            .ok_or_else(|| {
                                format!("{word}: bad value (width {})", width_error(prefix))
                            })?,
                    );
                }
                self.pending.inet = Some(text.parse().map_err(|_| format!("{text}: bad value"))?);
            }
            Af::Inet6 => {
                if let Some(prefix) = prefix {
                    self.pending.prefix = Some(
                        prefix
                            .parse()
                            .ok()
                            .filter(|bits| *bits <= 128)
                            .ok_or_else(|| format!("{prefix}: bad value"))?,
                    );
                }
                let bare = text.split_once('%').map_or(text, |(bare, _)| bare);
                self.pending.inet6 = Some(bare.parse().map_err(|_| format!("{text}: bad value"))?);
            }
            Af::Link => return self.ether(word),
        }
        Ok(())
    }

    /// The deferred part: remove, replace or add.
    fn addresses(&mut self) -> Verdict<()> {
        let pending = std::mem::take(&mut self.pending);
        if let Some(address) = pending.inet {
            self.inet(address, &pending)?;
        }
        if let Some(address) = pending.inet6 {
            self.inet6(address, &pending)?;
        }
        Ok(())
    }

    fn inet(&mut self, address: Ipv4Addr, pending: &Pending) -> Verdict<()> {
        let kernel = &mut self.host.kernel;
        if pending.alias < 0 {
            return kernel
                .delete_inet(self.id, address)
                .map_err(|error| failure(error, "ioctl (SIOCDIFADDR)"));
        }
        if pending.alias == 0
            && let Some(first) = kernel
                .ifnet(self.id)
                .inet
                .first()
                .map(|entry| entry.address)
        {
            kernel
                .delete_inet(self.id, first)
                .map_err(|error| failure(error, "ioctl (SIOCDIFADDR)"))?;
        }
        let Some(prefix) = pending.prefix.or_else(|| {
            kernel
                .ifnet(self.id)
                .is_loopback()
                .then(|| classful(address))
        }) else {
            return Err(
                "ERROR: setting interface address without mask is no longer supported.".into(),
            );
        };
        kernel
            .add_inet(self.id, address, prefix, pending.broadcast)
            .map_err(|error| failure(error, "ioctl (SIOCAIFADDR)"))?;
        kernel.announce(self.id);
        Ok(())
    }

    fn inet6(&mut self, address: Ipv6Addr, pending: &Pending) -> Verdict<()> {
        let kernel = &mut self.host.kernel;
        if pending.alias < 0 {
            return kernel
                .delete_inet6(self.id, address)
                .map_err(|error| failure(error, "ioctl (SIOCDIFADDR)"));
        }
        debug_assert!(
            is_link_local(address) || !address.is_unspecified(),
            "ifconfig passes addresses on as given"
        );
        let prefix = pending.prefix.unwrap_or(64);
        kernel
            .add_inet6(self.id, address, prefix, pending.anycast)
            .map_err(|error| failure(error, "ioctl (SIOCAIFADDR)"))
    }
}

impl Run<'_> {
    fn bridge_verb(&mut self, verb: &str, rest: &[String]) -> Verdict<Option<usize>> {
        if verb == "addr" && rest.is_empty() && self.host.kernel.bridge(self.id).is_some() {
            self.stdout
                .push_str(&status::bridge_addresses(&self.host.kernel, self.id));
            return Ok(Some(0));
        }
        bridge::verb(
            &mut self.host.kernel,
            self.context.stack,
            self.id,
            verb,
            rest,
        )
    }
}
