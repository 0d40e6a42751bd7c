//! The Merkle map of what is current: every statement's id to its newest revision and digest,
//! removals included. Membership and absence are proved by a pruned copy of the tree, many at once.
//!
//! A leaf hangs at the first place where it is alone; so a subtree of one leaf is that leaf, and an
//! absence shows as an empty subtree or as the other leaf at the end of the path.

use std::collections::BTreeMap;

use crate::{
    crypto::sha256,
    envelope::Document,
    id::{Digest, Id},
    statement::Entry,
};

/// The root of a directory of nothing.
pub const EMPTY: Digest = Digest::new([0; 32]);

/// The whole map, as tools and the controller hold it.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    entries: BTreeMap<Digest, Entry>,
}

/// A part of the tree that proves what it shows, as it travels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunedTree {
    /// One byte a node in preorder.
    pub shape: Vec<u8>,
    /// The leaves' keys and entry digests and the cut subtrees' hashes, in the same order.
    pub hashes: Vec<u8>,
}

/// A pruned tree that was recomputed: what it shows is true under `root`.
#[derive(Clone, Debug)]
pub struct ProvedDirectory {
    root: Digest,
    leaves: BTreeMap<Digest, Digest>,
    /// In the order of their places: where each begins, and how deep it hangs.
    cuts: Vec<(Digest, usize)>,
}

/// What a pruned tree says of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Membership {
    /// The directory has exactly this entry.
    Present,
    /// The directory has another entry at the id.
    Other,
    /// The directory has nothing at the id.
    Absent,
    /// The tree is cut where the id would be.
    Unknown,
}

/// Why a pruned tree proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTree {
    /// Its bytes end early, go on too long, or name a node that does not exist.
    #[error("the directory proof is cut short or too long")]
    Shape,
    /// A leaf stands where its key does not lead, or stands too deep.
    #[error("the directory proof has a leaf in a place where it cannot be")]
    Misplaced,
}

const NODE_EMPTY: u8 = 0;
const NODE_INNER: u8 = 1;
const NODE_LEAF: u8 = 2;
const NODE_CUT: u8 = 3;

type Prefix = Vec<bool>;

fn key_of(id: &Id) -> Digest {
    sha256(&[id.as_bytes()])
}

fn leaf_hash(key: &Digest, entry: &Digest) -> Digest {
    sha256(&[&[0x20], key.as_bytes(), entry.as_bytes()])
}

fn inner_hash(left: &Digest, right: &Digest) -> Digest {
    if *left == EMPTY && *right == EMPTY {
        return EMPTY;
    }
    sha256(&[&[0x21], left.as_bytes(), right.as_bytes()])
}

fn bit(key: &Digest, depth: usize) -> bool {
    key.as_bytes().get(depth / 8).is_some_and(|byte| byte >> (7 - depth % 8) & 1 == 1)
}

/// The lowest key below a place.
fn first_key(path: &Prefix) -> Digest {
    let mut bytes = [0; 32];
    for (byte, sides) in bytes.iter_mut().zip(path.chunks(8)) {
        for (at, side) in sides.iter().enumerate() {
            *byte |= u8::from(*side) << (7 - at);
        }
    }
    Digest::new(bytes)
}

fn entry_digest(entry: &Entry) -> Digest {
    sha256(&[&entry.encode()])
}

impl Directory {
    /// Sets what is current for the entry's id.
    pub fn insert(&mut self, entry: Entry) {
        self.entries.insert(key_of(&entry.id), entry);
    }

    /// Returns what is current for an id.
    pub fn get(&self, id: &Id) -> Option<&Entry> {
        self.entries.get(&key_of(id))
    }

    /// Returns all entries, in the order of their keys.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Returns the directory root.
    pub fn root(&self) -> Digest {
        subtree_root(&self.leaves(), 0)
    }

    /// Returns a proof of what the directory says of these ids, be they in it or not.
    pub fn prove(&self, ids: &[Id]) -> PrunedTree {
        let mut targets: Vec<Digest> = ids.iter().map(key_of).collect();
        targets.sort();
        targets.dedup();
        let mut tree = PrunedTree::default();
        prune(&self.leaves(), &targets, 0, &mut tree);
        tree
    }

    fn leaves(&self) -> Vec<(Digest, Digest)> {
        self.entries.iter().map(|(key, entry)| (*key, entry_digest(entry))).collect()
    }
}

