//! The hosts that are connected and those that are not: what each is to be sent, and what it has
//! confirmed. Everything that is sent to hosts goes through here, one thing after the other, and is
//! written down before it is sent.
//!
//! At most one link is on its way to a host; when the host says where it stands, the next is worked
//! out anew. So a slow host is sent what is newest and never a queue.

mod change;
mod decide;
mod except;
mod joining;
mod member;
mod pending;
mod progress;
mod receipts;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use muster_proto::{
    bundle::Bundle,
    envelope::Envelope,
    id::{HostId, Id},
    link::LogHead,
    receipt::Standing,
    time::Timestamp,
};
use tokio::sync::{Mutex, broadcast, mpsc, oneshot};

use self::member::Member;
use crate::{
    current::{BadHistory, Current},
    enrol::tls::Bans,
    host::Host,
    signer::Signer,
    store::{SentTo, Store, StoreError},
};

pub(crate) use change::entry;
pub use change::{PublishError, RevokeError};
pub use decide::{DecideError, Order};
pub use except::{Acceptance, ExceptError};
pub use pending::LapseError;
pub use progress::{Goal, LOOK_BACK, Progress};
pub use receipts::{MAX_NUMBER, ReceiptError, Received};
pub use told::{LOGGED, LOGGED_WITHIN};

/// How many bundles may wait for a connection that does not take them.
pub const WAITING: usize = 64;
/// How many hosts' news a slow follower may miss before it looks at all of them again.
const NEWS: usize = 4_096;

/// All hosts.
#[derive(Debug)]
pub struct Fleet {
    store: Store,
    signer: Signer,
    current: RwLock<Arc<Current>>,
    bans: Bans,
    members: Mutex<BTreeMap<HostId, Member>>,
    changing: Mutex<()>,
    news: broadcast::Sender<HostId>,
}

/// A host's connection.
#[derive(Debug)]
pub struct Connection {
    /// Its number, among those of the host.
    pub number: u64,
    /// Hears it when the connection is to end at once, with what waits in it; nothing, when it just
    /// is not used any more.
    pub cut: oneshot::Receiver<()>,
}

/// Why the fleet could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored is not a chain.
    #[error("cannot recompute the chain from the store")]
    History(#[from] BadHistory),
    /// The online key is not the trust root's.
    #[error("the newest trust root does not name the online key; nothing it signs would count")]
    OnlineKey,
}

/// How many hosts there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All but those that have never shown up.
    pub all: usize,
    /// Those that are connected.
    pub connected: usize,
    /// Those that have confirmed all that concerns them.
    pub current: usize,
}

