//! What sshd does with accounts of Muster's, judged by what our drop-in says. Pure:
//! `host::effects::sshd` asks about one account of each class ([`alike`]). What is so of all
//! accounts is one difference, and so is what is so of many; what is so of a few is told of each,
//! so that an item stays when others come and go.

pub mod alike;

use std::sync::Arc;

use muster_proto::{
    drift::{DriftKind, Severity},
    name::Login,
};

use self::alike::{Class, Classmates};
use super::{Difference, NAMED, Rules, SSHD, What};
use crate::format::{ssh, sshd};

/// What is so of more accounts is told of many.
const FEW: usize = 16;
/// So much is told of what a keyword is.
const MOST_SHOWN: usize = 200;

/// Whether an account may log in by a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Passwords {
    /// It may not.
    Refused,
    /// It may.
    Taken,
}

/// What our drop-in says, of passwords as for somebody who may not use one.
const OURS: [(&str, &str); 7] = [
    // Without the directory before it.
    ("authorizedkeysfile", "/%u"),
    ("authorizedkeyscommand", "none"),
    ("trustedusercakeys", "none"),
    ("passwordauthentication", "no"),
    ("kbdinteractiveauthentication", "no"),
    ("hostbasedauthentication", "no"),
    ("gssapiauthentication", "no"),
];

/// What sshd says that it does with somebody, for each keyword of our drop-in. What it was built
/// without it does not name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy([Option<String>; OURS.len()]);

impl Policy {
    /// Reads what `sshd -T -C` says.
    pub fn parse(said: &str) -> Self {
        let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        Self(OURS.map(|(keyword, _)| {
            let value = sshd::value(said, keyword)?.chars().map(shown);
            Some(value.take(MOST_SHOWN).collect())
        }))
    }

    /// Keeps what another one says too.
    fn keep_common(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            if own != other {
                *own = None;
            }
        }
    }

    /// Returns what stands against our drop-in.
    fn against_ours(&self, passwords: Passwords) -> Vec<BySshd> {
        let mut others = Vec::new();
        for ((keyword, ours), found) in OURS.iter().zip(&self.0) {
            let Some(found) = found.as_deref() else { continue };
            let of_passwords = keyword.starts_with("password") || keyword.starts_with("kbd");
            let wanted = if of_passwords && passwords == Passwords::Taken { "yes" } else { ours };
            let is_ours = match *keyword {
                "authorizedkeysfile" => found.strip_prefix(ssh::KEYS_DIRECTORY) == Some(wanted),
                _ => found == wanted,
            };
            if !is_ours {
                let shuts = wanted == "yes" || found == "none";
                let severity = if shuts { Severity::Medium } else { Severity::High };
                others.push(BySshd { severity, found: format!("{keyword} {found}") });
            }
        }
        others
    }
}

/// What sshd does otherwise than our drop-in says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct BySshd {
    severity: Severity,
    /// The keyword and what it is.
    found: String,
}

/// All that sshd does otherwise.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// With every account.
    all: Vec<BySshd>,
    /// With an account.
    own: Vec<(Login, Arc<[BySshd]>)>,
}

/// What sshd said of classes, in their order.
#[derive(Clone, Debug, Default)]
pub struct Answers(Vec<(Class, Arc<Policy>)>);