fn halves<'a, T>(sorted: &'a [T], depth: usize, key: impl Fn(&T) -> Digest) -> (&'a [T], &'a [T]) {
    sorted.split_at(sorted.partition_point(|item| !bit(&key(item), depth)))
}

fn subtree_root(leaves: &[(Digest, Digest)], depth: usize) -> Digest {
    match leaves {
        [] => EMPTY,
        [(key, entry)] => leaf_hash(key, entry),
        _ => {
            let (left, right) = halves(leaves, depth, |leaf| leaf.0);
            inner_hash(&subtree_root(left, depth + 1), &subtree_root(right, depth + 1))
        }
    }
}

fn prune(leaves: &[(Digest, Digest)], targets: &[Digest], depth: usize, tree: &mut PrunedTree) {
    match leaves {
        [] => tree.shape.push(NODE_EMPTY),
        _ if targets.is_empty() => {
            tree.shape.push(NODE_CUT);
            tree.hashes.extend_from_slice(subtree_root(leaves, depth).as_bytes());
        }
        [(key, entry)] => {
            tree.shape.push(NODE_LEAF);
            tree.hashes.extend_from_slice(key.as_bytes());
            tree.hashes.extend_from_slice(entry.as_bytes());
        }
        _ => {
            tree.shape.push(NODE_INNER);
            let (left, right) = halves(leaves, depth, |leaf| leaf.0);
            let (left_targets, right_targets) = halves(targets, depth, |key| *key);
            prune(left, left_targets, depth + 1, tree);
            prune(right, right_targets, depth + 1, tree);
        }
    }
}

impl PrunedTree {
    /// Recomputes the root and notes what is shown on the way.
    pub fn recompute(&self) -> Result<ProvedDirectory, BadTree> {
        let mut reader = Reader { shape: self.shape.iter(), hashes: &self.hashes };
        let mut proved = ProvedDirectory { root: EMPTY, leaves: BTreeMap::new(), cuts: Vec::new() };
        let mut path = Prefix::new();
        proved.root = reader.node(&mut path, &mut proved)?.hash;
        if reader.shape.next().is_some() || !reader.hashes.is_empty() {
            return Err(BadTree::Shape);
        }
        Ok(proved)
    }
}

struct Reader<'a> {
    shape: std::slice::Iter<'a, u8>,
    hashes: &'a [u8],
}

/// A recomputed node, and whether it is a single leaf or nothing: two such under one inner node
/// would be a tree that nobody can build.
struct Node {
    hash: Digest,
    is_empty: bool,
    is_leaf: bool,
}

impl Reader<'_> {
    fn take(&mut self) -> Result<Digest, BadTree> {
        let (head, rest) = self.hashes.split_first_chunk::<32>().ok_or(BadTree::Shape)?;
        self.hashes = rest;
        Ok(Digest::new(*head))
    }

    fn node(&mut self, path: &mut Prefix, proved: &mut ProvedDirectory) -> Result<Node, BadTree> {
        match *self.shape.next().ok_or(BadTree::Shape)? {
            NODE_EMPTY => Ok(Node { hash: EMPTY, is_empty: true, is_leaf: false }),
            NODE_LEAF => {
                let (key, entry) = (self.take()?, self.take()?);
                if path.iter().enumerate().any(|(depth, side)| bit(&key, depth) != *side) {
                    return Err(BadTree::Misplaced);
                }
                proved.leaves.insert(key, entry);
                Ok(Node { hash: leaf_hash(&key, &entry), is_empty: false, is_leaf: true })
            }
            NODE_CUT => {
                proved.cuts.push((first_key(path), path.len()));
                Ok(Node { hash: self.take()?, is_empty: false, is_leaf: false })
            }
            NODE_INNER if path.len() < 256 => {
                path.push(false);
                let left = self.node(path, proved)?;
                path.pop();
                path.push(true);
                let right = self.node(path, proved)?;
                path.pop();
                if (left.is_empty && (right.is_leaf || right.is_empty))
                    || (right.is_empty && left.is_leaf)
                {
                    return Err(BadTree::Misplaced);
                }
                let hash = inner_hash(&left.hash, &right.hash);
                Ok(Node { hash, is_empty: false, is_leaf: false })
            }
            _ => Err(BadTree::Shape),
        }
    }
}

