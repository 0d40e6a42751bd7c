//! Drift as hosts tell it, found by who did it and when; and what of it is accepted until a date.

mod narrowed;

use muster_controller::{
    client::{Client, DriftWanted, Drifted},
    exception::{Accepted, DriftScope, LONGEST, Thing},
    store::{DriftQuery, FILE, Store},
};
use muster_proto::{
    drift::{Culprit, Drift, DriftKind, Response, Severity, content_of},
    id::Digest,
    name::Line,
    time::Timestamp,
    wire,
};
use tonic::{Code, Status};

use crate::{
    host::Host,
    net::{Courier, Running, Session, alter},
    server::report,
    world::World,
};

pub(crate) fn content(which: u8) -> String {
    content_of(Digest::new([which; 32]))
}

/// A foreign sudo file, which nobody granted.
pub(crate) fn sudo_file(name: &str) -> Drift {
    Drift {
        kind: DriftKind::SudoForeign.as_str().to_owned(),
        subject: format!("sudoers.d/{name}"),
        place: String::new(),
        expected: "no such file, or as it was".to_owned(),
        found: content(1),
        since: Timestamp(100),
        severity: Severity::Critical,
        response: Response::Reported,
        rounds: 0,
        culprit: None,
    }
}

fn by(login: &str) -> Culprit {
    Culprit { pid: 7, login: login.to_owned(), ..Culprit::default() }
}

/// A server and a host of its fleet that tells what it is given.
pub(crate) struct Telling {
    pub(crate) server: Running,
    pub(crate) host: Host,
    session: Session,
    _courier: Courier,
}

impl Telling {
    pub(crate) async fn start(world: &World) -> Self {
        let server = Running::start(world).await;
        let host = Host::new(world, &[]);
        let mut courier = server.join(&host, server.token(600).await).await.unwrap();
        let session = courier.session(&host).await;
        Self { server, host, session, _courier: courier }
    }

    pub(crate) async fn tell(&mut self, drift: &[Drift]) {
        self.host.drift = drift.to_vec();
        report(&mut self.session, &mut self.host).await;
    }

    pub(crate) async fn find(&self, wanted: &DriftWanted) -> Drifted {
        let mut client = Client::connect(&self.server.socket()).await.unwrap();
        client.drift(wanted).await.unwrap()
    }

    /// How many there are that nobody has accepted, and how many that somebody has.
    pub(crate) async fn count(&self) -> (usize, u64) {
        let drift = self
            .find(&DriftWanted { scope: DriftScope::Unaccepted, ..DriftWanted::default() })
            .await;
        assert_eq!(drift.hosts.len(), drift.found.len().min(1), "a host passes without drift");
        (drift.found.len(), drift.exceptions)
    }

    /// The newest place of something that is there.
    pub(crate) async fn place(&self, drift: &Drift) -> u64 {
        let subject = Some(drift.subject.clone());
        let all = self.find(&DriftWanted { subject, limit: 1, ..DriftWanted::default() }).await;
        all.found[0].place
    }

    fn acceptance(&self, place: u64, drift: &Drift) -> wire::AcceptDriftRequest {
        wire::AcceptDriftRequest {
            place,
            found: drift.found_digest().as_bytes().to_vec(),
            until: self.server.now().plus(100).0,
            reason: "OPS-1".to_owned(),
        }
    }

    async fn ask(&self, request: wire::AcceptDriftRequest) -> Result<wire::Exception, Status> {
        let reply = self.server.operator().await.accept_drift(request).await?;
        Ok(reply.into_inner().exception.unwrap())
    }

    /// Accepts the newest that was told of something, for 100 seconds.
    pub(crate) async fn accept(&self, drift: &Drift) -> wire::Exception {
        let place = self.place(drift).await;
        self.ask(self.acceptance(place, drift)).await.unwrap()
    }

    async fn log(self) -> Vec<String> {
        let dir = self.server.stop().await;
        let store = Store::open(&dir.path().join("data")).await.unwrap();
        let kinds = store.log_kinds().await.unwrap();
        store.close().await;
        kinds.into_iter().filter(|kind| kind.starts_with("exception")).collect()
    }

    /// Has another host join that tells this.
    async fn another(&self, world: &World, drift: Vec<Drift>) -> (Host, (Session, Courier)) {
        let mut host = Host::new(world, &[]);
        let secret = self.server.token(600).await;
        let mut courier = self.server.join(&host, secret).await.unwrap();
        let mut session = courier.session(&host).await;
        host.drift = drift;
        report(&mut session, &mut host).await;
        (host, (session, courier))
    }