impl Fleet {
    /// Recomputes the chain and loads all hosts.
    pub async fn load(store: Store, signer: Signer) -> Result<Self, FleetError> {
        let current = Current::load(store.lineage(), &store.history().await?)?;
        if !current.chain.trust().machine_keys.contains(&signer.public()) {
            return Err(FleetError::OnlineKey);
        }
        let mut sent = store.sent().await?;
        let mut revocations = store.sent_revocations().await?;
        let mut members = BTreeMap::new();
        for host in store.hosts().await? {
            let sent = SentTo {
                host: host.id,
                confirmed: host.confirmed,
                statements: sent.remove(&host.id).unwrap_or_default(),
                revocations: revocations.remove(&host.id).unwrap_or_default(),
            };
            members.insert(host.id, Member::new(host, sent));
        }
        let decisions = store.decisions().await?.into_iter();
        let shut_out = decisions.filter(|(_, decision)| decision.verdict.shuts_out());
        let bans = Bans::new(shut_out.map(|(host, _)| host).collect());
        Ok(Self {
            store,
            signer,
            bans,
            current: RwLock::new(Arc::new(current)),
            members: Mutex::new(members),
            changing: Mutex::new(()),
            news: broadcast::channel(NEWS).0,
        })
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns once everything that a change or a host's word has to wait for was free: each lock in
    /// its turn, and the database.
    pub async fn answer(&self) -> Result<(), StoreError> {
        drop(self.changing.lock().await);
        drop(self.members.lock().await);
        drop(self.current());
        self.store.answer().await
    }

    /// Returns the hosts that are shut out, as they are from now on.
    pub fn bans(&self) -> Bans {
        self.bans.clone()
    }

    /// Returns the audit log's head, and the same as a signed note.
    pub fn log_head(&self) -> (LogHead, String) {
        let head = self.store.head();
        let note = self.signer.note(&head);
        (head, note)
    }

    /// Returns what is current.
    pub fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns all hosts, and whether each is connected.
    pub async fn hosts(&self) -> Vec<(Host, bool)> {
        let members = self.members.lock().await;
        members.values().map(|member| (member.host.clone(), member.session.is_some())).collect()
    }

    /// Returns the hosts that have shown up and not confirmed all that concerns them.
    pub async fn behind(&self) -> BTreeSet<HostId> {
        let current = self.current();
        let members = self.members.lock().await;
        let behind = members
            .iter()
            .filter(|(_, member)| !member.host.is_pending() && !member.is_current(&current));
        behind.map(|(id, _)| *id).collect()
    }

    /// Says whether a host has a record.
    pub async fn knows(&self, host: &HostId) -> bool {
        self.members.lock().await.contains_key(host)
    }

    /// Counts the hosts.
    pub async fn count(&self) -> Count {
        let current = self.current();
        let members = self.members.lock().await;
        Count {
            all: members.values().filter(|member| !member.host.is_pending()).count(),
            connected: members.values().filter(|member| member.session.is_some()).count(),
            current: members.values().filter(|member| member.is_current(&current)).count(),
        }
    }

    /// Takes a host's connection in place of an older one; nothing is sent before it says where it
    /// stands. Returns nothing for a host that is not known, or is shut out.
    pub async fn connect(&self, host: HostId, to: mpsc::Sender<Vec<u8>>) -> Option<Connection> {
        let mut members = self.members.lock().await;
        let connection = members.get_mut(&host)?.connect(to)?;
        drop(members);
        self.tell(host);
        Some(connection)
    }

    /// Notes that a connection has ended.
    pub async fn disconnect(&self, host: HostId, number: u64) {
        let mut members = self.members.lock().await;
        if let Some(member) = members.get_mut(&host) {
            member.session.take_if(|session| session.number == number);
        }
        drop(members);
        self.tell(host);
    }

    /// Closes all connections.
    pub async fn dismiss(&self) {
        self.members.lock().await.values_mut().for_each(|member| member.session = None);
    }

    /// Takes a host's word on where it stands, and sends what it lacks.
    pub async fn stand(
        &self,
        host: HostId,
        number: u64,
        standing: Standing,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let current = self.current();
        let mut members = self.members.lock().await;
        let Some(member) = members.get_mut(&host) else { return Ok(()) };
        if member.session.as_ref().is_none_or(|session| session.number != number) {
            return Ok(());
        }
        self.store.set_standing(host, &standing, now).await?;
        let before = member.sent.clone();
        let first = member.stand(standing, now);
        self.store.set_sent(&[(before, member.sent.clone())]).await?;
        if first {
            let mut bundle = Bundle::empty(host);
            bundle.checkpoint = Some(self.checkpoint(&current, now));
            member.send(&bundle);
        }
        self.push(&mut members, &[host], &current, now).await?;
        drop(members);
        self.tell(host);
        Ok(())
    }

    /// Signs one checkpoint and sends it to every host; what still waits is sent with it.
    pub async fn heartbeat(&self, now: Timestamp) -> Result<(), StoreError> {
        let current = self.current();
        let checkpoint = self.checkpoint(&current, now);
        let mut members = self.members.lock().await;
        let mut connected = Vec::new();
        for (host, member) in members.iter_mut().filter(|(_, member)| member.is_standing()) {
            let mut bundle = Bundle::empty(*host);
            bundle.checkpoint = Some(checkpoint.clone());
            member.send(&bundle);
            member.host.last_seen = Some(now);
            connected.push(*host);
        }
        let overdue: Vec<HostId> =
            members.iter().filter(|(_, m)| m.is_overdue(&current, now)).map(|(h, _)| *h).collect();
        self.push(&mut members, &overdue, &current, now).await?;
        drop(members);
        self.store.set_last_seen(&connected, now).await
    }

    fn checkpoint(&self, current: &Current, now: Timestamp) -> Envelope {
        self.signer.checkpoint(&current.checkpoint(now, self.store.head()))
    }

    /// Works out what these hosts lack, writes it down and sends it to those that are connected.
    async fn push(
        &self,
        members: &mut BTreeMap<HostId, Member>,
        hosts: &[HostId],
        current: &Arc<Current>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut written = Vec::new();
        let mut bundles = Vec::new();
        for host in hosts {
            let Some(member) = members.get_mut(host) else { continue };
            let before = member.sent.clone();
            bundles.extend(member.prepare(current, now));
            if member.sent != before {
                written.push((before, member.sent.clone()));
            }
        }
        if bundles.is_empty() && written.is_empty() {
            return Ok(());
        }
        self.store.set_sent(&written).await?;
        for bundle in bundles {
            if let Some(member) = members.get_mut(&bundle.host) {
                member.send(&bundle);
            }
        }
        Ok(())
    }

    fn tell(&self, host: HostId) {
        // Nobody listens most of the time.
        let _ = self.news.send(host);
    }

    /// Returns those of the members whom a change of these ids concerns. One that has never shown up
    /// is not waited for; it is sent what there is when it does.
    fn concerned(
        members: &BTreeMap<HostId, Member>,
        current: &Current,
        ids: &BTreeSet<Id>,
    ) -> Vec<HostId> {
        let reach = current.index.reach(current.chain.statements(), ids);
        let shown_up = members.iter().filter(|(_, member)| !member.host.is_pending());
        let hit = shown_up.filter(|(host, member)| {
            let labels = member.host.standing.as_ref().map(|standing| &standing.labels);
            reach.concerns(**host, labels, member.sent.statements.keys())
        });
        hit.map(|(host, _)| *host).collect()
    }
}
