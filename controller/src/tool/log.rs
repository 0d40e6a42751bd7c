//! The operator's tool as a witness of the audit log: the newest head that it saw, kept durably and
//! moved only forward, and the check that a newer one continues it and every head that the signers
//! of links saw. Fetches nothing; the proofs are brought to it.
//!
//! An attacker who holds the controller and rewrites or cuts the log has to show two histories to
//! somebody who saw one of them, and cannot prove that they are the same.

pub mod accept;

use std::{collections::BTreeMap, io, path::PathBuf};

use muster_proto::{id::Digest, link::LogHead, merkle::Tree};

use super::{Tool, ToolError, write};

/// The file with the newest head.
const FILE: &str = "log";

/// The newest head that was shown to continue all before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The head.
    pub head: LogHead,
    /// How many links' heads were checked.
    pub links: u64,
    /// The newest head that was seen of each log that the operator has left for another.
    pub left: Vec<LogHead>,
}

/// Why a log is not the one that was seen before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// Another log altogether.
    #[error("it is `{found}`, and the one seen before is `{known}`")]
    Origin {
        /// The log that was seen.
        known: String,
        /// What the controller shows.
        found: String,
    },
    /// A log that the operator has left for another.
    #[error("it is `{origin}`, which you have left for another log")]
    Left {
        /// Its name.
        origin: String,
    },
    /// No first entry belongs to its name.
    #[error("the controller does not show how `{origin}` begins")]
    Unfounded {
        /// Its name.
        origin: String,
    },
    /// It follows something that nobody saw.
    #[error("it follows the first {size} entries of `{origin}`, and nothing of those was seen")]
    Unseen {
        /// The log that it says it follows.
        origin: String,
        /// How many entries of it.
        size: u64,
    },
    /// Entries are gone.
    #[error("it has {found} entries, and {known} were seen: it was cut")]
    Shrunk {
        /// How many were seen.
        known: u64,
        /// How many there are said to be.
        found: u64,
    },
    /// Its past is another one.
    #[error("its first {size} entries are not those that were seen: it was rewritten")]
    Rewritten {
        /// How many entries were seen.
        size: u64,
    },
    /// Nothing shows that it is the same.
    #[error("the controller does not prove that it continues the {size} entries that were seen")]
    Withheld {
        /// How many entries were seen.
        size: u64,
    },
}

/// Says whether `new` continues `old`, by the proof that came.
pub fn continues(old: &LogHead, new: &LogHead, proof: Option<&[Digest]>) -> Result<(), LogFault> {
    if old.origin != new.origin {
        let (known, found) = (old.origin.clone(), new.origin.clone());
        return Err(LogFault::Origin { known, found });
    }
    if new.size < old.size {
        return Err(LogFault::Shrunk { known: old.size, found: new.size });
    }
    let (size, rewritten) = (old.size, LogFault::Rewritten { size: old.size });
    if size == 0 {
        // Every log begins with nothing, and nothing has one root.
        return if old.root == Tree::Log.root(&[]) { Ok(()) } else { Err(rewritten) };
    }
    if size == new.size {
        return if old.root == new.root { Ok(()) } else { Err(rewritten) };
    }
    let proof = proof.ok_or(LogFault::Withheld { size })?;
    let (old, new) = ((old.size, old.root), (new.size, new.root));
    if Tree::Log.is_consistent(old, new, proof) { Ok(()) } else { Err(rewritten) }
}

impl Seen {
    fn render(&self) -> String {
        let LogHead { origin, size, root } = &self.head;
        let left = |left: &LogHead| format!("{} {} {}\n", left.origin, left.size, left.root);
        let left: String = self.left.iter().map(left).collect();
        format!("{origin}\n{size}\n{root}\n{}\n{left}", self.links)
    }

    fn has_left(&self, origin: &str) -> bool {
        self.left.iter().any(|left| left.origin == origin)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut next = || lines.next();
        let origin = next()?.to_owned();
        let size = next()?.parse().ok()?;
        let root = Digest::parse_hex(next()?)?;
        let links = next()?.parse().ok()?;
        let left = |line: &str| {
            let mut words = line.split(' ');
            let origin = words.next()?.to_owned();
            let size = words.next()?.parse().ok()?;
            let root = Digest::parse_hex(words.next()?)?;
            words.next().is_none().then_some(LogHead { origin, size, root })
        };
        let left = lines.map(left).collect::<Option<_>>()?;
        Some(Self { head: LogHead { origin, size, root }, links, left })
    }
}

