//! `muster-agent`: join, courier, keeper, status, plan, drift, pause, leave, doctor.

use std::{
    convert::Infallible,
    io::{self, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc::{self, TrySendError},
};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use muster_agent::{
    channel, config,
    courier::{self, HostTime},
    doctor, door,
    drift::standing::Standing,
    host::{
        self, Linux, capability, clocks,
        examine::{self, Places},
        hangup,
        notify::Manager,
        peer, state,
        timer::Timer,
        units,
    },
    join::{self, Memory},
    keeper::{Keeper, console, leaving::Leaving},
    leave, listing,
    orders::{self, Order},
    pause::{BadPause, Reason, Span},
    plan::leave::Created,
};
use muster_proto::{receipt::HostMode, token::JoinToken};

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

fn main() -> ExitCode {
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
            let token = token_text(token.as_deref(), token_file.as_deref())?;
            let memory = if *reset { Memory::Reset } else { Memory::Keep };
            join_fleet(cli, &token, memory, *enforce, break_glass)?;
        }
        Verb::Keeper { check_config: true } => drop(load_config(cli)?),
        Verb::Keeper { check_config: false } => keep(cli)?,
        Verb::Courier => carry(cli)?,
        Verb::Status => status(cli)?,
        Verb::Plan => return plan(cli),
        Verb::Drift { output } => return drift(cli, *output),
        Verb::Pause { span: Some(span), reason: Some(reason), end: false } => {
            let (span, reason) = (Span::parse(span)?, Reason::parse(reason)?);
            give_order(&Order::Pause { span, reason })?;
        }
        Verb::Pause { .. } => give_order(&Order::End)?,
        Verb::Doctor { output } => return examine(cli, *output),
        Verb::Leave { lock, yes, dry_run } => {
            let created = if *lock { Created::Lock } else { Created::Stay };
            return leave_fleet(
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

fn log() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(io::stderr)
        .with_ansi(false)
        .without_time()
        .init();
}

fn load_config(cli: &Cli) -> Result<config::Config> {
    Ok(config::Config::load(&cli.config)?)
}

fn token_text(token: Option<&str>, file: Option<&Path>) -> Result<String> {
    match (token, file) {
        (Some(token), _) => Ok(token.to_owned()),
        (None, Some(path)) if path.as_os_str() == "-" => {
            let mut text = String::new();
            io::stdin().take(8_192).read_to_string(&mut text).context("cannot read the token")?;
            Ok(without_newline(text))
        }
        (None, Some(path)) => {
            let bytes = state::read(path)?;
            let bytes = bytes.with_context(|| format!("`{}` is not there", path.display()))?;
            let text = String::from_utf8(bytes).context("the token's file is not text")?;
            Ok(without_newline(text))
        }
        (None, None) => bail!("a token is needed"),
    }
}

/// A file that `muster host token` was written into ends its line, which is no part of the token.
fn without_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

fn join_fleet(
    cli: &Cli,
    token: &str,
    memory: Memory,
    enforce: bool,
    break_glass: &[String],
) -> Result<()> {
    if !peer::is_root() {
        bail!("only root can let a host join");
    }
    let token = JoinToken::parse(token)?;
    let mode = if enforce { HostMode::Enforce } else { HostMode::Observe };
    let text = config::initial(mode, break_glass);
    let asked = enforce || !break_glass.is_empty();
    let present = state::read(&cli.config)?.is_some();
    if asked && present {
        bail!(
            "`{}` is there already; set `mode` and `break_glass` in it and join without the options",
            cli.config.display()
        );
    }
    // What will hold is read before the token is spent.
    let config = if present {
        config::Config::load(&cli.config)?
    } else {
        config::Config::parse(&text, &cli.config)?
    };
    for login in &config.policy.break_glass {
        if peer::account(login.as_str())?.is_none() {
            bail!(
                "`{login}`, the way in for an emergency, is no account of this host: make it first"
            );
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let host = runtime.block_on(join::join(&cli.state, &token, memory, clocks::read().wall))?;
    if !present {
        state::make_directory(cli.config.parent().unwrap_or(Path::new("/")), 0o755)?;
        state::replace(&cli.config, text.as_bytes(), 0o644)?;
    }
    writeln!(io::stdout(), "joined as host {host}, mode {}", mode_word(config.policy.mode))?;
    writeln!(io::stdout(), "start it: systemctl enable --now muster-agent muster-agent-courier")?;
    Ok(())
}

/// What root who leaves has said.
#[derive(Clone, Copy)]
enum Leaver {
    /// Only show it.
    Looks,
    /// Do it.
    Agreed,
    /// Ask first.
    Asked,
}

fn leave_fleet(cli: &Cli, created: Created, leaver: Leaver) -> Result<ExitCode> {
    if !peer::is_root() {
        bail!("only root can let a host leave");
    }
    let (config, keeper) = (load_config(cli)?, cli.state.join("keeper"));
    let shown = Leaving::look(config.clone(), &keeper, Linux::open_to_look()?, created)?;
    let mut out = io::stdout();
    for (word, subject, detail) in shown.notes() {
        writeln!(out, "{word} {subject} {detail}")?;
    }
    for (login, how) in shown.stays() {
        writeln!(out, "{login} {how}")?;
    }
    for finding in shown.findings() {
        writeln!(out, "{} {}: {}", finding.kind, finding.subject, finding.detail)?;
    }
    match leaver {
        Leaver::Looks => return Ok(ExitCode::SUCCESS),
        Leaver::Agreed => {}
        Leaver::Asked => agree()?,
    }
    // From here on nobody else changes accounts; what is left to do is looked up again.
    units::retire()?;
    let host = Linux::open(config.policy.home_base.as_str())?;
    let (fleet, applied) = Leaving::look(config, &keeper, host, created)?.leave()?;
    let mut failed = 0;
    for outcome in &applied.outcomes {
        if let Some(why) = &outcome.failure {
            failed += 1;
            writeln!(io::stderr(), "failed: {} {}: {why}", outcome.action, outcome.subject)?;
        }
    }
    if failed > 0 {
        bail!("{failed} things could not be done; run `muster-agent leave` again");
    }
    leave::forget_controller(&cli.state.join("courier"))?;
    writeln!(out, "left fleet {}; what this host knows of it stays", fleet.short())?;
    Ok(ExitCode::SUCCESS)
}

fn agree() -> Result<()> {
    if !io::stdin().is_terminal() {
        bail!(
            "this needs an answer, and nobody is here to give it; give `--yes` when you have read the list"
        );
    }
    write!(io::stderr(), "Leave the fleet? Type yes: ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { bail!("not confirmed; nothing was done") }
}

fn examine(cli: &Cli, format: Format) -> Result<ExitCode> {
    if !peer::is_root() {
        bail!("only root can look at all that may be wrong");
    }
    let now = clocks::read().wall;
    let places = Places { root: Path::new("/"), state: &cli.state, config: &cli.config };
    let found = doctor::findings(&examine::examine(places, now)?, now);
    let rows: Vec<_> = found.iter().map(doctor::Finding::row).collect();
    print(format, doctor::Finding::FIELDS, &rows)?;
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn drift(cli: &Cli, format: Format) -> Result<ExitCode> {
    if !peer::is_root() {
        bail!("only root can look at all that may differ");
    }
    let config = load_config(cli)?;
    let found = console::drift(config, &cli.state.join("keeper"), Linux::open_to_look()?)?;
    let rows: Vec<_> = found.iter().map(Standing::row).collect();
    print(format, Standing::FIELDS, &rows)?;
    Ok(if rows.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn give_order(order: &Order) -> Result<()> {
    if !peer::is_root() {
        bail!("only root can pause this host");
    }
    let words = orders::give(Path::new(orders::SOCKET), order)?;
    Ok(writeln!(io::stdout(), "{words}")?)
}

fn print<const N: usize>(format: Format, fields: [&str; N], rows: &[[String; N]]) -> Result<()> {
    let text = match format {
        Format::Table => listing::table(fields, rows),
        Format::Json => listing::json(fields, rows),
        Format::Yaml => listing::yaml(fields, rows),
    };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn mode_word(mode: HostMode) -> &'static str {
    match mode {
        HostMode::Observe => "observe: nothing is changed",
        HostMode::Enforce => "enforce",
    }
}

fn keep(cli: &Cli) -> Result<()> {
    log();
    if !peer::is_root() {
        bail!("the keeper must run as root");
    }
    let config = load_config(cli)?;
    // Before there is any other thread, which would keep what is given up.
    let watch = Linux::watch().context("cannot watch the account files");
    capability::give_up_administration().context("cannot give up CAP_SYS_ADMIN")?;
    let account = peer::account(join::COURIER_ACCOUNT)?;
    let account = account.ok_or(join::JoinError::NoAccount)?;
    let host = Linux::open(config.policy.home_base.as_str())?;
    let mut keeper = Keeper::open(config, &cli.state.join("keeper"), host)?;
    keeper.tell_heard_in(Path::new(channel::HEARD));
    // Before the courier, which comes after this one, dials anybody.
    keeper.tell_time_in(Path::new(channel::TIME));
    // Nothing piles up in memory: a courier that brings more than is taken has to wait.
    let (sender, receiver) = mpsc::sync_channel(1);
    let (waker, configurer, watcher) = (sender.clone(), sender.clone(), sender.clone());
    let orderer = sender.clone();
    match watch.and_then(|watch| {
        // A full queue wakes the keeper as well, which then asks the watch.
        watch.start(move || {
            !matches!(watcher.try_send(door::Event::Changed), Err(TrySendError::Disconnected(_)))
        })?;
        Ok(watch)
    }) {
        Ok(watch) => keeper.watch(watch),
        Err(error) => {
            let reason = host::chain(error.as_ref());
            tracing::warn!(error = %reason, "changes are found by the scan now and then only");
            keeper.cannot_watch(reason);
        }
    }
    // A full queue wakes the keeper as well.
    let wake =
        move || !matches!(waker.try_send(door::Event::Time), Err(TrySendError::Disconnected(_)));
    keeper.bring_answers_to(sender.clone());
    let timer = Timer::start(wake).context("cannot start a timer")?;
    door::open(Path::new(channel::SOCKET), account, sender)
        .with_context(|| format!("cannot listen at `{}`", channel::SOCKET))?;
    orders::open(Path::new(orders::SOCKET), orderer)
        .with_context(|| format!("cannot listen at `{}`", orders::SOCKET))?;
    let config = cli.config.clone();
    let reload = move || {
        let read = Box::new(config::Config::load(&config));
        configurer.send(door::Event::Configured(read)).is_ok()
    };
    hangup::listen(reload).context("cannot listen for signals")?;
    let mut manager = Manager::from_environment();
    manager.ready();
    keeper.run(&receiver, &timer, &mut manager)?;
    Ok(())
}

fn carry(cli: &Cli) -> Result<()> {
    log();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut manager = Manager::from_environment();
    manager.ready();
    runtime.block_on(async {
        let directory = cli.state.join("courier");
        let time = HostTime::new(Path::new(channel::TIME), clocks::read);
        tokio::select! {
            end = courier::run(&directory, Path::new(channel::SOCKET), &time) => end,
            never = pulse(&mut manager) => match never {},
        }
    })?;
    Ok(())
}

/// Gives signs of life from inside the runtime, where nothing runs while anything hangs.
async fn pulse(manager: &mut Manager) -> Infallible {
    let Some(every) = manager.pulse() else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        manager.alive();
    }
}

fn status(cli: &Cli) -> Result<()> {
    let config = load_config(cli)?;
    let host = Linux::open_to_look()?;
    let (ledger, plan, findings) =
        console::preview(config.clone(), &cli.state.join("keeper"), host)?;
    let floor = ledger.floor.map_or_else(|| "none yet".to_owned(), |f| f.link.number.to_string());
    let mode = mode_word(config.policy.mode);
    let mut out = io::stdout();
    writeln!(out, "host         {}", ledger.host)?;
    writeln!(out, "fleet        {}", ledger.lineage)?;
    writeln!(out, "mode         {mode}")?;
    if let Some(pause) = &ledger.pause {
        writeln!(out, "paused       by {} {}", pause.by(), pause.words())?;
    }
    writeln!(out, "trust root   {}, until {}", ledger.trust().version, ledger.trust().expires)?;
    writeln!(out, "change       {floor}")?;
    writeln!(out, "accounts     {} of Muster's", ledger.ownership.accounts.len())?;
    writeln!(out, "to do        {} actions", plan.actions.len())?;
    writeln!(out, "receipts     {}", ledger.receipt.map_or(0, |(number, _)| number))?;
    for finding in findings {
        writeln!(out, "{} {}: {}", finding.kind, finding.subject, finding.detail)?;
    }
    Ok(())
}

fn plan(cli: &Cli) -> Result<ExitCode> {
    let config = load_config(cli)?;
    let host = Linux::open_to_look()?;
    let (_, plan, findings) = console::preview(config, &cli.state.join("keeper"), host)?;
    let mut out = io::stdout();
    for planned in &plan.actions {
        for note in &planned.notes {
            writeln!(out, "{} {} {}", note.word, note.subject, note.detail)?;
        }
    }
    for finding in findings {
        writeln!(out, "{} {}: {}", finding.kind, finding.subject, finding.detail)?;
    }
    if plan.is_empty() {
        writeln!(out, "nothing to do")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(3))
}