    /// Which items of the one receipt are found, in their order.
    async fn items(&self, wanted: &DriftWanted) -> Vec<u32> {
        let mut items: Vec<u32> = self.find(wanted).await.found.iter().map(|t| t.item).collect();
        items.sort_unstable();
        items
    }
}

#[tokio::test]
async fn drift_is_found_by_who_made_it_and_by_when_it_began() {
    let mut told = Telling::start(&World::new()).await;
    let begun =
        |name, since, culprit| Drift { since: Timestamp(since), culprit, ..sudo_file(name) };
    told.tell(&[
        begun("a", 99, Some(by("bob"))),
        begun("b", 100, Some(by("eve"))),
        begun("c", 199, None),
        begun("d", 200, Some(by("bob"))),
    ])
    .await;
    let all = DriftWanted::default();
    assert_eq!(told.items(&all).await, [0, 1, 2, 3]);
    let of_bob = DriftWanted { by: Some("bob".to_owned()), ..all.clone() };
    assert_eq!(told.items(&of_bob).await, [0, 3]);
    let of_nobody = DriftWanted { by: Some("bo".to_owned()), ..all.clone() };
    assert_eq!(told.items(&of_nobody).await, [0; 0]);
    let since = DriftWanted { since: Some(Timestamp(100)), ..all.clone() };
    assert_eq!(told.items(&since).await, [1, 2, 3]);
    let until = DriftWanted { until: Some(Timestamp(200)), ..since.clone() };
    assert_eq!(told.items(&until).await, [1, 2]);
    let by_eve = DriftWanted { by: Some("eve".to_owned()), ..until };
    assert_eq!(told.items(&by_eve).await, [1]);
    told.server.stop().await;
}

#[tokio::test]
async fn what_is_accepted_does_not_count_until_its_end_comes_to_the_second() {
    let mut told = Telling::start(&World::new()).await;
    let (one, two) = (sudo_file("one"), sudo_file("two"));
    told.tell(&[one.clone(), two.clone()]).await;
    assert_eq!(told.count().await, (2, 0));
    let made = told.accept(&one).await;
    assert_eq!(made.reason, "OPS-1");
    assert_eq!((made.made, made.until), (told.server.now().0, told.server.now().0 + 100));
    assert!(!made.by.is_empty());
    assert_eq!(told.count().await, (1, 1));
    told.accept(&two).await;
    assert_eq!(told.count().await, (0, 2));
    // It is shown to whoever asks for it.
    let open = DriftWanted { scope: DriftScope::Open, ..DriftWanted::default() };
    let shown = told.find(&open).await.found;
    assert!(shown.iter().all(|told| told.exception.as_ref().unwrap().reason.as_str() == "OPS-1"));
    assert_eq!(shown.len(), 2);
    told.server.turn_clock(99);
    assert_eq!(told.count().await, (0, 2));
    told.server.turn_clock(1);
    assert_eq!(told.count().await, (2, 0));
    assert_eq!(told.log().await, ["exception-made", "exception-made"]);
}

#[tokio::test]
async fn what_was_accepted_is_drift_again_when_something_else_is_found_there() {
    let mut told = Telling::start(&World::new()).await;
    let first = sudo_file("one");
    told.tell(std::slice::from_ref(&first)).await;
    told.accept(&first).await;
    assert_eq!(told.count().await, (0, 1));
    let other = Drift { found: content(2), ..first.clone() };
    told.tell(std::slice::from_ref(&other)).await;
    assert_eq!(told.count().await, (1, 0));
    // As it was found then, it is accepted still.
    told.tell(std::slice::from_ref(&Drift { response: Response::Gone, ..other })).await;
    told.tell(std::slice::from_ref(&first)).await;
    assert_eq!(told.count().await, (0, 1));
    // Of another file of the same content nothing is accepted, nor by another kind.
    let kind = DriftKind::KeysUngranted.as_str().to_owned();
    told.tell(&[sudo_file("two"), Drift { kind, ..first.clone() }]).await;
    assert_eq!(told.count().await, (2, 1));
    told.server.stop().await;
}

#[tokio::test]
async fn what_was_accepted_is_drift_again_when_it_becomes_graver() {
    let mut told = Telling::start(&World::new()).await;
    let first = Drift { severity: Severity::High, ..sudo_file("one") };
    told.tell(std::slice::from_ref(&first)).await;
    told.accept(&first).await;
    assert_eq!(told.count().await, (0, 1));
    let known = told.find(&DriftWanted::default()).await.newest;
    let graver = Drift { severity: Severity::Critical, ..first.clone() };
    told.tell(std::slice::from_ref(&graver)).await;
    assert_eq!(told.count().await, (1, 0));
    assert_eq!(told.find(&DriftWanted::default()).await.newest, known + 1, "it is new");
    // What becomes less grave again is accepted still, and so is the graver once somebody says so.
    told.tell(&[Drift { severity: Severity::Medium, ..first.clone() }]).await;
    assert_eq!(told.count().await, (0, 1));
    told.tell(std::slice::from_ref(&graver)).await;
    told.accept(&graver).await;
    assert_eq!(told.count().await, (0, 1));
    told.server.stop().await;
}

