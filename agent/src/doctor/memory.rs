//! The agent's own files: whether the host has joined and remembers it, whether keeper and courier
//! can use what is theirs and nobody else can, and what the fleet's documents say of the time.

use muster_proto::{link::CHECKPOINT_VALIDITY, time::Timestamp};

use super::{Finding, Place, finding};

/// Seconds before a trust root expires from which on that is told: 60 days.
pub const EXPIRES_SOON: u64 = 60 * 86_400;
/// Seconds by which signed time may be ahead of this clock.
pub const SKEW: u64 = 300;
/// Seconds of a certificate's life with which it should have been renewed long ago.
pub const RENEWED_BY_NOW: u64 = 6 * 3_600;
/// Seconds after its end for which a certificate can still be renewed.
const COMEBACK: u64 = 30 * 86_400;

/// The agent's own files.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Where they are.
    pub directory: String,
    /// What the host knows of its fleet.
    pub standing: Standing,
    /// Uid and gid of the courier's account.
    pub courier: Option<(u32, u32)>,
    /// Root's and the keeper's.
    pub keepers: Vec<Place>,
    /// The courier's, its directory first.
    pub couriers: Vec<Place>,
    /// What is not there of what `join` gives the courier.
    pub missing: Vec<String>,
    /// How long the courier is let in; in words why nobody would let it in.
    pub certificate: Option<Result<Timestamp, String>>,
    /// The newest word from the controller that this keeper has had.
    pub heard: Option<Timestamp>,
}

/// What a host knows of its fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    NotJoined,
    /// What it knew when it left.
    Left,
    /// It has joined, and what it knew is gone.
    Lost,
    /// What it knows cannot be read, and why.
    Damaged(String),
    /// Its key is not the one by which the fleet knows it, and how so.
    OtherKey(String),
    /// All.
    Joined(Known),
}

/// What the ledger says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Version and end of the newest trust root.
    pub trust_root: (u64, Timestamp),
    /// Seconds for which a change lets something new be given.
    pub stale_after: u64,
    /// When the newest change was made, once there was one.
    pub changed: Option<Timestamp>,
    /// What time it was at least when this was written.
    pub believed: Timestamp,
}

impl Memory {
    /// Says whether the agent should be at work.
    pub fn is_joined(&self) -> bool {
        !matches!(self.standing, Standing::NotJoined | Standing::Left)
    }

    pub(super) fn findings(&self, now: Timestamp) -> Vec<Finding> {
        let mut found: Vec<Finding> = self.standing().into_iter().collect();
        if self.courier.is_none() {
            let fault = "the system has no account `muster-agent` for the courier";
            found.push(finding("courier", fault, "systemd-sysusers"));
        }
        if !self.is_joined() {
            return found;
        }
        if let Standing::Joined(known) = &self.standing {
            found.extend(known.findings(self.heard, now));
        }
        found.extend(self.keepers.iter().filter_map(|place| self.keepers(place)));
        if let Some(owner) = self.courier {
            found.extend(self.couriers.iter().filter_map(|place| couriers(place, owner)));
        }
        if !self.missing.is_empty() {
            let fault = format!("{} missing: nobody can be reached", are(&self.missing));
            found.push(finding("courier", fault, ANEW));
        }
        if let Some(certificate) = &self.certificate {
            found.extend(certified(certificate, now));
        }
        found
    }

    fn standing(&self) -> Option<Finding> {
        let ledger = format!("{}/keeper/ledger", self.directory);
        let aside = format!("mv {ledger} {ledger}.old; then `muster-agent join`, as a new host");
        Some(match &self.standing {
            Standing::NotJoined => {
                let cure = "`muster-agent join` with a token from `muster host token`";
                finding("fleet", "this host has not joined a fleet", cure)
            }
            Standing::Left => {
                let cure = "`muster-agent join` with a new token, if it is to be back";
                finding("fleet", "this host has left its fleet, and nothing is changed here", cure)
            }
            Standing::Lost => {
                let fault = format!("`{ledger}` is missing: nothing is changed here any more");
                finding("ledger", fault, "`muster-agent join` with a new token, as a new host")
            }
            Standing::Damaged(reason) => finding("ledger", reason, aside),
            Standing::OtherKey(reason) => finding("keeper's key", reason, aside),
            Standing::Joined(_) => return None,
        })
    }

