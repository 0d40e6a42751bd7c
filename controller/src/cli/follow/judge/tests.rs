//! A table of what a controller may show of a host, and what is made of it.

use std::collections::BTreeSet;

use muster_proto::{
    crypto::{MachineKey, sha256},
    envelope::Envelope,
    id::Id,
    link::{LinkRef, Target},
    receipt::{FindingKind, FindingWord, Trigger, named},
    time::Timestamp,
};

use super::*;
use crate::tool::known::Hosts;

fn key() -> MachineKey {
    MachineKey::from_pkcs8(&crate::signer::generate().unwrap()).unwrap()
}

fn fleet(word: &str) -> Digest {
    sha256(&[word.as_bytes()])
}

fn revocation_of(key: &str) -> Revocation {
    let (lineage, id) = (fleet("ours"), Id::Object([7; 16]));
    let (time, reason) = (Timestamp(1), Line::default());
    Revocation { lineage, id, time, reason, target: Target::Key(fleet(key)) }
}

fn revocation() -> Revocation {
    revocation_of("hers")
}

fn asked() -> Asked {
    Asked {
        link: Some(3),
        revocations: vec![revocation()],
        hosts: BTreeSet::new(),
        revoked_on: BTreeSet::new(),
        about: BTreeSet::from(["ana".to_owned()]),
        locks: BTreeSet::from(["ana".to_owned()]),
        undone: "not locked",
    }
}

/// A receipt that confirms all that `asked` asks for.
fn receipt(key: &MachineKey) -> Receipt {
    Receipt {
        lineage: fleet("ours"),
        host: key.public().digest(),
        number: 9,
        previous: None,
        time: Timestamp(1),
        floor: Some(LinkRef { number: 3, digest: fleet("link") }),
        trust_version: 1,
        mode: HostMode::Enforce,
        trigger: Trigger::Bundle,
        revocations: named(&revocation(), Authority::Approver),
        outcomes: Vec::new(),
        convergence: Convergence::Done,
        findings: Vec::new(),
        drift: Vec::new(),
        inventory: None,
    }
}

/// What an honest controller shows of a host that sent this.
fn shown(key: &MachineKey, receipts: &[Receipt]) -> Progress {
    Progress {
        host: key.public().digest(),
        hostname: "db1".to_owned(),
        keeper_key: key.public(),
        connected: true,
        receipts: receipts.iter().map(|receipt| Envelope::sign(receipt, key)).collect(),
        refusal: String::new(),
    }
}

fn judge(progress: &Progress, acquaintances: &Acquaintances) -> HostLine {
    let asked = Asked { revoked_on: BTreeSet::from([progress.host]), ..asked() };
    Bench { asked: &asked, lineage: fleet("ours"), acquaintances }.judge(progress)
}

fn state(progress: &Progress) -> State {
    judge(progress, &Acquaintances::default()).state
}

#[test]
fn only_the_hosts_own_word_about_all_that_was_asked_confirms() {
    let (host, other) = (key(), key());
    let good = receipt(&host);
    let with = |alter: &dyn Fn(&mut Receipt)| {
        let mut receipt = good.clone();
        alter(&mut receipt);
        shown(&host, &[receipt])
    };
    let honest = shown(&host, std::slice::from_ref(&good));
    let by_other = vec![Envelope::sign(&good, &other)];
    let foreign = vec![Envelope::sign(&receipt(&other), &other)];
    let forged = vec![
        ("signed by another key", Progress { receipts: by_other, ..honest.clone() }),
        ("another host's receipt", Progress { receipts: foreign.clone(), ..honest.clone() }),
        (
            "another host's receipt and key",
            Progress { receipts: foreign, keeper_key: other.public(), ..honest.clone() },
        ),
        (
            "a key whose digest is not the host's id",
            Progress { host: other.public().digest(), ..honest.clone() },
        ),
        ("another fleet's", with(&|receipt| receipt.lineage = fleet("theirs"))),
        ("about another host", with(&|receipt| receipt.host = other.public().digest())),
        (
            "one of two is not its own",
            Progress {
                receipts: vec![Envelope::sign(&good, &host), Envelope::sign(&good, &other)],
                ..honest.clone()
            },
        ),
        ("not signed", Progress { receipts: vec![Envelope::new(&good)], ..honest.clone() }),
    ];
    for (what, progress) in forged {
        let line = judge(&progress, &Acquaintances::default());
        assert_eq!(line.state, State::Forged, "{what}: {line:?}");
        assert!(!line.is_own_word(), "{what}");
    }
    let floor = |number| Some(LinkRef { number, digest: fleet("link") });
    let cases = [
        ("all of it", honest.clone(), State::Done),
        ("a newer floor", with(&|receipt| receipt.floor = floor(4)), State::Done),
        ("an older floor", with(&|receipt| receipt.floor = floor(2)), State::Waiting),
        ("no floor", with(&|receipt| receipt.floor = None), State::Waiting),
        ("no revocation", with(&|receipt| receipt.revocations.clear()), State::Waiting),
        (
            "another revocation of its id, by the online key",
            with(&|receipt| {
                receipt.revocations = named(&revocation_of("nobody's"), Authority::Online);
            }),
            State::Waiting,
        ),
        (
            "the same by the online key alone",
            with(&|receipt| receipt.revocations = named(&revocation(), Authority::Online)),
            State::Waiting,
        ),
        (
            "by an agent that knows no marks",
            with(&|receipt| receipt.revocations = [revocation().id].into()),
            State::Done,
        ),
        ("retrying", with(&|receipt| receipt.convergence = Convergence::Retrying), State::Retrying),
        (
            "observed",
            with(&|receipt| receipt.convergence = Convergence::Observed),
            State::Observing,
        ),
        ("in observe mode", with(&|receipt| receipt.mode = HostMode::Observe), State::Observing),
        ("nothing yet", shown(&host, &[]), State::Waiting),
        ("away", Progress { connected: false, ..shown(&host, &[]) }, State::Outstanding),
        (
            "refused",
            Progress { refusal: "older than the floor".to_owned(), ..shown(&host, &[]) },
            State::Refused,
        ),
        (
            "refused, with a word on what was before",
            Progress {
                refusal: "older than the floor".to_owned(),
                ..with(&|receipt| receipt.floor = floor(2))
            },
            State::Refused,
        ),
    ];
    for (what, progress, expected) in cases {
        assert_eq!(state(&progress), expected, "{what}");
    }
    // A revocation is judged once, and told in the receipt of that time.
    let mut earlier = good.clone();
    (earlier.number, earlier.floor) = (8, floor(2));
    let mut later = good.clone();
    later.revocations.clear();
    assert_eq!(state(&shown(&host, &[earlier, later])), State::Done);
}

