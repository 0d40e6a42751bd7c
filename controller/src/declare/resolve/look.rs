//! What a declaration says that is no fault and perhaps not meant. Only what changes is looked at: a
//! file keeps what has ended long ago, and nobody wants to hear of it every time.

use muster_proto::id::Kind;

use super::{Entry, Files, Work};
use crate::declare::{
    Declared,
    dates::When,
    fault::Place,
    note::{Note, Remark},
    text::Text,
};

impl Work<'_, '_> {
    /// Looks for what a change says that may not be meant.
    pub(super) fn look(&mut self, declared: &Declared) {
        let now = self.ground.now;
        let files = &declared.sources.declared;
        let ended = |word, end: Option<&Text<When>>| {
            let at = end?.value.end();
            (at <= now).then_some((end?.at, Remark::Ended { word, at }))
        };
        for (login, user) in &declared.users {
            let entry = Entry::new(Kind::User, login.value.as_str(), login.at);
            if let Some((at, remark)) = ended("ends", user.ends.as_ref())
                && self.is_changed(entry)
            {
                self.note(Entry { at, ..entry }, files, remark);
            }
        }
        for (name, assignment) in &declared.assignments {
            let entry = Entry::new(Kind::Assignment, name.value.as_str(), name.at);
            if !self.is_changed(entry) {
                continue;
            }
            if let Some((at, remark)) = ended("until", assignment.until.as_ref()) {
                self.note(Entry { at, ..entry }, files, remark);
            }
            let hosts = self.ground.hosts;
            let somewhere = hosts.iter().any(|host| assignment.hosts.value.matches(&host.labels));
            if !somewhere && !hosts.is_empty() {
                self.note(Entry { at: assignment.hosts.at, ..entry }, files, Remark::NoHost);
            }
        }
    }

    fn is_changed(&self, entry: Entry<'_>) -> bool {
        let id = self.ids.get(&(entry.kind, entry.name.to_owned()));
        id.is_some_and(|id| self.changed.contains_key(id))
    }

    pub(super) fn note(&mut self, entry: Entry<'_>, files: &Files, what: Remark) {
        let Entry { kind, name, at } = entry;
        let name = name.to_owned();
        let path = files.get(&(kind, name.clone())).map(|place| place.path.clone());
        let place = Place { path: path.unwrap_or_default(), at };
        self.notes.push(Note { place, kind, name, what });
    }
}
