//! Asks sshd what it makes of our drop-in, once for each class of accounts that are the same to it.
//! Of many classes some are asked about in a look, in turn: first those that nothing is known of.
#![expect(clippy::disallowed_methods, reason = "asking for a bounded time")]

use std::time::{Duration, Instant};

use muster_proto::{crypto::sha256, id::Digest, name::Login};

use crate::{
    drift::{
        Difference,
        effect::{
            Asking, Expected,
            sshd::{
                Answers, Others, Policy,
                alike::{Class, Classmates, classes},
            },
        },
    },
    format::{
        ssh,
        sshd::{Text, blocks::Blocks, value},
    },
    host::{
        files::Dir,
        inventory, names,
        probes::UsesPam,
        program::{Ended, Programs},
        ssh::connection,
    },
    observed::{DropIn, ObservedState},
};

/// So many classes are asked about in one look.
const MOST_CLASSES: usize = 16;
/// How long sshd is asked in one look. It takes some ten milliseconds for each.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was said.
#[derive(Debug, Default)]
pub(super) struct Sshd {
    /// Of which texts the answers are.
    state: Option<Digest>,
    answers: Answers,
    /// The last class that was asked about.
    turn: Option<Class>,
    others: Others,
    uses_pam: UsesPam,
}

impl Sshd {
    /// Returns what differs.
    pub(super) fn ask(
        &mut self,
        (root, programs): (&Dir, Programs),
        observed: &ObservedState,
        (expected, asking): (&Expected<'_>, Asking),
    ) -> Vec<Difference> {
        let DropIn::Present(ours) = &observed.drop_in else { return Vec::new() };
        if expected.sshd.is_empty() {
            *self = Self::default();
            return Vec::new();
        }
        // What cannot be read here sshd cannot be known to have read.
        if let Ok(texts) = inventory::sshd_texts(root) {
            let classes = classes(&blocks(root, &texts), &expected.sshd, observed);
            let seen = texts.iter().map(Text::seen).chain([ours.text.as_slice()]);
            let seen: Vec<Digest> = seen.map(|text| sha256(&[text])).collect();
            self.turn_to(sha256(&[format!("{seen:?}").as_bytes()]));
            self.take_turn(&classes, asking, PATIENCE, |login| {
                programs.status("sshd", &["-T", "-C", &connection(login.as_str())])
            });
            self.answers.keep(&classes);
            self.others.take(&classes, &self.answers);
        }
        self.others.differences(expected.sudo)
    }

    /// Says whether sshd has PAM check accounts, by its last answer.
    pub(super) fn uses_pam(&self) -> UsesPam {
        self.uses_pam
    }

    /// Keeps the answers as far as they are of this.
    fn turn_to(&mut self, state: Digest) {
        if self.state.replace(state) != Some(state) {
            self.answers = Answers::default();
        }
    }

    /// Asks about some classes, those after the ones that were asked about before. Whoever does not
    /// answer about one is not asked about more.
    fn take_turn(
        &mut self,
        classes: &[Classmates<'_>],
        asking: Asking,
        patience: Duration,
        mut ask: impl FnMut(&Login) -> Option<Result<Ended, String>>,
    ) {
        let started = Instant::now();
        for Classmates { class, logins } in self.due(classes, asking) {
            let Some(login) = logins.first().filter(|_| started.elapsed() <= patience) else {
                return;
            };
            self.turn = Some(class.clone());
            match ask(login) {
                Some(Ok((0, said))) => {
                    let uses = value(&said, "usepam") == Some("yes");
                    self.uses_pam = if uses { UsesPam::Yes } else { UsesPam::No };
                    self.answers.take(class.clone(), Policy::parse(&said));
                }
                Some(Ok(_) | Err(_)) => return,
                None => {
                    *self = Self::default();
                    return;
                }
            }
        }
    }

    fn due<'a, 'b>(
        &self,
        classes: &'b [Classmates<'a>],
        asking: Asking,
    ) -> Vec<&'b Classmates<'a>> {
        let last = classes.iter().position(|mates| Some(&mates.class) == self.turn.as_ref());
        let (earlier, later) = classes.split_at(last.map_or(0, |last| last + 1));
        let (mut due, mut again) = (Vec::new(), Vec::new());
        for mates in later.iter().chain(earlier) {
            let is_new = self.answers.get(&mates.class).is_none();
            if is_new { due.push(mates) } else { again.push(mates) }
        }
        if asking == Asking::Anew {
            due.extend(again);
        }
        due.truncate(MOST_CLASSES);
        due
    }
}

/// What of the configuration tells accounts apart. Who is in which Unix groups is known here only
/// where no other source says so.
fn blocks(root: &Dir, texts: &[Text]) -> Blocks {
    let blocks = Blocks::parse(texts, ssh::DROP_IN_DIRECTORY);
    let known = !blocks.name_unix_groups()
        || names::configuration(root).is_ok_and(|text| !names::adds_unix_groups(&text));
    if known { blocks } else { Blocks::Unclear }
}

#[cfg(test)]
mod tests;
