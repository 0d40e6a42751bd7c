//! Append-only trees shaped as in RFC 6962 section 2: the history of links (prefixes 0x10 and 0x11)
//! and the audit log (0x00 and 0x01). Roots, inclusion proofs and consistency proofs.

use crate::{crypto::sha256, id::Digest};

/// Which tree: each has prefixes of its own, so that a node of one is never one of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// The audit log, as in RFC 6962.
    Log,
    /// The history of links.
    History,
}

impl Tree {
    const fn prefixes(self) -> (u8, u8) {
        match self {
            Self::Log => (0x00, 0x01),
            Self::History => (0x10, 0x11),
        }
    }

    /// Returns the hash of a leaf.
    pub fn leaf(self, data: &[u8]) -> Digest {
        sha256(&[&[self.prefixes().0], data])
    }

    fn node(self, left: Digest, right: Digest) -> Digest {
        sha256(&[&[self.prefixes().1], left.as_bytes(), right.as_bytes()])
    }

    /// Returns the root over leaf hashes; the hash of nothing for an empty tree.
    pub fn root(self, leaves: &[Digest]) -> Digest {
        match leaves {
            [] => sha256(&[]),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len()));
                self.node(self.root(left), self.root(right))
            }
        }
    }

    /// Returns the path from the leaf at `index` to the root, or nothing if there is no such leaf.
    pub fn inclusion(self, leaves: &[Digest], index: usize) -> Option<Vec<Digest>> {
        match leaves {
            [] => None,
            [_] => (index == 0).then(Vec::new),
            _ => {
                let middle = split(leaves.len());
                let (left, right) = leaves.split_at(middle);
                let (mut path, sibling) = if index < middle {
                    (self.inclusion(left, index)?, self.root(right))
                } else {
                    (self.inclusion(right, index - middle)?, self.root(left))
                };
                path.push(sibling);
                Some(path)
            }
        }
    }

    /// Says whether `path` leads from the leaf at `index` to the root of a tree of `size` leaves
    /// (RFC 9162 section 2.1.3.2).
    pub fn includes(
        self,
        root: Digest,
        size: u64,
        index: u64,
        leaf: Digest,
        path: &[Digest],
    ) -> bool {
        if index >= size {
            return false;
        }
        let (mut node, mut last, mut hash) = (index, size - 1, leaf);
        for sibling in path {
            if last == 0 {
                return false;
            }
            if node & 1 == 1 || node == last {
                hash = self.node(*sibling, hash);
                while node & 1 == 0 && node != 0 {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                hash = self.node(hash, *sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        last == 0 && hash == root
    }

    /// Returns the proof that the tree of the first `old` leaves is a prefix of this one.
    pub fn consistency(self, leaves: &[Digest], old: usize) -> Option<Vec<Digest>> {
        match old {
            0 => Some(Vec::new()),
            old if old > leaves.len() => None,
            old => Some(self.subproof(leaves, old, true)),
        }
    }

    fn subproof(self, leaves: &[Digest], old: usize, whole: bool) -> Vec<Digest> {
        if old == leaves.len() {
            return if whole { Vec::new() } else { vec![self.root(leaves)] };
        }
        let middle = split(leaves.len());
        let (left, right) = leaves.split_at(middle);
        if old <= middle {
            let mut proof = self.subproof(left, old, whole);
            proof.push(self.root(right));
            proof
        } else {
            let mut proof = self.subproof(right, old - middle, false);
            proof.push(self.root(left));
            proof
        }
    }

    /// Says whether the tree (`old_size`, `old_root`) is a prefix of (`size`, `root`)
    /// (RFC 9162 section 2.1.4.2).
    pub fn is_consistent(
        self,
        (old_size, old_root): (u64, Digest),
        (size, root): (u64, Digest),
        proof: &[Digest],
    ) -> bool {
        if old_size == 0 {
            return proof.is_empty();
        }
        if old_size == size {
            return proof.is_empty() && old_root == root;
        }
        if old_size > size {
            return false;
        }
        let mut path = proof.iter().copied();
        let (mut node, mut last) = (old_size - 1, size - 1);
        while node & 1 == 1 {
            node >>= 1;
            last >>= 1;
        }
        let start = if node == 0 { Some(old_root) } else { path.next() };
        let Some(start) = start else { return false };
        let (mut old_hash, mut new_hash) = (start, start);
        for sibling in path {
            if last == 0 {
                return false;
            }
            if node & 1 == 1 || node == last {
                old_hash = self.node(sibling, old_hash);
                new_hash = self.node(sibling, new_hash);
                while node & 1 == 0 && node != 0 {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                new_hash = self.node(new_hash, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        last == 0 && old_hash == old_root && new_hash == root
    }
}

/// The largest power of two below `n`, for n above 1.
const fn split(n: usize) -> usize {
    1 << (usize::BITS - 1 - (n - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(n: u64) -> Vec<Digest> {
        (0..n).map(|i| Tree::Log.leaf(&i.to_be_bytes())).collect()
    }

    #[test]
    fn the_empty_tree_is_that_of_rfc_6962() {
        assert_eq!(
            Tree::Log.root(&[]).to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            Tree::Log.leaf(&[]).to_string(),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_included_and_nowhere_else() {
        for size in 1..40_u64 {
            let leaves = leaves(size);
            let root = Tree::Log.root(&leaves);
            for (i, leaf) in leaves.iter().enumerate() {
                let path = Tree::Log.inclusion(&leaves, i).unwrap();
                for other in 0..=size {
                    let found = Tree::Log.includes(root, size, other, *leaf, &path);
                    assert_eq!(found, other == i as u64, "{size} {i} {other}");
                }
                assert!(!Tree::History.includes(root, size, i as u64, *leaf, &path) || size == 1);
                let longer = [path.clone(), vec![root]].concat();
                assert!(!Tree::Log.includes(root, size, i as u64, *leaf, &longer));
            }
        }
    }

    #[test]
    fn every_prefix_is_consistent_and_no_other_tree_is() {
        for size in 1..34_usize {
            let all = leaves(size as u64);
            let new = (size as u64, Tree::Log.root(&all));
            for old in 0..=size {
                let proof = Tree::Log.consistency(&all, old).unwrap();
                let head = (old as u64, Tree::Log.root(&all[..old]));
                assert!(Tree::Log.is_consistent(head, new, &proof), "{old} {size}");
                if old > 0 {
                    let forged = (old as u64, Tree::Log.leaf(b"other"));
                    assert!(!Tree::Log.is_consistent(forged, new, &proof));
                }
            }
        }
    }
}
