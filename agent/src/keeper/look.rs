//! One look: what the ledger and the host's own labels and clocks come to, what the host is like, and
//! the plan from one to the other. Nothing is changed but what is remembered of dates.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    bundle,
    derive::{self, Circumstances, Freshness, Statements},
    desired::{DesiredState, Entitlement},
    id::Id,
    name::{Login, ObjectName},
    receipt::{Finding, FindingKind, HostMode},
    revocations::Revocations,
    statement::Content,
    time::Now,
};

use super::{KeeperError, turn::Turn};
use crate::{
    clock::Time,
    drift::{Difference, difference::differences, ungranted::ungranted},
    ends::{self, Ends},
    host::Host,
    ledger::MAX_ONLINE_REVOCATIONS,
    observed::{ObservedState, Scope},
    plan::{self, Plan},
};

/// What one look at the host came to.
pub(super) struct Look {
    pub(super) desired: DesiredState,
    pub(super) observed: ObservedState,
    pub(super) plan: Plan,
    pub(super) findings: BTreeSet<Finding>,
    /// What the plan would put right, and what of Muster's it would not.
    pub(super) differences: Vec<Difference>,
    /// What nobody granted.
    pub(super) ungranted: Vec<Difference>,
}

impl<H: Host> Turn<'_, H> {
    pub(super) fn look(&mut self, time: &Time) -> Result<Look, KeeperError> {
        let known = self.ledger.known();
        let share = ends::share(self.ledger.ownership.accounts.len());
        let ends = ends::judge(&known, &self.keeper.ends, time, share);
        let freshness = self.ledger.floor_link().map_or(Freshness::Stale, |link| {
            bundle::freshness(link, self.ledger.trust(), time.sure)
        });
        let refused = &self.keeper.config.policy.refused_roles;
        let counting = |mut statements: Statements| {
            statements.retain(|id, statement| {
                let role = matches!(&statement.content, Content::Role(role) if refused.contains(&role.name));
                !role && !ends.has_ended(id, statement)
            });
            statements
        };
        let (proved, counting_known) = (counting(self.ledger.proved()), counting(known));
        let (host, labels) = (self.ledger.host, &self.keeper.labels.labels);
        let held = std::mem::take(&mut self.ledger.held);
        let believed = |revocations: &Revocations| {
            // What has ended is told by `ends`, which knows more than a date.
            let now = Now { latest: time.sure, earliest: time.now.earliest };
            let circumstances = Circumstances { host, labels, revocations, now };
            derive::believe(&proved, &counting_known, &held, freshness, &circumstances)
        };
        let weighed = self.ledger.has_unweighed();
        let (grants, revocations_held) = match self.keeper.config.policy.mode {
            HostMode::Enforce => {
                self.ledger.weigh(&self.keeper.config.online_revocations, time.now, believed)
            }
            HostMode::Observe => (self.ledger.weigh_nothing(believed), Vec::new()),
        };
        self.unsaved |= weighed || held != grants;
        self.note_lost(&held, &grants);
        let roles_refused = self.roles_refused(&ends, time);
        let mut desired = DesiredState::assemble(&grants, &self.ledger.pins);
        desired.note_ends(&self.ledger.known());
        self.ledger.held = grants;
        let scope = Scope::of(&desired, &self.ledger.ownership, &self.keeper.config.policy);
        let observed = self.keeper.host.observe(&scope)?;
        self.unsaved |= self.ledger.ownership.take_down_homes(&observed.passwd);
        let plan = plan::plan(
            &observed,
            &desired,
            &self.ledger.ownership,
            &self.keeper.config.policy.at(time),
            time.sure,
        );
        let mut findings: BTreeSet<Finding> = plan.findings.iter().cloned().collect();
        findings.extend(self.keeper.labels.findings.iter().cloned());
        findings.extend(self.keeper.unusable.iter().map(|reason| Finding {
            kind: FindingKind::Config.into(),
            subject: "agent.toml".to_owned(),
            detail: format!("what holds is what stood there before: {reason}"),
        }));
        findings.extend(self.keeper.damaged.iter().map(|number| Finding {
            kind: FindingKind::ReceiptDamaged.into(),
            subject: number.to_string(),
            detail: "it lies in the spool and cannot be read: nobody else will have it".to_owned(),
        }));
        findings.extend(self.keeper.unwatched.iter().map(|(path, why)| Finding {
            kind: FindingKind::Unwatched.into(),
            subject: path.clone(),
            detail: format!("changes are found by the scan now and then only: {why}"),
        }));
        findings.extend(revocations_held);
        findings.extend(roles_refused);
        findings.extend(self.unproved());
        findings.extend(ends.findings(time));
        findings.extend(self.no_room());
        self.unsaved |= ends.ended != self.ledger.passed;
        self.ledger.passed.clone_from(&ends.ended);
        self.keeper.ends = ends;
        let differences = differences(&observed, &desired, &self.ledger.ownership, &plan);
        let ungranted = ungranted(&observed, &self.ledger.ownership);
        let mut look = Look { desired, observed, plan, findings, differences, ungranted };
        let paused = self.paused(&look);
        look.findings.extend(paused);
        Ok(look)
    }

    /// Says so if no more revocations of the controller's own key are kept here.
    fn no_room(&self) -> Option<Finding> {
        (self.ledger.online_revocations() >= MAX_ONLINE_REVOCATIONS).then(|| Finding {
            kind: FindingKind::RevocationsFull.into(),
            subject: "revocations".to_owned(),
            detail: format!(
                "the controller's own key has revoked {MAX_ONLINE_REVOCATIONS} things here: more \
                 count only when an approver signs them"
            ),
        })
    }

    /// Tells of each role that the host's own configuration refuses and that somebody would have
    /// here.
    fn roles_refused(&self, ends: &Ends, time: &Time) -> Vec<Finding> {
        let refused = &self.keeper.config.policy.refused_roles;
        if refused.is_empty() {
            return Vec::new();
        }
        let mut statements = self.ledger.proved();
        statements.retain(|id, statement| !ends.has_ended(id, statement));
        let refused = |id: &Id| match &statements.get(id)?.content {
            Content::Role(role) => refused.get(&role.name),
            _ => None,
        };
        if !statements.keys().any(|id| refused(id).is_some()) {
            return Vec::new();
        }
        let (host, labels) = (self.ledger.host, &self.keeper.labels.labels);
        let revocations = &self.ledger.revocations();
        let now = Now { latest: time.sure, earliest: time.now.earliest };
        let circumstances = Circumstances { host, labels, revocations, now };
        let mut roles: BTreeMap<&ObjectName, BTreeSet<Login>> = BTreeMap::new();
        for grant in derive::derive(&statements, &circumstances) {
            if let Entitlement::UnixGroupMode(role, _) = &grant.entitlement
                && let Some(name) = refused(role)
            {
                roles.entry(name).or_default().insert(grant.login);
            }
        }
        let told = roles.iter().map(|(role, logins)| Finding {
            kind: FindingKind::RoleRefused.into(),
            subject: role.to_string(),
            detail: format!("the host's own configuration refuses it to {} users", logins.len()),
        });
        told.collect()
    }

    /// Returns the assignments that the present link proves without what they rest on: nothing new
    /// comes of them, and somebody should ask why.
    fn unproved(&self) -> Vec<Finding> {
        let labels = &self.keeper.labels.labels;
        let proved = self.ledger.proved();
        let missing = proved.values().filter_map(|statement| {
            let Content::Assignment(assignment) = &statement.content else { return None };
            let whole =
                proved.contains_key(&assignment.role) && proved.contains_key(&assignment.subject);
            (!whole && assignment.hosts.matches(labels)).then(|| Finding {
                kind: FindingKind::Unproved.into(),
                subject: assignment.name.to_string(),
                detail: "its role or subject is not shown under the newest link".to_owned(),
            })
        });
        missing.collect()
    }
}
