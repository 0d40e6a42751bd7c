//! Receipts that do not fit onto one another, since some got lost or a host was set back; and very
//! many that do.

use std::time::Duration;

use muster_controller::{config::Config, fleet::LOOK_BACK, setup, store::Store};
use muster_proto::{
    bundle::VerifiedBundle,
    id::Kind,
    link::{Acknowledgement, Target},
    receipt::{Finding, FindingKind},
    wire::{self, agents_client::AgentsClient},
};

use crate::{
    host::Host,
    net::{Running, Session, config, soon, wall},
    server::{grant, listed, report, until, wired},
    world::{NOW, World, id},
};

async fn shown(server: &Running) -> wire::Host {
    listed(server).await.remove(0)
}

/// The stored receipts, oldest first.
async fn stored(server: &Running, host: &Host) -> Vec<wire::Envelope> {
    let request =
        wire::ReceiptsRequest { host: host.id().as_bytes().to_vec(), limit: 0, below: None };
    let mut operator = server.operator().await;
    let mut receipts = operator.receipts(request).await.unwrap().into_inner().receipts;
    receipts.reverse();
    receipts
}

async fn arrived(server: &Running, host: &Host, link: u64) -> bool {
    let hosts = vec![host.id().as_bytes().to_vec()];
    let follow = wire::FollowRequest { link, revocations: Vec::new(), hosts };
    let mut progress = server.operator().await.follow(follow).await.unwrap().into_inner();
    !soon(progress.message()).await.unwrap().unwrap().receipts.is_empty()
}

#[tokio::test]
async fn receipts_that_never_came_are_told_of_and_end_nothing() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    let (first, word) = report(&mut session, &mut host).await;
    assert_eq!((word.number, word.digest), (1, first.digest()));
    assert!(shown(&server).await.notes.is_empty());
    assert!(!shown(&server).await.gap);

    // A spool that is full drops its oldest.
    for _ in 2..=4 {
        host.receipt();
    }
    let (fifth, word) = report(&mut session, &mut host).await;
    assert_eq!((word.number, word.digest), (5, fifth.digest()));
    host.receipt();
    let (seventh, word) = report(&mut session, &mut host).await;
    assert_eq!(word.number, 7);
    let wanted: Vec<_> = [&first, &fifth, &seventh].map(wire::Envelope::from).into();
    assert_eq!(stored(&server, &host).await, wanted);
    let notes = shown(&server).await.notes;
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].starts_with("receipts 2 to 4 never came"), "{notes:?}");
    assert!(shown(&server).await.gap);
    assert!(notes[1].starts_with("receipt 6 never came"), "{notes:?}");

    // What the host does is confirmed as before.
    let mut operator = server.operator().await;
    operator.publish(wired(&world.publish(grant(&world)))).await.unwrap();
    until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
    assert!(!arrived(&server, &host, 1).await);
    session.stand(&host).await;
    report(&mut session, &mut host).await;
    assert!(arrived(&server, &host, 1).await);

    let server = Running::resume(server.stop().await).await;
    assert_eq!(shown(&server).await.notes, notes);
    assert!(shown(&server).await.gap);
    // Whoever joins again begins anew; what was found before is shown all the same.
    server.turn_clock(1);
    server.join(&host, server.token(600).await).await.unwrap();
    assert!(!shown(&server).await.gap);
    assert_eq!(shown(&server).await.notes, notes);
    let dir = server.stop().await;
    let store = Store::open(&dir.path().join("data")).await.unwrap();
    let kinds = store.log_kinds().await.unwrap();
    assert_eq!(kinds.iter().filter(|kind| *kind == "receipts-missing").count(), 2, "{kinds:?}");
    store.close().await;
}

#[tokio::test]
async fn a_host_that_was_set_back_is_told_of_and_replaces_nothing() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    let mut kept = vec![wire::Envelope::from(&report(&mut session, &mut host).await.0)];
    let snapshot = host.receipts;
    for _ in 2..=3 {
        kept.push((&report(&mut session, &mut host).await.0).into());
    }

    host.receipts = snapshot;
    let mut operator = server.operator().await;
    operator.publish(wired(&world.publish(grant(&world)))).await.unwrap();
    until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
    let mut others = Vec::new();
    for number in 2..=3 {
        let (other, word) = report(&mut session, &mut host).await;
        assert_eq!((word.number, word.digest), (number, other.digest()), "it is kept in the log");
        others.push(other);
    }
    assert_eq!(stored(&server, &host).await, kept, "nothing is overwritten");
    assert!(!arrived(&server, &host, 1).await, "it confirms nothing");
    let notes = shown(&server).await.notes;
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].starts_with("receipt 2 is not the one of that number"), "{notes:?}");

    // What is kept already is nothing new, whether it fits or not.
    for (again, number) in [(&others[0], 2), (&others[1], 3)] {
        session.spool(again).await;
        let word = until(&mut session, &mut host, |bundle| bundle.acknowledgement.is_some()).await;
        assert_eq!(word.acknowledgement.unwrap().number, number);
    }
    assert_eq!(shown(&server).await.notes, notes);

    // A new number is where the host is now, though it grew from another past.
    let (fourth, word) = report(&mut session, &mut host).await;
    assert_eq!((word.number, word.digest), (4, fourth.digest()));
    kept.push((&fourth).into());
    assert_eq!(stored(&server, &host).await, kept);
    assert!(arrived(&server, &host, 1).await);
    let notes = shown(&server).await.notes;
    assert!(notes[2].starts_with("receipt 4 does not continue receipt 3"), "{notes:?}");

    let dir = server.stop().await;
    let store = Store::open(&dir.path().join("data")).await.unwrap();
    let kinds = store.log_kinds().await.unwrap();
    let found: Vec<&str> = kinds.iter().map(String::as_str).collect();
    assert_eq!(found[found.len() - 3..], ["receipts-back", "receipts-back", "receipts-parted"]);
    store.close().await;
}

