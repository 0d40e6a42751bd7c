//! `muster access who-can HOST --observed`: what accounts hosts say that they have, each beside what
//! grants it. What is printed of a host is read from a receipt that was verified here with the
//! host's own key.

use anyhow::Result;
use muster_proto::{
    crypto::MachinePublicKey,
    envelope::Envelope,
    inventory::Inventory,
    receipt::Receipt,
    trust::{Refused, verify_by_host},
};
use serde::Serialize;

use super::{End, Globals, ground};
use crate::{
    access::{
        self, Access,
        observed::{Beside, beside},
    },
    cli::{
        output::{self, Format, Rows, count},
        session::Session,
    },
    client::Host,
    preview::HostLabels,
};

#[derive(Debug, Default, Serialize)]
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
    /// Nothing, or what of the host is missing here: then this line is of no account.
    untold: Option<String>,
}

impl Rows for ObservedLine {
    fn head() -> &'static [&'static str] {
        &["HOST", "LOGIN", "UID", "GETS IN BY", "ROOT", "GRANTED", "UNKNOWN", "TOLD"]
    }

    fn row(&self) -> Vec<String> {
        if let Some(untold) = &self.untold {
            let blank = [""; 4].map(str::to_owned);
            let [login, uid, root, granted] = blank;
            let (ways, told) = ("not known".to_owned(), self.told.clone());
            return vec![self.host.clone(), login, uid, ways, root, granted, untold.clone(), told];
        }
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

/// Why what a host has of accounts is not known, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Untold {
    /// It went away while it was asked for.
    Gone,
    /// It has told nothing.
    Nothing,
    /// What it told is not what it signed.
    Unbelieved(Refused),
    /// So many accounts found no room in a receipt.
    More(u32),
}

impl Untold {
    fn in_words(&self) -> String {
        match self {
            Self::Gone => "the controller knows it no more".to_owned(),
            Self::Nothing => "has not told yet what accounts it has".to_owned(),
            Self::Unbelieved(error) => format!("a receipt is not believed: {error}"),
            Self::More(more) => format!("has {more} more, which it could not tell"),
        }
    }

    /// Somebody has to see to what is not believed; all else may still come.
    fn end(&self) -> End {
        match self {
            Self::Unbelieved(_) => End::Findings,
            Self::Gone | Self::Nothing | Self::More(_) => End::Waiting,
        }
    }
}

/// Fetches what a host told of its accounts the last time. What cannot be believed is said, and is as
/// if it had not been told.
pub async fn told(session: &mut Session, host: &Host) -> Result<Option<Told>> {
    let envelope = session.client.inventory(host.labels.id).await?;
    Ok(match read(envelope.as_ref(), host.keeper_key) {
        Ok(told) => Some(told),
        Err(untold) => {
            output::say(&format!("{}: {}", host.labels.hostname, untold.in_words()));
            None
        }
    })
}

/// Reads what a host has told, from the receipt that tells it.
fn read(envelope: Option<&Envelope>, key: MachinePublicKey) -> Result<Told, Untold> {
    let envelope = envelope.ok_or(Untold::Nothing)?;
    let receipt = verify_by_host::<Receipt>(envelope, key).map_err(Untold::Unbelieved)?;
    let Receipt { number, time, inventory, .. } = receipt.into_inner();
    let inventory = inventory.ok_or(Untold::Nothing)?;
    Ok(Told { inventory, receipt: number, at: time.to_string() })
}

/// Prints what these hosts say beside what is granted there.
pub(super) async fn run(
    common: &Globals,
    session: &mut Session,
    places: &[HostLabels],
) -> Result<End> {
    let mut lines = Vec::new();
    let mut untold = Vec::new();
    let hosts = session.client.hosts().await?;
    for place in places {
        let told = match hosts.iter().find(|host| host.labels.id == place.id) {
            Some(host) => {
                let envelope = session.client.inventory(place.id).await?;
                read(envelope.as_ref(), host.keeper_key)
            }
            None => Err(Untold::Gone),
        };
        let granted = access::on(&ground(session), std::slice::from_ref(place));
        let (of_host, missing) = lines_of(place, told, &granted);
        lines.extend(of_host);
        untold.extend(missing);
    }
    output::list(common.output, &lines)?;
    if common.output == Format::Table {
        let accounts = || lines.iter().filter(|line| line.untold.is_none());
        let ungranted = accounts().filter(|line| line.granted_by.is_empty()).count();
        let accounts = count(accounts().count(), "account", "accounts");
        output::say(&format!("{accounts}, {ungranted} of them ungranted, as the hosts signed it"));
    }
    Ok(end(&untold))
}

