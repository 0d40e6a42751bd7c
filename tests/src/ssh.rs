//! Logging in to hosts with the real `ssh`, from where the lab's clients are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::command::{self, Output};
use crate::holder::Holder;
use crate::{Running, command::ok};

/// What every login has in common: nothing of the user who runs the tests has a part in it.
const OPTIONS: [&str; 8] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "GlobalKnownHostsFile=/dev/null",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "ConnectTimeout=5",
    "LogLevel=ERROR",
];

/// A token's PIN is asked for in batch mode too, and never of whoever runs the tests.
const NOBODY_TO_ASK: [&str; 3] = ["env", "SSH_ASKPASS=/bin/true", "SSH_ASKPASS_REQUIRE=force"];

/// A login to be made. Without a command it is a shell that reads its standard input.
#[derive(Debug, Clone)]
pub struct Ssh {
    holder: Holder,
    words: Vec<String>,
    target: String,
    command: Option<String>,
}

impl Ssh {
    pub(crate) fn new(holder: &Holder, host: &str, login: &str, key: &Path) -> Self {
        let words = [&NOBODY_TO_ASK[..], &["ssh", "-F", "/dev/null"]].concat();
        let mut words: Vec<String> = words.iter().map(ToString::to_string).collect();
        words.extend(["-i".to_owned(), key.display().to_string()]);
        let target = format!("{login}@{host}");
        let ssh = Self { holder: holder.clone(), words, target, command: None };
        OPTIONS.iter().fold(ssh, |ssh, option| ssh.option(option))
    }

    /// Adds an option of `ssh_config(5)`, such as `CertificateFile=…`. The first of a name counts,
    /// and the lab's own come first.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.words.extend(["-o".to_owned(), option.to_owned()]);
        self
    }

    /// Asks for a terminal in the host even though there is none here.
    #[must_use]
    pub fn terminal(mut self) -> Self {
        self.words.push("-tt".to_owned());
        self
    }

    /// Sets what the login's shell is to run.
    #[must_use]
    pub fn command(mut self, command: &str) -> Self {
        self.command = Some(command.to_owned());
        self
    }

    /// Logs in, runs the command to its end and returns what it left; `ssh` itself exits with 255
    /// when there is no login.
    pub fn run(&self) -> anyhow::Result<Output> {
        command::run(self.to_command())
    }

    /// Logs in, runs the command and returns its standard output; fails unless it exits with 0.
    pub fn run_ok(&self) -> anyhow::Result<String> {
        command::ok(self.to_command())
    }

    /// Logs in and lets the session stay open.
    pub fn spawn(&self) -> anyhow::Result<Running> {
        Running::start(self.to_command())
    }

    /// Returns the command that logs in, yet to be started.
    pub fn to_command(&self) -> Command {
        let mut words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        words.extend(["--", &self.target]);
        words.extend(self.command.as_deref());
        self.holder.command(&words)
    }
}

/// A pair of keys for logging in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The file with the private key.
    pub private: PathBuf,
    /// The public key as a line of `authorized_keys`, without the line's end.
    pub public: String,
}

impl KeyPair {
    pub(crate) fn generate(folder: &Path, name: &str, kind: &str) -> anyhow::Result<Self> {
        Self::generate_with(folder, name, kind, &[])
    }

    /// Does it with further words for `ssh-keygen`.
    pub(crate) fn generate_with(
        folder: &Path,
        name: &str,
        kind: &str,
        words: &[&str],
    ) -> anyhow::Result<Self> {
        let private = folder.join(name);
        let mut keygen = command::command(&["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name]);
        keygen.args(words).arg("-f").arg(&private);
        ok(keygen)?;
        let path = folder.join(format!("{name}.pub"));
        let public = fs::read_to_string(&path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(Self { private, public: public.trim_end().to_owned() })
    }
}
