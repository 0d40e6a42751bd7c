//! What PAM runs when a password is changed, as far as it matters to how long a new one has to be:
//! the `password` lines of a service, with what they include, down to the module that sets it.

/// One line that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The lines of another file stand here.
    Include(String),
    /// A module is run.
    Module(Module),
}

/// A module that is run when a password is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its file, without directories.
    pub name: String,
    /// What its answer means.
    pub control: String,
    /// What it is told.
    pub arguments: Vec<String>,
}

/// Who sees to how long a new password is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stack {
    /// The arguments of the `pam_pwquality` that has to agree, if one has, and those of the
    /// `pam_unix` that then sets the password.
    Judged {
        /// Of `pam_pwquality`.
        quality: Option<Vec<String>>,
        /// Of `pam_unix`.
        unix: Vec<String>,
    },
    /// It cannot be told, for this reason.
    Unclear(&'static str),
}

/// Reads a file of `/etc/pam.d`.
pub fn parse(text: &[u8]) -> Vec<Line> {
    let text = String::from_utf8_lossy(text).replace("\\\n", " ");
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Line> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let mut words = words(line).into_iter();
    let kind = words.next()?;
    if kind == "@include" {
        return words.next().map(Line::Include);
    }
    // With a dash before it, a module that is missing is no mistake.
    if !kind.trim_start_matches('-').eq_ignore_ascii_case("password") {
        return None;
    }
    let control = words.next()?;
    let name = words.next()?;
    if matches!(control.as_str(), "include" | "substack") {
        return Some(Line::Include(name));
    }
    let name = name.rsplit('/').next().unwrap_or_default().to_owned();
    Some(Line::Module(Module { name, control, arguments: words.collect() }))
}

/// Splits at spaces, but for those between brackets, which go.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut in_brackets) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '[' if word.is_empty() => in_brackets = true,
            ']' if in_brackets => in_brackets = false,
            c if c.is_whitespace() && !in_brackets => words.extend(take(&mut word)),
            c => word.push(c),
        }
    }
    words.extend(take(&mut word));
    words
}

fn take(word: &mut String) -> Option<String> {
    let word = std::mem::take(word);
    (!word.is_empty()).then_some(word)
}

/// Returns who sees to the length, of modules in the order in which they are run.
pub fn stack(modules: &[Module]) -> Stack {
    let mut quality = None;
    for module in modules {
        match module.name.as_str() {
            "pam_pwquality.so" if has_to_agree(&module.control) => {
                quality = Some(module.arguments.clone());
            }
            "pam_unix.so" => {
                return Stack::Judged { quality, unix: module.arguments.clone() };
            }
            _ if quality.is_none() && may_jump(&module.control) => {
                return Stack::Unclear("a module before it may jump over the one that checks");
            }
            _ => {}
        }
    }
    Stack::Unclear("it does not run pam_unix, which sets the passwords of local accounts")
}

/// Whether a module's refusal is the end (pam.conf(5)).
fn has_to_agree(control: &str) -> bool {
    matches!(control, "required" | "requisite")
        || control.split_whitespace().any(|part| matches!(part, "default=die" | "default=bad"))
            && control.split_whitespace().all(|part| {
                let (value, action) = part.split_once('=').unwrap_or((part, ""));
                matches!(value, "success" | "new_authtok_reqd" | "default" | "ignore")
                    || matches!(action, "die" | "bad")
            })
}

fn may_jump(control: &str) -> bool {
    control.split_whitespace().any(|part| {
        let action = part.split_once('=').map(|(_, action)| action);
        action.is_some_and(|action| action.parse::<u32>().is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> Stack {
        let modules = parse(text.as_bytes()).into_iter().map(|line| match line {
            Line::Module(module) => module,
            Line::Include(name) => panic!("{name} is included"),
        });
        stack(&modules.collect::<Vec<_>>())
    }

    fn judged(quality: Option<&[&str]>, unix: &[&str]) -> Stack {
        let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        Stack::Judged { quality: quality.map(owned), unix: owned(unix) }
    }

    #[test]
    fn lines_of_other_kinds_are_passed_over_and_includes_are_told() {
        let text = b"# a note\nauth required pam_unix.so\n@include common-password # here\n\
            password include system-auth\n-password substack other\npassword optional \\\n pam_x.so\n";
        let include = |name: &str| Line::Include(name.to_owned());
        let module = Module {
            name: "pam_x.so".to_owned(),
            control: "optional".to_owned(),
            arguments: Vec::new(),
        };
        let lines = [
            include("common-password"),
            include("system-auth"),
            include("other"),
            Line::Module(module),
        ];
        assert_eq!(parse(text), lines);
    }

    #[test]
    fn a_check_that_has_to_agree_before_the_password_is_set_is_told_with_its_arguments() {
        let debian = "password requisite pam_pwquality.so retry=3\n\
            password [success=1 default=ignore] pam_unix.so obscure minlen=9 yescrypt\n\
            password requisite pam_deny.so\n";
        assert_eq!(judge(debian), judged(Some(&["retry=3"]), &["obscure", "minlen=9", "yescrypt"]));
        let with_path = "password [success=ok default=die] /lib/security/pam_pwquality.so [a b]\n\
            password sufficient pam_unix.so\n";
        assert_eq!(judge(with_path), judged(Some(&["a b"]), &[]));
    }

    #[test]
    fn a_check_that_is_missing_ignored_or_too_late_is_none() {
        for before in [
            "",
            "password optional pam_pwquality.so\n",
            "password sufficient pam_pwquality.so\n",
            "password [success=ok default=ignore] pam_pwquality.so\n",
            "password [success=ok authtok_err=ignore default=die] pam_pwquality.so\n",
        ] {
            let text = format!(
                "{before}password required pam_unix.so\npassword required pam_pwquality.so\n"
            );
            assert_eq!(judge(&text), judged(None, &[]), "{text}");
        }
    }

    #[test]
    fn where_a_jump_may_leave_it_out_or_nothing_sets_the_password_it_cannot_be_told() {
        for text in [
            "password [success=1 default=ignore] pam_ldap.so\npassword required pam_pwquality.so\n\
             password required pam_unix.so\n",
            "password required pam_pwquality.so\n",
            "",
        ] {
            assert!(matches!(judge(text), Stack::Unclear(_)), "{text}");
        }
    }
}
