//! Becoming a host of a fleet, and being one no more.

use std::{
    io::{self, IsTerminal, Read, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use muster_agent::{
    config,
    host::{Linux, clocks, peer, state, units},
    join::{self, Memory},
    keeper::leaving::Leaving,
    leave,
    plan::leave::Created,
};
use muster_proto::{receipt::HostMode, token::JoinToken};

use super::{Cli, load_config, look::mode_word};

pub(super) fn token_text(token: Option<&str>, file: Option<&Path>) -> Result<String> {
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

pub(super) fn join_fleet(
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
pub(super) enum Leaver {
    /// Only show it.
    Looks,
    /// Do it.
    Agreed,
    /// Ask first.
    Asked,
}

pub(super) fn leave_fleet(cli: &Cli, created: Created, leaver: Leaver) -> Result<ExitCode> {
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
    if shown.is_nothing() {
        writeln!(out, "nothing of Muster's is here")?;
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
