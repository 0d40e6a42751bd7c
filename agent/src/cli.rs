//! The command line: what may be said, and which part of the program does it.

mod look;
mod member;
mod process;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use muster_agent::{
    config,
    host::{self, peer, state},
    join::Memory,
    orders::{self, Order},
    pause::{BadPause, Reason, Span},
    plan::leave::Created,
};

use self::member::Leaver;

/// Keeps the local accounts of this host as the signed bundles say.
#[derive(Debug, Parser)]
#[command(name = "muster-agent", version, max_term_width = 100)]
struct Cli {
    /// Where the agent keeps what it must not forget.
    #[arg(long, global = true, default_value = state::DIRECTORY)]
    state: PathBuf,
    /// The host's own configuration.
    #[arg(long, global = true, default_value = config::PATH)]
    config: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Join a fleet with a token from `muster host token`.
    Join {
        /// The token.
        #[arg(required_unless_present = "token_file")]
        token: Option<String>,
        /// A file with the token, or `-` for standard input.
        #[arg(long, conflicts_with = "token")]
        token_file: Option<PathBuf>,
        /// Change this host from the beginning, rather than only observe.
        #[arg(long, requires = "break_glass")]
        enforce: bool,
        /// An account with a way to root that Muster never touches.
        #[arg(long, value_name = "LOGIN")]
        break_glass: Vec<String>,
        /// Give up what this host knows of a fleet that it has left, and join as a new host.
        #[arg(long)]
        reset: bool,
    },
    /// Run the process that changes the host; it has no network.
    Keeper {
        /// Check the configuration and end.
        #[arg(long)]
        check_config: bool,
    },
    /// Run the process that talks to the controller; it changes nothing.
    Courier,
    /// Say how this host stands; needs no controller.
    Status,
    /// Show what would be changed now; needs no controller. Exit code 3 if anything would be.
    Plan,
    /// Show what differs now from what is wanted and granted, since when and by whom as far as that
    /// is known; changes nothing and needs no controller. Exit code 3 if anything does.
    Drift {
        /// How to print it.
        #[arg(long, value_enum, default_value = "table")]
        output: Format,
    },
    /// Give nobody anything and put nothing right for a while, since somebody works on this host.
    /// What is taken from somebody is taken all the same. It ends by itself, and the controller
    /// hears of it.
    Pause {
        /// How long: 90s, 15m, 2h; 24h at most.
        #[arg(long = "for", value_name = "TIME", required_unless_present = "end")]
        span: Option<String>,
        /// Why, for whoever asks.
        #[arg(long, required_unless_present = "end")]
        reason: Option<String>,
        /// End it now, and put everything right.
        #[arg(long, conflicts_with_all = ["span", "reason"])]
        end: bool,
    },
    /// Leave the fleet: adopted accounts get back what adoption replaced, created ones stay. Needs no
    /// controller, and may be run again.
    Leave {
        /// Lock the accounts that Muster created.
        #[arg(long)]
        lock: bool,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
        /// Show what would be done and end.
        #[arg(long)]
        dry_run: bool,
    },
    /// Say what is wrong on this host, and the cure; changes nothing and needs no controller. Exit
    /// code 1 if anything is.
    Doctor {
        /// How to print it.
        #[arg(long, value_enum, default_value = "table")]
        output: Format,
    },
}

/// How to print what was found.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", host::chain(error.as_ref()));
            let is_usage = error.is::<config::BadConfig>() || error.is::<BadPause>();
            if is_usage { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    match &cli.verb {
        Verb::Join { token, token_file, enforce, break_glass, reset } => {
            let token = member::token_text(token.as_deref(), token_file.as_deref())?;
            let memory = if *reset { Memory::Reset } else { Memory::Keep };
            member::join_fleet(cli, &token, memory, *enforce, break_glass)?;
        }
        Verb::Keeper { check_config: true } => drop(load_config(cli)?),
        Verb::Keeper { check_config: false } => process::keep(cli)?,
        Verb::Courier => process::carry(cli)?,
        Verb::Status => look::status(cli)?,
        Verb::Plan => return look::plan(cli),
        Verb::Drift { output } => return look::drift(cli, *output),
        Verb::Pause { span: Some(span), reason: Some(reason), end: false } => {
            let (span, reason) = (Span::parse(span)?, Reason::parse(reason)?);
            give_order(&Order::Pause { span, reason })?;
        }
        Verb::Pause { .. } => give_order(&Order::End)?,
        Verb::Doctor { output } => return look::examine(cli, *output),
        Verb::Leave { lock, yes, dry_run } => {
            let created = if *lock { Created::Lock } else { Created::Stay };
            return member::leave_fleet(
                cli,
                created,
                if *dry_run {
                    Leaver::Looks
                } else if *yes {
                    Leaver::Agreed
                } else {
                    Leaver::Asked
                },
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn load_config(cli: &Cli) -> Result<config::Config> {
    Ok(config::Config::load(&cli.config)?)
}

fn give_order(order: &Order) -> Result<()> {
    if !peer::is_root() {
        bail!("only root can pause this host");
    }
    let words = orders::give(Path::new(orders::SOCKET), order)?;
    Ok(writeln!(io::stdout(), "{words}")?)
}
