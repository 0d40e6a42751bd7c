//! The next link: cut out of proposals by those who will sign it, and checked in every respect by
//! everybody who takes it.

use std::collections::{BTreeMap, BTreeSet};

use super::{BadLink, Candidate, Chain, MAX_AHEAD, Taken};
use crate::{
    change::{self, BadChange},
    derive::Statements,
    directory::Directory,
    envelope::{Document, Envelope, Verified},
    id::Digest,
    link::{Link, LinkBody, LinkRef, LogHead, Proposal},
    merkle::Tree,
    statement::{Entry, Statement},
    time::Timestamp,
    trust::{Refused, TrustRoot},
};

impl Chain {
    /// Cuts the next link out of proposals and folds, by the rules for what may be signed: no key,
    /// no membership and no statement that a revocation still ends.
    pub fn cut(
        &self,
        proposals: &[Envelope],
        folds: Vec<Statement>,
        time: Timestamp,
        log: LogHead,
    ) -> Result<Candidate, BadLink> {
        let number = self.links.len() as u64 + 1;
        let (digests, statements, proposers) = Self::gather(proposals, number, self.trust())?;
        let body = LinkBody { proposals: digests, statements, folds };
        change::check_signable(&body, &self.revocations)
            .map_err(|cause| BadLink::Change { number, cause })?;
        let directory = self.after(&body, number)?.0;
        change::check_reinstated(&body, &self.revocations)
            .map_err(|cause| BadLink::Change { number, cause })?;
        let link = Link {
            lineage: self.lineage(),
            number,
            previous: self.newest().map_or(self.lineage(), |link| link.digest),
            trust_version: self.trust().version,
            trust_digest: self.trust().digest(),
            time: time.max(self.newest_time()),
            body: body.digest(),
            directory_root: directory.root(),
            history_root: Tree::History.root(&self.history),
            log,
            proposers,
        };
        Ok(Candidate { link, body })
    }

    /// Checks the next link in every respect and takes it.
    pub fn extend(
        &mut self,
        envelope: &Envelope,
        body: &[u8],
        proposals: &[Envelope],
        now: Timestamp,
    ) -> Result<Verified<Link>, BadLink> {
        let number = self.links.len() as u64 + 1;
        let (link, body, trust) = self.judge(envelope, body, number)?;
        self.check_place(&link, number, now)?;
        self.check_trust(&link, trust)?;
        let (digests, statements, proposers) = Self::gather(proposals, number, trust)?;
        let differs = |what| BadLink::Differs { number, what };
        if digests != body.proposals || statements != body.statements {
            return Err(differs("proposals"));
        }
        if proposers != link.proposers {
            return Err(differs("proposers"));
        }
        let (directory, statements, taken) = self.after(&body, number)?;
        if directory.root() != link.directory_root {
            return Err(differs("a directory root"));
        }
        self.directory = directory;
        self.statements = statements;
        self.taken = taken;
        self.history.push(Tree::History.leaf(link.digest().as_bytes()));
        self.links.push(Taken {
            digest: link.digest(),
            time: link.time,
            trust_version: link.trust_version,
            log: link.log.clone(),
        });
        Ok(link)
    }

    /// Verifies a link once more, under the trust root that it names, and returns that one with it.
    /// Where it stands in the chain is not judged.
    pub fn verify_link(
        &self,
        envelope: &Envelope,
        body: &[u8],
        number: u64,
    ) -> Result<(Verified<Link>, LinkBody, &Verified<TrustRoot>), BadLink> {
        self.judge(envelope, body, number)
    }

    fn judge(
        &self,
        envelope: &Envelope,
        body: &[u8],
        number: u64,
    ) -> Result<(Verified<Link>, LinkBody, &Verified<TrustRoot>), BadLink> {
        let refused = |cause| BadLink::Part { part: "header", number, cause };
        let newest: Result<Verified<Link>, Refused> = self.trust().verify(envelope);
        let older = |root: &Verified<TrustRoot>| root.verify::<Link>(envelope).ok();
        let names = |root: &Verified<TrustRoot>, link: &Verified<Link>| {
            link.trust_version == root.version && link.trust_digest == root.digest()
        };
        let (link, trust) = match newest {
            Ok(link) if names(self.trust(), &link) => (link, self.trust()),
            other => {
                let found =
                    self.trust_roots.iter().rev().skip(1).find_map(|root| {
                        Some((older(root).filter(|link| names(root, link))?, root))
                    });
                match (found, other) {
                    (Some(found), _) => found,
                    (None, Ok(link)) => {
                        let version = link.trust_version;
                        return Err(BadLink::UnknownTrustRoot { number, version });
                    }
                    (None, Err(cause)) => return Err(refused(cause)),
                }
            }
        };
        let decoded = LinkBody::decode(body).map_err(|cause| BadLink::Body { number, cause })?;
        if decoded.digest() != link.body {
            return Err(BadLink::Differs { number: link.number, what: "a body" });
        }
        Ok((link, decoded, trust))
    }

