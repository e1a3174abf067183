//! `ifconfig NAME create …` and `ifconfig NAME -vnet JAIL`: interfaces that are not there yet.

use super::super::Af;
use super::{Pending, Run};
use crate::cmd::Context;
use crate::emulator::Emulator;
use crate::kernel::errno::Errno;
use crate::kernel::ifnet::IfId;
use crate::output::Output;

/// `NAME create [words]`.
pub(in crate::cmd::ifconfig) fn create(
    host: &mut Emulator,
    context: &Context,
    name: &str,
    words: &[String],
) -> Output {
    let (created, words) = if name.contains('.') {
        (host.kernel.vlan_create_dotted(context.stack, name), words)
    } else if name.starts_with("vlan") {
        create_vlan(host, context, name, words)
    } else {
        (host.kernel.clone_create(context.stack, name), words)
    };
    let id = match created {
        Ok(id) => id,
        Err(Errno::EEXIST) => {
            return Output::failure(1, format!("ifconfig: interface {name} already exists"));
        }
        Err(error) => {
            return Output::failure(
                1,
                format!("ifconfig: SIOCIFCREATE2 ({name}): {}", error.text()),
            );
        }
    };
    let print_name = host.kernel.ifnet(id).name != name;
    let (af, words) = match words.split_first() {
        Some((word, rest)) if Af::by_name(word).is_some() => (Af::by_name(word), rest),
        Some(_) | None => (None, words),
    };
    let run = Run {
        host,
        context,
        id,
        af: af.unwrap_or(Af::Inet),
        pending: Pending::default(),
        stdout: String::new(),
        print_name,
        gone: false,
    };
    run.finish(words)
}

/// A vlan takes tag and parent with its creation, which fails as a whole.
fn create_vlan<'a>(
    host: &mut Emulator,
    context: &Context,
    name: &str,
    mut words: &'a [String],
) -> (Result<IfId, Errno>, &'a [String]) {
    let (mut tag, mut parent) = (None, None);
    while let [verb, value, rest @ ..] = words {
        match verb.as_str() {
            "vlan" => tag = Some(value.parse::<u16>().unwrap_or(u16::MAX)),
            "vlandev" => parent = Some(value.clone()),
            "vlanproto" | "vlanpcp" => {}
            _ => break,
        }
        words = rest;
    }
    let (Some(tag), Some(parent)) = (tag, parent) else {
        return (host.kernel.clone_create(context.stack, name), words);
    };
    let Some(parent) = host.kernel.ifunit(context.stack, &parent) else {
        return (Err(Errno::ENXIO), words);
    };
    if tag == 0 || tag > 4094 {
        return (Err(Errno::EINVAL), words);
    }
    if host.kernel.ifnet(parent).is_loopback() {
        return (Err(Errno::EPROTONOSUPPORT), words);
    }
    if host.kernel.vlan_exists(parent, tag) {
        return (Err(Errno::EEXIST), words);
    }
    let created = host
        .kernel
        .clone_create(context.stack, name)
        .and_then(|id| host.kernel.vlan_configure(id, parent, tag).map(|()| id));
    (created, words)
}

/// `NAME -vnet JAIL`: takes an interface back out of a jail.
pub(in crate::cmd::ifconfig) fn reclaim(
    host: &mut Emulator,
    context: &Context,
    name: &str,
    jail: Option<&String>,
) -> Output {
    let Some(jail) = jail else {
        return Output::failure(1, "ifconfig: '-vnet' requires argument");
    };
    let Some((jid, stack)) = host
        .kernel
        .find_jail(context.jid, jail)
        .map(|jail| (jail.jid, jail.stack))
    else {
        let why = host.kernel.no_jail(context.jid, jail);
        return Output::failure(1, format!("ifconfig: {why}"));
    };
    let refuse = |error: Errno| {
        Output::failure(
            1,
            format!("ifconfig: SIOCSIFRVNET({jid}, {name}): {}", error.text()),
        )
    };
    let Some(id) = host.kernel.ifunit(stack, name) else {
        return refuse(Errno::ENXIO);
    };
    if stack == context.stack {
        return refuse(Errno::EEXIST);
    }
    host.kernel.vmove(id, context.stack);
    Output::success()
}
