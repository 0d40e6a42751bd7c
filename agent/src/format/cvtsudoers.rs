//! What `cvtsudoers -e -f json` says of all sudo files together: who becomes root by which rule. A
//! part of a rule that takes somebody out again is not weighed, so that nobody is left out who may.

mod defaults;
pub mod explain;
mod named;
pub mod weigh;

use std::{borrow::Cow, fmt};

use serde::Deserialize;

use self::defaults::Defaults;

/// The most commands of a rule that are named.
const NAMED: usize = 3;
/// The most rules that are told.
pub const MOST_RULES: usize = 4_096;

/// A rule by which somebody becomes root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Whom it names.
    pub who: Who,
    /// What it lets them run, in words.
    pub what: String,
}

/// Whom a rule names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Everybody, or somebody by a name that is not looked up here, such as a netgroup.
    Anybody,
    /// By login.
    User(String),
    /// By uid.
    Uid(u32),
    /// By Unix group.
    UnixGroup(String),
    /// By gid.
    Gid(u32),
}

impl Who {
    /// Returns the name of the Unix group that it names, if it does.
    pub fn unix_group(&self) -> Option<&str> {
        if let Self::UnixGroup(name) = self { Some(name) } else { None }
    }

    /// Returns the gid that it names, if it does.
    pub fn gid(&self) -> Option<u32> {
        if let Self::Gid(gid) = self { Some(*gid) } else { None }
    }
}

impl fmt::Display for Who {
    /// As sudoers(5) writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("ALL"),
            Self::User(login) => f.write_str(login),
            Self::Uid(uid) => write!(f, "#{uid}"),
            Self::UnixGroup(name) => write!(f, "%{name}"),
            Self::Gid(gid) => write!(f, "%#{gid}"),
        }
    }
}

