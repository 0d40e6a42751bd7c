//! A thousand edits by hand at random on four hosts, some while the controller is away, some while
//! the agents are down and some while these are killed; at the end everything has to be told, and nothing twice. Says how
//! long it took until an edit was put right, and until the controller told it. Needs root and the
//! programs as they are shipped: `tests/long drift` builds and runs it.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it is a measurement that people read"
)]

use std::{
    env, fs,
    time::{Duration, Instant},
};

use anyhow::Context;
use muster_tests::{
    Fleet, Member, Mode, Programs,
    edits::{Away, Cast, Edit, Edits, Took},
};

const HOSTS: [&str; 4] = ["web1", "db1", "dev1", "app1"];
const PEOPLE: usize = 12;
const LEAVERS: usize = 7;
/// So often the controller and the agents go away and come back.
const ROUNDS: usize = 10;

fn main() -> anyhow::Result<()> {
    let seed = env::args()
        .find_map(|word| word.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}");
    let members = HOSTS.map(|name| Member { name, labels: &["env=bench"], mode: Mode::Enforce });
    let fleet = Fleet::start("drift", &Programs::shipped()?, &members)?;
    let people: Vec<String> = (1..=PEOPLE).map(|number| format!("user{number}")).collect();
    let leavers: Vec<String> = (1..=LEAVERS).map(|number| format!("left{number}")).collect();
    let cast = Cast { hosts: &HOSTS, people: &people, leavers: &leavers, editor: "ana" };
    let mut edits = Edits::begin(&fleet, "env=bench", cast, seed)?;
    let all = edits.shuffled();
    let started = Instant::now();
    let mut tally = Tally::default();
    let mut undoing = Vec::new();
    for some in all.chunks(all.len().div_ceil(ROUNDS)) {
        let mut round = [some, undoing.as_slice()].concat();
        edits.shuffle(&mut round);
        tally.round(&mut edits, &round)?;
        undoing = edits.undoing(some);
    }
    tally.round(&mut edits, &undoing)?;
    let taken = started.elapsed();
    edits.check()?;
    let load = fs::read_to_string("/proc/loadavg").context("cannot read the load")?;
    let load = load.split(' ').next().unwrap_or_default();
    println!(
        "{} edits on {} hosts in {} s, load {load}; told each once, and nothing else",
        edits.expected(),
        HOSTS.len(),
        taken.as_secs()
    );
    println!(
        "{} of them while the controller was away, {} while the agents were down, {} with an agent \
         killed about each",
        tally.away, tally.down, tally.killed
    );
    println!("{:<48} {:>6} {:>6} {:>6} {:>6}", "milliseconds", "of", "p50", "p99", "worst");
    tally.print("repaired, all up", |took| took.repaired);
    tally.print("stored and told, all up", |took| took.stored);
    Ok(())
}

/// What all edits came to.
#[derive(Default)]
struct Tally {
    away: usize,
    down: usize,
    killed: usize,
    calm: Vec<Took>,
}

impl Tally {
    /// Makes a tenth of the edits while the controller is away, a tenth while the agents are down and
    /// a tenth with an agent killed about each.
    fn round(&mut self, edits: &mut Edits<'_>, round: &[Edit]) -> anyhow::Result<()> {
        let (away, rest) = round.split_at(round.len().div_ceil(10));
        let (down, rest) = rest.split_at(away.len().min(rest.len()));
        let (killed, calm) = rest.split_at(away.len().min(rest.len()));
        self.calm.extend(edits.make(calm, Away::Nobody)?);
        edits.make(away, Away::Controller)?;
        edits.make(down, Away::Agent)?;
        edits.make(killed, Away::Killed)?;
        self.away += away.len();
        self.down += down.len();
        self.killed += killed.len();
        println!("{} edits", edits.expected());
        Ok(())
    }

    fn print(&self, what: &str, of: fn(&Took) -> Option<Duration>) {
        let mut times: Vec<u128> =
            self.calm.iter().filter_map(of).map(|took| took.as_millis()).collect();
        times.sort_unstable();
        let at = |percent: usize| {
            let place = (times.len() * percent).div_ceil(100).max(1) - 1;
            times.get(place).copied().unwrap_or_default()
        };
        let count = times.len();
        println!("{what:<48} {count:>6} {:>6} {:>6} {:>6}", at(50), at(99), at(100));
    }
}
