//! What a rule matches beside addresses: interfaces, protocols, ports, users, flags, ICMP types, TOS.

use super::host::{Host, INTERFACE_NAME_MAX};
use super::lex::Token;
use super::{Outcome, Parser};
use crate::pf::address::parse_c_number;
use crate::pf::names;
use crate::pf::rule::{Address, Af, IdMatch, Op, PortMatch, UNKNOWN_ID};

/// An item of `on`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct InterfaceItem {
    pub(super) name: String,
    pub(super) negated: bool,
    /// `(interface)` of antispoof.
    pub(super) dynamic: bool,
}

/// An item of `icmp-type` or `icmp6-type`; type and code are one more than on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct IcmpItem {
    pub(super) icmp_type: u16,
    pub(super) code: u16,
    pub(super) protocol: u8,
}

/// One end of `from … to …`.
#[derive(Debug, Clone, Default)]
pub(super) struct Peer {
    pub(super) hosts: Vec<Host>,
    pub(super) ports: Vec<PortMatch>,
}

/// `from … os … to …`.
#[derive(Debug, Clone, Default)]
pub(super) struct FromTo {
    pub(super) source: Peer,
    pub(super) os: Vec<String>,
    pub(super) destination: Peer,
}

/// A port or a range as written: `a`, `a:b`, `a:*`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PortRange {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) kind: PortKind,
}

/// Which of the three.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum PortKind {
    #[default]
    Single,
    Range,
    Star,
}

