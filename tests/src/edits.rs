//! What people do to hosts by hand, in an order that a seed gives, and what of it has to be told:
//! each thing once. A thing is done to an account no more than once, so that nothing is a fight and
//! nothing is folded into another.

mod deed;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::Value;

pub use self::deed::Deed;
use self::deed::Trace;
use crate::{Fleet, Person, wait};

/// How long it may take until something is told or put right.
const SOON: Duration = Duration::from_secs(30);

/// At some time within this many milliseconds since an edit began an agent is killed: it has not
/// seen it yet, or is about to repair it, or has told it.
const KILLED_WITHIN: usize = 400;

/// The uid of the first stranger.
const STRANGERS: u32 = 20_000;

/// Who does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Root, in a unit.
    Unit,
    /// Somebody who logged in, with sudo.
    Sudo,
}

/// Whether something is done or taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is done.
    Done,
    /// It is taken back.
    Undone,
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
    /// Whether it is done or taken back.
    pub turn: Turn,
    /// Who does it.
    pub way: Way,
    /// Unlike that of any other.
    number: u32,
}

/// Who is away while something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    /// Nobody: each edit is told before the next on the same host.
    Nobody,
    /// The controller. The agents put right what is theirs all the same.
    Controller,
    /// The agents.
    Agent,
    /// The agents, for a moment: both processes of one are killed at some time about each edit, and
    /// started again.
    Killed,
}

/// What has to be told: host, kind, subject, place and response.
type Line = [String; 5];

/// How long something took, from right before the tool was started that did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took {
    /// Until it was put right; nothing where it is only told.
    pub repaired: Option<Duration>,
    /// Until the controller told it when asked; nothing if that was not asked at once.
    pub stored: Option<Duration>,
}

/// Who is on which hosts.
#[derive(Debug, Clone, Copy)]
pub struct Cast<'a> {
    /// The hosts.
    pub hosts: &'a [&'a str],
    /// Whoever has access.
    pub people: &'a [String],
    /// Whoever had access.
    pub leavers: &'a [String],
    /// Who does what is done with sudo.
    pub editor: &'a str,
}

/// People and hosts, and what was done.
#[derive(Debug)]
pub struct Edits<'a> {
    fleet: &'a Fleet,
    cast: Cast<'a>,
    editor: Person,
    /// What was told before anything was done.
    before: BTreeMap<Line, u32>,
    expected: BTreeMap<Line, u32>,
    random: Random,
}

impl<'a> Edits<'a> {
    /// Gives people accounts on all hosts that carry a label, takes those of the leavers away again,
    /// and gives the editor all of sudo.
    pub fn begin(fleet: &'a Fleet, label: &str, cast: Cast<'a>, seed: u64) -> anyhow::Result<Self> {
        let editor = fleet.person(cast.editor)?;
        let Person { login, key } = &editor;
        let leavers = format!("{login}-leavers");
        let mut users = format!("  {login}: {{keys: [\"{}\"]}}\n", key.public);
        let mut roles = format!(
            "  {login}: {{sudo: [{{commands: [ALL]}}]}}\n  \
             {leavers}: {{sudo: [{{commands: [/usr/bin/id]}}]}}\n"
        );
        let mut assignments = format!(
            "  {login}: {{user: {login}, role: {login}, hosts: \"{label}\"}}\n  \
             {leavers}: {{group: {leavers}, role: {leavers}, hosts: \"{label}\"}}\n"
        );
        for one in cast.people {
            writeln!(users, "  {one}: {{keys: [\"{}\"]}}", key.public)?;
            writeln!(
                roles,
                "  {one}: {{unix_groups: {{at_least: [audio]}}, \
                 sudo: [{{commands: [/usr/bin/id]}}]}}"
            )?;
            writeln!(assignments, "  {one}: {{user: {one}, role: {one}, hosts: \"{label}\"}}")?;
        }
        for one in cast.leavers {
            writeln!(users, "  {one}: {{groups: [{leavers}], keys: [\"{}\"]}}", key.public)?;
        }
        fleet.apply_ok(&format!(
            "groups: {{{leavers}: {{}}}}\nusers:\n{users}roles:\n{roles}assignments:\n{assignments}"
        ))?;
        fleet.muster_ok(&["revoke", "assignment", &leavers, "--yes"])?;
        let mut edits = Self {
            fleet,
            cast,
            editor,
            before: BTreeMap::new(),
            expected: BTreeMap::new(),
            random: Random(seed | 1),
        };
        edits.before = edits.all_told()?;
        Ok(edits)
    }

