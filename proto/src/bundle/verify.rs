//! Judging a bundle as it came, all of it together: nothing of one that is refused is kept.

use std::collections::BTreeMap;

use super::{
    Anchor, Bundle, BundleRefused, Floor, HistoryProof, MAX_BUNDLE, Step, VerifiedBundle,
    VerifiedLink,
};
use crate::{
    directory::{Membership, ProvedDirectory},
    envelope::{Document, Envelope, Verified},
    id::{Digest, Id},
    link::{Acknowledgement, Link, LinkRef},
    merkle::Tree,
    statement::{Content, Entry, Statement},
    trust::{Refused, TrustRoot},
};

fn part(part: &'static str) -> impl Fn(Refused) -> BundleRefused {
    move |cause| BundleRefused::Part { part, cause }
}

/// Verifies a bundle as it came.
pub fn verify(bytes: &[u8], anchor: &Anchor<'_>) -> Result<VerifiedBundle, BundleRefused> {
    if bytes.len() > MAX_BUNDLE {
        return Err(BundleRefused::TooLarge(bytes.len()));
    }
    let bundle = Bundle::decode(bytes)?;
    if bundle.host != anchor.host {
        return Err(BundleRefused::OtherHost(bundle.host));
    }
    let mut trust_roots: Vec<(Verified<TrustRoot>, Envelope)> = Vec::new();
    for envelope in &bundle.trust_roots {
        let known = trust_roots.last().map_or(anchor.trust, |(root, _)| root);
        let next = known.succeed(envelope).map_err(part("trust root"))?;
        trust_roots.push((next, envelope.clone()));
    }
    let trust = trust_roots.last().map_or(anchor.trust, |(root, _)| root);
    let (mut revocations, mut set_aside) = (Vec::new(), Vec::new());
    for envelope in &bundle.revocations {
        match trust.verify(envelope) {
            Ok(revocation) => revocations.push((revocation, envelope.clone())),
            Err(cause) => set_aside.push(part("revocation")(cause)),
        }
    }
    if bundle.link.is_none()
        && trust_roots.is_empty()
        && revocations.is_empty()
        && !set_aside.is_empty()
    {
        return Err(set_aside.swap_remove(0));
    }
    let checkpoint = bundle.checkpoint.as_ref().map(|e| trust.verify(e)).transpose();
    let acknowledgement = bundle.acknowledgement.as_ref().map(|e| trust.verify(e)).transpose();
    let acknowledgement: Option<Verified<Acknowledgement>> =
        acknowledgement.map_err(part("acknowledgement"))?;
    if let Some(other) = acknowledgement.as_ref().filter(|a| a.host != anchor.host) {
        return Err(BundleRefused::OtherHost(other.host));
    }
    let checkpoint = checkpoint.map_err(part("checkpoint"))?;
    let link = match &bundle.link {
        Some(envelope) => Some(verify_link(&bundle, envelope, trust, anchor)?),
        None if bundle.statements.is_empty() && bundle.absent.is_empty() => None,
        None => return Err(BundleRefused::Unproved),
    };
    Ok(VerifiedBundle { trust_roots, link, revocations, set_aside, checkpoint, acknowledgement })
}

fn verify_link(
    bundle: &Bundle,
    envelope: &Envelope,
    trust: &Verified<TrustRoot>,
    anchor: &Anchor<'_>,
) -> Result<VerifiedLink, BundleRefused> {
    let link: Verified<Link> = trust.verify(envelope).map_err(part("link"))?;
    if link.trust_version != trust.version || link.trust_digest != trust.digest() {
        let (number, found, known) = (link.number, link.trust_version, trust.version);
        return Err(BundleRefused::TrustVersion { number, found, known });
    }
    let step = step(bundle, &link, trust, anchor.floor)?;
    let tree = bundle.directory.as_ref().ok_or(BundleRefused::Unproved)?.recompute()?;
    if tree.root() != link.directory_root {
        return Err(BundleRefused::Root(link.number));
    }
    let statements = prove(bundle, &tree, &link)?;
    let here = statements.iter().any(|s| s.id == Id::Host(anchor.host));
    if !here && tree.lacks(&Id::Host(anchor.host)) != Membership::Absent {
        return Err(BundleRefused::HostUnproved);
    }
    for statement in &statements {
        concerns(statement, anchor)?;
    }
    let absent = bundle.absent.clone();
    Ok(VerifiedLink { link, envelope: envelope.clone(), step, statements, absent })
}

