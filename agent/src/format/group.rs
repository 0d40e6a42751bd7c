//! `/etc/group` and `/etc/gshadow`: lines of new Unix groups, and member lists. Members stay in
//! their order, new ones come last.

use std::collections::BTreeSet;

use super::Entry;

/// The field of the gid in group.
pub const GID: usize = 2;
/// The field of the members, in both files.
pub const MEMBERS: usize = 3;

/// Returns the members of a line.
pub fn members(entry: Entry<'_>) -> impl Iterator<Item = &str> {
    let list = entry.field(MEMBERS).split(|byte| *byte == b',');
    list.filter_map(|member| std::str::from_utf8(member).ok()).filter(|member| !member.is_empty())
}

/// Returns a new line for group.
pub fn new_group_line(name: &str, gid: u32, members: &BTreeSet<String>) -> String {
    format!("{name}:x:{gid}:{}", list(members))
}

/// Returns a new line for gshadow: no password, no administrators.
pub fn new_gshadow_line(name: &str, members: &BTreeSet<String>) -> String {
    format!("{name}:!::{}", list(members))
}

fn list(members: &BTreeSet<String>) -> String {
    members.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

/// Returns a line with other members.
pub(super) fn edit_members(
    line: &[u8],
    add: Option<&BTreeSet<String>>,
    remove: &BTreeSet<String>,
) -> Vec<u8> {
    let mut fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    if fields.len() <= MEMBERS {
        fields.resize(MEMBERS + 1, b"");
    }
    let present = fields.get(MEMBERS).copied().unwrap_or_default();
    let goes =
        |member: &[u8]| std::str::from_utf8(member).is_ok_and(|member| remove.contains(member));
    let mut members: Vec<&[u8]> = present
        .split(|byte| *byte == b',')
        .filter(|member| !member.is_empty() && !goes(member))
        .collect();
    let known: BTreeSet<&[u8]> = members.iter().copied().collect();
    let entering = add.into_iter().flatten().map(String::as_bytes);
    members.extend(entering.filter(|member| !known.contains(member)));
    let list = members.join(&b',');
    if let Some(field) = fields.get_mut(MEMBERS) {
        *field = &list;
    }
    fields.join(&b':')
}
