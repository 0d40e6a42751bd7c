//! The files by which PAM knows what to run, and whether an account check by them changes anything.

use std::collections::BTreeSet;

use super::{
    chain,
    files::{Dir, is_link},
};
use crate::format::pam::{self, Line, Module};

/// Where PAM looks for services, in this order.
pub(super) const SERVICES: [&str; 2] = ["etc/pam.d", "usr/lib/pam.d"];

/// Whether something happens where PAM makes an account check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Each module of it only looks.
    OnlyLooks,
    /// Something may, for this reason.
    MayAct(String),
}

/// Says what the account check of a service does, with whatever it includes. What cannot be read or
/// is not known may do something; so may a service without such lines, for which PAM runs another.
pub(super) fn account_check(root: &Dir, service: &str) -> Check {
    let mut waiting = vec![service.to_owned()];
    let mut read = BTreeSet::new();
    let mut has_modules = false;
    while let Some(service) = waiting.pop() {
        if !read.insert(service.clone()) {
            continue;
        }
        let text = match service_text(root, &service) {
            Ok(text) => text,
            Err(reason) => return Check::MayAct(reason),
        };
        for line in pam::account(&text) {
            match line {
                Line::Include(other) => waiting.push(other),
                Line::Module(module) if module.only_looks() => has_modules = true,
                Line::Module(Module { name, .. }) => {
                    let reason = format!("`{name}` in `{service}` may do more than look");
                    return Check::MayAct(reason);
                }
                Line::Broken => {
                    return Check::MayAct(format!("a line of `{service}` names no module"));
                }
            }
        }
    }
    if has_modules {
        Check::OnlyLooks
    } else {
        Check::MayAct(format!("`{service}` has no module for it, so PAM runs others"))
    }
}

/// Returns what stands in the file of a service.
pub(super) fn service_text(root: &Dir, service: &str) -> Result<Vec<u8>, String> {
    // It may be named with its directory.
    let service = service.strip_prefix("/etc/pam.d/").unwrap_or(service);
    if service.contains('/') {
        return Err(format!("`{service}` is in another directory than `/etc/pam.d`"));
    }
    for place in SERVICES {
        let Some(dir) = root.walk(place).map_err(|error| chain(&error))? else { continue };
        let Some(found) = dir.stat(service).map_err(|error| chain(&error))? else { continue };
        if is_link(&found) {
            return Err(format!("`/{place}/{service}` is a symbolic link, and is not followed"));
        }
        if let Some((text, _)) = dir.read(service).map_err(|error| chain(&error))? {
            return Ok(text);
        }
    }
    Err(format!("there is no `/etc/pam.d/{service}`"))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "files as somebody else may have made them")]
mod tests {
    use std::{fs, os::unix::fs::symlink, sync::Arc};

    use super::*;
    use crate::host::files::Faults;

    /// What the service `ours` does, where there are these files in `/etc/pam.d`.
    fn check(files: &[(&str, &str)]) -> Check {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("etc/pam.d");
        fs::create_dir_all(&place).unwrap();
        for (name, text) in files {
            match text.strip_prefix("-> ") {
                Some(to) => symlink(to, place.join(name)).unwrap(),
                None => fs::write(place.join(name), text).unwrap(),
            }
        }
        account_check(&Dir::open(folder.path(), Arc::new(Faults::none())).unwrap(), "ours")
    }

    fn may_act(files: &[(&str, &str)]) -> bool {
        matches!(check(files), Check::MayAct(_))
    }

    const OURS: (&str, &str) = ("ours", "auth required pam_deny.so\naccount include sshd\n");
    const DEBIAN: (&str, &str) = (
        "sshd",
        "account required pam_nologin.so\n@include common\nsession optional pam_exec.so x\n",
    );
    const COMMON: &str = "account [success=1 default=ignore] pam_unix.so\n\
                          account requisite pam_deny.so\naccount required pam_permit.so\n";

    #[test]
    fn a_check_of_modules_that_only_look_changes_nothing_and_one_other_is_enough() {
        assert_eq!(check(&[OURS, DEBIAN, ("common", COMMON)]), Check::OnlyLooks);
        for (line, module) in [
            ("account required pam_faillock.so", "pam_faillock.so"),
            ("-account optional pam_exec.so /bin/x", "pam_exec.so"),
        ] {
            for text in [format!("{line}\n{COMMON}"), format!("{COMMON}{line}\n")] {
                let reason = format!("`{module}` in `common` may do more than look");
                let found = check(&[OURS, DEBIAN, ("common", &text)]);
                assert_eq!(found, Check::MayAct(reason), "{text}");
            }
        }
        let auth = format!("auth required pam_faillock.so\n{COMMON}");
        assert_eq!(check(&[OURS, DEBIAN, ("common", &auth)]), Check::OnlyLooks);
        let deeper = ("deeper", "account required pam_tally2.so\n");
        let common = format!("{COMMON}account substack deeper\n");
        let found = check(&[OURS, DEBIAN, ("common", &common), deeper]);
        assert!(matches!(found, Check::MayAct(reason) if reason.contains("in `deeper`")));
    }

    #[test]
    fn what_cannot_be_read_or_names_nothing_may_do_anything() {
        for common in ["-> sshd", "account\n", "account include gone\n", "@include /srv/other\n"] {
            let common = format!("{common}{}", if common.starts_with('-') { "" } else { COMMON });
            assert!(may_act(&[OURS, DEBIAN, ("common", &common)]), "{common}");
        }
        assert!(may_act(&[OURS, DEBIAN]));
        assert!(may_act(&[OURS, ("sshd", "# nothing\n")]), "PAM runs `other`");
        assert_eq!(
            check(&[("ours", "@include ours\naccount required pam_unix.so\n")]),
            Check::OnlyLooks
        );
    }
}