impl Parser<'_> {
    /// `on …`; empty when absent.
    pub(super) fn interfaces(&mut self) -> Outcome<Vec<InterfaceItem>> {
        if !self.key("on") {
            return Ok(Vec::new());
        }
        self.one_or_braced(|parser| {
            let negated = parser.char('!');
            Ok(InterfaceItem {
                negated,
                ..parser.interface_item()?
            })
        })
    }

    /// `if_item`.
    pub(super) fn interface_item(&mut self) -> Outcome<InterfaceItem> {
        if self.key("any") {
            return Ok(InterfaceItem {
                name: "any".to_owned(),
                ..InterfaceItem::default()
            });
        }
        let name = self.word()?;
        if name.len() > INTERFACE_NAME_MAX {
            return self.fail("interface name too long");
        }
        Ok(InterfaceItem {
            name,
            ..InterfaceItem::default()
        })
    }

    pub(super) fn family(&mut self) -> Option<Af> {
        if self.key("inet") {
            Some(Af::Inet)
        } else if self.key("inet6") {
            Some(Af::Inet6)
        } else {
            None
        }
    }

    /// `proto …`; empty when absent.
    pub(super) fn protocols(&mut self) -> Outcome<Vec<u8>> {
        if !self.key("proto") {
            return Ok(Vec::new());
        }
        self.one_or_braced(Self::protocol)
    }

    fn protocol(&mut self) -> Outcome<u8> {
        let number = if self.at_word() {
            let name = self.word()?;
            match names::protocol_number(&name) {
                Some(number) => i64::from(number),
                None => return self.fail(&format!("unknown protocol {name}")),
            }
        } else {
            self.bounded(255, |_| "protocol outside range".to_owned())?
        };
        match u8::try_from(number) {
            Ok(number) if number != 0 => Ok(number),
            _ => self.fail("proto 0 cannot be used"),
        }
    }

    pub(super) fn both_ends(&mut self) -> Outcome<FromTo> {
        let mut ends = FromTo::default();
        if self.key("all") {
            return Ok(ends);
        }
        if self.key("from") {
            ends.source = self.peer()?;
        }
        if self.key("os") {
            ends.os = self.one_or_braced(Self::word)?;
        }
        if self.key("to") {
            ends.destination = self.peer()?;
            self.refuse_urpf(
                &ends.destination.hosts,
                "\"urpf-failed\" is not permitted in a destination address",
            )?;
        }
        Ok(ends)
    }

    pub(super) fn refuse_urpf(&mut self, hosts: &[Host], message: &str) -> Outcome<()> {
        if hosts.iter().any(|host| host.address == Address::UrpfFailed) {
            self.fail(message)
        } else {
            Ok(())
        }
    }

    fn peer(&mut self) -> Outcome<Peer> {
        let hosts = if self.at_key("port") {
            Vec::new()
        } else {
            self.hosts()?
        };
        let ports = if self.key("port") {
            self.one_or_braced(Self::port_item)?
        } else {
            Vec::new()
        };
        Ok(Peer { hosts, ports })
    }

    fn port_item(&mut self) -> Outcome<PortMatch> {
        if let Some(op) = self.unary_operator() {
            let range = self.port_range(true, false)?;
            if range.kind != PortKind::Single {
                return self.fail("':' cannot be used with an other port operator");
            }
            return Ok(PortMatch {
                op,
                first: range.first,
                last: range.last,
            });
        }
        let first = self.port_range(true, false)?;
        if let Token::Binary(op) = *self.peek() {
            self.bump();
            let last = self.port_range(true, false)?;
            if first.kind != PortKind::Single || last.kind != PortKind::Single {
                return self.fail("':' cannot be used with an other port operator");
            }
            let ports = PortMatch {
                op,
                first: first.first,
                last: last.first,
            };
            return self.checked_range(ports, "invalid port range");
        }
        let op = if first.kind == PortKind::Single {
            Op::Equal
        } else {
            Op::Range
        };
        self.checked_range(
            PortMatch {
                op,
                first: first.first,
                last: first.last,
            },
            "invalid port range",
        )
    }

    /// `validate_range`.
    pub(super) fn checked_range(&mut self, ports: PortMatch, message: &str) -> Outcome<PortMatch> {
        let reversed = match ports.op {
            Op::Range | Op::Outside => ports.first > ports.last,
            Op::Inside => ports.first >= ports.last,
            Op::Equal
            | Op::NotEqual
            | Op::Less
            | Op::LessEqual
            | Op::Greater
            | Op::GreaterEqual => false,
        };
        if reversed {
            self.fail(message)
        } else {
            Ok(ports)
        }
    }

    fn unary_operator(&mut self) -> Option<Op> {
        let op = match self.peek() {
            Token::Char('=') => Op::Equal,
            Token::Char('<') => Op::Less,
            Token::Char('>') => Op::Greater,
            Token::Sign("!=") => Op::NotEqual,
            Token::Sign("<=") => Op::LessEqual,
            Token::Sign(">=") => Op::GreaterEqual,
            Token::Key(_)
            | Token::Word(_)
            | Token::Number(_)
            | Token::Binary(_)
            | Token::Sign(_)
            | Token::Char(_)
            | Token::Error
            | Token::End => return None,
        };
        self.bump();
        Some(op)
    }

    /// `parseport`; a form that is not allowed here is refused without a message.
    pub(super) fn port_range(&mut self, ranges: bool, stars: bool) -> Outcome<PortRange> {
        let text = match self.peek() {
            Token::Number(number) => number.to_string(),
            Token::Word(word) => word.clone(),
            Token::Key(_)
            | Token::Binary(_)
            | Token::Sign(_)
            | Token::Char(_)
            | Token::Error
            | Token::End => {
                return self.syntax();
            }
        };
        self.bump();
        // The message names the line of what follows, which yacc has read by then.
        self.peek();
        let Some((first, last)) = text.split_once(':') else {
            return Ok(PortRange {
                first: self.service(&text)?,
                ..PortRange::default()
            });
        };
        if stars && last == "*" {
            return Ok(PortRange {
                first: self.service(first)?,
                last: 0,
                kind: PortKind::Star,
            });
        }
        if !ranges {
            return Err(super::Abandon);
        }
        let (first, last) = (self.service(first)?, self.service(last)?);
        if first == last {
            return Ok(PortRange {
                first,
                ..PortRange::default()
            });
        }
        Ok(PortRange {
            first,
            last,
            kind: PortKind::Range,
        })
    }

    /// `getservice`.
    fn service(&mut self, name: &str) -> Outcome<u16> {
        if let Some(number) = parse_c_number(name) {
            return match u16::try_from(number) {
                Ok(port) => Ok(port),
                Err(_) => self.fail(&format!("illegal port value {number}")),
            };
        }
        match names::service_port(name) {
            Some(port) => Ok(port),
            None => self.fail(&format!("unknown port {name}")),
        }
    }

    /// `uids` or `gids`.
    pub(super) fn ids(&mut self, group: bool) -> Outcome<Vec<IdMatch>> {
        self.one_or_braced(|parser| parser.id_item(group))
    }

    fn id_item(&mut self, group: bool) -> Outcome<IdMatch> {
        let what = if group { "group" } else { "user" };
        let unknown = format!("{what} unknown requires operator = or !=");
        if let Some(op) = self.unary_operator() {
            let id = self.id(group)?;
            if id == UNKNOWN_ID && op != Op::Equal && op != Op::NotEqual {
                return self.fail(&unknown);
            }
            return Ok(IdMatch {
                op,
                first: id,
                last: id,
            });
        }
        let first = self.id(group)?;
        if let Token::Binary(op) = *self.peek() {
            self.bump();
            let last = self.id(group)?;
            if first == UNKNOWN_ID || last == UNKNOWN_ID {
                return self.fail(&unknown);
            }
            return Ok(IdMatch { op, first, last });
        }
        Ok(IdMatch {
            op: Op::Equal,
            first,
            last: first,
        })
    }

    fn id(&mut self, group: bool) -> Outcome<u32> {
        if self.at_word() {
            let name = self.word()?;
            if name == "unknown" {
                return Ok(UNKNOWN_ID);
            }
            let found = if group {
                self.facts.group_id(&name)
            } else {
                self.facts.user_id(&name)
            };
            let what = if group { "group" } else { "user" };
            return match found {
                Some(id) => Ok(id),
                None => self.fail(&format!("unknown {what} {name}")),
            };
        }
        let what = if group { "gid" } else { "uid" };
        let id = self.bounded(i64::from(u32::MAX) - 1, |id| {
            format!("illegal {what} value {id}")
        })?;
        Ok(u32::try_from(id).expect("the number was bounded"))
    }

    /// `flags …` behind its keyword: set, and looked at.
    pub(super) fn flags(&mut self) -> Outcome<(u16, u16)> {
        if self.key("any") {
            return Ok((0, 0));
        }
        let set = if self.at_char('/') { 0 } else { self.flag()? };
        self.expect_char('/')?;
        Ok((set, self.flag()?))
    }

    fn flag(&mut self) -> Outcome<u16> {
        let text = self.word()?;
        match parse_flags(&text) {
            Some(flags) => Ok(flags),
            None => self.fail(&format!("bad flags {text}")),
        }
    }

    /// `icmp-type …` or `icmp6-type …` behind its keyword.
    pub(super) fn icmp_types(&mut self, af: Af) -> Outcome<Vec<IcmpItem>> {
        self.one_or_braced(|parser| parser.icmp_item(af))
    }

    fn icmp_item(&mut self, af: Af) -> Outcome<IcmpItem> {
        let (protocol, name) = if af == Af::Inet {
            (1, "icmp")
        } else {
            (58, "icmp6")
        };
        let icmp_type = if self.at_word() {
            let word = self.word()?;
            match names::icmp_type(&word, af) {
                Some(number) => number,
                None => return self.fail(&format!("unknown {name}-type {word}")),
            }
        } else {
            let number = self.bounded(255, |number| format!("illegal {name}-type {number}"))?;
            u8::try_from(number).expect("the number was bounded")
        };
        let mut item = IcmpItem {
            icmp_type: u16::from(icmp_type) + 1,
            code: 0,
            protocol,
        };
        if self.key("code") {
            let code = if self.at_word() {
                let word = self.word()?;
                match names::icmp_code(icmp_type, &word, af) {
                    Some(code) => code,
                    None => return self.fail(&format!("unknown {name}-code {word}")),
                }
            } else {
                let number = self.bounded(255, |number| format!("illegal {name}-code {number}"))?;
                u8::try_from(number).expect("the number was bounded")
            };
            item.code = u16::from(code) + 1;
        }
        Ok(item)
    }

    pub(super) fn tos(&mut self) -> Outcome<u8> {
        if self.at_word() {
            let word = self.word()?;
            let hexadecimal = word
                .starts_with("0x")
                .then(|| parse_c_number(&word))
                .flatten();
            let value = names::tos_value(&word)
                .or_else(|| hexadecimal.and_then(|value| u8::try_from(value).ok()));
            return match value {
                Some(value) => Ok(value),
                None => self.fail(&format!("illegal tos value {word}")),
            };
        }
        let number = self.bounded(255, |number| format!("illegal tos value {number}"))?;
        Ok(u8::try_from(number).expect("the number was bounded"))
    }

    /// `rtable N` behind its keyword.
    pub(super) fn routing_table(&mut self) -> Outcome<u32> {
        let highest = i64::from(self.facts.fibs().saturating_sub(1));
        let number = self.bounded(highest, |_| "invalid rtable id".to_owned())?;
        Ok(u32::try_from(number).expect("the number was bounded"))
    }
}

/// The letters of TCP flags; none at all stand for all eight (`parse_flags`).
pub(super) fn parse_flags(text: &str) -> Option<u16> {
    let mut flags = 0;
    for letter in text.chars() {
        flags |= 1 << "FSRPAUEWe".find(letter)?;
    }
    Some(if flags == 0 { 0xff } else { flags })
}
