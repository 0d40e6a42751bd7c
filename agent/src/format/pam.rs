//! What PAM runs: the `password` lines of a service, as far as they matter to how long a new password
//! has to be, and its `account` lines, as far as it matters whether asking by them changes anything.

/// One line that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The lines of another file stand here.
    Include(String),
    /// A module is run.
    Module(Module),
    /// It names no module.
    Broken,
}

/// A module that is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its file.
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

/// The modules whose account check only looks: each reads files and says yes or no, by the manuals
/// of Linux-PAM. Others are at something, such as `pam_faillock`, which forgets the failures that it
/// has counted, `pam_systemd_home`, which opens a home, or `pam_exec`; `pam_sss` and `pam_ldap` ask
/// somebody of whom it is not known here what he does then.
const ONLY_LOOK: [&str; 10] = [
    "pam_access.so",
    "pam_deny.so",
    "pam_listfile.so",
    "pam_localuser.so",
    "pam_nologin.so",
    "pam_permit.so",
    "pam_rootok.so",
    "pam_succeed_if.so",
    "pam_time.so",
    "pam_unix.so",
];

/// Says whether a file of `/etc/security` is no configuration, but what modules remember there:
/// whoever changes his own password has `pam_pwhistory` or `pam_unix` write it.
pub fn is_remembered(name: &str) -> bool {
    name == ".pwd.lock" || ["opasswd", "nopasswd"].iter().any(|file| name.starts_with(file))
}

impl Module {
    /// Says whether its account check changes nothing. A module of the same name that lies elsewhere
    /// is another one.
    pub fn only_looks(&self) -> bool {
        ONLY_LOOK.contains(&self.name.as_str())
    }
}

/// Reads the `password` lines of a file of `/etc/pam.d`.
pub fn parse(text: &[u8]) -> Vec<Line> {
    let text = String::from_utf8_lossy(text).replace("\\\n", " ");
    text.lines().filter_map(|text| line(text, "password")).collect()
}

/// Reads its `account` lines. Lines that go on are not joined: what PAM takes for a line of its own
/// is never taken for the rest of another, and one that is cut off is [`Line::Broken`].
pub fn account(text: &[u8]) -> Vec<Line> {
    let text = String::from_utf8_lossy(text);
    text.lines().filter_map(|text| line(text, "account")).collect()
}

fn line(line: &str, wanted: &str) -> Option<Line> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let mut words = words(line).into_iter();
    let kind = words.next()?;
    if kind.eq_ignore_ascii_case("@include") {
        return Some(words.next().map_or(Line::Broken, Line::Include));
    }
    // With a dash before it, a module that is missing is no mistake.
    if !kind.trim_start_matches('-').eq_ignore_ascii_case(wanted) {
        return None;
    }
    let (Some(control), Some(name)) = (words.next(), words.next()) else {
        return Some(Line::Broken);
    };
    if ["include", "substack"].iter().any(|word| control.eq_ignore_ascii_case(word)) {
        return Some(Line::Include(name));
    }
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
        match module.name.rsplit('/').next().unwrap_or_default() {
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
            other => panic!("{other:?}"),
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
    fn account_lines_are_read_however_they_are_written_and_one_without_a_module_is_told() {
        let names = |text: &str| -> Vec<String> {
            let name = |line| match line {
                Line::Include(name) => format!("include {name}"),
                Line::Module(module) => module.name,
                Line::Broken => "broken".to_owned(),
            };
            account(text.as_bytes()).into_iter().map(name).collect()
        };
        let text = "auth required pam_a.so\n-Account [success=1 default=ignore] pam_b.so x # y\n\
                    @include common-account\naccount include c\naccount SUBSTACK d\n";
        let read = ["pam_b.so", "include common-account", "include c", "include d"];
        assert_eq!(names(text), read);
        for text in ["account\n", "account required # pam_b.so\n", "@include\n"] {
            assert_eq!(names(text), ["broken"], "{text}");
        }
        // A comment ends with its line, and a line that goes on is no line that can be trusted.
        let hidden = "# a note \\\naccount required pam_faillock.so\n";
        assert_eq!(names(hidden), ["pam_faillock.so"]);
        for goes_on in ["account required \\\n pam_b.so\n", "account [default=ignore \\\n ok] b\n"]
        {
            let modules = account(goes_on.as_bytes());
            let trusted = |line: &Line| matches!(line, Line::Module(one) if one.only_looks());
            assert!(modules.len() == 1 && !modules.iter().any(trusted), "{modules:?}");
        }
    }

    #[test]
    fn a_module_that_may_be_at_something_or_lies_elsewhere_is_none_that_only_looks() {
        let only_looks = |name: &str| {
            let (control, arguments) = ("required".to_owned(), Vec::new());
            Module { name: name.to_owned(), control, arguments }.only_looks()
        };
        assert!(only_looks("pam_unix.so") && only_looks("pam_access.so"));
        for name in [
            "pam_faillock.so",
            "pam_tally2.so",
            "pam_exec.so",
            "pam_script.so",
            "pam_systemd_home.so",
            "pam_sepermit.so",
            "pam_slurm_adopt.so",
            "/srv/pam_unix.so",
            "pam_unix",
            "",
        ] {
            assert!(!only_looks(name), "{name}");
        }
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
