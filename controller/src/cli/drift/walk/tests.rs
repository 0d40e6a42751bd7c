use super::{
    super::tests::{host, key, receipt},
    *,
};
use crate::client::Told;

const SHARE: Share = Share { items: 2, bytes: 1 << 20 };

fn told(host: HostId, place: u64) -> Told {
    Told { place, host, receipt: place, item: 0, open: true, exception: None }
}

#[test]
fn a_host_has_its_share_and_no_more_and_whoever_comes_after_it_is_listed() {
    let (loud, quiet) = (key(), key());
    let hosts = [host(&loud, "loud"), host(&quiet, "quiet")];
    let [loud_id, quiet_id] = [&loud, &quiet].map(|key| key.public().digest());
    let page = |places: &[(HostId, u64)]| {
        let found = places.iter().map(|(host, place)| told(*host, *place)).collect();
        let receipts = places.iter().map(|(id, place)| {
            let key = if *id == loud_id { &loud } else { &quiet };
            ((*id, *place), receipt(key, key, *place))
        });
        Drifted { found, receipts: receipts.collect(), ..Drifted::default() }
    };
    let mut walked = Walked::new(SHARE);
    walked.take(Drifted { newest: 9, ..page(&[(loud_id, 1), (loud_id, 2)]) }, &hosts);
    assert!(walked.cut.is_empty(), "all of it may have been listed");
    assert!(!walked.all.more);
    walked.take(Drifted { newest: 11, ..page(&[(loud_id, 3), (quiet_id, 4)]) }, &hosts);
    assert_eq!(walked.cut, [loud_id].into());
    assert!(walked.all.more);
    let listed: Vec<_> = walked.read.lines.iter().map(|line| (line.id, line.more)).collect();
    assert_eq!(listed, [(1, false), (2, false), (4, false)]);
    assert_eq!(walked.all.newest, 9, "what came meanwhile is watched for");

    // Of the one that told more, the gravest is left, and every line of it says that there is more.
    walked.replace(loud_id, &page(&[(loud_id, 3)]), &hosts);
    let listed: Vec<_> = walked.read.lines.iter().map(|line| (line.id, line.more)).collect();
    assert_eq!(listed, [(4, false), (3, true)]);
    assert_eq!(walked.read.unbelieved, 0);
}

#[test]
fn a_share_ends_with_the_receipt_that_is_beyond_its_bytes() {
    let room = |items, bytes| SHARE.has_room(Taken { items, bytes });
    assert_eq!([room(1, 1 << 20), room(1, (1 << 20) + 1)], [true, false]);
    assert_eq!([room(1, 0), room(2, 0)], [true, false]);
    let one = |items, bytes| Share::ONE_ITEM.has_room(Taken { items, bytes });
    assert_eq!([one(0, 0), one(1, 1), one(1, 0)], [true, false, false]);
}
