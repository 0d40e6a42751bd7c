//! What sudo makes of rules that are ours once all files are read: the last that fits a command counts
//! (`sudoers(5)`), whosever file it stands in. Weighed are rules for all hosts, and commands that name
//! ours, its directory or `ALL`; patterns and `Defaults` are not.

use std::{collections::BTreeMap, fmt};

use muster_proto::{
    drift::Severity,
    name::Login,
    sudo::{Arguments, SudoCommand, SudoPassword, SudoRule},
};

use super::{Answer, BadRules, Commands, Member, Opt, Spec, read};

/// Somebody who has rules of ours.
#[derive(Clone, Debug, Default)]
pub struct Person<'a> {
    uid: Option<u32>,
    /// The Unix groups that she is in, with their gids.
    pub unix_groups: BTreeMap<&'a str, u32>,
    /// Her rules.
    pub rules: Vec<&'a SudoRule>,
}

/// What sudo does otherwise with a command of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Otherwise {
    how: How,
    command: String,
    run_as: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    /// No password is asked for, and ours asks for one.
    NoPassword,
    /// It may start other programs, and by ours it may not.
    Exec,
    /// No rule gives it: our files are not read.
    Missing,
    /// A later rule takes it away.
    Denied,
    /// A later rule takes this part of it away.
    PartlyDenied(String),
    /// A password is asked for, and ours asks for none.
    Password,
}

impl Otherwise {
    /// Says how grave it is.
    pub fn severity(&self) -> Severity {
        match self.how {
            How::NoPassword | How::Exec => Severity::High,
            How::Missing | How::Denied | How::PartlyDenied(_) | How::Password => Severity::Medium,
        }
    }
}

impl fmt::Display for Otherwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { how, command, run_as } = self;
        write!(f, "{command} as {run_as}: ")?;
        match how {
            How::NoPassword => f.write_str("a later rule asks for no password"),
            How::Exec => f.write_str("a later rule lets it start other programs"),
            How::Missing => f.write_str("no rule that sudo reads gives it"),
            How::Denied => f.write_str("a later rule takes it away"),
            How::PartlyDenied(part) => write!(f, "a later rule takes `{part}` away"),
            How::Password => f.write_str("a later rule asks for a password"),
        }
    }
}

/// A command of somebody's, and what is known of it so far.
struct Case<'a> {
    rule: &'a SudoRule,
    command: String,
    asks: bool,
    noexec: bool,
    state: State,
}

enum State {
    Unheard,
    Allowed { asks: bool, noexec: bool, without: Option<String> },
    Denied,
}

/// Weighs an answer of cvtsudoers.
pub fn weigh<'a>(
    answer: &str,
    people: &BTreeMap<&'a Login, Person<'a>>,
) -> Result<BTreeMap<&'a Login, Vec<Otherwise>>, BadRules> {
    let answer: Answer = read(answer)?;
    let mut all: BTreeMap<&Login, Vec<Case<'_>>> =
        people.iter().map(|(login, person)| (*login, person.cases())).collect();
    for spec in answer.specs.iter().filter(|spec| spec.is_for_all_hosts()) {
        if let Some(login) = spec.one() {
            if let Some(cases) = all.get_mut(&login) {
                spec.apply(cases);
            }
            continue;
        }
        for (login, person) in people {
            if let Some(cases) = all.get_mut(login).filter(|_| person.is_meant(login, spec)) {
                spec.apply(cases);
            }
        }
    }
    let weighed = all.into_iter().map(|(login, cases)| {
        let mut others: Vec<Otherwise> = cases.iter().filter_map(Case::otherwise).collect();
        others.sort();
        others.dedup();
        (login, others)
    });
    Ok(weighed.filter(|(_, others)| !others.is_empty()).collect())
}

impl<'a> Person<'a> {
    /// Somebody of this uid.
    pub fn new(uid: Option<u32>) -> Self {
        Self { uid, ..Self::default() }
    }

    fn cases(&self) -> Vec<Case<'a>> {
        let mut cases = Vec::new();
        for rule in &self.rules {
            for command in rule.commands.iter().map(words) {
                // Of her own rules the laxest counts.
                let also = self.rules.iter().filter(|other| {
                    other.run_as == rule.run_as
                        && other.commands.iter().any(|other| covers(&words(other), &command))
                });
                let (mut asks, mut noexec) = (true, true);
                for other in also {
                    asks &= other.password == SudoPassword::Required;
                    noexec &= other.noexec;
                }
                cases.push(Case { rule, command, asks, noexec, state: State::Unheard });
            }
        }
        cases
    }

    /// The last that fits her counts, as everywhere in sudoers.
    pub(super) fn is_meant(&self, login: &Login, spec: &Spec) -> bool {
        let fits = |member: &&Member| {
            let name = member.username.as_deref();
            let unix_group = member.unix_group();
            name == Some("ALL")
                || name == Some(login.as_str())
                || member.uid().is_some_and(|uid| Some(uid) == self.uid)
                || unix_group.is_some_and(|name| self.unix_groups.contains_key(name))
                || member.gid().is_some_and(|gid| self.unix_groups.values().any(|own| *own == gid))
        };
        spec.users.iter().rev().find(fits).is_some_and(|member| !member.negated)
    }
}