    /// The state directory lets the courier through; what is the keeper's is for root alone.
    fn keepers(&self, place: &Place) -> Option<Finding> {
        let Place { path, looks } = place;
        let (open, mode) = match path {
            path if *path == self.directory => (0o022, "711"),
            path if path.ends_with("/keeper") => (0o077, "700"),
            _ => (0o077, "600"),
        };
        if looks.uid != 0 {
            let fault = format!("`{path}` belongs to uid {} and not to root", looks.uid);
            return Some(finding("state directory", fault, format!("chown root:root {path}")));
        }
        (looks.mode & open != 0).then(|| {
            let may = if open == 0o022 { "write" } else { "use" };
            let fault = format!("others than root may {may} `{path}`");
            finding("state directory", fault, format!("chmod {mode} {path}"))
        })
    }

    /// Says so if the controller has not been heard for longer than its word holds.
    pub(super) fn silence(&self, opened: Option<Timestamp>, now: Timestamp) -> Option<Finding> {
        let cure = "`journalctl -u muster-agent-courier` says why; meanwhile the host goes on";
        let is_old = |time: &Timestamp| now.since(*time) > CHECKPOINT_VALIDITY;
        let fault = match self.heard {
            Some(heard) if is_old(&heard) => {
                format!("its newest word here is of {heard}, and it gives one every minute")
            }
            Some(_) => return None,
            None => {
                let opened = opened.filter(is_old)?;
                format!("not a word from it since the keeper was started at {opened}")
            }
        };
        Some(finding("controller", fault, cure))
    }
}

/// What can be done about a trust root that ends.
const NEXT_TRUST_ROOT: &str = "its signers sign the next one with a coming version of `muster`: \
                               no command of this one does that";

/// How a host that has joined gets what `join` gives the courier.
const ANEW: &str =
    "`muster-agent leave`, then `muster-agent join` with a new token; what it knows stays";

fn are(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("{} {}", quoted.join(", "), if names.len() == 1 { "is" } else { "are" })
}

fn couriers(place: &Place, (uid, gid): (u32, u32)) -> Option<Finding> {
    let Place { path, looks } = place;
    if looks.uid != uid {
        let fault = format!("`{path}` belongs to uid {}: the courier cannot use it", looks.uid);
        return Some(finding("courier", fault, format!("chown {uid}:{gid} {path}")));
    }
    let (mode, needs) = if path.ends_with("/courier") { ("700", 0o700) } else { ("600", 0o400) };
    let cure = format!("chmod {mode} {path}");
    if looks.mode & 0o077 != 0 {
        let fault = format!("others than the courier may use `{path}`");
        return Some(finding("courier", fault, cure));
    }
    (looks.mode & needs != needs)
        .then(|| finding("courier", format!("the courier itself may not use `{path}`"), cure))
}

fn certified(certificate: &Result<Timestamp, String>, now: Timestamp) -> Option<Finding> {
    let why = "`journalctl -u muster-agent-courier` says why it is not renewed";
    match certificate {
        Err(reason) => Some(finding("certificate", reason, ANEW)),
        Ok(ends) if now >= ends.plus(COMEBACK) => {
            let fault = format!("it ended at {ends}, too long ago to be renewed");
            Some(finding("certificate", fault, ANEW))
        }
        Ok(ends) if now >= *ends => {
            Some(finding("certificate", format!("it ended at {ends} and was not renewed"), why))
        }
        Ok(ends) if ends.since(now) < RENEWED_BY_NOW => {
            let fault = format!("it ends at {ends} and should have been renewed hours ago");
            Some(finding("certificate", fault, why))
        }
        Ok(_) => None,
    }
}

impl Known {
    fn findings(&self, heard: Option<Timestamp>, now: Timestamp) -> Vec<Finding> {
        let mut found = Vec::new();
        let (version, expires) = self.trust_root;
        if now >= expires {
            let fault = format!("trust root {version} has expired: nothing new is granted");
            found.push(finding("trust root", fault, NEXT_TRUST_ROOT));
        } else if expires.since(now) < EXPIRES_SOON {
            let fault = format!("trust root {version} grants nothing new from {expires} on");
            found.push(finding("trust root", fault, NEXT_TRUST_ROOT));
        }
        if let Some(changed) = self.changed
            && now.since(changed) >= self.stale_after
        {
            let fault = format!("the newest change is of {changed}: it lets nothing new be given");
            found.push(finding(
                "change",
                fault,
                "`muster apply` any change that concerns this host",
            ));
        }
        let believed = heard.map_or(self.believed, |heard| heard.max(self.believed));
        if believed.since(now) > SKEW {
            let fault = format!("the clock is behind what was signed at {believed}");
            found.push(finding("clock", fault, "set the clock: `timedatectl set-ntp true`"));
        }
        found
    }
}
