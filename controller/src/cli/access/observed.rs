//! `muster access who-can HOST --observed`: what accounts hosts say that they have, each beside what
//! grants it. What is printed of a host is read from a receipt that was verified here with the
//! host's own key.

use anyhow::Result;
use muster_proto::{inventory::Inventory, receipt::Receipt, trust::verify_by_host};
use serde::Serialize;

use super::{End, Globals, ground};
use crate::{
    access::{
        self,
        observed::{Beside, beside},
    },
    cli::{
        output::{self, Format, Rows, count},
        session::Session,
    },
    client::Host,
    preview::HostLabels,
};

#[derive(Debug, Serialize)]
struct ObservedLine {
    host: String,
    host_id: String,
    login: String,
    /// Nothing: the host has no account of this login that can log in or become root.
    uid: Option<u32>,
    name: String,
    shell: String,
    password: Option<&'static str>,
    /// Whether PAM lets nobody in, since its day has come.
    shut: bool,
    keys: Vec<String>,
    becomes_root: bool,
    root_by: Vec<String>,
    /// What the host could not learn of it.
    unknown: Vec<String>,
    /// Whether it is Muster's on the host.
    managed: bool,
    /// The assignments that give it; none: it is ungranted.
    granted_by: Vec<String>,
    /// In which receipt, and when, the host told it.
    receipt: u64,
    told: String,
}

impl Rows for ObservedLine {
    fn head() -> &'static [&'static str] {
        &["HOST", "LOGIN", "UID", "GETS IN BY", "ROOT", "GRANTED", "UNKNOWN", "TOLD"]
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.host.clone(),
            self.login.clone(),
            self.uid.map(|uid| uid.to_string()).unwrap_or_default(),
            self.ways_in(),
            if self.becomes_root { self.root_by.join("; ") } else { "no".to_owned() },
            self.grant(),
            self.unknown.join("; "),
            self.told.clone(),
        ]
    }
}

impl ObservedLine {
    fn ways_in(&self) -> String {
        if self.uid.is_none() {
            return "not there".to_owned();
        }
        let mut ways = Vec::new();
        match self.password {
            Some("set") => ways.push("password".to_owned()),
            Some("empty") => ways.push("an empty password".to_owned()),
            _ => {}
        }
        if !self.keys.is_empty() {
            ways.push(count(self.keys.len(), "key", "keys"));
        }
        let ways = if ways.is_empty() { "nothing".to_owned() } else { ways.join(", ") };
        if self.shut { format!("shut: {ways}") } else { ways }
    }

    fn grant(&self) -> String {
        match self.granted_by.as_slice() {
            [] => "ungranted".to_owned(),
            by => format!("granted by {}", by.join(", ")),
        }
    }
}

/// What a host told of its accounts, in a receipt that was verified with its own key.
#[derive(Debug)]
pub struct Told {
    /// What it said.
    pub inventory: Inventory,
    /// The number of the receipt.
    pub receipt: u64,
    /// When, by its own clock.
    pub at: String,
}

/// Fetches what a host told of its accounts the last time. What cannot be believed is said, and is as
/// if it had not been told.
pub async fn told(session: &mut Session, host: &Host) -> Result<Option<Told>> {
    let name = &host.labels.hostname;
    let Some(envelope) = session.client.inventory(host.labels.id).await? else {
        output::say(&format!("{name} has not told yet what accounts it has"));
        return Ok(None);
    };
    match verify_by_host::<Receipt>(&envelope, host.keeper_key) {
        Ok(receipt) => {
            let receipt = receipt.into_inner();
            let (number, at) = (receipt.number, receipt.time.to_string());
            let told = |inventory| Told { inventory, receipt: number, at };
            Ok(receipt.inventory.map(told))
        }
        Err(error) => {
            output::say(&format!("a receipt of {name} is not believed: {error}"));
            Ok(None)
        }
    }
}

/// Prints what these hosts say beside what is granted there.
pub(super) async fn run(
    common: &Globals,
    session: &mut Session,
    places: &[HostLabels],
) -> Result<End> {
    let mut lines = Vec::new();
    let hosts = session.client.hosts().await?;
    for place in places {
        let Some(host) = hosts.iter().find(|host| host.labels.id == place.id) else { continue };
        let Some(told) = told(session, host).await? else { continue };
        let granted = access::on(&ground(session), std::slice::from_ref(place));
        let found = beside(&granted, &told.inventory);
        lines.extend(found.iter().map(|beside| line(place, &told, beside)));
        if told.inventory.more > 0 {
            let more = told.inventory.more;
            output::say(&format!("{} has {more} more, which it could not tell", place.hostname));
        }
    }
    output::list(common.output, &lines)?;
    if common.output == Format::Table {
        let ungranted = lines.iter().filter(|line| line.granted_by.is_empty()).count();
        let accounts = count(lines.len(), "account", "accounts");
        output::say(&format!("{accounts}, {ungranted} of them ungranted, as the hosts signed it"));
    }
    Ok(End::Done)
}

fn line(place: &HostLabels, told: &Told, beside: &Beside<'_>) -> ObservedLine {
    let found = beside.found;
    let granted = beside.granted.filter(|_| beside.is_granted());
    let by = granted.into_iter().flat_map(|access| &access.by);
    let root_by = found.map(|found| found.root_by.clone()).unwrap_or_default();
    ObservedLine {
        host: place.hostname.clone(),
        host_id: place.id.to_string(),
        login: beside.login.to_owned(),
        uid: found.map(|found| found.uid),
        name: found.map(|found| found.name.clone()).unwrap_or_default(),
        shell: found.map(|found| found.shell.clone()).unwrap_or_default(),
        password: found.map(|found| found.password.as_str()),
        shut: found.is_some_and(|found| found.shut),
        keys: found.map(|found| found.keys.clone()).unwrap_or_default(),
        becomes_root: !root_by.is_empty(),
        root_by,
        unknown: found.map(|found| found.unknown.clone()).unwrap_or_default(),
        managed: found.is_some_and(|found| found.owned),
        granted_by: by.map(|by| by.assignment.to_string()).collect(),
        receipt: told.receipt,
        told: told.at.clone(),
    }
}
