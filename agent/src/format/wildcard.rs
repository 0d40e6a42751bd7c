//! Patterns of names, as other programs read them: `*` is any run of bytes and `?` any one. Some
//! know a set in brackets too, and that `\` takes the next byte as it is.

/// Whose patterns they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Those of sshd, in which nothing else is special (PATTERNS in `ssh_config(5)`).
    Sshd,
    /// Those of words that sudo compares, as `fnmatch(3)` reads them.
    Words,
    /// Those of programs that sudo compares: no part of one stands for a `/`.
    Path,
}

/// Says whether a name is as a pattern says.
pub(super) fn fits(dialect: Dialect, mut pattern: &[u8], mut name: &[u8]) -> bool {
    // What comes after the last `*`, and what it has not yet been tried at.
    let mut last: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', after @ ..] = pattern {
            last = Some((after, name));
            pattern = after;
        } else if let Some(rest) = dialect.take_one(pattern, name) {
            (pattern, name) = rest;
        } else if pattern.is_empty() && name.is_empty() {
            return true;
        } else {
            let Some((after, [passed, later @ ..])) = last else { return false };
            if !dialect.stands_for(*passed) {
                return false;
            }
            last = Some((after, later));
            (pattern, name) = (after, later);
        }
    }
}

impl Dialect {
    /// Says whether part of a pattern that is no byte itself may stand for this one.
    fn stands_for(self, byte: u8) -> bool {
        self != Self::Path || byte != b'/'
    }

    /// Returns what is left when the pattern begins as the name does.
    fn take_one<'p, 'n>(self, pattern: &'p [u8], name: &'n [u8]) -> Option<(&'p [u8], &'n [u8])> {
        let (first, later) = name.split_first()?;
        let (wanted, mut rest) = pattern.split_first()?;
        let fits = match wanted {
            b'?' => self.stands_for(*first),
            b'\\' if self != Self::Sshd => {
                let (wanted, after) = rest.split_first()?;
                rest = after;
                wanted == first
            }
            b'[' if self != Self::Sshd => match in_set(rest, *first) {
                Some((is_in, after)) => {
                    rest = after;
                    is_in && self.stands_for(*first)
                }
                None => *first == b'[',
            },
            _ => wanted == first,
        };
        fits.then_some((rest, later))
    }
}

/// Says whether a byte is in the set that begins here, and returns what comes after it; nothing if
/// it has no end.
fn in_set(set: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (is_negated, mut rest) = match set {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let (mut is_in, mut is_first) = (false, true);
    loop {
        match rest {
            [b']', after @ ..] if !is_first => return Some((is_in != is_negated, after)),
            [from, b'-', to, after @ ..] if *to != b']' => {
                is_in |= (*from..=*to).contains(&byte);
                rest = after;
            }
            [one, after @ ..] => {
                is_in |= *one == byte;
                rest = after;
            }
            [] => return None,
        }
        is_first = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_dialect_reads_what_its_program_reads() {
        use Dialect::{Path, Sshd, Words};
        for (dialect, pattern, name, wanted) in [
            (Words, "/usr/bin/[a-f]d", "/usr/bin/ed", true),
            (Words, "[!a-f]d", "ed", false),
            (Words, "[^a-f]d", "id", true),
            (Words, "[]x]", "]", true),
            (Words, "[a-]", "-", true),
            (Words, "[ab", "[ab", true),
            (Words, "\\*", "*", true),
            (Words, "\\*", "a", false),
            (Words, "a\\", "a", false),
            (Words, "a*", "a/b", true),
            (Path, "/usr/*", "/usr/bin", true),
            (Path, "/usr/*", "/usr/bin/id", false),
            (Path, "/usr/*/id", "/usr/bin/id", true),
            (Path, "/usr?bin", "/usr/bin", false),
            (Path, "/usr[/]bin", "/usr/bin", false),
            (Path, "*b*d", "aab/d", false),
            (Sshd, "[a]", "a", false),
            (Sshd, "[a]", "[a]", true),
            (Sshd, "\\?", "\\a", true),
        ] {
            let found = fits(dialect, pattern.as_bytes(), name.as_bytes());
            assert_eq!(found, wanted, "{dialect:?} {pattern} {name}");
        }
    }

    /// As OpenSSH says it, one byte after the other.
    fn plainly(dialect: Dialect, pattern: &[u8], name: &[u8]) -> bool {
        let passes = |byte: u8| dialect != Dialect::Path || byte != b'/';
        match (pattern, name) {
            ([b'*', rest @ ..], _) => (0..=name.len()).any(|from| {
                name[..from].iter().all(|byte| passes(*byte))
                    && plainly(dialect, rest, &name[from..])
            }),
            ([b'?', rest @ ..], [one, name @ ..]) => passes(*one) && plainly(dialect, rest, name),
            ([wanted, rest @ ..], [found, name @ ..]) => {
                wanted == found && plainly(dialect, rest, name)
            }
            ([], []) => true,
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_fits_what_it_says(pattern in "[ab/*?]{0,8}", name in "[ab/]{0,8}") {
            let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
            for dialect in [Dialect::Sshd, Dialect::Words, Dialect::Path] {
                let wanted = plainly(dialect, pattern, name);
                prop_assert_eq!(fits(dialect, pattern, name), wanted, "{:?}", dialect);
            }
        }

        #[test]
        fn no_pattern_is_too_odd_to_be_read(pattern in any::<Vec<u8>>(), name in any::<Vec<u8>>()) {
            for dialect in [Dialect::Sshd, Dialect::Words, Dialect::Path] {
                let _ = fits(dialect, &pattern, &name);
            }
        }
    }
}
