//! The file of a proposal, as `muster plan` takes it. What may be put in force by taking a comment's
//! mark away holds no text of a host's but what was read to be a login, a number or a full name; a
//! line that begins with such a text begins with a backtick, with which nothing in YAML begins.

use muster_proto::{
    id::HostId,
    inventory::LocalAccount,
    name::{FullName, Login},
    statement::User,
};

use super::{Evidence, Names, Proposed, Verdict};
use crate::preview::HostLabels;

/// Returns the file; `told` says when the host told what it rests on.
pub fn render(
    proposed: &[Proposed<'_>],
    host: &HostLabels,
    told: &str,
    names: &mut Names<'_>,
) -> String {
    let (id, hostname) = (host.id, &host.hostname);
    let mut text = String::new();
    let mut say = |line: String| {
        text.push_str(line.trim_end());
        text.push('\n');
    };
    say(format!("# Accounts of {} (host {id}) as it told them at {told}.", shown(hostname)));
    say(
        "# A proposal to review: delete what is wrong, then `muster plan -f` this file. Nothing is"
            .into(),
    );
    say("# signed yet. An account that is taken over keeps its uid, and its own keys no longer count.".into());
    let adopted = |one: &&Proposed<'_>| matches!(one.verdict, Verdict::Adopt { .. });
    if proposed.iter().any(|one| adopted(&one)) {
        say("adoptions:".into());
    } else {
        say("# Nothing can be proposed with reason.".into());
    }
    for Proposed { account, verdict } in proposed {
        if let Verdict::Adopt { user, uid, why } = verdict {
            say(format!("  # {}: {}", why.surely(), reasons(why)));
            say(ways(account).map(|ways| format!("  # {ways}")).unwrap_or_default());
            let name = names.on(host, &[user.login.as_str()]);
            say(format!("  {}", adoption(&name, user, id, uid.get())));
        }
    }
    let mut rest = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            say(String::new());
            say(format!("# {title}"));
            for line in lines {
                say(format!("#   {line}"));
            }
        }
    };
    let doubtful = proposed.iter().filter_map(|one| match &one.verdict {
        Verdict::Doubtful { user, why, against } => Some(format!(
            "{}  # {}, but {}",
            adoption(&names.on(host, &[user.login.as_str()]), user, id, one.account.uid),
            reasons(why),
            shown(against)
        )),
        _ => None,
    });
    rest("Doubtful, to be put under `adoptions:` if they are right:", doubtful.collect());
    let other = proposed.iter().filter_map(|one| match &one.verdict {
        Verdict::OtherLogin { user, why } => Some(format!(
            "{}: {} {}'s: {}; give it that login first, by `usermod --login`, if it is",
            account_in_words(one.account),
            why.surely(),
            user.login,
            reasons(why),
        )),
        _ => None,
    });
    rest(
        "Of another login than their user's, under which they cannot be taken over:",
        other.collect(),
    );
    let nobody = proposed.iter().filter_map(|one| match &one.verdict {
        Verdict::Nobody => Some(nobody(one.account)),
        _ => None,
    });
    rest(
        "Nobody in the directory is like them; to be put under `users:` if they are somebody:",
        nobody.collect(),
    );
    let adopted = proposed.iter().filter(|one| matches!(one.verdict, Verdict::Adopted));
    let adopted = adopted.map(|one| account_in_words(one.account));
    rest("In the directory already, and not yet taken over by the host:", adopted.collect());
    let system = proposed.iter().filter(|one| matches!(one.verdict, Verdict::System));
    let system = system.map(|one| account_in_words(one.account));
    rest("The system's own, by their uids:", system.collect());
    text
}

fn adoption(name: &str, user: &User, host: HostId, uid: u32) -> String {
    format!("\"{name}\": {{user: \"{}\", host: \"{host}\", uid: {uid}}}", user.login)
}

/// Somebody whom the directory does not have: what could be a user, or why it cannot.
fn nobody(account: &LocalAccount) -> String {
    let keys = if account.keys.is_empty() { "none".to_owned() } else { account.keys.join(" ") };
    let more = format!("uid {}, keys {}", account.uid, shown(&keys));
    let login = match Login::parse(&account.login) {
        Ok(login) => login,
        Err(bad) => return format!("{}: {bad}", account_in_words(account)),
    };
    match FullName::parse(&account.name) {
        Ok(name) => {
            let name = quoted(name.as_str());
            format!("\"{login}\": {{name: {name}, keys: []}}  # {more}")
        }
        Err(_) => format!("\"{login}\": {{keys: []}}  # called {}, {more}", words(&account.name)),
    }
}

fn reasons(why: &Evidence) -> String {
    let mut words = Vec::new();
    if why.login {
        words.push("the login".to_owned());
    }
    if why.uid {
        words.push("the uid".to_owned());
    }
    if why.name {
        words.push("the full name".to_owned());
    }
    words.extend(why.keys.iter().map(|key| format!("key {}", shown(key))));
    format!("it has {}", words.join(", "))
}

fn ways(account: &LocalAccount) -> Option<String> {
    let by = account.root_by.join("; ");
    (!by.is_empty()).then(|| format!("it becomes root by {}", shown(&by)))
}

fn account_in_words(account: &LocalAccount) -> String {
    format!("{} (uid {})", words(&account.login), account.uid)
}

/// A text of a host's, in one line that ends no comment.
pub(crate) fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}

/// A text of a host's, which is none of YAML where a line begins with it.
fn words(text: &str) -> String {
    format!("`{}`", shown(text))
}

/// A text that was read to be one line without anything that hides, as a value of YAML.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
