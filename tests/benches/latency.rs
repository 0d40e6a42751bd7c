//! How long a change and an offboarding take on a fleet of three hosts, from the operator's command
//! until it is so on every host. Needs root and the programs as they are shipped: `tests/long
//! latency` builds and runs it.
//!
//! One round is one new person: `muster apply` until it ends, which is when every host has
//! confirmed; then she is logged in on all three, and `muster offboard` until the last of her
//! sessions has ended, and until the command ends.
#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it is a measurement that people read"
)]

use std::{
    env,
    time::{Duration, Instant},
};

use muster_tests::{Fleet, Member, Mode, Person, Programs, Running, wait};

const HOSTS: [&str; 3] = ["web1", "db1", "dev1"];
const LIMIT: Duration = Duration::from_secs(30);

/// What one round has taken.
struct Round {
    apply: Duration,
    sessions: Duration,
    offboard: Duration,
}

fn main() -> anyhow::Result<()> {
    let rounds = env::args().find_map(|word| word.parse().ok()).unwrap_or(100);
    let members = HOSTS.map(|name| Member { name, labels: &["env=bench"], mode: Mode::Enforce });
    let fleet = Fleet::start("latency", &Programs::shipped()?, &members)?;
    fleet.apply_ok("roles:\n  guest: {sudo: [{commands: [/usr/bin/id]}]}\n")?;
    // The first round warms what is warm in a fleet that is used.
    round(&fleet, 0)?;
    let taken: Vec<Round> =
        (1..=rounds).map(|number| round(&fleet, number)).collect::<anyhow::Result<_>>()?;
    println!("{rounds} rounds on {} hosts, in milliseconds", HOSTS.len());
    println!("{:<40} {:>6} {:>6} {:>6} {:>6}", "", "best", "p50", "p99", "worst");
    for (what, of) in [
        ("apply of one change, done on all", (|round| round.apply) as fn(&Round) -> Duration),
        ("offboard, sessions ended on all", |round| round.sessions),
        ("offboard, confirmed by all", |round| round.offboard),
    ] {
        let mut times: Vec<u128> = taken.iter().map(|round| of(round).as_millis()).collect();
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
        println!("{what:<40} {:>6} {:>6} {:>6} {:>6}", at(0), at(50), at(99), at(100));
    }
    Ok(())
}

fn round(fleet: &Fleet, number: u32) -> anyhow::Result<Round> {
    let person = fleet.person(&format!("user{number}"))?;
    let Person { login, key } = &person;
    let path = fleet.declare(&format!(
        "users:\n  {login}: {{keys: [\"{}\"]}}\n\
         assignments:\n  {login}: {{user: {login}, role: guest, hosts: env=bench}}\n",
        key.public
    ))?;
    let start = Instant::now();
    fleet.muster_ok(&["apply", "--yes", "--file", path])?;
    let apply = start.elapsed();

    let mut open = Vec::new();
    for host in HOSTS {
        let mut session = fleet.ssh(host, &person).command("echo here; exec cat").spawn()?;
        session.wait_for_line(LIMIT, "here")?;
        open.push(session);
    }
    let start = Instant::now();
    let offboard = fleet.controller().command(&["muster", "offboard", login, "--yes"])?;
    let mut offboard = Running::start(offboard)?;
    wait::until(LIMIT, "every session to end", || {
        open.iter_mut().all(|session| !session.is_running()).then_some(())
    })?;
    let sessions = start.elapsed();
    let output = offboard.finish(LIMIT)?;
    let offboard = start.elapsed();
    anyhow::ensure!(output.success(), "`muster offboard {login}`: {output}");
    Ok(Round { apply, sessions, offboard })
}
