//! The purge of an account by the keeper in its own unit, within all that the unit forbids.

use std::fmt::Write;

use muster_agent::ledger::Ledger;
use muster_proto::{name::Login, time::Timestamp};
use muster_tests::{Fleet, Host, Person, wait};

use crate::{SOON, assert_let_in, fleet, is_there, uid};

const CONFIG: &str = "/etc/muster/agent.toml";
const LEDGER: &str = "/var/lib/muster-agent/keeper/ledger";
const DAY: u64 = 86_400;

fn on_web1(people: &[&Person]) -> String {
    let mut all = ["users:\n".to_owned(), "assignments:\n".to_owned()];
    for Person { login, key } in people {
        writeln!(all[0], "  {login}: {{keys: [\"{}\"]}}", key.public).unwrap();
        let hosts = "hosts: muster/hostname=web1";
        writeln!(all[1], "  {login}: {{user: {login}, role: purged, {hosts}}}").unwrap();
    }
    all.concat() + "roles:\n  purged: {}\n"
}

/// Has the ledger say that an account was locked so much earlier than it was. Root can do that on
/// every host; no clock of a machine goes ahead a day for one of its containers alone.
fn locked_earlier(host: &Host, login: &str, seconds: u64) {
    let mut ledger = Ledger::decode(&host.read(LEDGER).unwrap()).unwrap();
    let login = Login::parse(login).unwrap();
    let locked_at = &mut ledger.ownership.accounts.get_mut(&login).unwrap().locked_at;
    *locked_at = locked_at.map(|at| Timestamp(at.0 - seconds));
    assert!(locked_at.is_some(), "`{login}` is not locked");
    host.write(LEDGER, &ledger.encode(), 0o600).unwrap();
}

fn offboard(fleet: &Fleet, login: &str) {
    let output = fleet.muster(&["offboard", login, "--yes"]).unwrap();
    assert!(output.success(), "{output}");
}

fn is_account(host: &Host, login: &str) -> bool {
    host.run(&["getent", "passwd", login]).unwrap().success()
}

#[test]
fn the_keepers_own_unit_purges_what_was_locked_long_enough_and_nothing_else() {
    let fleet = fleet();
    let web1 = fleet.host("web1");
    let [petra, pavel, paula] = ["petra", "pavel", "paula"].map(|it| fleet.person(it).unwrap());
    fleet.apply_ok(&on_web1(&[&petra, &pavel, &paula])).unwrap();
    let number = uid(web1, "petra");
    let work =
        "mkdir -p deep/er && touch deep/er/file && ln -s /etc keep && echo hers > /tmp/petra";
    fleet.ssh("web1", &petra).command(work).run_ok().unwrap();
    web1.run_ok(&["install", "-o", "petra", "/dev/null", "/var/mail/petra"]).unwrap();
    for login in ["petra", "pavel"] {
        offboard(&fleet, login);
    }
    let before = web1.read(CONFIG).unwrap();
    let text = [before.as_slice(), b"purge_after_days = 1\n"].concat();
    web1.write(CONFIG, &text, 0o644).unwrap();
    web1.run_ok(&["systemctl", "stop", "muster-agent"]).unwrap();
    locked_earlier(web1, "petra", DAY);
    // He has some minutes left.
    locked_earlier(web1, "pavel", DAY - 600);
    web1.run_ok(&["systemctl", "start", "muster-agent"]).unwrap();

    wait::until(SOON, "her account to go", || (!is_account(web1, "petra")).then_some(())).unwrap();
    wait::until(SOON, "her home to go", || {
        let set_aside = ["find", "/home/.muster-purge", "-mindepth", "1"];
        let gone = web1.run_ok(&set_aside).unwrap().is_empty();
        (gone && !is_there(web1, "/home/petra") && !is_there(web1, "/var/mail/petra")).then_some(())
    })
    .unwrap();
    let shown = wait::until(SOON, "the receipt", || {
        let shown = fleet.ask(&["host", "show", "web1"]).unwrap().to_string();
        shown.contains("account-purged petra").then_some(shown)
    });
    assert!(shown.unwrap().contains(&format!("uid {number}, mail removed, home set aside")));
    for file in ["passwd", "shadow", "group", "gshadow"] {
        let left = ["grep", "--quiet", "^petra:", &format!("/etc/{file}")];
        assert!(!web1.run(&left).unwrap().success(), "{file}");
    }
    // What a link in her home named, what is hers elsewhere, and everybody else's.
    assert!(is_there(web1, "/etc/passwd") && is_there(web1, "/tmp/petra"));
    assert!(is_account(web1, "pavel") && is_there(web1, "/home/pavel"));
    assert_let_in(&fleet, "web1", &paula);

    web1.write(CONFIG, &before, 0o644).unwrap();
    web1.run_ok(&["systemctl", "reload", "muster-agent"]).unwrap();
}
