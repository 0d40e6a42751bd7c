//! What a statement and an entitlement say, in words: the one place that turns what is signed into
//! what is shown, for plans, listings and the history alike. Pure. Every type is taken apart field by
//! field with nothing left out, so that a field that is added does not compile until it has words,
//! and two contents that differ never read alike.

use std::collections::BTreeSet;

use muster_proto::{
    derive::Statements,
    desired::{AccountGrant, Entitlement, UnixGroupGrant},
    id::{Id, Kind},
    name::AbsolutePath,
    options::KeyOptions,
    statement::{
        Adoption, Assignment, Content, Group, LoginMethod, MemberList, PasswordPolicy,
        Restrictions, Role, SourceNetwork, UnixGroup, UnixGroupMode, User, UserKey, UserKind,
    },
    sudo::{RunAs, SudoPassword, SudoRule},
    time::Timestamp,
};

/// Returns what a statement holds besides its name; ids become kinds and names where the directory
/// has them.
pub fn content(content: &Content, statements: &Statements) -> Vec<String> {
    match content {
        Content::User(user) => of_user(user, statements),
        Content::Group(Group { name: _ }) => Vec::new(),
        Content::UnixGroup(UnixGroup { name: _, gid, members }) => {
            vec![format!("gid {gid}"), format!("members: {}", member_list(*members))]
        }
        Content::Role(role) => of_role(role, statements),
        Content::Assignment(assignment) => of_assignment(assignment, statements),
        Content::Adoption(Adoption { user, host, login, uid }) => vec![
            format!("{} takes over the account `{login}`", named(user, statements)),
            format!("on host {host}"),
            format!("uid {uid} is kept there"),
        ],
        Content::Removal(kind) => vec![format!("the {kind} is removed")],
        Content::Revoked { kind, revocation } => {
            vec![format!("the {kind} is revoked by revocation {revocation}")]
        }
    }
}

/// Returns the revocations that a statement takes back.
pub fn reinstates(reinstates: &BTreeSet<Id>) -> Vec<String> {
    reinstates.iter().map(|revocation| format!("takes back revocation {revocation}")).collect()
}

/// Returns what an entitlement is.
pub fn entitlement(entitlement: &Entitlement) -> String {
    match entitlement {
        Entitlement::Account(AccountGrant { user: _, uid, name, shell, home, home_mode, kind }) => {
            let mut words = vec![format!("account with uid {uid}")];
            words.extend((!name.as_str().is_empty()).then(|| format!("name {name}")));
            words.extend(places(shell.as_ref(), home.as_ref()));
            words.extend(home_mode.map(|mode| format!("home made with mode {mode}")));
            words.extend(user_kind(*kind));
            words.join(", ")
        }
        Entitlement::Adoption(uid) => format!("takes over the account with uid {uid}"),
        Entitlement::Key { key, restrictions } => {
            let mut words = vec![user_key(key)];
            words.extend(of_restrictions(restrictions));
            words.join(", ")
        }
        Entitlement::Login(method) => format!("login by {}", login_method(*method)),
        Entitlement::UnixGroupMode(_, mode) => unix_group_mode(*mode).to_owned(),
        Entitlement::UnixGroup(UnixGroupGrant { name, gid, members }) => {
            format!("Unix group {name} with gid {gid}, members: {}", member_list(*members))
        }
        Entitlement::HostUnixGroup(name) => format!("Unix group {name} of the host"),
        Entitlement::Sudo(role, rule) => format!("{} (role {role})", sudo_rule(rule)),
        Entitlement::Password(policy) => password(*policy),
    }
}

