//! What is left of a locked account, by what the system itself says once its processes have ended:
//! nothing of it may be believed because it was asked for.

use std::collections::BTreeSet;

use muster_proto::{name::Login, statement::UserKind};

use crate::{
    format::{
        Table,
        shadow::{self, Password},
        ssh,
    },
    plan::Leaver,
};

use super::{
    chain,
    files::Dir,
    jobs::{self, Jobs},
};

/// What the files say of the accounts.
#[derive(Debug)]
pub(super) struct Look {
    /// Whose jobs had come back, and were set aside.
    pub(super) back: BTreeSet<Login>,
    jobs: Jobs,
    shadow: Table,
    keys: BTreeSet<String>,
}

impl Look {
    /// Looks after the processes have ended; in words why that is not possible.
    pub(super) fn again(root: &Dir, leavers: &[(&Leaver, UserKind)]) -> Result<Self, String> {
        let look = |root: &Dir| Jobs::observe(root).map_err(|error| chain(&error));
        let mut jobs = look(root)?;
        // A process may have put a crontab in place while it was being ended.
        let is_back = |leaver: &Leaver| !jobs.of(leaver.login.as_str(), leaver.uid).is_empty();
        let mut back = BTreeSet::new();
        for leaver in leavers.iter().map(|(leaver, _)| *leaver).filter(|leaver| is_back(leaver)) {
            // What that could not do is seen by the look that follows.
            let _ = jobs::set_one_aside(root, leaver);
            back.insert(leaver.login.clone());
        }
        if !back.is_empty() {
            jobs = look(root)?;
        }
        let shadow = root.need("etc").and_then(|etc| etc.read("shadow"));
        let shadow = shadow.map_err(|error| chain(&error))?.map(|(text, _)| text);
        let shadow = Table::parse(shadow.unwrap_or_default()).map_err(|error| chain(&error))?;
        let keys = root
            .walk(ssh::KEYS_DIRECTORY)
            .and_then(|dir| dir.map_or(Ok(Vec::new()), |dir| dir.names()));
        let keys = keys.map_err(|error| chain(&error))?.into_iter().collect();
        Ok(Self { back, jobs, shadow, keys })
    }

