//! What a host's word is worth: a receipt counts as far as its own key signed it, in this fleet, and
//! only for what was asked. Confirmed has only who did all of it: a host that left a part undone, or
//! that only observes, has not.
//!
//! An attacker who holds the controller brings the receipts, the names and the keys. He cannot sign
//! for a host's key, and an id is the digest of the key; that a host has taken another revocation,
//! to which he gave the id of the one that was asked for, confirms nothing; a host of his own
//! making he can bring under a new name, not under one that the operator knows.

use muster_proto::{
    envelope::Verified,
    id::{Digest, HostId},
    link::Revocation,
    name::Line,
    receipt::{Authority, Convergence, Finding, FindingKind, HostMode, Receipt, Shortfall},
    trust::verify_by_host,
};
use serde::Serialize;

use super::{Asked, output::Rows};
use crate::{
    client::Progress,
    tool::known::{Acquaintance, Acquaintances},
};

/// How far a host has come. Programs read these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// All that was asked is done.
    Done,
    /// It did what it could, and left something undone that it names.
    Partly,
    /// It only observes: it changed nothing.
    Observing,
    /// Something failed and is tried again.
    Retrying,
    /// Connected, and has not confirmed yet.
    Waiting,
    /// Has not confirmed in time.
    Outstanding,
    /// It refused what it was sent.
    Refused,
    /// What came in its name is not its own.
    Forged,
    /// It has the name of a host that the operator knows, and another key.
    Stranger,
    /// The operator knows it, and the controller does not list it.
    Unlisted,
}

impl State {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partly => "partly",
            Self::Observing => "observing",
            Self::Retrying => "retrying",
            Self::Waiting => "waiting",
            Self::Outstanding => "outstanding",
            Self::Refused => "refused",
            Self::Forged => "forged",
            Self::Stranger => "stranger",
            Self::Unlisted => "unlisted",
        }
    }

    /// Says whether waiting longer would tell nothing new.
    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Partly | Self::Observing | Self::Stranger)
    }
}

/// One host's state, as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(super) struct HostLine {
    pub(super) host: String,
    id: String,
    pub(super) state: State,
    receipt: Option<u64>,
    pub(super) detail: String,
}

impl Rows for HostLine {
    fn head() -> &'static [&'static str] {
        &["HOST", "STATE", "RECEIPT", "DETAIL"]
    }

    fn row(&self) -> Vec<String> {
        let receipt = self.receipt.map_or_else(String::new, |number| number.to_string());
        vec![self.host.clone(), self.state.word().to_owned(), receipt, self.detail.clone()]
    }
}

/// What a host's word is judged by.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    /// What was asked.
    pub(super) asked: &'a Asked,
    /// The fleet.
    pub(super) lineage: Digest,
    /// Whom the operator knows.
    pub(super) acquaintances: &'a Acquaintances,
}

impl HostLine {
    fn of(host: HostId, name: String, state: State, detail: &str) -> Self {
        Self { host: name, id: host.to_string(), state, receipt: None, detail: detail.to_owned() }
    }

    /// A host that the operator knows and the controller does not list.
    pub(super) fn unlisted(host: HostId, name: &Line) -> Self {
        Self::of(host, name.to_string(), State::Unlisted, "was known, is not listed")
    }

    /// A host of which nothing came.
    pub(super) fn unheard(host: HostId, name: String) -> Self {
        Self::of(host, name, State::Outstanding, "nothing heard of it")
    }

    /// Says whether something came that the host itself has signed.
    pub(super) fn is_own_word(&self) -> bool {
        self.receipt.is_some() && !matches!(self.state, State::Forged | State::Stranger)
    }

    /// Ends the waiting.
    pub(super) fn give_up(&mut self) {
        if self.state == State::Waiting {
            self.state = State::Outstanding;
            if self.detail.is_empty() {
                "has not confirmed in time".clone_into(&mut self.detail);
            }
        }
    }

    fn forged(mut self, why: String) -> Self {
        (self.state, self.detail) = (State::Forged, why);
        self
    }
}

