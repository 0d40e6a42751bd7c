//! Key files and the drop-in of sshd. A drop-in that sshd refuses is taken back at once: with it
//! nobody could log in after the next start.

use crate::{format::ssh, plan::Files};

use super::{
    Report, chain,
    files::{Dir, FileError, Looks, split},
    program::{Programs, Ran},
    rooted::Staged,
};

/// sshd reads these as whoever logs in.
const LOOKS: Looks = Looks { uid: 0, gid: 0, mode: 0o644 };

/// Asks sshd what it is. Older ones do not know the question, and answer it beside the refusal.
pub(super) fn knows_utc(programs: Programs) -> bool {
    let said = programs.status("sshd", &["-V"]);
    said.is_some_and(|said| said.is_ok_and(|(_, output)| ssh::knows_utc(&output)))
}

/// Returns what sshd is asked about somebody: a login from this machine itself, to the usual port.
/// Of one that is not told in full sshd says nothing at all where a `Match` asks for the rest.
pub(super) fn connection(login: &str) -> String {
    format!("user={login},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22")
}

/// Writes key files, in a directory that is made when it is first needed.
pub(super) fn stage_keys(root: &Dir, files: &Files) -> Staged {
    Staged::write(keys_directory(root), files, LOOKS)
}

fn keys_directory(root: &Dir) -> Result<Dir, FileError> {
    let path = ssh::KEYS_DIRECTORY;
    if let Some(dir) = root.walk(path)? {
        return Ok(dir);
    }
    let (parent, name) = split(path);
    let parent = match root.walk(parent)? {
        Some(parent) => parent,
        None => root.need("etc")?.make("ssh", 0o755)?,
    };
    parent.require_rooted()?;
    let dir = parent.make(name, 0o755)?;
    dir.set_looks(Looks { mode: 0o755, ..LOOKS })?;
    parent.sync()?;
    Ok(dir)
}

/// Writes the drop-in, if there is to be one.
pub(super) fn stage_drop_in(root: &Dir, files: &Files) -> Staged {
    Staged::write(root.need(ssh::DROP_IN_DIRECTORY), files, LOOKS)
}

/// Installs or removes the drop-in, has sshd check it and reload it.
pub(super) fn install_drop_in(staged: Staged, programs: Programs, files: &Files) -> Report {
    let Some(dir) = staged.place().cloned() else { return staged.install(files) };
    let before = match dir.read(ssh::DROP_IN) {
        Ok(before) => before.map(|(text, _)| text),
        // A link or the like: it is replaced, and is nothing to go back to.
        Err(FileError::Unsafe { .. }) => None,
        Err(error) => return Report::failed(chain(&error)),
    };
    let report = staged.install(files);
    if report.whole.is_some() {
        return report;
    }
    match programs.run("sshd", &["-t"]) {
        Ran::Failed(reason) => {
            let put_back = dir.put_back(ssh::DROP_IN, LOOKS, before.as_deref());
            let restored = put_back.and_then(|()| dir.sync());
            let restored = restored.err().map(|error| format!("; not restored: {}", chain(&error)));
            return Report::failed(format!(
                "sshd refuses it: {reason}{}",
                restored.unwrap_or_default()
            ));
        }
        Ran::Missing | Ran::Done => {}
    }
    let mut report = Report::default();
    if let Some(reason) = reload(programs) {
        report.failures.insert("sshd".to_owned(), format!("cannot reload sshd: {reason}"));
    }
    report
}

/// The unit is `ssh` on Debian and `sshd` elsewhere; where neither runs, the next start reads it.
fn reload(programs: Programs) -> Option<String> {
    let mut reason = None;
    for unit in ["ssh.service", "sshd.service"] {
        match programs.run("systemctl", &["is-active", "--quiet", unit]) {
            Ran::Done => {}
            Ran::Failed(_) | Ran::Missing => continue,
        }
        match programs.run("systemctl", &["reload", unit]) {
            Ran::Done => return None,
            Ran::Failed(failure) => reason = Some(failure),
            Ran::Missing => {}
        }
    }
    reason
}