    /// Returns what is left of an account, in words.
    pub(super) fn left(&self, leaver: &Leaver, kind: UserKind) -> Vec<&'static str> {
        let login = leaver.login.as_str();
        let mut left = self.jobs.of(login, leaver.uid);
        if self.keys.contains(login) {
            left.push("a file of keys");
        }
        // Without a line nobody is let in.
        if let Some(entry) = self.shadow.get(login) {
            if Password::of(entry.field(shadow::PASSWORD)) != Password::Locked {
                left.push("a password that is not locked");
            }
            if kind == UserKind::Person && entry.field(shadow::EXPIRE) != b"1" {
                left.push("an account that is not expired");
            }
        }
        left
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test lays out its root")]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, chown},
        path::Path,
        sync::Arc,
    };

    use muster_proto::name::Login;

    use super::*;
    use crate::{host::files::Faults, plan::Ending};

    const UID: u32 = 2_001;
    const LOCKED: &str = "root:*:20000::::::\nana:!$6$hash:20000:0:90:7::1:\n";
    const CRONTAB: &str = "var/spool/cron/crontabs/ana";
    const AT_JOB: &str = "var/spool/cron/atjobs/a0001";
    const STAMP: &str = "run/sudo/ts/2001";
    const LINGER: &str = "var/lib/systemd/linger/ana";

    /// Looks again at a root with these files, of which those of spools are hers.
    fn look(
        kind: UserKind,
        shadow: &str,
        files: &[&str],
        lay: impl Fn(&Path),
    ) -> Vec<&'static str> {
        let folder = tempfile::tempdir().unwrap();
        for path in [&["etc/shadow"], files].concat() {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            if path.starts_with(folder.path().join("var/spool")) {
                chown(path, Some(UID), None).expect("this test needs root");
            }
        }
        fs::write(folder.path().join("etc/shadow"), shadow).unwrap();
        lay(folder.path());
        let root = Dir::open(folder.path(), Arc::new(Faults::none())).unwrap();
        let ending = Ending::Locked(kind);
        let subuids = Vec::new();
        let login = Login::parse("ana").unwrap();
        let ana = Leaver { login, uid: UID, has_its_uid: true, subuids, ending };
        let look = Look::again(&root, &[(&ana, kind)]).unwrap();
        let is_hers = |file: &&str| [CRONTAB, AT_JOB, LINGER, STAMP].contains(file);
        assert!(!files.iter().any(is_hers) || look.back.contains(&ana.login));
        look.left(&ana, kind)
    }

    fn left_of_a_person(shadow: &str, files: &[&str], lay: impl Fn(&Path)) -> Vec<&'static str> {
        look(UserKind::Person, shadow, files, lay)
    }

    /// Lays a directory of anybody's where jobs are to be set aside: nothing is moved there.
    fn spoilt(spool: &str) -> impl Fn(&Path) {
        let aside = format!("var/spool/cron/{spool}/.muster-set-aside");
        move |root| {
            let aside = root.join(&aside);
            fs::create_dir_all(&aside).unwrap();
            fs::set_permissions(aside, fs::Permissions::from_mode(0o777)).unwrap();
        }
    }

    #[test]
    fn nothing_is_left_of_an_account_that_is_out_nor_what_is_somebody_elses() {
        assert_eq!(left_of_a_person(LOCKED, &[], |_| {}), [""; 0]);
        let of_others = [
            "etc/ssh/muster-keys/anatol",
            "var/spool/cron/crontabs/eve",
            "var/lib/systemd/linger/eve",
            "run/sudo/ts/20010",
        ];
        assert_eq!(left_of_a_person(LOCKED, &of_others, |_| {}), [""; 0]);
        // Without a line nobody is let in.
        assert_eq!(left_of_a_person("root:*:20000::::::\n", &[], |_| {}), [""; 0]);
    }

    #[test]
    fn what_shadow_and_the_key_files_still_let_in_is_told() {
        const PASSWORD: &str = "a password that is not locked";
        const EXPIRY: &str = "an account that is not expired";
        for (line, of_person, of_service) in [
            ("ana:!*:20000:::::1:", &[][..], &[][..]),
            ("ana:$6$hash:20000:::::1:", &[PASSWORD], &[PASSWORD]),
            ("ana::20000:::::1:", &[PASSWORD], &[PASSWORD]),
            // No password fits, and whoever unlocks it would not see that it was locked.
            ("ana:*:20000:::::1:", &[PASSWORD], &[PASSWORD]),
            ("ana:!*:20000::::::", &[EXPIRY], &[]),
            ("ana:!*:20000:::::99999:", &[EXPIRY], &[]),
            ("ana:*:20000::::::", &[PASSWORD, EXPIRY], &[PASSWORD]),
        ] {
            let left = |kind| look(kind, &format!("{line}\n"), &[], |_| {});
            assert_eq!(left(UserKind::Person), of_person, "{line}");
            assert_eq!(left(UserKind::Service), of_service, "{line}");
        }
        let keys = ["etc/ssh/muster-keys/ana"];
        assert_eq!(left_of_a_person(LOCKED, &keys, |_| {}), ["a file of keys"]);
    }

    #[test]
    fn what_would_start_again_is_taken_away_at_the_second_look_and_told_if_it_stays() {
        // What came back between the first look and this one goes too.
        for came_back in [CRONTAB, AT_JOB, LINGER, STAMP] {
            let is_there = |root: &Path| assert!(root.join(came_back).exists());
            assert_eq!(left_of_a_person(LOCKED, &[came_back], is_there), [""; 0], "{came_back}");
        }
        assert_eq!(left_of_a_person(LOCKED, &[CRONTAB], spoilt("crontabs")), ["a crontab"]);
        assert_eq!(left_of_a_person(LOCKED, &[AT_JOB], spoilt("atjobs")), ["at jobs"]);
        // A directory is nothing that is removed as a file.
        let stays = |root: &Path| fs::create_dir_all(root.join(LINGER)).unwrap();
        assert_eq!(left_of_a_person(LOCKED, &[], stays), ["lingering"]);
        // Nor does what stays keep any of the others in its place.
        let all = [CRONTAB, AT_JOB, STAMP, "etc/ssh/muster-keys/ana"];
        let shadow = "ana:*:20000::::::\n";
        let by_files =
            ["a file of keys", "a password that is not locked", "an account that is not expired"];
        assert_eq!(left_of_a_person(shadow, &all, stays), [&["lingering"], &by_files[..]].concat());
        let no_jobs_move =
            |root: &Path| ["crontabs", "atjobs"].iter().for_each(|at| spoilt(at)(root));
        assert_eq!(
            left_of_a_person(shadow, &all, no_jobs_move),
            [&["a crontab", "at jobs"], &by_files[..]].concat()
        );
    }
}
