//! Who has a uid and which Unix group has a gid, by every line of passwd and group: programs disagree
//! about which of several lines counts, so that a number is free only if none has it.

use crate::{
    format::{Entry, Table, group, passwd},
    observed::ObservedState,
};

/// The names of all numbers that are given on a host.
pub(super) struct Numbers<'a> {
    pub(super) logins: ByNumber<'a>,
    pub(super) groups: ByNumber<'a>,
}

impl<'a> Numbers<'a> {
    pub(super) fn of(observed: &'a ObservedState) -> Self {
        Self {
            logins: ByNumber::of(&observed.passwd, passwd::UID),
            groups: ByNumber::of(&observed.group, group::GID),
        }
    }
}

/// The names of each number, in order.
pub(super) struct ByNumber<'a>(Vec<(u32, &'a str)>);

impl<'a> ByNumber<'a> {
    fn of(table: &'a Table, field: usize) -> Self {
        let named = |entry: Entry<'a>| Some((entry.number(field)?, entry.text(0).unwrap_or("?")));
        let mut names: Vec<_> = table.entries().filter_map(named).collect();
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    pub(super) fn names(&self, number: u32) -> impl Iterator<Item = &'a str> {
        let from = self.0.partition_point(|(other, _)| *other < number);
        let rest = self.0.get(from..).unwrap_or_default().iter();
        rest.take_while(move |(other, _)| *other == number).map(|(_, name)| *name)
    }
}
