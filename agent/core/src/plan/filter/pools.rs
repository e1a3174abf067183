//! Ports that several jails share: which of them they lead to.
//!
//! To those that are up, and while none is, to all that shall run: as with the ports of one jail, who connects then learns that nobody answers, and is not led to the host itself. The redirect and
//! what passes stand in the anchor of the pool, those of a jail with a firewall in the jail's own; each jail's states have its own label, so that they end with it and nobody else's do.

use std::collections::BTreeMap;

use super::Rules;
use crate::names;
use crate::plan::Planner;
use crate::render::pf::{PoolMember, PoolRule, RedirectRule};

impl Planner<'_> {
    /// Adds the rules of shared ports, by pool.
    pub(super) fn add_pools(
        &mut self,
        shared: BTreeMap<&str, Vec<RedirectRule>>,
        rules: &mut Rules,
    ) {
        for (pool, redirects) in shared {
            let mut alike: BTreeMap<RedirectRule, Vec<PoolMember>> = BTreeMap::new();
            for redirect in redirects {
                let is_guarded = self.firewalls.contains_key(&redirect.jail);
                if is_guarded {
                    let own = rules.entry(names::jail_anchor(&redirect.jail));
                    own.or_default().redirects.push(redirect.clone());
                }
                // In what they have in common.
                let common = RedirectRule {
                    jail: Default::default(),
                    target: redirect.public,
                    forwarded_by: None,
                    ..redirect.clone()
                };
                alike.entry(common).or_default().push(PoolMember {
                    redirect,
                    is_guarded,
                    is_behind: true,
                });
            }
            for members in alike.into_values() {
                let anchor = rules.entry(names::pool_anchor(pool)).or_default();
                anchor.pools.push(PoolRule { members });
            }
        }
    }

    /// Leaves out who is not up, where anybody is.
    pub(super) fn choose_members(&self, rules: &mut Rules) {
        for pool in rules.values_mut().flat_map(|anchor| &mut anchor.pools) {
            let is_up = |member: &PoolMember| self.is_up(&member.redirect.jail);
            if pool.members.iter().any(is_up) {
                for member in &mut pool.members {
                    member.is_behind = is_up(member);
                }
            }
        }
    }
}
