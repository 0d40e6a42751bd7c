//! Asks sudo and PAM themselves about a few accounts, on a thread of its own: what they say may
//! take long, and nobody's end of access waits for it. The keeper's unit has neither network nor
//! libpam, so systemd asks in its place: in a unit of its own for sudo, and by `PAMName=` for each
//! account, whose account check systemd has PAM make before it runs anything (systemd.exec(5)).
//! Each unit ends itself in time, whatever the account's own processes do to it.

use std::path::Path;

use muster_proto::{name::Login, sudo::SudoRule};

use super::{
    files::{Dir, random},
    inventory::read_sudo,
    probes::pam_mark,
    program::Programs,
};
use crate::{
    drift::probe::{self, Heard, NoLogin, Stands, Verdict},
    format::cvtsudoers::{explain, weigh::Person},
};

/// The service of PAM that is asked: the account check of sshd's, and nothing that lets anybody in.
pub(super) const SERVICE: &str = "muster-account";

/// What systemd ends with where PAM refuses (`EXIT_PAM`, systemd.exec(5)). That is an answer and no
/// failure: a unit that failed would have the whole system called degraded as long as it is there.
const ANSWERED: &str = "SuccessExitStatus=224";
/// What the unit says that PAM lets run.
const LET_IN: &str = "let in";

/// For each account in turn, after a line with the mark before it; `$0` is sudo.
const SCRIPT: &str = r#"mark=$1
shift
for login; do
    echo
    echo "$mark$login"
    LC_ALL=C "$0" -n -ll -U "$login" 2>&1
done"#;

/// Whom to ask about, and what.
#[derive(Debug)]
pub struct Inquiry {
    pub(super) programs: Programs,
    pub(super) pam: AskPam,
    /// Where PAM's configuration is, and what it was like when this was made ready.
    pub(super) before: (Dir, u64),
    pub(super) questions: Vec<Question>,
}

/// Whether PAM can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AskPam {
    /// It can.
    Yes,
    /// The system is starting or stopping, so it refuses everybody.
    NotNow,
    /// sshd makes nothing of it.
    Unused,
    /// Asking may change something, or there is no service to ask by: for this reason.
    No(String),
}

/// What is asked about one account.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) login: Login,
    pub(super) state: u64,
    /// How the account stands, if PAM is asked.
    pub(super) pam: Option<Stands>,
    /// What it has by our files, if sudo is asked.
    pub(super) sudo: Option<Given>,
}

/// What somebody has of sudo's by our files.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) uid: Option<u32>,
    pub(super) unix_groups: Vec<(String, u32)>,
    pub(super) rules: Vec<SudoRule>,
}

/// What came of it.
#[derive(Debug)]
pub struct Answers {
    pub(super) no_login: NoLogin,
    pub(super) answers: Vec<Answer>,
}

/// What came of it for one account.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) login: Login,
    pub(super) state: u64,
    pub(super) stands: Option<Stands>,
    pub(super) sudo: Heard,
    pub(super) pam: Heard,
}

impl Inquiry {
    /// Asks about each.
    pub fn ask(self) -> Answers {
        let mut said = self.unanswered();
        self.sudo(&mut said.answers);
        if self.pam == AskPam::Yes {
            self.pam(&mut said.answers);
            // Of what was changed meanwhile some answers are of before and some of after; whoever
            // changed it has it asked again.
            if !self.is_as_before() {
                for answer in said.answers.iter_mut().filter(|answer| answer.pam.is_answer()) {
                    answer.pam = Heard::Unanswered;
                }
            }
        }
        let present = Path::new("/etc/nologin").exists();
        said.no_login = if present { NoLogin::Present } else { NoLogin::Absent };
        said
    }

