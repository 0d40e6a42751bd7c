//! The two processes that systemd runs.

use std::{
    convert::Infallible,
    io,
    path::Path,
    sync::mpsc::{self, TrySendError},
};

use anyhow::{Context, Result, bail};
use muster_agent::{
    channel, config,
    courier::{self, HostTime},
    door,
    host::{self, Linux, capability, clocks, hangup, notify::Manager, peer, timer::Timer},
    join,
    keeper::Keeper,
    orders,
};

use super::{Cli, load_config};

fn log() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(io::stderr)
        .with_ansi(false)
        .without_time()
        .init();
}

pub(super) fn keep(cli: &Cli) -> Result<()> {
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

pub(super) fn carry(cli: &Cli) -> Result<()> {
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
