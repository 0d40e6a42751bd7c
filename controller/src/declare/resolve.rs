//! From what files declare to the statements that it takes: pure. Names find ids here and nowhere
//! else. A fault names the value that is wrong, where it stands.

mod content;
mod look;
mod numbers;
mod reinstate;
mod removal;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    chain::Chain,
    crypto::sha256,
    envelope::Document,
    id::{Id, Kind},
    statement::{Content, Group, LeafState, Statement},
    time::Timestamp,
};

use super::{
    Declared,
    fault::{Flaw, Misdeclared, Place, ResolveError},
    note::{Note, Remark},
    text::{At, Text},
};
use crate::{history::History, preview::HostLabels};
use numbers::Numbers;
pub use reinstate::{Named, targets};
pub use removal::removal_of;

/// The statements that a declaration takes, and what they alter.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// Ascending by id; empty if everything is as declared.
    pub statements: Vec<Statement>,
    /// One for each statement, in the order of kinds and names.
    pub differences: Vec<Difference>,
    /// What may not be meant.
    pub notes: Vec<Note>,
    /// What was to come back, and the files do not declare it or nothing of it had ended.
    pub useless: BTreeSet<Named>,
}

/// One thing that differs from what is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What.
    pub kind: Kind,
    /// Which.
    pub name: String,
    /// What it is now; absent if it is new.
    pub before: Option<Content>,
    /// What it will be.
    pub after: Content,
    /// The revocations that it takes back and did not before.
    pub reinstates: BTreeSet<Id>,
}

/// What a declaration is resolved against.
pub struct Ground<'a> {
    /// Everything up to the newest link.
    pub chain: &'a Chain,
    /// What things were called that have gone.
    pub history: &'a History,
    /// What may come back after it was revoked.
    pub reinstate: &'a BTreeSet<Named>,
    /// The hosts, by their own word: only what they call themselves is looked at.
    pub hosts: &'a [HostLabels],
    /// Makes ids that were never used.
    pub new_id: &'a mut dyn FnMut() -> Id,
    /// What time it is.
    pub now: Timestamp,
}

impl std::fmt::Debug for Ground<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ground").field("newest", &self.chain.newest()).finish_non_exhaustive()
    }
}

/// Returns the statements that a declaration takes.
pub fn resolve(declared: &Declared, ground: &mut Ground<'_>) -> Result<Resolved, Misdeclared> {
    let mut work = Work::new(ground);
    work.names(declared);
    work.numbers.note(declared);
    let sources = &declared.sources;
    let in_file = |entry: Entry<'_>, fault: Fault, files: &Files| {
        let place = files.get(&(entry.kind, entry.name.to_owned()));
        let path = place.map(|place| place.path.clone()).unwrap_or_default();
        Misdeclared { place: Place { path, at: fault.at }, error: fault.error }
    };
    let put = |work: &mut Work<'_, '_>, entry: Entry<'_>, content: Result<Content, Fault>| {
        let put = content.and_then(|content| work.put(entry, content, &BTreeSet::new()));
        put.map_err(|fault| in_file(entry, fault, &sources.declared))
    };
    for name in declared.groups.keys() {
        let content = Content::Group(Group { name: name.value.clone() });
        put(&mut work, Entry::new(Kind::Group, name.value.as_str(), name.at), Ok(content))?;
    }
    for (name, group) in &declared.unix_groups {
        let entry = Entry::new(Kind::UnixGroup, name.value.as_str(), name.at);
        let content = work.unix_group(entry, group);
        put(&mut work, entry, content)?;
    }
    for (login, user) in &declared.users {
        let entry = Entry::new(Kind::User, login.value.as_str(), login.at);
        let content = work.user(entry, &login.value, user);
        let back = content.and_then(|content| Ok((content, work.given_back(entry, user)?)));
        let put = back.and_then(|(content, back)| work.put(entry, content, &back));
        put.map_err(|fault| in_file(entry, fault, &sources.declared))?;
    }
    for (name, role) in &declared.roles {
        let entry = Entry::new(Kind::Role, name.value.as_str(), name.at);
        let content = work.role(entry, &name.value, role);
        put(&mut work, entry, content)?;
    }
    for (name, assignment) in &declared.assignments {
        let entry = Entry::new(Kind::Assignment, name.value.as_str(), name.at);
        let content = work.assignment(entry, &name.value, assignment);
        put(&mut work, entry, content)?;
    }
    for (name, adoption) in &declared.adoptions {
        let entry = Entry::new(Kind::Adoption, name.value.as_str(), name.at);
        let content = work.adoption(entry, adoption);
        put(&mut work, entry, content)?;
    }
    for (kind, name, at) in declared.absent.all() {
        let entry = Entry::new(kind, &name, at);
        let removed = work.remove(entry);
        let removed = removed.map_err(|fault| in_file(entry, fault, &sources.absent))?;
        if removed == Removed::Before {
            work.note(entry, &sources.absent, Remark::Gone);
        }
    }
    work.look(declared);
    Ok(work.finish())
}

