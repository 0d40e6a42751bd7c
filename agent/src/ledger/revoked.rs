//! What was revoked here and what of it counts: all that an approver has signed, and of what the
//! controller's online key alone has signed as much as the guard lets through. What is held has no
//! effect and is confirmed to nobody.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    derive::Statements,
    desired::Grant,
    envelope::{Envelope, Verified},
    id::Id,
    link::{Revocation, Target},
    name::Login,
    receipt::{self, Authority, Finding, FindingKind},
    revocations::Revocations,
    time::Now,
};

use super::Ledger;
use crate::guard::{Limit, Verdict};

/// How many revocations that the controller's online key alone has signed are kept. Whoever holds
/// that key could otherwise fill this file until it cannot be read any more, and with it everything
/// that ends. What an approver has signed is always kept.
pub const MAX_ONLINE_REVOCATIONS: usize = 16_384;

/// How many of those that are held are told one by one.
const MOST_TOLD: usize = 64;

/// A revocation and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) revocation: Revocation,
    pub(super) standing: Standing,
}

impl Kept {
    /// Returns by what a receipt names it.
    fn named(&self) -> BTreeSet<Id> {
        let by = match self.standing {
            Standing::Approved => Authority::Approver,
            Standing::Admitted | Standing::Idle | Standing::Waiting => Authority::Online,
        };
        receipt::named(&self.revocation, by)
    }
}

/// Where a revocation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// An approver has signed it, perhaps among others: it counts.
    Approved,
    /// Only the controller's online key has, and it was let through: it counts.
    Admitted,
    /// Only that key has; it was told and took nothing, or the host only observed.
    Idle,
    /// Only that key has, and it is new or held.
    Waiting,
}

impl Ledger {
    /// Returns the revocations that count.
    pub fn revocations(&self) -> Revocations {
        collect(&self.revocations, |kept| {
            matches!(kept.standing, Standing::Approved | Standing::Admitted)
        })
    }

    /// Returns how many revocations the online key alone has signed.
    pub fn online_revocations(&self) -> usize {
        self.revocations.values().filter(|kept| kept.standing != Standing::Approved).count()
    }

    /// Takes revocations, and says how many of the online key there was no room for.
    pub(super) fn take_revocations(
        &mut self,
        revocations: Vec<(Verified<Revocation>, Envelope)>,
    ) -> usize {
        let mut room = MAX_ONLINE_REVOCATIONS.saturating_sub(self.online_revocations());
        let mut refused = 0;
        for (revocation, _) in revocations {
            let by_approver = !revocation.signers().is_empty();
            let revocation = revocation.into_inner();
            let (id, target) = (revocation.id, revocation.target);
            if let Some(kept) = self.revocations.get_mut(&(id, target)) {
                if by_approver {
                    kept.standing = Standing::Approved;
                }
                // Whoever sends it again has not heard that it is kept; one that is held is not done.
                if kept.standing != Standing::Waiting {
                    self.unreported.extend(kept.named());
                }
                continue;
            }
            let standing = if by_approver {
                Standing::Approved
            } else if room == 0 {
                refused += 1;
                continue;
            } else {
                room -= 1;
                Standing::Waiting
            };
            let kept = Kept { revocation, standing };
            if by_approver {
                self.unreported.extend(kept.named());
            }
            self.revocations.insert((id, target), kept);
        }
        refused
    }

