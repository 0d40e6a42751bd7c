//! `/etc/subuid` and `/etc/subgid` (subuid(5)): numbers that a local user may run as inside user
//! namespaces of her own. An account whose number lies in there would be hers to enter.

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

#[cfg(test)]
mod tests {
    use super::*;

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