/// Returns how it ends: what is wrong comes before what may still come.
fn end(untold: &[Untold]) -> End {
    let ends = || untold.iter().map(Untold::end);
    ends().find(|end| *end == End::Findings).or_else(|| ends().next()).unwrap_or(End::Done)
}

/// Returns the lines of one host; one of them says what is missing, if anything is.
fn lines_of(
    place: &HostLabels,
    told: Result<Told, Untold>,
    granted: &[Access],
) -> (Vec<ObservedLine>, Option<Untold>) {
    let (mut lines, missing, receipt, at) = match told {
        Ok(told) => {
            let found = beside(granted, &told.inventory);
            let lines: Vec<_> = found.iter().map(|beside| line(place, &told, beside)).collect();
            let more = told.inventory.more;
            (lines, (more > 0).then_some(Untold::More(more)), told.receipt, told.at.clone())
        }
        Err(untold) => (Vec::new(), Some(untold), 0, String::new()),
    };
    lines.extend(missing.as_ref().map(|untold| ObservedLine {
        host: place.hostname.clone(),
        host_id: place.id.to_string(),
        receipt,
        told: at,
        untold: Some(untold.in_words()),
        ..ObservedLine::default()
    }));
    (lines, missing)
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
        untold: None,
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::{id::Digest, selector::Labels};

    use super::*;
    use crate::{
        access::observed::tests::local,
        cli::drift::tests::{key, receipt},
    };

    fn told(more: u32) -> Told {
        let eve = local("eve", false);
        let inventory = Inventory { accounts: vec![eve], more };
        Told { inventory, receipt: 7, at: "now".to_owned() }
    }

    fn unbelieved() -> Untold {
        let (db1, thief) = (key(), key());
        read(Some(&receipt(&db1, &thief, 1)), db1.public()).unwrap_err()
    }

    #[test]
    fn what_a_host_has_not_told_is_a_line_of_its_own_and_no_good_end() {
        let (id, labels) = (Digest::new([1; 32]), Labels::default());
        let place = HostLabels { id, hostname: "db1".to_owned(), labels };
        for (told, lines, wanted) in [
            (Ok(told(0)), 1, End::Done),
            (Ok(told(1)), 2, End::Waiting),
            (Err(Untold::Nothing), 1, End::Waiting),
            (Err(Untold::Gone), 1, End::Waiting),
            (Err(unbelieved()), 1, End::Findings),
        ] {
            let (found, missing) = lines_of(&place, told, &[]);
            assert_eq!((found.len(), end(missing.as_slice())), (lines, wanted), "{found:?}");
            let last = found.last().unwrap();
            assert_eq!(last.untold, missing.as_ref().map(Untold::in_words));
            let row = last.row();
            assert_eq!(row.len(), ObservedLine::head().len());
            assert!(missing.is_none_or(|untold| row.contains(&untold.in_words())), "{row:?}");
        }
        assert_eq!(end(&[Untold::Nothing, unbelieved(), Untold::Gone]), End::Findings);
    }

    #[test]
    fn no_receipt_one_without_accounts_and_one_of_somebody_else_are_told_apart() {
        let db1 = key();
        assert_eq!(read(None, db1.public()).unwrap_err(), Untold::Nothing);
        let without = receipt(&db1, &db1, 1);
        assert_eq!(read(Some(&without), db1.public()).unwrap_err(), Untold::Nothing);
        assert!(matches!(unbelieved(), Untold::Unbelieved(_)));
    }
}
