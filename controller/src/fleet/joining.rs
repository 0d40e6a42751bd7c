//! Hosts that join: for the first time, or again, by a secret that is good once. What was decided
//! about a host holds against it: one that is banned stays out, a quarantine stays, an eviction is
//! over.

use std::collections::BTreeMap;

use muster_proto::{
    id::{Digest, HostId},
    time::Timestamp,
};

use super::{Fleet, member::Member, told::Told};
use crate::{
    audit::Entry,
    host::{Host, Verdict},
    store::{NewHost, SentTo, StoreError, TokenRefused},
};

impl Fleet {
    /// Lets a host join by a secret, and takes it. One thing after the other, so that what is decided
    /// about a host and its joining do not pass each other.
    pub async fn join(
        &self,
        secret: Digest,
        host: &NewHost,
        entry: &Entry,
    ) -> Result<(), TokenRefused> {
        let mut members = self.members.lock().await;
        let token_by = self.store.join(secret, host, entry).await?;
        Ok(self.admit(&mut members, host, token_by, entry.time).await?)
    }

    /// Takes a host that has just joined. One that was here before may have lost what it held, so
    /// nothing counts as confirmed any more.
    pub async fn welcome(
        &self,
        host: &NewHost,
        token_by: String,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut members = self.members.lock().await;
        self.admit(&mut members, host, token_by, now).await
    }

    async fn admit(
        &self,
        members: &mut BTreeMap<HostId, Member>,
        host: &NewHost,
        token_by: String,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.bans.let_in(host.id);
        if let Some(member) = members.get_mut(&host.id) {
            member.host.decision.take_if(|decision| decision.verdict == Verdict::Evicted);
            let before = member.sent.clone();
            member.doubt();
            member.told = Told::default();
            member.host.hostname = host.hostname.to_string();
            member.host.joined = now;
            member.host.token_by = token_by;
            return self.store.set_sent(&[(before, member.sent.clone())]).await;
        }
        let known = Host {
            id: host.id,
            keeper_key: host.keeper_key,
            hostname: host.hostname.to_string(),
            joined: now,
            token_by,
            last_seen: None,
            standing: None,
            confirmed: 0,
            receipts: None,
            breaks: Vec::new(),
            unsent: None,
            paused: None,
            decision: None,
        };
        let sent = SentTo {
            host: host.id,
            confirmed: 0,
            statements: BTreeMap::new(),
            revocations: BTreeMap::new(),
        };
        members.insert(host.id, Member::new(known, sent));
        Ok(())
    }
}
