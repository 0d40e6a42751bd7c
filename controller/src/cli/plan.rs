//! `muster plan`: what files would change, on which hosts, who gains root. Nothing is written.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::Result;
use clap::Args;
use muster_proto::{
    chain::Loss,
    derive::Statements,
    id::Id,
    name::Login,
    statement::{Content, Statement},
};
use serde::Serialize;

use super::{
    End, Globals, cure,
    folds::{self, FoldView, Grounds},
    hint,
    losses::{self, LossView},
    output::{self, Format, count},
    session::{self, Session},
    usage,
};
use crate::{
    declare::{
        self, Difference, Resolved,
        note::Note,
        resolve::{Ground, Named},
    },
    describe,
    preview::{self, Effect, HostLabels},
};

/// What files declare.
#[derive(Clone, Debug, Args)]
pub struct Files {
    /// Files, directories of `.yaml` files, or `-` for standard input.
    #[arg(short, long = "file", required = true, value_name = "PATH", num_args = 1..)]
    pub file: Vec<PathBuf>,
    /// What comes back though it was revoked: a user by login, anything else by the revocation's id,
    /// which the error that refuses it names; may be given several times.
    #[arg(long, value_name = "LOGIN|ID")]
    pub reinstate: Vec<String>,
    /// A revocation of the controller's own that the change shall keep, or `all` that are shown;
    /// may be given several times. What is not confirmed stays open.
    #[arg(long, value_name = "ID")]
    pub confirm_revocation: Vec<String>,
}

/// The verb's own arguments.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    files: Files,
}

/// All that a plan shows.
#[derive(Clone, Debug)]
pub struct Planned<'a> {
    /// What files change.
    pub resolved: &'a Resolved,
    /// What that does on the hosts.
    pub effects: &'a [Effect],
    /// What the link carries along: what was revoked since the one before.
    pub folds: Vec<Statement>,
    /// What that rests on.
    pub grounds: Grounds<'a>,
}

/// A plan as programs see it.
#[derive(Debug, Serialize)]
struct PlanView {
    /// What may not be meant.
    notes: Vec<String>,
    changes: Vec<ChangeView>,
    /// What the controller took away and no approver confirmed.
    losses: Vec<LossView>,
    /// What was revoked since the last change and becomes part of the directory with the next.
    folds: Vec<FoldView>,
    hosts: Vec<EffectView>,
    /// Host effects rest on labels that hosts reported; they are not proof.
    rests_on: &'static str,
}

#[derive(Debug, Serialize)]
struct ChangeView {
    action: &'static str,
    kind: String,
    name: String,
    details: Vec<String>,
}

#[derive(Debug, Serialize)]
struct EffectView {
    host: String,
    gained: Vec<String>,
    /// Accounts that are there already and become a user's.
    takes_over: Vec<String>,
    lost: Vec<String>,
    changed: Vec<String>,
    gains_root: Vec<String>,
    loses_root: Vec<String>,
}

/// Reads files and resolves them against what was verified.
pub fn resolve(files: &Files, session: &Session, hosts: &[HostLabels]) -> Result<Resolved> {
    let declared = declare::read(&files.file).map_err(|wrong| {
        let cure = cure::of_file(&wrong);
        hint(usage(wrong), cure)
    })?;
    let chain = session.tool.chain();
    let named: Result<BTreeSet<Named>, _> =
        files.reinstate.iter().map(|word| Named::parse(word, chain)).collect();
    let mut failed = None;
    let mut new_id = || match session::new_id() {
        Ok(id) => id,
        Err(error) => {
            failed.get_or_insert(error);
            Id::Object([0; 16])
        }
    };
    let mut ground = Ground {
        chain,
        history: session.tool.history(),
        hosts,
        reinstate: &named.map_err(|wrong| {
            let wrong = anyhow::Error::from(wrong).context("--reinstate");
            hint(usage(wrong), "`muster user list` shows who was offboarded or revoked")
        })?,
        new_id: &mut new_id,
        now: session::now(),
    };
    let resolved = declare::resolve(&declared, &mut ground).map_err(|wrong| {
        let cure = cure::of_declaration(&wrong.error);
        hint(usage(wrong), cure)
    });
    let resolved = match failed {
        Some(error) => return Err(error),
        None => resolved?,
    };
    match resolved.useless.first() {
        Some(named) => Err(cure::of_useless(named, chain)),
        None => Ok(resolved),
    }
}

