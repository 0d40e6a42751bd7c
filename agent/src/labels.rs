//! The labels that a host judges selectors by: root-owned files and a closed list of local facts.
//! Never from the controller, DHCP or cloud metadata.

use std::{collections::BTreeMap, io, path::Path};

use muster_proto::{
    receipt::{Finding, FindingKind},
    selector::{self, Labels},
};

use crate::host::{
    chain,
    state::{self, StateError},
};

/// Where an administrator of the host writes `key=value` lines.
pub const DIRECTORY: &str = "/etc/muster/labels.d";
/// What begins the names of facts, which no file can set.
const FACTS: &str = "muster/";

/// The labels that hold on this host, and what is wrong with how they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostLabels {
    /// What selectors are judged by.
    pub labels: Labels,
    /// What is to be reported.
    pub findings: Vec<Finding>,
}

impl HostLabels {
    /// Reads labels and facts below a root.
    pub fn load(root: &Path) -> Result<Self, StateError> {
        let (labels, findings) = load(root)?;
        Ok(Self { labels, findings })
    }

    /// Reads them again, and says whether they or what is wrong with them has changed. Where that
    /// fails those from before hold, and a finding says so: a host without its labels would take
    /// everybody's access away.
    pub fn reload(&mut self, root: &Path) -> bool {
        let before = self.clone();
        match Self::load(root) {
            Ok(now) => *self = now,
            Err(error) => {
                let detail = format!("{}: those from before hold", chain(&error));
                let subject = "labels".to_owned();
                let finding = Finding { kind: FindingKind::Label.into(), subject, detail };
                if self.findings != [finding.clone()] {
                    tracing::error!(error = %chain(&error), "cannot read the labels again");
                    self.findings = vec![finding];
                }
            }
        }
        *self != before
    }
}

/// Labels as they are gathered, with where each was said.
#[derive(Default)]
struct Gathered {
    labels: Labels,
    places: BTreeMap<String, String>,
    findings: Vec<Finding>,
}

/// Reads labels and facts; a line that is not a label is reported, and the others count.
fn load(root: &Path) -> Result<(Labels, Vec<Finding>), StateError> {
    let mut gathered = Gathered::default();
    let directory = root.join(DIRECTORY.trim_start_matches('/'));
    let names = match state::names(&directory) {
        Err(StateError::Read { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
            Vec::new()
        }
        other => other?,
    };
    for name in names.iter().filter(|name| !name.starts_with('.') && !name.ends_with('~')) {
        let path = directory.join(name);
        let place = path.display().to_string();
        match state::read_text_of_root(&path)? {
            Ok(text) => gathered.read(&text, &place),
            Err(fault) => {
                gathered.find(name, format!("`{place}` {fault}: what it says does not count"));
            }
        }
    }
    // A link on most systems (os-release(5)), into what the distribution ships.
    let release = state::read_text(&root.join("etc/os-release"))?;
    let field = |wanted: &str| {
        release.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key == wanted).then(|| value.trim_matches('"').to_owned())
        })
    };
    if let Some(os) = field("ID") {
        gathered.insert("muster/os", &os, "/etc/os-release");
    }
    if let Some(version) = field("VERSION_ID") {
        gathered.insert("muster/os-version", &version, "/etc/os-release");
    }
    gathered.insert("muster/arch", std::env::consts::ARCH, "the program itself");
    let hostname = state::read_text(&root.join("etc/hostname"))?;
    if !hostname.trim().is_empty() {
        gathered.insert(selector::HOSTNAME, hostname.trim(), "/etc/hostname");
    }
    Ok((gathered.labels, gathered.findings))
}

impl Gathered {
    fn read(&mut self, text: &str, place: &str) {
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let (key, value) = (key.trim(), value.trim());
            if key.starts_with(FACTS) {
                self.find(key, format!("in `{place}`: a fact, which no file can set"));
                continue;
            }
            if let Some(before) = self.places.get(key).filter(|before| *before != place) {
                self.find(key, format!("in `{before}` and again in `{place}`, which counts"));
            }
            self.insert(key, value, place);
        }
    }

    fn insert(&mut self, key: &str, value: &str, place: &str) {
        match self.labels.insert(key, value) {
            Ok(()) => drop(self.places.insert(key.to_owned(), place.to_owned())),
            Err(fault) => self.find(key, format!("in `{place}`: {fault}")),
        }
    }

    fn find(&mut self, subject: &str, detail: String) {
        let subject = subject.chars().take(64).collect();
        self.findings.push(Finding { kind: FindingKind::Label.into(), subject, detail });
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("etc/muster/labels.d");
        std::fs::create_dir_all(&directory).unwrap();
        for (name, text) in files {
            let path = directory.join(name);
            state::replace(&path, text.as_bytes(), 0o644).unwrap();
        }
        root
    }

    fn loaded(root: &tempfile::TempDir) -> (String, Vec<String>) {
        let (labels, findings) = load(root.path()).unwrap();
        let own: Vec<String> = labels
            .iter()
            .filter(|(key, _)| !key.starts_with(FACTS))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        (own.join(","), findings.into_iter().map(|finding| finding.subject).collect())
    }

    #[test]
    fn a_label_that_two_files_set_is_reported_and_the_later_file_counts() {
        let root = root(&[("10-a", "env=dev\ntier=db\n"), ("20-b", "# ours\n\nenv = prod\n")]);
        assert_eq!(loaded(&root), ("env=prod,tier=db".into(), vec!["env".into()]));
    }

    #[test]
    fn a_fact_and_a_line_that_is_no_label_are_reported_by_their_own_names() {
        let root = root(&[("10-a", "muster/os=plan9\na b=c\nenv=dev\n")]);
        assert_eq!(loaded(&root), ("env=dev".into(), vec!["muster/os".into(), "a b".into()]));
    }

    #[test]
    fn labels_that_cannot_be_read_again_stay_and_are_reported() {
        let root = root(&[("10-a", "env=prod\n")]);
        let directory = root.path().join("etc/muster/labels.d");
        let mut labels = HostLabels::load(root.path()).unwrap();
        let before = labels.labels.clone();
        assert!(!labels.reload(root.path()));

        std::fs::rename(&directory, root.path().join("aside")).unwrap();
        state::replace(&directory, b"no directory", 0o644).unwrap();
        assert!(labels.reload(root.path()), "what is wrong is news");
        assert!(!labels.reload(root.path()), "and once");
        assert_eq!(labels.labels, before);
        let [finding] = &labels.findings[..] else { panic!("{:?}", labels.findings) };
        assert!(finding.detail.contains("labels.d"), "{finding:?}");
        assert!(HostLabels::load(root.path()).is_err(), "and no host begins without them");

        // None at all is what the administrator says.
        state::remove(&directory).unwrap();
        assert!(labels.reload(root.path()));
        assert!(labels.labels.iter().all(|(key, _)| key.starts_with(FACTS)));
        assert_eq!(labels.findings, []);
    }

    #[test]
    fn a_file_that_others_can_write_or_that_is_a_link_does_not_count() {
        let root = root(&[("10-a", "env=dev\n"), ("20-b", "tier=db\n")]);
        let directory = root.path().join("etc/muster/labels.d");
        let mode = std::fs::Permissions::from_mode(0o664);
        std::fs::set_permissions(directory.join("10-a"), mode).unwrap();
        symlink("20-b", directory.join("30-c")).unwrap();
        assert_eq!(loaded(&root), ("tier=db".into(), vec!["10-a".into(), "30-c".into()]));
    }
}