impl Spec {
    fn is_for_all_hosts(&self) -> bool {
        self.hosts.is_empty()
            || self.hosts.iter().any(|host| host.name.as_deref() == Some("ALL") && !host.negated)
    }

    /// Returns whom it names, if that is one by login.
    fn one(&self) -> Option<Login> {
        let [member] = self.users.as_slice() else { return None };
        let login = member.username.as_ref().filter(|_| !member.negated)?;
        Login::parse(login).ok()
    }

    fn apply(&self, cases: &mut [Case<'_>]) {
        for commands in &self.commands {
            for case in cases.iter_mut().filter(|case| commands.is_as(case.rule)) {
                for command in &commands.all {
                    let text = command.command.as_deref().unwrap_or_default();
                    case.hear(text, command.negated, commands);
                }
            }
        }
    }
}

impl Commands {
    fn is_as(&self, rule: &SudoRule) -> bool {
        let user = rule.run_as.user.to_string();
        let as_user = match &self.run_as {
            None => user == "root",
            Some(users) => {
                let fits = |member: &&Member| {
                    member.username.as_ref().is_some_and(|name| *name == "ALL" || *name == user)
                        || (user == "root" && member.uid() == Some(0))
                };
                users.iter().rev().find(fits).is_some_and(|member| !member.negated)
            }
        };
        let as_group = rule.run_as.group.as_ref().is_none_or(|wanted| {
            let fits = |name: &str| name == "ALL" || name == wanted.as_str();
            self.run_as_group.iter().any(|m| !m.negated && m.unix_group().is_some_and(fits))
        });
        as_user && as_group
    }

    fn says(&self, wanted: impl Fn(&Opt) -> Option<bool>) -> Option<bool> {
        self.options.iter().rev().find_map(wanted)
    }
}

impl Case<'_> {
    fn hear(&mut self, text: &str, negated: bool, commands: &Commands) {
        match (negated, covers(text, &self.command)) {
            (true, true) => self.state = State::Denied,
            (true, false) => {
                if let State::Allowed { without, .. } = &mut self.state
                    && covers(&self.command, text)
                {
                    *without = Some(text.to_owned());
                }
            }
            (false, true) => {
                let asks = commands.says(|option| option.authenticate).unwrap_or(true);
                let noexec = commands.says(|option| option.noexec).unwrap_or(false);
                self.state = State::Allowed { asks, noexec, without: None };
            }
            (false, false) => {}
        }
    }

    fn otherwise(&self) -> Option<Otherwise> {
        let how = match &self.state {
            State::Unheard => How::Missing,
            State::Denied => How::Denied,
            State::Allowed { asks, .. } if self.asks && !asks => How::NoPassword,
            State::Allowed { noexec, .. } if self.noexec && !noexec => How::Exec,
            State::Allowed { without: Some(part), .. } => How::PartlyDenied(part.clone()),
            State::Allowed { asks, .. } if !self.asks && *asks => How::Password,
            State::Allowed { .. } => return None,
        };
        let run_as = self.rule.run_as.user.to_string();
        Some(Otherwise { how, command: self.command.clone(), run_as })
    }
}

/// A command of ours as cvtsudoers writes it.
pub fn words(command: &SudoCommand) -> String {
    match command {
        SudoCommand::All => "ALL".to_owned(),
        SudoCommand::Program(path, arguments) => match arguments {
            Arguments::Any => path.to_string(),
            Arguments::None => format!("{path} \"\""),
            Arguments::Exactly(words) => {
                words.iter().fold(path.to_string(), |all, word| format!("{all} {word}"))
            }
        },
    }
}

