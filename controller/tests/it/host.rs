//! A host as the controller sees it: it verifies every bundle by the contract, keeps what the
//! contract tells it to keep, and signs receipts.

use std::collections::BTreeSet;

use muster_controller::signer;
use muster_proto::{
    bundle::{self, Anchor, BundleRefused, Floor, Step, VerifiedBundle},
    crypto::MachineKey,
    derive::{self, Circumstances, Freshness, Statements},
    desired::Grant,
    drift::Drift,
    envelope::{Document, Envelope, Verified},
    id::{Digest, HostId, Id},
    link::LinkRef,
    receipt::{self, Authority, Convergence, Finding, HostMode, Receipt, Trigger},
    revocations::Revocations,
    selector::Labels,
    time::{Now, Timestamp},
    trust::TrustRoot,
};

use crate::world::{NOW, World};

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    let mut labels = Labels::default();
    for (key, value) in pairs {
        labels.insert(key, value).unwrap();
    }
    labels
}

pub(crate) struct Host {
    pub(crate) key: MachineKey,
    pub(crate) labels: Labels,
    pub(crate) trust: Verified<TrustRoot>,
    pub(crate) floor: Option<Floor>,
    pub(crate) known: Statements,
    pub(crate) proved: Statements,
    pub(crate) held: BTreeSet<Grant>,
    pub(crate) revocations: Revocations,
    pub(crate) now: Timestamp,
    fresh_revocations: BTreeSet<Id>,
    /// What its next receipt tells of drift.
    pub(crate) drift: Vec<Drift>,
    /// What its receipts find.
    pub(crate) findings: Vec<Finding>,
    /// The newest of its receipts: setting it back is what restoring a snapshot does.
    pub(crate) receipts: Option<(u64, Digest)>,
}

impl Host {
    pub(crate) fn new(world: &World, pairs: &[(&str, &str)]) -> Self {
        let trust = Verified::<TrustRoot>::genesis(&world.trust, world.lineage()).unwrap();
        Self {
            key: MachineKey::from_pkcs8(&signer::generate().unwrap()).unwrap(),
            labels: labels(pairs),
            trust,
            floor: None,
            known: Statements::new(),
            proved: Statements::new(),
            held: BTreeSet::new(),
            revocations: Revocations::default(),
            now: NOW,
            fresh_revocations: BTreeSet::new(),
            drift: Vec::new(),
            findings: Vec::new(),
            receipts: None,
        }
    }

    pub(crate) fn id(&self) -> HostId {
        self.key.public().digest()
    }

    pub(crate) fn link(&self) -> Option<LinkRef> {
        self.floor.map(|floor| floor.link)
    }

    fn circumstances(&self) -> Circumstances<'_> {
        Circumstances {
            host: self.id(),
            labels: &self.labels,
            revocations: &self.revocations,
            now: Now::at(self.now),
        }
    }

    /// What the whole directory would give here.
    pub(crate) fn due(&self, statements: &Statements) -> BTreeSet<Grant> {
        derive::derive(statements, &self.circumstances())
    }

    /// Looks again: what is held, by what is proved, known and held before.
    pub(crate) fn look(&mut self) {
        self.held = derive::believe(
            &self.proved,
            &self.known,
            &self.held,
            Freshness::Fresh,
            &self.circumstances(),
        );
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<VerifiedBundle, BundleRefused> {
        let known: BTreeSet<Id> = self.known.keys().copied().collect();
        let anchor = Anchor {
            host: self.id(),
            trust: &self.trust,
            floor: self.floor,
            labels: &self.labels,
            known: &known,
        };
        let verified = bundle::verify(bytes, &anchor)?;
        for (revocation, _) in &verified.revocations {
            let by_online = revocation.signers().is_empty();
            let by = if by_online { Authority::Online } else { Authority::Approver };
            self.fresh_revocations.extend(receipt::named(revocation, by));
            self.revocations.insert(revocation);
        }
        if let Some(link) = &verified.link {
            if link.step != Step::Same {
                self.proved.clear();
            }
            for statement in &link.statements {
                self.proved.insert(statement.id, statement.clone());
                self.known.insert(statement.id, statement.clone());
            }
            for id in &link.absent {
                self.known.remove(id);
            }
            let place = link.link.place(link.link.digest());
            self.floor = Some(Floor { trust_version: link.link.trust_version, link: place });
        }
        self.look();
        Ok(verified)
    }

    /// Signs the next receipt, and names these revocations in it too.
    pub(crate) fn receipt_naming(&mut self, revocations: impl IntoIterator<Item = Id>) -> Envelope {
        self.fresh_revocations.extend(revocations);
        self.receipt()
    }

    /// Signs the next receipt.
    pub(crate) fn receipt(&mut self) -> Envelope {
        let receipt = self.next_receipt();
        Envelope::sign(&receipt, &self.key)
    }

    /// Returns the next receipt, before it is signed.
    pub(crate) fn next_receipt(&mut self) -> Receipt {
        let number = self.receipts.map_or(1, |(number, _)| number + 1);
        let receipt = Receipt {
            lineage: self.trust.lineage(),
            host: self.id(),
            number,
            previous: self.receipts.map(|(_, digest)| digest),
            time: self.now,
            floor: self.link(),
            trust_version: self.trust.version,
            mode: HostMode::Enforce,
            trigger: Trigger::Bundle,
            revocations: std::mem::take(&mut self.fresh_revocations),
            outcomes: Vec::new(),
            convergence: Convergence::Done,
            findings: self.findings.clone(),
            drift: std::mem::take(&mut self.drift),
            inventory: None,
        };
        self.receipts = Some((number, receipt.digest()));
        receipt
    }
}
