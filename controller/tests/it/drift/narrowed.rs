//! Each of what narrows down what there is, over more than one host.

use muster_controller::client::DriftWanted;
use muster_proto::{
    drift::{Drift, DriftKind, Severity},
    id::HostId,
};

use super::{Telling, sudo_file};
use crate::world::World;

#[tokio::test]
async fn drift_is_found_by_its_host_its_kind_its_subject_and_how_grave_it_is() {
    let world = World::new();
    let mut told = Telling::start(&world).await;
    let of = |kind: DriftKind, subject: &str, severity| Drift {
        kind: kind.as_str().to_owned(),
        subject: subject.to_owned(),
        severity,
        ..sudo_file("one")
    };
    let drift = [
        of(DriftKind::SudoForeign, "sudoers.d/one", Severity::Critical),
        of(DriftKind::AccountNew, "bob", Severity::High),
        of(DriftKind::AccountNew, "eve", Severity::Medium),
    ];
    told.tell(&drift).await;
    let mine = told.host.id();
    let (other, _connected) = told.another(&world, drift[..2].to_vec()).await;
    let other = other.id();
    let find = async |wanted: DriftWanted| {
        let found = told.find(&wanted).await.found;
        let mut items: Vec<(HostId, u32)> = found.iter().map(|t| (t.host, t.item)).collect();
        items.sort_by_key(|(host, item)| (*host != mine, *item));
        items
    };
    let wanted = DriftWanted::default;
    let all = [(mine, 0), (mine, 1), (mine, 2), (other, 0), (other, 1)];
    assert_eq!(find(wanted()).await, all);
    let of_host = |host| DriftWanted { host: Some(host), ..wanted() };
    assert_eq!(find(of_host(mine)).await, all[..3]);
    assert_eq!(find(of_host(other)).await, all[3..]);
    let of_kind = DriftWanted { kind: Some("account-new".to_owned()), ..wanted() };
    assert_eq!(find(of_kind.clone()).await, [all[1], all[2], all[4]]);
    let of_bob = DriftWanted { subject: Some("bob".to_owned()), ..wanted() };
    assert_eq!(find(of_bob).await, [all[1], all[4]]);
    for (least, expected) in [
        (Severity::Medium, &all[..]),
        (Severity::High, &[all[0], all[1], all[3], all[4]]),
        (Severity::Critical, &[all[0], all[3]]),
    ] {
        let least = DriftWanted { least: Some(least), ..wanted() };
        assert_eq!(find(least).await, expected);
    }
    let high = DriftWanted { host: Some(mine), least: Some(Severity::High), ..of_kind };
    assert_eq!(find(high).await, [all[1]]);
    told.server.stop().await;
}
