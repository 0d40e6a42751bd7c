//! What changes a directory: new content under a random name, its owner and mode before its real
//! name, the real name by rename.

use std::{ffi::OsStr, fs::File, io::Write, os::fd::AsFd, sync::Arc};

use nix::{
    errno::Errno,
    fcntl::{self, AtFlags, OFlag},
    sys::stat::{self, Mode},
    unistd::{self, Gid, LinkatFlags, Uid, UnlinkatFlags},
};

use super::{Dir, FileError, LEFTOVER, Looks, Temp, is_directory, is_regular, random, system};

impl Dir {
    /// Writes a file under a random name, with its owner and mode.
    pub fn write_temp(&self, name: &str, looks: Looks, bytes: &[u8]) -> Result<Temp, FileError> {
        let temp = format!("{LEFTOVER}{name}.{}", random());
        let mut file = self.create(&temp)?;
        let written = file.write_all(bytes).map_err(|error| self.failed("write", &temp, &error));
        let done = written.and_then(|()| set_looks(&file, looks, || self.show(&temp)));
        match done {
            Ok(()) => Ok(Temp { name: temp, file }),
            Err(error) => {
                // The first error is the one that matters.
                let _ = self.remove(&temp);
                Err(error)
            }
        }
    }

    /// Writes a file under its own name, in a directory that nobody else sees.
    pub fn write_new(&self, name: &OsStr, looks: Looks, bytes: &[u8]) -> Result<(), FileError> {
        let shown = name.to_string_lossy();
        let mut file = self.create(name)?;
        file.write_all(bytes).map_err(|error| self.failed("write", &shown, &error))?;
        set_looks(&file, looks, || self.show(&shown))
    }

    /// Writes to a file of the kernel's.
    pub fn write_control(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.faults.pass("control")?;
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = fcntl::openat(&*self.fd, name, flags, Mode::empty())
            .map_err(|source| system("open", self.show(name), source))?;
        unistd::write(&fd, bytes)
            .map(drop)
            .map_err(|source| system("write", self.show(name), source))
    }

    fn create(&self, name: impl AsRef<OsStr>) -> Result<File, FileError> {
        let name = name.as_ref();
        self.faults.pass("create")?;
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        fcntl::openat(&*self.fd, name, flags, Mode::from_bits_truncate(0o600))
            .map(File::from)
            .map_err(|source| system("create", self.show(&name.to_string_lossy()), source))
    }

