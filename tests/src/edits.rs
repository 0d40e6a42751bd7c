//! What people do to hosts by hand, in an order that a seed gives, and what of it has to be told:
//! each thing once. A thing is done to an account no more than once, so that nothing is a fight.

use std::{
    collections::BTreeMap,
    fmt::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::{Fleet, Person, wait};

/// How long it may take until something is told.
const SOON: Duration = Duration::from_secs(30);

/// What may be done to an account by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// Another shell, by usermod.
    Shell,
    /// Another name, by usermod.
    Name,
    /// A password, by chpasswd.
    Password,
    /// One more key, by appending to the file.
    Key,
    /// A member of `sudo`, by gpasswd.
    Member,
    /// An account that nobody granted, by useradd.
    Stranger,
}

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Root, in a unit.
    Unit,
    /// Somebody who logged in, with sudo.
    Sudo,
}

/// Something that is done by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// On which host.
    pub host: String,
    /// To whom.
    pub login: String,
    /// What.
    pub deed: Deed,
    /// Who does it.
    pub way: Way,
}

/// What has to be told: host, kind, subject, place and response.
type Line = [String; 5];

/// People and hosts, and what was done.
#[derive(Debug)]
pub struct Edits<'a> {
    fleet: &'a Fleet,
    editor: Person,
    expected: BTreeMap<Line, u32>,
    uids: u32,
}

impl Deed {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Shell, Self::Name, Self::Password, Self::Key, Self::Member, Self::Stranger];

    const fn is_repaired(self) -> bool {
        !matches!(self, Self::Member | Self::Stranger)
    }
}

impl<'a> Edits<'a> {
    /// Gives these people accounts on all hosts that carry a label, and `editor` all of sudo.
    pub fn begin(
        fleet: &'a Fleet,
        label: &str,
        people: &[String],
        editor: &str,
    ) -> anyhow::Result<Self> {
        let editor = fleet.person(editor)?;
        let Person { login, key } = &editor;
        let mut yaml = format!("groups: {{{login}-group: {{}}}}\nusers:\n");
        writeln!(yaml, "  {login}: {{keys: [\"{}\"]}}", key.public)?;
        for person in people {
            writeln!(yaml, "  {person}: {{groups: [{login}-group], keys: [\"{}\"]}}", key.public)?;
        }
        write!(
            yaml,
            "roles:\n  {login}-guest: {{sudo: [{{commands: [/usr/bin/id]}}]}}\n  \
             {login}-admin: {{sudo: [{{commands: [ALL]}}]}}\n\
             assignments:\n  \
             {login}-guests: {{group: {login}-group, role: {login}-guest, hosts: \"{label}\"}}\n  \
             {login}-admin: {{user: {login}, role: {login}-admin, hosts: \"{label}\"}}\n"
        )?;
        fleet.apply_ok(&yaml)?;
        Ok(Self { fleet, editor, expected: BTreeMap::new(), uids: 1_900 })
    }

    /// Returns every deed for each of these people on each host, in the order that a seed gives.
    pub fn shuffled(hosts: &[&str], people: &[String], seed: u64) -> Vec<Edit> {
        let mut random = Random(seed | 1);
        let mut edits = Vec::new();
        for host in hosts {
            for login in people {
                for deed in Deed::ALL {
                    let way = if random.below(2) == 0 { Way::Unit } else { Way::Sudo };
                    let (host, login) = ((*host).to_owned(), login.clone());
                    edits.push(Edit { host, login, deed, way });
                }
            }
        }
        for at in (1..edits.len()).rev() {
            edits.swap(at, random.below(at + 1));
        }
        edits
    }

    /// Does something, and returns what has to be told of it.
    pub fn make(&mut self, edit: &Edit) -> anyhow::Result<Line> {
        let Edit { login, deed, .. } = edit;
        self.uids += 1;
        let command = match deed {
            Deed::Shell => format!("usermod --shell /bin/sh {login}"),
            Deed::Name => format!("usermod --comment By.Hand {login}"),
            Deed::Password => format!("echo {login}:by-hand-{} | chpasswd", self.uids),
            Deed::Key => {
                format!("echo 'ssh-ed25519 AAAA by-hand' >> /etc/ssh/muster-keys/{login}")
            }
            Deed::Member => format!("gpasswd --add {login} sudo"),
            Deed::Stranger => {
                format!("useradd --uid {} --no-create-home --shell /bin/bash by-{login}", self.uids)
            }
        };
        self.run(edit, &command)?;
        let response = if deed.is_repaired() { "repaired" } else { "reported" };
        Ok(self.expect(edit, response))
    }

