//! Trust roots, links and revocations: envelopes as they came, in the order in which they came.

use std::collections::BTreeMap;

use muster_proto::{
    envelope::{Document, Envelope},
    id::{Digest, Id},
    time::Timestamp,
};

use super::{Change, Store, StoreError, envelope, failed, signed, unsigned};
use crate::{
    audit::Entry,
    current::{Event, PublishedLink},
};

impl Change<'_> {
    pub(super) async fn insert_trust_root(
        &mut self,
        version: u64,
        place: u64,
        trust_root: &Envelope,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO trust_roots (version, place, envelope) VALUES ($1, $2, $3)")
            .bind(signed(version))
            .bind(signed(place))
            .bind(trust_root.encode())
            .execute(&mut *self.tx)
            .await
            .map_err(failed("store a trust root"))?;
        Ok(())
    }
}

#[derive(sqlx::FromRow)]
struct LinkRow {
    number: i64,
    place: i64,
    envelope: Vec<u8>,
    body: Vec<u8>,
}

impl Store {
    /// Stores a link with what the log says of it: the link itself first, then its approvals.
    pub async fn add_link(
        &self,
        number: u64,
        digest: Digest,
        link: &PublishedLink,
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        let mut place = 0;
        for entry in entries {
            place = change.append(entry).await?;
        }
        sqlx::query(
            "INSERT INTO links (number, place, digest, envelope, body) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(signed(number))
        .bind(signed(place))
        .bind(digest.as_bytes().to_vec())
        .bind(link.link.encode())
        .bind(link.body.clone())
        .execute(&mut *change.tx)
        .await
        .map_err(failed("store a link"))?;
        for (place, proposal) in (0_i64..).zip(&link.proposals) {
            sqlx::query("INSERT INTO proposals (link, place, envelope) VALUES ($1, $2, $3)")
                .bind(signed(number))
                .bind(place)
                .bind(proposal.encode())
                .execute(&mut *change.tx)
                .await
                .map_err(failed("store a proposal"))?;
        }
        change.commit().await
    }

    /// Stores a revocation.
    pub async fn add_revocation(
        &self,
        id: Id,
        revocation: &Envelope,
        arrived: Timestamp,
        entry: &Entry,
    ) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        let place = change.append(entry).await?;
        sqlx::query(
            "INSERT INTO revocations (place, id, envelope, arrived) VALUES ($1, $2, $3, $4)",
        )
        .bind(signed(place))
        .bind(id.as_bytes().to_vec())
        .bind(revocation.encode())
        .bind(signed(arrived.0))
        .execute(&mut *change.tx)
        .await
        .map_err(failed("store a revocation"))?;
        change.commit().await
    }

    /// Returns all trust roots after a version, oldest first.
    pub async fn trust_roots(&self, after: u64) -> Result<Vec<Envelope>, StoreError> {
        let rows: Vec<(Vec<u8>,)> =
            sqlx::query_as("SELECT envelope FROM trust_roots WHERE version > $1 ORDER BY version")
                .bind(signed(after))
                .fetch_all(&self.readers)
                .await
                .map_err(failed("read the trust roots"))?;
        rows.iter().map(|(bytes,)| envelope(bytes, "trust root")).collect()
    }

    /// Returns at most `limit` links after a number, oldest first.
    pub async fn links(&self, after: u64, limit: u32) -> Result<Vec<PublishedLink>, StoreError> {
        let found = self.placed_links(after, limit).await?;
        Ok(found.into_iter().map(|(_, link)| link).collect())
    }

    async fn placed_links(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, PublishedLink)>, StoreError> {
        let doing = "read the links";
        let rows: Vec<LinkRow> = sqlx::query_as(
            "SELECT number, place, envelope, body FROM links WHERE number > $1
             ORDER BY number LIMIT $2",
        )
        .bind(signed(after))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(failed(doing))?;
        let last = rows.last().map_or(0, |row| row.number);
        let proposals: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT link, envelope FROM proposals WHERE link > $1 AND link <= $2
             ORDER BY link, place",
        )
        .bind(signed(after))
        .bind(last)
        .fetch_all(&self.readers)
        .await
        .map_err(failed(doing))?;
        let mut by_link: BTreeMap<i64, Vec<Envelope>> = BTreeMap::new();
        for (link, bytes) in proposals {
            by_link.entry(link).or_default().push(envelope(&bytes, "proposal")?);
        }
        let link = |row: LinkRow| {
            let proposals = by_link.remove(&row.number).unwrap_or_default();
            let link = envelope(&row.envelope, "link")?;
            Ok((unsigned(row.place), PublishedLink { link, body: row.body, proposals }))
        };
        rows.into_iter().map(link).collect()
    }

    /// Returns all revocations in the order of arrival.
    pub async fn revocations(&self) -> Result<Vec<Envelope>, StoreError> {
        Ok(self.placed_revocations().await?.into_iter().map(|(_, envelope)| envelope).collect())
    }

    async fn placed_revocations(&self) -> Result<Vec<(u64, Envelope)>, StoreError> {
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT place, envelope FROM revocations ORDER BY place")
                .fetch_all(&self.readers)
                .await
                .map_err(failed("read the revocations"))?;
        rows.iter()
            .map(|(place, bytes)| Ok((unsigned(*place), envelope(bytes, "revocation")?)))
            .collect()
    }

    /// Returns everything that the chain is recomputed from, in the order of arrival.
    pub async fn history(&self) -> Result<Vec<Event>, StoreError> {
        let mut events: BTreeMap<u64, Event> = BTreeMap::new();
        let roots: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT place, envelope FROM trust_roots ORDER BY version")
                .fetch_all(&self.readers)
                .await
                .map_err(failed("read the trust roots"))?;
        for (place, bytes) in roots {
            events.insert(unsigned(place), Event::TrustRoot(envelope(&bytes, "trust root")?));
        }
        for (place, link) in self.placed_links(0, u32::MAX).await? {
            events.insert(place, Event::Link(link));
        }
        for (place, revocation) in self.placed_revocations().await? {
            events.insert(place, Event::Revocation(revocation));
        }
        Ok(events.into_values().collect())
    }
}