#[test]
fn what_a_finding_leaves_undone_keeps_a_host_from_being_done() {
    let host = key();
    let cases = [
        ("conflict", "ana", State::Partly),
        ("conflict", "ben", State::Done),
        ("unmet", "muster-accounts", State::Partly),
        ("ineffective", "sshd", State::Partly),
        ("jobs-unseen", "/var/spool/cron", State::Partly),
        ("jobs-set-aside", "ana", State::Done),
        ("paused", "ana", State::Done),
        ("postponed", "ana", State::Partly),
        ("postponed", "ben", State::Done),
        ("of-a-newer-agent", "ana", State::Partly),
        ("of-a-newer-agent", "ben", State::Done),
    ];
    for (kind, subject, expected) in cases {
        let mut receipt = receipt(&host);
        let (kind, subject) = (FindingWord::heard(kind.to_owned()), subject.to_owned());
        receipt.findings = vec![Finding { kind, subject, detail: "why".to_owned() }];
        let line = judge(&shown(&host, &[receipt]), &Acquaintances::default());
        assert_eq!(line.state, expected, "{line:?}");
    }
    // One that is held was judged, and nothing came of it.
    let mut held = receipt(&host);
    held.revocations.clear();
    for (subject, expected) in
        [(revocation().id.to_string(), State::Partly), ("another".to_owned(), State::Waiting)]
    {
        let kind = FindingKind::RevocationHeld.into();
        held.findings = vec![Finding { kind, subject, detail: "too many".to_owned() }];
        assert_eq!(state(&shown(&host, std::slice::from_ref(&held))), expected);
    }
    // Where nobody is locked, nobody's jobs are in question.
    let mut receipt = receipt(&host);
    let (kind, subject) = (FindingKind::JobsUnseen.into(), "/var/spool/cron".to_owned());
    receipt.findings = vec![Finding { kind, subject, detail: "why".to_owned() }];
    let asked = Asked { locks: BTreeSet::new(), ..asked() };
    let acquaintances = Acquaintances::default();
    let bench = Bench { asked: &asked, lineage: fleet("ours"), acquaintances: &acquaintances };
    assert_eq!(bench.judge(&shown(&host, &[receipt])).state, State::Done);
}

#[test]
fn a_host_that_a_revocation_does_not_concern_is_not_asked_for_it() {
    let host = key();
    let mut receipt = receipt(&host);
    receipt.revocations.clear();
    let (asked, acquaintances) = (asked(), Acquaintances::default());
    let bench = Bench { asked: &asked, lineage: fleet("ours"), acquaintances: &acquaintances };
    assert_eq!(bench.judge(&shown(&host, &[receipt])).state, State::Done);
}

#[test]
fn a_host_under_a_known_name_with_another_key_does_not_confirm() {
    let (known, made) = (key(), key());
    let hosts = Hosts::from([(known.public().digest(), Line::parse("db1").unwrap())]);
    let hidden = Acquaintances::new(hosts.clone(), [made.public().digest()]);
    let line = judge(&shown(&made, &[receipt(&made)]), &hidden);
    assert_eq!(line.state, State::Stranger);
    assert!(line.detail.contains(&known.public().digest().to_string()), "{line:?}");
    assert!(line.state.is_final() && !line.is_own_word());
    let both = [known.public().digest(), made.public().digest()];
    let both = Acquaintances::new(hosts, both);
    assert_eq!(judge(&shown(&made, &[receipt(&made)]), &both).state, State::Done);
    let renamed = Progress { hostname: "db9".to_owned(), ..shown(&known, &[receipt(&known)]) };
    let line = judge(&renamed, &both);
    assert_eq!((line.state, line.host.as_str()), (State::Done, "db9 (known as db1)"));
}

#[test]
fn a_host_that_is_held_back_has_not_confirmed_and_is_told_to_have_taken_away() {
    let host = key();
    let held_back = |receipt: Receipt| {
        let refusal = "quarantined by ana".to_owned();
        let progress = Progress { refusal, ..shown(&host, &[receipt]) };
        let line = judge(&progress, &Acquaintances::default());
        assert_eq!(line.state, State::Refused);
        line.detail
    };
    let floor = Some(LinkRef { number: 2, digest: fleet("link") });
    let behind = Receipt { floor, ..receipt(&host) };
    assert_eq!(held_back(behind.clone()), "quarantined by ana; what was revoked is done");
    let unheard = Receipt { revocations: BTreeSet::new(), ..behind.clone() };
    assert_eq!(held_back(unheard), "quarantined by ana");
    let trying = Receipt { convergence: Convergence::Retrying, ..behind };
    assert_eq!(held_back(trying), "quarantined by ana");
}
