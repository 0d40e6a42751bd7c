//! A larger fleet: hosts join in parallel, everybody is given access, a fifth is moved, a fifth is
//! offboarded. After each, every receipt that any host has made is verified by the operator's own
//! tool, and a few people log in where they may and where they may not. Needs root and the programs
//! as they are shipped: `tests/long hosts-50` builds and runs it.
//!
//! It says how long each step took, which is until every host that it concerns has confirmed: the
//! operator's tool counts no receipt that it has not verified. Hosts are in two halves; whoever is
//! moved goes from one to the other.
#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it is a measurement that people read"
)]

use std::{
    collections::BTreeSet,
    env,
    fmt::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use muster_tests::{Fleet, Member, Mode, Person, Programs};
use serde_json::Value;

/// How long one command may take that concerns every host.
const LIMIT: Duration = Duration::from_mins(10);

/// How many people log in at each look, at most.
const SAMPLE: usize = 10;

const HALVES: [&str; 2] = ["left", "right"];
const LABELS: [&[&str]; 2] = [&["half=left"], &["half=right"]];

/// Somebody and the half that she belongs to.
struct Placed {
    person: Person,
    half: usize,
}

fn main() -> anyhow::Result<()> {
    let mut numbers = env::args().filter_map(|word| word.parse::<usize>().ok());
    let (hosts, users) = (numbers.next().unwrap_or(50), numbers.next().unwrap_or(500));
    let names: Vec<String> = (0..hosts).map(|number| format!("host{number}")).collect();
    let labelled = names.iter().zip(LABELS.iter().cycle());
    let members: Vec<Member<'_>> =
        labelled.map(|(name, labels)| Member { name, labels, mode: Mode::Enforce }).collect();

    println!("{hosts} hosts, {users} users");
    let start = Instant::now();
    let fleet = Fleet::start("hosts", &Programs::shipped()?, &members)?;
    said("started, and joined in parallel", start.elapsed());
    let mut everybody: Vec<Placed> = (0..users)
        .map(|number| {
            let person = fleet.person(&format!("user{number}"))?;
            Ok(Placed { person, half: number % HALVES.len() })
        })
        .collect::<anyhow::Result<_>>()?;
    said("everybody given access", apply(&fleet, &everybody)?);
    verify_all(&fleet, &names, &everybody)?;

    let fifth = users / 5;
    for placed in everybody.iter_mut().take(fifth) {
        placed.half = 1 - placed.half;
    }
    said("a fifth moved", apply(&fleet, &everybody)?);
    verify_all(&fleet, &names, &everybody)?;

    let gone: Vec<Placed> = everybody.drain(fifth..2 * fifth).collect();
    let mut taken = Vec::new();
    for Placed { person, .. } in &gone {
        let start = Instant::now();
        fleet.muster_ok(&["offboard", &person.login, "--yes"])?;
        taken.push(start.elapsed());
    }
    said("a fifth offboarded, one by one", taken.iter().sum());
    taken.sort_unstable();
    if let (Some(first), Some(last)) = (taken.first(), taken.last()) {
        said("the fastest of them", *first);
        said("half of them within", taken[taken.len() / 2]);
        said("the slowest", *last);
    }
    verify_all(&fleet, &names, &everybody)?;
    println!("every host has whom it should, and every receipt of every host is verified");
    Ok(())
}

fn said(what: &str, took: Duration) {
    println!("{what:<36} {:>7.2} s", took.as_secs_f64());
}

/// Declares everybody where she belongs, and returns how long it took until every host had confirmed.
fn apply(fleet: &Fleet, everybody: &[Placed]) -> anyhow::Result<Duration> {
    let mut yaml = "groups: {left: {}, right: {}}\nusers:\n".to_owned();
    for Placed { person: Person { login, key }, half } in everybody {
        writeln!(yaml, "  {login}: {{groups: [{}], keys: [\"{}\"]}}", HALVES[*half], key.public)?;
    }
    yaml.push_str("roles: {guest: {sudo: [{commands: [/usr/bin/id]}]}}\nassignments:\n");
    for half in HALVES {
        writeln!(yaml, "  {half}: {{group: {half}, role: guest, hosts: half={half}}}")?;
    }
    let path = fleet.declare(&yaml)?;
    let start = Instant::now();
    let seconds = LIMIT.as_secs().to_string();
    let words = ["muster", "apply", "--yes", "--timeout", &seconds, "--file", path];
    let output = fleet.controller().spawn(&words)?.finish(LIMIT)?;
    let took = start.elapsed();
    ensure!(output.success(), "{output}");
    Ok(took)
}

/// Looks at every host, and lets a few people log in to one that is theirs and to one that is not.
fn verify_all(fleet: &Fleet, names: &[String], everybody: &[Placed]) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut receipts = 0;
    for (number, name) in names.iter().enumerate() {
        let here = everybody.iter().filter(|placed| placed.half == number % HALVES.len());
        receipts +=
            verify(fleet, name, &here.map(|placed| placed.person.login.as_str()).collect())?;
    }
    said(&format!("  all {receipts} receipts verified"), start.elapsed());

    let start = Instant::now();
    // An odd step meets both halves.
    let sample = everybody.iter().step_by((everybody.len() / SAMPLE) | 1).take(SAMPLE);
    let mut tried = 0;
    for (number, Placed { person, half }) in sample.enumerate() {
        for (which, expected) in [(*half, true), (1 - *half, false)] {
            let hosts: Vec<&String> = names.iter().skip(which).step_by(HALVES.len()).collect();
            let host = hosts.get(number % hosts.len().max(1)).context("a half without hosts")?;
            let output = fleet.ssh(host, person).command("true").run()?;
            let refused = output.status == 255 && output.stderr.contains("Permission denied");
            ensure!(output.success() == expected && refused != expected, "{host}: {output}");
            tried += 1;
        }
    }
    said(&format!("  {tried} logins tried"), start.elapsed());
    Ok(())
}

/// Fails unless a host has exactly these people, and its receipts, from the first to the newest, are
/// what its key signed and say that all was done. Returns how many there are.
fn verify(fleet: &Fleet, host: &str, expected: &BTreeSet<&str>) -> anyhow::Result<u64> {
    const OPEN: &str = r"awk -F: '/^user/ && $2 !~ /^!/ { print $1 }' /etc/shadow";
    let open = fleet.host(host).run_ok(&["sh", "-c", OPEN])?;
    let open: BTreeSet<&str> = open.lines().collect();
    ensure!(open == *expected, "{host} has {open:?} and not {expected:?}");
    let shown = fleet.ask(&["host", "show", host, "--receipts", "1000"])?;
    let receipts = shown.get("receipts").and_then(|list| list.as_array());
    let receipts = receipts.context("no receipts")?;
    let verified = receipts.iter().all(|one| one.get("verified") == Some(&true.into()));
    ensure!(!receipts.is_empty() && verified, "receipts of {host}: {shown}");
    let numbers = receipts.iter().map(|one| one.get("number").and_then(Value::as_u64));
    let numbers: Vec<u64> = numbers.collect::<Option<_>>().context("receipts without numbers")?;
    let count = u64::try_from(numbers.len())?;
    ensure!(numbers.iter().rev().copied().eq(1..=count), "receipts of {host}: {numbers:?}");
    ensure!(!shown.to_string().contains("FAILED"), "receipts of {host}: {shown}");
    Ok(count)
}
