//! The file of a proposal. A user is written with all that she has: what a file leaves out of a user
//! that it names is taken from her.

use muster_proto::{
    drift::Drift,
    id::Id,
    options::KeyOptions,
    statement::{Restrictions, SourceNetwork, Statement, User, UserKey, UserKind},
};

use super::Site;
use crate::adopt::{quoted, shown};

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Sheet(String);

impl Sheet {
    /// Begins with what was found, and what is to be done with the file.
    pub(super) fn new(drift: &Drift, site: &Site<'_>) -> Self {
        let what = [&drift.kind, &drift.subject, &drift.place].map(String::as_str).join(" ");
        let (what, found) = (shown(what.trim_end()), shown(&drift.found));
        let mut sheet = Self(String::new());
        sheet.comment(&format!(
            "`{what}` on {} (host {}): found `{found}`, since {}.",
            shown(&site.host.hostname),
            site.host.id,
            drift.since
        ));
        sheet.comment(
            "A proposal to review: `muster plan -f` this file says what it would do. Nothing is",
        );
        sheet.comment("signed yet.");
        sheet
    }

    pub(super) fn comment(&mut self, text: &str) {
        self.line(&format!("# {text}"));
    }

    pub(super) fn line(&mut self, text: &str) {
        self.0.push_str(text.trim_end());
        self.0.push('\n');
    }

    pub(super) fn text(self) -> String {
        self.0
    }

    /// Writes a user as a file has it, without what was revoked of her.
    pub(super) fn user(&mut self, user: &User, statement: &Statement, site: &Site<'_>) {
        let User {
            login,
            uid,
            name,
            keys,
            groups,
            shell,
            home,
            home_mode,
            starts,
            ends,
            kind,
            restrictions,
        } = user;
        let revoked = site.chain.revocations();
        self.line("users:");
        self.line(&format!("  \"{login}\":"));
        let mut field = |name: &str, value: &str| self.line(&format!("    {name}: {value}"));
        field("uid", &uid.to_string());
        if !name.as_str().is_empty() {
            field("name", &quoted(name.as_str()));
        }
        let kept =
            |group: &&Id| !revoked.ends_membership(&statement.id, group, &statement.reinstates);
        let groups = groups.iter().filter(kept);
        let groups = groups.filter_map(|id| site.chain.statements().get(id)?.content.name());
        field("groups", &list(groups.map(quoted)));
        let kept =
            |key: &&UserKey| !revoked.ends_key(&key.key.fingerprint(), &statement.reinstates);
        field("keys", &list(keys.iter().filter(kept).map(|key| quoted(&key_line(key)))));
        for (name, value) in [("shell", shell), ("home", home)] {
            if let Some(value) = value {
                field(name, &quoted(value.as_str()));
            }
        }
        if let Some(mode) = home_mode {
            field("home_mode", &quoted(&mode.to_string()));
        }
        for (name, time) in [("starts", starts), ("ends", ends)] {
            if let Some(time) = time {
                field(name, &quoted(&time.to_string()));
            }
        }
        if *kind == UserKind::Service {
            field("service", "true");
        }
        let Restrictions { hardware_keys_only, verify_required, from } = restrictions;
        for (name, holds) in
            [("hardware_keys_only", hardware_keys_only), ("verify_required", verify_required)]
        {
            if *holds {
                field(name, "true");
            }
        }
        if !from.is_empty() {
            field("from", &list(from.iter().map(|network| quoted(network.as_str()))));
        }
    }
}

/// A key as in a `.pub` file, behind what it is bound to.
fn key_line(key: &UserKey) -> String {
    let UserKey { key, comment, options: KeyOptions { from, command, restrict } } = key;
    let mut options = Vec::new();
    if !from.is_empty() {
        let from: Vec<&str> = from.iter().map(SourceNetwork::as_str).collect();
        options.push(format!("from=\"{}\"", from.join(",")));
    }
    options.extend(command.iter().map(|command| format!("command=\"{command}\"")));
    options.extend(restrict.then(|| "restrict".to_owned()));
    let options = options.join(",");
    format!("{options} {key} {comment}").trim().to_owned()
}

fn list(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = texts.collect();
    format!("[{}]", texts.join(", "))
}
