//! One host of the fleet: what it was sent, what it has confirmed, and its connection if it has
//! one.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    bundle::{Bundle, MAX_BUNDLE},
    envelope::Document,
    id::Id,
    link::LinkRef,
    receipt::{Authority, Receipt, Standing},
    time::Timestamp,
};
use tokio::sync::{mpsc, oneshot};

use super::{Connection, told::Told};
use crate::{
    current::Current,
    host::{self, Host, Sent, TooLarge, Verdict},
    publish::{self, HostView, LinkBundle, Mood},
    store::SentTo,
};

/// Seconds after which a link that was sent and not answered is taken for lost.
const ANSWER: u64 = 30;
/// Seconds after which revocations that were sent and not confirmed are sent again: the receipt that
/// named them may be lost, and the host names what it keeps once more.
const REPEAT: u64 = 3_600;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) host: Host,
    pub(super) sent: SentTo,
    pub(super) session: Option<Session>,
    /// What its receipts had written into the log of late.
    pub(super) told: Told,
    sessions: u64,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: u64,
    to: mpsc::Sender<Vec<u8>>,
    cut: oneshot::Sender<()>,
    /// Whether the host has said where it stands.
    stood: bool,
    /// The link of which everything was sent, to the host as it stands now.
    pushed: Option<LinkRef>,
    /// The trust root that was sent last.
    trusted: u64,
    /// The link that is on its way, and since when.
    flight: Option<(u64, Timestamp)>,
    /// The revocations that need not be sent again.
    revocations: BTreeSet<Id>,
    /// When any were sent last.
    revoked: Option<Timestamp>,
    mood: Mood,
}

/// Takes in what a receipt confirms: of the revocations that it names those that the host was sent
/// or that there are. A host may name what it likes, and nothing is kept of the rest. Of one that an
/// approver has signed it has to say so: a receipt that was under way when he did names what the
/// online key had signed alone, and the host may hold that back.
pub(super) fn take_in(sent: &mut SentTo, receipt: &Receipt, current: &Current) {
    if let Some(floor) = receipt.floor
        && current.chain.place(floor.number) == Some(floor)
    {
        host::confirm(&mut sent.statements, floor.number);
        sent.confirmed = sent.confirmed.max(floor.number);
    }
    if receipt.revocations.is_empty() {
        return;
    }
    let there_are = current.revocations.iter().map(|(revocation, _)| revocation);
    // All of an id, since it is sent and noted as one.
    let mut believed: BTreeMap<Id, bool> = BTreeMap::new();
    for revocation in there_are.filter(|one| receipt.revocations.contains(&one.id)) {
        let by_approver = current.chain.is_approved(revocation);
        let by = if by_approver { Authority::Approver } else { Authority::Online };
        *believed.entry(revocation.id).or_insert(true) &= receipt.confirms(revocation, by);
    }
    for (id, confirmed) in &mut sent.revocations {
        *confirmed |= !believed.contains_key(id) && receipt.revocations.contains(id);
    }
    let confirmed = believed.into_iter().filter(|(_, believed)| *believed);
    sent.revocations.extend(confirmed);
}

fn confirmed(sent: &SentTo) -> BTreeSet<Id> {
    let confirmed = sent.revocations.iter().filter(|(_, confirmed)| **confirmed);
    confirmed.map(|(id, _)| *id).collect()
}

impl Session {
    fn is_unanswered(&self, now: Timestamp) -> bool {
        self.revoked.is_some_and(|sent| now.since(sent) >= REPEAT)
    }
}

impl Member {
    pub(super) fn new(host: Host, sent: SentTo) -> Self {
        Self { host, sent, session: None, told: Told::default(), sessions: 0 }
    }

    /// Takes a connection, unless the host is shut out.
    pub(super) fn connect(&mut self, to: mpsc::Sender<Vec<u8>>) -> Option<Connection> {
        if self.host.verdict().is_some_and(Verdict::shuts_out) {
            return None;
        }
        let (cut, heard) = oneshot::channel();
        self.sessions += 1;
        self.session = Some(Session {
            number: self.sessions,
            to,
            cut,
            stood: false,
            pushed: None,
            trusted: 0,
            flight: None,
            revocations: confirmed(&self.sent),
            revoked: None,
            mood: Mood::Trusting,
        });
        Some(Connection { number: self.sessions, cut: heard })
    }

    /// Takes up what was decided about the host. What waits to be sent may give something, so the
    /// connection ends at once if that must not be; a host that is released is sent what it lacks.
    pub(super) fn reconsider(&mut self) {
        if self.host.decision.is_none() {
            if let Some(session) = &mut self.session {
                session.pushed = None;
            }
        } else if let Some(session) = self.session.take() {
            // Nobody hears it if the connection is gone.
            let _ = session.cut.send(());
        }
    }

    /// Takes nothing for confirmed any more, and closes the connection.
    pub(super) fn doubt(&mut self) {
        self.sent.confirmed = 0;
        self.sent.statements.values_mut().for_each(|sent| sent.confirmed = None);
        self.sent.revocations.values_mut().for_each(|confirmed| *confirmed = false);
        self.session = None;
    }

    /// Takes a revocation for one that the host does not have, whatever else of its id it was sent.
    pub(super) fn owe(&mut self, revocation: Id) {
        if let Some(confirmed) = self.sent.revocations.get_mut(&revocation) {
            *confirmed = false;
        }
        if let Some(session) = &mut self.session {
            session.revocations.remove(&revocation);
        }
    }

