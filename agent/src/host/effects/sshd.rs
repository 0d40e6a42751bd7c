//! Asks sshd what it makes of our drop-in, once for each kind of account that this knows.

use std::collections::BTreeSet;

use muster_proto::{crypto::sha256, id::Digest};

use crate::{
    drift::{
        Difference,
        effect::{
            Asking, Expected,
            sshd::{self, BySshd},
        },
    },
    format::sshd::Text,
    host::{files::Dir, inventory, program::Programs, ssh::connection},
    observed::{DropIn, ObservedState},
};

/// What was said the last time, of which texts and accounts.
#[derive(Debug, Default)]
pub(super) struct Sshd {
    said: Option<(Digest, BTreeSet<BySshd>)>,
}

impl Sshd {
    /// Returns what differs.
    pub(super) fn ask(
        &mut self,
        place: (&Dir, Programs),
        observed: &ObservedState,
        (expected, asking): (&Expected<'_>, Asking),
    ) -> Option<Difference> {
        sshd::difference(&self.others(place, observed, (expected, asking)), expected.sudo)
    }

    fn others(
        &mut self,
        (root, programs): (&Dir, Programs),
        observed: &ObservedState,
        (expected, asking): (&Expected<'_>, Asking),
    ) -> BTreeSet<BySshd> {
        let DropIn::Present(ours) = &observed.drop_in else { return BTreeSet::new() };
        if expected.sshd.is_empty() {
            self.said = None;
            return BTreeSet::new();
        }
        let before = self.said.as_ref().map(|(_, others)| others.clone()).unwrap_or_default();
        // What cannot be read here sshd cannot be known to have read.
        let Ok(texts) = inventory::sshd_texts(root) else { return before };
        let seen = texts.iter().map(Text::seen).chain([ours.text.as_slice()]);
        let texts: Vec<Digest> = seen.map(|text| sha256(&[text])).collect();
        let state = sha256(&[format!("{texts:?} {:?}", expected.sshd).as_bytes()]);
        if asking == Asking::IfChanged && self.said.as_ref().is_some_and(|(s, _)| *s == state) {
            return before;
        }
        let mut others = BTreeSet::new();
        for (passwords, login) in &expected.sshd {
            match programs.status("sshd", &["-T", "-C", &connection(login.as_str())]) {
                None => {}
                Some(Ok((0, said))) => others.extend(sshd::by_sshd(&said, *passwords)),
                Some(Ok(_) | Err(_)) => return before,
            }
        }
        self.said = Some((state, others.clone()));
        others
    }
}