    /// Makes a directory that is root's alone and opens it.
    pub fn make(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<Self, FileError> {
        let name = name.as_ref();
        self.faults.pass("make")?;
        let shown = self.show(&name.to_string_lossy());
        stat::mkdirat(&*self.fd, name, Mode::from_bits_truncate(mode))
            .map_err(|source| system("make", shown.clone(), source))?;
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = fcntl::openat(&*self.fd, name, flags, Mode::empty())
            .map_err(|source| system("open", shown.clone(), source))?;
        Ok(Self { fd: Arc::new(fd), path: shown, ..self.clone() })
    }

    /// Makes a symbolic link.
    pub fn link_symbolic(
        &self,
        name: &OsStr,
        target: &OsStr,
        looks: Looks,
    ) -> Result<(), FileError> {
        let failed = |source| system("link", self.show(&name.to_string_lossy()), source);
        unistd::symlinkat(target, &*self.fd, name).map_err(failed)?;
        let (uid, gid) = (Uid::from_raw(looks.uid), Gid::from_raw(looks.gid));
        unistd::fchownat(&*self.fd, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(failed)
    }

    /// Makes a second name for a file.
    pub fn link(&self, from: &str, to: &str) -> Result<(), FileError> {
        self.faults.pass("link")?;
        unistd::linkat(&*self.fd, from, &*self.fd, to, LinkatFlags::empty())
            .map_err(|source| system("link", self.show(to), source))
    }

    /// Gives an entry another name, here or in another directory of the same file system.
    pub fn rename(
        &self,
        from: impl AsRef<OsStr>,
        to_dir: &Self,
        to: &str,
    ) -> Result<(), FileError> {
        self.faults.pass(&format!("before {to}"))?;
        fcntl::renameat(&*self.fd, from.as_ref(), &*to_dir.fd, to)
            .map_err(|source| system("rename", to_dir.show(to), source))?;
        self.faults.pass(&format!("after {to}"))
    }

    /// Makes a file what it was before: with this text, or not there. Durable once the directory is
    /// synced.
    pub fn put_back(
        &self,
        name: &str,
        looks: Looks,
        before: Option<&[u8]>,
    ) -> Result<(), FileError> {
        let Some(text) = before else { return self.remove(name) };
        let temp = self.write_temp(name, looks, text)?;
        self.rename(&temp.name, self, name)
    }

    /// Removes a file; one that is missing is fine.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> Result<(), FileError> {
        let name = name.as_ref();
        let shown = name.to_string_lossy();
        self.faults.pass(&format!("remove {shown}"))?;
        match unistd::unlinkat(&*self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(source) => Err(system("remove", self.show(&shown), source)),
        }
    }

    /// Removes a directory in which nothing is left.
    pub fn remove_empty(&self, name: &OsStr) -> Result<(), FileError> {
        self.faults.pass("remove tree")?;
        unistd::unlinkat(&*self.fd, name, UnlinkatFlags::RemoveDir)
            .map_err(|source| system("remove", self.show(&name.to_string_lossy()), source))
    }

    /// Removes a directory and all below, through no link.
    pub fn remove_tree(&self, name: &str) -> Result<(), FileError> {
        let Some(dir) = self.walk(name)? else { return Ok(()) };
        for entry in dir.names()? {
            let found = dir.stat(&entry)?;
            let below = found.as_ref().is_some_and(is_directory);
            if below { dir.remove_tree(&entry)? } else { dir.remove(&entry)? }
        }
        self.remove_empty(name.as_ref())
    }

    /// Removes what an earlier life left unfinished here.
    pub fn remove_leftovers(&self) -> Result<(), FileError> {
        for name in self.names()?.iter().filter(|name| name.starts_with(LEFTOVER)) {
            let found = self.stat(name)?;
            if found.is_some_and(|found| found.st_uid == 0 && is_regular(&found)) {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    /// Makes the names in here durable.
    pub fn sync(&self) -> Result<(), FileError> {
        self.faults.pass("sync")?;
        unistd::fsync(&*self.fd).map_err(|source| system("sync", self.path.clone(), source))
    }

    /// Gives the directory itself to somebody.
    pub fn set_looks(&self, looks: Looks) -> Result<(), FileError> {
        set_looks(&*self.fd, looks, || self.path.clone())
    }
}

/// Makes everything durable that was written on the file systems of these directories: one call
/// for each file system, however many files.
pub fn sync_file_systems(dirs: &[Dir]) -> Result<(), FileError> {
    let mut synced: Vec<u64> = Vec::new();
    for dir in dirs {
        let device = dir.stat_self()?.st_dev;
        if !synced.contains(&device) {
            dir.faults.pass("sync")?;
            unistd::syncfs(&*dir.fd).map_err(|source| system("sync", dir.path.clone(), source))?;
            synced.push(device);
        }
    }
    Ok(())
}

fn set_looks<Fd: AsFd>(fd: Fd, looks: Looks, path: impl Fn() -> String) -> Result<(), FileError> {
    let (uid, gid) = (Uid::from_raw(looks.uid), Gid::from_raw(looks.gid));
    unistd::fchown(&fd, Some(uid), Some(gid)).map_err(|source| system("chown", path(), source))?;
    stat::fchmod(&fd, Mode::from_bits_truncate(looks.mode))
        .map_err(|source| system("chmod", path(), source))
}
