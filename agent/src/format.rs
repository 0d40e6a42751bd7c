//! Account files as text: line-preserving tables of colon-separated fields, pure and lossless.
//! A table is parsed only to find lines. Every line that an edit does not name stays byte for byte
//! where it is: comments, malformed and NIS lines, duplicates, other people's accounts.
//! What an edit means for an account is `plan`'s business, when it is written is `host`'s.

pub mod authorized_keys;
pub mod cvtsudoers;
mod edit;
pub mod group;
pub mod pam;
pub mod passwd;
pub mod pwquality;
pub mod shadow;
pub mod ssh;
pub mod sshd;
pub mod subid;
pub mod sudo_list;
pub mod sudoers;
mod table;
mod wildcard;

use std::collections::BTreeSet;

pub use self::{
    edit::{Edit, Misfit, OldLine, Value},
    table::{BadTable, Entry, Table},
};

/// Returns the lines of `wanted` that `present` holds already, under the same head; nothing if there
/// are none below it.
fn shared_lines(present: &[u8], head: &str, wanted: &str) -> Option<String> {
    let present: BTreeSet<&[u8]> = present.split(|byte| *byte == b'\n').collect();
    let body = wanted.strip_prefix(head).unwrap_or(wanted);
    let mut text = String::from(head);
    for line in body.lines().filter(|line| present.contains(line.as_bytes())) {
        text.push_str(line);
        text.push('\n');
    }
    (text.len() > head.len()).then_some(text)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "these are tests")]
mod tests;
