//! The operator's own memory of the fleet: every trust root, link, revocation and signature, as the
//! bytes that were verified. It believes nobody for a directory root, and whatever it has checked
//! once is the ground for what comes next.
//!
//! An attacker who holds the controller can keep news from it, but cannot tell it anything that the
//! quorum did not sign, nor show it two links of one number.

pub mod known;
pub mod log;
pub mod signing;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use muster_proto::{
    chain::{BadLink, Chain},
    convert::Malformed,
    envelope::{Document, Envelope, Verified},
    id::Digest,
    link::{Link, LinkBody, PublishedLink, Revocation},
    time::Timestamp,
    trust::Refused,
};

use crate::history::History;

/// The operator's store, opened: its chain is verified.
#[derive(Debug)]
pub struct Tool {
    directory: PathBuf,
    chain: Chain,
    history: History,
    /// In the order of arrival.
    revocations: Vec<Verified<Revocation>>,
}

/// Why the store cannot be used or cannot grow.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// There is no store yet.
    #[error("`{0}` holds no store of yours")]
    Missing(PathBuf),
    /// There is one already.
    #[error("`{0}` holds a store already; it is not overwritten")]
    Exists(PathBuf),
    /// A file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file holds something else.
    #[error("`{path}` is damaged")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Malformed,
    },
    /// A trust root is not believed.
    #[error("cannot believe trust root {version}")]
    TrustRoot {
        /// Which.
        version: u64,
        /// Why.
        #[source]
        cause: Refused,
    },
    /// A link is not believed.
    #[error(
        "cannot believe what the controller says is the next link; its bytes are kept in `{kept}`"
    )]
    Link {
        /// Where the evidence is.
        kept: PathBuf,
        /// Why.
        #[source]
        cause: BadLink,
    },
    /// A revocation is not believed.
    #[error("cannot believe a revocation that the controller passes on")]
    Revocation(#[source] Refused),
    /// The audit log is not the one that was seen before.
    #[error(
        "cannot believe the controller's audit log; what it shows is kept in `{kept}`, and nothing is signed on it"
    )]
    Log {
        /// Where the evidence is.
        kept: PathBuf,
        /// Why.
        #[source]
        cause: log::LogFault,
    },
    /// The newest head that was seen does not read back.
    #[error("`{0}` does not say which head of the audit log you saw last")]
    Head(PathBuf),
    /// The hosts that were seen do not read back.
    #[error("`{0}` does not say which hosts you have seen")]
    Hosts(PathBuf),
    /// What was begun does not read back.
    #[error("`{0}` does not say which change you began to sign")]
    Begun(PathBuf),
    /// More than a message holds.
    #[error(
        "a change of {bytes} bytes is not signed; at most {} can be sent",
        signing::MAX_UNSIGNED
    )]
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// This operator signs another candidate of this number.
    #[error(
        "you have begun to sign another candidate for change {number} under trust root {trust_version}; only that one, a new trust root or its rejection releases you"
    )]
    AlreadySigned {
        /// The number.
        number: u64,
        /// The trust root.
        trust_version: u64,
    },
}

