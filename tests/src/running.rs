//! A command that is still running: an open session, a daemon, something that follows a log.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::{Output, command, process, wait};

/// A running command, which is ended when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Stream,
    stderr: Stream,
}

/// One output of the command, read as it comes by a thread of its own.
#[derive(Debug)]
struct Stream {
    seen: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts `command`, keeping a pipe to its standard input open.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command::apart(&mut command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let stdout = Stream::of(child.stdout.take());
        let stderr = Stream::of(child.stderr.take());
        Ok(Self { child, stdout, stderr })
    }

    /// Returns what the command has printed to its standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Returns what the command has printed to its standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits for a whole line with `text` in it on standard output, and returns the first one.
    pub fn wait_for_line(&mut self, within: Duration, text: &str) -> anyhow::Result<String> {
        let found = wait::until(within, &format!("a line with `{text}`"), || {
            // In this order: what a command has printed before it ended still counts.
            let ended = !self.is_running();
            let line = self.stdout.line_with(text, ended);
            if line.is_none() && !ended { None } else { Some(line) }
        });
        match found {
            Ok(Some(line)) => Ok(line),
            Ok(None) => bail!("the command ended without a line with `{text}`\n{}", self.said()),
            Err(error) => Err(error.context(self.said())),
        }
    }

    /// Writes `bytes` to the command's standard input.
    pub fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let pipe = self.child.stdin.as_mut().context("standard input is closed")?;
        pipe.write_all(bytes).context("cannot write to the command")
    }

    /// Closes the command's standard input.
    pub fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    /// Tells whether the command is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the command to end by itself.
    pub fn finish(&mut self, within: Duration) -> anyhow::Result<Output> {
        wait::until(within, "the command to end", || (!self.is_running()).then_some(()))
            .map_err(|error| error.context(self.said()))?;
        self.collect()
    }

    /// Ends the command, and returns what it has printed until then.
    pub fn stop(&mut self) -> anyhow::Result<Output> {
        if self.is_running() {
            process::kill_tree(self.child.id())?;
        }
        self.collect()
    }

    fn collect(&mut self) -> anyhow::Result<Output> {
        let status = self.child.wait().context("cannot wait for the command")?;
        Ok(Output::new(status, &self.stdout.read_to_end(), &self.stderr.read_to_end()))
    }

    fn said(&self) -> String {
        format!("--- stdout\n{}\n--- stderr\n{}", self.stdout(), self.stderr())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing to tell and nobody to tell it to: the lab's end takes whatever is left.
        let _ = self.stop();
    }
}

impl Stream {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reader = pipe.map(|mut pipe| {
            let seen = Arc::clone(&seen);
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    seen.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
                }
            })
        });
        Self { seen, reader }
    }

    fn text(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Returns the first line with `text` in it. A line is whole when it is ended, or when no more
    /// can come, which `to_end` says.
    fn line_with(&mut self, text: &str, to_end: bool) -> Option<String> {
        if to_end {
            self.read_to_end();
        }
        let seen = self.text();
        let whole = if to_end { seen.len() } else { seen.rfind('\n')? };
        seen.get(..whole)?.lines().find(|line| line.contains(text)).map(str::to_owned)
    }

    /// Reads until the command, and whoever else has the pipe, closes it.
    fn read_to_end(&mut self) -> Vec<u8> {
        if let Some(reader) = self.reader.take() {
            // A reader does not panic; if it did, what it has read would still be there.
            let _ = reader.join();
        }
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
