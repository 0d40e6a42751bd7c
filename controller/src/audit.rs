//! The audit log's arithmetic: an append-only Merkle log (RFC 6962) whose leaves are digests of a
//! salt, what kind of thing it is and a body. Nothing takes effect before it is in the log; the
//! store appends in the very transaction that takes effect. Only the right edge is kept, so a leaf
//! costs what its depth is. There may be several logs, one after the other: places go on counting,
//! sizes and roots are each log's own.

mod beginning;

use muster_proto::{crypto::sha256, id::Digest, link::LogHead, merkle::Tree, time::Timestamp};

pub use beginning::{BEGUN, BadBeginning, Beginning, origin_after};

/// Something that happened, ready for the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub time: Timestamp,
    /// A stable word: trust-root, link, approval, revocation, token, enrolment, enrolment-lapsed,
    /// receipts-missing, receipts-parted, receipts-back, host-quarantined, host-released,
    /// host-evicted, host-banned, host-purged, host-paused, host-resumed, exception-made,
    /// exception-withdrawn, log-begun.
    pub kind: &'static str,
    /// 16 random bytes, so that a leaf tells nothing of an erased body.
    pub salt: [u8; 16],
    /// What happened, in the bytes that were signed where there are such; of a receipt, which one.
    pub body: Vec<u8>,
}

/// The right edge of the log: the roots of its complete subtrees, largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Entry {
    /// Returns the leaf.
    pub fn leaf(&self) -> Digest {
        leaf(&self.salt, self.kind, &self.body)
    }
}

/// Returns the leaf of salt, kind and body.
pub fn leaf(salt: &[u8], kind: &str, body: &[u8]) -> Digest {
    let kind = [kind.as_bytes(), b"\n"].concat();
    Tree::Log.leaf(sha256(&[salt, &kind, body]).as_bytes())
}

impl Frontier {
    /// Appends a leaf.
    pub fn push(&mut self, leaf: Digest) {
        let mut hash = leaf;
        let mut size = self.size;
        while size & 1 == 1 {
            if let Some(left) = self.peaks.pop() {
                hash = Tree::Log.root(&[left, hash]);
            }
            size >>= 1;
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// Returns how many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the root over all leaves.
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return Tree::Log.root(&[]) };
        peaks.fold(*last, |right, left| Tree::Log.root(&[*left, right]))
    }
}

/// The log that is written to: its name, where it begins among the entries of all logs, and its
/// right edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    origin: String,
    first: u64,
    frontier: Frontier,
}

impl Log {
    /// Returns a fleet's first log, before there is anything in it.
    pub fn first(lineage: Digest) -> Self {
        Self { origin: origin(lineage), first: 0, frontier: Frontier::default() }
    }

    /// Returns the log that begins at a place with this leaf, before that is in it.
    pub fn begun(lineage: Digest, first: u64, leaf: Digest) -> Self {
        let origin = origin_after(lineage, leaf);
        Self { origin, first, frontier: Frontier::default() }
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Digest) {
        self.frontier.push(leaf);
    }

    /// Returns the place of the first entry.
    pub fn first_place(&self) -> u64 {
        self.first
    }

    /// Returns the place of the next entry.
    pub fn next_place(&self) -> u64 {
        self.first + self.frontier.size()
    }

    /// Returns the head that checkpoints and links carry.
    pub fn head(&self) -> LogHead {
        let (size, root) = (self.frontier.size(), self.frontier.root());
        LogHead { origin: self.origin.clone(), size, root }
    }
}

/// Returns the name of a fleet's first log.
pub fn origin(lineage: Digest) -> String {
    format!("muster/{}", lineage.short())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256(0 ‖ SHA-256(salt ‖ kind ‖ a line's end ‖ body)), worked out elsewhere.
    #[test]
    fn a_leaf_is_the_digest_of_salt_kind_and_body() {
        let (salt, body) = ([3; 16], b"what was signed".to_vec());
        let entry = Entry { time: Timestamp(7), kind: "link", salt, body };
        assert_eq!(
            entry.leaf().to_string(),
            "961bde0a0ba639bf8cc4cc6e6649f2620dd5b6032ba1f8053d83f9c77a0ae2f6"
        );
    }

    #[test]
    fn the_right_edge_has_the_root_of_the_whole_tree() {
        let mut frontier = Frontier::default();
        let mut leaves = Vec::new();
        assert_eq!(frontier.root(), Tree::Log.root(&[]));
        for n in 0..70_u64 {
            let leaf = Tree::Log.leaf(&n.to_be_bytes());
            leaves.push(leaf);
            frontier.push(leaf);
            assert_eq!(frontier.root(), Tree::Log.root(&leaves), "{n}");
            assert_eq!(frontier.size(), n + 1);
        }
    }
}
