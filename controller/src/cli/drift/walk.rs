//! All drift that was asked for, page by page, in the order in which it was told. Each host has a
//! share, and once that is used up the controller is asked for nothing more of it: a host that tells
//! very much, or in very large receipts, hides nobody else.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{envelope::Document, id::HostId};

use super::line::{Read, read};
use crate::client::{Client, ClientError, DriftWanted, Drifted, Host};

/// How much of one host is listed: so many items, of receipts of so many bytes and one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    items: usize,
    bytes: usize,
}

/// What was taken of the share.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    items: usize,
    bytes: usize,
}

impl Share {
    /// Where all hosts are asked for.
    pub(super) const EACH: Self = Self { items: 1_000, bytes: 4 << 20 };
    /// Where one host is.
    pub(super) const ONE_HOST: Self = Self { items: 20_000, bytes: 64 << 20 };
    /// Where it matters only whether there is anything.
    pub(super) const ONE_ITEM: Self = Self { items: 1, bytes: 0 };

    fn has_room(self, taken: Taken) -> bool {
        taken.items < self.items && taken.bytes <= self.bytes
    }
}

/// Asks for all that is wanted, and reads it. Of a host of which there is more, the gravest that fits
/// into one page is left; its lines say so, and so does `more`.
pub(super) async fn walk(
    client: &mut Client,
    wanted: &DriftWanted,
    hosts: &[Host],
    share: Share,
) -> Result<(Drifted, Read), ClientError> {
    let mut walked = Walked::new(share);
    let mut wanted = DriftWanted { after: Some(0), ..wanted.clone() };
    loop {
        let page = client.drift(&wanted).await?;
        let last = page.found.iter().map(|told| told.place).max();
        let more = page.more;
        walked.take(page, hosts);
        match last {
            Some(last) if more && Some(last) > wanted.after => wanted.after = Some(last),
            _ => break,
        }
        wanted.without.clone_from(&walked.cut);
    }
    let cut = if share == Share::ONE_ITEM { BTreeSet::new() } else { walked.cut.clone() };
    for host in cut {
        let gravest = DriftWanted { host: Some(host), after: None, ..wanted.clone() };
        let gravest = DriftWanted { without: BTreeSet::new(), ..gravest };
        walked.replace(host, &client.drift(&gravest).await?, hosts);
    }
    Ok((walked.all, walked.read))
}

/// What has come so far.
#[derive(Debug)]
struct Walked {
    share: Share,
    /// What the first page says of the fleet, and where all that was read is told.
    all: Drifted,
    read: Read,
    taken: BTreeMap<HostId, Taken>,
    /// Of whom there is more.
    cut: BTreeSet<HostId>,
    pages: usize,
}

impl Walked {
    fn new(share: Share) -> Self {
        let (all, read) = (Drifted::default(), Read::default());
        Self { share, all, read, taken: BTreeMap::new(), cut: BTreeSet::new(), pages: 0 }
    }

    /// Takes a page: of each host what its share has room for.
    fn take(&mut self, mut page: Drifted, hosts: &[Host]) {
        if self.pages == 0 {
            self.all.hosts = std::mem::take(&mut page.hosts);
            (self.all.newest, self.all.exceptions) = (page.newest, page.exceptions);
        }
        self.pages += 1;
        let mut counted = BTreeSet::new();
        let Self { share, taken, cut, .. } = self;
        page.found.retain(|told| {
            let taken = taken.entry(told.host).or_default();
            if !share.has_room(*taken) {
                cut.insert(told.host);
                return false;
            }
            taken.items += 1;
            let key = (told.host, told.receipt);
            if counted.insert(key) {
                taken.bytes += page.receipts.get(&key).map_or(0, |one| one.encode().len());
            }
            true
        });
        let Read { lines, unbelieved } = read(&page, hosts);
        self.read.lines.extend(lines);
        self.read.unbelieved += unbelieved;
        self.all.found.append(&mut page.found);
        self.all.more = !self.cut.is_empty();
    }

    /// Leaves the gravest of a host.
    fn replace(&mut self, host: HostId, gravest: &Drifted, hosts: &[Host]) {
        let id = host.to_string();
        self.read.lines.retain(|line| line.host_id != id);
        self.all.found.retain(|told| told.host != host);
        let mut page = read(gravest, hosts);
        page.lines.iter_mut().for_each(|line| line.more = true);
        self.read.lines.append(&mut page.lines);
        self.read.unbelieved += page.unbelieved;
        self.all.found.extend(gravest.found.iter().cloned());
    }
}

#[cfg(test)]
mod tests;
