//! The Unix groups whose members can become root without sudo. What a plan says of somebody before
//! it is signed and what a host takes away are the same list, so that neither knows one that the
//! other does not.

use crate::name::UnixGroupName;

/// Names, each with what its members can do. Base systems and common packages give these rights;
/// Debian's base-passwd documents `adm`, `staff`, `src` and `operator`.
const ROOT_EQUIVALENT: &[(&str, &str)] = &[
    ("root", "writes what root's own Unix group may write"),
    ("sudo", "may run anything as root by the system's own sudoers"),
    ("wheel", "may run anything as root by the system's own sudoers"),
    ("admin", "may run anything as root by old sudoers of Ubuntu's"),
    ("adm", "reads every log, and what was typed into a wrong field with it"),
    ("docker", "starts a container that has the host's file system"),
    ("lxd", "starts a container that has the host's file system"),
    ("incus", "starts a container that has the host's file system"),
    ("incus-admin", "starts a container that has the host's file system"),
    ("podman", "talks to a socket that starts containers as root"),
    ("disk", "reads and writes the disks themselves"),
    ("shadow", "reads every password's hash"),
    ("kmem", "reads the kernel's memory"),
    ("kvm", "gives a virtual machine devices of the host's"),
    ("libvirt", "gives a virtual machine disks of the host's"),
    ("libvirtd", "gives a virtual machine disks of the host's"),
    ("libvirt-qemu", "writes the disks of virtual machines"),
    ("systemd-journal", "reads every unit's log, and what was typed into a wrong field with it"),
    ("staff", "writes /usr/local, from which root runs programs"),
    ("src", "writes the sources that root builds"),
    ("sys", "owns devices and files of old systems"),
    ("bin", "owns programs of old systems"),
    ("daemon", "owns files that root's daemons trust"),
    ("operator", "reads the disks themselves, for backups"),
];

/// Returns why membership in a Unix group of this name is as good as being root, if it is. The name
/// is one that a host has, of whatever form.
pub fn root_equivalence(unix_group: &str) -> Option<&'static str> {
    ROOT_EQUIVALENT.iter().find(|(name, _)| *name == unix_group).map(|(_, why)| *why)
}

/// Says whether membership in a Unix group of this name is as good as being root.
pub fn is_root_equivalent(unix_group: &str) -> bool {
    root_equivalence(unix_group).is_some()
}

impl UnixGroupName {
    /// Says whether membership is as good as being root.
    pub fn is_root_equivalent(&self) -> bool {
        is_root_equivalent(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_on_the_list_stands_there_once_with_a_reason_and_can_be_named() {
        for (name, why) in ROOT_EQUIVALENT {
            assert_eq!(root_equivalence(name), Some(*why), "{name}");
            assert!(!why.is_empty(), "{name}");
            assert!(UnixGroupName::parse(name).unwrap().is_root_equivalent(), "{name}");
        }
        for harmless in ["postgres", "users", "dockers", "Docker", ""] {
            assert_eq!(root_equivalence(harmless), None, "{harmless}");
        }
    }
}
