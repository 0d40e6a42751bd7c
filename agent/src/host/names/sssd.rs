//! Whether sssd speaks for the directory or only for its cache. With the directory out of reach it
//! answers for whom it has seen before and says of everybody else, as of nobody at all, that there
//! is no such account. Its own bus tells the two apart: each backend says there whether it is online.

use crate::host::{
    chain,
    files::{Dir, is_link},
    program::Programs,
};

const BUSES: &str = "/var/lib/sss/pipes/private";
/// One bus for each domain until sssd 2.9, linked to by this and its name.
const OF_DOMAIN: &str = "sbus-dp_";
/// One for all domains since sssd 2.10.
const OF_ALL: &str = "sbus-master";
/// What a domain's backend calls itself there, followed by the domain's name.
const BACKEND: &str = "sssd.domain_";

/// Fails with the reason unless every domain is known to be online.
pub(super) fn is_online(root: &Dir, programs: Programs) -> Result<(), String> {
    let mut backends = 0;
    for bus in buses(root)? {
        let bus = format!("--bus=unix:path={BUSES}/{bus}");
        let names = call(
            programs,
            &[
                &bus,
                "--dest=org.freedesktop.DBus",
                "/org/freedesktop/DBus",
                "org.freedesktop.DBus.ListNames",
            ],
        )?;
        for backend in names.split_whitespace().filter(|name| name.starts_with(BACKEND)) {
            let to = format!("--dest={backend}");
            // Without a name it is the backend's own domain that is meant.
            let words = [&bus, &to, "/sssd", "sssd.DataProvider.Backend.IsOnline", "string:"];
            let answer = call(programs, &words)?;
            if answer.trim() != "boolean true" {
                return Err(format!("sssd is offline: `{backend}` does not reach its directory"));
            }
            backends += 1;
        }
    }
    if backends == 0 {
        return Err("sssd does not say whether it is online: it has no domain".to_owned());
    }
    Ok(())
}

fn buses(root: &Dir) -> Result<Vec<String>, String> {
    let dir = root.walk(BUSES).map_err(|error| chain(&error))?;
    let Some(dir) = dir else { return Ok(Vec::new()) };
    let mut buses = Vec::new();
    for name in dir.names().map_err(|error| chain(&error))? {
        // Beside the link there is the socket of each process that the domain has had.
        let found = || dir.stat(&name).map_err(|error| chain(&error));
        if name == OF_ALL
            || name.starts_with(OF_DOMAIN) && found()?.is_some_and(|found| is_link(&found))
        {
            buses.push(name);
        }
    }
    Ok(buses)
}

fn call(programs: Programs, words: &[&str]) -> Result<String, String> {
    let asked = ["--print-reply=literal", "--reply-timeout=5000"];
    match programs.status("dbus-send", &[&asked, words].concat()) {
        Some(Ok((0, answer))) => Ok(answer),
        Some(Ok((_, said))) => {
            let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
            Err(format!("sssd does not say whether it is online: {said}"))
        }
        Some(Err(reason)) => Err(format!("sssd does not say whether it is online: {reason}")),
        None => Err("there is no dbus-send to ask sssd whether it is online".to_owned()),
    }
}