    /// Returns everything that can be done to everybody on each host, in the order that the seed
    /// gives.
    pub fn shuffled(&mut self) -> Vec<Edit> {
        let Cast { hosts, people, leavers, .. } = self.cast;
        let sshd = ["sshd".to_owned()];
        let mut edits = Vec::new();
        for host in hosts {
            for (logins, things) in [
                (people, Deed::TO_PEOPLE),
                (leavers, Deed::TO_LEAVERS),
                (sshd.as_slice(), Deed::TO_HOSTS),
            ] {
                for (login, deeds) in
                    logins.iter().flat_map(|login| things.iter().map(move |deeds| (login, deeds)))
                {
                    let Some(&deed) = deeds.get(self.random.below(deeds.len())) else { continue };
                    let way = if self.random.below(2) == 0 { Way::Unit } else { Way::Sudo };
                    let (host, login) = ((*host).to_owned(), login.clone());
                    let number = STRANGERS + u32::try_from(edits.len()).unwrap_or_default();
                    edits.push(Edit { host, login, deed, turn: Turn::Done, way, number });
                }
            }
        }
        self.random.shuffle(&mut edits);
        edits
    }

    /// Makes edits, each host's one after the other and all hosts at the same time, and waits until
    /// all that has to be told is told. Returns how long each took.
    pub fn make(&mut self, edits: &[Edit], away: Away) -> anyhow::Result<Vec<Took>> {
        match away {
            Away::Nobody | Away::Killed => {}
            Away::Controller => {
                self.fleet.controller().run_ok(&["systemctl", "stop", "muster"])?;
            }
            Away::Agent => {
                for host in self.cast.hosts {
                    self.fleet.host(host).run_ok(&["systemctl", "stop", "muster-agent"])?;
                }
            }
        }
        let this: &Self = self;
        let of_host = |host: &str| -> anyhow::Result<Vec<Took>> {
            let own = edits.iter().filter(|edit| edit.host == host);
            own.map(|edit| {
                this.make_one(edit, away).with_context(|| {
                    let journals = this.journals(host).unwrap_or_default();
                    format!("{edit:?}, away: {away:?}\n{journals}")
                })
            })
            .collect()
        };
        let took = thread::scope(|scope| {
            let hosts: Vec<_> =
                self.cast.hosts.iter().map(|host| scope.spawn(|| of_host(host))).collect();
            let took: Vec<_> = hosts
                .into_iter()
                .map(|host| host.join().unwrap_or_else(|_| Err(anyhow!("the edits panicked"))))
                .collect();
            took.into_iter().collect::<anyhow::Result<Vec<_>>>()
        })?;
        for edit in edits {
            *self.expected.entry(edit.line()).or_default() += 1;
        }
        if away != Away::Nobody {
            self.fleet.settle()?;
            self.await_told(edits)?;
        }
        Ok(took.into_iter().flatten().collect())
    }

    /// Returns what it takes to undo these edits, in another order. What is put right by itself needs
    /// nothing.
    pub fn undoing(&mut self, edits: &[Edit]) -> Vec<Edit> {
        let is_left =
            |edit: &&Edit| edit.turn == Turn::Done && edit.deed.undoing(&edit.login).is_some();
        let left = edits.iter().filter(is_left).cloned();
        let mut undoing: Vec<Edit> = left.map(|edit| Edit { turn: Turn::Undone, ..edit }).collect();
        self.random.shuffle(&mut undoing);
        undoing
    }

    /// Mixes edits by the seed.
    pub fn shuffle(&mut self, edits: &mut [Edit]) {
        self.random.shuffle(edits);
    }

    /// Fails unless all that was to be told is told once, and nothing else.
    pub fn check(&self) -> anyhow::Result<()> {
        let mut told = self.all_told()?;
        for (line, before) in &self.before {
            if let Some(count) = told.get_mut(line) {
                *count = count.saturating_sub(*before);
            }
        }
        told.retain(|_, count| *count > 0);
        if told != self.expected {
            let missing: Vec<_> =
                self.expected.iter().filter(|(line, _)| !told.contains_key(*line)).collect();
            let other: Vec<_> = told
                .iter()
                .filter(|(line, count)| self.expected.get(*line) != Some(count))
                .collect();
            let details: Vec<String> =
                other.iter().map(|(line, _)| self.details(line)).collect::<anyhow::Result<_>>()?;
            let details = details.join("\n");
            bail!("missing: {missing:?}; told besides or not once: {other:?}\n{details}");
        }
        Ok(())
    }

