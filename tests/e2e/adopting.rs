//! An account that a host has already is taken over as it is, and given back when the host leaves.

use std::time::Duration;

use muster_proto::{id::Digest, token::JoinToken};
use muster_tests::{Fleet, Host, Person, wait};

use crate::{assert_kept_out, assert_let_in, existing::lines_of, fleet, sudo, uid};

/// How long a keeper that was just started may take to have looked at its host.
const LATER: Duration = Duration::from_mins(1);

/// Makes an account by hand, as a host had it before Muster, with a key of its own.
fn make_by_hand(host: &Host, old: &Person) {
    const SCRIPT: &str = r#"
        install --directory --mode 0700 --owner "$1" --group "$1" "/home/$1/.ssh"
        echo "$2" > "/home/$1/.ssh/authorized_keys"
        chown "$1:$1" "/home/$1/.ssh/authorized_keys"
        echo precious > "/home/$1/file" && chown "$1:$1" "/home/$1/file"
    "#;
    let Person { login, key } = old;
    let useradd = ["useradd", "--create-home", "--uid", "4321", "--shell", "/bin/bash", login];
    host.run_ok(&useradd).unwrap();
    let password = ["--password", "$6$not$ours", "--append", "--groups", "adm"];
    host.run_ok(&[&["usermod"], password.as_slice(), &[login]].concat()).unwrap();
    host.run_ok(&["sh", "-c", SCRIPT, "make", login, &key.public]).unwrap();
}

/// Waits until somebody can log in to a host whose keeper has just started.
fn wait_until_let_in(fleet: &Fleet, host: &str, person: &Person) {
    let what = format!("{} to be let in to {host}", person.login);
    wait::until(LATER, &what, || {
        let output = fleet.ssh(host, person).command("true").run().ok()?;
        output.success().then_some(())
    })
    .unwrap();
}

/// Asserts that the agent did not do something, for this reason.
fn assert_refused(host: &Host, words: &[&str], why: &str) {
    let output = host.run(words).unwrap();
    assert!(!output.success() && output.stderr.contains(why), "{output}");
}

fn token_of_another_fleet(fleet: &Fleet) -> String {
    let token = JoinToken::parse(&fleet.token("10m").unwrap()).unwrap();
    JoinToken { lineage: Digest::new([7; 32]), ..token }.render()
}

#[test]
fn a_hand_made_account_is_adopted_and_leaving_gives_it_back() {
    let fleet = fleet();
    let dev1 = fleet.host("dev1");
    let [kira, loki, mira] = ["kira", "loki", "mira"].map(|login| fleet.person(login).unwrap());
    let key = fleet.lab().keygen("kira-by-hand", "ed25519").unwrap();
    let old = Person { login: "kira".to_owned(), key };
    make_by_hand(dev1, &old);
    assert_let_in(&fleet, "dev1", &old);
    let before = lines_of(dev1, "kira");

    let declaration = format!(
        "users:\n  kira: {{keys: [\"{}\"]}}\n  loki: {{keys: [\"{}\"]}}\n  mira: {{keys: [\"{}\"]}}\n\
         roles: {{adopted: {{sudo: [{{commands: [/usr/bin/id]}}]}}}}\n\
         assignments:\n  kira-dev: {{user: kira, role: adopted, hosts: env=dev}}\n  \
         loki-dev: {{user: loki, role: adopted, hosts: env=dev}}\n  \
         mira-dev: {{user: mira, role: adopted, hosts: env=dev}}\n\
         adoptions:\n  kira-dev1: {{user: kira, host: dev1, uid: 4321}}\n",
        kira.key.public, loki.key.public, mira.key.public
    );
    let plan = fleet.muster(&["plan", "--file", fleet.declare(&declaration).unwrap()]).unwrap();
    assert!(plan.stdout.contains("takes over the account of kira, uid 4321 kept"), "{plan}");
    fleet.apply_ok(&declaration).unwrap();
    assert_eq!(uid(dev1, "kira"), 4321);
    assert_let_in(&fleet, "dev1", &kira);
    assert_kept_out(&fleet, "dev1", &old);
    assert!(sudo(&fleet, "dev1", &kira, "/usr/bin/id").success());
    let file = fleet.ssh("dev1", &kira).command("cat file").run().unwrap();
    assert_eq!(file.stdout, "precious\n", "{file}");
    let offboarded = fleet.muster(&["offboard", "mira", "--yes"]).unwrap();
    assert!(offboarded.success(), "{offboarded}");

    // Nothing is done that was only to be shown.
    let shown = dev1.run_ok(&["muster-agent", "leave", "--dry-run"]).unwrap();
    assert!(
        shown.contains("account-given-back kira") && shown.contains("loki stays as it is"),
        "{shown}"
    );
    assert_refused(dev1, &["muster-agent", "leave"], "give `--yes`");
    assert_let_in(&fleet, "dev1", &kira);

    // Leaving may be done again.
    for _ in 0..2 {
        dev1.run_ok(&["muster-agent", "leave", "--yes"]).unwrap();
        assert_eq!(lines_of(dev1, "kira"), before);
    }
    assert_let_in(&fleet, "dev1", &old);
    assert_kept_out(&fleet, "dev1", &kira);
    assert!(!sudo(&fleet, "dev1", &old, "/usr/bin/id").success());
    assert_let_in(&fleet, "dev1", &loki);
    assert_kept_out(&fleet, "dev1", &mira);
    for unit in ["muster-agent", "muster-agent-courier"] {
        for asked in ["is-active", "is-enabled"] {
            let state = dev1.run(&["systemctl", asked, unit]).unwrap();
            assert!(!state.success(), "{unit} {asked}: {state}");
        }
    }
    assert_refused(dev1, &["muster-agent", "keeper"], "has left its fleet");
    let foreign = token_of_another_fleet(&fleet);
    assert_refused(dev1, &["muster-agent", "join", &foreign], "the token is of another one");

    // What the host knew it still knows: who was adopted is again, who was offboarded stays out.
    dev1.run_ok(&["muster-agent", "join", &fleet.token("10m").unwrap()]).unwrap();
    fleet.settle().unwrap();
    dev1.run_ok(&["systemctl", "enable", "--quiet", "muster-agent", "muster-agent-courier"])
        .unwrap();
    wait_until_let_in(&fleet, "dev1", &kira);
    assert_kept_out(&fleet, "dev1", &old);
    assert_let_in(&fleet, "dev1", &loki);
    assert_kept_out(&fleet, "dev1", &mira);

    // Without the adoption it is locked, though its user is still assigned: that the host cannot give
    // what is assigned, since her uid is another one there, is told.
    let applied = fleet.apply("absent: {adoptions: [kira-dev1]}\n").unwrap();
    assert_eq!(applied.status, 4, "{applied}");
    assert!(applied.stdout.contains("clash kira"), "{applied}");
    assert_kept_out(&fleet, "dev1", &kira);
    assert_kept_out(&fleet, "dev1", &old);
    fleet.apply_ok("absent: {assignments: [kira-dev, loki-dev]}\n").unwrap();
}