type Files = BTreeMap<(Kind, String), Place>;

/// What a file declares or lists, and where its name stands.
#[derive(Clone, Copy)]
struct Entry<'n> {
    kind: Kind,
    name: &'n str,
    at: At,
}

/// What has come of something that is to go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Removed {
    Now,
    Before,
}

/// What is wrong, and where in the entry's file.
struct Fault {
    at: At,
    error: ResolveError,
}

impl<'n> Entry<'n> {
    fn new(kind: Kind, name: &'n str, at: At) -> Self {
        Self { kind, name, at }
    }

    /// A value of the entry contradicts itself or another.
    fn value(self, at: At, flaw: Flaw) -> Fault {
        let (kind, name) = (self.kind, self.name.to_owned());
        Fault { at, error: ResolveError::Value { kind, name, flaw } }
    }

    /// A number or name of the entry cannot be.
    fn number(self, at: At, cause: muster_proto::name::BadName) -> Fault {
        let (kind, name) = (self.kind, self.name.to_owned());
        Fault { at, error: ResolveError::Number { kind, name, cause } }
    }
}

/// Returns the id of the adoption of a name. An adoption's statement does not hold its name, so that
/// the name has to lead to the id by itself, in every tool to the same one. An id that was removed is
/// never used again: there the next one begins. Returns also how many of the name have gone.
fn adoption_id(chain: &Chain, name: &str) -> (Id, u64) {
    let mut before = 0_u64;
    loop {
        let counted = before.to_be_bytes();
        let lineage = chain.lineage();
        let parts =
            [b"muster adoption\0", lineage.as_bytes().as_slice(), &counted, name.as_bytes()];
        let mut id = [0; 16];
        id.iter_mut().zip(sha256(&parts).as_bytes()).for_each(|(to, from)| *to = *from);
        let id = Id::Object(id);
        let known = chain.statements().get(&id);
        if known.is_none_or(|known| known.content.state() != LeafState::Removed) {
            return (id, before);
        }
        before += 1;
    }
}

/// Says whether there is, or was, an adoption of this name.
pub fn is_adoption(chain: &Chain, name: &str) -> bool {
    let (id, gone) = adoption_id(chain, name);
    gone > 0 || chain.statements().contains_key(&id)
}

struct Work<'a, 'g> {
    ground: &'a mut Ground<'g>,
    ids: BTreeMap<(Kind, String), Id>,
    numbers: Numbers<'g>,
    changed: BTreeMap<Id, (Statement, Difference)>,
    /// What has been removed, and does not come back under its name.
    removed: BTreeSet<(Kind, String)>,
    used: BTreeSet<Named>,
    notes: Vec<Note>,
}

impl<'a, 'g> Work<'a, 'g> {
    fn new(ground: &'a mut Ground<'g>) -> Self {
        let chain = ground.chain;
        let mut ids = BTreeMap::new();
        for (id, statement) in chain.statements() {
            // What an adoption is called is not its name in the files but the login.
            if statement.content.kind() == Kind::Adoption {
                continue;
            }
            if let Some(name) = statement.content.name() {
                ids.insert((statement.content.kind(), name.to_owned()), *id);
            }
        }
        for (login, id) in &chain.taken().logins {
            ids.insert((Kind::User, login.to_string()), *id);
        }
        let mut removed = BTreeSet::new();
        for was in ground.history.gone().filter(|was| was.content.kind() != Kind::Adoption) {
            let Some(name) = was.content.name() else { continue };
            let key = (was.content.kind(), name.to_owned());
            match chain.statements().get(&was.id).map(|now| now.content.state()) {
                // A new one may have taken the name since.
                Some(LeafState::Revoked) => drop(ids.entry(key).or_insert(was.id)),
                _ => drop(removed.insert(key)),
            }
        }
        Self {
            ids,
            numbers: Numbers::of(chain),
            ground,
            changed: BTreeMap::new(),
            removed,
            used: BTreeSet::new(),
            notes: Vec::new(),
        }
    }

