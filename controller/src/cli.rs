//! The command tree. Each verb is a short file under `cli/`; they talk to the controller over its
//! socket, verify forward with the operator's own tool, and print through `output`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::{filter::LevelFilter, prelude::*, reload};

use crate::{config::LogLevel, server::settings::SetLog};

pub mod access;
pub mod apply;
pub mod backup;
pub mod change;
mod cure;
pub mod doctor;
pub mod drift;
pub mod folds;
pub mod follow;
pub mod host;
pub mod init;
pub mod losses;
pub mod object;
pub mod offboard;
pub mod output;
pub mod plan;
pub mod restore;
pub mod resume;
pub mod revoke;
pub mod session;
pub mod sign;
pub mod status;

use output::Format;

/// What scripts go by.
const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, or found something wrong (doctor); 2 usage, files or configuration; \
    3 differences (plan, --dry-run, drift); 4 waiting: hosts have not confirmed all that was asked, because they were \
    not heard, could do only a part, or only observe; or no host is known to drift, and of some nobody can tell \
    (drift summary).";

/// Keeps the local accounts of a fleet of Linux servers as the organisation says they should be.
#[derive(Debug, Parser)]
#[command(name = "muster", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    common: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Clone, Debug, Args)]
pub struct Globals {
    /// The controller's operator socket.
    #[arg(long, global = true, env = "MUSTER_ADDR", default_value = crate::config::DEFAULT_OPERATOR_SOCKET)]
    socket: PathBuf,
    /// Your own store of what you have verified [default: ~/.local/state/muster].
    #[arg(long, global = true)]
    store: Option<PathBuf>,
    /// Your approver key [default: ~/.config/muster/approver].
    #[arg(long, global = true)]
    key: Option<PathBuf>,
    /// How to print what is listed.
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a fleet: the controller's data, its keys, the trust root and your approver key.
    Init(init::Init),
    /// Run the controller.
    Serve(ServeArgs),
    /// Write all that the controller holds to one file, on its host and while it runs.
    Backup(backup::BackupArgs),
    /// Make a controller from a backup.
    Restore(restore::RestoreArgs),
    /// Say what is wrong on the controller's host, and what to do about it; exit code 1 if anything
    /// is.
    Doctor(doctor::DoctorArgs),
    /// Say how the fleet and the controller are.
    Status(status::StatusArgs),
    /// Show what files would change, on which hosts, and who gains root; write nothing.
    Plan(plan::PlanArgs),
    /// Propose what files declare, sign it, publish it, and follow it onto the hosts.
    #[command(after_help = EXIT_CODES)]
    Apply(apply::ApplyArgs),
    /// Print the JSON Schema of the files.
    Schema,
    /// List changes, or show one.
    #[command(subcommand)]
    Change(change::ChangeVerb),
    /// List users, or show one.
    #[command(subcommand)]
    User(object::ObjectVerb),
    /// List groups, or show one.
    #[command(subcommand)]
    Group(object::ObjectVerb),
    /// List roles, or show one.
    #[command(subcommand)]
    Role(object::ObjectVerb),
    /// List assignments, or show one.
    #[command(subcommand)]
    Assignment(object::ObjectVerb),
    /// Say who has access where, how, by what and until when, and who becomes root.
    #[command(subcommand)]
    Access(access::AccessVerb),
    /// Say what hosts have come to be without any change. Exit code 3 if anything differs now.
    #[command(subcommand)]
    Drift(drift::DriftVerb),
    /// Take a user out everywhere: revoked at once, then removed.
    #[command(after_help = EXIT_CODES)]
    Offboard(offboard::OffboardArgs),
    /// Take something away at once; one signature is enough.
    #[command(after_help = EXIT_CODES)]
    Revoke(revoke::RevokeArgs),
    /// Invite, list or show hosts, and decide what is done with one.
    #[command(subcommand)]
    Host(host::HostVerb),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// The configuration.
    #[arg(long, env = "MUSTER_CONFIG", default_value = crate::config::DEFAULT_PATH)]
    config: PathBuf,
    /// Check the configuration and end.
    #[arg(long)]
    check_config: bool,
}

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All was done.
    Done,
    /// Something is wrong, and was said.
    Findings,
    /// There are differences.
    Differences,
    /// Hosts have not confirmed yet.
    Waiting,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        match end {
            End::Done => Self::SUCCESS,
            End::Findings => Self::FAILURE,
            End::Differences => Self::from(3),
            End::Waiting => Self::from(4),
        }
    }
}

