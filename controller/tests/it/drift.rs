//! Drift as hosts tell it: found by whose it is, what it is, who did it and when.

use muster_controller::client::{Client, DriftWanted, Drifted};
use muster_proto::{
    drift::{Culprit, Drift, DriftKind, Response, Severity},
    time::Timestamp,
};

use crate::{
    host::Host,
    net::{Courier, Running, Session},
    server::report,
    world::World,
};

/// A foreign sudo file, which nobody granted.
fn sudo_file(name: &str) -> Drift {
    Drift {
        kind: DriftKind::SudoForeign.as_str().to_owned(),
        subject: format!("sudoers.d/{name}"),
        place: String::new(),
        expected: "no such file, or as it was".to_owned(),
        found: "content 1".to_owned(),
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
struct Telling {
    server: Running,
    host: Host,
    session: Session,
    _courier: Courier,
}

impl Telling {
    async fn start(world: &World) -> Self {
        let server = Running::start(world).await;
        let host = Host::new(world, &[]);
        let mut courier = server.join(&host, server.token(600).await).await.unwrap();
        let session = courier.session(&host).await;
        Self { server, host, session, _courier: courier }
    }

    async fn tell(&mut self, drift: &[Drift]) {
        self.host.drift = drift.to_vec();
        report(&mut self.session, &mut self.host).await;
    }

    async fn find(&self, wanted: &DriftWanted) -> Drifted {
        let mut client = Client::connect(&self.server.socket()).await.unwrap();
        client.drift(wanted).await.unwrap()
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
