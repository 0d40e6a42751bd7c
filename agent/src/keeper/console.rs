//! What root on the console asks for: what would be done and what differs. Nothing is changed, and no
//! controller is needed.

use std::path::Path;

use muster_proto::receipt::Finding;

use super::{Keeper, KeeperError, turn::Turn};
use crate::{
    config::Config,
    drift::{
        effect::Asking,
        memory::{Circumstances, Looked},
        standing::{Standing, standing},
    },
    host::{Host, probes::News},
    ledger::Ledger,
    plan::Plan,
};

/// Says what the keeper would do.
pub fn preview<H: Host>(
    config: Config,
    directory: &Path,
    host: H,
) -> Result<(Ledger, Plan, Vec<Finding>), KeeperError> {
    let mut keeper = Keeper::open(config, directory, host)?;
    let clocks = keeper.host.clocks();
    let time = keeper.clock.read(clocks);
    let mut turn = Turn::begin(&mut keeper)?;
    turn.lapse(&time);
    let mut look = turn.look(&time)?;
    let sources = turn.sources(&look.observed);
    turn.count(&look.observed, &sources, clocks.wall.0 / 86_400);
    look.findings.extend(turn.keeper.counted.emergency.findings());
    Ok((turn.ledger, look.plan, look.findings.into_iter().collect()))
}

/// Says what differs now, with what the keeper knows of it.
pub fn drift<H: Host>(
    config: Config,
    directory: &Path,
    host: H,
) -> Result<Vec<Standing>, KeeperError> {
    let mut keeper = Keeper::open(config, directory, host)?;
    let clocks = keeper.host.clocks();
    let time = keeper.clock.read(clocks);
    let mut turn = Turn::begin(&mut keeper)?;
    turn.lapse(&time);
    let look = turn.look(&time)?;
    let at = Circumstances {
        wanted: turn.wanted(&look.desired),
        mode: turn.mode(),
        touches: &[],
        now: clocks.wall,
        boot: clocks.boot,
    };
    let mut ungranted = look.ungranted.clone();
    let (mut beyond, mut sources) = turn.beyond(&look, Asking::Anew, &[]);
    // Those of whom the keeper has told something are asked about first, and some others.
    if let Some(inquiry) = turn.keeper.host.inquiry()
        && turn.keeper.host.hear(inquiry.ask()) == News::Some
    {
        (beyond, sources) = turn.beyond(&look, Asking::IfChanged, &[]);
    }
    ungranted.extend(beyond);
    turn.count(&look.observed, &sources, clocks.wall.0 / 86_400);
    ungranted.extend(turn.keeper.counted.emergency.differences());
    let (before, after) = (look.differences.clone(), look.differences);
    let found = Looked { before, after, ungranted };
    Ok(standing(&turn.ledger.drift, &found, &at))
}
