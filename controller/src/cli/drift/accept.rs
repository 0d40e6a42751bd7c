//! `muster drift accept ID`: says that something is known and may stay until a date. The
//! controller's log says who and why; nothing of it is signed, since it gives nothing and no host
//! hears of it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use muster_proto::{name::Line, time::Timestamp};

use super::{
    super::{End, Globals, apply::agree, hint, host, output, session, usage},
    Session,
    line::{AcceptedLine, DriftLine, ExceptionLine, Listed, read},
    propose,
};
use crate::{
    client::DriftWanted,
    declare::{
        dates::{self, When},
        text::FromText,
    },
    exception::{self, Accepted, BadEnd, DriftScope, Thing, Unfit},
};

/// What to accept, until when and why.
#[derive(Clone, Debug, Args)]
pub struct AcceptArgs {
    /// Its number in the list.
    #[arg(required_unless_present = "host")]
    id: Option<u64>,
    /// Until when: a day, which is included, a moment, or for so long: `90d`. 400 days at most.
    #[arg(long, value_name = "WHEN", required_unless_present_any = ["withdraw", "propose"])]
    until: Option<String>,
    /// Why; it is kept in the log.
    #[arg(long, required_unless_present_any = ["withdraw", "propose"])]
    reason: Option<String>,
    #[command(flatten)]
    thing: ThingArgs,
    #[command(flatten)]
    pub(super) instead: Instead,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Show what would be done and end.
    #[arg(long)]
    dry_run: bool,
}

/// What was accepted, where it is not there any more and has no number in the list.
#[derive(Clone, Debug, Args)]
pub(super) struct ThingArgs {
    /// Instead of the number: on which host, by name or id, with what the list says of it.
    #[arg(long, conflicts_with_all = ["id", "until", "propose"], requires_all = ["withdraw", "kind", "subject"])]
    host: Option<String>,
    /// Of which kind it is.
    #[arg(long, requires = "host")]
    kind: Option<String>,
    /// About which login, Unix group, role or file.
    #[arg(long, requires = "host")]
    subject: Option<String>,
    /// Which field, Unix group or file of that.
    #[arg(long, requires = "host", default_value = "", hide_default_value = true)]
    place: String,
}

/// What to do instead of accepting.
#[derive(Clone, Debug, Args)]
pub(super) struct Instead {
    /// Accept it no more, though its date has not come.
    #[arg(long, conflicts_with = "until")]
    withdraw: bool,
    /// Write the change that makes it what is wanted into a file to review, instead.
    #[arg(long, conflicts_with_all = ["until", "reason", "withdraw", "yes", "dry_run"])]
    propose: bool,
    /// Where to write that, instead of to standard output; a file that is there is left as it is.
    #[arg(long, value_name = "FILE", requires = "propose")]
    pub(super) out: Option<PathBuf>,
}

/// Runs the verb.
pub(super) async fn run(common: &Globals, session: &mut Session, args: &AcceptArgs) -> Result<End> {
    let reason = args.reason.as_deref().unwrap_or_default();
    let reason = Line::parse(reason).context("--reason").map_err(usage)?;
    let Some(id) = args.id else {
        return withdraw_unfound(common, session, args, &reason).await;
    };
    let line = find(session, id).await?;
    if args.instead.propose {
        return propose::run(session, args, &line).await;
    }
    match &args.until {
        Some(until) => {
            let until = end(until, session::now())?;
            accept(common, session, args, line, until, &reason).await
        }
        None => withdraw(common, session, args, line, &reason).await,
    }
}

async fn accept(
    common: &Globals,
    session: &mut Session,
    args: &AcceptArgs,
    mut line: DriftLine,
    until: Timestamp,
    reason: &Line,
) -> Result<End> {
    exception::check(&line.signed).map_err(unfit)?;
    if !line.open {
        return Err(hint(
            anyhow::anyhow!("something else was told of it since"),
            "`muster drift list` shows what is there now",
        ));
    }
    if reason.as_str().is_empty() {
        return Err(hint(
            usage(anyhow::anyhow!("an exception needs a reason")),
            "say with `--reason` why it may stay, for whoever finds it in a year",
        ));
    }
    exception::check_end(until, session::now()).map_err(bad_end)?;
    if args.dry_run {
        output::say(&format!("would be accepted until {until}"));
        output::list(common.output, &[line])?;
        return Ok(End::Differences);
    }
    let (what, host) = (line.what(), &line.host);
    agree(args.yes, &format!("Accept `{what}` on {host}, {}, until {until}?", line.found))?;
    let found = line.signed.found_digest();
    let made = session.client.accept(line.id, found, until, reason).await?;
    line.exception = Some(ExceptionLine::from(&made));
    output::list(common.output, &[line])
}

async fn withdraw(
    common: &Globals,
    session: &mut Session,
    args: &AcceptArgs,
    mut line: DriftLine,
    reason: &Line,
) -> Result<End> {
    if line.exception.is_none() {
        return Err(hint(
            anyhow::anyhow!("nothing of it is accepted"),
            "`muster drift list --accepted` shows what is, until when and by whom",
        ));
    }
    if args.dry_run {
        output::say("would not be accepted any more");
        output::list(common.output, &[line])?;
        return Ok(End::Differences);
    }
    agree(args.yes, &format!("Accept `{}` on {} no more?", line.what(), line.host))?;
    session.client.withdraw(Accepted::At(line.id), reason).await?;
    line.exception = None;
    output::list(common.output, &[line])
}