    pub(super) fn is_standing(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.stood)
    }

    /// Takes the host's word on where it stands, and says whether it is the first of this
    /// connection. A host that stands lower than it did has lost its state; one with other labels
    /// may have dropped grants: both are shown everything again.
    pub(super) fn stand(&mut self, standing: Standing, now: Timestamp) -> bool {
        let floor = standing.floor.map_or(0, |floor| floor.number);
        let lost = floor < self.sent.confirmed;
        let before = self.host.standing.as_ref();
        let relabelled = before.is_some_and(|before| before.labels != standing.labels);
        let refused =
            !standing.refusal.is_empty() && before.map(|b| &b.refusal) != Some(&standing.refusal);
        if lost {
            self.sent.statements.clear();
            self.sent.revocations.clear();
            self.sent.confirmed = floor;
        } else if relabelled {
            self.sent.statements.values_mut().for_each(|sent| sent.confirmed = None);
        }
        let first = !self.is_standing();
        if let Some(session) = &mut self.session {
            session.stood = true;
            if lost {
                session.revocations.clear();
            }
            if lost || relabelled {
                session.pushed = None;
            }
            if session.flight.is_some_and(|(link, _)| link <= floor) {
                session.flight = None;
            }
            if refused {
                session.flight = None;
                if session.mood == Mood::Trusting {
                    session.mood = Mood::Cautious;
                    session.pushed = None;
                }
            } else if standing.refusal.is_empty() {
                session.mood = Mood::Trusting;
            }
        }
        self.host.standing = Some(standing);
        self.host.last_seen = Some(now);
        first
    }

    /// Says whether a newer link would be sent now, had something not been on its way.
    pub(super) fn is_overdue(&self, current: &Current, now: Timestamp) -> bool {
        let waits = |session: &Session| {
            session.stood
                && (session.pushed != current.chain().newest()
                    || self.is_stale(current, now)
                    || session.is_unanswered(now))
        };
        self.session.as_ref().is_some_and(waits)
    }

    fn is_stale(&self, current: &Current, now: Timestamp) -> bool {
        let floor = self.host.standing.as_ref().and_then(|standing| standing.floor);
        let time = floor.and_then(|floor| current.chain().time_of(floor.number));
        time.is_some_and(|time| now.since(time) > current.chain().trust().stale_after / 2)
    }

    /// Says whether the host has confirmed all that concerns it.
    pub(super) fn is_current(&self, current: &Current) -> bool {
        let Some(standing) = &self.host.standing else { return false };
        let confirmed = confirmed(&self.sent);
        let view = HostView {
            host: self.host.id,
            labels: &standing.labels,
            trust_version: standing.trust_version,
            floor: standing.floor,
            sent: &self.sent.statements,
            revocations: &confirmed,
            mood: Mood::Trusting,
        };
        publish::is_current(current, &view)
    }

    /// Works out what the host lacks and notes it as sent.
    pub(super) fn prepare(&mut self, current: &Current, now: Timestamp) -> Vec<Bundle> {
        let (Some(session), Some(standing)) = (&mut self.session, &self.host.standing) else {
            return Vec::new();
        };
        if !session.stood {
            return Vec::new();
        }
        if session.is_unanswered(now) {
            session.revoked = None;
            session.revocations = confirmed(&self.sent);
        }
        let view = HostView {
            host: self.host.id,
            labels: &standing.labels,
            trust_version: standing.trust_version,
            floor: standing.floor,
            sent: &self.sent.statements,
            revocations: &session.revocations,
            mood: session.mood,
        };
        let publication = publish::publish(current, &view, now);
        let mut bundles = Vec::new();
        if let Some((ids, bundle)) = publication.revocations {
            for id in &ids {
                self.sent.revocations.entry(*id).or_insert(false);
            }
            session.revocations.extend(ids);
            session.revoked = Some(now);
            bundles.push(bundle);
        }
        let newest = current.chain().newest();
        let trust = current.chain().trust().version;
        let pushed = session.pushed == newest && session.trusted == trust;
        let in_flight = session.flight.is_some_and(|(_, since)| now.since(since) < ANSWER);
        let link = match self.host.decision {
            // A link can give.
            Some(_) => publication.link.and_then(LinkBundle::trust_roots_only),
            None => publication.link,
        };
        if let Some(LinkBundle { bundle, link, shown }) = link
            && !pushed
            && !in_flight
        {
            let floor = standing.floor.map_or(0, |floor| floor.number);
            if let Some(link) = link {
                for (id, (shown, wanted)) in shown {
                    let confirmed = self.sent.statements.get(&id).and_then(|sent| sent.confirmed);
                    let sent = Sent { link: link.number, shown, wanted, confirmed };
                    self.sent.statements.insert(id, sent);
                }
                session.flight = (link.number > floor).then_some((link.number, now));
            }
            session.pushed = newest;
            session.trusted = trust;
            bundles.push(bundle);
        }
        bundles
    }

    /// Hands a bundle to the connection; one that takes nothing more is closed, and the host will
    /// come again.
    pub(super) fn send(&mut self, bundle: &Bundle) {
        let Some(session) = &self.session else { return };
        let bytes = bundle.encode();
        if bytes.len() > MAX_BUNDLE {
            let (host, size) = (self.host.id.short(), bytes.len());
            tracing::error!(host, size, "a bundle is larger than a host reads and was not sent");
            self.host.unsent = Some(TooLarge { size });
            return;
        }
        if bundle.link.is_some() {
            self.host.unsent = None;
        }
        if session.to.try_send(bytes).is_err() {
            tracing::warn!(host = %self.host.id.short(), "a host takes nothing more; its connection is closed");
            self.session = None;
        }
    }
}

#[cfg(test)]
mod tests;