    /// Returns that nobody has answered who can be asked.
    pub fn unanswered(&self) -> Answers {
        let can_ask = self.programs.path("systemd-run").is_some();
        let has_sudo = can_ask && self.sudo_path().is_some();
        let has_pam = can_ask && matches!(self.pam, AskPam::Yes | AskPam::NotNow);
        let answer = |Question { login, state, pam, sudo }: &Question| Answer {
            login: login.clone(),
            state: *state,
            stands: *pam,
            sudo: sudo.as_ref().filter(|_| has_sudo).map_or(Heard::Nothing, |_| Heard::Unanswered),
            pam: pam.filter(|_| has_pam).map_or(Heard::Nothing, |_| Heard::Unanswered),
        };
        let answers = self.questions.iter().map(answer).collect();
        Answers { no_login: NoLogin::Absent, answers }
    }

    fn sudo_path(&self) -> Option<String> {
        ["sudo", "sudo-rs"].iter().find_map(|name| self.programs.path(name))
    }

    /// Asks sudo about all of them in one unit.
    fn sudo(&self, answers: &mut [Answer]) {
        let asked = || self.questions.iter().filter(|question| question.sudo.is_some());
        let Some(sudo) = self.sudo_path().filter(|_| asked().next().is_some()) else { return };
        let mut words = unit("sudo's rules of some accounts");
        // What is between the answers can be in none of them.
        let mark = format!("== {} asks about ", random());
        words.extend(["--pipe", "--", "/bin/sh", "-c", SCRIPT, &sudo, &mark].map(str::to_owned));
        words.extend(asked().map(|question| question.login.to_string()));
        let Some(Ok((_, said))) = self.run(&words) else { return };
        let files = read_sudo(self.programs).ok();
        for (login, said) in by_login(&said, &mark) {
            let answer = answers.iter_mut().find(|answer| answer.login.as_str() == login);
            let question = asked().find(|question| question.login.as_str() == login);
            let Some((answer, question)) = answer.zip(question) else { continue };
            let Some(Given { uid, unix_groups, rules }) = &question.sudo else { continue };
            let mut person = Person::new(*uid);
            for (name, gid) in unix_groups {
                person.unix_groups.insert(name, *gid);
            }
            let explained = files
                .as_ref()
                .and_then(|files| explain::programs(files, &question.login, &person).ok());
            answer.sudo = probe::by_sudo(&question.login, rules, said, explained.as_ref());
        }
    }

    /// Says whether PAM's configuration is the one that was looked at.
    pub(super) fn is_as_before(&self) -> bool {
        let (root, before) = &self.before;
        pam_mark(root).ok() == Some(*before)
    }

    /// Has systemd ask PAM about each in a unit of its own.
    fn pam(&self, answers: &mut [Answer]) {
        for Answer { login, stands, pam, .. } in answers {
            let Some(stands) = *stands else { continue };
            // By another one asking may change something.
            if !self.is_as_before() {
                break;
            }
            let mut words = unit(&format!("the account check of PAM for {login}"));
            let (user, service) = (format!("User={login}"), format!("PAMName={SERVICE}"));
            words.extend(["-p", &user, "-p", &service, "-p", ANSWERED].map(str::to_owned));
            words.extend(["--pipe", "--", "echo", LET_IN].map(str::to_owned));
            let verdict = match self.run(&words) {
                Some(Ok((0, said))) if said.trim_end() == LET_IN => Verdict::LetsIn,
                Some(Ok((0, said))) if said.is_empty() => Verdict::Refuses,
                // Such as no bus, or an account that has gone.
                Some(Ok(_)) => continue,
                // Whoever hangs for one hangs for the next.
                None | Some(Err(_)) => break,
            };
            *pam = probe::by_pam(login, stands, verdict);
        }
    }

    fn run(&self, words: &[String]) -> Option<Result<(i32, String), String>> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.programs.status("systemd-run", &words)
    }
}

/// A unit that is waited for, and that ends itself before `systemd-run` is no longer waited for.
fn unit(what: &str) -> Vec<String> {
    let description = format!("--description=Muster asks for {what}");
    let words = ["--quiet", "--wait", "--collect", &description];
    let walls = ["RuntimeMaxSec=6", "TimeoutStopSec=1", "LogLevelMax=notice"];
    let words = words.into_iter().chain(walls.into_iter().flat_map(|wall| ["-p", wall]));
    words.map(str::to_owned).collect()
}

