//! What a rule of sudo's names: hosts, programs and arguments, each as it is or by a pattern
//! (`sudoers(5)`).

use crate::format::wildcard::{Dialect, fits};

/// Says whether something that fits the one command fits the other, which is ours.
pub(super) fn touches(one: &str, other: &str) -> bool {
    let ((program, arguments), (own, own_arguments)) = (halves(one), halves(other));
    let some_arguments = match (arguments, own_arguments) {
        (Some(pattern), Some(exactly)) => is_words(pattern, exactly),
        (None, _) | (_, None) => true,
    };
    other == "ALL" || (some_arguments && is_program(program, own))
}

/// Splits a command into its program and its arguments, if there are any.
pub(super) fn halves(command: &str) -> (&str, Option<&str>) {
    match command.split_once(' ') {
        Some((program, arguments)) => (program, Some(arguments)),
        None => (command, None),
    }
}

/// Says whether a program is as it is named: by its path, by its directory or by a pattern.
pub(super) fn is_program(named: &str, program: &str) -> bool {
    let directory = program.rsplit_once('/').map(|(directory, _)| directory);
    named == program
        || (named.ends_with('/') && named.strip_suffix('/') == directory)
        || fits(Dialect::Path, named.as_bytes(), program.as_bytes())
}

/// Says whether arguments are as a pattern says; `""` are none.
pub(super) fn is_words(pattern: &str, exactly: &str) -> bool {
    let words = if exactly == "\"\"" { "" } else { exactly };
    pattern == exactly || fits(Dialect::Words, pattern.as_bytes(), words.as_bytes())
}

/// Says whether a host is as it is named: by what it is called before its first dot, unless the
/// name has a dot itself.
pub(super) fn is_host(named: &str, host: &str) -> bool {
    let short = host.split('.').next().unwrap_or_default();
    let host = if named.contains('.') { host } else { short };
    let [wanted, found] = [named, host].map(str::to_ascii_lowercase);
    named == "ALL" || fits(Dialect::Words, wanted.as_bytes(), found.as_bytes())
}
