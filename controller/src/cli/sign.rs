//! Signs with the SSH key that a person has, by OpenSSH's own programs. Muster never reads her
//! private key: ssh-keygen does, or asks the agent or the hardware that holds it.
#![allow(clippy::disallowed_types, reason = "ssh-keygen is the one program that the tool runs")]

use std::{
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use muster_proto::{
    envelope::{Envelope, Signature},
    key::SshPublicKey,
    name::ObjectName,
    trust::TrustRoot,
};

use super::output;

/// A person's key, named by its private or public file.
#[derive(Clone, Debug)]
pub struct PersonKey {
    /// What ssh-keygen is given.
    pub path: PathBuf,
    /// The public half.
    pub public: SshPublicKey,
}

impl PersonKey {
    /// Finds the public half beside the private one.
    pub fn load(path: &Path) -> Result<Self> {
        let public = if path.extension().is_some_and(|end| end == "pub") {
            path.to_owned()
        } else {
            PathBuf::from(format!("{}.pub", path.display()))
        };
        let text = std::fs::read_to_string(&public)
            .with_context(|| format!("cannot read your public key `{}`", public.display()))?;
        let (key, _) = SshPublicKey::parse(text.trim())
            .with_context(|| format!("cannot use your public key `{}`", public.display()))?;
        Ok(Self { path: path.to_owned(), public: key })
    }

    /// Returns whose key it is, by the trust root.
    pub fn owner(&self, trust: &TrustRoot) -> Result<ObjectName> {
        let mut people = trust.people.iter();
        let owner = people.find(|(_, keys)| keys.contains_key(&self.public));
        let (name, _) = owner.with_context(|| {
            format!("trust root {} does not name your key `{}`", trust.version, self.path.display())
        })?;
        Ok(name.clone())
    }

    /// Adds this person's signature to an envelope.
    pub fn sign(&self, envelope: &mut Envelope) -> Result<()> {
        self.sign_by(Command::new(PROGRAM), envelope)
    }

    fn sign_by(&self, mut command: Command, envelope: &mut Envelope) -> Result<()> {
        command.args(["-q", "-Y", "sign", "-n", envelope.payload_type(), "-f"]).arg(&self.path);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context(NOT_THERE)?;
        let stdin = child.stdin.take();
        let handed = stdin.map_or(Ok(()), |mut stdin| stdin.write_all(&envelope.message()));
        let output = child.wait_with_output().context("cannot wait for ssh-keygen")?;
        // It says itself why it cannot, and then may not have read what it was handed.
        if !output.status.success() {
            bail!("ssh-keygen could not sign with `{}`", self.path.display());
        }
        handed.context("cannot hand ssh-keygen what is to be signed")?;
        let armoured = String::from_utf8_lossy(&output.stdout);
        let bytes = muster_proto::crypto::parse_sshsig(&armoured)
            .context("ssh-keygen made a signature that is not understood")?;
        envelope.add(Signature { key: self.public.fingerprint(), bytes });
        Ok(())
    }
}

const PROGRAM: &str = "ssh-keygen";
const NOT_THERE: &str = "cannot run ssh-keygen; install the openssh-client package";

/// Makes an Ed25519 key pair. A passphrase is handed over through an askpass program in a directory
/// of our own, never on a command line that others can see.
pub fn generate(path: &Path, comment: &str, passphrase: Option<&str>) -> Result<PersonKey> {
    let mut command = Command::new(PROGRAM);
    command.args(["-q", "-t", "ed25519", "-C", comment, "-f"]).arg(path);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let askpass = match passphrase {
        None => {
            command.args(["-N", ""]);
            None
        }
        Some(passphrase) => Some(Askpass::lay(&mut command, path, passphrase)?),
    };
    let status = command.status().context(NOT_THERE);
    drop(askpass);
    if !status?.success() {
        bail!("ssh-keygen could not make the key `{}`", path.display());
    }
    PersonKey::load(path)
}

/// Signs with a key that a passphrase seals.
pub fn sign_sealed(key: &PersonKey, passphrase: &str, envelope: &mut Envelope) -> Result<()> {
    let mut command = Command::new(PROGRAM);
    let _askpass = Askpass::lay(&mut command, &key.path, passphrase)?;
    key.sign_by(command, envelope)
}

/// A passphrase on its way to ssh-keygen, in a directory of our own that goes when this does,
/// whatever has failed.
#[derive(Debug)]
struct Askpass {
    directory: PathBuf,
}

impl Askpass {
    fn lay(command: &mut Command, key: &Path, passphrase: &str) -> Result<Self> {
        let directory = PathBuf::from(format!("{}.askpass", key.display()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .with_context(|| format!("cannot make `{}`", directory.display()))?;
        let this = Self { directory };
        this.put("passphrase", passphrase, 0o600)?;
        let script = "#!/bin/sh\nexec cat \"${0%/*}/passphrase\"\n";
        let script = this.put("askpass", script, 0o700)?;
        command.env("SSH_ASKPASS", script).env("SSH_ASKPASS_REQUIRE", "force").env("DISPLAY", ":0");
        Ok(this)
    }

    fn put(&self, name: &str, content: &str, mode: u32) -> Result<PathBuf> {
        let path = self.directory.join(name);
        let write = || {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(mode).open(&path)?;
            file.write_all(content.as_bytes())
        };
        write().with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(path)
    }
}

impl Drop for Askpass {
    fn drop(&mut self) {
        let path = self.directory.display();
        match std::fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != ErrorKind::NotFound => output::say(&format!(
                "warning: a passphrase is still in `{path}`, remove it yourself: {error}"
            )),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::{id::Id, link::Revocation, name::Line, time::Timestamp};

    use super::*;

    fn document() -> Envelope {
        let lineage = muster_proto::crypto::sha256(&[b"a fleet"]);
        Envelope::new(&Revocation {
            lineage,
            id: Id::Object([1; 16]),
            time: Timestamp(1),
            reason: Line::parse("").unwrap(),
            target: muster_proto::link::Target::Key(lineage),
        })
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn no_passphrase_is_left_on_disk_whether_signing_works_or_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recovery");
        let key = generate(&path, "recovery", Some("a long and boring passphrase")).unwrap();
        assert_eq!(names(dir.path()), ["recovery", "recovery.pub"]);
        let mut envelope = document();
        sign_sealed(&key, "a long and boring passphrase", &mut envelope).unwrap();
        assert_eq!(envelope.signatures().len(), 1);
        assert_eq!(names(dir.path()), ["recovery", "recovery.pub"]);
        let mut envelope = document();
        let error = sign_sealed(&key, "another", &mut envelope).unwrap_err();
        assert!(error.to_string().contains("could not sign with"), "{error:#}");
        assert!(envelope.signatures().is_empty());
        assert_eq!(names(dir.path()), ["recovery", "recovery.pub"]);
        let none = dir.path().join("none/key");
        assert!(generate(&none, "", Some("a long and boring passphrase")).is_err());
    }

    #[test]
    fn a_passphrase_that_is_handed_over_half_way_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let mut command = Command::new(PROGRAM);
        let laid = Askpass::lay(&mut command, &path, "a long and boring passphrase").unwrap();
        assert_eq!(names(&laid.directory), ["askpass", "passphrase"]);
        // The program's place is taken: this fails with the passphrase on disk.
        assert!(laid.put("askpass", "", 0o700).is_err());
        drop(laid);
        assert!(names(dir.path()).is_empty());
    }
}
