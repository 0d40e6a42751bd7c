//! The one verifier: from an envelope to a `Verified<T>`, by the authority that its type needs.
//! Nothing else in the project makes one.

use std::collections::BTreeSet;

use super::{Authority, Duty, Judged, ProposerRule, Refused, TrustRoot, check_number, enough};
use crate::{
    crypto::{Checked, MachinePublicKey},
    envelope::{Document, Envelope, Verified},
    id::Digest,
    link::{Acknowledgement, Checkpoint, Link, Proposal, Revocation},
    receipt::{Enrolment, Receipt},
};

fn expect_type<T: Document>(envelope: &Envelope) -> Result<(), Refused> {
    if envelope.payload_type == T::TYPE {
        Ok(())
    } else {
        let found = envelope.payload_type.escape_debug().take(80).collect();
        Err(Refused::PayloadType { expected: T::TYPE, found })
    }
}

impl Verified<TrustRoot> {
    /// Believes a trust root of version 1 by its digest alone, which is the lineage that a token
    /// or the operator's own store pins.
    pub fn genesis(envelope: &Envelope, lineage: Digest) -> Result<Self, Refused> {
        expect_type::<TrustRoot>(envelope)?;
        let digest = envelope.digest();
        if digest != lineage {
            return Err(Refused::Lineage { expected: lineage, found: digest });
        }
        let root = TrustRoot::decode(&envelope.payload)?;
        root.check().map_err(Refused::TrustRoot)?;
        if root.version != 1 {
            let fault = "a first trust root has version 1";
            return Err(Refused::Succession { known: 0, found: root.version, fault });
        }
        let people = root.root_quorum(envelope)?;
        Ok(Self::new(root, digest, people))
    }

    /// Believes the next version: signed by the root threshold of this one and by its own.
    pub fn succeed(&self, envelope: &Envelope) -> Result<Self, Refused> {
        expect_type::<TrustRoot>(envelope)?;
        self.root_quorum(envelope)?;
        let next = TrustRoot::decode(&envelope.payload)?;
        next.check().map_err(Refused::TrustRoot)?;
        let refuse =
            |fault| Err(Refused::Succession { known: self.version, found: next.version, fault });
        if Some(next.version) != self.version.checked_add(1) {
            return refuse("versions go up by one");
        }
        if next.lineage != Some(self.lineage()) {
            return refuse("it names another lineage");
        }
        if next.previous != Some(self.digest()) {
            return refuse("it names another version before it");
        }
        if next.since.map_or(0, |l| l.number) < self.since.map_or(0, |l| l.number) {
            return refuse("its newest known link is older");
        }
        if next.since.zip(self.since).is_some_and(|(a, b)| a.number == b.number && a != b) {
            return refuse("its newest known link is another one of the same number");
        }
        let people = next.root_quorum(envelope)?;
        Ok(Self::new(next, envelope.digest(), people))
    }

    /// Returns the digest of trust root 1.
    pub fn lineage(&self) -> Digest {
        self.lineage.unwrap_or(self.digest())
    }

    /// Verifies a document by its type's authority: the one threshold check.
    pub fn verify<T: Judged>(&self, envelope: &Envelope) -> Result<Verified<T>, Refused> {
        expect_type::<T>(envelope)?;
        check_number(envelope)?;
        let mut people = match T::AUTHORITY {
            Authority::Quorum => {
                let people = self.who_signed(envelope, &[Duty::Approver])?;
                self.quorum(&people)?;
                people
            }
            Authority::OnlineOrApprover => {
                let people = self.who_signed(envelope, &[Duty::Approver])?;
                let found = people.len() + usize::from(self.online_signed(envelope));
                enough("the approvers or the controller", found, 1)?;
                people
            }
            Authority::Online => {
                let found = usize::from(self.online_signed(envelope));
                enough("the controller's online key", found, 1)?;
                BTreeSet::new()
            }
            Authority::Proposer => {
                let people = self.who_signed(envelope, &[Duty::Approver, Duty::Proposer])?;
                enough("the people who may propose", people.len(), 1)?;
                people
            }
        };
        let document = T::decode(&envelope.payload)?;
        if T::AUTHORITY == Authority::Proposer {
            people.retain(|name| document.proposers().contains(name));
            enough("the person who proposes it", people.len(), 1)?;
        }
        if document.lineage() != self.lineage() {
            let (expected, found) = (self.lineage(), document.lineage());
            return Err(Refused::Lineage { expected, found });
        }
        if T::AUTHORITY == Authority::Quorum && self.proposers == ProposerRule::DoNotCount {
            people = people.difference(&document.proposers()).cloned().collect();
            self.quorum(&people)?;
        }
        Ok(Verified::new(document, envelope.digest(), people))
    }
}

/// Verifies what a host signed about itself with its keeper's key.
pub fn verify_by_host<T: HostSigned>(
    envelope: &Envelope,
    key: MachinePublicKey,
) -> Result<Verified<T>, Refused> {
    expect_type::<T>(envelope)?;
    check_number(envelope)?;
    let message = envelope.message();
    let good = envelope.signatures.iter().any(|signature| {
        signature.key == key.digest() && key.check(&message, &signature.bytes) == Checked::Good
    });
    enough("the host's own key", usize::from(good), 1)?;
    let document = T::decode(&envelope.payload)?;
    if document.host() != key.digest() {
        return Err(Refused::WrongHost);
    }
    Ok(Verified::new(document, envelope.digest(), BTreeSet::new()))
}

/// Verifies a host's word on its own key: signed by the very key that it names. That the key is
/// wanted in the fleet is shown by something else, a token.
pub fn verify_enrolment(envelope: &Envelope) -> Result<Verified<Enrolment>, Refused> {
    expect_type::<Enrolment>(envelope)?;
    let key = Enrolment::decode(&envelope.payload)?.keeper_key;
    verify_by_host(envelope, key)
}

/// A document that a host signs about itself.
pub trait HostSigned: Document {
    /// Returns the host that it names.
    fn host(&self) -> Digest;
}

impl HostSigned for Receipt {
    fn host(&self) -> Digest {
        self.host
    }
}

impl HostSigned for Enrolment {
    fn host(&self) -> Digest {
        self.keeper_key.digest()
    }
}

impl Judged for Link {
    const AUTHORITY: Authority = Authority::Quorum;

    fn lineage(&self) -> Digest {
        self.lineage
    }

    fn proposers(&self) -> BTreeSet<String> {
        self.proposers.clone()
    }
}

impl Judged for Proposal {
    const AUTHORITY: Authority = Authority::Proposer;

    fn lineage(&self) -> Digest {
        self.lineage
    }

    fn proposers(&self) -> BTreeSet<String> {
        BTreeSet::from([self.proposer.to_string()])
    }
}

impl Judged for Revocation {
    const AUTHORITY: Authority = Authority::OnlineOrApprover;

    fn lineage(&self) -> Digest {
        self.lineage
    }
}

impl Judged for Checkpoint {
    const AUTHORITY: Authority = Authority::Online;

    fn lineage(&self) -> Digest {
        self.lineage
    }
}

impl Judged for Acknowledgement {
    const AUTHORITY: Authority = Authority::Online;

    fn lineage(&self) -> Digest {
        self.lineage
    }
}
