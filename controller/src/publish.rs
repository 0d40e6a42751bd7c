//! What one host is to be sent: from the newest link, what the host says of itself and what it has
//! confirmed, to a bundle in which everything is proved together. Pure.
//!
//! Only what concerns a host is sent. What was sent before counts as concerning it until the host
//! has confirmed that it ended, since that is how a host learns of an ending. Whoever controls this
//! module can withhold, and can give nothing: the host proves every statement itself.

pub mod index;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    bundle::{Bundle, HistoryProof},
    envelope::{Document, Envelope},
    id::{HostId, Id},
    link::{LinkRef, Revocation, Target},
    selector::Labels,
    statement::LeafState,
    time::Timestamp,
};

use crate::{
    current::Current,
    host::{SentStatements, Shown},
};

/// A host as far as publishing needs it.
#[derive(Clone, Copy, Debug)]
pub struct HostView<'a> {
    /// Which.
    pub host: HostId,
    /// Its labels, as it reports them.
    pub labels: &'a Labels,
    /// The newest trust root that it knows.
    pub trust_version: u64,
    /// Its floor.
    pub floor: Option<LinkRef>,
    /// What it was sent before.
    pub sent: &'a SentStatements,
    /// The revocations that it was sent before, or has confirmed.
    pub revocations: &'a BTreeSet<Id>,
    /// Whether it has just refused a bundle.
    pub mood: Mood,
}

/// How much is taken for granted of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// What its floor covers was received.
    Trusting,
    /// It refused the last bundle: only what it has confirmed was received.
    Cautious,
}

/// What a host is to be sent; two bundles, so that a taking-away never waits for a giving.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// Revocations, by id, and the bundle of them.
    pub revocations: Option<(BTreeSet<Id>, Bundle)>,
    /// The newest link and what it proves.
    pub link: Option<LinkBundle>,
}

/// A bundle of the newest link.
#[derive(Clone, Debug)]
pub struct LinkBundle {
    /// The bundle.
    pub bundle: Bundle,
    /// Its link; absent if there are only trust roots.
    pub link: Option<LinkRef>,
    /// What it shows, and whether that concerns the host.
    pub shown: BTreeMap<Id, (Shown, bool)>,
}

impl LinkBundle {
    /// Leaves nothing but the trust roots, by which a host judges what takes away.
    pub fn trust_roots_only(self) -> Option<Self> {
        let mut bundle = Bundle::empty(self.bundle.host);
        bundle.trust_roots = self.bundle.trust_roots;
        (!bundle.trust_roots.is_empty()).then(|| Self {
            bundle,
            link: None,
            shown: BTreeMap::new(),
        })
    }
}

/// Returns what one host is to be sent now.
pub fn publish(current: &Current, host: &HostView<'_>, now: Timestamp) -> Publication {
    let statements = current.chain.statements();
    let wanted = current.index.wanted(statements, host.host, host.labels);
    Publication {
        revocations: revocations(current, host, &wanted),
        link: link(current, host, &wanted, now),
    }
}

/// Returns the ids of what a revocation names: statements, the owners of a key, or a host.
pub fn targets(current: &Current, revocation: &Revocation) -> BTreeSet<Id> {
    match revocation.target {
        Target::Statement { id, .. } => BTreeSet::from([id]),
        Target::Membership { user, group } => BTreeSet::from([user, group]),
        Target::Key(key) => current.key_owners.get(&key).cloned().unwrap_or_default(),
        Target::Host(host) => BTreeSet::from([Id::Host(host)]),
    }
}

fn revocations(
    current: &Current,
    host: &HostView<'_>,
    wanted: &BTreeSet<Id>,
) -> Option<(BTreeSet<Id>, Bundle)> {
    let due = due(current, host, wanted);
    let (ids, envelopes): (BTreeSet<Id>, Vec<Envelope>) =
        due.map(|(revocation, envelope)| (revocation.id, envelope.clone())).unzip();
    if envelopes.is_empty() {
        return None;
    }
    let mut bundle = Bundle::empty(host.host);
    // An approver may be known only to a newer trust root.
    bundle.trust_roots = trust_roots(current, host);
    bundle.revocations = envelopes;
    Some((ids, bundle))
}

/// Returns the revocations that concern a host and that it is not known to have. One of something
/// that has gone from it since, and it has confirmed that, does not concern it any more.
fn due<'a>(
    current: &'a Current,
    host: &HostView<'a>,
    wanted: &'a BTreeSet<Id>,
) -> impl Iterator<Item = &'a (Revocation, Envelope)> {
    let HostView { host, sent, revocations, .. } = *host;
    let has = move |id: &Id| *id == Id::Host(host) || wanted.contains(id) || sent.contains_key(id);
    current.revocations.iter().filter(move |(revocation, _)| {
        !revocations.contains(&revocation.id) && targets(current, revocation).iter().any(has)
    })
}

fn trust_roots(current: &Current, host: &HostView<'_>) -> Vec<Envelope> {
    let known = usize::try_from(host.trust_version).unwrap_or(usize::MAX);
    current.trust_roots.get(known..).unwrap_or_default().to_vec()
}

