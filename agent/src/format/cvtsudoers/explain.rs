//! What the sudo files give somebody at most, by the programs that they name: whatever sudo itself
//! lists beside these comes from somewhere else. Whom a rule names by what is not known here, such
//! as a netgroup, that may be her.

use std::collections::BTreeSet;

use muster_proto::name::Login;

use super::{BadRules, Member, read, weigh::Person};

/// The programs that sudo files name for somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    as_root: BTreeSet<String>,
    as_others: BTreeSet<String>,
}

impl Programs {
    /// Says whether some rule gives a program as somebody.
    pub fn has(&self, program: &str) -> bool {
        self.has_as_root(program) || self.as_others.contains(program)
    }

    /// Says whether some rule gives it as root.
    pub fn has_as_root(&self, program: &str) -> bool {
        self.as_root.contains(program)
    }
}

/// Returns the first word of each command that some rule may give her, by an answer of cvtsudoers.
pub fn programs(answer: &str, login: &Login, person: &Person<'_>) -> Result<Programs, BadRules> {
    let answer = read(answer)?;
    let mut programs = Programs::default();
    for spec in &answer.specs {
        let names_others = |member: &Member| {
            member.username.is_some()
                || member.userid.is_some()
                || member.usergroup.is_some()
                || member.usergid.is_some()
        };
        let may_be_her = spec.users.iter().any(|member| !names_others(member));
        if !may_be_her && !person.is_meant(login, spec) {
            continue;
        }
        for commands in &spec.commands {
            let texts = commands.all.iter().filter_map(|command| command.command.as_deref());
            let names = texts.map(|text| program(text).to_owned());
            if commands.as_root() {
                programs.as_root.extend(names);
            } else {
                programs.as_others.extend(names);
            }
        }
    }
    Ok(programs)
}

/// Returns the program of a command, as sudo lists it or cvtsudoers writes it.
pub fn program(text: &str) -> &str {
    // A digest of it may stand before it.
    let mut words = text.trim_start_matches('!').split_whitespace();
    let is_digest = |word: &&str| word.starts_with("sha") && word.contains(':');
    words.find(|word| !is_digest(word)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_that_a_rule_may_give_her_is_named_and_no_other() {
        let answer = r#"{"User_Specs": [
            {"User_List": [{"username": "ana"}], "Cmnd_Specs": [
             {"Commands": [{"command": "/a x"}, {"command": "/b", "negated": true}]}]},
            {"User_List": [{"username": "bob"}], "Cmnd_Specs": [{"Commands": [{"command": "/bobs"}]}]},
            {"User_List": [{"usergroup": "ops"}], "Cmnd_Specs": [{"Commands": [{"command": "/c"}]}]},
            {"User_List": [{"usergroup": "dba"}], "Cmnd_Specs": [{"Commands": [{"command": "/dbas"}]}]},
            {"User_List": [{"netgroup": "all"}], "Cmnd_Specs": [{"Commands": [{"command": "/d"}]}]},
            {"User_List": [{"username": "ana"}], "Cmnd_Specs": [
             {"runasusers": [{"username": "backup"}], "Commands": [{"command": "/e"}]},
             {"runasgroups": [{"usergroup": "adm"}], "Commands": [{"command": "/f"}]},
             {"runasusers": [{"username": "ALL"}], "Commands": [{"command": "/g"}]}]}]}"#;
        let mut person = Person::new(Some(1_001));
        person.unix_groups.insert("ops", 1_100);
        let found = programs(answer, &Login::parse("ana").unwrap(), &person).unwrap();
        assert_eq!(found.as_root, ["/a", "/b", "/c", "/d", "/g"].map(str::to_owned).into());
        assert_eq!(found.as_others, ["/e", "/f"].map(str::to_owned).into());
        assert!(found.has("/a") && found.has_as_root("/a"));
        assert!(found.has("/e") && !found.has_as_root("/e") && !found.has("/bobs"));
    }

    #[test]
    fn the_program_of_a_command_is_its_first_word_but_for_digests() {
        for (text, wanted) in [
            ("/usr/bin/id", "/usr/bin/id"),
            ("!/usr/bin/tty \"\"", "/usr/bin/tty"),
            ("sha256:abc= /usr/bin/id -u", "/usr/bin/id"),
            ("ALL", "ALL"),
            ("sudoedit /etc/motd", "sudoedit"),
            ("", ""),
        ] {
            assert_eq!(program(text), wanted);
        }
    }
}
