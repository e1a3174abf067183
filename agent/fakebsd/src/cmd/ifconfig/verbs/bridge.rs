//! The verbs of if_bridge(4), with the words of sbin/ifconfig/ifbridge.c.

use super::Verdict;
use crate::kernel::Kernel;
use crate::kernel::bridge::flag;
use crate::kernel::errno::{Errno, Refusal};
use crate::kernel::ifnet::IfId;
use crate::kernel::vnet::VnetId;

/// One bridge verb; `None` when it is not one, else how many words after it were its own.
pub(super) fn verb(
    kernel: &mut Kernel,
    stack: VnetId,
    id: IfId,
    verb: &str,
    rest: &[String],
) -> Verdict<Option<usize>> {
    let argument = || {
        rest.first()
            .map(String::as_str)
            .ok_or_else(|| format!("'{verb}' requires argument"))
    };
    let taken = match verb {
        "addm" => return add_member(kernel, stack, id, argument()?, &rest[1..]).map(Some),
        "deletem" => {
            let name = argument()?;
            kernel
                .bridge_delete_member(id, name)
                .map_err(|refusal| words(kernel, refusal, &format!("BRDGDEL {name}")))?;
            1
        }
        "vlanfilter" | "-vlanfilter" if kernel.release.has_bridge_vlan_filter() => {
            if let Some(softc) = kernel.bridge_mut(id) {
                softc.vlan_filter = verb == "vlanfilter";
            }
            0
        }
        "defuntagged" => {
            let tag = vlan_id(argument()?)?;
            if let Some(softc) = kernel.bridge_mut(id) {
                softc.default_untagged = Some(tag);
            }
            1
        }
        "-defuntagged" => {
            if let Some(softc) = kernel.bridge_mut(id) {
                softc.default_untagged = None;
            }
            0
        }
        "ifuntagged" | "iftagged" | "+iftagged" | "-iftagged" => {
            let [member, vlans, ..] = rest else {
                return Err(format!("'{verb}' requires 2 arguments"));
            };
            set_vlans(kernel, stack, id, verb, member, vlans)?;
            2
        }
        "-ifuntagged" => {
            let member = member_of(kernel, stack, id, argument()?, "BRDGSIFPVID")?;
            edit(kernel, id, member, |entry| entry.untagged = None);
            1
        }
        "flush" | "flushall" => {
            if let Some(softc) = kernel.bridge_mut(id) {
                softc.addresses.clear();
            }
            0
        }
        "maxaddr" | "hellotime" | "fwddelay" | "maxage" | "priority" | "proto" | "holdcnt"
        | "timeout"
            if kernel.bridge(id).is_some() =>
        {
            1
        }
        "ifpathcost" => {
            let [name, cost, ..] = rest else {
                return Err(format!("'{verb}' requires 2 arguments"));
            };
            let member = member_of(kernel, stack, id, name, "BRDGSIFCOST")?;
            let cost = cost.parse().map_err(|_| format!("invalid value: {cost}"))?;
            edit(kernel, id, member, |entry| entry.path_cost = cost);
            2
        }
        "ifpriority" | "ifmaxaddr" => 2,
        _ => return member_flag(kernel, stack, id, verb, rest),
    };
    Ok(Some(taken))
}

/// 15 prints the kernel's sentence behind errno's (EXTERROR); 14 has none.
fn words(kernel: &Kernel, refusal: Refusal, what: &str) -> String {
    match refusal
        .reason
        .filter(|_| kernel.release.has_extended_errors())
    {
        Some(reason) => format!("{what}: {} ({reason})", refusal.errno.text()),
        None => format!("{what}: {}", refusal.errno.text()),
    }
}

fn add_member(
    kernel: &mut Kernel,
    stack: VnetId,
    id: IfId,
    name: &str,
    mut rest: &[String],
) -> Verdict<usize> {
    kernel
        .bridge_add_member(id, name)
        .map_err(|refusal| words(kernel, refusal, &format!("BRDGADD {name}")))?;
    let mut taken = 1;
    while let [option, vlans, tail @ ..] = rest {
        let verb = match option.as_str() {
            "untagged" => "ifuntagged",
            "tagged" => "iftagged",
            _ => break,
        };
        set_vlans(kernel, stack, id, verb, name, vlans)?;
        taken += 2;
        rest = tail;
    }
    Ok(taken)
}

