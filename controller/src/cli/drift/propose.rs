//! `muster drift accept ID --propose`: what was found, as a change for somebody to review. Nothing is
//! signed and nothing is changed.

use anyhow::Result;
use muster_proto::drift::DriftKind;

use super::{
    super::{End, access::observed, hint, host, output},
    Session,
    accept::AcceptArgs,
    line::DriftLine,
};
use crate::proposal::{self, Inexpressible, Site};

/// Writes the file that would have the fleet want what was found.
pub(super) async fn run(session: &mut Session, args: &AcceptArgs, line: &DriftLine) -> Result<End> {
    let host = host::find(session, &line.host_id).await?;
    let told = match DriftKind::parse(&line.kind) {
        Some(DriftKind::AccountNew) => observed::told(session, &host).await?,
        _ => None,
    };
    let chain = session.tool.chain();
    let site = Site {
        host: host.labels.id,
        hostname: &host.labels.hostname,
        statements: chain.statements(),
        revocations: chain.revocations(),
        inventory: told.as_ref().map(|told| (&told.inventory, told.at.as_str())),
    };
    let text = proposal::propose(&line.signed, &site).map_err(inexpressible)?;
    output::say("nothing is signed: `muster plan -f FILE` says what it would do");
    output::file(args.instead.out.as_deref(), &text)
}

fn inexpressible(error: Inexpressible) -> anyhow::Error {
    let cure = match &error {
        Inexpressible::Gone => "`muster drift list` shows what is there now",
        Inexpressible::Never(_)
        | Inexpressible::Unknown
        | Inexpressible::Value(_)
        | Inexpressible::Hostname(_) => {
            "write by hand what is to be so, undo it on the host, or accept it by `--until` and `--reason`"
        }
        Inexpressible::NoUser(_) => {
            "`muster host adopt HOST --propose` makes users of accounts; or accept it by `--until` and \
             `--reason`"
        }
        Inexpressible::NotTold(_) => {
            "wait until its agent has looked again, and see that it is connected: `muster host list`"
        }
    };
    hint(anyhow::Error::new(error).context("no change can be proposed"), cure)
}
