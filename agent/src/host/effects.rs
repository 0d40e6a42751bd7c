//! Asks the system what it makes of Muster's files: sshd once for each kind of account that our
//! drop-in knows, cvtsudoers once, and, where there are other sources of accounts than the files,
//! those once. Whoever does not answer is taken to say what he said before.

mod sshd;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{crypto::sha256, id::Digest, name::Login};

use crate::{
    drift::{
        Difference, Touch,
        effect::{self, Asking, Expected},
    },
    observed::ObservedState,
};

use self::sshd::Sshd;
use super::{
    files::Dir,
    inquiry::{Answers, Inquiry},
    inventory::Learnt,
    names,
    probes::{News, Probes},
    program::Programs,
};

/// So many accounts are asked for in one look, in turn.
const MOST_NAMES: usize = 16;

/// What was said the last time.
#[derive(Debug, Default)]
pub(super) struct Effects {
    sshd: Sshd,
    names: BTreeMap<Login, Difference>,
    /// Of which sources and accounts that is.
    named: Option<Digest>,
    /// The last account that was asked for.
    turn: Option<Login>,
    probes: Probes,
    /// Who made what sudo and PAM said.
    heard_after: Vec<Touch>,
}

impl Effects {
    /// Returns what differs.
    pub(super) fn ask(
        &mut self,
        (root, programs): (&Dir, Programs),
        learnt: &mut Learnt,
        observed: &ObservedState,
        (expected, asking): (&Expected<'_>, Asking),
    ) -> Vec<Difference> {
        let mut found = self.sshd.ask((root, programs), observed, (expected, asking));
        if asking == Asking::Anew {
            learnt.forget_unknown();
        }
        found.extend(learnt.weigh(programs, observed, expected));
        self.names((root, programs), observed, (expected, asking));
        found.extend(self.names.values().cloned());
        let asked = (expected, asking);
        let single = self.probes.look((root, programs), observed, asked, self.sshd.uses_pam());
        self.heard_after = beside(&mut found, single, self.probes.gone());
        found
    }

    /// Returns who made what sudo and PAM said.
    pub(super) fn heard_after(&self) -> Vec<Touch> {
        self.heard_after.clone()
    }

    /// Returns why PAM is not asked, if it should be and is not.
    pub(super) fn unasked(&self) -> Option<&str> {
        self.probes.unasked()
    }

    /// Returns what sudo and PAM are to be asked, away from here.
    pub(super) fn inquiry(&mut self) -> Option<Inquiry> {
        self.probes.inquiry()
    }

    /// Takes down what they said.
    pub(super) fn hear(&mut self, answers: Answers) -> News {
        self.probes.hear(answers)
    }

    /// Asks for some of the accounts, those after the ones that were asked for before.
    fn names(
        &mut self,
        (root, programs): (&Dir, Programs),
        observed: &ObservedState,
        (expected, asking): (&Expected<'_>, Asking),
    ) {
        self.names.retain(|login, _| expected.accounts.contains(login));
        let Ok(text) = names::configuration(root) else { return };
        let sources = names::sources_in(&text);
        let named = sha256(&[&text, b"\0", format!("{:?}", expected.accounts).as_bytes()]);
        if asking == Asking::IfChanged && self.named == Some(named) {
            return;
        }
        self.named = Some(named);
        let asked = in_turn(&expected.accounts, self.turn.as_ref());
        match names::answers(root, programs, &sources, &asked) {
            Ok(None) => self.names.clear(),
            Ok(Some(answer)) => {
                let lines: BTreeMap<&str, &str> = answer
                    .lines()
                    .filter_map(|line| Some((line.split_once(':')?.0, line)))
                    .collect();
                for login in &asked {
                    let Some(own) = observed.passwd.get(login.as_str()) else { continue };
                    match effect::by_names(login, own, lines.get(login.as_str()).copied()) {
                        Some(found) => self.names.insert((*login).clone(), found),
                        None => self.names.remove(*login),
                    };
                }
                self.turn = asked.last().map(|login| (*login).clone());
            }
            Err(reason) => tracing::debug!(reason, "the sources of accounts do not answer"),
        }
    }
}

/// Puts what was said of single accounts, each with who made it, beside what is found already, and
/// returns who made that, and what has gone. Of what the files say, they say which rule it is, and
/// whoever was at them is told by them.
fn beside(
    found: &mut Vec<Difference>,
    single: Vec<(Difference, Touch)>,
    mut gone: Vec<Touch>,
) -> Vec<Touch> {
    gone.retain(|touch| !found.iter().any(|known| known.what.is_touched(touch)));
    let new = single.into_iter().filter(|(one, _)| !found.iter().any(|two| two.what == one.what));
    let (new, touches): (Vec<Difference>, Vec<Touch>) = new.unzip();
    found.extend(new);
    gone.extend(touches);
    gone
}

/// Returns whose turn it is after somebody, from the beginning again after the last.
fn in_turn<'a>(all: &BTreeSet<&'a Login>, after: Option<&Login>) -> Vec<&'a Login> {
    let (later, earlier): (Vec<&Login>, Vec<&Login>) =
        all.iter().partition(|login| after.is_none_or(|after| **login > after));
    later.into_iter().chain(earlier).take(MOST_NAMES).collect()
}

#[cfg(test)]
mod tests {
    use muster_proto::drift::{DriftKind, Severity};

    use super::*;
    use crate::drift::{Place, What};

    #[test]
    fn who_was_at_the_files_is_told_by_what_they_say_and_not_by_what_sudo_says_of_the_same() {
        let of = |subject: &str| Difference {
            what: What::new(DriftKind::EffectDiffers, subject, effect::SUDO),
            expected: String::new(),
            found: String::new(),
            severity: Severity::High,
        };
        let by = |subject: &str| {
            let (place, name) = (Place::SudoSays, subject.to_owned());
            Touch { place, name, culprit: None }
        };
        let mut found = vec![of("ana"), of("bob")];
        let single = ["ana", "cora"].map(|subject| (of(subject), by(subject)));
        let touches = beside(&mut found, single.into(), vec![by("bob"), by("dave")]);
        assert_eq!(found, ["ana", "bob", "cora"].map(of));
        assert_eq!(touches, ["dave", "cora"].map(by));
    }

    #[test]
    fn a_bounded_number_of_accounts_is_asked_for_and_each_comes_in_its_turn() {
        let logins: Vec<Login> = (0..=2 * MOST_NAMES)
            .map(|number| Login::parse(&format!("a{number:02}")).unwrap())
            .collect();
        let all: BTreeSet<&Login> = logins.iter().collect();
        let first = in_turn(&all, None);
        assert_eq!(first, logins.iter().take(MOST_NAMES).collect::<Vec<_>>());
        let second = in_turn(&all, first.last().copied());
        assert_eq!(second, logins.iter().skip(MOST_NAMES).take(MOST_NAMES).collect::<Vec<_>>());
        let third = in_turn(&all, second.last().copied());
        assert_eq!(third.first(), logins.last().as_ref());
        assert_eq!(third.len(), MOST_NAMES);
        let few: BTreeSet<&Login> = logins.iter().take(MOST_NAMES).collect();
        assert_eq!(in_turn(&few, Some(&logins[3])).len(), MOST_NAMES, "all of so many");
    }
}