/// Parts what is said by whom it is said of: each part is after a line that begins with the mark.
fn by_login<'a>(said: &'a str, mark: &str) -> Vec<(&'a str, &'a str)> {
    let before = format!("\n{mark}");
    let parts = said.split(&before).skip(1);
    parts.filter_map(|part| part.split_once('\n')).collect()
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "the script as a shell reads it")]
mod tests {
    use std::{process::Command, sync::Arc};

    use super::*;
    use crate::host::files::Faults;

    /// What the script prints with `echo -n` for sudo, which ends no line.
    fn said(logins: &[&str]) -> String {
        let words = ["-c", SCRIPT, "echo", MARK];
        let output = Command::new("/bin/sh").args(words).args(logins).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    const MARK: &str = "== 0123456789abcdef asks about ";

    #[test]
    fn what_is_said_is_parted_by_whom_it_is_said_of() {
        let said = said(&["ana", "bob"]);
        assert_eq!(by_login(&said, MARK), [("ana", "-ll -U ana"), ("bob", "-ll -U bob")]);
        assert_eq!(by_login("lost\n", MARK), []);
    }

    #[test]
    fn a_mark_within_a_line_and_one_of_another_inquiry_part_nothing() {
        let lines = format!("\t/usr/bin/echo {MARK}bob\n== fedcba9876543210 asks about bob\nend\n");
        let said = format!("{}\n{lines}", said(&["ana"]));
        assert_eq!(by_login(&said, MARK), [("ana", format!("-ll -U ana\n{lines}").as_str())]);
    }

    /// An inquiry about somebody who stands open and has no rules, and one about somebody locked.
    fn inquiry(programs: Programs, pam: AskPam) -> Inquiry {
        let folder = tempfile::tempdir().unwrap();
        let root = Dir::open(folder.path(), Arc::new(Faults::none())).unwrap();
        let given = Given { uid: Some(10_001), unix_groups: Vec::new(), rules: Vec::new() };
        let question = |login, pam, sudo| Question {
            login: Login::parse(login).unwrap(),
            state: 1,
            pam: Some(pam),
            sudo,
        };
        let questions =
            vec![question("ana", Stands::Open, Some(given)), question("bob", Stands::Shut, None)];
        Inquiry { programs, pam, before: (root, 0), questions }
    }

    #[test]
    fn only_who_can_be_asked_leaves_a_question_unanswered() {
        let heard = |inquiry: &Inquiry| -> Vec<(Heard, Heard)> {
            let answers = inquiry.unanswered().answers.into_iter();
            answers.map(|answer| (answer.sudo, answer.pam)).collect()
        };
        let nothing = || Heard::Nothing;
        for pam in [AskPam::Yes, AskPam::NotNow] {
            let nobody = heard(&inquiry(Programs::None, pam.clone()));
            assert_eq!(nobody, [(nothing(), nothing()), (nothing(), nothing())]);
            let asked = inquiry(Programs::System, pam);
            let [sudo, systemd] = [asked.sudo_path(), Programs::System.path("systemd-run")];
            let of = |is_there| if is_there { Heard::Unanswered } else { nothing() };
            let sudo = of(sudo.is_some() && systemd.is_some());
            let pam = of(systemd.is_some());
            assert_eq!(heard(&asked), [(sudo, pam.clone()), (nothing(), pam)]);
        }
        let heard = heard(&inquiry(Programs::System, AskPam::Unused));
        assert!(heard.iter().all(|(_, pam)| *pam == nothing()), "{heard:?}");
    }

    #[test]
    fn a_unit_ends_before_it_is_given_up() {
        let words = unit("x").join(" ");
        assert!(words.contains("-p RuntimeMaxSec=6 -p TimeoutStopSec=1"), "{words}");
    }
}