impl ProvedDirectory {
    /// Returns the root that the tree was recomputed to.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// Says whether the directory has exactly this entry.
    pub fn holds(&self, entry: &Entry) -> Membership {
        match self.leaves.get(&key_of(&entry.id)) {
            Some(found) if *found == entry_digest(entry) => Membership::Present,
            Some(_) => Membership::Other,
            None => self.lacks(&entry.id),
        }
    }

    /// Says whether the directory has nothing at this id.
    pub fn lacks(&self, id: &Id) -> Membership {
        let key = key_of(id);
        if self.leaves.contains_key(&key) {
            return Membership::Other;
        }
        // The only cut that can hold the key is the last one that begins at or before it: a search,
        // since both the cuts and the ids asked for are the sender's choice.
        let before = self.cuts.partition_point(|(first, _)| *first <= key);
        let cut = before.checked_sub(1).and_then(|last| self.cuts.get(last));
        let leads = |(first, depth): &(Digest, usize)| {
            (0..*depth).all(|depth| bit(&key, depth) == bit(first, depth))
        };
        if cut.is_some_and(leads) { Membership::Unknown } else { Membership::Absent }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{id::Kind, statement::LeafState};

    fn entry(n: u32, revision: u64) -> Entry {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        Entry {
            kind: Kind::Group,
            id: Id::Object(id),
            revision,
            digest: sha256(&[&n.to_be_bytes()]),
            state: LeafState::Live,
        }
    }

    fn directory(ids: impl IntoIterator<Item = u32>) -> Directory {
        let mut directory = Directory::default();
        ids.into_iter().for_each(|n| directory.insert(entry(n, 1)));
        directory
    }

    #[test]
    fn a_directory_of_nothing_and_of_one() {
        assert_eq!(directory([]).root(), EMPTY);
        let one = directory([7]);
        let only = entry(7, 1);
        assert_eq!(one.root(), leaf_hash(&key_of(&only.id), &entry_digest(&only)));
    }

    proptest! {
        #[test]
        fn proofs_say_what_the_directory_says(
            present in proptest::collection::btree_set(0_u32..500, 0..60),
            asked in proptest::collection::vec(0_u32..500, 0..12),
        ) {
            let whole = directory(present.clone());
            let ids: Vec<Id> = asked.iter().map(|n| entry(*n, 1).id).collect();
            let proved = whole.prove(&ids).recompute().unwrap();
            prop_assert_eq!(proved.root(), whole.root());
            for n in asked {
                let (same, newer) = (entry(n, 1), entry(n, 2));
                if present.contains(&n) {
                    prop_assert_eq!(proved.holds(&same), Membership::Present);
                    prop_assert_eq!(proved.holds(&newer), Membership::Other);
                    prop_assert_eq!(proved.lacks(&same.id), Membership::Other);
                } else {
                    prop_assert_eq!(proved.holds(&same), Membership::Absent);
                    prop_assert_eq!(proved.lacks(&same.id), Membership::Absent);
                }
            }
        }

        #[test]
        fn a_changed_byte_is_another_root_or_no_tree(
            present in proptest::collection::btree_set(0_u32..500, 1..40),
            at in any::<prop::sample::Index>(),
            flip in 1_u8..,
        ) {
            let whole = directory(present.clone());
            let ids: Vec<Id> = present.iter().take(3).map(|n| entry(*n, 1).id).collect();
            let mut tree = whole.prove(&ids);
            let length = tree.shape.len() + tree.hashes.len();
            let at = at.index(length);
            match tree.shape.get_mut(at) {
                Some(byte) => *byte ^= flip,
                None => tree.hashes[at - tree.shape.len()] ^= flip,
            }
            if let Ok(proved) = tree.recompute() {
                prop_assert_ne!(proved.root(), whole.root());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(
            shape in proptest::collection::vec(0_u8..5, 0..600),
            hashes in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let _ = PrunedTree { shape, hashes }.recompute();
        }
    }

    #[test]
    fn where_the_tree_is_cut_nothing_is_known() {
        let whole = directory(0..100);
        let proved = whole.prove(&[entry(3, 1).id]).recompute().unwrap();
        let unknown = (4..100).filter(|n| proved.lacks(&entry(*n, 1).id) == Membership::Unknown);
        assert!(unknown.count() > 80);
    }
}
