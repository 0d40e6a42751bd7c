//! What a file carries beside owner and mode: its security label and its access list. A file that
//! replaces another gets what that one had, or the replacement fails: without its label a shadow file
//! is one that nobody may read, without its list one that somebody no longer may.

use std::fs::File;

use nix::errno::Errno;
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};

use super::files::{Dir, FileError};

const ATTRIBUTES: [&str; 2] = ["security.selinux", "system.posix_acl_access"];
/// No attribute is longer (`XATTR_SIZE_MAX` in xattr(7)).
const MOST_BYTES: usize = 64 << 10;

/// Gives a new file the labels and access lists of the one that it replaces.
pub(super) fn copy_security(from: &Dir, name: &str, to: &File) -> Result<(), FileError> {
    let Some(old) = from.open_file(name)? else { return Ok(()) };
    let failed = |doing, error: rustix::io::Errno| FileError::System {
        doing,
        path: from.show(name),
        source: Errno::from_raw(error.raw_os_error()),
    };
    for attribute in ATTRIBUTES {
        let value = read(&old, attribute).map_err(|error| failed("read the label of", error))?;
        if let Some(value) = value {
            fsetxattr(to, attribute, &value, XattrFlags::empty())
                .map_err(|error| failed("label", error))?;
        }
    }
    Ok(())
}

/// Returns an attribute; nothing where the file has none or the file system knows none.
fn read(file: &File, attribute: &str) -> Result<Option<Vec<u8>>, rustix::io::Errno> {
    let mut value = vec![0; 256];
    loop {
        match fgetxattr(file, attribute, value.as_mut_slice()) {
            Ok(length) => {
                value.truncate(length);
                return Ok(Some(value));
            }
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => return Ok(None),
            Err(rustix::io::Errno::RANGE) if value.len() < MOST_BYTES => {
                value.resize(value.len() * 4, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::OpenOptionsExt, sync::Arc};

    use super::*;
    use crate::host::files::Faults;

    const ACL: &str = "system.posix_acl_access";

    /// An access list as acl(5) has it and the kernel keeps it: its version, then of each entry tag,
    /// rights and number.
    fn acl(users: u32) -> Vec<u8> {
        let mut entries = vec![(0x01_u16, 6_u16, u32::MAX)];
        entries.extend((0..users).map(|user| (0x02, 4, 61_000 + user)));
        entries.extend([(0x04, 0, u32::MAX), (0x10, 4, u32::MAX), (0x20, 0, u32::MAX)]);
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, number) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(rights.to_le_bytes());
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn a_file_gets_the_access_list_of_the_one_that_it_replaces_however_long() {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let dir = Dir::open(folder.path(), Arc::new(Faults::none())).unwrap();
        for (name, list) in [("none", None), ("short", Some(acl(3))), ("long", Some(acl(2_000)))] {
            let old = File::create(folder.path().join(name)).unwrap();
            if let Some(list) = &list {
                fsetxattr(&old, ACL, list, XattrFlags::empty()).unwrap();
            }
            let new = File::create(folder.path().join("new")).unwrap();
            copy_security(&dir, name, &new).unwrap();
            assert_eq!(read(&new, ACL).unwrap(), list, "{name}");
            fs::remove_file(folder.path().join("new")).unwrap();
        }
    }

    #[test]
    fn a_label_that_cannot_be_read_is_an_error_and_not_none() {
        let folder = tempfile::tempdir().unwrap();
        // One that is only named and not open for anything (open(2), O_PATH).
        let flags = nix::libc::O_PATH | nix::libc::O_DIRECTORY;
        let named = fs::OpenOptions::new().read(true).custom_flags(flags).open(folder.path());
        assert_eq!(read(&named.unwrap(), ACL), Err(rustix::io::Errno::BADF));
    }
}
