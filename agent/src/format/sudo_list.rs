//! What `sudo -n -ll -U LOGIN` says that somebody may run: the only one who knows what comes from
//! LDAP, SSSD, `Defaults` and another file than `/etc/sudoers`. sudo-rs says it in the same form. A
//! line that is not known is passed over: what it means is never guessed.

/// What is said of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing may be run.
    Nothing,
    /// These rules.
    Rules(List),
}

/// Rules, and what holds for all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Whether `Defaults` say that a password is asked for, if they say anything of it.
    pub authenticate: Option<bool>,
    /// The rules, in their order.
    pub entries: Vec<Entry>,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// What it is called where it does not stand in a file, such as `LDAP Role: ops`.
    pub elsewhere: Option<String>,
    /// As which users.
    pub run_as: Vec<String>,
    /// With which Unix groups.
    pub run_as_groups: Vec<String>,
    /// Commands, with `!` before those that may not be run.
    pub commands: Vec<String>,
}

impl Entry {
    /// Says whether it is as that user, with that Unix group where one is named.
    pub fn is_as(&self, user: &str, unix_group: Option<&str>) -> bool {
        let names = |all: &[String], one: &str| all.iter().any(|own| own == one || own == "ALL");
        let as_user = if self.run_as.is_empty() && self.run_as_groups.is_empty() {
            user == "root"
        } else {
            names(&self.run_as, user)
        };
        as_user && unix_group.is_none_or(|unix_group| names(&self.run_as_groups, unix_group))
    }

    /// Says whether it may be as root.
    pub fn as_root(&self) -> bool {
        self.is_as("root", None) || self.run_as.iter().any(|user| user == "#0")
    }
}

/// Reads what is said of somebody; nothing if that is no answer. Only whole lines of sudo's own
/// count, and where there are rules, none that says there are none: commands are anybody's words.
pub fn parse(said: &str, login: &str) -> Option<Answer> {
    let heading = format!("User {login} may run the following commands on ");
    let Some((before, after)) = at_line(said, &heading) else {
        return said.lines().any(|line| is_refusal(line, login)).then_some(Answer::Nothing);
    };
    let mut words = before.split([',', ' ', '\n']).filter_map(|word| match word {
        "authenticate" => Some(true),
        "!authenticate" => Some(false),
        _ => None,
    });
    let mut list = List { authenticate: words.next_back(), entries: Vec::new() };
    // Behind the heading there is the rest of its own line.
    for line in after.lines().skip(1) {
        if !line.starts_with([' ', '\t']) {
            let heading = line.trim();
            if heading.contains(':') {
                let is_file = heading.starts_with("Sudoers entry:");
                let elsewhere = (!is_file).then(|| heading.to_owned());
                list.entries.push(Entry { elsewhere, ..Entry::default() });
            }
        } else if let Some(entry) = list.entries.last_mut() {
            entry.hear(line);
        }
    }
    Some(Answer::Rules(list))
}

/// Parts a text at the first line that begins with these words.
fn at_line<'a>(text: &'a str, words: &str) -> Option<(&'a str, &'a str)> {
    let is_at_line =
        |at: &usize| text.get(..*at).is_some_and(|b| b.is_empty() || b.ends_with('\n'));
    let at = text.match_indices(words).map(|(at, _)| at).find(is_at_line)?;
    text.get(..at).zip(text.get(at + words.len()..))
}

/// Says whether a line says that somebody may run nothing: one word is behind it, the host's name.
fn is_refusal(line: &str, login: &str) -> bool {
    let of_sudo = format!("User {login} is not allowed to run sudo on ");
    let of_sudo_rs = format!("Sorry, user root is not allowed to execute 'list' as {login} on ");
    // sudo-rs names itself first, by the one name or the other.
    let own = ["sudo-rs: ", "sudo: "].iter().find_map(|name| line.strip_prefix(name));
    let host = match own {
        Some(rest) => rest.strip_prefix(&of_sudo_rs),
        None => line.strip_prefix(&of_sudo),
    };
    host.is_some_and(|host| host.ends_with('.') && !host.contains(char::is_whitespace))
}

impl Entry {
    fn hear(&mut self, line: &str) {
        if line.starts_with('\t') {
            self.commands.push(plain(line.trim()));
            return;
        }
        let Some((key, value)) = line.trim().split_once(':') else { return };
        let names = || value.split(',').map(|name| plain(name.trim())).collect();
        match key {
            "RunAsUsers" => self.run_as = names(),
            "RunAsGroups" => self.run_as_groups = names(),
            _ => {}
        }
    }
}

