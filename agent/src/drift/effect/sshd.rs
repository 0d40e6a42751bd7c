//! What sshd says of accounts of Muster's, judged by what our drop-in says. Pure: `host::effects::sshd`
//! asks.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::drift::{DriftKind, Severity};

use super::{Difference, Rules, SSHD, What};
use crate::format::{ssh, sshd};

/// Whether an account may log in by a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Passwords {
    /// It may not.
    Refused,
    /// It may.
    Taken,
}

/// What sshd does otherwise than our drop-in says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BySshd {
    severity: Severity,
    /// The keyword and what it is.
    found: String,
}

/// Reads what `sshd -T -C` says of an account of ours.
pub fn by_sshd(said: &str, passwords: Passwords) -> BTreeSet<BySshd> {
    let keys = format!("{}/%u", ssh::KEYS_DIRECTORY);
    let by_password = match passwords {
        Passwords::Refused => "no",
        Passwords::Taken => "yes",
    };
    let ours = [
        ("authorizedkeysfile", keys.as_str()),
        ("authorizedkeyscommand", "none"),
        ("trustedusercakeys", "none"),
        ("passwordauthentication", by_password),
        ("kbdinteractiveauthentication", by_password),
        ("hostbasedauthentication", "no"),
        ("gssapiauthentication", "no"),
    ];
    let mut others = BTreeSet::new();
    for (keyword, wanted) in ours {
        // What this sshd was built without it does not name.
        let Some(found) = sshd::value(said, keyword).filter(|found| *found != wanted) else {
            continue;
        };
        let shuts = wanted == "yes" || found == "none";
        let severity = if shuts { Severity::Medium } else { Severity::High };
        let shown: String = found.chars().filter(|c| !c.is_control()).take(200).collect();
        others.insert(BySshd { severity, found: format!("{keyword} {shown}") });
    }
    others
}

/// Returns what sshd does otherwise as one difference. Whoever gets in as somebody who becomes root
/// becomes root.
pub fn difference(others: &BTreeSet<BySshd>, rules: Option<&Rules>) -> Option<Difference> {
    let gravest = others.iter().map(|other| other.severity).max()?;
    let mut rules = rules.into_iter().flat_map(BTreeMap::values).flat_map(BTreeMap::keys);
    let becomes_root =
        rules.any(|rule| matches!(rule.run_as.user.to_string().as_str(), "root" | "ALL"));
    let opens = gravest >= Severity::High;
    let found: Vec<&str> = others.iter().map(|other| other.found.as_str()).collect();
    Some(Difference {
        what: What::new(DriftKind::EffectDiffers, ssh::MARKER, SSHD),
        expected: format!("what {} says", ssh::DROP_IN),
        found: found.join(", "),
        severity: if opens && becomes_root { Severity::Critical } else { gravest },
    })
}

#[cfg(test)]
mod tests;
