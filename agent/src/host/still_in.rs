//! What sshd itself says of a locked service identity. No expiry shuts it, since root goes on working
//! as it: nothing but our settings keeps sshd from taking somebody else's key or certificate for it.
#![expect(clippy::disallowed_methods, reason = "asking for a bounded time")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use muster_proto::name::Login;

use crate::format::{ssh, sshd};

use super::{
    program::{Ended, Programs},
    ssh::connection,
};

/// How long sshd is asked in one turn. It takes some ten milliseconds for each, unless a source of
/// Unix groups hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// What sshd says, where that is not that it takes nothing but what is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BySshd {
    /// It takes this too.
    Takes(String),
    /// It does not say, for this reason: where it does not run, it cannot even be asked.
    Unsaid(String),
}

/// Asks sshd about each. Where there is no sshd it takes nothing.
pub(super) fn by_sshd<'a>(
    programs: Programs,
    logins: impl Iterator<Item = &'a Login>,
) -> BTreeMap<&'a Login, BySshd> {
    ask_within(PATIENCE, logins, |login| {
        programs.status("sshd", &["-T", "-C", &connection(login.as_str())])
    })
}

fn ask_within<'a>(
    patience: Duration,
    logins: impl Iterator<Item = &'a Login>,
    mut ask: impl FnMut(&Login) -> Option<Result<Ended, String>>,
) -> BTreeMap<&'a Login, BySshd> {
    let started = Instant::now();
    let mut told = BTreeMap::new();
    for login in logins {
        if started.elapsed() > patience {
            told.insert(login, BySshd::Unsaid("it answers too slowly".to_owned()));
            continue;
        }
        let said = match ask(login) {
            None => None,
            Some(Ok((0, said))) => {
                let ways = sshd::ways_of_locked(&said, &format!("{}/%u", ssh::KEYS_DIRECTORY));
                let ways: Vec<&str> = ways.into_iter().map(|way| way.what).collect();
                (!ways.is_empty()).then(|| BySshd::Takes(ways.join(", ")))
            }
            Some(Ok((status, said))) => {
                let line = said.lines().next().unwrap_or_default();
                let shown: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
                Some(BySshd::Unsaid(format!("status {status}: {shown}")))
            }
            Some(Err(reason)) => Some(BySshd::Unsaid(reason)),
        };
        told.extend(said.map(|said| (login, said)));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins() -> [Login; 2] {
        ["ana", "bob"].map(|login| Login::parse(login).unwrap())
    }

    fn unsaid(reason: &str) -> BySshd {
        BySshd::Unsaid(reason.to_owned())
    }

    #[test]
    fn what_sshd_still_takes_is_told_and_so_is_that_it_does_not_say() {
        const OURS: &str = "usepam yes\nauthorizedkeysfile /etc/ssh/muster-keys/%u\n";
        let takes = BySshd::Takes("certificates of an authority".to_owned());
        for (answer, told) in [
            (None, None),
            (Some(Ok((0, OURS.to_owned()))), None),
            (Some(Ok((0, format!("{OURS}trustedusercakeys /etc/ca\n")))), Some(takes)),
            (Some(Ok((255, "line 3: Bad\n".to_owned()))), Some(unsaid("status 255: line 3: Bad"))),
            (Some(Err("it hangs".to_owned())), Some(unsaid("it hangs"))),
        ] {
            let [ana, bob] = logins();
            let found = ask_within(PATIENCE, [&ana, &bob].into_iter(), |login| {
                if *login == ana { answer.clone() } else { None }
            });
            assert_eq!(found, told.map(|told| (&ana, told)).into_iter().collect());
        }
    }

    #[test]
    fn nobody_is_asked_about_once_the_time_is_up() {
        let asked = |patience| {
            let logins = logins();
            let mut asked = Vec::new();
            let found = ask_within(patience, logins.iter(), |login| {
                asked.push(login.to_string());
                None
            });
            (asked, found.into_values().collect::<Vec<_>>())
        };
        assert_eq!(asked(PATIENCE), (vec!["ana".to_owned(), "bob".to_owned()], Vec::new()));
        let slow = unsaid("it answers too slowly");
        assert_eq!(asked(Duration::ZERO), (Vec::new(), vec![slow; 2]));
    }
}
