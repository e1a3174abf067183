//! Agents that lack what an object of their view needs: that object is blocked on their host, and all else goes on.
//!
//! One that reads what objects need ([`feature::NEEDS`]) does that itself. Every older one blocks a jail at a network whose mode it does not know (`AgentTooOld`), and leaves it as it runs: such a
//! network is what its view has in place of what it would pass over.

use std::collections::BTreeSet;

use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::feature;
use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::{BoundAttachment, RunPolicy};
use cellblock_schemas::report::HostReport;
use cellblock_schemas::view::NetworkView;
use cellblock_schemas::{HostSpec, HostView};

/// The networks that stand for what is lacking: no Network has such a name.
const PREFIX: &str = "feature:";

/// What an agent knows, as its Hello names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features(BTreeSet<String>);

impl FromIterator<String> for Features {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl Features {
    /// Whether the agent names it.
    #[must_use]
    pub fn has(&self, feature: &str) -> bool {
        self.0.contains(feature)
    }

    fn lacking<'n>(&'n self, needs: &'n BTreeSet<String>) -> impl Iterator<Item = &'n String> {
        let reads = self.has(feature::NEEDS);
        needs.difference(&self.0).filter(move |_| !reads)
    }

    /// Has the agent block what it would do by half.
    pub fn withhold(&self, view: &mut HostView) {
        let networks = &mut view.networks;
        // What is to stop or to go every agent can stop and take away.
        let staying = view
            .jails
            .values_mut()
            .filter(|jail| !jail.deleting && jail.spec.run_policy != RunPolicy::Stopped);
        for jail in staying {
            for lacking in self.lacking(&jail.needs) {
                let name = format!("{PREFIX}{lacking}");
                jail.binding.attachments.push(BoundAttachment {
                    network: name.clone(),
                    ..BoundAttachment::default()
                });
                networks.entry(name.clone()).or_insert_with(|| NetworkView {
                    uid: Uid(name.clone()),
                    name,
                    ..NetworkView::default()
                });
            }
        }
    }

    /// Has a report say what the agent cannot know that it lacks.
    pub fn tell(&self, host: &HostSpec, report: &mut HostReport) {
        report
            .networks
            .retain(|network| !network.name.starts_with(PREFIX));
        let needs = feature::of_host(host);
        let Some(lacking) = self.lacking(&needs).next() else {
            return;
        };
        let message = format!("the agent does not know `{lacking}`; update it");
        let mut conditions = report.conditions.iter_mut();
        // What else keeps it from being ready is no less so.
        let ready =
            conditions.find(|found| found.kind == "Ready" && found.status == ConditionStatus::True);
        if let Some(ready) = ready {
            *ready = Condition {
                status: ConditionStatus::False,
                reason: "AgentTooOld".to_owned(),
                message,
                ..ready.clone()
            };
        }
    }
}

#[cfg(test)]
mod tests;
