//! The Unix groups whose members can become root: by sudo, by devices, by containers, by reading
//! hashes. Losing one ends sessions, and a lock removes every one of them.

const ROOT_EQUIVALENT: &[&str] = &[
    "root",
    "sudo",
    "wheel",
    "admin",
    "adm",
    "docker",
    "lxd",
    "incus",
    "incus-admin",
    "disk",
    "shadow",
    "kmem",
    "kvm",
    "libvirt",
    "libvirt-qemu",
    "libvirtd",
    "podman",
    "systemd-journal",
    "staff",
    "src",
    "sys",
    "bin",
    "daemon",
    "operator",
];

/// Says whether membership in a Unix group is as good as being root.
pub fn is_root_equivalent(unix_group: &str) -> bool {
    ROOT_EQUIVALENT.contains(&unix_group)
}