/// Judges where the link stands towards the floor.
fn step(
    bundle: &Bundle,
    link: &Verified<Link>,
    trust: &TrustRoot,
    floor: Option<Floor>,
) -> Result<Step, BundleRefused> {
    let unproved = |what: String| BundleRefused::History { found: link.number, what };
    if let Some(since) = trust.since
        && !continues(bundle, link, since)
    {
        return Err(unproved(format!(
            "link {} that trust root {} builds on",
            since.number, trust.version
        )));
    }
    let Some(floor) = floor else { return Ok(Step::Raised) };
    if link.digest() == floor.link.digest {
        return Ok(Step::Same);
    }
    let abandons = floor.trust_version < link.trust_version
        && floor.link.number > trust.since.map_or(0, |since| since.number);
    if continues(bundle, link, floor.link) {
        return Ok(Step::Raised);
    }
    // Shown, not only not denied: leaving a proof out must not look like a new beginning.
    let elsewhere = link.number < floor.link.number
        || shown(bundle, link, floor.link.number).is_some_and(|found| found != floor.link.digest);
    if abandons && elsewhere {
        return Ok(Step::Abandoned(floor.link));
    }
    if link.number == floor.link.number {
        return Err(BundleRefused::Equivocation { number: link.number, found: link.digest() });
    }
    if link.number < floor.link.number {
        let (found, floor) = (link.number, floor.link.number);
        return Err(BundleRefused::Rollback { found, floor });
    }
    Err(unproved(format!("the floor, link {}", floor.link.number)))
}

/// Says whether `old` is the link or is shown to be in its past.
fn continues(bundle: &Bundle, link: &Verified<Link>, old: LinkRef) -> bool {
    shown(bundle, link, old.number) == Some(old.digest)
}

/// Returns the digest of the link of this number that is shown to be the link or in its past.
fn shown(bundle: &Bundle, link: &Verified<Link>, number: u64) -> Option<Digest> {
    if number == link.number {
        return Some(link.digest());
    }
    let index = number.checked_sub(1).filter(|_| number < link.number)?;
    let proves = |proof: &&HistoryProof| {
        proof.number == number
            && Tree::History.includes(
                link.history_root,
                link.number - 1,
                index,
                Tree::History.leaf(proof.digest.as_bytes()),
                &proof.path,
            )
    };
    bundle.history.iter().find(proves).map(|proof| proof.digest)
}

fn prove(
    bundle: &Bundle,
    tree: &ProvedDirectory,
    link: &Link,
) -> Result<Vec<Statement>, BundleRefused> {
    let mut statements: BTreeMap<Id, Statement> = BTreeMap::new();
    for bytes in &bundle.statements {
        let statement = Statement::decode(bytes)?;
        if statement.lineage != link.lineage {
            let (expected, found) = (link.lineage, statement.lineage);
            return Err(part("statement")(Refused::Lineage { expected, found }));
        }
        let why = match tree.holds(&Entry::of(&statement)) {
            Membership::Present => None,
            Membership::Other => Some("another revision is"),
            Membership::Absent => Some("nothing is at this id"),
            Membership::Unknown => Some("the proof does not reach it"),
        };
        if let Some(why) = why {
            let (id, revision) = (statement.id, statement.revision);
            let (kind, number) = (statement.content.kind().to_string(), link.number);
            return Err(BundleRefused::Statement { kind, id, revision, number, why });
        }
        let id = statement.id;
        if statements.insert(id, statement).is_some() {
            return Err(BundleRefused::Twice(id));
        }
    }
    match bundle.absent.iter().find(|id| tree.lacks(id) != Membership::Absent) {
        Some(id) => Err(BundleRefused::NotAbsent(*id)),
        None => Ok(statements.into_values().collect()),
    }
}

/// Refuses what was meant for others. A newer revision of what this host has had always concerns
/// it, since that is how it learns that something ended here.
fn concerns(statement: &Statement, anchor: &Anchor<'_>) -> Result<(), BundleRefused> {
    let why = match &statement.content {
        _ if anchor.known.contains(&statement.id) => return Ok(()),
        Content::Assignment(a) if !a.hosts.matches(anchor.labels) => {
            "its selector does not match the labels here"
        }
        Content::Adoption(adoption) if adoption.host != anchor.host => "it names another host",
        _ => return Ok(()),
    };
    let kind = statement.content.kind().to_string();
    Err(BundleRefused::NotHere { kind, id: statement.id, why })
}