/// Why an answer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadRules {
    /// Not what cvtsudoers writes.
    #[error("cvtsudoers does not answer in JSON")]
    Form(#[source] serde_json::Error),
    /// Nobody has so many.
    #[error("there are more than {MOST_RULES} rules")]
    Many,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Defaults", default)]
    defaults: Vec<Defaults>,
    #[serde(rename = "User_Specs", default)]
    specs: Vec<Spec>,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(rename = "User_List", default)]
    users: Vec<Member>,
    #[serde(rename = "Host_List", default)]
    hosts: Vec<Host>,
    #[serde(rename = "Cmnd_Specs", default)]
    commands: Vec<Commands>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Member {
    username: Option<String>,
    userid: Option<serde_json::Value>,
    usergroup: Option<String>,
    usergid: Option<serde_json::Value>,
    // Only where `Defaults` are for some host or command.
    hostname: Option<String>,
    command: Option<String>,
    negated: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Host {
    #[serde(rename = "hostname")]
    name: Option<String>,
    negated: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Opt {
    authenticate: Option<bool>,
    noexec: Option<bool>,
}

#[derive(Deserialize)]
struct Commands {
    #[serde(rename = "runasusers")]
    run_as: Option<Vec<Member>>,
    #[serde(rename = "runasgroups", default)]
    run_as_group: Vec<Member>,
    #[serde(rename = "Options", default)]
    options: Vec<Opt>,
    #[serde(rename = "Commands", default)]
    all: Vec<Command>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Command {
    command: Option<String>,
    negated: bool,
}

/// Reads an answer, with what cvtsudoers complained of around it.
fn read(answer: &str) -> Result<Answer, BadRules> {
    let json = answer.find('{').zip(answer.rfind('}')).and_then(|(from, to)| answer.get(from..=to));
    let lines: Vec<Cow<'_, str>> = json.unwrap_or_default().lines().map(mended).collect();
    serde_json::from_str(&lines.join("\n")).map_err(BadRules::Form)
}

/// Puts around an option the braces that sudo 1.9.13 forgets.
fn mended(line: &str) -> Cow<'_, str> {
    let option = line.trim();
    if !["\"runcwd\":", "\"runchroot\":"].iter().any(|word| option.starts_with(word)) {
        return line.into();
    }
    match option.strip_suffix(',') {
        Some(option) => format!("{{{option}}},").into(),
        None => format!("{{{option}}}").into(),
    }
}

/// Returns who becomes root by which rule.
pub fn parse(answer: &str) -> Result<Vec<Rule>, BadRules> {
    let answer = read(answer)?;
    let mut rules = Vec::new();
    for spec in &answer.specs {
        let what = spec.commands.iter().filter(|commands| commands.as_root());
        for what in what.filter_map(Commands::in_words) {
            for who in spec.users.iter().filter(|member| !member.negated).map(Member::who) {
                rules.push(Rule { who, what: what.clone() });
                if rules.len() > MOST_RULES {
                    return Err(BadRules::Many);
                }
            }
        }
    }
    rules.sort();
    rules.dedup();
    Ok(rules)
}

impl Member {
    fn who(&self) -> Who {
        if let Some(login) = self.username.as_ref().filter(|login| *login != "ALL") {
            Who::User(login.clone())
        } else if let Some(name) = self.unix_group() {
            Who::UnixGroup(name.to_owned())
        } else if let Some(uid) = self.uid() {
            Who::Uid(uid)
        } else if let Some(gid) = self.gid() {
            Who::Gid(gid)
        } else {
            Who::Anybody
        }
    }

    fn unix_group(&self) -> Option<&str> {
        self.usergroup.as_deref().map(|name| name.trim_start_matches('%'))
    }

    fn uid(&self) -> Option<u32> {
        self.userid.as_ref().and_then(number)
    }

    fn gid(&self) -> Option<u32> {
        self.usergid.as_ref().and_then(number)
    }

    /// What is not a name of somebody else may be root.
    fn is_root(&self) -> bool {
        match self.who() {
            Who::User(login) => login == "root",
            Who::Uid(uid) => uid == 0,
            Who::Anybody | Who::UnixGroup(_) | Who::Gid(_) => true,
        }
    }
}

fn number(value: &serde_json::Value) -> Option<u32> {
    let text = value.as_str().map(|text| text.trim_start_matches('#').to_owned());
    text.unwrap_or_else(|| value.to_string()).parse().ok()
}

impl Commands {
    /// Without a user to run as it is root, unless only a Unix group is named.
    fn as_root(&self) -> bool {
        match &self.run_as {
            Some(users) => users.iter().any(|user| !user.negated && user.is_root()),
            None => self.run_as_group.is_empty(),
        }
    }

    fn in_words(&self) -> Option<String> {
        let all: Vec<&str> = self
            .all
            .iter()
            .filter(|command| !command.negated)
            .map(|command| command.command.as_deref().unwrap_or("some command"))
            .collect();
        let (named, rest) = all.split_at(all.len().min(NAMED));
        let more =
            if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        (!named.is_empty()).then(|| format!("{}{more}", named.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(answer: &str) -> Vec<(Who, String)> {
        parse(answer).unwrap().into_iter().map(|rule| (rule.who, rule.what)).collect()
    }

    fn user(login: &str) -> Who {
        Who::User(login.to_owned())
    }

    #[test]
    fn everybody_is_found_who_becomes_root_by_a_rule_and_nobody_else() {
        let answer = r##"cvtsudoers: /etc/sudoers:3:1: unknown defaults entry
            {"Defaults": [], "User_Specs": [
            {"User_List": [{"username": "ann"}, {"usergroup": "wheel"}, {"userid": 7}, {"usergid": "8"}],
             "Host_List": [{"hostname": "ALL"}],
             "Cmnd_Specs": [{"runasusers": [{"username": "ALL"}], "Options": [{"authenticate": false}],
                             "Commands": [{"command": "ALL"}]}]},
            {"User_List": [{"username": "bob"}], "Cmnd_Specs": [
             {"runasusers": [{"username": "postgres"}], "Commands": [{"command": "/usr/bin/psql"}]}]},
            {"User_List": [{"username": "cid"}], "Cmnd_Specs": [{"Commands": [{"command": "/a"},
             {"command": "/b"}, {"command": "/no", "negated": true}, {"command": "/c"}, {"command": "/d"}]}]},
            {"User_List": [{"username": "dot"}], "Cmnd_Specs": [{"runasusers": [{"userid": "#0"}],
             "Commands": [{"command": "/a"}]}]},
            {"User_List": [{"username": "eve"}], "Cmnd_Specs": [{"runasgroups": [{"usergroup": "adm"}],
             "Commands": [{"command": "/a"}]}]},
            {"User_List": [{"username": "ALL"}, {"username": "fay", "negated": true}],
             "Cmnd_Specs": [{"Commands": [{"command": "/z"}]}]}]}"##;
        assert_eq!(
            who(answer),
            [
                (Who::Anybody, "/z".to_owned()),
                (user("ann"), "ALL".to_owned()),
                (user("cid"), "/a, /b, /c and 1 more".to_owned()),
                (user("dot"), "/a".to_owned()),
                (Who::Uid(7), "ALL".to_owned()),
                (Who::UnixGroup("wheel".to_owned()), "ALL".to_owned()),
                (Who::Gid(8), "ALL".to_owned()),
            ]
        );
    }

    #[test]
    fn options_without_the_braces_that_they_should_have_are_read() {
        for option in ["\"runcwd\": \"/srv\"", "\"runchroot\": \"/srv\""] {
            for (before, after) in [("", ",\n{\"noexec\": true}"), ("{\"setenv\": true},\n", "")] {
                let answer = format!(
                    "{{\"User_Specs\": [{{\"User_List\": [{{\"username\": \"ann\"}}], \"Cmnd_Specs\": \
                     [{{\"Options\": [\n{before}  {option}{after}\n], \
                     \"Commands\": [{{\"command\": \"ALL\"}}]}}]}}]}}"
                );
                assert_eq!(who(&answer), [(user("ann"), "ALL".to_owned())]);
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_no_rule_less() {
        assert!(parse("").is_err());
        assert!(parse("cvtsudoers: unable to open /etc/sudoers").is_err());
        assert_eq!(who("{}"), []);
    }

    #[test]
    fn rules_are_read_up_to_the_bound() {
        let answer = |count: usize| {
            let users: Vec<String> =
                (0..count).map(|n| format!("{{\"username\": \"u{n}\"}}")).collect();
            format!(
                r#"{{"User_Specs": [{{"User_List": [{}], "Cmnd_Specs": [{{"Commands": [{{"command": "ALL"}}]}}]}}]}}"#,
                users.join(",")
            )
        };
        assert_eq!(who(&answer(MOST_RULES)).len(), MOST_RULES);
        assert!(matches!(parse(&answer(MOST_RULES + 1)), Err(BadRules::Many)));
    }
}
