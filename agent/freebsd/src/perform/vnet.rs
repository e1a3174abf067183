//! Inside VNET jails, from outside with `-j`: the jail's own binaries are never run.
//!
//! The jail's root may have renamed or changed everything in there; what is asked for is made so again, and what cannot be found is an error.

use std::net::IpAddr;

use cellblock_agent_core::observed::{Interface, Route, is_only_way};
use cellblock_agent_core::render::jailconf;
use cellblock_schemas::net::Family;

use super::address::{alias_words, has};
use super::{Performer, effect, interface_word, jail_word};
use crate::command::{Command, Program, words};
use crate::error::Failure;
use crate::observe;

impl Performer<'_> {
    fn find_in(&self, jail: &str, interface: &str) -> Result<Option<Interface>, Failure> {
        observe::interface(
            self.system,
            Some(jail_word(jail)?),
            interface_word(interface)?,
        )
    }

    fn expect_in(&self, jail: &str, interface: &str) -> Result<Interface, Failure> {
        self.find_in(jail, interface)?
            .ok_or_else(|| Failure::Changed(format!("interface {interface} is not in jail {jail}")))
    }

    fn ifconfig_in(&self, jail: &str, mut arguments: Vec<String>) -> Result<(), Failure> {
        arguments.splice(0..0, words!["-j", jail]);
        self.ifconfig(arguments).map(|_| ())
    }

    pub(super) fn move_to_vnet(&self, interface: &str, jail: &str) -> Result<(), Failure> {
        if self.find(interface)?.is_some() {
            self.ifconfig(words![interface, "vnet", jail_word(jail)?])?;
        }
        let there = self.find_in(jail, interface)?.is_some();
        effect(there, || {
            format!("interface {interface} is neither on the host nor in jail {jail}")
        })
    }

    pub(super) fn rename_in_vnet(&self, jail: &str, from: &str, to: &str) -> Result<(), Failure> {
        let taken = self.find_in(jail, to)?.is_some();
        match (self.find_in(jail, from)?.is_some(), taken) {
            (false, true) => return Ok(()),
            (true, false) => {}
            (true, true) => {
                let name = format!("{to} in jail {jail}");
                return Err(Failure::NameTaken {
                    what: "interface",
                    name,
                });
            }
            (false, false) => {
                return Err(Failure::Changed(format!(
                    "interface {from} is not in jail {jail}"
                )));
            }
        }
        self.ifconfig_in(jail, words![from, "name", to])?;
        let there = self.find_in(jail, to)?.is_some();
        effect(there, || {
            format!("interface {from} in jail {jail} is not called {to}")
        })
    }

    /// `no_dad`, as in the jail's first start: the address is the controller's to give, and no daemon shall meet it tentative.
    pub(super) fn add_address_in_vnet(
        &self,
        jail: &str,
        interface: &str,
        address: IpAddr,
        prefix_length: u8,
    ) -> Result<(), Failure> {
        if !has(&self.expect_in(jail, interface)?, address, prefix_length) {
            self.ifconfig_in(jail, alias_words(interface, address, prefix_length, true))?;
        }
        self.up_in_vnet(jail, interface)?;
        effect(
            has(&self.expect_in(jail, interface)?, address, prefix_length),
            || format!("{address}/{prefix_length} is not on {interface} in jail {jail}"),
        )
    }

    /// `-alias`; absent is fine.
    pub(super) fn remove_address_in_vnet(
        &self,
        jail: &str,
        interface: &str,
        address: IpAddr,
        prefix_length: u8,
    ) -> Result<(), Failure> {
        if self.expect_in(jail, interface)?.address(address).is_none() {
            return Ok(());
        }
        let family = Family::of(address).keyword();
        let prefix = format!("{address}/{prefix_length}");
        self.ifconfig_in(jail, words![interface, family, prefix, "-alias"])?;
        let there = self.expect_in(jail, interface)?.address(address).is_some();
        effect(!there, || {
            format!("{address} is still on {interface} in jail {jail}")
        })
    }

    pub(super) fn set_mtu_in_vnet(
        &self,
        jail: &str,
        interface: &str,
        mtu: u32,
    ) -> Result<(), Failure> {
        if self.expect_in(jail, interface)?.mtu == mtu {
            return Ok(());
        }
        self.ifconfig_in(jail, words![interface, "mtu", mtu.to_string()])?;
        let now = self.expect_in(jail, interface)?.mtu;
        effect(now == mtu, || {
            format!("the MTU of {interface} in jail {jail} is {now}, not {mtu}")
        })
    }

    pub(super) fn up_in_vnet(&self, jail: &str, interface: &str) -> Result<(), Failure> {
        if self.expect_in(jail, interface)?.is_up() {
            return Ok(());
        }
        self.ifconfig_in(jail, words![interface, "up"])?;
        effect(self.expect_in(jail, interface)?.is_up(), || {
            format!("{interface} in jail {jail} is not up")
        })
    }

    /// The words of the jail's first start.
    pub(super) fn accept_rtadv_in_vnet(&self, jail: &str, interface: &str) -> Result<(), Failure> {
        if self.expect_in(jail, interface)?.accepts_rtadv() {
            return Ok(());
        }
        let mut arguments = words![interface];
        arguments.extend(jailconf::ACCEPT_RTADV.split(' ').map(str::to_owned));
        self.ifconfig_in(jail, arguments)?;
        effect(self.expect_in(jail, interface)?.accepts_rtadv(), || {
            format!("{interface} in jail {jail} takes no router advertisements")
        })
    }

    /// `way` is the gateway as route(8) is told it, a link-local one with its interface behind `%`.
    ///
    /// `add`, or where others are to be replaced `change`, which leaves no moment without a route and one way of several (seen on 15.1); if that is refused, `delete` and `add`.
    pub(super) fn set_default_route_in_vnet(
        &self,
        jail: &str,
        family: Family,
        gateway: IpAddr,
        way: &str,
        replace: bool,
    ) -> Result<(), Failure> {
        let jail = jail_word(jail)?;
        let present = self.default_routes(jail, family)?;
        if is_only_way(&present, gateway) {
            return Ok(());
        }
        match present.first() {
            None => {
                self.route(jail, "add", family, Some(way))?;
            }
            Some(_) if replace => {
                if self.route(jail, "change", family, Some(way)).is_err() {
                    self.route(jail, "delete", family, None)?;
                    self.route(jail, "add", family, Some(way))?;
                }
            }
            Some(route) => {
                return Err(Failure::Changed(format!(
                    "jail {jail} has a default route to {} by now",
                    route.gateway
                )));
            }
        }
        let now = self.default_routes(jail, family)?;
        effect(is_only_way(&now, gateway), || {
            format!("jail {jail} has no default route to {gateway} alone")
        })
    }

    fn default_routes(&self, jail: &str, family: Family) -> Result<Vec<Route>, Failure> {
        let mut routes = observe::vnet_routes(self.system, jail)?
            .ok_or_else(|| Failure::Changed(format!("jail {jail} is not there")))?;
        routes.retain(|route| route.is_default_of(family));
        Ok(routes)
    }

    fn route(
        &self,
        jail: &str,
        verb: &str,
        family: Family,
        gateway: Option<&str>,
    ) -> Result<(), Failure> {
        let mut arguments = words!["-j", jail, "-n", verb];
        if family == Family::Ipv6 {
            arguments.push("-inet6".to_owned());
        }
        arguments.push("default".to_owned());
        arguments.extend(gateway.map(str::to_owned));
        self.change(&Command::new(Program::Route, arguments))
            .map(|_| ())
    }
}
