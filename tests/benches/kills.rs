//! `kill -9` of the keeper at random moments of applying, on a real host: whether the account files
//! are valid at each, `useradd` is held up by nothing, and the host is as it should be once the
//! keeper is back. Needs root and the programs as `tests/run` builds them: `tests/long kills` builds
//! and runs it.
//!
//! One change gives a dozen people their access, some of whom are new, or takes it from all of them.
//! How long that takes is measured; each kill falls at random within as much, counted from when the
//! keeper has written down what it is about to do. A few more are aimed between the renames of the
//! account files, which chance seldom meets. No other keeper is started before all is looked at.
#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "it is a measurement that people read"
)]

#[path = "kills/complaints.rs"]
mod complaints;

use std::{collections::BTreeSet, env, fmt::Write, time::Duration};

use anyhow::{Context, bail, ensure};
use muster_tests::{Fleet, Host, Member, Mode, Person, Programs, Running};

use complaints::{Changed, FILES, Found};

const HOST: &str = "killed1";
/// Whoever comes and goes with each change.
const REGULARS: usize = 8;
/// Whoever is new in each change that gives.
const NEW: usize = 4;
const KILLS: u64 = 200;
const SEED: u64 = 1;
/// How many kills are aimed at each rename of an account file but the last.
const AIMED: u64 = 5;
/// After so many kills it is measured again how long a change takes: there are more accounts then.
const MEASURED_EVERY: u64 = 20;
const LIMIT: Duration = Duration::from_mins(1);
/// How long after the keeper's death somebody else's account may have been added, in nanoseconds.
const AT_ONCE: u64 = 1_000_000_000;

const KILLER: &str = "/root/keeper.pl";
const START: &str = "systemctl start muster-agent.service";

/// Keeps the keeper down once it is killed, until it is started.
const STAY_DOWN: &str = "
    mkdir -p /run/systemd/system/muster-agent.service.d
    printf '[Service]\\nRestart=no\\n' >/run/systemd/system/muster-agent.service.d/kills.conf
    systemctl daemon-reload
";

const KILL: &str = r#"
    process=$(systemctl show --property=MainPID --value muster-agent.service)
    exec perl "$0" "$process" "$1"
"#;