/// Takes away what is there for sudo's own reader: `\` before a character that means something to it.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As sudo 1.9.13 and 1.9.16 say it.
    const SAID: &str = "Matching Defaults entries for ana on db1:
    env_reset, mail_badpass,
    secure_path=/usr/local/sbin\\:/usr/local/bin\\:/usr/sbin\\:/usr/bin\\:/sbin\\:/bin,
    use_pty, !authenticate

User ana may run the following commands on db1:

Sudoers entry: /etc/sudoers.d/50-muster-ops
    RunAsUsers: root
    Options: !authenticate
    Commands:
\t/usr/bin/id

Sudoers entry:
    RunAsUsers: backup
    RunAsGroups: adm
    Options: noexec
    Cwd: /srv
    Commands:
\t/usr/bin/echo a\\=b c\\:d
\t!/usr/bin/tty \"\"

LDAP Role: ops
    RunAsUsers: ALL
    Commands:
\tALL
";

    fn entry(elsewhere: Option<&str>, run_as: &[&str], groups: &[&str], all: &[&str]) -> Entry {
        let owned = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect();
        Entry {
            elsewhere: elsewhere.map(str::to_owned),
            run_as: owned(run_as),
            run_as_groups: owned(groups),
            commands: owned(all),
        }
    }

    #[test]
    fn rules_are_read_with_where_they_are_from_and_as_whom() {
        let Some(Answer::Rules(list)) = parse(SAID, "ana") else { panic!("no rules") };
        let entries = [
            entry(None, &["root"], &[], &["/usr/bin/id"]),
            entry(None, &["backup"], &["adm"], &["/usr/bin/echo a=b c:d", "!/usr/bin/tty \"\""]),
            entry(Some("LDAP Role: ops"), &["ALL"], &[], &["ALL"]),
        ];
        assert_eq!(list, List { authenticate: Some(false), entries: entries.to_vec() });
        let [one, two, three] = &entries;
        assert!(one.is_as("root", None) && one.as_root() && !one.is_as("backup", None));
        assert!(!one.is_as("root", Some("adm")) && two.is_as("backup", Some("adm")));
        assert!(!two.as_root() && three.as_root() && three.is_as("backup", None));
        let plain = entry(None, &[], &[], &["/usr/bin/id"]);
        assert!(plain.as_root(), "without a user it is root");
        assert!(
            !entry(None, &[], &["adm"], &[]).as_root(),
            "with a Unix group alone it is herself"
        );
    }

    #[test]
    fn whoever_may_run_nothing_is_known_by_the_words_of_either() {
        for said in [
            "User ana is not allowed to run sudo on db1.\n",
            "sudo-rs: Sorry, user root is not allowed to execute 'list' as ana on db1.\n",
        ] {
            assert_eq!(parse(said, "ana"), Some(Answer::Nothing), "{said}");
            assert_eq!(parse(said, "bob"), None, "that is somebody else: {said}");
        }
        for said in ["", "sudo: unknown user ana", "sudo: a password is required"] {
            assert_eq!(parse(said, "ana"), None, "{said}");
        }
    }

    #[test]
    fn whatever_somebody_has_written_into_a_command_it_is_no_word_of_sudos() {
        for word in [
            "User ana is not allowed to run sudo on db1.",
            "sudo-rs: Sorry, user root is not allowed to execute 'list' as ana on db1.",
            "User ana may run the following commands on db1:",
        ] {
            let fake = format!("/usr/bin/echo {word}");
            for said in [format!("{SAID}\t{fake}\n"), format!("{SAID}\t/usr/bin/echo\n{word}\n")] {
                let Some(Answer::Rules(list)) = parse(&said, "ana") else { panic!("{said}") };
                let commands: Vec<_> = list.entries.iter().map(|entry| &entry.commands).collect();
                assert_eq!(commands[2][0], "ALL", "{said}");
            }
            let said = format!("Sudoers entry:\n\t{fake}\n {word}\n");
            assert_eq!(parse(&said, "ana"), None, "{said}");
        }
        let more = "User ana is not allowed to run sudo on db1. Or is she?\n";
        assert_eq!(parse(more, "ana"), None);
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        let said = "User ana may run the following commands on db1:\n\tlost\n    Lost: x\n\
                    weather\nSudoers entry:\n    Weather: fine\n    none\n\t/usr/bin/id\n";
        let Some(Answer::Rules(list)) = parse(said, "ana") else { panic!("no rules") };
        assert_eq!(list.entries, [entry(None, &[], &[], &["/usr/bin/id"])]);
        assert_eq!(list.authenticate, None);
    }
}