impl Bench<'_> {
    /// Believes a host's receipts only as far as they verify, and only for what was asked.
    pub(super) fn judge(&self, progress: &Progress) -> HostLine {
        let (state, detail) = match (progress.refusal.as_str(), progress.connected) {
            ("", true) => (State::Waiting, ""),
            ("", false) => (State::Outstanding, "not connected"),
            (refusal, _) => (State::Refused, refusal),
        };
        let mut line = HostLine::of(progress.host, progress.hostname.clone(), state, detail);
        if progress.receipts.is_empty() {
            return line;
        }
        if progress.keeper_key.digest() != progress.host {
            return line.forged("its key is not the one that its id names".to_owned());
        }
        let verified = progress.receipts.iter().map(|e| verify_by_host(e, progress.keeper_key));
        let receipts: Vec<Verified<Receipt>> = match verified.collect() {
            Ok(receipts) => receipts,
            Err(error) => return line.forged(error.to_string()),
        };
        if receipts.iter().any(|receipt| receipt.lineage != self.lineage) {
            return line.forged("its receipt is of another fleet".to_owned());
        }
        let Some(newest) = receipts.iter().max_by_key(|receipt| receipt.number) else {
            return line;
        };
        line.receipt = Some(newest.number);
        let who = self.acquaintances.of(&progress.host, &progress.hostname);
        if let Acquaintance::Stranger(known) = who {
            line.state = State::Stranger;
            line.detail = format!(
                "you know this name as host {}, which the controller does not list; if it joined \
                 anew, `muster revoke host {known}` frees the name",
                known.short()
            );
            return line;
        }
        if let Some(state) = self.state(progress.host, &receipts, newest) {
            line.state = state;
            line.detail = self.words(&receipts, newest, state).join(", ");
        } else if self.has_taken_away(progress.host, &receipts, newest) {
            line.detail = [line.detail.as_str(), TAKEN_AWAY].join("; ");
        }
        if let Acquaintance::Known(name) = who
            && name.as_str() != progress.hostname
        {
            line.host = format!("{} (known as {name})", progress.hostname);
        }
        line
    }

    /// Returns how far the host is by its own word, or nothing if that is not about what was asked.
    fn state(
        &self,
        host: HostId,
        receipts: &[Verified<Receipt>],
        newest: &Receipt,
    ) -> Option<State> {
        let asked = self.asked;
        let reached = asked.link.is_none_or(|link| newest.floor.is_some_and(|f| f.number >= link));
        let judged = |revocation: &Revocation| {
            let confirms = |one: &Verified<Receipt>| one.confirms(revocation, Authority::Approver);
            receipts.iter().any(confirms)
                || newest.findings.iter().any(|finding| is_held(finding, revocation))
        };
        let concerned = asked.revoked_on.contains(&host);
        if !reached || (concerned && !asked.revocations.iter().all(judged)) {
            return None;
        }
        let is_undone = |finding: &Finding| is_undone(finding, asked);
        Some(match (newest.convergence, newest.mode) {
            (Convergence::Observed, _) | (_, HostMode::Observe) => State::Observing,
            (Convergence::Retrying, _) => State::Retrying,
            (Convergence::Done, _) if newest.findings.iter().any(is_undone) => State::Partly,
            (Convergence::Done, _) => State::Done,
        })
    }

    /// Says whether a host that has not reached the change has done all that was revoked with it.
    fn has_taken_away(
        &self,
        host: HostId,
        receipts: &[Verified<Receipt>],
        newest: &Receipt,
    ) -> bool {
        let only = Asked { link: None, ..self.asked.clone() };
        let bench = Bench { asked: &only, ..*self };
        only.revoked_on.contains(&host)
            && !only.revocations.is_empty()
            && bench.state(host, receipts, newest) == Some(State::Done)
    }

    fn words(&self, receipts: &[Verified<Receipt>], newest: &Receipt, state: State) -> Vec<String> {
        let (undone, others): (Vec<&Finding>, Vec<&Finding>) =
            newest.findings.iter().partition(|finding| is_undone(finding, self.asked));
        let mut words = Vec::new();
        if state == State::Observing {
            words.push(format!("{}; {OBSERVING}", self.asked.undone));
        }
        words.extend(undone.iter().map(|f| format!("{} {}: {}", f.kind, f.subject, f.detail)));
        words.extend(receipts.iter().flat_map(|receipt| &receipt.outcomes).map(|outcome| {
            let failure = outcome.failure.as_ref().map(|why| format!(" FAILED: {why}"));
            format!("{} {}{}", outcome.action, outcome.subject, failure.unwrap_or_default())
        }));
        words.extend(others.iter().map(|found| format!("{} {}", found.kind, found.subject)));
        words
    }
}

/// What a host has done that is not sent the change.
const TAKEN_AWAY: &str = "what was revoked is done";

/// The cure for a host that only observes.
const OBSERVING: &str = "set `mode = \"enforce\"` in its /etc/muster/agent.toml";

/// The Unix group by which sshd knows the accounts that are Muster's: without it, nobody gets in.
const MARKER: &str = "muster-accounts";

/// Says whether a finding means that something was left undone that was asked. What the host lacks as
/// a whole stands in the way of everybody.
fn is_undone(finding: &Finding, asked: &Asked) -> bool {
    match finding.shortfall() {
        Shortfall::Nobody => false,
        Shortfall::Everybody => true,
        Shortfall::Locked => !asked.locks.is_empty(),
        Shortfall::Subject => {
            asked.about.contains(&finding.subject)
                || finding.subject == MARKER
                || asked.revocations.iter().any(|one| is_held(finding, one))
        }
    }
}

/// Says whether a host tells that it holds this revocation: it has judged it, and done nothing.
fn is_held(finding: &Finding, revocation: &Revocation) -> bool {
    finding.kind == FindingKind::RevocationHeld && finding.subject == revocation.id.to_string()
}

#[cfg(test)]
mod tests;