    /// Decides on what the online key alone has revoked, and returns the grants that are left with
    /// what counts now, and what is held. `grants` says what these revocations leave.
    pub fn weigh(
        &mut self,
        limit: &Limit,
        now: Now,
        grants: impl Fn(&Revocations) -> BTreeSet<Grant>,
    ) -> (BTreeSet<Grant>, Vec<Finding>) {
        let counting = self.revocations();
        let before = grants(&counting);
        let waiting: Vec<(Id, Target)> = self.unweighed().collect();
        if waiting.is_empty() {
            return (before, Vec::new());
        }
        let mut accounts: BTreeSet<&Login> = before.iter().map(|grant| &grant.login).collect();
        let taken = self.window.taken.clone();
        accounts.extend(taken.keys());
        let losers = |some: &[(Id, Target)]| {
            let mut with = counting.clone();
            let some = some.iter().filter_map(|place| self.revocations.get(place));
            some.for_each(|kept| with.insert(&kept.revocation));
            before.difference(&grants(&with)).map(|grant| grant.login.clone()).collect()
        };
        let verdicts = self.window.weigh(&waiting, (limit, accounts.len()), now, losers);
        let mut held = Vec::new();
        for (place, verdict) in waiting.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Admitted => self.tell(place, Standing::Admitted),
                Verdict::Idle => self.tell(place, Standing::Idle),
                Verdict::Held(would_lose) => {
                    self.tell(place, Standing::Waiting);
                    held.push((place, would_lose));
                }
            }
        }
        let counts = self.revocations();
        let left = if counts == counting { before } else { grants(&counts) };
        (left, self.findings(limit, &held))
    }

    /// Returns the grants that all revocations leave, for a host that changes nothing: what would
    /// be held is weighed once it does.
    pub fn weigh_nothing(
        &mut self,
        grants: impl Fn(&Revocations) -> BTreeSet<Grant>,
    ) -> BTreeSet<Grant> {
        let waiting: Vec<(Id, Target)> = self.unweighed().collect();
        for place in waiting {
            self.tell(place, Standing::Idle);
        }
        grants(&collect(&self.revocations, |_| true))
    }

    /// Says whether there is anything that every look weighs.
    pub fn has_unweighed(&self) -> bool {
        self.unweighed().next().is_some()
    }

    /// Forgets what is held: the key that signed it is the controller's no more, and whoever stole it
    /// shall not take away bit by bit what there was no room for at once.
    pub(super) fn forget_held(&mut self) {
        self.revocations.retain(|_, kept| kept.standing != Standing::Waiting);
    }

    fn unweighed(&self) -> impl Iterator<Item = (Id, Target)> {
        let open = |kept: &Kept| matches!(kept.standing, Standing::Idle | Standing::Waiting);
        self.revocations.iter().filter(move |(_, kept)| open(kept)).map(|(place, _)| *place)
    }

    /// Notes where a revocation stands; once it is not held any more, whoever waits for it hears.
    fn tell(&mut self, place: (Id, Target), standing: Standing) {
        let Some(kept) = self.revocations.get_mut(&place) else { return };
        let was_held = kept.standing == Standing::Waiting && standing != Standing::Waiting;
        kept.standing = standing;
        if was_held {
            self.unreported.extend(kept.named());
        }
    }

    fn findings(&self, limit: &Limit, held: &[((Id, Target), Option<usize>)]) -> Vec<Finding> {
        let known = self.known();
        let hours = limit.hours();
        let mut findings: Vec<Finding> = Vec::new();
        let finding = |((id, target), would_lose): &((Id, Target), Option<usize>)| Finding {
            kind: FindingKind::RevocationHeld.into(),
            subject: id.to_string(),
            detail: format!(
                "of {}, signed by the controller's own key alone: {}; it counts as soon as an \
                 approver signs the same",
                words(target, &known),
                would_lose.map_or_else(
                    || "too many wait before it".to_owned(),
                    |accounts| format!(
                        "{accounts} more accounts would lose something by it, which is more than \
                         that key may take away in {hours} hours"
                    )
                ),
            ),
        };
        findings.extend(held.iter().take(MOST_TOLD).map(finding));
        let more = held.len().saturating_sub(MOST_TOLD);
        if more > 0 {
            findings.push(Finding {
                kind: FindingKind::RevocationHeld.into(),
                subject: "revocations".to_owned(),
                detail: format!("{more} more of the controller's own key alone are held"),
            });
        }
        findings
    }
}

fn collect(all: &BTreeMap<(Id, Target), Kept>, counts: impl Fn(&Kept) -> bool) -> Revocations {
    let mut revocations = Revocations::default();
    let counting = all.values().filter(|kept| counts(kept));
    counting.for_each(|kept| revocations.insert(&kept.revocation));
    revocations
}

/// Returns what a revocation ends, in words.
fn words(target: &Target, known: &Statements) -> String {
    let name = |id: &Id| {
        known.get(id).map_or_else(
            || id.to_string(),
            |found| {
                let name = found.content.name().map(|name| format!(" `{name}`"));
                format!("{}{}", found.content.kind(), name.unwrap_or_default())
            },
        )
    };
    match target {
        Target::Statement { id, .. } => name(id),
        Target::Membership { user, group } => format!("{} in {}", name(user), name(group)),
        Target::Key(fingerprint) => format!("key {}", fingerprint.short()),
        Target::Host(_) => "this host".to_owned(),
    }
}