/// Receipts come in bursts of more than are stored together, and a revocation may be named by one
/// that is older than any that are looked through at once.
#[tokio::test]
async fn of_many_receipts_none_is_lost_and_the_one_that_names_a_revocation_is_found() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut operator = server.operator().await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    operator.publish(wired(&world.publish(grant(&world)))).await.unwrap();
    until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
    session.stand(&host).await;
    let target = Target::Statement { id: id("ana"), revision: 1 };
    let revocation = world.revocation("offboard", target);
    let request = wire::RevokeRequest { revocation: Some((&revocation).into()) };
    operator.revoke(request).await.unwrap();
    until(&mut session, &mut host, |bundle| !bundle.revocations.is_empty()).await;
    let naming = wire::Envelope::from(&session.report(&mut host).await);

    let own = host.id().as_bytes().to_vec();
    let of = |limit| wire::ReceiptsRequest { host: own.clone(), limit, below: None };
    let (few, all, all_but_one) = (of(999), of(0), of(1_001));
    let follow = wire::FollowRequest {
        link: 1,
        revocations: vec![id("offboard").as_bytes().to_vec()],
        hosts: vec![host.id().as_bytes().to_vec()],
    };
    let look_back = u64::from(LOOK_BACK);
    for last in [look_back, look_back + 1, 2 * look_back + 1, 1_001] {
        let mut newest = session.report(&mut host).await;
        while host.receipts.unwrap().0 < last {
            newest = session.report(&mut host).await;
        }
        let stored = |word: &Acknowledgement| word.number == last;
        until(&mut session, &mut host, |b| b.acknowledgement.as_ref().is_some_and(|w| stored(w)))
            .await;
        let mut progress = operator.follow(follow.clone()).await.unwrap().into_inner();
        let found = soon(progress.message()).await.unwrap().unwrap();
        assert_eq!(found.receipts, [naming.clone(), (&newest).into()], "{last}");
        assert!(soon(progress.message()).await.unwrap().is_none(), "it has arrived");
    }
    for (request, count) in [(few, 999), (all, 1_000), (all_but_one, 1_000)] {
        let receipts = operator.receipts(request).await.unwrap().into_inner().receipts;
        assert_eq!(receipts.len(), count);
    }
    server.stop().await;
}

async fn is_behind(server: &Running) -> bool {
    shown(server).await.behind
}

/// A host that holds ana's grant, of which a revocation has come and the receipt that named it has
/// been lost. Whoever loses it says so by a later one.
async fn unconfirmed(world: &World, host: &mut Host, session: &mut Session, server: &Running) {
    let target = Target::Statement { id: id("ana"), revision: 1 };
    let revocation = world.revocation("offboard", target);
    let request = wire::RevokeRequest { revocation: Some((&revocation).into()) };
    server.operator().await.revoke(request).await.unwrap();
    until(session, host, |bundle| !bundle.revocations.is_empty()).await;
    host.receipt();
    report(session, host).await;
    assert!(is_behind(server).await);
}

async fn granted(world: &mut World, host: &mut Host, session: &mut Session, server: &Running) {
    let mut operator = server.operator().await;
    operator.publish(wired(&world.publish(grant(world)))).await.unwrap();
    until(session, host, |bundle| bundle.link.is_some()).await;
    session.stand(host).await;
    report(session, host).await;
    assert!(!is_behind(server).await);
}

#[tokio::test]
async fn a_revocation_whose_receipt_was_lost_is_confirmed_at_the_next_session() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    granted(&mut world, &mut host, &mut session, &server).await;
    unconfirmed(&world, &mut host, &mut session, &server).await;
    drop(session);
    let mut session = courier.session(&host).await;
    until(&mut session, &mut host, |bundle| !bundle.revocations.is_empty()).await;
    report(&mut session, &mut host).await;
    assert!(!is_behind(&server).await);
    server.stop().await;
}

