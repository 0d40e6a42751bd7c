//! Who sees to how long new passwords are: what PAM runs for `passwd`, what libpwquality is told
//! beside our drop-in, and the drop-in itself. What cannot be read makes the answer unclear.

use crate::{
    format::{
        pam::{self, Line, Module, Stack},
        pwquality::{self, Check, Settings},
    },
    plan::Files,
};

use super::{
    chain,
    files::{Dir, FileError, Looks},
    pam_files::service_text,
    rooted::Staged,
};

/// `pam_pwquality` reads it as whoever runs it.
const LOOKS: Looks = Looks { uid: 0, gid: 0, mode: 0o644 };
/// How deep files may include each other; PAM itself takes as many.
const MOST_DEPTH: usize = 32;

/// Looks at all that bears on it.
pub(super) fn observe(root: &Dir) -> Check {
    check(root).unwrap_or_else(Check::Unclear)
}

fn check(root: &Dir) -> Result<Check, String> {
    let mut modules = Vec::new();
    collect(root, "passwd", MOST_DEPTH, &mut modules)?;
    let (quality, unix) = match pam::stack(&modules) {
        Stack::Judged { quality, unix } => (quality, pwquality::unix_length(&unix)),
        Stack::Unclear(reason) => return Err(format!("`/etc/pam.d/passwd`: {reason}")),
    };
    let Some(arguments) = quality else { return Ok(Check::Unix(unix)) };
    let (mut before, mut after) = (Settings::default(), Settings::default());
    let place = root.walk(pwquality::PLACE).map_err(|error| chain(&error))?;
    if let Some(drop_ins) = root.walk(pwquality::DIRECTORY).map_err(|error| chain(&error))? {
        for name in drop_ins.names().map_err(|error| chain(&error))? {
            if name.strip_suffix(".conf").is_none() || name == pwquality::FILE {
                continue;
            }
            let part = if name.as_str() < pwquality::FILE { &mut before } else { &mut after };
            read(&drop_ins, &name, part)?;
        }
    }
    if let Some(place) = place {
        read(&place, pwquality::MAIN, &mut after)?;
    }
    after.argue(&arguments);
    Ok(Check::Quality { before, after, unix })
}

fn read(dir: &Dir, name: &str, settings: &mut Settings) -> Result<(), String> {
    let Some(text) = text(dir, name)? else { return Ok(()) };
    settings.read(&text).map_err(|error| format!("`{name}`: {error}"))
}

fn text(dir: &Dir, name: &str) -> Result<Option<Vec<u8>>, String> {
    let found = dir.read(name).map_err(|error| chain(&error))?;
    Ok(found.map(|(text, _)| text))
}

/// Adds the modules of a service, those of what it includes in its place.
fn collect(
    root: &Dir,
    service: &str,
    depth: usize,
    modules: &mut Vec<Module>,
) -> Result<(), String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(format!("`{service}` in /etc/pam.d is included too deep"));
    };
    for line in pam::parse(&service_text(root, service)?) {
        match line {
            Line::Include(other) => collect(root, &other, depth, modules)?,
            Line::Module(module) => modules.push(module),
            // It fails whatever else is there, and sets no password.
            Line::Broken => {}
        }
    }
    Ok(())
}

/// Writes our drop-in, in a directory that is made when it is first needed.
pub(super) fn stage(root: &Dir, files: &Files) -> Staged {
    Staged::write(directory(root), files, LOOKS)
}

fn directory(root: &Dir) -> Result<Dir, FileError> {
    if let Some(dir) = root.walk(pwquality::DIRECTORY)? {
        return Ok(dir);
    }
    let place = root.need(pwquality::PLACE)?;
    place.require_rooted()?;
    let (_, name) = super::files::split(pwquality::DIRECTORY);
    let dir = place.make(name, 0o755)?;
    dir.set_looks(Looks { mode: 0o755, ..LOOKS })?;
    place.sync()?;
    Ok(dir)
}
