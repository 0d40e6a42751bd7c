//! What the controller remembers of a host: who it is, where it says it stands, and what it was
//! sent. Plain values; the store keeps them, the fleet changes them, `publish` reads them.

mod decision;

use std::{collections::BTreeMap, fmt};

use muster_proto::{
    bundle::MAX_BUNDLE,
    crypto::{MachinePublicKey, sha256},
    id::{Digest, HostId, Id},
    receipt::{FindingKind, Receipt, Standing},
    time::Timestamp,
};

pub use decision::{Decision, Measure, Unfit, Verdict};

/// The most receipts of a host that are sent at once.
pub const MAX_RECEIPTS: u32 = 1_000;

/// A host that has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The digest of its keeper's key.
    pub id: HostId,
    /// The key that its receipts are verified by.
    pub keeper_key: MachinePublicKey,
    /// What it called itself when it joined.
    pub hostname: String,
    /// When it joined.
    pub joined: Timestamp,
    /// Who made its token.
    pub token_by: String,
    /// When it last said anything.
    pub last_seen: Option<Timestamp>,
    /// Where it says it stands.
    pub standing: Option<Standing>,
    /// The newest link that it has certainly verified; 0 is none.
    pub confirmed: u64,
    /// How many receipts are stored, and the digest of the newest.
    pub receipts: Option<(u64, Digest)>,
    /// Where its receipts do not fit onto one another, oldest first: the newest few.
    pub breaks: Vec<ReceiptBreak>,
    /// What could not be sent to it, and has not been since.
    pub unsent: Option<TooLarge>,
    /// What an operator has decided about it.
    pub decision: Option<Decision>,
    /// Where it says that it is paused, if it is.
    pub paused: Option<Pause>,
}

/// Where a host says that it is paused. What it says is in that receipt alone, which may be large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// In which receipt.
    pub receipt: u64,
    /// The digest of what it says, since another pause is one that is told otherwise.
    pub words: Digest,
}

/// A bundle that is larger than a host reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Its bytes.
    pub size: usize,
}

/// A place where a host's receipts do not fit onto one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptBreak {
    /// The receipt that showed it.
    pub number: u64,
    /// The newest that was stored then.
    pub known: u64,
    /// How it does not fit.
    pub kind: BreakKind,
    /// When it was found.
    pub found: Timestamp,
}

/// How a receipt does not fit onto those that are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakKind {
    /// Those between never came: the host's spool was full, or they were lost with it.
    Missing,
    /// It is the next, and names another receipt before it than the one that is stored.
    Parted,
    /// Its number was passed already, and what is stored there is not this receipt.
    Back,
}

impl BreakKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Missing, Self::Parted, Self::Back];

    /// The stable word that log and store have for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "receipts-missing",
            Self::Parted => "receipts-parted",
            Self::Back => "receipts-back",
        }
    }
}

impl Pause {
    /// Returns where a receipt says that its host is paused, if it does.
    pub fn of(receipt: &Receipt) -> Option<Self> {
        let told = receipt.findings.iter().find(|found| found.kind == FindingKind::Paused)?;
        let by = sha256(&[told.subject.as_bytes()]);
        let words = sha256(&[by.as_bytes(), told.detail.as_bytes()]);
        Some(Self { receipt: receipt.number, words })
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size } = self;
        write!(
            f,
            "not sent: what concerns this host has {size} bytes, and a host reads at most \
             {MAX_BUNDLE}; split what is assigned to it"
        )
    }
}

impl fmt::Display for ReceiptBreak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, known, .. } = self;
        let (first, last) = (known.saturating_add(1), number.saturating_sub(1));
        match self.kind {
            BreakKind::Missing if first == last => write!(f, "receipt {first} never came"),
            BreakKind::Missing => write!(f, "receipts {first} to {last} never came"),
            BreakKind::Parted => write!(
                f,
                "receipt {number} does not continue receipt {known}: the host was set back to an \
                 earlier state, or its key is used elsewhere"
            ),
            BreakKind::Back => write!(
                f,
                "receipt {number} is not the one of that number and came after receipt {known}: \
                 the host was set back to an earlier state, or its key is used elsewhere"
            ),
        }?;
        write!(f, " (found {})", self.found)
    }
}

impl Host {
    /// Says whether the host has only been enrolled: it has never shown up with its certificate, and
    /// may have refused to join after all.
    pub fn is_pending(&self) -> bool {
        self.standing.is_none() && self.receipts.is_none()
    }

    /// Says whether some of what it told since it joined is not known. Whoever joins again tells all
    /// that stands open again.
    pub fn has_gap(&self) -> bool {
        self.breaks.iter().any(|found| found.found >= self.joined)
    }

    /// Returns what holds for it.
    pub fn verdict(&self) -> Option<Verdict> {
        self.decision.as_ref().map(|decision| decision.verdict)
    }
}

/// What a host was shown of one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The statement with this digest.
    Statement(Digest),
    /// That the directory has nothing there.
    Absent,
}

/// What a host was sent of one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Under which link.
    pub link: u64,
    /// What.
    pub shown: Shown,
    /// Whether it concerned the host then; if not, it is forgotten once it is confirmed.
    pub wanted: bool,
    /// What the host has confirmed.
    pub confirmed: Option<Shown>,
}

/// Everything that a host was sent, by id.
pub type SentStatements = BTreeMap<Id, Sent>;

/// Takes a link for verified by the host: what was sent up to it is confirmed, and what no longer
/// concerns the host is forgotten, since nothing that it takes part in is left there.
pub fn confirm(sent: &mut SentStatements, link: u64) {
    sent.retain(|_, sent| sent.link > link || sent.wanted);
    for sent in sent.values_mut().filter(|sent| sent.link <= link) {
        sent.confirmed = Some(sent.shown);
    }
}
