//! Places that are few: so many in all, and so many for each. Whoever comes when all are taken gets
//! the place of the one that has had it longest without showing that it needs it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// How many places there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) all: usize,
    pub(super) each: usize,
}

/// Where a connection comes from, as far as one who has it can choose: an address of IPv4, and a
/// network of 64 bits of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin(IpAddr);

/// Places, each of which is somebody's.
#[derive(Debug)]
pub(super) struct Places<K> {
    limits: Limits,
    taken: Mutex<Taken<K>>,
}

#[derive(Debug)]
struct Taken<K> {
    next: u64,
    /// Oldest first.
    seats: BTreeMap<u64, Seat<K>>,
    of: BTreeMap<K, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Seat<K> {
    whose: K,
    need: Need,
    /// Dropped when the place is given to another.
    _keep: oneshot::Sender<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Unknown,
    Shown,
}

/// A place, until it is dropped or lost.
#[derive(Debug)]
pub(super) struct Place<K: Ord + Copy> {
    number: u64,
    places: Arc<Places<K>>,
}

/// Says when a place is lost, by failing.
pub(super) type Lost = oneshot::Receiver<()>;

impl Origin {
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(long) => {
                IpAddr::V6(Ipv6Addr::from_bits(long.to_bits() & !u128::from(u64::MAX)))
            }
            short @ IpAddr::V4(_) => short,
        })
    }
}

impl<K: Ord + Copy> Places<K> {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        let taken = Taken { next: 0, seats: BTreeMap::new(), of: BTreeMap::new() };
        Arc::new(Self { limits, taken: Mutex::new(taken) })
    }

    /// Takes a place; nothing, if all that one may have are taken and needed.
    pub(super) fn take(self: &Arc<Self>, whose: K) -> Option<(Place<K>, Lost)> {
        let mut taken = self.lock();
        let own = taken.of.get(&whose);
        if own.is_some_and(|own| own.len() >= self.limits.each) {
            let idle = own.into_iter().flatten().find(|number| taken.is_idle(**number)).copied();
            taken.free(idle?);
        } else if taken.seats.len() >= self.limits.all {
            let idle = taken.seats.keys().find(|number| taken.is_idle(**number));
            let oldest = idle.or_else(|| taken.seats.keys().next()).copied();
            taken.free(oldest?);
        }
        let number = taken.next;
        taken.next += 1;
        let (keep, lost) = oneshot::channel();
        taken.seats.insert(number, Seat { whose, need: Need::Unknown, _keep: keep });
        taken.of.entry(whose).or_default().insert(number);
        Some((Place { number, places: Arc::clone(self) }, lost))
    }

    fn lock(&self) -> MutexGuard<'_, Taken<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Copy> Taken<K> {
    fn is_idle(&self, number: u64) -> bool {
        self.seats.get(&number).is_some_and(|seat| seat.need == Need::Unknown)
    }

    fn free(&mut self, number: u64) {
        let Some(seat) = self.seats.remove(&number) else { return };
        if let Some(own) = self.of.get_mut(&seat.whose) {
            own.remove(&number);
            if own.is_empty() {
                self.of.remove(&seat.whose);
            }
        }
    }
}

impl<K: Ord + Copy> Place<K> {
    /// Notes that whoever has the place needs it.
    pub(super) fn show_need(&self) {
        if let Some(seat) = self.places.lock().seats.get_mut(&self.number) {
            seat.need = Need::Shown;
        }
    }
}

impl<K: Ord + Copy> Drop for Place<K> {
    fn drop(&mut self) {
        self.places.lock().free(self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn is_lost(lost: &mut Lost) -> bool {
        lost.try_recv() == Err(TryRecvError::Closed)
    }

    #[test]
    fn each_has_so_many_places_and_then_the_oldest_that_is_silent_goes() {
        let places = Places::new(Limits { all: 100, each: 3 });
        let mut own: Vec<_> = (0..3).map(|_| places.take(1).unwrap()).collect();
        let mut other = places.take(2).unwrap();
        assert!(own.iter_mut().all(|(_, lost)| !is_lost(lost)), "three are allowed");
        own[0].0.show_need();
        own.push(places.take(1).unwrap());
        let lost: Vec<bool> = own.iter_mut().map(|(_, lost)| is_lost(lost)).collect();
        assert_eq!(lost, [false, true, false, false]);
        assert!(!is_lost(&mut other.1));
        own[2].0.show_need();
        own[3].0.show_need();
        assert!(places.take(1).is_none(), "all three are needed");
        own.remove(0);
        assert!(places.take(1).is_some(), "one was given back");
    }

    #[test]
    fn when_all_are_taken_the_oldest_that_is_silent_goes_and_then_the_oldest() {
        let places = Places::new(Limits { all: 3, each: 2 });
        let mut taken: Vec<_> = (0..3).map(|whose| places.take(whose).unwrap()).collect();
        assert!(taken.iter_mut().all(|(_, lost)| !is_lost(lost)), "three are allowed");
        taken[0].0.show_need();
        taken.push(places.take(3).unwrap());
        let lost: Vec<bool> = taken.iter_mut().map(|(_, lost)| is_lost(lost)).collect();
        assert_eq!(lost, [false, true, false, false]);
        taken[2].0.show_need();
        taken[3].0.show_need();
        taken.push(places.take(4).unwrap());
        let lost: Vec<bool> = taken.iter_mut().map(|(_, lost)| is_lost(lost)).collect();
        assert_eq!(lost, [true, true, false, false, false]);
    }

    #[test]
    fn a_place_that_is_given_back_leaves_nothing_behind() {
        let places = Places::new(Limits { all: 2, each: 2 });
        for whose in 0..1_000 {
            drop(places.take(whose).unwrap());
        }
        let taken = places.lock();
        assert!(taken.seats.is_empty() && taken.of.is_empty());
    }

    #[test]
    fn an_origin_is_an_address_of_ipv4_or_a_network_of_ipv6() {
        let of = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    }
}