/// Says whether whatever fits the one command fits the other.
pub fn covers(one: &str, other: &str) -> bool {
    if one == "ALL" || one == other {
        return true;
    }
    let program = other.split(' ').next().unwrap_or_default();
    let directory = program.rsplit_once('/').map(|(directory, _)| directory);
    one == program || (one.ends_with('/') && one.strip_suffix('/') == directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(command: &str, password: SudoPassword) -> SudoRule {
        SudoRule {
            run_as: muster_proto::sudo::RunAs {
                user: muster_proto::sudo::RunAsUser::parse("root").unwrap(),
                group: None,
            },
            commands: vec![SudoCommand::parse(command).unwrap()],
            password,
            noexec: false,
            directory: None,
        }
    }

    /// One rule as cvtsudoers tells it: who, options, and a command, `!` before it if negated.
    fn spec(who: &str, options: &str, command: &str) -> String {
        let negated = command.starts_with('!');
        let command = command.trim_start_matches('!');
        format!(
            r#"{{"User_List": [{who}], "Host_List": [{{"hostname": "ALL"}}], "Cmnd_Specs": [
            {{"runasusers": [{{"username": "root"}}], "Options": [{options}],
            "Commands": [{{"command": "{command}", "negated": {negated}}}]}}]}}"#
        )
    }

    /// What is said of ana, who may run this by ours, after these specs.
    fn said(command: &str, password: SudoPassword, specs: &[String]) -> Vec<String> {
        let (ana, rule) = (Login::parse("ana").unwrap(), rule(command, password));
        let mut person = Person::new(Some(1_001));
        person.unix_groups.insert("ops", 1_100);
        person.rules.push(&rule);
        let answer = format!(r#"{{"User_Specs": [{}]}}"#, specs.join(","));
        let found = weigh(&answer, &BTreeMap::from([(&ana, person)])).unwrap();
        found.into_values().flatten().map(|one| one.to_string()).collect()
    }

    const ANA: &str = r#"{"username": "ana"}"#;
    const ASKS: &str = r#"{"authenticate": true}"#;
    const NO_PASSWORD: &str = r#"{"authenticate": false}"#;

    fn of_id(others: &[String]) -> Vec<String> {
        let ours = spec(ANA, ASKS, "/usr/bin/id");
        said("/usr/bin/id", SudoPassword::Required, &[&[ours][..], others].concat())
    }

    #[test]
    fn what_a_later_rule_takes_away_or_widens_is_seen_whomever_it_names() {
        assert_eq!(of_id(&[]), [""; 0]);
        let whos = [
            ANA,
            r#"{"username": "ALL"}"#,
            r#"{"userid": 1001}"#,
            r#"{"usergroup": "ops"}"#,
            r#"{"usergid": 1100}"#,
        ];
        for who in whos {
            for command in ["!/usr/bin/id", "!ALL", "!/usr/bin/"] {
                let told = of_id(&[spec(who, "", command)]);
                assert_eq!(told, ["/usr/bin/id as root: a later rule takes it away"], "{who}");
            }
            let told = of_id(&[spec(who, NO_PASSWORD, "ALL")]);
            assert_eq!(told, ["/usr/bin/id as root: a later rule asks for no password"], "{who}");
        }
    }

    #[test]
    fn what_is_about_somebody_or_something_else_or_comes_earlier_is_nothing() {
        for who in [
            r#"{"username": "bob"}"#,
            r#"{"username": "ALL"}, {"username": "ana", "negated": true}"#,
            r#"{"usergroup": "dba"}"#,
            r#"{"netgroup": "ops"}"#,
        ] {
            assert_eq!(of_id(&[spec(who, "", "!ALL")]), [""; 0], "{who}");
        }
        assert_eq!(of_id(&[spec(ANA, "", "!/usr/bin/idle")]), [""; 0]);
        let elsewhere = spec(ANA, "", "!ALL").replace(r#""hostname": "ALL""#, r#""hostname": "x""#);
        assert_eq!(of_id(&[elsewhere]), [""; 0]);
        let as_other = spec(ANA, "", "!ALL").replace(r#""username": "root""#, r#""username": "x""#);
        assert_eq!(of_id(&[as_other]), [""; 0]);
        let (before, ours) = (spec(ANA, "", "!ALL"), spec(ANA, ASKS, "/usr/bin/id"));
        assert_eq!(said("/usr/bin/id", SudoPassword::Required, &[before, ours]), [""; 0]);
    }

    #[test]
    fn a_part_that_is_taken_away_a_password_and_a_rule_that_is_not_read_are_seen() {
        let all = |others: &[String]| {
            let ours = spec(ANA, NO_PASSWORD, "ALL");
            said("ALL", SudoPassword::None, &[&[ours][..], others].concat())
        };
        assert_eq!(all(&[]), [""; 0]);
        let part = all(&[spec(ANA, "", "!/bin/sh")]);
        assert_eq!(part, ["ALL as root: a later rule takes `/bin/sh` away"]);
        let asks = all(&[spec(r#"{"usergroup": "ops"}"#, "", "ALL")]);
        assert_eq!(asks, ["ALL as root: a later rule asks for a password"]);
        let missing = said("/usr/bin/id", SudoPassword::Required, &[]);
        assert_eq!(missing, ["/usr/bin/id as root: no rule that sudo reads gives it"]);
    }
}