fn of_user(user: &User, statements: &Statements) -> Vec<String> {
    let User {
        login: _,
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
    let mut lines = vec![format!("uid {uid}")];
    lines.extend((!name.as_str().is_empty()).then(|| format!("name {name}")));
    lines.extend(user_kind(*kind));
    lines.extend(groups.iter().map(|group| format!("in {}", named(group, statements))));
    lines.extend(keys.iter().map(user_key));
    lines.extend(of_restrictions(restrictions));
    lines.extend(places(shell.as_ref(), home.as_ref()));
    lines.extend(home_mode.map(|mode| format!("home made with mode {mode}")));
    lines.extend(date("starts", *starts));
    lines.extend(date("ends", *ends));
    lines
}

fn of_role(role: &Role, statements: &Statements) -> Vec<String> {
    let Role {
        name: _,
        unix_group_mode: mode,
        unix_groups,
        host_unix_groups,
        sudo,
        login_methods,
        password: policy,
    } = role;
    let mut lines = vec![unix_group_mode(*mode).to_owned()];
    lines.extend(unix_groups.iter().map(|group| named(group, statements)));
    lines.extend(host_unix_groups.iter().map(|name| format!("Unix group {name} of the host")));
    lines.extend(sudo.iter().map(sudo_rule));
    if login_methods.is_empty() {
        lines.push("login by key, since nothing else is said".to_owned());
    }
    lines.extend(login_methods.iter().map(|method| format!("login by {}", login_method(*method))));
    lines.extend(policy.map(password));
    lines
}

fn of_assignment(assignment: &Assignment, statements: &Statements) -> Vec<String> {
    let Assignment { name: _, subject, role, hosts, from, until, reason, ticket, recertify_by } =
        assignment;
    let mut lines = vec![
        format!("{} → {}", named(subject, statements), named(role, statements)),
        format!("hosts {hosts}"),
    ];
    lines.extend(date("from", *from));
    lines.extend(date("until", *until));
    lines.extend((!reason.as_str().is_empty()).then(|| format!("reason {reason}")));
    lines.extend((!ticket.as_str().is_empty()).then(|| format!("ticket {ticket}")));
    lines.extend(date("to be certified again by", *recertify_by));
    lines
}

/// A sudo rule with the words of sudoers for what it leaves open: `NOPASSWD` stands there whenever
/// nobody is asked for a password.
pub fn sudo_rule(rule: &SudoRule) -> String {
    let SudoRule { run_as: RunAs { user, group }, commands, password, noexec, directory } = rule;
    let mut words = vec![format!("sudo as {user}")];
    words.extend(group.iter().map(|group| format!("with Unix group {group}")));
    words.push(
        match password {
            SudoPassword::None => "NOPASSWD",
            SudoPassword::Required => "PASSWD",
        }
        .to_owned(),
    );
    words.extend(noexec.then(|| "NOEXEC".to_owned()));
    words.extend(directory.iter().map(|directory| format!("in {directory}")));
    let commands: Vec<String> = commands.iter().map(ToString::to_string).collect();
    format!("{}: {}", words.join(", "), commands.join(", "))
}

/// A key by all that tells it from others: people compare the fingerprint with `ssh-keygen -l`.
pub fn user_key(key: &UserKey) -> String {
    let UserKey { key, comment, options } = key;
    // What it is bound to stands before its type, where no comment can.
    let text = format!(
        "key {}{} {} {comment}",
        key.shown_fingerprint(),
        key_options(options),
        key.key_type()
    );
    text.trim_end().to_owned()
}

fn key_options(options: &KeyOptions) -> String {
    let KeyOptions { from, command, restrict } = options;
    let mut words = Vec::new();
    words.extend((!from.is_empty()).then(|| only_from(from)));
    words.extend(command.as_ref().map(|command| format!("only to run `{command}`")));
    words.extend(restrict.then(|| "without terminal or forwarding".to_owned()));
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

fn only_from(networks: &BTreeSet<SourceNetwork>) -> String {
    let networks: Vec<&str> = networks.iter().map(SourceNetwork::as_str).collect();
    format!("only from {}", networks.join(" or "))
}

fn of_restrictions(restrictions: &Restrictions) -> Vec<String> {
    let Restrictions { hardware_keys_only, verify_required, from } = restrictions;
    let mut lines = Vec::new();
    lines.extend(hardware_keys_only.then(|| "only by keys that live in hardware".to_owned()));
    lines.extend(verify_required.then(|| "hardware keys must verify their user".to_owned()));
    lines.extend((!from.is_empty()).then(|| only_from(from)));
    lines
}

fn places(shell: Option<&AbsolutePath>, home: Option<&AbsolutePath>) -> Vec<String> {
    let shell = shell.map(|shell| format!("shell {shell}"));
    shell.into_iter().chain(home.map(|home| format!("home {home}"))).collect()
}

fn user_kind(kind: UserKind) -> Option<String> {
    match kind {
        UserKind::Person => None,
        UserKind::Service => Some("a service identity, not a person".to_owned()),
    }
}

/// A way to log in.
pub fn login_method(method: LoginMethod) -> &'static str {
    match method {
        LoginMethod::Key => "key",
        LoginMethod::HardwareKey => "a key that lives in hardware",
        LoginMethod::Password => "password",
    }
}

fn member_list(members: MemberList) -> &'static str {
    match members {
        MemberList::AtLeast => "those that roles give, and others may be",
        MemberList::Exactly => "those that roles give and no others",
    }
}

fn unix_group_mode(mode: UnixGroupMode) -> &'static str {
    match mode {
        UnixGroupMode::HandsOff => "supplementary Unix groups: hands off",
        UnixGroupMode::AtLeast => "supplementary Unix groups: at least those named",
        UnixGroupMode::Exactly => "supplementary Unix groups: exactly those named",
    }
}

fn password(policy: PasswordPolicy) -> String {
    let PasswordPolicy { max_days, min_days, warn_days, inactive_days, min_length } = policy;
    let mut words = vec![format!("characters at least: {min_length}")];
    words.push(max_days.map_or_else(
        || "never has to change".to_owned(),
        |days| format!("has to change after days: {days}"),
    ));
    words.extend(warn_days.map(|days| format!("warned before by days: {days}")));
    words.extend(inactive_days.map(|days| format!("shut when late by days: {days}")));
    words.extend(min_days.map(|days| format!("not changed again before days: {days}")));
    format!("a password that the user sets on the host: {}", words.join("; "))
}

fn date(what: &str, time: Option<Timestamp>) -> Option<String> {
    time.map(|time| format!("{what} {time}"))
}

/// A kind and a name; an id where the directory has no name for it.
fn named(id: &Id, statements: &Statements) -> String {
    let known = statements.get(id).map(|statement| &statement.content);
    match (known.map(Content::kind), known.and_then(Content::name)) {
        (Some(kind), Some(name)) => format!("{kind} {name}"),
        (Some(kind), None) => format!("{kind} (gone, id {id})"),
        (None, _) => match id {
            Id::Host(host) => format!("{} {host}", Kind::Host),
            Id::Object(_) => format!("(nothing known, id {id})"),
        },
    }
}
