//! For how many edits by hand it is told who made them: which process, who had logged in, and in
//! which unit. Three hosts; each edit is put right before the next on the same host. Needs root and
//! the programs as they are shipped: `tests/long attribution` builds and runs it.
//!
//! ```text
//! attribution [PEOPLE]      on each host; each is edited in each way once
//! ```
#![allow(clippy::print_stdout, reason = "it is a measurement that people read")]

use std::{collections::BTreeMap, env, fs, thread, time::Duration};

use anyhow::{Context, anyhow, ensure};
use muster_tests::{
    Fleet, Host, Member, Mode, Programs,
    edits::{Cast, Edits},
    wait,
};
use serde_json::Value;

const HOSTS: [&str; 3] = ["web1", "db1", "dev1"];
/// A thousand edits and a few in three ways on three hosts.
const PEOPLE: usize = 112;
const EDITOR: &str = "ana";
const SOON: Duration = Duration::from_secs(30);

/// A way to edit, and who has to be told of it.
struct Way {
    what: &'static str,
    kind: &'static str,
    place: &'static str,
    program: &'static str,
    login: &'static str,
    /// What the unit's name begins with.
    unit: &'static str,
}

const WAYS: [Way; 3] = [
    Way {
        what: "usermod, by sudo over ssh",
        kind: "account-changed",
        place: "shell",
        program: "usermod",
        login: EDITOR,
        unit: "session-",
    },
    Way {
        what: "an editor (sed), by sudo over ssh",
        kind: "sudo-changed",
        place: "",
        program: "sed",
        login: EDITOR,
        unit: "session-",
    },
    Way {
        what: "usermod in a script, by cron",
        kind: "account-changed",
        place: "name",
        program: "usermod",
        login: "root",
        unit: "cron.service",
    },
];

/// Edits everybody once, each as soon as the one before is put right: cron begins only one each
/// minute.
const SCRIPT: &str = "#!/bin/sh
set -e
PATH=/usr/sbin:$PATH
rm /etc/cron.d/by-hand
while read -r login name; do
    usermod --comment By.Cron \"$login\"
    for round in $(seq 1000); do
        grep --quiet \"^$login:.*:By.Cron:\" /etc/passwd || break
        sleep 0.01
    done
done < /root/people
touch /run/by-hand-over
";

/// For how many edits something was named, and was who it was.
#[derive(Default)]
struct Named {
    told: usize,
    process: usize,
    program: usize,
    login: usize,
    unit: usize,
    all: usize,
}

fn main() -> anyhow::Result<()> {
    let count = env::args().find_map(|word| word.parse().ok()).unwrap_or(PEOPLE);
    let members = HOSTS.map(|name| Member { name, labels: &["env=bench"], mode: Mode::Enforce });
    let fleet = Fleet::start("attribution", &Programs::shipped()?, &members)?;
    let people: Vec<String> = (1..=count).map(|number| format!("user{number}")).collect();
    let cast = Cast { hosts: &HOSTS, people: &people, leavers: &[], editor: EDITOR };
    let edits = Edits::begin(&fleet, "env=bench", cast, 1)?;
    thread::scope(|scope| {
        let hosts: Vec<_> =
            HOSTS.iter().map(|host| scope.spawn(|| edit(&edits, &fleet, host, &people))).collect();
        hosts
            .into_iter()
            .try_for_each(|host| host.join().unwrap_or_else(|_| Err(anyhow!("the edits panicked"))))
    })?;
    let load = fs::read_to_string("/proc/loadavg").context("cannot read the load")?;
    let tries = count * HOSTS.len();
    println!("{tries} edits in each way, load {}", load.split(' ').next().unwrap_or_default());
    println!(
        "{:<36} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "percent", "told", "process", "program", "login", "unit", "all"
    );
    for way in &WAYS {
        let Named { told, process, program, login, unit, all } = ask(&fleet, way, tries)?;
        let share = |of: usize| format!("{}.{}", of * 100 / tries, of * 1_000 / tries % 10);
        let [told, process, program, login, unit, all] =
            [told, process, program, login, unit, all].map(share);
        println!(
            "{:<36} {told:>7} {process:>7} {program:>7} {login:>7} {unit:>7} {all:>7}",
            way.what
        );
    }
    Ok(())
}