fn link(
    current: &Current,
    host: &HostView<'_>,
    wanted: &BTreeSet<Id>,
    now: Timestamp,
) -> Option<LinkBundle> {
    let chain = &current.chain;
    let new_trust = host.trust_version < chain.trust().version;
    let (Some(newest), Some(envelope)) = (chain.newest(), &current.newest) else {
        return new_trust.then(|| {
            let mut bundle = Bundle::empty(host.host);
            bundle.trust_roots = trust_roots(current, host);
            LinkBundle { bundle, link: None, shown: BTreeMap::new() }
        });
    };
    let changed = changed(current, host, wanted);
    let ground = ground(current, host, new_trust, now);
    let mut ids = match ground {
        Ground::Whole => wanted.clone(),
        Ground::Delta if changed.is_empty() => return None,
        Ground::Delta => {
            let statements = chain.statements();
            current.index.together(statements, host.host, host.labels, &changed, now)
        }
    };
    ids.extend(changed);
    let mut link = compose(current, host, (newest, envelope), &ids);
    // What is gone is noted with the rest, and forgotten once confirmed. What lives is not, even if
    // it does not concern the host today: labels can change back, and the host still holds it.
    ids.extend(host.sent.keys().filter(|id| is_known(host, id)));
    let keep = |id: &Id| wanted.contains(id) || lives(current, id);
    link.shown = ids.iter().map(|id| (*id, (shown(current, id), keep(id)))).collect();
    Some(link)
}

/// Says whether a host has confirmed all that concerns it; the view's revocations are those that it
/// has confirmed.
pub fn is_current(current: &Current, host: &HostView<'_>) -> bool {
    let wanted = current.index.wanted(current.chain.statements(), host.host, host.labels);
    host.trust_version == current.chain.trust().version
        && changed(current, host, &wanted).is_empty()
        && due(current, host, &wanted).next().is_none()
}

fn lives(current: &Current, id: &Id) -> bool {
    let statement = current.chain.statements().get(id);
    statement.is_some_and(|statement| statement.content.state() != LeafState::Removed)
}

fn shown(current: &Current, id: &Id) -> Shown {
    match current.chain.statements().get(id) {
        Some(statement) => Shown::Statement(statement.digest()),
        None => Shown::Absent,
    }
}

/// Says whether a host has had something of this id, as far as that is known.
fn is_known(host: &HostView<'_>, id: &Id) -> bool {
    host.sent.get(id).is_some_and(|sent| {
        let covered = host.floor.is_some_and(|floor| sent.link <= floor.number);
        sent.confirmed.is_some() || (covered && host.mood == Mood::Trusting)
    })
}

/// Returns the ids of which the host has not confirmed what is current.
fn changed(current: &Current, host: &HostView<'_>, wanted: &BTreeSet<Id>) -> BTreeSet<Id> {
    let known = host.sent.keys().filter(|id| is_known(host, id));
    let confirmed = |id: &Id| host.sent.get(id).and_then(|sent| sent.confirmed);
    let concerned: BTreeSet<Id> = wanted.iter().chain(known).copied().collect();
    concerned.into_iter().filter(|id| confirmed(id) != Some(shown(current, id))).collect()
}

/// What a bundle builds on.
enum Ground {
    /// The host holds all that it confirmed.
    Delta,
    /// The host may hold nothing: everything that concerns it is proved anew.
    Whole,
}

/// A host without a floor, with one that nobody here knows, with an old trust root or with a floor
/// that grows stale gets everything: what it was given has perhaps never begun there.
fn ground(current: &Current, host: &HostView<'_>, new_trust: bool, now: Timestamp) -> Ground {
    let chain = &current.chain;
    let Some(floor) = host.floor else { return Ground::Whole };
    if new_trust || chain.place(floor.number) != Some(floor) {
        return Ground::Whole;
    }
    let age = |number| chain.time_of(number).map_or(u64::MAX, |time| now.since(time));
    let renewed = chain.newest().is_some_and(|newest| age(newest.number) < age(floor.number));
    if renewed && age(floor.number) > chain.trust().stale_after / 2 {
        Ground::Whole
    } else {
        Ground::Delta
    }
}

fn compose(
    current: &Current,
    host: &HostView<'_>,
    (newest, envelope): (LinkRef, &Envelope),
    ids: &BTreeSet<Id>,
) -> LinkBundle {
    let chain = &current.chain;
    let mut bundle = Bundle::empty(host.host);
    bundle.trust_roots = trust_roots(current, host);
    bundle.link = Some(envelope.clone());
    for old in [host.floor, chain.trust().since].into_iter().flatten() {
        // What stands at that number here: the host judges itself whether it is its floor.
        let twice = bundle.history.iter().any(|proof| proof.number == old.number);
        if old.number < newest.number
            && !twice
            && let Some(place) = chain.place(old.number)
            && let Some(path) = chain.inclusion(old.number)
        {
            let LinkRef { number, digest } = place;
            bundle.history.push(HistoryProof { number, digest, path });
        }
    }
    // Whether the host itself is revoked is shown every time, by its leaf or by the leaf's absence.
    let own = Id::Host(host.host);
    let mut ids = ids.clone();
    let is_revoked = chain.statements().contains_key(&own);
    ids.extend(is_revoked.then_some(own));
    let proved: Vec<Id> = ids.iter().copied().chain([own]).collect();
    bundle.directory = Some(chain.prove(&proved));
    for id in &ids {
        match chain.statements().get(id) {
            Some(statement) => bundle.statements.push(statement.encode()),
            None => {
                bundle.absent.insert(*id);
            }
        }
    }
    LinkBundle { bundle, link: Some(newest), shown: BTreeMap::new() }
}
