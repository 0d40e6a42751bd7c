//! What the answers of sudo and PAM come to beside what was heard before.

use muster_proto::name::Login;

use super::{
    super::inquiry::{Answer, Answers},
    Found, News, Probes, Said, Stage,
    cause::{Whom, touch},
};
use crate::drift::{
    effect::SUDO,
    probe::{self, Heard, NoLogin, PAM, Stands},
};

impl Probes {
    /// Takes down what was said, and says whether the host has to be looked at for that.
    pub(in crate::host) fn hear(&mut self, Answers { no_login, answers }: Answers) -> News {
        let stage = std::mem::take(&mut self.stage);
        let before = (self.found.clone(), self.everybody.clone());
        self.hear_nothing(&answers);
        self.hear_of_all(no_login, &answers);
        for answer in &answers {
            self.hear_of_one(SUDO, answer, &answer.sudo);
            let is_told = self.everybody.is_some() && answer.stands == Some(Stands::Open);
            if is_told && matches!(answer.pam, Heard::Otherwise(_)) {
                self.refused.push(answer.state);
                self.by_pam.says_untold(Whom::One(answer.state));
                let at = self.found.iter().position(|found| found.is(PAM, &answer.login));
                if let Some(untold) = at.map(|at| self.found.remove(at)) {
                    self.gone.push(touch(&untold.said.difference.what, None));
                }
            } else {
                self.hear_of_one(PAM, answer, &answer.pam);
            }
        }
        let is_other = (self.found.clone(), self.everybody.clone()) != before;
        let is_due = matches!(stage, Stage::Overtaken) || !self.owed.is_empty();
        if is_other || is_due { News::Some } else { News::None }
    }

    fn hear_of_one(&mut self, place: &str, answer: &Answer, heard: &Heard) {
        if !heard.is_answer() {
            return;
        }
        let cause = if place == PAM { &mut self.by_pam } else { &mut self.by_sudo };
        let by = cause.says(Whom::One(answer.state));
        let at = self.found.iter().position(|found| found.is(place, &answer.login));
        let known = at.and_then(|at| self.found.get_mut(at));
        match (heard, known, at) {
            (Heard::Otherwise(difference), Some(known), _) => {
                known.state = answer.state;
                if known.said.difference != *difference {
                    known.said = Said { difference: difference.clone(), by };
                }
            }
            (Heard::Otherwise(difference), None, _) => {
                let said = Said { difference: difference.clone(), by };
                self.found.push(Found { state: answer.state, said });
            }
            (_, Some(_), Some(at)) => {
                let found = self.found.remove(at);
                self.gone.push(touch(&found.said.difference.what, by));
            }
            _ => {}
        }
    }

    /// Takes down about whom somebody has not answered: they are asked about again in the next looks.
    fn hear_nothing(&mut self, answers: &[Answer]) {
        for Answer { state, sudo, pam, .. } in answers {
            if [sudo, pam].contains(&&Heard::Unanswered) {
                self.is_to_be_asked_about(*state);
                match self.unanswered.iter_mut().find(|(of, _)| of == state) {
                    Some((_, tries)) => *tries = tries.saturating_add(1),
                    None => self.unanswered.push((*state, 1)),
                }
            } else {
                self.unanswered.retain(|(of, _)| of != state);
            }
        }
    }

    fn is_to_be_asked_about(&mut self, state: u64) {
        if let Some(known) = &mut self.known {
            known.remove(&state);
        }
    }

    /// Takes down whether PAM refuses everybody.
    fn hear_of_all(&mut self, no_login: NoLogin, answers: &[Answer]) {
        let open = || answers.iter().filter(|answer| answer.stands == Some(Stands::Open));
        let is_refused = |answer: &&Answer| matches!(answer.pam, Heard::Otherwise(_));
        let apart = &self.apart;
        let refused = open().filter(is_refused).filter(|answer| !apart.contains(&answer.state));
        let refused: Vec<&Answer> = refused.collect();
        let logins: Vec<&Login> = refused.iter().map(|answer| &answer.login).collect();
        for answer in open().filter(|answer| answer.pam.is_answer()) {
            for untold in [&mut self.refused, &mut self.apart] {
                untold.retain(|state| *state != answer.state);
            }
        }
        if open().any(|answer| answer.pam == Heard::AsExpected) {
            if let Some(said) = self.everybody.take() {
                let by = self.by_pam.says(Whom::All);
                self.gone.push(touch(&said.difference.what, by));
            }
            // Nobody has told of these whom it refuses.
            for state in std::mem::take(&mut self.refused) {
                self.is_to_be_asked_about(state);
                self.apart.push(state);
                self.owed.push(state);
            }
        } else if let Some(difference) = probe::everybody(&logins, no_login) {
            let is_new =
                |answer: &&&Answer| !self.found.iter().any(|found| found.is(PAM, &answer.login));
            let new = refused.iter().filter(is_new).map(|answer| Whom::One(answer.state));
            let by = self.by_pam.by(new);
            self.by_pam.says(Whom::All);
            if self.everybody.as_ref().is_none_or(|known| known.difference != difference) {
                self.everybody = Some(Said { difference, by });
            }
        }
    }
}