#[tokio::test]
async fn an_exception_outlives_a_restart_and_is_withdrawn_before_its_date() {
    let mut told = Telling::start(&World::new()).await;
    let first = sudo_file("one");
    told.tell(std::slice::from_ref(&first)).await;
    told.accept(&first).await;
    let place = told.place(&first).await;
    told.server = Running::resume(told.server.stop().await).await;
    assert_eq!(told.count().await, (0, 1));
    let withdraw = async |told: &Telling| {
        let request = wire::WithdrawExceptionRequest { place, reason: String::new(), thing: None };
        told.server.operator().await.withdraw_exception(request).await
    };
    withdraw(&told).await.unwrap();
    assert_eq!(told.count().await, (1, 0));
    assert_eq!(withdraw(&told).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(told.log().await, ["exception-made", "exception-withdrawn"]);
}

#[tokio::test]
async fn what_is_accepted_and_has_gone_is_listed_and_withdrawn_by_what_it_was_for() {
    let mut told = Telling::start(&World::new()).await;
    let first = sudo_file("one");
    let thing = Thing::of(told.host.id(), &first);
    let open = DriftWanted { scope: DriftScope::Open, ..DriftWanted::default() };
    let unfound = async |told: &Telling, wanted: &DriftWanted| {
        let unfound = told.find(wanted).await.unfound;
        unfound.into_iter().map(|(thing, _)| thing).collect::<Vec<_>>()
    };
    told.tell(std::slice::from_ref(&first)).await;
    told.accept(&first).await;
    assert_eq!(unfound(&told, &open).await, [], "it is there");
    let gone = Drift { response: Response::Gone, ..first.clone() };
    told.tell(std::slice::from_ref(&gone)).await;
    assert_eq!(unfound(&told, &open).await, std::slice::from_ref(&thing));
    let other = DriftWanted { kind: Some("uid-zero".to_owned()), ..open.clone() };
    assert_eq!(unfound(&told, &other).await, []);
    let all = DriftWanted { scope: DriftScope::Unaccepted, ..open.clone() };
    assert_eq!(unfound(&told, &all).await, [], "nobody asked for what is accepted");
    // It covers what comes back, and is not there where something else is.
    told.tell(std::slice::from_ref(&first)).await;
    assert_eq!((told.count().await, unfound(&told, &open).await.len()), ((0, 1), 0));
    told.tell(&[Drift { found: content(2), ..first.clone() }]).await;
    assert_eq!((told.count().await, unfound(&told, &open).await.len()), ((1, 0), 1));
    told.tell(std::slice::from_ref(&gone)).await;
    let mut client = Client::connect(&told.server.socket()).await.unwrap();
    let mut withdraw = async |thing: &Thing| {
        client.withdraw(Accepted::Of(thing.clone()), &Line::parse("over").unwrap()).await
    };
    let else_where = Thing { subject: "sudoers.d/two".to_owned(), ..thing.clone() };
    assert!(withdraw(&else_where).await.is_err());
    withdraw(&thing).await.unwrap();
    assert!(withdraw(&thing).await.is_err(), "it is withdrawn already");
    assert_eq!(unfound(&told, &open).await, []);
    told.tell(std::slice::from_ref(&first)).await;
    assert_eq!(told.count().await, (1, 0));
    assert_eq!(told.log().await, ["exception-made", "exception-withdrawn"]);
}

#[tokio::test]
async fn a_thousand_things_are_listed_that_are_accepted_and_not_there() {
    let told = Telling::start(&World::new()).await;
    let dir = told.server.stop().await;
    let data = dir.path().join("data");
    let unfound = async || {
        let store = Store::open(&data).await.unwrap();
        let found = store.unfound(&DriftQuery::default(), Timestamp(99)).await.unwrap();
        let late = store.unfound(&DriftQuery::default(), Timestamp(100)).await.unwrap();
        store.close().await;
        assert_eq!((late.0.len(), late.1), (0, false), "their date has come");
        (found.0.len(), found.1)
    };
    alter(
        &data.join(FILE),
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO exceptions
         SELECT zeroblob(32), 'sudo-foreign', i, '', zeroblob(32), 100, 1, 'ana', 'x', 4 FROM n",
    )
    .await;
    assert_eq!(unfound().await, (1_000, false));
    alter(&data.join(FILE), "UPDATE exceptions SET made = 2 WHERE subject = '7'").await;
    alter(
        &data.join(FILE),
        "INSERT INTO exceptions
         VALUES (zeroblob(32), 'uid-zero', 'x', '', zeroblob(32), 100, 1, 'ana', 'x', 4)",
    )
    .await;
    assert_eq!(unfound().await, (1_000, true));
}

#[tokio::test]
async fn what_cannot_be_accepted_is_refused_and_not_in_the_log() {
    let mut told = Telling::start(&World::new()).await;
    let file = sudo_file("one");
    let kind = DriftKind::AccountChanged.as_str().to_owned();
    let ours = Drift { kind, subject: "ana".to_owned(), place: "shell".to_owned(), ..file.clone() };
    let repaired =
        Drift { subject: "bob".to_owned(), response: Response::Repaired, ..ours.clone() };
    told.tell(&[file.clone(), ours.clone(), repaired.clone()]).await;
    for drift in [&ours, &repaired] {
        let place = told.place(drift).await;
        let refused = told.ask(told.acceptance(place, drift)).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    }
    let place = told.place(&file).await;
    let good = told.acceptance(place, &file);
    let now = told.server.now();
    for (code, bad) in [
        (Code::NotFound, wire::AcceptDriftRequest { place: 99, ..good.clone() }),
        (Code::FailedPrecondition, wire::AcceptDriftRequest { found: vec![1; 32], ..good.clone() }),
        (Code::InvalidArgument, wire::AcceptDriftRequest { until: now.0, ..good.clone() }),
        (
            Code::InvalidArgument,
            wire::AcceptDriftRequest { until: now.plus(LONGEST + 1).0, ..good.clone() },
        ),
        (Code::InvalidArgument, wire::AcceptDriftRequest { reason: String::new(), ..good.clone() }),
        (
            Code::InvalidArgument,
            wire::AcceptDriftRequest { reason: "a\nb".to_owned(), ..good.clone() },
        ),
    ] {
        let refused = told.ask(bad).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    // What was told before is not what is there now.
    told.tell(std::slice::from_ref(&Drift { found: content(2), ..file.clone() })).await;
    let refused = told.ask(good).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert_eq!(told.count().await, (2, 0));
    let newest = told.place(&file).await;
    let longest = wire::AcceptDriftRequest {
        until: told.server.now().plus(LONGEST).0,
        ..told.acceptance(newest, &Drift { found: content(2), ..file })
    };
    told.ask(longest).await.unwrap();
    assert_eq!(told.log().await, ["exception-made"]);
}

#[tokio::test]
async fn what_is_accepted_on_one_host_is_drift_on_another() {
    let world = World::new();
    let mut told = Telling::start(&world).await;
    let file = sudo_file("one");
    told.tell(std::slice::from_ref(&file)).await;
    told.accept(&file).await;
    let (other, _connected) = told.another(&world, vec![file]).await;
    let drift =
        told.find(&DriftWanted { scope: DriftScope::Unaccepted, ..DriftWanted::default() }).await;
    assert_eq!(drift.hosts, [other.id()].into());
    assert_eq!((drift.found.len(), drift.exceptions), (1, 1));
    told.server.stop().await;
}

#[tokio::test]
async fn what_an_older_version_noted_can_be_accepted_too() {
    let mut told = Telling::start(&World::new()).await;
    let file = sudo_file("one");
    told.tell(std::slice::from_ref(&file)).await;
    alter(&told.server.data().join(FILE), "UPDATE drift SET found = NULL").await;
    told.accept(&file).await;
    assert_eq!(told.count().await, (0, 1));
    told.server.stop().await;
}

#[tokio::test]
async fn a_host_that_is_forgotten_takes_with_it_what_was_accepted_there() {
    let mut told = Telling::start(&World::new()).await;
    let file = sudo_file("one");
    told.tell(std::slice::from_ref(&file)).await;
    told.accept(&file).await;
    let before = told.place(&file).await;
    let decide = |measure: wire::Measure| wire::DecideRequest {
        host: told.host.id().as_bytes().to_vec(),
        measure: measure.into(),
        reason: String::new(),
    };
    let (evict, purge) = (decide(wire::Measure::Evict), decide(wire::Measure::Purge));
    let mut operator = told.server.operator().await;
    operator.decide(evict).await.unwrap();
    told.session.failure().await;
    operator.decide(purge).await.unwrap();
    let mut courier = told.server.join(&told.host, told.server.token(600).await).await.unwrap();
    told.session = courier.session(&told.host).await;
    told.tell(std::slice::from_ref(&file)).await;
    assert_eq!(told.count().await, (1, 0));
    assert!(told.place(&file).await > before, "no place is given twice");
    told.server.stop().await;
}
