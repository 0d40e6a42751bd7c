use muster_proto::{crypto::MachineKey, id::HostId};
use tonic::{Code, Status};

use super::{super::tests::key, *};
use crate::client::Told;

fn told(host: HostId, newest: u64, places: &[u64]) -> Drifted {
    let one = |place: &u64| {
        let place = *place;
        Told { place, host, receipt: place, item: 0, open: true, exception: None }
    };
    Drifted { newest, found: places.iter().map(one).collect(), ..Drifted::default() }
}

fn places(told: &Drifted) -> Vec<u64> {
    told.found.iter().map(|one| one.place).collect()
}

#[test]
fn what_comes_is_printed_once_and_nothing_is_missed() {
    let key: MachineKey = key();
    let id = key.public().digest();
    // The list was made after the controller had counted: 6 stands in it, and 5, which was put right,
    // does not.
    let mut watch = Watch::new(DriftWanted::default(), &told(id, 4, &[6, 2]));
    assert_eq!((watch.wanted.scope, watch.after), (DriftScope::All, 4));
    assert_eq!(places(&watch.fresh(told(id, 6, &[5, 6])).unwrap()), [5]);
    assert_eq!((watch.after, watch.printed.len()), (6, 0));
    // Something else came that is not watched.
    assert_eq!(places(&watch.fresh(told(id, 9, &[])).unwrap()), [0; 0]);
    assert_eq!(watch.after, 9);
    // What does not fit into one answer comes with the next.
    let much = Drifted { more: true, ..told(id, 13, &[10, 11]) };
    assert_eq!(places(&watch.fresh(much).unwrap()), [10, 11]);
    assert_eq!(watch.after, 11);
    // What came while the controller answered is not asked for again.
    assert_eq!(places(&watch.fresh(told(id, 13, &[12, 13, 14])).unwrap()), [12, 13, 14]);
    assert_eq!(watch.after, 14);
    assert!(watch.fresh(told(id, 14, &[])).is_ok());
}

#[test]
fn a_controller_that_was_set_back_is_told_of() {
    let id = key().public().digest();
    let mut watch = Watch::new(DriftWanted::default(), &told(id, 9, &[]));
    let error = watch.fresh(told(id, 8, &[])).unwrap_err();
    assert!(format!("{error:#}").contains("was set back"), "{error:?}");
}

#[test]
fn a_controller_that_is_away_is_waited_for_and_one_that_refuses_is_not() {
    let passing = |code| ClientError::from(Status::new(code, "")).is_passing();
    for code in [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::DeadlineExceeded] {
        assert!(passing(code), "{code:?}");
    }
    for code in [Code::PermissionDenied, Code::InvalidArgument, Code::Unimplemented] {
        assert!(!passing(code), "{code:?}");
    }
    assert!(!ClientError::Answer("a receipt").is_passing());
}
