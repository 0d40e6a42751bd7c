//! What can be looked at on the host itself, with no controller: nothing here changes anything.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Result, bail};
use muster_agent::{
    doctor,
    drift::standing::Standing,
    host::{
        Linux, clocks,
        examine::{self, Places},
        peer,
    },
    keeper::console,
    listing,
};
use muster_proto::receipt::HostMode;

use super::{Cli, Format, load_config};

pub(super) fn examine(cli: &Cli, format: Format) -> Result<ExitCode> {
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

pub(super) fn drift(cli: &Cli, format: Format) -> Result<ExitCode> {
    if !peer::is_root() {
        bail!("only root can look at all that may differ");
    }
    let config = load_config(cli)?;
    let found = console::drift(config, &cli.state.join("keeper"), Linux::open_to_look()?)?;
    let rows: Vec<_> = found.iter().map(Standing::row).collect();
    print(format, Standing::FIELDS, &rows)?;
    Ok(if rows.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn print<const N: usize>(format: Format, fields: [&str; N], rows: &[[String; N]]) -> Result<()> {
    let text = match format {
        Format::Table => listing::table(fields, rows),
        Format::Json => listing::json(fields, rows),
        Format::Yaml => listing::yaml(fields, rows),
    };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

pub(super) fn mode_word(mode: HostMode) -> &'static str {
    match mode {
        HostMode::Observe => "observe: nothing is changed",
        HostMode::Enforce => "enforce",
    }
}

pub(super) fn status(cli: &Cli) -> Result<()> {
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

pub(super) fn plan(cli: &Cli) -> Result<ExitCode> {
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
