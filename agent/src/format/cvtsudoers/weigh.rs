//! What sudo makes of rules that are ours once all files are read: the last that fits a command
//! counts (`sudoers(5)`), whosever file it stands in. Weighed are rules for all hosts or for this
//! one by its name, commands that name ours, its directory, a pattern of it or `ALL`, and those
//! `Defaults` by which somebody is asked who she is. Networks, netgroups and regular expressions
//! are not.

use std::{collections::BTreeMap, fmt};

use muster_proto::{
    drift::Severity,
    name::Login,
    sudo::{Arguments, SudoCommand, SudoPassword, SudoRule},
};

use super::{
    Answer, BadRules, Commands, Member, Opt, Spec,
    defaults::{Defaults, Set, last_that_fits},
    named::{halves, is_host, is_program, is_words, touches},
    read,
};

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
    /// Nor is one by `Defaults` for whoever is in this Unix group.
    Exempt(String),
    /// This service of PAM's asks who she is, and not sudo's.
    Service(String),
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
    /// By this setting another password than hers is asked for.
    OtherPassword(&'static str),
}

impl Otherwise {
    /// Says how grave it is.
    pub fn severity(&self) -> Severity {
        match self.how {
            How::NoPassword | How::Exempt(_) | How::Service(_) | How::Exec => Severity::High,
            How::Missing
            | How::Denied
            | How::PartlyDenied(_)
            | How::Password
            | How::OtherPassword(_) => Severity::Medium,
        }
    }
}

impl fmt::Display for Otherwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { how, command, run_as } = self;
        write!(f, "{command} as {run_as}: ")?;
        match how {
            How::NoPassword => f.write_str("a later rule asks for no password"),
            How::Exempt(group) => write!(f, "`exempt_group={group}` asks for no password"),
            How::Service(service) => write!(f, "`pam_service={service}` asks who it is"),
            How::OtherPassword(setting) => write!(f, "`{setting}` asks for another password"),
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
    set: Set,
    state: State,
}

enum State {
    Unheard,
    Allowed { asks: bool, noexec: bool, without: Option<String> },
    Denied,
}

/// Weighs an answer of cvtsudoers for a host of this name.
pub fn weigh<'a>(
    answer: &str,
    people: &BTreeMap<&'a Login, Person<'a>>,
    host: &str,
) -> Result<BTreeMap<&'a Login, Vec<Otherwise>>, BadRules> {
    let answer: Answer = read(answer)?;
    let mut all: BTreeMap<&Login, Vec<Case<'_>>> =
        people.iter().map(|(login, person)| (*login, person.cases())).collect();
    if !answer.defaults.is_empty() {
        for (login, person) in people {
            for case in all.get_mut(login).into_iter().flatten() {
                case.set = person.set((login, host), &case.command, &answer.defaults);
            }
        }
    }
    for spec in answer.specs.iter().filter(|spec| spec.is_for(host)) {
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
                let (set, state) = (Set::default(), State::Unheard);
                cases.push(Case { rule, command, asks, noexec, set, state });
            }
        }
        cases
    }

    /// The last that fits her counts, as everywhere in sudoers.
    pub(super) fn is_meant(&self, login: &Login, spec: &Spec) -> bool {
        last_that_fits(&spec.users, &|member| self.is_named(login, member))
    }

    fn is_named(&self, login: &Login, member: &Member) -> bool {
        let name = member.username.as_deref();
        let unix_group = member.unix_group();
        name == Some("ALL")
            || name == Some(login.as_str())
            || member.uid().is_some_and(|uid| Some(uid) == self.uid)
            || unix_group.is_some_and(|name| self.unix_groups.contains_key(name))
            || member.gid().is_some_and(|gid| self.unix_groups.values().any(|own| *own == gid))
    }

    /// Returns what is set for a command of hers.
    fn set(&self, (login, host): (&Login, &str), command: &str, all: &[Defaults]) -> Set {
        let mut set = Set::of(all, &|member| {
            self.is_named(login, member)
                || member.hostname.as_ref().is_some_and(|name| is_host(name, host))
                || member.command.as_ref().is_some_and(|named| covers(named, command))
        });
        set.exempt = set.exempt.filter(|name| self.unix_groups.contains_key(name.as_str()));
        set
    }
}

impl Spec {
    /// The last that is this host counts, as everywhere in sudoers.
    fn is_for(&self, host: &str) -> bool {
        let mut hosts = self.hosts.iter().rev();
        let last = hosts.find(|one| one.name.as_ref().is_some_and(|name| is_host(name, host)));
        last.map_or(self.hosts.is_empty(), |one| !one.negated)
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
                    && touches(text, &self.command)
                {
                    *without = Some(text.to_owned());
                }
            }
            (false, true) => {
                let asks = commands.says(|option| option.authenticate);
                let asks = asks.or(self.set.authenticate).unwrap_or(true);
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
            State::Allowed { .. } if self.asks && self.set.exempt.is_some() => {
                How::Exempt(self.set.exempt.clone()?)
            }
            State::Allowed { .. } if self.asks && self.set.service.is_some() => {
                How::Service(self.set.service.clone()?)
            }
            State::Allowed { noexec, .. } if self.noexec && !noexec => How::Exec,
            State::Allowed { without: Some(part), .. } => How::PartlyDenied(part.clone()),
            State::Allowed { asks, .. } if !self.asks && *asks => How::Password,
            State::Allowed { .. } if self.asks => How::OtherPassword(self.set.other_password()?),
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
    let ((program, arguments), (own, own_arguments)) = (halves(one), halves(other));
    let all_arguments = match (arguments, own_arguments) {
        (None | Some("*"), _) => true,
        (Some(pattern), Some(exactly)) => is_words(pattern, exactly),
        (Some(_), None) => false,
    };
    all_arguments && is_program(program, own)
}

#[cfg(test)]
mod tests;