/// Edits everybody on a host in each way.
fn edit(edits: &Edits<'_>, fleet: &Fleet, name: &str, people: &[String]) -> anyhow::Result<()> {
    let host = fleet.host(name);
    for login in people {
        for (command, file) in [
            (format!("usermod --shell /bin/sh {login}"), "/etc/passwd".to_owned()),
            (
                format!(
                    "sed --in-place s,/usr/bin/id,/usr/bin/who, /etc/sudoers.d/50-muster-{login}"
                ),
                format!("/etc/sudoers.d/50-muster-{login}"),
            ),
        ] {
            let before = lines_of(host, &file, login)?;
            ensure!(!before.is_empty(), "nothing about `{login}` in {file}");
            fleet.ssh(name, edits.editor()).command(&format!("sudo {command}")).run_ok()?;
            wait::until(SOON, &format!("`{command}` on {name} to be put right"), || {
                (lines_of(host, &file, login).ok()? == before).then_some(())
            })?;
        }
    }
    host.write("/root/people", (people.join("\n") + "\n").as_bytes(), 0o600)?;
    host.write("/root/by-hand", SCRIPT.as_bytes(), 0o700)?;
    host.write("/etc/cron.d/by-hand", b"* * * * * root /root/by-hand\n", 0o644)?;
    // Cron begins within a minute or two.
    wait::until(Duration::from_mins(10), "cron's script to end", || {
        host.look("/run/by-hand-over").ok().flatten()
    })?;
    Ok(())
}

/// Returns what a file says of somebody.
fn lines_of(host: &Host, file: &str, login: &str) -> anyhow::Result<Vec<String>> {
    let text = host.look(file)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let own = |line: &&str| line.split([':', ' ']).next() == Some(login);
    Ok(text.lines().filter(own).map(str::to_owned).collect())
}

/// Asks what was told of one way's edits, when all of it is.
fn ask(fleet: &Fleet, way: &Way, tries: usize) -> anyhow::Result<Named> {
    let mut last = 0;
    let told = wait::until(SOON, &format!("everything by {} to be told", way.what), || {
        let mut all = Vec::new();
        for host in HOSTS {
            all.extend(told(fleet, host, way).ok()?);
        }
        last = all.len();
        (last >= tries).then_some(all)
    });
    let told = told.with_context(|| format!("{last} of {tries} are told"))?;
    ensure!(told.len() == tries, "{} were told of {tries}", told.len());
    let mut named = Named { told: told.len(), ..Named::default() };
    let mut others: BTreeMap<String, usize> = BTreeMap::new();
    for one in &told {
        let by = one.get("by").filter(|by| !by.is_null());
        let word = |field| by.and_then(|by| by.get(field)?.as_str()).unwrap_or_default();
        let is_process = by.is_some_and(|by| by.get("pid").is_some());
        let is_program = word("program") == way.program;
        let is_login = word("login") == way.login;
        let is_unit = word("unit").starts_with(way.unit);
        named.process += usize::from(is_process);
        named.program += usize::from(is_program);
        named.login += usize::from(is_login);
        named.unit += usize::from(is_unit);
        let all = is_process && is_program && is_login && is_unit;
        named.all += usize::from(all);
        if !all {
            let (program, login, unit) = (word("program"), word("login"), word("unit"));
            *others.entry(format!("{program:?} of {login:?} in {unit:?}")).or_default() += 1;
        }
    }
    for (who, times) in others {
        println!("{}: {times} times {who}", way.what);
    }
    Ok(named)
}

fn told(fleet: &Fleet, host: &str, way: &Way) -> anyhow::Result<Vec<Value>> {
    let words = ["drift", "list", "--all", "--output", "json", "--host", host, "--kind", way.kind];
    let output = fleet.muster(&words)?;
    let all: Vec<Value> =
        serde_json::from_str(&output.stdout).with_context(|| output.to_string())?;
    let here = |one: &Value| one.get("place").and_then(Value::as_str) == Some(way.place);
    Ok(all.into_iter().filter(here).collect())
}
