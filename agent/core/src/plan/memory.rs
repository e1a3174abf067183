//! What planning came to last time, so that a host that is as it was is not planned again.
//!
//! A plan follows from its inputs alone, so equal inputs have an equal plan, and comparing costs a small part of planning. Everything is
//! compared, never a digest: a jail's root decides what stands inside its network stack, and must find no way to make a host that it
//! changed look unchanged. Decides nothing; called by `pass`, once for every look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::view::HostView;

use super::{Settings, plan};
use crate::guard::RolledBack;
use crate::ledger::{Contents, Ledger, Owned, OwnedJail};
use crate::observed::Observed;
use crate::op::Plan;
use crate::shared::Shared;

#[cfg(test)]
mod tests;

/// The last plan that had nothing to do, with what it was made from.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    last: Option<Last>,
}

#[derive(Clone, Debug)]
struct Last {
    view: Arc<HostView>,
    observed: Arc<Observed>,
    settings: Settings,
    approved: bool,
    boot_id: String,
    owned: Shared<BTreeSet<Owned>>,
    jails: Shared<BTreeMap<Uid, OwnedJail>>,
    rolled_back: BTreeMap<String, RolledBack>,
    plan: Plan,
}

impl Remembered {
    /// What [`plan`] says of the same inputs, without planning if it said so last time.
    ///
    /// Only a plan without steps is remembered: any other changes the host, so the next look differs.
    #[must_use]
    pub fn plan(
        &mut self,
        view: &Arc<HostView>,
        observed: &Arc<Observed>,
        ledger: &Ledger,
        settings: &Settings,
    ) -> Plan {
        if let Some(last) = &self.last
            && last.is_of(view, observed, ledger, settings)
        {
            return last.plan.clone();
        }
        // It is as large as the host, and of no use while its successor is made.
        self.last = None;
        let plan = plan(view, observed, ledger, settings);
        self.last = plan.steps.is_empty().then(|| Last {
            view: view.clone(),
            observed: observed.clone(),
            settings: settings.clone(),
            approved: ledger.approved,
            boot_id: ledger.boot_id.clone(),
            owned: ledger.owned.clone(),
            jails: ledger.jails.clone(),
            rolled_back: ledger.rolled_back.clone(),
            plan: plan.clone(),
        });
        plan
    }
}

impl Last {
    fn is_of(
        &self,
        view: &Arc<HostView>,
        observed: &Observed,
        ledger: &Ledger,
        settings: &Settings,
    ) -> bool {
        // Named one by one, so that a new field of the ledger has to be thought of here. Its own view is not planned from.
        let Contents {
            view: _,
            view_digest: _,
            approved,
            boot_id,
            owned,
            jails,
            rolled_back,
        } = &**ledger;
        (Arc::ptr_eq(&self.view, view) || self.view == *view)
            && self.settings == *settings
            && self.approved == *approved
            && self.boot_id == *boot_id
            && *self.observed == *observed
            && self.owned == *owned
            && self.jails == *jails
            && self.rolled_back == *rolled_back
    }
}
