//! `muster access who-can|of`: who has what where, worked out here from the chain that this
//! operator has verified. The controller only says which hosts there are, with the labels that they
//! reported: no proof, and whoever is told so can look at the host itself.

pub mod observed;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use clap::Subcommand;
use muster_proto::{
    envelope::Verified,
    id::Id,
    link::{Link, LinkBody},
    name::Login,
    selector::Selector,
    time::Timestamp,
};
use serde::Serialize;

use super::{
    End, Globals, hint, host,
    output::{self, Format, Rows, count},
    session::Session,
    usage,
};
use crate::{
    access::{self, Access, By, Ground},
    describe,
    preview::HostLabels,
};

/// What to ask about access.
#[derive(Clone, Debug, Subcommand)]
pub enum AccessVerb {
    /// Say who has an account on a host, or on all hosts that a selector matches, how, why and until
    /// when, and who becomes root.
    WhoCan {
        /// A host's name or id, or a selector such as `env=prod`.
        #[arg(value_name = "HOST|SELECTOR")]
        place: String,
        /// Say what accounts the hosts have themselves, whoever made them, each with what grants
        /// it or as `ungranted`.
        #[arg(long)]
        observed: bool,
    },
    /// Say on which hosts a user has an account, how, why and until when, and where root.
    Of {
        /// The login.
        login: String,
    },
}

#[derive(Debug, Serialize)]
struct AccessLine {
    host: String,
    host_id: String,
    login: String,
    login_by: Vec<String>,
    keys: Vec<String>,
    becomes_root: bool,
    root_by: Vec<String>,
    given_by: Vec<GivenBy>,
    until: Option<String>,
}

#[derive(Debug, Serialize)]
struct GivenBy {
    assignment: String,
    role: String,
    until: Option<String>,
    /// The change in which the newest revision of the assignment was approved, and of its role.
    approved: Vec<Approval>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Approval {
    change: u64,
    signed_by: Vec<String>,
}

impl Rows for AccessLine {
    fn head() -> &'static [&'static str] {
        &["HOST", "LOGIN", "BY", "ROOT", "ASSIGNMENT (ROLE)", "UNTIL", "APPROVED"]
    }

    fn row(&self) -> Vec<String> {
        let given = self.given_by.iter().map(|by| format!("{} ({})", by.assignment, by.role));
        let approved: BTreeSet<&Approval> =
            self.given_by.iter().flat_map(|by| &by.approved).collect();
        let approved = approved
            .iter()
            .map(|approval| format!("{} by {}", approval.change, approval.signed_by.join("+")));
        vec![
            self.host.clone(),
            self.login.clone(),
            self.login_by.join(", "),
            if self.becomes_root { self.root_by.join("; ") } else { "no".to_owned() },
            given.collect::<Vec<_>>().join(", "),
            self.until.clone().unwrap_or_default(),
            approved.collect::<Vec<_>>().join(", "),
        ]
    }
}

/// Runs the verb.
pub async fn run(common: &Globals, verb: &AccessVerb) -> Result<End> {
    let mut session = common.session().await?;
    let found = match verb {
        AccessVerb::WhoCan { place, observed } => {
            let hosts = hosts(&mut session, place).await?;
            if *observed {
                return self::observed::run(common, &mut session, &hosts).await;
            }
            access::on(&ground(&session), &hosts)
        }
        AccessVerb::Of { login } => {
            let login = Login::parse(login).map_err(usage)?;
            let chain = session.tool.chain();
            if !chain.taken().logins.contains_key(&login) {
                return Err(hint(
                    usage(anyhow::anyhow!("the directory has no user `{login}`")),
                    "`muster user list` shows who there is",
                ));
            }
            let hosts = super::plan::hosts(&mut session).await?;
            let mut all = access::on(&ground(&session), &hosts);
            all.retain(|access| access.login == login);
            all
        }
    };
    let approvals = Approvals::load(&session, &found)?;
    let lines: Vec<AccessLine> = found.iter().map(|access| line(access, &approvals)).collect();
    output::list(common.output, &lines)?;
    if common.output == Format::Table {
        let accounts = count(lines.len(), "account", "accounts");
        output::say(&format!(
            "{accounts}, by labels that the hosts reported themselves; this is no proof"
        ));
    }
    Ok(End::Done)
}

fn ground(session: &Session) -> Ground<'_> {
    let chain = session.tool.chain();
    Ground { statements: chain.statements(), revocations: chain.revocations(), now: session.now() }
}

/// A host goes by its name or id, and whatever is neither is a selector.
async fn hosts(session: &mut Session, wanted: &str) -> Result<Vec<HostLabels>> {
    let failed = match host::find(session, wanted).await {
        Ok(host) => return Ok(vec![host.labels]),
        Err(error) => error,
    };
    let is_selector = wanted == "all" || wanted.contains(['=', '!', ' ', ',']);
    if !is_selector {
        return Err(failed);
    }
    let selector = Selector::parse(wanted)
        .with_context(|| format!("`{wanted}` is neither a host nor a selector"))
        .map_err(usage)?;
    let mut hosts = super::plan::hosts(session).await?;
    hosts.retain(|host| selector.matches(&host.labels));
    Ok(hosts)
}

/// In which change each statement's newest revision was approved, and by whom.
struct Approvals(BTreeMap<Id, Approval>);

impl Approvals {
    /// Looks through the links from the newest back, until every statement is found.
    fn load(session: &Session, found: &[Access]) -> Result<Self> {
        let chain = session.tool.chain();
        let given = found.iter().flat_map(|access| &access.by);
        let mut wanted: BTreeSet<Id> = given.flat_map(|by| [by.id, by.role.0]).collect();
        let mut approvals = BTreeMap::new();
        let mut number = chain.newest().map_or(0, |link| link.number);
        while number > 0 && !wanted.is_empty() {
            let published = session.tool.published(number)?;
            let published = published.with_context(|| format!("change {number} is missing"))?;
            let (link, body, _): (Verified<Link>, LinkBody, _) =
                chain.verify_link(&published.link, &published.body, number)?;
            let signed_by: Vec<String> = link.signers().iter().cloned().collect();
            for statement in body.all().filter(|statement| wanted.remove(&statement.id)) {
                let signed_by = signed_by.clone();
                approvals.insert(statement.id, Approval { change: number, signed_by });
            }
            number -= 1;
        }
        Ok(Self(approvals))
    }

    fn of(&self, by: &By) -> Vec<Approval> {
        let found = [by.id, by.role.0].into_iter().filter_map(|id| self.0.get(&id).cloned());
        let set: BTreeSet<Approval> = found.collect();
        set.into_iter().collect()
    }
}

fn line(access: &Access, approvals: &Approvals) -> AccessLine {
    let time = |time: &Timestamp| time.to_string();
    let given = access.by.iter().map(|by| GivenBy {
        assignment: by.assignment.to_string(),
        role: by.role.1.clone(),
        until: by.until.as_ref().map(time),
        approved: approvals.of(by),
    });
    let methods = access.methods.iter().map(|method| describe::login_method(*method).to_owned());
    AccessLine {
        host: access.host.hostname.clone(),
        host_id: access.host.id.to_string(),
        login: access.login.to_string(),
        login_by: methods.collect(),
        keys: access.keys.iter().cloned().collect(),
        becomes_root: !access.root_by.is_empty(),
        root_by: access.root_by.iter().cloned().collect(),
        given_by: given.collect(),
        until: access.until.as_ref().map(time),
    }
}
