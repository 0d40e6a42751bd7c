//! What a bundle does: it is verified whole, or refused, told and forgotten.

use std::fmt::Write;

use muster_proto::{
    bundle::{self, Anchor, Bundle, BundleRefused, VerifiedBundle},
    envelope::Document,
    receipt::{Finding, FindingKind, Trigger},
};

use super::{KeeperError, turn::Turn};
use crate::host::{Host, chain};

impl<H: Host> Turn<'_, H> {
    pub(super) fn deliver(&mut self, bytes: &[u8]) -> Result<(), KeeperError> {
        let known = self.ledger.known_ids();
        let anchor = Anchor {
            host: self.ledger.host,
            trust: self.ledger.trust(),
            floor: self.ledger.floor,
            labels: &self.keeper.labels.labels,
            known: &known,
        };
        match bundle::verify(bytes, &anchor) {
            Ok(bundle) => self.take(bundle),
            Err(refused) => {
                self.refuse(&refused, bytes);
                Ok(())
            }
        }
    }

    fn refuse(&mut self, refused: &BundleRefused, bytes: &[u8]) {
        let refusal = chain(refused);
        tracing::warn!(reason = %refusal, "bundle refused");
        if let BundleRefused::Equivocation { .. } = refused
            && let Ok(Bundle { link: Some(link), .. }) = Bundle::decode(bytes)
        {
            self.unsaved |= self.ledger.keep_evidence(link.encode());
        }
        let mut finding = Finding {
            kind: FindingKind::BundleRefused.into(),
            subject: "bundle".to_owned(),
            detail: refusal.clone(),
        };
        let again = self.keeper.refusal == refusal;
        self.keeper.refusal = refusal;
        self.tell_standing();
        if again {
            return;
        }
        let Some(untold) = self.keeper.refusals.take(self.keeper.host.clocks().boot) else {
            return;
        };
        if untold > 0 {
            let _ = write!(finding.detail, "; {untold} before it were refused and not reported");
        }
        let mut findings: Vec<Finding> = self.keeper.findings.iter().cloned().collect();
        findings.push(finding);
        self.report(Trigger::Bundle, Vec::new(), self.keeper.convergence, findings, Vec::new());
    }

    fn take(&mut self, mut bundle: VerifiedBundle) -> Result<(), KeeperError> {
        let set_aside = std::mem::take(&mut bundle.set_aside);
        // Whoever has what waited is there again, and has missed what was lost; an old word of his
        // that somebody else brings again says nothing.
        if self.keeper.hear(&bundle) > 0 && self.ledger.drift.has_gap {
            self.unsaved = true;
            self.ledger.drift.fill_gap();
            self.keeper.counted.forget();
            self.keeper.rest = None;
        }
        // A heartbeat says nothing of what was refused; a link that is believed does.
        if !self.keeper.refusal.is_empty() && bundle.link.is_some() && set_aside.is_empty() {
            self.keeper.refusal.clear();
            self.tell_standing();
        }
        let news = bundle.link.is_some()
            || !bundle.revocations.is_empty()
            || !bundle.trust_roots.is_empty();
        if !news {
            if !self.ledger.drift.untold.is_empty() {
                let findings = self.keeper.findings.iter().cloned().collect();
                let convergence = self.keeper.convergence;
                self.report(Trigger::Bundle, Vec::new(), convergence, findings, Vec::new());
            }
            return Ok(());
        }
        let keys = self.ledger.trust().machine_keys.clone();
        let before = self.ledger.stage();
        let no_room_for = self.ledger.take(bundle);
        let is_other = self.ledger.stage() != before;
        if !is_other && self.keeper.repeats.take(self.keeper.host.clocks().boot).is_none() {
            // It may have shown more under the link that is here: the next scan goes by it.
            self.unsaved = true;
            self.keeper.rest = None;
            tracing::warn!("a bundle has come again and again; it is not answered");
            return Ok(());
        }
        if no_room_for > 0 {
            tracing::error!(revocations = no_room_for, "no room for what the controller revokes");
        }
        if self.ledger.trust().machine_keys != keys {
            self.keeper.clock.forget_said();
        }
        // If it cannot be written, what it takes away goes all the same.
        let _ = self.save();
        self.converge(Trigger::Bundle)?;
        // One says it for all: whoever sends thousands shall not fill the spool with them.
        if let Some(refused) = set_aside.first() {
            self.refuse(refused, &[]);
            return Ok(());
        }
        self.tell_standing();
        Ok(())
    }
}
