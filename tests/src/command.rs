//! Running a command to its end and keeping what it said.
//!
//! Every command has a limit of time, so that a test that hangs becomes a test that fails.

use std::fmt;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::process;

/// How long a command may take before it is ended and counted as failed.
const LIMIT: Duration = Duration::from_mins(2);

/// What a finished command has left: its exit status and all that it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit status; 128 and the signal's number for a command that a signal has ended, as in
    /// the shell.
    pub status: i32,
    /// Standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Standard error; bytes that are not UTF-8 are replaced.
    pub stderr: String,
}

impl Output {
    /// Tells whether the command exited with 0.
    pub fn success(&self) -> bool {
        self.status == 0
    }

    pub(crate) fn new(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Self {
        let signal = || 128 + status.signal().unwrap_or_default();
        Self {
            status: status.code().unwrap_or_else(signal),
            stdout: String::from_utf8_lossy(stdout).into_owned(),
            stderr: String::from_utf8_lossy(stderr).into_owned(),
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "status {}", self.status)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.trim().is_empty() {
                write!(formatter, "\n--- {name}\n{}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

/// Puts `command` into a process group of its own, so that one that signals its group, in a host's
/// namespaces or not, ends nobody else.
pub(crate) fn apart(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

/// Runs `command` with nothing on its standard input.
pub(crate) fn run(command: Command) -> anyhow::Result<Output> {
    run_with_stdin(command, b"")
}

/// Runs `command` with `stdin` on its standard input.
pub(crate) fn run_with_stdin(command: Command, stdin: &[u8]) -> anyhow::Result<Output> {
    let output = collect(command, stdin)?;
    Ok(Output::new(output.status, &output.stdout, &output.stderr))
}

/// Runs `command` and returns its standard output as it came; fails unless it exits with 0.
pub(crate) fn bytes_ok(command: Command) -> anyhow::Result<Vec<u8>> {
    let shown = show(&command);
    let output = collect(command, b"")?;
    check(&shown, &Output::new(output.status, &[], &output.stderr))?;
    Ok(output.stdout)
}

/// Runs `command` and returns its standard output; fails unless it exits with 0.
pub(crate) fn ok(command: Command) -> anyhow::Result<String> {
    ok_with_stdin(command, b"")
}

/// As [`ok`], with `stdin` on the command's standard input.
pub(crate) fn ok_with_stdin(command: Command, stdin: &[u8]) -> anyhow::Result<String> {
    let shown = show(&command);
    let output = run_with_stdin(command, stdin)?;
    check(&shown, &output)?;
    Ok(output.stdout)
}

/// Returns a command of this machine with its arguments.
pub(crate) fn command(words: &[&str]) -> Command {
    let (program, arguments) = words.split_first().unwrap_or((&"true", &[]));
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn check(shown: &str, output: &Output) -> anyhow::Result<()> {
    if output.success() {
        return Ok(());
    }
    bail!("`{shown}` failed: {output}");
}

fn show(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy()));
    words.join(" ")
}

fn collect(mut command: Command, stdin: &[u8]) -> anyhow::Result<std::process::Output> {
    let shown = show(&command);
    let mut child = apart(&mut command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{shown}`"))?;
    let pid = child.id();
    let pipe = child.stdin.take();
    let input = stdin.to_vec();
    // A thread for each direction: neither side may fill a pipe that nobody empties.
    thread::spawn(move || pipe.map_or(Ok(()), |mut pipe| pipe.write_all(&input)));
    let (sender, receiver) = mpsc::channel::<io::Result<std::process::Output>>();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(LIMIT) else {
        process::kill_tree(pid)?;
        bail!("`{shown}` was still running, or held its output open, after {LIMIT:?}");
    };
    output.with_context(|| format!("cannot wait for `{shown}`"))
}
