//! The network of a lab: one bridge, one cable to each host, no way out.
//!
//! The bridge is in the lab's own network namespace, which is also where its clients and its
//! controller run. A host's end of the cable is `host0` in a namespace named as the host.

use std::time::Duration;

use crate::command::ok_with_stdin;
use crate::holder::Holder;
use crate::state::State;
use crate::wait;

const BRIDGE: &str = "bridge0";
const CARRIER: Duration = Duration::from_secs(10);

/// Lays the bridge and the cables of a new lab.
pub(crate) fn wire(state: &State, holder: &Holder) -> anyhow::Result<()> {
    let mut batch = vec![
        "link set lo up".to_owned(),
        format!("link add {BRIDGE} type bridge"),
        format!("address add {}/24 dev {BRIDGE}", state.controller_address()),
        format!("link set {BRIDGE} up"),
    ];
    for (index, host) in state.hosts.iter().enumerate() {
        let port = port(index);
        batch.push(format!("netns add {host}"));
        batch.push(format!("link add {port} type veth peer name host0 netns {host}"));
        batch.push(format!("link set {port} master {BRIDGE} up"));
    }
    ok_with_stdin(holder.command(&["ip", "-batch", "-"]), batch.join("\n").as_bytes())?;
    for (host, address) in state.addresses() {
        let batch =
            format!("link set lo up\naddress add {address}/24 dev host0\nlink set host0 up\n");
        ok_with_stdin(holder.command(&["ip", "-n", host, "-batch", "-"]), batch.as_bytes())?;
    }
    Ok(())
}

/// Returns the list of names that hosts, clients and controller share.
pub(crate) fn names(state: &State) -> String {
    let mut lines = vec![
        "127.0.0.1 localhost".to_owned(),
        "::1 localhost ip6-localhost ip6-loopback".to_owned(),
        format!("{} controller", state.controller_address()),
    ];
    lines.extend(state.addresses().map(|(host, address)| format!("{address} {host}")));
    lines.join("\n") + "\n"
}

/// Returns the name of the bridge's end of a cable. An interface's name is short, a host's may
/// be long.
pub(crate) fn port(host: usize) -> String {
    format!("port{host}")
}

/// Pulls the cable: the host sees at once that it has no carrier.
pub(crate) fn cut(holder: &Holder, port: &str) -> anyhow::Result<()> {
    holder.ok(&["ip", "link", "set", port, "down"])?;
    Ok(())
}

/// Lets everything on the cable vanish, while both ends see a carrier.
pub(crate) fn silence(holder: &Holder, port: &str) -> anyhow::Result<()> {
    holder.ok(&["bridge", "link", "set", "dev", port, "state", "0"])?;
    Ok(())
}

/// Undoes [`cut`] and [`silence`].
pub(crate) fn mend(holder: &Holder, port: &str) -> anyhow::Result<()> {
    holder.ok(&["ip", "link", "set", port, "up"])?;
    // 3 is forwarding, which the bridge refuses until it has noticed the carrier.
    wait::until(CARRIER, &format!("a carrier on `{port}`"), || {
        holder.ok(&["bridge", "link", "set", "dev", port, "state", "3"]).ok()
    })?;
    Ok(())
}