impl Tool {
    /// Returns the newest head of the audit log that this operator saw.
    pub fn seen(&self) -> Result<Option<Seen>, ToolError> {
        let path = self.directory.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let seen = Seen::parse(&text).ok_or(ToolError::Head(path))?;
                Ok(Some(seen))
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(ToolError::Read { path, cause }),
        }
    }

    /// Returns the heads that a newer one has to continue: the newest one seen, and those in the
    /// links that came since, but for heads of logs that were left.
    pub fn heads_to_continue(&self) -> Result<Vec<LogHead>, ToolError> {
        let seen = self.seen()?;
        let links = seen.as_ref().map_or(0, |seen| seen.links);
        let has_left = |head: &LogHead| seen.as_ref().is_some_and(|s| s.has_left(&head.origin));
        let new = self.links_heads(links).filter(|head| !has_left(head));
        Ok(seen.iter().map(|seen| &seen.head).chain(new).cloned().collect())
    }

    fn links_heads(&self, after: u64) -> impl Iterator<Item = &LogHead> {
        let newest = self.chain.newest().map_or(0, |link| link.number);
        (after + 1..=newest).filter_map(|number| self.chain.log_of(number))
    }

    fn keep_evidence(
        &self,
        seen: Option<&LogHead>,
        shown: &LogHead,
        proof: Option<&[Digest]>,
    ) -> Result<PathBuf, ToolError> {
        let file = format!("log-{}-{}", super::name(shown.size), shown.root.short());
        let kept = self.directory.join("evidence").join(file);
        let text_of = |head: &LogHead| format!("{}\n{}\n{}\n", head.origin, head.size, head.root);
        let path: Vec<String> = proof.into_iter().flatten().map(Digest::to_string).collect();
        let (seen, shown) = (seen.map(text_of).unwrap_or_default(), text_of(shown));
        let text = format!("seen\n{seen}shown\n{shown}proof\n{}", path.join("\n"));
        write(&kept, text.as_bytes())?;
        Ok(kept)
    }

    fn remember(&self, seen: &Seen) -> Result<(), ToolError> {
        write(&self.directory.join(FILE), seen.render().as_bytes())
    }

    /// Takes a head that continues all that was seen, by the proofs that the controller gave for
    /// each older size. One that does not is kept as evidence, and the old head stays.
    pub fn witness(
        &self,
        head: &LogHead,
        proofs: &BTreeMap<u64, Vec<Digest>>,
    ) -> Result<(), ToolError> {
        for old in self.heads_to_continue()? {
            let proof = proofs.get(&old.size).map(Vec::as_slice);
            if let Err(cause) = continues(&old, head, proof) {
                let kept = self.keep_evidence(Some(&old), head, proof)?;
                return Err(ToolError::Log { kept, cause });
            }
        }
        let links = self.chain.newest().map_or(0, |link| link.number);
        let left = self.seen()?.map(|seen| seen.left).unwrap_or_default();
        self.remember(&Seen { head: head.clone(), links, left })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(word: &str, count: u64) -> Vec<Digest> {
        (0..count).map(|n| Tree::Log.leaf(format!("{word} {n}").as_bytes())).collect()
    }

    fn head(leaves: &[Digest]) -> LogHead {
        let origin = "muster/test".to_owned();
        LogHead { origin, size: leaves.len() as u64, root: Tree::Log.root(leaves) }
    }

    #[test]
    fn an_honest_log_continues_every_head_that_it_had() {
        let all = leaves("entry", 20);
        for (old, new) in (0..=20).flat_map(|new| (0..=new).map(move |old| (old, new))) {
            let proof = Tree::Log.consistency(&all[..new], old).unwrap();
            let found = continues(&head(&all[..old]), &head(&all[..new]), Some(&proof));
            assert_eq!(found, Ok(()), "{old} {new}");
        }
    }

    #[test]
    fn a_log_that_was_rewritten_cut_or_exchanged_does_not_continue_what_was_seen() {
        let (all, other) = (leaves("entry", 9), leaves("other", 20));
        let old = head(&all);
        for new in 9..=20_usize {
            let proof = Tree::Log.consistency(&other[..new], 9).unwrap();
            let found = continues(&old, &head(&other[..new]), Some(&proof));
            assert_eq!(found, Err(LogFault::Rewritten { size: 9 }), "{new}");
        }
        let found = continues(&old, &head(&all[..8]), Some(&[]));
        assert_eq!(found, Err(LogFault::Shrunk { known: 9, found: 8 }));
        let elsewhere = LogHead { origin: "muster/other".to_owned(), ..old.clone() };
        assert!(matches!(continues(&old, &elsewhere, Some(&[])), Err(LogFault::Origin { .. })));
        let nothing = LogHead { size: 0, ..old.clone() };
        assert_eq!(continues(&nothing, &old, Some(&[])), Err(LogFault::Rewritten { size: 0 }));
    }

    #[test]
    fn a_proof_that_does_not_come_is_no_proof() {
        let all = leaves("entry", 9);
        let found = continues(&head(&all[..5]), &head(&all), None);
        assert_eq!(found, Err(LogFault::Withheld { size: 5 }));
        let found = continues(&head(&all[..5]), &head(&all), Some(&[]));
        assert_eq!(found, Err(LogFault::Rewritten { size: 5 }));
    }

    #[test]
    fn what_is_kept_of_a_head_reads_back() {
        let one = Seen { head: head(&leaves("entry", 3)), links: 2, left: Vec::new() };
        let left = vec![head(&leaves("old", 5)), head(&leaves("older", 7))];
        let seen = Seen { left, ..one.clone() };
        assert_eq!(Seen::parse(&one.render()), Some(one));
        assert_eq!(Seen::parse(&seen.render()), Some(seen.clone()));
        assert_eq!(Seen::parse(&format!("{}more\n", seen.render())), None);
        assert_eq!(Seen::parse(&seen.render()[..20]), None);
    }
}