impl Answers {
    /// Says how many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Forgets what was said of classes that are no more.
    pub fn keep(&mut self, classes: &[Classmates<'_>]) {
        if self.count() > classes.len() {
            self.0.retain(|(known, _)| classes.iter().any(|mates| mates.class == *known));
        }
    }

    /// Returns what was said of a class.
    pub fn get(&self, class: &Class) -> Option<&Arc<Policy>> {
        let place = self.0.binary_search_by(|(known, _)| known.cmp(class)).ok()?;
        self.0.get(place).map(|(_, policy)| policy)
    }

    /// Takes what is said of a class. Equal policies are held once.
    pub fn take(&mut self, class: Class, policy: Policy) {
        let same = self.0.iter().find(|(_, known)| **known == policy);
        let policy = same.map_or_else(|| Arc::new(policy), |(_, known)| Arc::clone(known));
        match self.0.binary_search_by(|(known, _)| known.cmp(&class)) {
            Ok(place) => {
                if let Some(known) = self.0.get_mut(place) {
                    known.1 = policy;
                }
            }
            Err(place) => self.0.insert(place, (class, policy)),
        }
    }

    /// Returns what all of these classes have in common of which something was said.
    fn common(&self, classes: &[Classmates<'_>]) -> Option<Policy> {
        let mut said = classes.iter().filter_map(|mates| self.get(&mates.class));
        let mut common = Policy::clone(said.next()?);
        said.for_each(|other| common.keep_common(other));
        Some(common)
    }
}

impl Others {
    /// Takes what is said of one account of each class. What is not said of a class is as it was.
    pub fn take(&mut self, classes: &[Classmates<'_>], answers: &Answers) {
        let before = std::mem::take(&mut self.own);
        let common = answers.common(classes);
        if common.is_some() {
            self.all.clear();
        }
        for Classmates { class, logins } in classes {
            let (Some(policy), Some(common)) = (answers.get(class), &common) else {
                let stays = before.iter().filter(|(login, _)| logins.contains(&login));
                self.own.extend(stays.cloned());
                continue;
            };
            let mut own = policy.against_ours(class.passwords);
            for other in common.against_ours(class.passwords) {
                own.retain(|own| *own != other);
                if !self.all.contains(&other) {
                    self.all.push(other);
                }
            }
            if !own.is_empty() {
                let own: Arc<[BySshd]> = own.into();
                self.own.extend(logins.iter().map(|login| ((*login).clone(), Arc::clone(&own))));
            }
        }
    }

    /// Returns it as differences. Whoever gets in as somebody who becomes root becomes root.
    pub fn differences(&self, rules: Option<&Rules>) -> Vec<Difference> {
        let mut with: Vec<(&BySshd, Vec<&Login>)> = Vec::new();
        for (login, others) in &self.own {
            for other in others.iter() {
                match with.iter_mut().find(|(known, _)| *known == other) {
                    Some((_, logins)) => logins.push(login),
                    None => with.push((other, vec![login])),
                }
            }
        }
        with.retain(|(_, logins)| logins.len() > FEW);
        let mut told = Told::default();
        for other in &self.all {
            told.add(other, other.found.clone(), becomes_root(rules, &|_| true));
        }
        for (other, logins) in &with {
            let named: Vec<&str> = logins.iter().take(NAMED).map(|login| login.as_str()).collect();
            let words = format!("{} for {} and others", other.found, named.join(", "));
            told.add(other, words, becomes_root(rules, &|login| logins.contains(&login)));
        }
        let mut all: Vec<Difference> = told.difference(ssh::MARKER).into_iter().collect();
        for (login, others) in &self.own {
            let mut told = Told::default();
            for other in others.iter().filter(|other| with.iter().all(|(many, _)| many != other)) {
                let root = becomes_root(rules, &|one| one == login);
                told.add(other, other.found.clone(), root);
            }
            all.extend(told.difference(login.as_str()));
        }
        all
    }
}

/// What is told in one difference.
#[derive(Debug, Default)]
struct Told {
    severity: Option<Severity>,
    words: Vec<String>,
}

impl Told {
    fn add(&mut self, other: &BySshd, words: String, root: Root) {
        let is_root = root == Root::Becomes && other.severity >= Severity::High;
        let severity = if is_root { Severity::Critical } else { other.severity };
        self.severity = self.severity.max(Some(severity));
        self.words.push(words);
    }

    fn difference(self, subject: &str) -> Option<Difference> {
        Some(Difference {
            what: What::new(DriftKind::EffectDiffers, subject, SSHD),
            expected: format!("what {} says", ssh::DROP_IN),
            found: self.words.join(", "),
            severity: self.severity?,
        })
    }
}

/// Whether one of some accounts becomes root by our rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    Becomes,
    DoesNot,
}

fn becomes_root(rules: Option<&Rules>, is_one: &dyn Fn(&Login) -> bool) -> Root {
    for (rule, logins) in rules.into_iter().flat_map(|rules| rules.values()).flatten() {
        let user = rule.run_as.user.to_string();
        if matches!(user.as_str(), "root" | "ALL") && logins.iter().any(is_one) {
            return Root::Becomes;
        }
    }
    Root::DoesNot
}

#[cfg(test)]
mod tests;
