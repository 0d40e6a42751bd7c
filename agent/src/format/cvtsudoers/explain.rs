//! What the sudo files give somebody at most, by the programs that they name: whatever sudo itself
//! lists beside these comes from somewhere else. Whom a rule names by what is not known here, such
//! as a netgroup, that may be her.

use std::collections::BTreeSet;

use muster_proto::name::Login;

use super::{BadRules, Member, read, weigh::Person};

/// Returns the first word of each command that some rule may give her, by an answer of cvtsudoers.
pub fn programs(
    answer: &str,
    login: &Login,
    person: &Person<'_>,
) -> Result<BTreeSet<String>, BadRules> {
    let answer = read(answer)?;
    let mut programs = BTreeSet::new();
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
        let commands = spec.commands.iter().flat_map(|commands| &commands.all);
        let texts = commands.filter_map(|command| command.command.as_deref());
        programs.extend(texts.map(|text| program(text).to_owned()));
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
            {"User_List": [{"netgroup": "all"}], "Cmnd_Specs": [{"Commands": [{"command": "/d"}]}]}]}"#;
        let mut person = Person::new(Some(1_001));
        person.unix_groups.insert("ops", 1_100);
        let found = programs(answer, &Login::parse("ana").unwrap(), &person).unwrap();
        assert_eq!(found, ["/a", "/b", "/c", "/d"].map(str::to_owned).into());
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
