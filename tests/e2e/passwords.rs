//! How long a new password has to be, asked of `passwd` itself on a host that has libpam-pwquality.

use muster_tests::{Fleet, Host, Member, Mode, Programs, wait};

use crate::{
    SOON,
    drifting::{await_told, word},
    is_there, shown,
};

const HOST: &str = "pass1";
const KEEPER: &str = "muster-agent.service";
const DROP_IN: &str = "/etc/security/pwquality.conf.d/50-muster.conf";
const FIRST: &str = "Erst.Einmal-77-qrt";
const SHORT: &str = "Twk9.vanuqibe";
const LONG: &str = "Kubi7vogelxamp";

/// Sets a password as its user does, and returns what `passwd` says.
fn change(host: &Host, login: &str, from: &str, to: &str) -> (bool, String) {
    let typed = format!("{from}\n{to}\n{to}\n");
    let words = ["su", "--shell=/bin/sh", "--command=passwd", login];
    let changed = host.run_with_stdin(&words, typed.as_bytes()).unwrap();
    (changed.success(), changed.stdout + &changed.stderr)
}

fn look_again(host: &Host) {
    host.run_ok(&["systemctl", "restart", KEEPER]).unwrap();
}

#[test]
fn a_password_that_is_shorter_than_a_role_says_is_refused_by_the_host_itself() {
    let name = format!("passwords-{}", std::process::id());
    let member = Member { name: HOST, labels: &["env=prod"], mode: Mode::Enforce };
    let programs = Programs::tested().unwrap();
    let fleet = Fleet::start_on("bookworm-extra", &name, &programs, &[member]).unwrap();
    let host = fleet.host(HOST);
    let vera = fleet.person("vera").unwrap();
    let declared = |policy: &str| {
        format!(
            "users: {{vera: {{keys: [\"{}\"]}}}}\nroles: {{writer: {policy}}}\n\
             assignments: {{vera: {{user: vera, role: writer, hosts: env=prod}}}}\n",
            vera.key.public
        )
    };
    fleet.apply_ok(&declared("{password: {min_length: 14}}")).unwrap();
    // Root may set what it likes.
    host.run_ok(&["sh", "-c", &format!("echo 'vera:{FIRST}' | chpasswd")]).unwrap();
    let (changed, said) = change(host, "vera", FIRST, SHORT);
    assert_eq!((SHORT.len(), changed), (13, false), "{said}");
    assert!(said.contains("shorter than 14 characters"), "{said}");
    let (changed, said) = change(host, "vera", FIRST, LONG);
    assert_eq!((LONG.len(), changed), (14, true), "{said}");

    // Whoever shortens it by hand is undone.
    host.run_ok(&["sed", "--in-place", "s/^minlen.*/minlen = 4/", DROP_IN]).unwrap();
    let told = await_told(&fleet, "password-policy", "50-muster.conf", "", "repaired");
    assert_eq!(word(&told, "severity"), "medium", "{told}");
    let policy = host.run_ok(&["cat", DROP_IN]).unwrap();
    assert!(policy.ends_with("\nminlen = 14\n"), "{policy}");

    // What the host's own administrator says is read last: it holds, and is told.
    let main = "/etc/security/pwquality.conf";
    host.run_ok(&["sed", "--in-place", "$a minlen = 9", main]).unwrap();
    look_again(host);
    let unmet = "password-policy-unmet vera: new passwords of fewer than 14 characters are taken: \
                 9 are enough";
    wait::until(SOON, "it to be told", || shown(&fleet, HOST).contains(unmet).then_some(()))
        .unwrap();
    assert!(!is_there(host, DROP_IN));
    host.run_ok(&["sed", "--in-place", "$d", main]).unwrap();
    look_again(host);
    wait::until(SOON, "our drop-in to be back", || is_there(host, DROP_IN).then_some(())).unwrap();
    assert_eq!(host.run_ok(&["muster-agent", "plan"]).unwrap(), "nothing to do\n");
    let (changed, said) = change(host, "vera", LONG, SHORT);
    assert!(!changed && said.contains("shorter than 14 characters"), "{said}");

    // With the last role that asks for it, it is gone.
    fleet.apply_ok(&declared("{password: {}}")).unwrap();
    assert!(!is_there(host, DROP_IN));
    let (changed, said) = change(host, "vera", LONG, SHORT);
    assert!(changed, "{said}");
}
