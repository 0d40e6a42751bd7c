//! The accounts for an emergency: that none of them works is told by the keeper, and until one does.

use muster_agent::{door::Event, format::passwd};
use muster_proto::{
    drift::{Drift, Response, Severity},
    receipt::Receipt,
};

use crate::{life::Life, world::edit_passwd};

/// What a receipt tells of the accounts for an emergency.
fn told(receipt: &Receipt) -> (Vec<String>, Vec<&Drift>) {
    let findings = receipt.findings.iter().filter(|found| found.kind.as_str() == "break-glass");
    let findings = findings.map(|found| format!("{}: {}", found.subject, found.detail));
    let drift = receipt.drift.iter().filter(|drift| drift.kind == "break-glass");
    (findings.collect(), drift.collect())
}

impl Life {
    /// Somebody changes with what the account for an emergency begins.
    fn shell_of_eve(&mut self, shell: &str) {
        edit_passwd(&mut *self.machine.borrow_mut(), "eve", passwd::SHELL, shell);
        self.does(Event::Changed);
    }
}

#[test]
fn that_no_account_for_an_emergency_works_is_told_as_gravely_as_can_be_until_one_does() {
    let mut life = Life::of(&[("ana", [None, None])]);
    assert_eq!(told(&life.newest()), (vec![], vec![]));

    life.shell_of_eve("/usr/sbin/nologin");
    let receipt = life.newest();
    let (findings, drift) = told(&receipt);
    let why = "cannot be used: its shell is `/usr/sbin/nologin`";
    let finding = format!("eve: the way in for an emergency {why}; none that works is left");
    assert_eq!(findings, [finding.as_str()]);
    let [drift] = drift[..] else { panic!("{:?}", receipt.drift) };
    assert_eq!((drift.subject.as_str(), drift.found.as_str()), ("eve", why));
    assert_eq!((drift.severity, drift.response), (Severity::Critical, Response::Reported));
    // What Muster gives and takes goes on meanwhile, and each start says it again.
    life.reboot(10, 0);
    assert_eq!(told(&life.newest()), (vec![finding], vec![]));
    life.assert_seen(&[(0, "ana")]);

    life.shell_of_eve("/bin/sh");
    let receipt = life.newest();
    let (findings, drift) = told(&receipt);
    assert_eq!(findings, [""; 0]);
    let [drift] = drift[..] else { panic!("{:?}", receipt.drift) };
    assert_eq!(drift.response, Response::Gone);
}

#[test]
fn who_is_named_for_an_emergency_is_read_anew_with_the_configuration() {
    let mut life = Life::of(&[("ana", [None, None])]);
    for (names, found) in [("\"ghost\"", 1), ("\"ghost\", \"eve\"", 0), ("\"ghost\"", 1)] {
        life.configure(&format!("mode = \"enforce\"\nbreak_glass = [{names}]\n"));
        let (findings, _) = told(&life.newest());
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert!(
            finding.starts_with("ghost: the way in for an emergency is no account"),
            "{finding}"
        );
        assert_eq!(finding.ends_with("none that works is left"), found == 1, "{finding}");
    }
}
