//! `/etc/subuid` and `/etc/subgid` (subuid(5)): numbers that a local user may run as inside user
//! namespaces of her own. An account whose number lies in there would be hers to enter, and what runs
//! as one of them inside such a namespace is hers to end.

use std::{collections::BTreeSet, ops::RangeInclusive};

/// Numbers that somebody may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// By login, or by uid.
    pub owner: String,
    /// The first of them.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Range {
    /// Says whether the number is one of them.
    pub fn contains(&self, number: u32) -> bool {
        number.checked_sub(self.first).is_some_and(|offset| offset < self.count)
    }

    fn numbers(&self) -> Option<RangeInclusive<u32>> {
        let more = self.count.checked_sub(1)?;
        Some(self.first..=self.first.saturating_add(more))
    }
}

/// Reads such a file. Lines that newuidmap would not understand give nobody anything.
pub fn parse(text: &[u8]) -> Vec<Range> {
    let text = String::from_utf8_lossy(text);
    let range = |line: &str| {
        let mut fields = line.split(':');
        let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        let whole = fields.next().is_none();
        let (first, count) = (first.parse().ok()?, count.parse().ok()?);
        whole.then(|| Range { owner: owner.to_owned(), first, count })
    };
    text.lines().filter_map(range).collect()
}

/// Returns the numbers that an account may run as and nobody else: those of its ranges, by login or
/// by uid, without any that stand in another's range and without the uids that are taken.
pub fn alone(
    ranges: &[Range],
    login: &str,
    uid: u32,
    taken: &BTreeSet<u32>,
) -> Vec<RangeInclusive<u32>> {
    let number = uid.to_string();
    let is_own = |range: &&Range| range.owner == login || range.owner == number;
    let mut numbers: Vec<_> = ranges.iter().filter(is_own).filter_map(Range::numbers).collect();
    if numbers.is_empty() {
        return numbers;
    }
    for other in ranges.iter().filter(|range| !is_own(range)).filter_map(Range::numbers) {
        numbers = numbers.into_iter().flat_map(|own| without(&own, &other)).collect();
    }
    for uid in taken {
        if numbers.iter().any(|own| own.contains(uid)) {
            numbers = numbers.into_iter().flat_map(|own| without(&own, &(*uid..=*uid))).collect();
        }
    }
    numbers
}

/// Returns what is left of a range without another one.
fn without(
    own: &RangeInclusive<u32>,
    other: &RangeInclusive<u32>,
) -> impl Iterator<Item = RangeInclusive<u32>> + use<> {
    let (first, last) = (*own.start(), *own.end());
    let below = other.start().checked_sub(1).map(|end| first..=last.min(end));
    let above = other.end().checked_add(1).map(|start| first.max(start)..=last);
    below.into_iter().chain(above).filter(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_an_account_are_its_own_and_nobody_elses() {
        let of = |text: &str, taken: &[u32]| {
            let taken = taken.iter().copied().collect();
            alone(&parse(text.as_bytes()), "eve", 1_500, &taken)
        };
        assert_eq!(
            of("eve:100000:65536\n1500:300000:1\nana:200000:9\n", &[0, 1_500]),
            [100_000..=165_535, 300_000..=300_000]
        );
        assert_eq!(of("ana:100000:65536\n15:5:5\n", &[]), []);
        // Another's first and last number are his, the ones beside them are not.
        assert_eq!(of("eve:1000:10\nana:1003:2\n", &[]), [1_000..=1_002, 1_005..=1_009]);
        assert_eq!(of("eve:1000:10\nana:990:11\n", &[1_009]), [1_001..=1_008]);
        assert_eq!(of("eve:1000:10\nana:0:4294967295\n", &[]), []);
        // A line of nothing, and one that runs out of numbers.
        assert_eq!(of("eve:1000:0\neve:4294967294:9\n", &[]), [u32::MAX - 1..=u32::MAX]);
    }

    #[test]
    fn ranges_are_read_and_end_before_the_next_one() {
        let found = parse(b"eve:100000:65536\n# no line\nbad:x:1\n1500:200000:1\nlong:1:2:3\n");
        let range = |owner: &str, first, count| Range { owner: owner.to_owned(), first, count };
        assert_eq!(found, [range("eve", 100_000, 65_536), range("1500", 200_000, 1)]);
        let contained = [99_999, 100_000, 165_535, 165_536].map(|n| found[0].contains(n));
        assert_eq!(contained, [false, true, true, false]);
        assert!(range("top", u32::MAX, 2).contains(u32::MAX));
    }
}
