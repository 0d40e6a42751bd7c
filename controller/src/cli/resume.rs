//! What `apply` and `offboard` begin with: a change that an earlier run began to sign and did not
//! finish. It is shown again, signed again as the same candidate, and published, before anything else
//! is signed: the next number is its own.

use anyhow::Result;
use muster_proto::{
    chain::Loss,
    id::HostId,
    statement::{Content, Statement},
};

use super::{
    End, Globals,
    apply::{agree, load_key},
    folds::Grounds,
    follow::{self, Asked, Wait},
    output::{self, Format},
    plan::{self, Planned},
    session::{Published, Session},
};
use crate::{
    declare::{Difference, Resolved},
    tool::signing::Unfinished,
};

/// A change of an earlier run that is published now.
#[derive(Debug)]
pub struct Resumed {
    published: Published,
    asked: Asked,
}

/// Takes up what is unfinished, if anything is.
pub async fn run(common: &Globals, session: &mut Session, yes: bool) -> Result<Option<Resumed>> {
    session.check_sent()?;
    if let Some(published) = session.sent.take() {
        return Ok(Some(Resumed::of(published, Asked::default())));
    }
    let Some(Unfinished::Begun(begun)) = session.tool.unfinished()? else { return Ok(None) };
    let link = &begun.candidate.link;
    output::say(&format!(
        "you began to sign change {} ({}) at {} and did not finish: this is what it does",
        link.number,
        muster_proto::envelope::Document::digest(link).short(),
        link.time
    ));
    let body = &begun.candidate.body;
    let resolved = resolved(session, body.statements.clone());
    let hosts = plan::hosts(session).await?;
    let all: Vec<Statement> = body.all().cloned().collect();
    let effects = plan::effects(session, &all, &hosts);
    if common.output == Format::Table {
        let (chain, kept) = (session.tool.chain(), session.tool.verified_revocations());
        let folds = body.folds.clone();
        let confirmed: Vec<Loss> =
            chain.losses().into_iter().filter(|loss| of(loss, &folds)).collect();
        let grounds = Grounds { chain, kept, confirmed: &confirmed };
        let (resolved, effects) = (&resolved, effects.as_slice());
        plan::show(common.output, &Planned { resolved, effects, folds, grounds })?;
    }
    agree(yes, &format!("Sign and publish change {}, the same as before?", link.number))?;
    let about = follow::about(&resolved, &effects, &plan::after(session, &resolved.statements));
    let asked = Asked {
        hosts: follow::affected(&effects).collect(),
        about,
        locks: follow::locked(&effects),
        ..Asked::default()
    };
    let key = load_key(common)?;
    let published = session.finish(&begun, &key).await?;
    Ok(Some(Resumed::of(published, asked)))
}

/// Says whether a fold of the candidate is of this loss: then its signer confirmed it.
fn of(loss: &Loss, folds: &[Statement]) -> bool {
    folds.iter().any(|fold| loss.concerned.contains(&fold.id))
}

/// The statements of a candidate as a plan shows them.
fn resolved(session: &Session, statements: Vec<Statement>) -> Resolved {
    let (known, history) = (session.tool.chain().statements(), session.tool.history());
    let difference = |statement: &Statement| {
        let old = known.get(&statement.id);
        let before = old.map(|old| old.content.clone());
        let was = old.map(|old| old.reinstates.clone()).unwrap_or_default();
        let reinstates = statement.reinstates.difference(&was).copied().collect();
        let named = [Some(&statement.content), before.as_ref()];
        let name = named.into_iter().flatten().find_map(Content::name);
        let name = name.or_else(|| history.name(&statement.id)).unwrap_or("(gone)");
        let (kind, name) = (statement.content.kind(), name.to_owned());
        Difference { kind, name, before, after: statement.content.clone(), reinstates }
    };
    let mut differences: Vec<Difference> = statements.iter().map(difference).collect();
    differences.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    Resolved { statements, differences, ..Resolved::default() }
}

impl Resumed {
    fn of(published: Published, mut asked: Asked) -> Self {
        let Published { link, statements, hosts } = &published;
        output::say(&format!("published change {} ({})", link.number, link.digest.short()));
        asked.link = Some(link.number);
        asked.hosts.extend(hosts);
        asked.undone = "not changed";
        asked.about.extend(statements.iter().filter_map(|s| s.content.name()).map(str::to_owned));
        Self { published, asked }
    }

    /// Returns what the controller has now.
    pub fn published(&self) -> &Published {
        &self.published
    }

    /// Follows it onto the hosts, if nothing else is to be done.
    pub async fn follow(self, session: &mut Session, format: Format, wait: &Wait) -> Result<End> {
        follow::run(session, format, wait, &self.asked).await
    }

    /// Adds what it asks of hosts to what a later change asks of them. Hosts that only the earlier
    /// one concerns never confirm the later one, and are named as not followed.
    pub fn join(self, later: &mut Asked) -> End {
        let left: Vec<String> =
            self.asked.hosts.difference(&later.hosts).map(HostId::short).collect();
        later.about.extend(self.asked.about);
        later.locks.extend(self.asked.locks);
        if left.is_empty() {
            return End::Done;
        }
        output::say(&format!("not followed for the change before: {}", left.join(", ")));
        End::Waiting
    }
}