/// Runs the verb.
pub async fn run(common: &Globals, args: &PlanArgs) -> Result<End> {
    let mut session = common.session().await?;
    let hosts = hosts(&mut session).await?;
    let resolved = resolve(&args.files, &session, &hosts)?;
    let effects = effects(&session, &resolved.statements, &hosts);
    let confirmed = losses::confirmed(&args.files.confirm_revocation, session.tool.chain())?;
    show(common.output, &Planned::new(&session, &resolved, &effects, &confirmed))?;
    let nothing = resolved.statements.is_empty() && confirmed.is_empty();
    Ok(if nothing { End::Done } else { End::Differences })
}

/// Asks the controller which hosts there are, with the labels that they reported.
pub async fn hosts(session: &mut Session) -> Result<Vec<HostLabels>> {
    let hosts = session.client.hosts().await?.into_iter().filter(|host| !host.pending);
    Ok(hosts.map(|host| host.labels).collect())
}

/// Returns what there is after statements have changed.
pub fn after(session: &Session, changed: &[Statement]) -> Statements {
    let mut after = session.tool.chain().statements().clone();
    after.extend(changed.iter().map(|statement| (statement.id, statement.clone())));
    after
}

/// Returns what statements would do on the hosts.
pub fn effects(session: &Session, changed: &[Statement], hosts: &[HostLabels]) -> Vec<Effect> {
    let (chain, after) = (session.tool.chain(), after(session, changed));
    let revocations = chain.revocations();
    preview::preview(chain.statements(), &after, (revocations, revocations), hosts, session.now())
}

impl<'a> Planned<'a> {
    /// What files change, with what a link made of it would carry along.
    pub fn new(
        session: &'a Session,
        resolved: &'a Resolved,
        effects: &'a [Effect],
        confirmed: &'a [Loss],
    ) -> Self {
        let (chain, kept) = (session.tool.chain(), session.tool.verified_revocations());
        let changed = resolved.statements.iter().map(|statement| statement.id).collect();
        let folds = chain.folds(&changed, confirmed);
        Self { resolved, effects, folds, grounds: Grounds { chain, kept, confirmed } }
    }
}

/// Shows a plan: for people as text, for programs as one value.
pub fn show(format: Format, planned: &Planned<'_>) -> Result<End> {
    match format {
        Format::Table => output::lines(&text(planned)),
        Format::Json | Format::Yaml => output::value(format, &view(planned)),
    }
}

/// Returns a plan as people read it.
pub fn text(planned: &Planned<'_>) -> Vec<String> {
    lines(&view(planned))
}

fn view(planned: &Planned<'_>) -> PlanView {
    let Planned { resolved, effects, folds, grounds } = planned;
    let mut statements = grounds.chain.statements().clone();
    for statement in &resolved.statements {
        if statement.content.name().is_some() {
            statements.insert(statement.id, statement.clone());
        }
    }
    let differences = resolved.differences.iter();
    PlanView {
        notes: resolved.notes.iter().map(Note::to_string).collect(),
        changes: differences.map(|difference| change(difference, &statements)).collect(),
        losses: losses::views(grounds.chain, grounds.confirmed),
        folds: folds::views(folds, grounds),
        hosts: effects.iter().map(effect).collect(),
        rests_on: "labels that the hosts reported themselves; this is no proof",
    }
}

