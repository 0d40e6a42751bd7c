//! `muster drift accept ID --propose`: what was found, as a change for somebody to review. Nothing is
//! signed and nothing is changed.

use anyhow::Result;
use muster_proto::drift::{DriftKind, Response};

use super::{
    super::{End, access::observed, hint, host, output},
    Session,
    accept::AcceptArgs,
    line::DriftLine,
};
use crate::{
    exception,
    preview::HostLabels,
    proposal::{self, Inexpressible, Site},
};

/// Writes the file that would have the fleet want what was found.
pub(super) async fn run(session: &mut Session, args: &AcceptArgs, line: &DriftLine) -> Result<End> {
    if !line.open && line.signed.response != Response::Repaired {
        return Err(hint(
            anyhow::anyhow!("something else was told of it since"),
            "`muster drift list` shows what is there now",
        ));
    }
    let host = host::find(session, &line.host_id).await?;
    let hosts = session.client.hosts().await?;
    let hosts: Vec<HostLabels> = hosts.into_iter().map(|host| host.labels).collect();
    let told = match DriftKind::parse(&line.kind) {
        Some(DriftKind::AccountNew) => observed::told(session, &host).await?,
        _ => None,
    };
    let chain = session.tool.chain();
    let site = Site {
        host: &host.labels,
        hosts: &hosts,
        chain,
        inventory: told.as_ref().map(|told| (&told.inventory, told.at.as_str())),
    };
    let text =
        proposal::propose(&line.signed, &site).map_err(|error| inexpressible(error, line))?;
    output::say("nothing is signed: `muster plan -f FILE` says what it would do");
    output::file(args.instead.out.as_deref(), &text)
}

fn inexpressible(error: Inexpressible, line: &DriftLine) -> anyhow::Error {
    let otherwise = if exception::check(&line.signed).is_ok() {
        "accept it until a date by `--until` and `--reason`"
    } else {
        "undo it on the host"
    };
    let cure = match &error {
        Inexpressible::Gone => "`muster drift list` shows what is there now".to_owned(),
        Inexpressible::Never(_)
        | Inexpressible::Unknown
        | Inexpressible::Value(_) => {
            format!("write by hand what is to be so, or {otherwise}")
        }
        Inexpressible::Unnamed(_) => {
            "have `/etc/hostname` there hold its name, of at most 63 letters, digits, `.`, `_` and \
             `-`, and see that it is connected: `muster host list`"
                .to_owned()
        }
        Inexpressible::Several(_) => {
            "give this host a label of its own in /etc/muster/labels.d, and assign by that".to_owned()
        }
        Inexpressible::NoUser(_) => {
            format!("`muster host adopt HOST --propose` makes users of accounts; or {otherwise}")
        }
        Inexpressible::NotTold(_) => {
            "wait until its agent has looked again, and see that it is connected: `muster host list`"
                .to_owned()
        }
    };
    hint(anyhow::Error::new(error).context("no change can be proposed"), cure)
}