    /// Gives ids to everything that is new, so that the files may be in any order.
    fn names(&mut self, declared: &Declared) {
        let mut add = |kind, name: String| {
            let new_id = &mut self.ground.new_id;
            self.ids.entry((kind, name)).or_insert_with(new_id);
        };
        let unix_groups = declared.unix_groups.keys();
        declared.groups.keys().for_each(|name| add(Kind::Group, name.value.to_string()));
        unix_groups.for_each(|name| add(Kind::UnixGroup, name.value.to_string()));
        declared.users.keys().for_each(|login| add(Kind::User, login.value.to_string()));
        declared.roles.keys().for_each(|name| add(Kind::Role, name.value.to_string()));
        declared.assignments.keys().for_each(|name| add(Kind::Assignment, name.value.to_string()));
        let chain = self.ground.chain;
        for name in declared.adoptions.keys().chain(&declared.absent.adoptions) {
            let (id, gone) = adoption_id(chain, name.value.as_str());
            if gone > 0 {
                self.removed.insert((Kind::Adoption, name.value.to_string()));
            }
            if chain.statements().contains_key(&id) || declared.adoptions.contains_key(name) {
                self.ids.insert((Kind::Adoption, name.value.to_string()), id);
            }
        }
    }

    /// Finds what a value of an entry names.
    fn find<T: ToString>(
        &self,
        entry: Entry<'_>,
        kind: Kind,
        named: &Text<T>,
    ) -> Result<Id, Fault> {
        let live = |id: &&Id| {
            let known = self.ground.chain.statements().get(id);
            known.is_none_or(|s| s.content.state() == LeafState::Live) || kind == Kind::User
        };
        let name = named.value.to_string();
        let found = self.ids.get(&(kind, name.clone())).filter(live).copied();
        found.ok_or_else(|| {
            let (from_kind, from) = (entry.kind, entry.name.to_owned());
            Fault { at: named.at, error: ResolveError::Unknown { from_kind, from, kind, name } }
        })
    }

    fn current(&self, kind: Kind, name: &str) -> Option<&'g Statement> {
        let id = self.ids.get(&(kind, name.to_owned()))?;
        self.ground.chain.statements().get(id)
    }

    /// Takes a statement in if it differs from what is there; it takes back what it is told to, and
    /// what had ended the thing itself.
    fn put(
        &mut self,
        entry: Entry<'_>,
        content: Content,
        back: &BTreeSet<Id>,
    ) -> Result<(), Fault> {
        let Entry { kind, name, .. } = entry;
        let Some(id) = self.ids.get(&(kind, name.to_owned())).copied() else { return Ok(()) };
        let chain = self.ground.chain;
        let before = chain.statements().get(&id);
        let was = before.map(|s| s.reinstates.clone()).unwrap_or_default();
        let mut reinstates = &was | back;
        let gone = before.filter(|statement| {
            statement.content.state() != LeafState::Live || chain.revocations().ends(statement)
        });
        if let (Some(before), LeafState::Live) = (gone, content.state()) {
            reinstates.extend(self.returned(entry, &content, before)?);
        } else if before.is_some_and(|statement| statement.content == content) && reinstates == was
        {
            return Ok(());
        }
        let statement = Statement {
            lineage: chain.lineage(),
            id,
            revision: before.map_or(1, |statement| statement.revision + 1),
            previous: before.map(Document::digest),
            reinstates: reinstates.clone(),
            content: content.clone(),
        };
        let difference = Difference {
            kind,
            name: name.to_owned(),
            before: before.map(|statement| statement.content.clone()),
            after: content,
            reinstates: reinstates.difference(&was).copied().collect(),
        };
        self.changed.insert(id, (statement, difference));
        Ok(())
    }

    /// Takes a removal in, unless it is removed already.
    fn remove(&mut self, entry: Entry<'_>) -> Result<Removed, Fault> {
        let Entry { kind, name, at } = entry;
        let both = || ResolveError::Both { kind, name: name.to_owned() };
        let Some(statement) = self.current(kind, name) else {
            let key = (kind, name.to_owned());
            let declared = self.ids.contains_key(&key);
            if !declared && self.removed.contains(&key) {
                return Ok(Removed::Before);
            }
            let missing = || ResolveError::NotThere { kind, name: name.to_owned() };
            return Err(Fault { at, error: if declared { both() } else { missing() } });
        };
        if self.changed.contains_key(&statement.id) {
            return Err(Fault { at, error: both() });
        }
        if statement.content.state() == LeafState::Removed {
            return Ok(Removed::Before);
        }
        self.put(entry, Content::Removal(kind), &BTreeSet::new()).map(|()| Removed::Now)
    }

    fn finish(self) -> Resolved {
        let (statements, mut differences): (Vec<_>, Vec<_>) = self.changed.into_values().unzip();
        differences.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        let useless = self.ground.reinstate.difference(&self.used).cloned().collect();
        Resolved { statements, differences, notes: self.notes, useless }
    }
}