/// Ends what was accepted and is not there: no receipt may tell it any more, so that it is named.
async fn withdraw_unfound(
    common: &Globals,
    session: &mut Session,
    args: &AcceptArgs,
    reason: &Line,
) -> Result<End> {
    let ThingArgs { host, kind, subject, place } = args.thing.clone();
    let host = host::find(session, &host.unwrap_or_default()).await?;
    let thing = Thing {
        host: host.labels.id,
        kind: kind.unwrap_or_default(),
        subject: subject.unwrap_or_default(),
        place,
    };
    let wanted = DriftWanted {
        host: Some(thing.host),
        scope: DriftScope::Open,
        kind: Some(thing.kind.clone()),
        subject: Some(thing.subject.clone()),
        limit: 1,
        ..DriftWanted::default()
    };
    let unfound = session.client.drift(&wanted).await?.unfound;
    let Some((_, exception)) = unfound.iter().find(|(unfound, _)| *unfound == thing) else {
        return Err(hint(
            anyhow::anyhow!("nothing that is not there is accepted so"),
            "`muster drift list --accepted` shows what is; what has a number is withdrawn by that",
        ));
    };
    let mut line = AcceptedLine::of(&thing, exception, &[host]);
    if args.dry_run {
        output::say("would not be accepted any more");
        output::list(common.output, &[Listed::Accepted(line)])?;
        return Ok(End::Differences);
    }
    agree(args.yes, &format!("Accept `{}` on {} no more?", line.what(), line.host))?;
    session.client.withdraw(Accepted::Of(thing), reason).await?;
    line.exception = None;
    output::list(common.output, &[Listed::Accepted(line)])
}

/// Returns what is told at a place, from a receipt that was verified.
async fn find(session: &mut Session, id: u64) -> Result<DriftLine> {
    let after = id.checked_sub(1);
    let wanted = DriftWanted { after, limit: 1, ..DriftWanted::default() };
    let mut told = session.client.drift(&wanted).await?;
    told.found.retain(|told| told.place == id);
    if after.is_none() || told.found.is_empty() {
        return Err(hint(
            usage(anyhow::anyhow!("there is no drift {id}")),
            "`muster drift list --output table` begins each line with its number",
        ));
    }
    let mut read = read(&told, &session.client.hosts().await?);
    read.lines.pop().ok_or_else(|| {
        hint(
            anyhow::anyhow!("no receipt that could be verified tells drift {id}"),
            "`muster drift list` names the host whose receipts are missing or not believed",
        )
    })
}

/// Reads a date, or how long something is to last.
fn end(text: &str, now: Timestamp) -> Result<Timestamp> {
    if let Ok(long) = dates::seconds(text) {
        return Ok(now.plus(long));
    }
    let when = When::from_text(text).map_err(anyhow::Error::msg);
    Ok(when.context("--until").map_err(usage)?.end())
}

fn unfit(error: Unfit) -> anyhow::Error {
    let cure = match error {
        Unfit::Over(_) => "there is nothing to accept: `muster drift list` shows what is there now",
        Unfit::Failed => "`muster host show HOST` says what the host cannot do",
        Unfit::Contested => {
            "have whoever does it stop, or say in the files what is to be so, and `muster apply` it"
        }
        Unfit::Ours => {
            "have the host enforce; or say in the files what is to be so, as `--propose` does where it can"
        }
        Unfit::Unread => "put a file of root's with what it is to say in its place",
        Unfit::Unknown => "a newer `muster` knows it",
    };
    hint(error, cure)
}

fn bad_end(error: BadEnd) -> anyhow::Error {
    let cure = match error {
        BadEnd::Past(_) => "give a later one: a bare day is included",
        BadEnd::Late(_) => "give an earlier one, and renew it then: what nobody renews comes back",
    };
    hint(usage(error), cure)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        args: AcceptArgs,
    }

    #[test]
    fn what_is_withdrawn_is_named_by_its_number_or_by_all_that_it_was_accepted_for() {
        let thing = "--host db1 --kind sudo-foreign --subject sudoers.d/x";
        let fits = |words: &str| {
            Typed::try_parse_from(["accept"].into_iter().chain(words.split_whitespace())).is_ok()
        };
        for (words, expected) in [
            ("117 --withdraw".to_owned(), true),
            ("117 --until 1d --reason x".to_owned(), true),
            (format!("{thing} --withdraw"), true),
            (format!("{thing} --place docker --withdraw --reason x"), true),
            ("--withdraw".to_owned(), false),
            (thing.to_owned(), false),
            (format!("{thing} --until 1d --reason x"), false),
            (format!("{thing} --propose"), false),
            (format!("117 {thing} --withdraw"), false),
            ("--host db1 --withdraw".to_owned(), false),
            ("117 --place x --withdraw".to_owned(), false),
        ] {
            assert_eq!(fits(&words), expected, "{words}");
        }
    }

    #[test]
    fn an_end_is_a_day_that_is_included_a_moment_or_so_long_from_now() {
        let now = Timestamp(1_000);
        let end = |text| super::end(text, now).map(|end| end.to_string());
        assert_eq!(end("2027-06-30").unwrap(), "2027-07-01T00:00:00Z");
        assert_eq!(end("2027-06-30T18:00:00Z").unwrap(), "2027-06-30T18:00:00Z");
        assert_eq!(super::end("90d", now).unwrap(), Timestamp(1_000 + 90 * 86_400));
        assert!(format!("{:?}", end("next year").unwrap_err()).contains("is not a date"));
    }
}