fn change(difference: &Difference, statements: &Statements) -> ChangeView {
    let words = |content: &Content| describe::content(content, statements);
    let (action, mut details) = match (&difference.before, &difference.after) {
        (_, Content::Removal(_)) => ("remove", Vec::new()),
        (Some(Content::Removal(_) | Content::Revoked { .. }), after) => {
            ("bring back", words(after))
        }
        (Some(_), after) if !difference.reinstates.is_empty() => ("bring back", words(after)),
        (None, after) => ("create", words(after)),
        (Some(before), after) => {
            let old: BTreeSet<String> = words(before).into_iter().collect();
            let new: BTreeSet<String> = words(after).into_iter().collect();
            let mut lines: Vec<String> =
                old.difference(&new).map(|line| format!("- {line}")).collect();
            lines.extend(new.difference(&old).map(|line| format!("+ {line}")));
            ("change", lines)
        }
    };
    details.extend(describe::reinstates(&difference.reinstates));
    let (kind, name) = (difference.kind.to_string(), difference.name.clone());
    ChangeView { action, kind, name, details }
}

fn effect(effect: &Effect) -> EffectView {
    let texts = |logins: &BTreeSet<Login>| logins.iter().map(ToString::to_string).collect();
    // Who takes an account over is not given a new one.
    let adopts = |login: &&Login| effect.takes_over.contains_key(*login);
    let gained = effect.gained.iter().filter(|login| !adopts(login)).cloned().collect();
    let takes_over =
        effect.takes_over.iter().map(|(login, uid)| format!("{login}, uid {uid} kept"));
    let changed = effect
        .changed
        .iter()
        .flat_map(|(login, words)| words.iter().map(move |word| format!("{login}: {word}")));
    EffectView {
        host: effect.hostname.clone(),
        gained: texts(&gained),
        takes_over: takes_over.collect(),
        lost: texts(&effect.lost),
        changed: changed.collect(),
        gains_root: texts(&effect.gains_root),
        loses_root: texts(&effect.loses_root),
    }
}

/// Over what a change carries along.
const CARRIED: &str = "Revoked since the last change, and carried into the directory by this one:";
/// Over what no change carries yet.
const WAITING: &str = "Revoked since the last change; the next one carries it into the directory:";

fn lines(view: &PlanView) -> Vec<String> {
    let mut lines: Vec<String> = view.losses.iter().flat_map(LossView::lines).collect();
    lines.extend(view.notes.iter().map(|note| format!("note: {note}")));
    let folds = view.folds.iter().flat_map(FoldView::lines);
    if view.changes.is_empty() {
        lines.push("Nothing to change: the directory is as declared.".to_owned());
        if !view.folds.is_empty() {
            let is_made = view.losses.iter().any(LossView::is_confirmed);
            lines.push(if is_made { CARRIED } else { WAITING }.to_owned());
        }
        lines.extend(folds);
        return lines;
    }
    for change in &view.changes {
        let sign = match change.action {
            "create" | "bring back" => '+',
            "remove" => '-',
            _ => '~',
        };
        lines.push(format!("{sign} {} {} {}", change.action, change.kind, change.name));
        lines.extend(change.details.iter().map(|detail| format!("      {detail}")));
    }
    if !view.folds.is_empty() {
        lines.extend([String::new(), CARRIED.to_owned()]);
    }
    lines.extend(folds);
    lines.push(String::new());
    if view.hosts.is_empty() {
        lines.push("No host changes.".to_owned());
    }
    for host in &view.hosts {
        lines.push(format!("on {}:", host.host));
        let mut add = |sign: &str, what: &str, logins: &[String]| {
            if !logins.is_empty() {
                lines.push(format!("  {sign} {what} {}", logins.join(", ")));
            }
        };
        add("-", "locks", &host.lost);
        add("+", "gives an account to", &host.gained);
        for taken in &host.takes_over {
            add("!", "takes over the account of", std::slice::from_ref(taken));
        }
        add("!", "lets become ROOT:", &host.gains_root);
        add("-", "no longer lets become root:", &host.loses_root);
        lines.extend(host.changed.iter().map(|line| format!("  ~ {line}")));
    }
    let root: BTreeSet<&String> = view.hosts.iter().flat_map(|host| &host.gains_root).collect();
    lines.push(String::new());
    lines.push(format!(
        "{}, {} affected, root gained by {}. Host effects rest on {}.",
        count(view.changes.len(), "change", "changes"),
        count(view.hosts.len(), "host", "hosts"),
        count(root.len(), "login", "logins"),
        view.rests_on
    ));
    lines
}