    /// Returns all that was told of one thing, and what its host's agent could not do.
    fn details(&self, [host, kind, subject, ..]: &Line) -> anyhow::Result<String> {
        let words = ["drift", "list", "--all", "--output", "json"];
        let about = ["--host", host, "--kind", kind, "--subject", subject];
        let told = self.fleet.muster(&[&words[..], &about].concat())?.stdout;
        let journal = ["journalctl", "--quiet", "--no-pager", "--unit", "muster-agent*"];
        let journal = self.fleet.host(host).run_ok(&journal)?;
        let faults: Vec<&str> = journal
            .lines()
            .filter(|line| line.contains("ERROR") || line.contains("WARN"))
            .collect();
        Ok(format!("{told}\nthe agent of {host}:\n{}", faults.join("\n")))
    }

    /// Returns who does what is done with sudo.
    pub fn editor(&self) -> &Person {
        &self.editor
    }

    /// Returns how much was to be told.
    pub fn expected(&self) -> u32 {
        self.expected.values().sum()
    }

    fn make_one(&self, edit: &Edit, away: Away) -> anyhow::Result<Took> {
        let Edit { login, deed, .. } = edit;
        let host = self.fleet.host(&edit.host);
        let trace = match edit.turn {
            Turn::Done => deed.trace(login, edit.number),
            Turn::Undone => Trace::None,
        };
        let before = trace.look(host, login)?;
        let began = match away {
            Away::Killed => self.run_and_kill(edit)?,
            Away::Nobody | Away::Controller | Away::Agent => self.run(edit)?,
        };
        let is_repaired = !matches!(trace, Trace::None) && away != Away::Agent;
        let repaired = if is_repaired {
            let mut last = None;
            wait::until(SOON, "it to be put right", || {
                last = trace.look(host, login).ok()?;
                (last == before).then_some(())
            })
            .with_context(|| format!("{before:?} before, {last:?} now"))?;
            Some(since_epoch()?.saturating_sub(began))
        } else {
            None
        };
        if away != Away::Nobody {
            return Ok(Took { repaired, stored: None });
        }
        let line = edit.line();
        let [name, kind, subject, ..] = &line;
        let mut last = BTreeMap::new();
        let words = ["--host", name, "--kind", kind, "--subject", subject];
        wait::until(SOON, &format!("{line:?} to be told"), || {
            last = self.told(&words).ok()?;
            (last.get(&line).unwrap_or(&0) > self.told_before(&line)).then_some(())
        })
        .with_context(|| format!("told so far: {last:?}"))?;
        Ok(Took { repaired, stored: Some(since_epoch()?.saturating_sub(began)) })
    }

    /// Runs an edit's command, and kills the agent meanwhile or soon after.
    fn run_and_kill(&self, edit: &Edit) -> anyhow::Result<Duration> {
        let host = self.fleet.host(&edit.host);
        let moment =
            Random(self.random.0.wrapping_add(edit.number.into()) | 1).below(KILLED_WITHIN);
        let units = ["muster-agent", "muster-agent-courier"];
        let processes = || -> anyhow::Result<BTreeSet<String>> {
            let show = ["systemctl", "show", "--property", "MainPID", "--value"];
            let said = host.run_ok(&[&show[..], &units].concat())?;
            let running = said.split_whitespace().filter(|process| *process != "0");
            Ok(running.map(str::to_owned).collect())
        };
        let kill = || {
            let before = processes()?;
            let units = units.join(" ");
            let kill = format!("sleep 0.{moment:03}; systemctl kill --signal KILL {units}");
            host.run_ok(&["sh", "-ec", &kill])?;
            // Started sooner than by itself, which is after two seconds. One that is in the middle
            // of a write to the disk dies only after that, and has to be started again.
            wait::until(SOON, "two processes that are others", || {
                host.run_ok(&["sh", "-ec", &format!("systemctl start {units}")]).ok()?;
                let after = processes().ok()?;
                (after.len() == 2 && after.is_disjoint(&before)).then_some(())
            })
        };
        thread::scope(|scope| {
            let killed = scope.spawn(kill);
            let began = self.run(edit);
            killed.join().map_err(|_| anyhow!("the kill panicked"))??;
            began
        })
    }

