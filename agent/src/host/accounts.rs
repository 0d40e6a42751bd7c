//! The rewrite of the account files: under the locks everything is read again and spliced, so that
//! what others changed since the plan was made survives; new files are complete and durable before
//! the first rename. Order: gshadow, group, shadow, passwd; a line in passwd makes an account, so
//! it comes last, and every stop before leaves files that work. Four files cannot be renamed as one:
//! after a stop between two, grpck and pwck miss what the later ones would say of a new account.

use crate::{
    format::{BadTable, Edit, Misfit, Table},
    plan::AccountEdits,
};

use super::{
    Report, chain,
    files::{Dir, FileError, LEFTOVER, Looks, Temp, random},
    lock::{self, LockError},
    security::copy_security,
};

#[derive(Debug, thiserror::Error)]
enum RewriteError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("cannot rewrite the account files")]
    File(#[from] FileError),
    #[error("`{0}` is not root's, is missing or is writable for others")]
    Unsound(String),
    #[error("`/etc/{0}` is not an account file")]
    Table(&'static str, #[source] BadTable),
    #[error("`/etc/{0}` was changed by somebody else since the plan was made")]
    Misfit(&'static str, #[source] Misfit),
    #[error("`/etc/{0}` was changed by somebody else while its successor was written")]
    Raced(&'static str),
}

/// The files, in the order in which shadow-utils locks them.
pub(super) const FILES: [&str; 4] = ["passwd", "group", "gshadow", "shadow"];

struct Replacement {
    name: &'static str,
    temp: Temp,
    inode: u64,
    modified: (i64, i64),
}

/// Makes the edits.
pub(super) fn rewrite(root: &Dir, edits: &AccountEdits) -> Report {
    let mut renamed = false;
    match try_rewrite(root, edits, &mut renamed) {
        Ok(()) => Report::default(),
        Err(error) => {
            let outrun = matches!(error, RewriteError::Misfit(..) | RewriteError::Raced(_));
            Report { untouched: !renamed, outrun, ..Report::failed(chain(&error)) }
        }
    }
}

fn try_rewrite(root: &Dir, edits: &AccountEdits, renamed: &mut bool) -> Result<(), RewriteError> {
    let etc = root.need("etc")?;
    etc.require_rooted()?;
    let booted = lock::boot_time(root)?;
    let locks = lock::lock(&etc, &FILES, booted)?;
    let done = rewrite_locked(&etc, edits, renamed);
    locks.release();
    done
}

fn rewrite_locked(etc: &Dir, edits: &AccountEdits, renamed: &mut bool) -> Result<(), RewriteError> {
    let mut replacements = Vec::new();
    let staged = stage(etc, edits, &mut replacements);
    let done = staged.and_then(|()| install(etc, &replacements, renamed));
    if done.is_err() {
        for replacement in &replacements {
            // The first error is the one that matters; a leftover goes at the next start.
            let _ = etc.remove(&replacement.temp.name);
        }
    }
    done
}

fn stage(
    etc: &Dir,
    edits: &AccountEdits,
    replacements: &mut Vec<Replacement>,
) -> Result<(), RewriteError> {
    let files: [(&'static str, &[Edit]); 4] = [
        ("gshadow", &edits.gshadow),
        ("group", &edits.group),
        ("shadow", &edits.shadow),
        ("passwd", &edits.passwd),
    ];
    for (name, edits) in files {
        if edits.is_empty() {
            continue;
        }
        let sound = |mode: u32, uid: u32| uid == 0 && mode & 0o022 == 0;
        let (text, found) = match etc.read(name)? {
            Some((text, found)) if sound(found.st_mode, found.st_uid) => (text, found),
            _ => return Err(RewriteError::Unsound(etc.show(name))),
        };
        let table = Table::parse(text).map_err(|error| RewriteError::Table(name, error))?;
        let text = table.splice(edits).map_err(|error| RewriteError::Misfit(name, error))?;
        if text == table.text() {
            continue;
        }
        let looks = Looks { uid: found.st_uid, gid: found.st_gid, mode: found.st_mode & 0o7777 };
        let temp = etc.write_temp(name, looks, &text)?;
        let modified = (found.st_mtime, found.st_mtime_nsec);
        replacements.push(Replacement { name, temp, inode: found.st_ino, modified });
    }
    for Replacement { name, temp, .. } in replacements.iter() {
        copy_security(etc, name, &temp.file)?;
        nix::unistd::fsync(&temp.file).map_err(|source| FileError::System {
            doing: "sync",
            path: etc.show(&temp.name),
            source,
        })?;
    }
    Ok(())
}

fn install(
    etc: &Dir,
    replacements: &[Replacement],
    renamed: &mut bool,
) -> Result<(), RewriteError> {
    // The old files stay as their own backups: no copy, same owner and mode.
    for Replacement { name, .. } in replacements {
        let backup = format!("{LEFTOVER}{name}-.{}", random());
        etc.link(name, &backup)?;
        etc.rename(&backup, etc, &format!("{name}-"))?;
        // rename(2) does nothing where both are the same file, as after a stop just here.
        etc.remove(&backup)?;
    }
    // BusyBox takes none of the locks: what changed since it was read is not overwritten.
    for Replacement { name, inode, modified, .. } in replacements {
        let unchanged = etc.stat(name)?.is_some_and(|now| {
            now.st_ino == *inode && (now.st_mtime, now.st_mtime_nsec) == *modified
        });
        if !unchanged {
            return Err(RewriteError::Raced(name));
        }
    }
    // Nothing else in between: until the last one has its name, the files do not fit one another.
    for Replacement { name, temp, .. } in replacements {
        etc.rename(&temp.name, etc, name)?;
        *renamed = true;
    }
    Ok(etc.sync()?)
}
