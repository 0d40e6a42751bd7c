//! Certificates of an authority that a host's own sshd trusts: they are no way in to an account of
//! Muster's unless the host says so itself, and never one to somebody who is locked.

use std::time::Duration;

use muster_tests::{Fleet, Host, KeyPair, Output, Person, wait};

use super::declared;
use crate::{SOON, assert_kept_out, assert_let_in, doctor, fleet, is_refused};

const AUTHORITY: &str = "/etc/ssh/site-ca.pub";
/// How long it may take until a lock that failed has been tried again.
const RETRIED: Duration = Duration::from_secs(30);

/// Sorts before Muster's own, so that what it says counts.
const BEFORE_OURS: &str = "/etc/ssh/sshd_config.d/00-before.conf";
const AFTER_OURS: &str = "/etc/ssh/sshd_config.d/90-site.conf";

/// What a host tells its sshd beside Muster's settings, until this is dropped.
struct Told<'a>(&'a Host);

impl Told<'_> {
    fn tell(&self, path: &str, text: &str) {
        self.0.write(path, text.as_bytes(), 0o644).unwrap();
        self.0.run_ok(&["systemctl", "reload", "ssh"]).unwrap();
    }

    fn take_back(&self, path: &str) {
        self.0.run_ok(&["rm", path]).unwrap();
        self.0.run_ok(&["systemctl", "reload", "ssh"]).unwrap();
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        // The first failure is the one to tell.
        let _ = self.0.run(&["rm", "--force", BEFORE_OURS, AFTER_OURS, AUTHORITY]);
        let _ = self.0.run(&["systemctl", "reload", "ssh"]);
    }
}

/// Returns a person who has nothing but a certificate, with her own login as its principal.
fn certified(fleet: &Fleet, authority: &KeyPair, login: &str) -> Person {
    let key = fleet.lab().keygen(&format!("{login}-certified"), "ed25519").unwrap();
    let [authority, public] =
        [format!("{}", authority.private.display()), format!("{}.pub", key.private.display())];
    let sign = ["ssh-keygen", "-q", "-s", &authority, "-I", login, "-n", login, &public];
    let signed = fleet.lab().run(&sign).unwrap();
    assert!(signed.success(), "{signed}");
    Person { login: login.to_owned(), key }
}

/// Logs in at a second sshd of the host's, which does without PAM.
fn without_pam(fleet: &Fleet, person: &Person) -> Output {
    fleet.ssh("web1", person).option("Port=2222").command("id --user --name").run().unwrap()
}

/// Returns what sshd itself says it goes by for a login.
fn says_of(host: &Host, login: &str) -> String {
    let who = format!("user={login},host=localhost,addr=127.0.0.1");
    host.run_ok(&["sshd", "-T", "-C", &who]).unwrap()
}

#[test]
fn a_certificate_lets_in_only_where_the_host_says_so_and_nobody_who_is_locked() {
    let fleet = fleet();
    let web1 = fleet.host("web1");
    let [lotte, lasse] = ["lotte", "lasse"].map(|login| fleet.person(login).unwrap());
    fleet.apply_ok(&declared(&lotte, "")).unwrap();
    fleet.apply_ok(&declared(&lasse, ", service: true")).unwrap();
    let authority = fleet.lab().keygen("site-ca", "ed25519").unwrap();
    let by_certificate = |login| certified(&fleet, &authority, login);
    let [her, its, ops] = ["lotte", "lasse", "ops"].map(by_certificate);
    let told = Told(web1);
    web1.write(AUTHORITY, authority.public.as_bytes(), 0o644).unwrap();

    // Nobody approved them for accounts of Muster's; for all others they are the host's business.
    let site = format!("TrustedUserCAKeys {AUTHORITY}\nGSSAPIAuthentication yes\n");
    told.tell(AFTER_OURS, &site);
    wait::until(SOON, "sshd to trust the authority", || {
        fleet.ssh("web1", &ops).command("true").run().unwrap().success().then_some(())
    })
    .unwrap();
    let of_others = says_of(web1, "ops");
    assert!(of_others.contains(&format!("\ntrustedusercakeys {AUTHORITY}\n")), "{of_others}");
    assert!(of_others.contains("\ngssapiauthentication yes\n"), "{of_others}");
    for (person, certified) in [(&lotte, &her), (&lasse, &its)] {
        let said = says_of(web1, &person.login);
        assert!(said.contains("\ntrustedusercakeys none\n"), "{said}");
        assert!(said.contains("\ngssapiauthentication no\n"), "{said}");
        assert_kept_out(&fleet, "web1", certified);
        assert_let_in(&fleet, "web1", person);
    }

    // A host may say otherwise, and then its doctor tells. With PAM and without, a lock is one.
    let group = "Match Group muster-accounts\n    TrustedUserCAKeys";
    told.tell(BEFORE_OURS, &format!("{group} {AUTHORITY}\nMatch all\n"));
    wait::until(SOON, "a certificate to count for her", || {
        fleet.ssh("web1", &her).command("true").run().unwrap().success().then_some(())
    })
    .unwrap();
    let found = doctor::found(web1);
    assert!(found.iter().any(|(_, fault)| fault.starts_with("certificates of an")), "{found:?}");
    let other = ["/usr/sbin/sshd", "-D", "-p", "2222", "-o", "UsePAM=no", "-o", "PidFile=none"];
    let _other = web1.spawn(&other).unwrap();
    wait::until(SOON, "an sshd without PAM", || without_pam(&fleet, &her).success().then_some(()))
        .unwrap();
    assert!(without_pam(&fleet, &lotte).success());

    fleet.muster_ok(&["offboard", "lotte", "--yes"]).unwrap();
    // The certificate is as good as before; who holds it is not.
    let output = fleet.ssh("web1", &her).command("true").run().unwrap();
    assert_eq!(output.status, 255, "{output}");
    web1.run_ok(&["journalctl", "--sync"]).unwrap();
    let said = web1.journal("ssh").unwrap();
    assert!(said.contains("Access denied for user lotte by PAM account configuration"), "{said}");
    for person in [&her, &lotte] {
        let output = without_pam(&fleet, person);
        assert!(is_refused(&output), "{output}");
    }
    assert_let_in(&fleet, "web1", &ops);

    // A service identity is not expired, so the host says that sshd still takes it: no lock is
    // claimed until that is mended.
    let output = fleet.muster(&["offboard", "lasse", "--yes"]).unwrap();
    assert_eq!(output.status, 4, "{output}");
    let newest = || {
        let shown = fleet.ask(&["host", "show", "web1"]).unwrap();
        shown.pointer("/receipts/0/outcomes").unwrap().to_string()
    };
    let told_of = newest();
    assert!(told_of.contains("sshd still takes certificates of an authority"), "{told_of}");
    told.take_back(BEFORE_OURS);
    wait::until(RETRIED, "the lock to be tried again", || {
        newest().contains("lasse processes 0, left 0; empty control group").then_some(())
    })
    .unwrap();
    assert_kept_out(&fleet, "web1", &its);
}
