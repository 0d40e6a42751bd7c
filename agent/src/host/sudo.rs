//! Sudo files. A broken one silently loses rules (sudo 1.9.3 and later discard the rest of a line),
//! so visudo checks all new texts at once before they get their names, and the whole configuration
//! afterwards. Where that fails they are taken back; what was taken away stays away. A host may have
//! sudo, sudo-rs or both; one file that its checker does not understand keeps no other one out.

use std::collections::BTreeMap;

use crate::{format::sudoers, plan::Files};

use super::{
    Report, chain,
    files::{Dir, FileError, Looks},
    program::{Programs, Ran},
    rooted::Staged,
};

const LOOKS: Looks = Looks { uid: 0, gid: 0, mode: 0o440 };

/// Writes the files and has visudo read them.
pub(super) fn stage(root: &Dir, programs: Programs, files: &Files) -> Staged {
    let mut staged = Staged::write(root.need(sudoers::DIRECTORY), files, LOOKS);
    let Some(dir) = staged.place().cloned() else { return staged };
    let news: BTreeMap<&str, &str> = files
        .write
        .iter()
        .filter(|(name, text)| !only_narrows(&dir, name, text))
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let whole: String = news.values().copied().collect();
    if whole.is_empty() {
        return staged;
    }
    let Err(reason) = check(&dir, programs, &whole) else { return staged };
    let alone = |(name, text): (&&str, &&str)| {
        check(&dir, programs, text).err().map(|reason| ((*name).to_owned(), reason))
    };
    let refused: BTreeMap<String, String> = news.iter().filter_map(alone).collect();
    if refused.is_empty() || refused.len() == news.len() {
        staged.spoil(&reason);
    }
    for (name, reason) in refused {
        staged.refuse(&name, reason);
    }
    staged
}

/// A text whose every line is in force already needs no check, and must not wait for one.
fn only_narrows(dir: &Dir, name: &str, text: &str) -> bool {
    let Ok(Some((before, _))) = dir.read(name) else { return false };
    sudoers::common(&before, text).is_some_and(|common| common == text)
}

fn check(dir: &Dir, programs: Programs, text: &str) -> Result<(), String> {
    if programs == Programs::None {
        return Ok(());
    }
    let temp = dir.write_temp("check", LOOKS, text.as_bytes()).map_err(|error| chain(&error))?;
    let ran = visudo(programs, &["-c", "-f", &dir.show(&temp.name)]);
    let removed = dir.remove(&temp.name);
    match ran {
        Ran::Done => removed.map_err(|error| chain(&error)),
        Ran::Failed(reason) => Err(format!("visudo refuses the rules: {reason}")),
        Ran::Missing => Err("there is no visudo to check the rules with".to_owned()),
    }
}

/// Has the checker of whichever sudo is there look at something: sudo's own, or that of sudo-rs where
/// it stands alone under its own name.
fn visudo(programs: Programs, arguments: &[&str]) -> Ran {
    let found = ["visudo", "visudo-rs"].iter().find_map(|name| programs.status(name, arguments));
    match found {
        None => Ran::Missing,
        Some(Ok((0, _))) => Ran::Done,
        Some(Ok((status, output))) => {
            // Below the fault both show the line that has it.
            let fault = output.lines().find(|line| line.contains("error")).unwrap_or_default();
            let shown: String = fault.chars().filter(|c| !c.is_control()).take(300).collect();
            Ran::Failed(format!("status {status}: {shown}"))
        }
        Some(Err(reason)) => Ran::Failed(reason),
    }
}

/// Installs the files and has visudo check the whole.
pub(super) fn install(staged: Staged, programs: Programs, files: &Files) -> Report {
    let refused = staged.refused().clone();
    let mut files = files.clone();
    files.write.retain(|name, _| !refused.contains_key(name));
    let mut report = install_sound(staged, programs, &files);
    report.failures.extend(refused.into_iter().map(|(name, reason)| {
        (name.strip_prefix(sudoers::PREFIX).unwrap_or(&name).to_owned(), reason)
    }));
    report
}

fn install_sound(staged: Staged, programs: Programs, files: &Files) -> Report {
    let Some(dir) = staged.place().cloned() else {
        // Even where new rules cannot be written, old ones go.
        let removed = staged.install(files);
        return removed;
    };
    let before = match contents(&dir, files) {
        Ok(before) => before,
        Err(error) => return Report::failed(chain(&error)),
    };
    let report = staged.install(files);
    if report.whole.is_some() || files.write.is_empty() {
        return report;
    }
    let Ran::Failed(reason) = visudo(programs, &["-c"]) else { return report };
    if let Err(error) = put(&dir, &before) {
        return Report::failed(format!("{reason}; cannot restore: {}", chain(&error)));
    }
    if matches!(visudo(programs, &["-c"]), Ran::Done) {
        return Report::failed(format!("visudo refuses the whole with these rules: {reason}"));
    }
    // It was broken before, and not by us.
    let after: BTreeMap<&str, Option<Vec<u8>>> =
        files.write.iter().map(|(name, text)| (name.as_str(), Some(text.clone().into()))).collect();
    match put(&dir, &after) {
        Ok(()) => Report {
            details: files
                .write
                .keys()
                .filter_map(|name| name.strip_prefix(sudoers::PREFIX))
                .map(|role| (role.to_owned(), "another sudo file is broken".to_owned()))
                .collect(),
            ..Report::default()
        },
        Err(error) => Report::failed(chain(&error)),
    }
}

fn contents<'a>(
    dir: &Dir,
    files: &'a Files,
) -> Result<BTreeMap<&'a str, Option<Vec<u8>>>, FileError> {
    let read = |name: &'a String| Ok((name.as_str(), dir.read(name)?.map(|(text, _)| text)));
    files.write.keys().map(read).collect()
}

fn put(dir: &Dir, texts: &BTreeMap<&str, Option<Vec<u8>>>) -> Result<(), FileError> {
    for (name, text) in texts {
        dir.put_back(name, LOOKS, text.as_deref())?;
    }
    dir.sync()
}
