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

/// Reads what is said of somebody; nothing if that is no answer.
pub fn parse(said: &str, login: &str) -> Option<Answer> {
    let refused = [
        format!("User {login} is not allowed to run sudo on "),
        // sudo-rs.
        format!("is not allowed to execute 'list' as {login} on "),
    ];
    if said.lines().any(|line| refused.iter().any(|words| line.contains(words))) {
        return Some(Answer::Nothing);
    }
    let heading = format!("User {login} may run the following commands on ");
    let (before, after) = said.split_once(&heading)?;
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
    fn what_is_not_known_is_passed_over() {
        let said = "User ana may run the following commands on db1:\n\tlost\n    Lost: x\n\
                    weather\nSudoers entry:\n    Weather: fine\n    none\n\t/usr/bin/id\n";
        let Some(Answer::Rules(list)) = parse(said, "ana") else { panic!("no rules") };
        assert_eq!(list.entries, [entry(None, &[], &[], &["/usr/bin/id"])]);
        assert_eq!(list.authenticate, None);
    }
}