    /// Takes back what is not put right by itself; nothing where there is nothing to take back.
    pub fn undo(&mut self, edit: &Edit) -> anyhow::Result<Option<Line>> {
        let login = &edit.login;
        let command = match edit.deed {
            Deed::Member => format!("gpasswd --delete {login} sudo"),
            Deed::Stranger => format!("userdel by-{login}"),
            _ => return Ok(None),
        };
        self.run(edit, &command)?;
        Ok(Some(self.expect(edit, "gone")))
    }

    fn run(&self, edit: &Edit, command: &str) -> anyhow::Result<()> {
        match edit.way {
            Way::Unit => {
                let output = self.fleet.host(&edit.host).run_unit(&[], &["sh", "-c", command])?;
                ensure!(output.success(), "{edit:?}: {output}");
            }
            Way::Sudo => {
                let command = format!("sudo sh -c '{}'", command.replace('\'', "'\\''"));
                self.fleet.ssh(&edit.host, &self.editor).command(&command).run_ok()?;
            }
        }
        Ok(())
    }

    fn expect(&mut self, edit: &Edit, response: &str) -> Line {
        let login = edit.login.as_str();
        let stranger = format!("by-{login}");
        let (kind, subject, place) = match edit.deed {
            Deed::Shell => ("account-changed", login, "shell"),
            Deed::Name => ("account-changed", login, "name"),
            Deed::Password => ("account-changed", login, "password"),
            Deed::Key => ("keys-changed", login, ""),
            Deed::Member => ("member-ungranted", login, "sudo"),
            Deed::Stranger => ("account-new", stranger.as_str(), ""),
        };
        let line = [edit.host.as_str(), kind, subject, place, response].map(str::to_owned);
        *self.expected.entry(line.clone()).or_default() += 1;
        line
    }

    /// Waits until something is told, and returns it and how long that took.
    pub fn await_told(&self, line: &Line) -> anyhow::Result<(Value, Duration)> {
        let started = Instant::now();
        let [_, kind, subject, ..] = line;
        let mut last = Vec::new();
        let found = wait::until(SOON, &format!("{line:?} to be told"), || {
            last = self.told(&["--kind", kind, "--subject", subject]).ok()?;
            last.iter().find(|told| line_of(told) == *line).cloned()
        });
        let found = found.with_context(|| format!("told so far: {last:?}"))?;
        Ok((found, started.elapsed()))
    }

    /// Fails unless all that was to be told is told, and nothing twice.
    pub fn check(&self, people: &[String]) -> anyhow::Result<()> {
        let mut told: BTreeMap<Line, u32> = BTreeMap::new();
        for person in people {
            for subject in [person.clone(), format!("by-{person}")] {
                for one in self.told(&["--subject", &subject])? {
                    *told.entry(line_of(&one)).or_default() += 1;
                }
            }
        }
        if told != self.expected {
            let missing: Vec<_> =
                self.expected.iter().filter(|(line, _)| !told.contains_key(*line)).collect();
            let other: Vec<_> = told
                .iter()
                .filter(|(line, count)| self.expected.get(*line) != Some(count))
                .collect();
            bail!("missing: {missing:?}; told besides or not once: {other:?}");
        }
        Ok(())
    }

    /// Returns how much was to be told.
    pub fn expected(&self) -> u32 {
        self.expected.values().sum()
    }

    fn told(&self, words: &[&str]) -> anyhow::Result<Vec<Value>> {
        let words = [&["drift", "list", "--all", "--output", "json"], words].concat();
        let output = self.fleet.muster(&words)?;
        let all: Value =
            serde_json::from_str(&output.stdout).with_context(|| output.to_string())?;
        all.as_array().cloned().context("no list")
    }
}

fn line_of(told: &Value) -> Line {
    ["host", "kind", "subject", "place", "response"]
        .map(|field| told.get(field).and_then(Value::as_str).unwrap_or_default().to_owned())
}

/// Numbers that look as if by chance, by a seed (xorshift64).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(most).unwrap_or(1).max(1)).unwrap_or_default()
    }
}