impl End {
    /// Returns the worse of two ends of one command.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Self::Done { other } else { self }
    }
}

/// A failure that is the caller's to mend: bad usage, bad files, bad configuration.
#[derive(Debug)]
pub struct Usage(pub anyhow::Error);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Usage {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// A failure with what to do next.
#[derive(Debug)]
pub struct Hint {
    /// What to do.
    pub hint: String,
    /// What failed.
    pub cause: anyhow::Error,
}

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for Hint {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

/// Adds what to do next.
pub fn hint(cause: impl Into<anyhow::Error>, hint: impl Into<String>) -> anyhow::Error {
    Hint { hint: hint.into(), cause: cause.into() }.into()
}

/// Marks a failure as the caller's to mend.
pub fn usage(cause: impl Into<anyhow::Error>) -> anyhow::Error {
    Usage(cause.into()).into()
}

/// Runs the command line and returns its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match run(cli) {
        Ok(end) => end.into(),
        Err(error) => {
            output::failure(&error);
            ExitCode::from(if is_usage(&error) { 2 } else { 1 })
        }
    }
}

fn is_usage(error: &anyhow::Error) -> bool {
    let hinted = |error: &anyhow::Error| {
        error.downcast_ref::<Hint>().is_some_and(|hint| is_usage(&hint.cause))
    };
    error.downcast_ref::<Usage>().is_some() || hinted(error)
}

fn run(cli: Cli) -> Result<End> {
    if let Verb::Serve(args) = &cli.verb {
        return serve(args);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let common = &cli.common;
        match cli.verb {
            Verb::Init(args) => init::run(common, &args).await,
            Verb::Serve(_) => Ok(End::Done),
            Verb::Backup(args) => backup::run(common, &args).await,
            Verb::Restore(args) => restore::run(common, &args).await,
            Verb::Doctor(args) => doctor::run(common, &args).await,
            Verb::Status(args) => status::run(common, &args).await,
            Verb::Plan(args) => plan::run(common, &args).await,
            Verb::Apply(args) => apply::run(common, &args).await,
            Verb::Schema => output::schema(),
            Verb::Change(verb) => change::run(common, &verb).await,
            Verb::User(verb) => object::run(common, muster_proto::id::Kind::User, &verb).await,
            Verb::Group(verb) => object::run(common, muster_proto::id::Kind::Group, &verb).await,
            Verb::Role(verb) => object::run(common, muster_proto::id::Kind::Role, &verb).await,
            Verb::Assignment(verb) => {
                object::run(common, muster_proto::id::Kind::Assignment, &verb).await
            }
            Verb::Access(verb) => access::run(common, &verb).await,
            Verb::Drift(verb) => drift::run(common, &verb).await,
            Verb::Offboard(args) => offboard::run(common, &args).await,
            Verb::Revoke(args) => revoke::run(common, &args).await,
            Verb::Host(verb) => host::run(common, &verb).await,
        }
    })
}

fn serve(args: &ServeArgs) -> Result<End> {
    let config = crate::config::Config::load(&args.config)
        .with_context(|| format!("cannot use `{}`", args.config.display()))
        .map_err(usage)?;
    if args.check_config {
        return Ok(End::Done);
    }
    let log = log(config.log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(crate::server::serve(config, args.config.clone(), log))?;
    Ok(End::Done)
}

/// Begins to log, and returns what says from then on how much.
fn log(level: LogLevel) -> SetLog {
    let (filter, handle) = reload::Layer::new(filter(level));
    let journal = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time();
    tracing_subscriber::registry().with(filter).with(journal).init();
    Box::new(move |level| {
        if let Err(error) = handle.reload(self::filter(level)) {
            tracing::warn!(%error, "how much is logged cannot be changed");
        }
    })
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    }
}