    /// A link continues what its trust root builds on. Under an older trust root nothing is added
    /// to what the newer one's signers knew: whoever holds the keys that it ended could otherwise
    /// put a link in front of the next one.
    fn check_trust(&self, link: &Verified<Link>, trust: &TrustRoot) -> Result<(), BadLink> {
        let refuse = |fault| Err(BadLink::Succession { number: link.number, fault });
        let misses = |since: LinkRef| self.place(since.number) != Some(since);
        if trust.since.is_some_and(misses) {
            return refuse("it does not continue the link that its trust root builds on");
        }
        let newer = self.trust_roots.iter().filter(|root| root.version > trust.version);
        for since in newer.map(|root| root.since) {
            if link.number > since.map_or(0, |since| since.number) {
                return refuse("a newer trust root is known, whose signers did not know this link");
            }
            if since.is_some_and(|s| s.number == link.number && s.digest != link.digest()) {
                return refuse("a newer trust root builds on another link of this number");
            }
        }
        Ok(())
    }

    fn check_place(
        &self,
        link: &Verified<Link>,
        number: u64,
        now: Timestamp,
    ) -> Result<(), BadLink> {
        let refuse = |fault| Err(BadLink::Succession { number: link.number, fault });
        if link.number < number {
            let known = self.place(link.number);
            return if known.is_some_and(|known| known.digest != link.digest()) {
                Err(BadLink::Equivocation(link.number))
            } else {
                refuse("it is known already")
            };
        }
        if link.number > number {
            return refuse("there is a gap before it");
        }
        if link.previous != self.newest().map_or(self.lineage(), |newest| newest.digest) {
            return refuse("it names another link before it");
        }
        if link.history_root != Tree::History.root(&self.history) {
            return refuse("it has another history");
        }
        if link.trust_version < self.links.last().map_or(0, |link| link.trust_version) {
            return refuse("its trust root is older than that of the link before");
        }
        if link.time < self.newest_time() {
            return refuse("it is older than the link before");
        }
        if link.time > now.plus(MAX_AHEAD) {
            return refuse("its time is more than five minutes ahead of the clock here");
        }
        Ok(())
    }

    #[expect(clippy::type_complexity, reason = "three parts of one thing, taken apart at once")]
    fn gather(
        proposals: &[Envelope],
        number: u64,
        trust: &Verified<TrustRoot>,
    ) -> Result<(BTreeSet<Digest>, Vec<Statement>, BTreeSet<String>), BadLink> {
        let mut digests = BTreeSet::new();
        let mut proposers = BTreeSet::new();
        let mut statements = BTreeMap::new();
        for envelope in proposals {
            let proposal: Verified<Proposal> = trust
                .verify(envelope)
                .map_err(|cause| BadLink::Part { part: "proposal", number, cause })?;
            digests.insert(proposal.digest());
            proposers.insert(proposal.proposer.to_string());
            for statement in &proposal.statements {
                if statements.insert(statement.id, statement.clone()).is_some() {
                    let cause = BadChange::Twice(statement.id);
                    return Err(BadLink::Change { number, cause });
                }
            }
        }
        Ok((digests, statements.into_values().collect(), proposers))
    }

    fn after(
        &self,
        body: &LinkBody,
        number: u64,
    ) -> Result<(Directory, Statements, change::Taken), BadLink> {
        let mut statements = self.statements.clone();
        let mut taken = self.taken.clone();
        change::apply(&mut statements, &mut taken, &self.revocations, self.lineage(), body)
            .map_err(|cause| BadLink::Change { number, cause })?;
        let mut directory = self.directory.clone();
        for statement in body.all() {
            directory.insert(Entry::of(statement));
        }
        Ok((directory, statements, taken))
    }
}