    /// Runs an edit's command and returns when its tool was started, since 1970.
    fn run(&self, edit: &Edit) -> anyhow::Result<Duration> {
        let Edit { host, login, deed, .. } = edit;
        let command = match edit.turn {
            Turn::Done => Some(deed.command(login, edit.number)),
            Turn::Undone => deed.undoing(login),
        };
        let command = command.context("there is nothing to undo")?;
        let command = format!("date +%s%N && {command}");
        let said = match edit.way {
            Way::Unit => {
                let output = self.fleet.host(host).run_unit(&[], &["sh", "-c", &command])?;
                ensure!(output.success(), "{output}");
                output.stdout
            }
            Way::Sudo => {
                let command = format!("sudo sh -c '{}'", command.replace('\'', "'\\''"));
                self.fleet.ssh(host, &self.editor).command(&command).run_ok()?
            }
        };
        let began = said.lines().next().and_then(|line| line.parse().ok());
        Ok(Duration::from_nanos(began.with_context(|| format!("no time in `{said}`"))?))
    }

    fn await_told(&self, edits: &[Edit]) -> anyhow::Result<()> {
        let mut missing: BTreeSet<Line> = edits.iter().map(Edit::line).collect();
        let told = wait::until(SOON, "everything to be told", || {
            let asked: BTreeSet<(String, String)> =
                missing.iter().map(|[host, kind, ..]| (host.clone(), kind.clone())).collect();
            for (host, kind) in asked {
                let told = self.told(&["--host", &host, "--kind", &kind]).ok()?;
                missing.retain(|line| told.get(line).unwrap_or(&0) <= self.told_before(line));
            }
            missing.is_empty().then_some(())
        });
        told.with_context(|| {
            let hosts: BTreeSet<&String> = missing.iter().map(|[host, ..]| host).collect();
            let journals: Vec<String> =
                hosts.iter().map(|host| self.journals(host).unwrap_or_default()).collect();
            format!("not told: {missing:?}\n{}", journals.join("\n"))
        })
    }

    /// Returns what the agent of a host and the controller have said last.
    fn journals(&self, host: &str) -> anyhow::Result<String> {
        let last = ["journalctl", "--quiet", "--no-pager", "--lines", "30"];
        let agent = [&last[..], &["--unit", "muster-agent*", "--unit", "ssh"]].concat();
        let controller = [&last[..], &["--unit", "muster"]].concat();
        let (agent, controller) =
            (self.fleet.host(host).run_ok(&agent)?, self.fleet.controller().run_ok(&controller)?);
        Ok(format!("the agent and sshd of {host}:\n{agent}\nthe controller:\n{controller}"))
    }

    fn told_before(&self, line: &Line) -> &u32 {
        self.before.get(line).unwrap_or(&0)
    }

    /// Returns how often everything was told that the hosts of the cast have told. Each kind is asked
    /// for by itself, since an answer has an end.
    fn all_told(&self) -> anyhow::Result<BTreeMap<Line, u32>> {
        let things = [Deed::TO_PEOPLE, Deed::TO_LEAVERS, Deed::TO_HOSTS].concat();
        let kinds: BTreeSet<String> = things
            .iter()
            .flat_map(|deeds| deeds.iter())
            .map(|deed| {
                let [kind, ..] = deed.told("");
                kind
            })
            .collect();
        let mut all = BTreeMap::new();
        for host in self.cast.hosts {
            for kind in &kinds {
                all.extend(self.told(&["--host", host, "--kind", kind])?);
            }
        }
        Ok(all)
    }

    fn told(&self, words: &[&str]) -> anyhow::Result<BTreeMap<Line, u32>> {
        let words = [&["drift", "list", "--all", "--output", "json"], words].concat();
        let output = self.fleet.muster(&words)?;
        ensure!(!output.stderr.contains("there is more"), "{output}");
        let all: Vec<Value> =
            serde_json::from_str(&output.stdout).with_context(|| output.to_string())?;
        let mut told = BTreeMap::new();
        for one in &all {
            *told.entry(line_of(one)).or_default() += 1;
        }
        Ok(told)
    }
}

impl Edit {
    /// Returns what has to be told of it.
    fn line(&self) -> Line {
        let [kind, subject, place] = self.deed.told(&self.login);
        let response = match self.turn {
            Turn::Undone => "gone",
            Turn::Done if self.deed.undoing(&self.login).is_some() => "reported",
            Turn::Done => "repaired",
        };
        [self.host.clone(), kind, subject, place, response.to_owned()]
    }
}

fn line_of(told: &Value) -> Line {
    ["host", "kind", "subject", "place", "response"]
        .map(|field| told.get(field).and_then(Value::as_str).unwrap_or_default().to_owned())
}

/// By the one clock that this machine and its hosts have.
fn since_epoch() -> anyhow::Result<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).context("it is not yet 1970")
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

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            all.swap(at, self.below(at + 1));
        }
    }
}
