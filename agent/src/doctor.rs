//! What is wrong with the agent's own installation and with what its work rests on, each with a
//! cure. Pure: `host::examine` looks at the machine and changes nothing, what it saw is judged here.
//! A finding is only what is certainly wrong: whoever is woken at night must not chase a maybe.

pub mod ground;
pub mod memory;
pub mod units;
pub mod ways_in;

use muster_proto::time::Timestamp;

use self::{ground::Ground, memory::Memory, units::Units, ways_in::WaysIn};
use crate::{config::Config, host::files::Looks};

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// With what.
    pub subject: String,
    /// What.
    pub fault: String,
    /// What to do about it.
    pub cure: String,
}

/// All that was seen.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The configuration, or what is wrong with it.
    pub config: Result<Config, String>,
    /// What says what no bundle lifts: the configuration, the labels, and the directories of both.
    pub guards: Vec<Place>,
    /// The agent's own files.
    pub memory: Memory,
    /// Its units.
    pub units: Units,
    /// How people get in, and to root.
    pub ways_in: WaysIn,
    /// What else its work rests on.
    pub ground: Ground,
    /// What could not be looked at, each with why.
    pub unseen: Vec<(&'static str, String)>,
}

/// A file or directory, and who may do what with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub path: String,
    /// Whose, and for whom.
    pub looks: Looks,
}

impl Finding {
    /// The fields of a row.
    pub const FIELDS: [&str; 3] = ["subject", "finding", "cure"];

    /// Returns it as a row of a list.
    pub fn row(&self) -> [String; 3] {
        let Self { subject, fault, cure } = self;
        [subject, fault, cure].map(String::clone)
    }
}

fn finding(subject: &str, fault: impl Into<String>, cure: impl Into<String>) -> Finding {
    Finding { subject: subject.to_owned(), fault: fault.into(), cure: cure.into() }
}

/// Judges all that was seen, the agent's own things first.
pub fn findings(facts: &Facts, now: Timestamp) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Err(reason) = &facts.config {
        let cure = "mend it; `muster-agent keeper --check-config` tells all that is wrong";
        found.push(finding("configuration", reason, cure));
    }
    for Place { path, .. } in facts.guards.iter().filter(|place| is_others(place.looks)) {
        let fault = format!("others than root may change what `{path}` says of this host");
        found.push(finding(
            "configuration",
            fault,
            format!("chown root {path}; chmod go-w {path}"),
        ));
    }
    found.extend(facts.memory.findings(now));
    if facts.memory.is_joined() {
        found.extend(facts.units.findings());
        // Of a keeper that does not run it is no news that nobody talks to it.
        if facts.units.keeper_runs() {
            found.extend(facts.units.socket_findings(facts.memory.courier));
            found.extend(facts.memory.silence(facts.units.opened, now));
        }
    }
    let config = facts.config.as_ref().ok();
    found.extend(facts.ways_in.findings(now));
    found.extend(facts.ground.findings(config.map(|config| &config.policy)));
    for (subject, reason) in &facts.unseen {
        let cure = "look at what is said to be in the way, and run this again";
        found.push(finding(subject, reason, cure));
    }
    found
}

/// Says whether others than root could write there.
fn is_others(looks: Looks) -> bool {
    looks.uid != 0 || looks.mode & 0o022 != 0
}

#[cfg(test)]
mod tests;
