//! The labels that a host judges selectors by: root-owned files and a closed list of local facts.
//! Never from the controller, DHCP or cloud metadata.

use std::{fs, io, path::Path};

use muster_proto::{receipt::Finding, selector::Labels};

use crate::host::state::{self, StateError};

/// Where an administrator of the host writes `key=value` lines.
pub const DIRECTORY: &str = "/etc/muster/labels.d";

/// Reads labels and facts; a line that is not a label is reported, and the others count.
pub fn load(root: &Path) -> Result<(Labels, Vec<Finding>), StateError> {
    let mut labels = Labels::default();
    let mut findings = Vec::new();
    let mut insert = |key: &str, value: &str, place: &str| {
        if let Err(fault) = labels.insert(key, value) {
            let detail = format!("in `{place}`: {fault}");
            findings.push(Finding { kind: "label".into(), subject: key.into(), detail });
        }
    };
    let directory = root.join(DIRECTORY.trim_start_matches('/'));
    let names = if directory.is_dir() { state::names(&directory)? } else { Vec::new() };
    for name in names.iter().filter(|name| !name.starts_with('.') && !name.ends_with('~')) {
        let path = directory.join(name);
        let text = text(&path)?;
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            if key.trim().starts_with("muster/") {
                insert("", "", &path.display().to_string());
            } else {
                insert(key.trim(), value.trim(), &path.display().to_string());
            }
        }
    }
    let release = text(&root.join("etc/os-release"))?;
    let field = |wanted: &str| {
        release.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key == wanted).then(|| value.trim_matches('"').to_owned())
        })
    };
    if let Some(os) = field("ID") {
        insert("muster/os", &os, "/etc/os-release");
    }
    if let Some(version) = field("VERSION_ID") {
        insert("muster/os-version", &version, "/etc/os-release");
    }
    insert("muster/arch", std::env::consts::ARCH, "the program itself");
    let hostname = text(&root.join("etc/hostname"))?;
    if !hostname.trim().is_empty() {
        insert("muster/hostname", hostname.trim(), "/etc/hostname");
    }
    Ok((labels, findings))
}

/// Reads a file of root's; `/etc/os-release` is a link on most systems (os-release(5)).
fn text(path: &Path) -> Result<String, StateError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(cause) => Err(StateError::Read { path: path.to_owned(), cause }),
    }
}
