//! What a key is bound to, by itself or by its user: each beside a key that is not, so that it is the
//! bond that sshd goes by.

use muster_tests::{Fleet, Person, Ssh};

use super::{declaration, quoted};
use crate::{SOON, fleet, is_refused};

/// A network that nobody here is in (RFC 5737).
const FAR: &str = "192.0.2.0/24";

/// Returns the network that is all clients' of the lab and nobody else's.
fn near(fleet: &Fleet) -> String {
    format!("{}/32", fleet.lab().controller_address())
}

/// What a login can do besides running a command.
#[derive(Debug, PartialEq, Eq)]
struct Freedom {
    terminal: bool,
    /// Whether a port of the client's leads to one of the host's.
    forward: bool,
    /// Whether a port of the host's leads to one of the client's.
    back: bool,
}

impl Freedom {
    fn of(fleet: &Fleet, ssh: &Ssh) -> Self {
        Self {
            terminal: gets_a_terminal(ssh),
            forward: leads_on(fleet, ssh),
            back: leads_back(ssh),
        }
    }
}

fn gets_a_terminal(ssh: &Ssh) -> bool {
    let said = ssh.clone().terminal().command("tty").run().unwrap();
    let is_refused = said.stderr.contains("PTY allocation request failed");
    assert_eq!(said.stdout.starts_with("/dev/pts/"), !is_refused, "{said}");
    !is_refused
}

fn leads_on(fleet: &Fleet, ssh: &Ssh) -> bool {
    let through = ssh.clone().option("LocalForward=127.0.0.1:9122 127.0.0.1:22");
    let mut session = through.command("echo here; exec cat").spawn().unwrap();
    session.wait_for_line(SOON, "here").unwrap();
    let read = "exec 3<>/dev/tcp/127.0.0.1/9122; head --bytes=8 <&3";
    let said = fleet.lab().run(&["bash", "-c", read]).unwrap();
    session.close_stdin();
    assert!(session.finish(SOON).unwrap().success());
    assert!(said.stdout.is_empty() || said.stdout == "SSH-2.0-", "{said}");
    !said.stdout.is_empty()
}

fn leads_back(ssh: &Ssh) -> bool {
    let back = ssh.clone().option("RemoteForward=127.0.0.1:9123 127.0.0.1:22");
    let said = back.option("ExitOnForwardFailure=yes").command("echo ran").run().unwrap();
    let is_refused = said.stderr.contains("remote port forwarding failed");
    assert_eq!(said.stdout, if is_refused { "" } else { "ran\n" }, "{said}");
    !is_refused
}

#[test]
fn a_key_does_what_it_is_bound_to_and_nothing_else() {
    let fleet = fleet();
    let people = ["bo", "bo-near", "bo-far", "bo-bare"].map(|login| fleet.person(login).unwrap());
    let [bo, near_by, far, bare] = &people;
    let by = |person: &Person| fleet.lab().ssh("web1", "bo", &person.key.private);
    let near = near(&fleet);
    let declare = |bonds: [&str; 4]| {
        let keys = bonds.iter().zip(&people);
        let keys =
            keys.map(|(bond, person)| quoted(format!("{bond} {}", person.key.public).trim()));
        let keys = keys.collect::<Vec<_>>().join(", ");
        fleet.apply_ok(&declaration("bo", &format!("keys: [{keys}], home_mode: '0750'"), ""))
    };
    let (from_near, from_far) = (format!("from=\"{near}\""), format!("from=\"{FAR}\""));
    declare(["restrict,command=\"/usr/bin/id --user --name\"", &from_near, &from_far, "restrict"])
        .unwrap();

    let said = by(bo).command("cat /etc/hostname").run().unwrap();
    assert_eq!((said.status, said.stdout.as_str()), (0, "bo\n"), "{said}");
    assert!(is_refused(&by(far).command("true").run().unwrap()));
    let all = Freedom { terminal: true, forward: true, back: true };
    let none = Freedom { terminal: false, forward: false, back: false };
    assert_eq!(Freedom::of(&fleet, &by(near_by)), all);
    assert_eq!(Freedom::of(&fleet, &by(bare)), none);
    let mode = fleet.host("web1").run_ok(&["stat", "--format=%a", "/home/bo"]).unwrap();
    assert_eq!(mode, "750\n");

    // Without what bound them, or bound to another network.
    declare(["", &from_far, &from_near, ""]).unwrap();
    assert_eq!(by(bo).command("cat /etc/hostname").run_ok().unwrap(), "web1\n");
    assert_eq!(by(far).command("id --user --name").run_ok().unwrap(), "bo\n");
    assert!(is_refused(&by(near_by).command("true").run().unwrap()));
    assert_eq!(Freedom::of(&fleet, &by(bare)), all);
}

#[test]
fn a_user_comes_from_where_she_and_her_key_both_may() {
    let fleet = fleet();
    let [brin, brin_far] = ["brin", "brin-far"].map(|login| fleet.person(login).unwrap());
    let far = format!("from=\"{FAR}\" {}", brin_far.key.public);
    let keys = [&brin.key.public, &far].map(|key| quoted(key)).join(", ");
    let declare = |networks: &str| {
        let user = format!("keys: [{keys}], from: [{networks}]");
        fleet.apply_ok(&declaration("brin", &user, "")).unwrap();
    };
    let is_in = |person: &Person| {
        let ssh = fleet.lab().ssh("web1", "brin", &person.key.private);
        let said = ssh.command("id --user --name").run().unwrap();
        assert!(said.stdout == "brin\n" || is_refused(&said), "{said}");
        said.success()
    };
    let near = near(&fleet);
    for (networks, expected) in [
        (near.as_str(), [true, false]),
        (FAR, [false, false]),
        (&format!("{FAR}, {near}"), [true, false]),
    ] {
        declare(networks);
        assert_eq!([&brin, &brin_far].map(is_in), expected, "{networks}");
    }
    // Both of hers are there: it is where she comes from.
    let file = fleet.host("web1").run_ok(&["cat", "/etc/ssh/muster-keys/brin"]).unwrap();
    assert!(file.contains(&format!("from=\"{FAR}\" ssh-ed25519")), "{file}");
}