impl Tool {
    /// Begins a store with trust root 1, which this operator made or was shown.
    pub fn create(directory: &Path, genesis: &Envelope) -> Result<Self, ToolError> {
        if directory.join("lineage").exists() {
            return Err(ToolError::Exists(directory.to_owned()));
        }
        for sub in ["trust", "links", "revocations", "signed", "pending", "evidence"] {
            let path = directory.join(sub);
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|cause| ToolError::Write { path, cause })?;
        }
        write(&directory.join("trust").join(name(1)), &genesis.encode())?;
        write(&directory.join("lineage"), genesis.digest().to_string().as_bytes())?;
        Self::open(directory)
    }

    /// Opens a store and verifies all that is in it once more.
    pub fn open(directory: &Path) -> Result<Self, ToolError> {
        let path = directory.join("lineage");
        let missing = || ToolError::Missing(directory.to_owned());
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(cause) => return Err(ToolError::Read { path, cause }),
        };
        let lineage = Digest::parse_hex(text.trim()).ok_or_else(missing)?;
        let mut roots = files(&directory.join("trust"))?.into_iter();
        let first = read_envelope(&roots.next().ok_or_else(missing)?)?;
        let trust_root = |version, cause| ToolError::TrustRoot { version, cause };
        let genesis = Verified::genesis(&first, lineage).map_err(|cause| trust_root(1, cause))?;
        let mut chain = Chain::new(genesis);
        for path in roots {
            let version = chain.trust().version + 1;
            let envelope = read_envelope(&path)?;
            chain.follow(&envelope).map_err(|cause| trust_root(version, cause))?;
        }
        let mut revocations = Vec::new();
        for path in files(&directory.join("revocations"))? {
            let kept = chain.keep_again(&read_envelope(&path)?);
            revocations.push(kept.map_err(ToolError::Revocation)?);
        }
        let mut history = History::default();
        for path in files(&directory.join("links"))? {
            let bytes = read(&path)?;
            let damaged = |cause| ToolError::Damaged { path: path.clone(), cause };
            let published = PublishedLink::decode(&bytes).map_err(damaged)?;
            let body = LinkBody::decode(&published.body).map_err(damaged)?;
            history.pass(chain.statements(), &body);
            let far = Timestamp(u64::MAX);
            chain
                .extend(&published.link, &published.body, &published.proposals, far)
                .map_err(|cause| ToolError::Link { kept: path, cause })?;
        }
        Ok(Self { directory: directory.to_owned(), chain, history, revocations })
    }

    /// Returns everything up to the newest link that this operator has verified.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Returns what things were called that have gone.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Returns how many revocations are kept.
    pub fn revocations(&self) -> usize {
        self.revocations.len()
    }

    /// Returns the revocations that are kept, each with who signed it, in the order of arrival.
    pub fn verified_revocations(&self) -> &[Verified<Revocation>] {
        &self.revocations
    }

    /// Takes the next trust root.
    pub fn take_trust_root(&mut self, envelope: &Envelope) -> Result<(), ToolError> {
        let version = self.chain.trust().version + 1;
        self.chain.follow(envelope).map_err(|cause| ToolError::TrustRoot { version, cause })?;
        write(&self.directory.join("trust").join(name(version)), &envelope.encode())
    }

    /// Takes the next link, recomputed; one that is refused is kept as evidence.
    pub fn take_link(
        &mut self,
        published: &PublishedLink,
        now: Timestamp,
    ) -> Result<Verified<Link>, ToolError> {
        let number = self.chain.newest().map_or(0, |link| link.number) + 1;
        let mut next = self.chain.clone();
        match next.extend(&published.link, &published.body, &published.proposals, now) {
            Ok(link) => {
                let path = self.directory.join("links").join(name(number));
                write(&path, &published.encode())?;
                let body = LinkBody::decode(&published.body);
                let body = body.map_err(|cause| ToolError::Damaged { path, cause })?;
                self.history.pass(self.chain.statements(), &body);
                self.chain = next;
                Ok(link)
            }
            Err(cause) => {
                let file = format!("{}-{}", name(number), published.link.digest().short());
                let kept = self.directory.join("evidence").join(file);
                write(&kept, &published.encode())?;
                Err(ToolError::Link { kept, cause })
            }
        }
    }

    /// Takes a revocation, unless it is known.
    pub fn take_revocation(
        &mut self,
        envelope: &Envelope,
    ) -> Result<Verified<Revocation>, ToolError> {
        let revocation = self.chain.trust().verify(envelope).map_err(ToolError::Revocation)?;
        if self.chain.is_news(&revocation) {
            let file = format!("{}-{}", name(self.revocations.len() as u64 + 1), revocation.id);
            write(&self.directory.join("revocations").join(file), &envelope.encode())?;
            self.chain.keep_verified(&revocation);
            self.revocations.push(revocation.clone());
        }
        Ok(revocation)
    }

    /// Returns the revocations that are kept, as they came.
    pub fn kept_revocations(&self) -> Result<Vec<Envelope>, ToolError> {
        let paths = files(&self.directory.join("revocations"))?;
        paths.iter().map(|path| read_envelope(path)).collect()
    }

    /// Returns one link as it was published.
    pub fn published(&self, number: u64) -> Result<Option<PublishedLink>, ToolError> {
        let path = self.directory.join("links").join(name(number));
        if self.chain.place(number).is_none() {
            return Ok(None);
        }
        let decoded = PublishedLink::decode(&read(&path)?);
        decoded.map(Some).map_err(|cause| ToolError::Damaged { path, cause })
    }
}

fn name(number: u64) -> String {
    format!("{number:012}")
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, ToolError> {
    let failed = |cause| ToolError::Read { path: directory.to_owned(), cause };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, ToolError> {
    fs::read(path).map_err(|cause| ToolError::Read { path: path.to_owned(), cause })
}

fn read_envelope(path: &Path) -> Result<Envelope, ToolError> {
    Envelope::decode(&read(path)?)
        .map_err(|cause| ToolError::Damaged { path: path.to_owned(), cause })
}

/// Writes a file that appears whole or not at all, and is on disk when this returns.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), ToolError> {
    let beside = path.with_extension("new");
    let steps = || -> io::Result<()> {
        // One that a crash left behind may be anybody's to read.
        match fs::remove_file(&beside) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    steps().map_err(|cause| ToolError::Write { path: path.to_owned(), cause })
}
