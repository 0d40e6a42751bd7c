//! What both processes of the agent take from a host while nothing happens, with 1,000 accounts of
//! Muster's on it. Needs root and the programs as they are shipped: `tests/long idle` builds and
//! runs it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it is a measurement that people read"
)]

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use muster_proto::key::SshPublicKey;
use muster_tests::{Fleet, Host, Member, Mode, Package, Programs, wait};

const ACCOUNTS: u32 = 1_000;
const SETTLE: Duration = Duration::from_secs(30);
const SAMPLE: Duration = Duration::from_mins(1);

/// What both may take: KiB of memory, which is 6 MB, and over the sample seconds of a processor and
/// switches.
const MAX_PSS: u64 = 6_000_000 / 1_024;
const MAX_PROCESSOR: f64 = 0.02;
const MAX_SWITCHES: u64 = 24;
/// Bytes that the program may have.
const MAX_PROGRAM: u64 = 5_000_000;

/// What a process has used since it was started.
#[derive(Clone, Copy, Default)]
struct Used {
    nanoseconds: u64,
    switches: u64,
}

fn main() -> anyhow::Result<()> {
    let programs = Programs::shipped()?;
    let members = [Member { name: "db1", labels: &["env=bench"], mode: Mode::Enforce }];
    let fleet = Fleet::start("idle", &programs, &members)?;
    let start = Instant::now();
    let path = fleet.declare(&declaration())?;
    fleet.muster_ok(&["apply", "--yes", "--output", "json", "--file", path])?;
    let applied = start.elapsed();
    let db1 = fleet.host("db1");
    let accounts = db1.run_ok(&["sh", "-c", "grep --count ^user /etc/passwd"])?;
    ensure!(accounts.trim() == ACCOUNTS.to_string(), "there are {} accounts", accounts.trim());
    pass(SETTLE)?;

    let processes: Vec<(&str, String)> = Package::Agent
        .units()
        .iter()
        .map(|unit| Ok((*unit, main_process(db1, unit)?)))
        .collect::<anyhow::Result<_>>()?;
    let read = || -> anyhow::Result<Vec<Used>> {
        processes.iter().map(|(_, process)| used(db1, process)).collect()
    };
    let before = read()?;
    pass(SAMPLE)?;
    let after = read()?;

    let size = fs::metadata(&programs.agent)?.len();
    println!("{ACCOUNTS} accounts, applied in {:.1} s", applied.as_secs_f64());
    println!("static binary: {size} bytes");
    println!("{:<32} {:>9} {:>12} {:>14}", "over 60 s, idle", "PSS KiB", "CPU seconds", "switches");
    let (mut memory, mut all) = (0, Used::default());
    for ((unit, process), (before, after)) in processes.iter().zip(before.iter().zip(&after)) {
        let pss = pss(db1, process)?;
        let used = Used {
            nanoseconds: after.nanoseconds - before.nanoseconds,
            switches: after.switches - before.switches,
        };
        print(unit, pss, used);
        memory += pss;
        all.nanoseconds += used.nanoseconds;
        all.switches += used.switches;
    }
    print("both", memory, all);
    for (unit, process) in &processes {
        println!("\nwhat {unit} takes it for, KiB of PSS");
        for (what, size) in parts(db1, process)? {
            println!("  {what:<30} {size:>9}");
        }
    }
    ensure!(size <= MAX_PROGRAM, "the program is larger than {MAX_PROGRAM} bytes");
    ensure!(memory <= MAX_PSS, "more than {MAX_PSS} KiB of memory");
    ensure!(seconds(all) <= MAX_PROCESSOR, "more than {MAX_PROCESSOR} s of a processor");
    ensure!(all.switches <= MAX_SWITCHES, "more than {MAX_SWITCHES} switches");
    Ok(())
}

fn print(who: &str, pss: u64, used: Used) {
    println!("{who:<32} {pss:>9} {:>12.4} {:>14}", seconds(used), used.switches);
}

fn seconds(used: Used) -> f64 {
    Duration::from_nanos(used.nanoseconds).as_secs_f64()
}

/// Lets time pass in which nothing is done.
fn pass(time: Duration) -> anyhow::Result<()> {
    let start = Instant::now();
    wait::until(time * 2, "time to pass", || (start.elapsed() >= time).then_some(()))
}

fn declaration() -> String {
    let mut yaml = String::from("groups: {all: {}}\nusers:\n");
    for number in 0..ACCOUNTS {
        let keys: Vec<String> = (0..2).map(|which| key(number, which)).collect();
        writeln!(yaml, "  user{number}: {{groups: [all], keys: [\"{}\"]}}", keys.join("\", \""))
            .unwrap();
    }
    yaml + "roles:\n  guest: {sudo: [{commands: [/usr/bin/id]}]}\n\
            assignments:\n  all: {group: all, role: guest, hosts: env=bench}\n"
}

/// Returns a key that nobody has the private half of.
fn key(user: u32, which: u8) -> String {
    let mut blob = vec![0, 0, 0, 11];
    blob.extend(b"ssh-ed25519");
    blob.extend([0, 0, 0, 32]);
    blob.extend([which; 28]);
    blob.extend(user.to_be_bytes());
    SshPublicKey::from_blob(&blob).unwrap().to_string()
}

fn main_process(host: &Host, unit: &str) -> anyhow::Result<String> {
    let shown = host.run_ok(&["systemctl", "show", "--property=MainPID", "--value", unit])?;
    let process = shown.trim().to_owned();
    ensure!(process != "0", "`{unit}` does not run");
    Ok(process)
}

fn used(host: &Host, process: &str) -> anyhow::Result<Used> {
    // Nanoseconds on a processor (proc(5)); a tick of /proc/PID/stat is as long as half a bound.
    let threads = format!("cat /proc/{process}/task/*/schedstat");
    let times = host.run_ok(&["sh", "-c", &threads])?;
    let times = times.lines().filter_map(|line| line.split(' ').next());
    let nanoseconds = times.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    let threads = format!("cat /proc/{process}/task/*/status");
    let status = host.run_ok(&["sh", "-c", &threads])?;
    let counts = status.lines().filter(|line| line.contains("ctxt_switches:"));
    let counts = counts.filter_map(|line| line.split_whitespace().last());
    let switches = counts.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Used { nanoseconds, switches })
}

/// Returns what a process's share of memory is made of, in KiB, by what is mapped and how.
fn parts(host: &Host, process: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let maps = host.run_ok(&["cat", &format!("/proc/{process}/smaps")])?;
    let (mut what, mut parts) = (String::new(), BTreeMap::new());
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            // The head of a mapping: its addresses, how it may be used, and what it is of.
            (Some(addresses), Some(how)) if addresses.contains('-') => {
                let of = words.nth(3).unwrap_or("anonymous").rsplit('/').next();
                what = format!("{} {how}", of.unwrap_or_default());
            }
            (Some("Pss:"), Some(size)) => {
                *parts.entry(what.clone()).or_default() += size.parse::<u64>()?;
            }
            _ => {}
        }
    }
    Ok(parts)
}

/// Returns a process's share of memory in KiB.
fn pss(host: &Host, process: &str) -> anyhow::Result<u64> {
    let rollup = host.run_ok(&["cat", &format!("/proc/{process}/smaps_rollup")])?;
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).context("no Pss")?;
    Ok(line.split_whitespace().nth(1).context("no number after Pss")?.parse()?)
}