/// Says what the system's own checkers make of the files in `$1`; a home may be yet to come.
const CHECK: &str = r#"
    cd "$1"
    pwck --quiet --read-only passwd shadow 2>&1
    echo "pwck exits with $?"
    grpck --quiet --read-only group gshadow 2>&1
    echo "grpck exits with $?"
    for file in sudoers.d/*; do
        visudo --check --strict --quiet --file="$file" 2>&1
        echo "visudo of $file exits with $?"
    done
    visudo --check --strict --quiet 2>&1
    echo "visudo exits with $?"
"#;

/// What a keeper that was killed may leave, and one that is there again must not.
const LEFT: &str = r"find /etc /home -name '.muster-*' -o -name '*.lock' -size +0";

/// The rules of the people: what is given last and taken first.
const RULES: &str = "/etc/sudoers.d/50-muster-guest";

/// What a change does to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Gives,
    Takes,
}

/// When the keeper is to be killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    After(u64),
    /// As soon as it is seen that this account file is another.
    Renamed(&'static str),
    Never,
}

/// What the killer says, in nanoseconds.
struct Killed {
    /// How long the keeper had been at it.
    passed: u64,
    /// Whether it had told what it did.
    told: bool,
    /// How long after the kill the keeper was dead: what it had begun in the kernel ends first.
    died: Option<u64>,
    /// How long after that somebody else's account had been added.
    took: Option<u64>,
}

/// Where and with whom it is done.
struct Trial {
    fleet: Fleet,
    regulars: Vec<Person>,
    new: Vec<Person>,
    made: usize,
}

/// What all kills came to.
#[derive(Default)]
struct Tally {
    within: u64,
    between: u64,
    warned: u64,
    died: Vec<u64>,
    took: Vec<u64>,
}

fn main() -> anyhow::Result<()> {
    let mut numbers = env::args().filter_map(|word| word.parse::<u64>().ok());
    let (kills, seed) = (numbers.next().unwrap_or(KILLS), numbers.next().unwrap_or(SEED));
    println!("{kills} kills, seed {seed}");
    let mut chance = seed;
    let mut trial = Trial::start()?;
    let mut tally = Tally::default();
    let mut lasts = [0, 0];
    for number in 0..kills {
        if number % MEASURED_EVERY == 0 {
            lasts = [0, 0];
            // The longer of two: a ledger written for another reason makes one look short.
            for _ in 0..2 {
                lasts[0] = lasts[0].max(trial.measure(Change::Gives)?);
                lasts[1] = lasts[1].max(trial.measure(Change::Takes)?);
            }
            let [gives, takes] = lasts.map(|time| time / 1_000_000);
            println!("after {number} kills: giving takes {gives} ms, taking {takes} ms");
        }
        let even = number % 2 == 0;
        let (change, last) =
            if even { (Change::Gives, lasts[0]) } else { (Change::Takes, lasts[1]) };
        let moment = Moment::After(next(&mut chance) % last);
        trial
            .kill(change, moment, &mut tally)
            .with_context(|| format!("kill {number} ({change:?}, {moment:?})"))?;
    }
    println!("{} of {kills} before the keeper had told that it was done", tally.within);
    // Else they show little of what a kill in the middle of it does.
    ensure!(tally.within * 2 > kills, "most kills came too late: {} of {kills}", tally.within);
    tally.tell(kills);
    let mut aimed = Tally::default();
    for file in FILES.iter().take(FILES.len() - 1) {
        for number in 0..AIMED {
            trial
                .kill(Change::Gives, Moment::Renamed(file), &mut aimed)
                .with_context(|| format!("kill {number} after {file} is renamed"))?;
            trial.measure(Change::Takes)?;
        }
    }
    println!("aimed between the renames:");
    aimed.tell(AIMED * 3);
    println!("everything else valid at each, and the host as it should be after each");
    Ok(())
}

impl Tally {
    /// Says what there was to be borne, and how long useradd took.
    fn tell(&mut self, kills: u64) {
        println!("{} of {kills} between the renames of files with new accounts", self.between);
        println!("{} of {kills} with a member in only one of group and gshadow", self.warned);
        for (what, times) in [("dead", &mut self.died), ("useradd done", &mut self.took)] {
            times.sort_unstable();
            let last = times.len().saturating_sub(1);
            let at = |percent| times.get(last * percent / 100).map_or(0, |time| time / 1_000_000);
            println!("{what} after: p50 {}, p99 {}, worst {} ms", at(50), at(99), at(100));
        }
    }
}

impl Trial {
    fn start() -> anyhow::Result<Self> {
        let member = Member { name: HOST, labels: &["env=prod"], mode: Mode::Enforce };
        let fleet = Fleet::start("kills", &Programs::tested()?, &[member])?;
        let host = fleet.host(HOST);
        host.write(KILLER, include_bytes!("kills/keeper.pl"), 0o600)?;
        host.run_ok(&["sh", "-euc", STAY_DOWN])?;
        let regulars = (0..REGULARS)
            .map(|number| fleet.person(&format!("user{number}")))
            .collect::<anyhow::Result<_>>()?;
        let mut trial = Self { fleet, regulars, new: Vec::new(), made: 0 };
        // Thereafter they come and go.
        trial.measure(Change::Gives)?;
        trial.measure(Change::Takes)?;
        Ok(trial)
    }

    fn host(&self) -> &Host {
        self.fleet.host(HOST)
    }

    fn people(&self) -> impl Iterator<Item = &Person> {
        self.regulars.iter().chain(&self.new)
    }

    /// Makes one change and returns how long the keeper was at it, in nanoseconds.
    fn measure(&mut self, change: Change) -> anyhow::Result<u64> {
        self.renew(change)?;
        let (killed, mut apply) = self.make(change, Moment::Never)?;
        let applied = apply.finish(LIMIT)?;
        ensure!(applied.success(), "{applied}");
        self.is_done(change)?;
        Ok(killed.passed)
    }

    /// Makes one change, kills the keeper that is at it, and looks at everything.
    fn kill(&mut self, change: Change, moment: Moment, tally: &mut Tally) -> anyhow::Result<()> {
        self.renew(change)?;
        let (killed, mut apply) = self.make(change, moment)?;
        let (Some(died), Some(took)) = (killed.died, killed.took) else {
            bail!("the killer did not say how long dying and useradd took");
        };
        ensure!(took <= AT_ONCE, "dead after {died} ns, but useradd was done only {took} ns later");
        let said = self.check("/run/found")?;
        let files = "cd /run/found; grep '' gshadow group shadow passwd";
        let lines = self.host().run_ok(&["sh", "-c", files])?;
        let new = if change == Change::Gives { self.new.as_slice() } else { &[] };
        let borne = complaints::judge(
            &Found { said: &said, lines: &complaints::names(&lines)? },
            &Changed { all: &logins(self.people()), new: &logins(new) },
        )?;
        tally.within += u64::from(!killed.told);
        tally.between += u64::from(borne.between);
        tally.warned += u64::from(borne.warned);
        tally.died.push(died);
        tally.took.push(took);

        self.host().run_ok(&["sh", "-c", START])?;
        let applied = apply.finish(LIMIT)?;
        ensure!(applied.success(), "{applied}");
        self.is_done(change)
    }

    /// Lets others be new if a change gives.
    fn renew(&mut self, change: Change) -> anyhow::Result<()> {
        if change == Change::Takes {
            return Ok(());
        }
        let numbers = self.made..self.made + NEW;
        self.made = numbers.end;
        self.new = numbers
            .map(|number| self.fleet.person(&format!("new{number}")))
            .collect::<anyhow::Result<_>>()?;
        Ok(())
    }

    /// Publishes a change, and returns when the keeper is dead or has told. The command still waits.
    fn make(&self, change: Change, moment: Moment) -> anyhow::Result<(Killed, Running)> {
        let moment = match moment {
            Moment::After(time) => time.to_string(),
            Moment::Renamed(file) => file.to_owned(),
            Moment::Never => "never".to_owned(),
        };
        let path = self.fleet.declare(&self.declaration(change))?;
        let mut killer = self.host().spawn(&["sh", "-euc", KILL, KILLER, &moment])?;
        killer.wait_for_line(LIMIT, "ready")?;
        let words = ["muster", "apply", "--yes", "--timeout", "60", "--file", path];
        let apply = self.fleet.controller().spawn(&words)?;
        let said = killer
            .finish(LIMIT)
            .with_context(|| format!("`apply` says\n{}{}", apply.stdout(), apply.stderr()))?;
        ensure!(said.success(), "{said}");
        let word = |name: &str| said.stdout.lines().find_map(|line| line.strip_prefix(name));
        let passed = word("passed ").and_then(|words| words.split_once(' '));
        let (passed, told) = passed.with_context(|| format!("from the killer: {said}"))?;
        let died = word("died ").map(str::parse).transpose()?;
        let took = word("took ").map(str::parse).transpose()?;
        Ok((Killed { passed: passed.parse()?, told: told == "told", died, took }, apply))
    }

    /// Declares the people, each with what everybody has, or with nothing.
    fn declaration(&self, change: Change) -> String {
        let mut yaml = "groups: {guest: {}}\nusers:\n".to_owned();
        for Person { login, key } in self.people() {
            let groups = if change == Change::Gives { "guest" } else { "" };
            let _ = writeln!(yaml, "  {login}: {{groups: [{groups}], keys: [\"{}\"]}}", key.public);
        }
        yaml + "roles: {guest: {unix_groups: {at_least: [audio]}, sudo: [{commands: [/usr/bin/id]}]}}\n\
                assignments: {guest: {group: guest, role: guest, hosts: all}}\n"
    }

    fn check(&self, place: &str) -> anyhow::Result<String> {
        self.host().run_ok(&["sh", "-c", CHECK, "check", place])
    }

    /// Fails unless everybody has all that was given, or nobody anything, and nothing is left over.
    fn is_done(&self, change: Change) -> anyhow::Result<()> {
        let host = self.host();
        let said = self.check("/etc")?;
        let bad = said.lines().find(|line| !line.ends_with(" exits with 0"));
        ensure!(bad.is_none(), "with the keeper back: {said}");
        let given = change == Change::Gives;
        ensure!(host.run(&["test", "-e", RULES])?.success() == given, "the rules are wrong");
        let shadow = String::from_utf8(host.read("/etc/shadow")?)?;
        let audio = host.run_ok(&["getent", "group", "audio"])?;
        let audio: BTreeSet<&str> = audio.trim().split([':', ',']).collect();
        let keys = host.run_ok(&["ls", "/etc/ssh/muster-keys"])?;
        let keys: BTreeSet<&str> = keys.lines().collect();
        for Person { login, .. } in self.people() {
            let line = shadow.lines().find(|line| line.starts_with(&format!("{login}:")));
            let line = line.with_context(|| format!("no line for {login}"))?;
            ensure!(line.starts_with(&format!("{login}:!")) != given, "{line}");
            ensure!(audio.contains(login.as_str()) == given, "{login} in audio: {audio:?}");
            ensure!(keys.contains(login.as_str()) == given, "the keys of {login}");
        }
        let left = host.run_ok(&["sh", "-c", LEFT])?;
        ensure!(left.is_empty(), "left over: {left}");
        for person in self.regulars.iter().take(1).chain(self.new.iter().take(1)) {
            let output = self.fleet.ssh(HOST, person).command("true").run()?;
            ensure!(output.success() == given, "{output}");
        }
        Ok(())
    }
}

fn logins<'a>(people: impl IntoIterator<Item = &'a Person>) -> BTreeSet<&'a str> {
    people.into_iter().map(|person| person.login.as_str()).collect()
}

/// Numbers by chance (splitmix64), the same again from the same seed.
fn next(chance: &mut u64) -> u64 {
    *chance = chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*chance ^ (*chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
