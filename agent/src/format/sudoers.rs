//! The sudo file of one role, from typed rules: one line per rule and user, only what sudo and
//! sudo-rs both understand. The last match wins, so stricter rules come first and laxer ones last;
//! across files too: where a role is stricter than one whose file is read before, it repeats the
//! laxer rule at its end.

pub mod included;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use muster_proto::{
    name::{Login, ObjectName},
    sudo::{Arguments, SudoCommand, SudoPassword, SudoRule},
};

/// The directory of the files.
pub const DIRECTORY: &str = "/etc/sudoers.d";
/// What the names of our files begin with.
pub const PREFIX: &str = "50-muster-";
const HEAD: &str = "# Written by Muster; changes made here are taken back.\n";

/// All rules: of each role, by rule, the users.
pub type Rules<'a> = BTreeMap<&'a ObjectName, BTreeMap<&'a SudoRule, BTreeSet<&'a Login>>>;

/// Returns the name of a role's file: no dot, no `~`, since sudo skips such files.
pub fn file_name(role: &ObjectName) -> String {
    format!("{PREFIX}{role}")
}

/// Returns the files, by name.
pub fn render(rules: &Rules<'_>) -> BTreeMap<String, String> {
    let mut before: BTreeMap<&Login, BTreeSet<&SudoRule>> = BTreeMap::new();
    let mut files = BTreeMap::new();
    for (role, own) in rules {
        let mut lines: BTreeSet<(Laxness, &SudoRule, &Login)> = BTreeSet::new();
        for (&rule, logins) in own {
            for &login in logins {
                lines.insert((laxness(rule), rule, login));
                let earlier = before.get(login).into_iter().flatten().copied();
                let laxer = earlier.filter(|earlier| laxness(earlier) > laxness(rule));
                lines.extend(laxer.map(|earlier| (laxness(earlier), earlier, login)));
            }
        }
        for (rule, logins) in own {
            for login in logins {
                before.entry(login).or_default().insert(rule);
            }
        }
        if lines.is_empty() {
            continue;
        }
        let mut text = String::from(HEAD);
        for (_, rule, login) in lines {
            push_line(&mut text, login, rule);
        }
        files.insert(file_name(role), text);
    }
    files
}

/// Keeps in a file what it says of these users, whatever else it is to say: in sudo no user's lines
/// come before or after another's.
pub fn keep_lines(
    files: &mut BTreeMap<String, String>,
    name: &str,
    present: &[u8],
    logins: &BTreeSet<&Login>,
) {
    let present = String::from_utf8_lossy(present);
    let is_kept = |line: &&str| {
        let user = line.split(' ').next();
        logins.iter().any(|login| user == Some(login.as_str()))
    };
    for line in present.lines().filter(is_kept) {
        let text = files.entry(name.to_owned()).or_insert_with(|| HEAD.to_owned());
        text.push_str(line);
        text.push('\n');
    }
}

/// Returns the part of `wanted` that `present` holds already, or nothing if there is no rule in it.
pub fn common(present: &[u8], wanted: &str) -> Option<String> {
    super::shared_lines(present, HEAD, wanted)
}

/// Stricter rules come first: a password, then no further programs, then a fixed directory.
type Laxness = (bool, bool, bool);

fn laxness(rule: &SudoRule) -> Laxness {
    (rule.password == SudoPassword::None, !rule.noexec, rule.directory.is_none())
}

fn push_line(text: &mut String, login: &Login, rule: &SudoRule) {
    push(text, format_args!("{login} ALL=({}", rule.run_as.user));
    if let Some(group) = &rule.run_as.group {
        push(text, format_args!(":{group}"));
    }
    text.push_str(") ");
    if let Some(directory) = &rule.directory {
        push(text, format_args!("CWD={directory} "));
    }
    text.push_str(match rule.password {
        SudoPassword::None => "NOPASSWD: ",
        SudoPassword::Required => "PASSWD: ",
    });
    if rule.noexec {
        text.push_str("NOEXEC: ");
    }
    for (at, command) in rule.commands.iter().enumerate() {
        text.push_str(if at == 0 { "" } else { ", " });
        push_command(text, command);
    }
    text.push('\n');
}

fn push_command(text: &mut String, command: &SudoCommand) {
    match command {
        SudoCommand::All => text.push_str("ALL"),
        SudoCommand::Program(path, arguments) => {
            escape(text, path.as_str());
            match arguments {
                Arguments::Any => {}
                Arguments::None => text.push_str(" \"\""),
                Arguments::Exactly(words) => {
                    for word in words {
                        text.push(' ');
                        escape(text, word);
                    }
                }
            }
        }
    }
}

/// sudoers(5): `,`, `:`, `=` and `\` must be escaped in commands.
fn escape(text: &mut String, word: &str) {
    for c in word.chars() {
        if matches!(c, ',' | ':' | '=' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(arguments);
}
