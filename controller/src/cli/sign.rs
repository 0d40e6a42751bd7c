//! Signs with the SSH key that a person has, by OpenSSH's own programs. Muster never reads her
//! private key: ssh-keygen does, or asks the agent or the hardware that holds it.
#![allow(clippy::disallowed_types, reason = "ssh-keygen is the one program that the tool runs")]

use std::{
    io::Write,
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
        let armoured = ssh_keygen_sign(&self.path, envelope.payload_type(), &envelope.message())?;
        let bytes = muster_proto::crypto::parse_sshsig(&armoured)
            .context("ssh-keygen made a signature that is not understood")?;
        envelope.add(Signature { key: self.public.fingerprint(), bytes });
        Ok(())
    }
}

fn ssh_keygen_sign(key: &Path, namespace: &str, message: &[u8]) -> Result<String> {
    let mut child = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .context("cannot run ssh-keygen; install the openssh-client package")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(message).context("cannot hand ssh-keygen what is to be signed")?;
    }
    let output = child.wait_with_output().context("cannot wait for ssh-keygen")?;
    if !output.status.success() {
        bail!("ssh-keygen could not sign with `{}`", key.display());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Makes an Ed25519 key pair. A passphrase is handed over through an askpass program in a directory
/// of our own, never on a command line that others can see.
pub fn generate(path: &Path, comment: &str, passphrase: Option<&str>) -> Result<PersonKey> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-C", comment, "-f"]).arg(path);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    match passphrase {
        None => drop(command.args(["-N", ""])),
        Some(passphrase) => drop(askpass(&mut command, path, passphrase)?),
    }
    let status = command.status().context("cannot run ssh-keygen; install openssh-client");
    remove_askpass(path);
    if !status?.success() {
        bail!("ssh-keygen could not make the key `{}`", path.display());
    }
    PersonKey::load(path)
}

/// Signs with a key that a passphrase seals.
pub fn sign_sealed(key: &PersonKey, passphrase: &str, envelope: &mut Envelope) -> Result<()> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-Y", "sign", "-n", envelope.payload_type(), "-f"]).arg(&key.path);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    askpass(&mut command, &key.path, passphrase)?;
    let run = || -> Result<String> {
        let mut child = command.spawn().context("cannot run ssh-keygen")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&envelope.message())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("ssh-keygen could not sign with `{}`", key.path.display());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let mut run = run;
    let armoured = run();
    remove_askpass(&key.path);
    let bytes = muster_proto::crypto::parse_sshsig(&armoured?)
        .context("ssh-keygen made a signature that is not understood")?;
    envelope.add(Signature { key: key.public.fingerprint(), bytes });
    Ok(())
}

fn askpass_directory(key: &Path) -> PathBuf {
    PathBuf::from(format!("{}.askpass", key.display()))
}

fn askpass(command: &mut Command, key: &Path, passphrase: &str) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let directory = askpass_directory(key);
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&directory)
        .with_context(|| format!("cannot make `{}`", directory.display()))?;
    let put = |name: &str, content: &str, mode: u32| -> Result<PathBuf> {
        let path = directory.join(name);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(&path)?;
        file.write_all(content.as_bytes())?;
        Ok(path)
    };
    put("passphrase", passphrase, 0o600)?;
    let script = put("askpass", "#!/bin/sh\nexec cat \"${0%/*}/passphrase\"\n", 0o700)?;
    command.env("SSH_ASKPASS", script).env("SSH_ASKPASS_REQUIRE", "force").env("DISPLAY", ":0");
    Ok(())
}

fn remove_askpass(key: &Path) {
    let _ = std::fs::remove_dir_all(askpass_directory(key));
}