fn member_of(kernel: &Kernel, stack: VnetId, id: IfId, name: &str, request: &str) -> Verdict<IfId> {
    let member = kernel
        .ifunit(stack, name)
        .filter(|member| kernel.ifnet(*member).bridge == Some(id));
    member.ok_or_else(|| {
        words(
            kernel,
            Refusal::because(Errno::ENOENT, "Interface is not a bridge member"),
            &format!("{request} {name}"),
        )
    })
}

fn edit(
    kernel: &mut Kernel,
    id: IfId,
    member: IfId,
    change: impl FnOnce(&mut crate::kernel::bridge::Member),
) {
    if let Some(entry) = kernel
        .bridge_mut(id)
        .and_then(|softc| softc.member_mut(member))
    {
        change(entry);
    }
}

fn set_vlans(
    kernel: &mut Kernel,
    stack: VnetId,
    id: IfId,
    verb: &str,
    name: &str,
    vlans: &str,
) -> Verdict<()> {
    let member = member_of(kernel, stack, id, name, "BRDGSIFVLANSET")?;
    if verb == "ifuntagged" {
        let tag = vlan_id(vlans)?;
        edit(kernel, id, member, |entry| entry.untagged = Some(tag));
        return Ok(());
    }
    let given = vlan_set(vlans)?;
    edit(kernel, id, member, |entry| {
        let mut tags: std::collections::BTreeSet<u16> = if verb == "iftagged" {
            std::collections::BTreeSet::new()
        } else {
            entry
                .tagged
                .iter()
                .flat_map(|(low, high)| *low..=*high)
                .collect()
        };
        for tag in given {
            if verb == "-iftagged" {
                tags.remove(&tag);
            } else {
                tags.insert(tag);
            }
        }
        entry.tagged = ranges(&tags);
    });
    Ok(())
}

fn vlan_id(text: &str) -> Verdict<u16> {
    text.parse()
        .ok()
        .filter(|tag| (1..=4094).contains(tag))
        .ok_or_else(|| format!("invalid VLAN identifier: {text}"))
}

/// `20,30-40`, `all` or `none`.
fn vlan_set(text: &str) -> Verdict<Vec<u16>> {
    match text {
        "all" => return Ok((1..=4094).collect()),
        "none" => return Ok(Vec::new()),
        _ => {}
    }
    let mut tags = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((low, high)) => tags.extend(vlan_id(low)?..=vlan_id(high)?),
            None => tags.push(vlan_id(part)?),
        }
    }
    Ok(tags)
}

fn ranges(tags: &std::collections::BTreeSet<u16>) -> Vec<(u16, u16)> {
    let mut found: Vec<(u16, u16)> = Vec::new();
    for tag in tags {
        match found.last_mut() {
            Some((_, high)) if *high + 1 == *tag => *high = *tag,
            Some(_) | None => found.push((*tag, *tag)),
        }
    }
    found
}

/// Switching STP on for a full-duplex link also makes the port point-to-point, and that stays (recording `02`).
fn member_flag(
    kernel: &mut Kernel,
    stack: VnetId,
    id: IfId,
    verb: &str,
    rest: &[String],
) -> Verdict<Option<usize>> {
    let (word, on) = verb
        .strip_prefix('-')
        .map_or((verb, true), |word| (word, false));
    let bit = match word {
        "discover" => flag::DISCOVER,
        "learn" => flag::LEARNING,
        "sticky" => flag::STICKY,
        "span" => flag::SPAN,
        "stp" if on => flag::STP | flag::PTP,
        "stp" => flag::STP,
        "edge" => flag::EDGE,
        "autoedge" => flag::AUTOEDGE,
        "ptp" => flag::PTP,
        "autoptp" => flag::AUTOPTP,
        "private" => flag::PRIVATE,
        _ => return Ok(None),
    };
    let Some(name) = rest.first() else {
        return Err(format!("'{verb}' requires argument"));
    };
    let member = member_of(kernel, stack, id, name, "BRDGGIFFLGS")?;
    edit(kernel, id, member, |entry| {
        entry.flags = if on {
            entry.flags | bit
        } else {
            entry.flags & !bit
        }
    });
    Ok(Some(1))
}
