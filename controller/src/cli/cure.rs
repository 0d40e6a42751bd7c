//! What to do next about a file or a declaration that cannot be: one hint for every error, so that
//! none is told without.

use muster_proto::{chain::Chain, id::Kind, link::Target, name::BadName, statement::LeafState};

use super::{hint, usage};
use crate::declare::{
    Flaw, ReadError, ResolveError,
    resolve::{Named, targets},
};

/// Returns what to do about files that cannot be read.
pub(super) fn of_file(error: &ReadError) -> String {
    match error {
        ReadError::Io { .. } => {
            "name files, directories of `.yaml` files, or `-` for standard input"
        }
        ReadError::Content { .. } => {
            "mend it there; `muster schema` prints what a file may say, and editors check by it"
        }
        ReadError::Twice { .. } => "keep one of them: a file says all there is to say about it",
        ReadError::Long(_) => "split it; a directory of files is read as one declaration",
        ReadError::NotText(_) => "save it as UTF-8",
        ReadError::Empty(_) => "name another directory, or the files themselves",
    }
    .to_owned()
}

/// Returns what to do about a declaration that the directory does not allow.
pub(super) fn of_declaration(error: &ResolveError) -> String {
    match error {
        ResolveError::Unknown { kind, name, .. } => {
            format!("declare {kind} `{name}` in the same file, or mend the name")
        }
        ResolveError::NotThere {
            kind: kind @ (Kind::UnixGroup | Kind::Adoption | Kind::Host),
            ..
        } => {
            format!("take it out of `absent`, or mend the name: it is about a {kind}")
        }
        ResolveError::NotThere { kind, .. } => {
            format!(
                "take it out of `absent`, or mend the name; `muster {kind} list` shows what there is"
            )
        }
        ResolveError::Both { .. } => "keep one: declare it, or list it under `absent`".to_owned(),
        ResolveError::Gone(login) => {
            format!("take them out of the file, or bring them back with `--reinstate {login}`")
        }
        ResolveError::Revoked { revocations, .. } => {
            let flags: Vec<String> =
                revocations.iter().map(|id| format!("--reinstate {id}")).collect();
            format!("take that out of the file, or give it back with `{}`", flags.join(" "))
        }
        ResolveError::Several { .. } => {
            "one of them may have been laid beside the other by whoever holds the controller's key; \
             give a new key, or a group or login of another name"
                .to_owned()
        }
        ResolveError::RevokedHost { .. } => HOST_COMES_BACK.to_owned(),
        ResolveError::Number { cause, .. } => of_name(cause).to_owned(),
        ResolveError::Taken { .. } => {
            "take the number out of the file; a free one is chosen".to_owned()
        }
        ResolveError::Fixed { .. } => {
            "take the number out of the file, or give that one".to_owned()
        }
        ResolveError::Host { found: 0, .. } => {
            "name one that has joined: `muster host list` shows which there are".to_owned()
        }
        ResolveError::Host { .. } => {
            "name it by its full id, as in `muster host list --output json`".to_owned()
        }
        ResolveError::Exhausted(what) => format!(
            "give one yourself, as `{what}: NUMBER`, from 1000 to 59999 or 100000 to 499999 and \
             outside that range; no command widens it yet"
        ),
        ResolveError::Value { flaw, .. } => of_flaw(*flaw).to_owned(),
    }
}

/// Why a word brings nothing back, and what to do about it.
pub(super) fn of_useless(named: &Named, chain: &Chain) -> anyhow::Error {
    let (what, cure) = match named {
        Named::Revocation(id) => {
            let host = targets(chain, *id).find_map(|target| match target {
                Target::Host(host) => Some(host),
                _ => None,
            });
            match host {
                Some(host) => (
                    format!(
                        "revocation `{id}` is of host {}, and no host comes back",
                        host.short()
                    ),
                    HOST_COMES_BACK,
                ),
                None => (
                    format!("revocation `{id}` ends nothing that the files declare"),
                    "take it out of the command line, or declare what is to come back",
                ),
            }
        }
        Named::User(login) => match chain.taken().logins.get(login) {
            None => (
                format!("neither a user nor a revocation is called `{login}`"),
                "`muster user list` shows who was offboarded or revoked; the error that refuses \
                 anything else names its revocation",
            ),
            Some(id) => {
                let known = chain.statements().get(id);
                let ended = known.is_some_and(|known| {
                    known.content.state() != LeafState::Live || chain.revocations().ends(known)
                });
                if ended {
                    let what = format!("no file declares user `{login}`, who is to come back");
                    (what, "declare them, or take them out of the command line")
                } else {
                    let what = format!("user `{login}` was neither offboarded nor revoked");
                    (what, "take it out of the command line")
                }
            }
        },
    };
    hint(usage(anyhow::anyhow!("{what}").context("cannot reinstate")), cure)
}

/// How a revoked host serves again.
const HOST_COMES_BACK: &str = "a revoked host comes back as a new one only: `muster-agent leave` and \
    then `muster-agent join TOKEN --reset` there give it a new key";

fn of_name(error: &BadName) -> &'static str {
    match error {
        BadName::Form { .. } => "mend the name",
        BadName::Reserved(_) => {
            "choose another name; a role may name the host's own Unix groups undeclared"
        }
        BadName::Number { .. } => "take the number out of the file; a free one is chosen",
    }
}

fn of_flaw(flaw: Flaw) -> &'static str {
    match flaw {
        Flaw::KeyTwice => "keep one of the lines, whatever their comments",
        Flaw::Ends => "let `ends` be later than `starts`, or take one of them out",
        Flaw::Until => "let `until` be later than `from`, or take one of them out",
        Flaw::BothModes => "keep one: `exactly` also removes all others, `at_least` does not",
        Flaw::NoCommand => "name one, such as `/usr/bin/id` or `ALL`, or take the rule out",
        Flaw::Subject => "give exactly one: `user: LOGIN` or `group: NAME`",
        Flaw::Moved => "declare another one under another name, and list this one under `absent`",
    }
}