#[tokio::test]
async fn a_revocation_that_is_not_confirmed_is_sent_again_after_an_hour_and_not_before() {
    let mut world = World::new();
    let dir = tempfile::tempdir().unwrap();
    setup::create(&dir.path().join("data"), &world.online, &world.trust, NOW).await.unwrap();
    let config = Config { checkpoint_every: Duration::from_secs(1), ..config(dir.path()) };
    let server = Running::with(dir, config, wall() - 3_600).await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    granted(&mut world, &mut host, &mut session, &server).await;
    unconfirmed(&world, &mut host, &mut session, &server).await;
    for (seconds, sent) in [(3_599, false), (1, true)] {
        server.turn_clock(seconds);
        let now = server.now();
        // What a heartbeat sends comes behind its checkpoint, so the second one tells.
        let mut again = false;
        for _ in 0..2 {
            let next = until(&mut session, &mut host, |bundle| {
                let late = bundle.checkpoint.as_ref().is_some_and(|word| word.time >= now);
                late || !bundle.revocations.is_empty()
            });
            again |= !next.await.revocations.is_empty();
        }
        assert_eq!(again, sent, "{seconds}");
    }
    report(&mut session, &mut host).await;
    assert!(!is_behind(&server).await);
    server.stop().await;
}

#[tokio::test]
async fn a_host_that_joins_again_confirms_the_revocations_that_it_has_kept() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    granted(&mut world, &mut host, &mut session, &server).await;
    unconfirmed(&world, &mut host, &mut session, &server).await;
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    let shown = |bundle: &VerifiedBundle| !bundle.revocations.is_empty();
    until(&mut session, &mut host, shown).await;
    until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
    session.stand(&host).await;
    report(&mut session, &mut host).await;
    assert!(!is_behind(&server).await);
    server.stop().await;
}

#[tokio::test]
async fn a_removal_that_a_host_has_confirmed_settles_what_was_revoked_before() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    granted(&mut world, &mut host, &mut session, &server).await;
    unconfirmed(&world, &mut host, &mut session, &server).await;
    let removal = world.removal("ana", Kind::User);
    let mut operator = server.operator().await;
    operator.publish(wired(&world.publish(vec![removal]))).await.unwrap();
    until(&mut session, &mut host, |bundle| bundle.link.is_some()).await;
    session.stand(&host).await;
    report(&mut session, &mut host).await;
    assert!(!is_behind(&server).await);
    server.stop().await;
}

#[tokio::test]
async fn a_host_that_is_away_has_not_confirmed_what_was_revoked_meanwhile() {
    let mut world = World::new();
    let server = Running::start(&world).await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    granted(&mut world, &mut host, &mut session, &server).await;
    drop(session);
    let target = Target::Statement { id: id("ana"), revision: 1 };
    let revocation = world.revocation("offboard", target);
    let request = wire::RevokeRequest { revocation: Some((&revocation).into()) };
    server.operator().await.revoke(request).await.unwrap();
    assert!(is_behind(&server).await);
    server.stop().await;
}

#[tokio::test]
async fn a_pause_is_shown_by_the_hosts_own_word_and_logged_when_it_begins_changes_and_ends() {
    let world = World::new();
    let server = Running::start(&world).await;
    let mut host = Host::new(&world, &[("tier", "db")]);
    let mut courier = server.join(&host, server.token(600).await).await.unwrap();
    let mut session = courier.session(&host).await;
    report(&mut session, &mut host).await;
    assert_eq!(shown(&server).await.paused_in, 0);

    let until = |detail: &str| Finding {
        kind: FindingKind::Paused.into(),
        subject: "bob".to_owned(),
        detail: detail.to_owned(),
    };
    host.findings = vec![until("ten")];
    report(&mut session, &mut host).await;
    // What says the same again is no other pause, and is the newest word of it.
    let (again, _) = report(&mut session, &mut host).await;
    assert_eq!(shown(&server).await.paused_in, 3);
    assert_eq!(stored(&server, &host).await[2], wire::Envelope::from(&again));
    drop(session);

    // A controller that is started anew knows it.
    let server = Running::resume(server.stop().await).await;
    assert_eq!(shown(&server).await.paused_in, 3);
    let shown_again = Some((courier.reply.certificate.clone(), &courier.key));
    courier.client = AgentsClient::new(server.channel(shown_again).await.unwrap());
    let mut session = courier.session(&host).await;
    report(&mut session, &mut host).await;
    host.findings = vec![until("eleven")];
    report(&mut session, &mut host).await;
    host.findings.clear();
    report(&mut session, &mut host).await;
    assert_eq!(shown(&server).await.paused_in, 0);
    drop(session);

    let dir = server.stop().await;
    let store = Store::open(&dir.path().join("data")).await.unwrap();
    let kinds = store.log_kinds().await.unwrap();
    let of = |kind: &str| kinds.iter().filter(|found| *found == kind).count();
    assert_eq!((of("host-paused"), of("host-resumed")), (2, 1), "{kinds:?}");
    store.close().await;
}
