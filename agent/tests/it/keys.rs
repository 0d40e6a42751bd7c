//! Which of a user's keys a host takes by its own configuration.

use std::collections::BTreeSet;

use muster_agent::{
    accepted_keys::AcceptedKeys,
    apply::{Reach, apply},
    host::Host,
    observed::Scope,
    ownership::Ownership,
    plan::{Plan, plan},
    policy::HostPolicy,
};
use muster_proto::{key::SshPublicKey, receipt::FindingKind, statement::UserKey};

use crate::{
    fake::Fake,
    world::{Desired, NOW, by_word, converge, key, login, policy},
};

/// A key of the same numbers that lives in hardware.
fn hardware(number: u8) -> UserKey {
    let mut blob = Vec::new();
    for part in [b"sk-ssh-ed25519@openssh.com".as_slice(), &[number; 32], b"ssh:"] {
        blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        blob.extend(part);
    }
    UserKey { key: SshPublicKey::from_blob(&blob).unwrap(), ..key(number).0 }
}

fn hardware_only() -> HostPolicy {
    let types = ["sk-ssh-ed25519@openssh.com".to_owned()];
    let accepted_keys = AcceptedKeys::parse(Some(&types), None).unwrap();
    HostPolicy { accepted_keys, ..policy() }
}

fn planned(host: &mut Fake, desired: &Desired, owned: &Ownership, policy: &HostPolicy) -> Plan {
    let observed = host.observe(&Scope::of(&desired.0, owned, policy)).unwrap();
    plan(&observed, &desired.0, owned, policy, NOW)
}

fn lines(host: &mut Fake, desired: &Desired, owned: &Ownership) -> Vec<String> {
    let observed = host.observe(&Scope::of(&desired.0, owned, &policy())).unwrap();
    let text = observed.keys.get("ana").map(|file| file.text.clone()).unwrap_or_default();
    String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_key_that_the_host_does_not_take_is_left_out_and_told_by_its_fingerprint() {
    let desired = Desired::default().user("ana", 2_001).change("ana", |ana| {
        ana.keys = BTreeSet::from([key(1), (hardware(2), key(2).1)]);
    });
    let (mut host, mut owned) = (Fake::new(), Ownership::default());
    converge(&mut host, &desired, &mut owned);
    assert_eq!(lines(&mut host, &desired, &owned).len(), 2);

    // A host whose own configuration has become stricter.
    let strict = planned(&mut host, &desired, &owned, &hardware_only());
    let found: Vec<_> =
        strict.findings.iter().filter(|f| f.kind == FindingKind::KeyRefused).collect();
    let [refused] = &found[..] else { panic!("{found:?}") };
    assert_eq!(refused.subject, "ana");
    let fingerprint = key(1).0.key.shown_fingerprint();
    let said = "is left out: this host takes no key of type `ssh-ed25519`";
    assert_eq!(refused.detail, format!("{fingerprint} {said}"));
    let applied = apply(&strict, Reach::Everything, &owned, &mut host);
    owned = applied.ownership.clone();
    // What was opened with a key that counts no more ends, as when the key is taken from the user.
    assert_eq!(by_word(&applied), [("keys-removed", 1), ("sessions-ended", 1)].into());
    let left = lines(&mut host, &desired, &owned);
    let [line] = &left[..] else { panic!("{left:?}") };
    assert!(line.starts_with("sk-ssh-ed25519@openssh.com "), "{line}");

    // And everything comes back when it takes everything again.
    converge(&mut host, &desired, &mut owned);
    assert_eq!(lines(&mut host, &desired, &owned).len(), 2);
}

#[test]
fn an_account_all_of_whose_keys_are_refused_is_there_and_has_no_keys_file() {
    let desired = Desired::default().user("ana", 2_001);
    let (mut host, owned) = (Fake::new(), Ownership::default());
    let strict = planned(&mut host, &desired, &owned, &hardware_only());
    let applied = apply(&strict, Reach::Everything, &owned, &mut host);
    assert!(applied.ownership.accounts.contains_key(&login("ana")));
    assert_eq!(by_word(&applied)["account-created"], 1);
    assert_eq!(lines(&mut host, &desired, &applied.ownership), [""; 0]);
}
