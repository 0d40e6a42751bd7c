//! Other programs: by absolute path from directories of root's, without a shell, with an empty
//! environment, no input, and a time after which they are killed.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the one place that runs programs, each for a bounded time"
)]

use std::{
    fs::File,
    io::{Read, Seek},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::memfd::{MFdFlags, memfd_create};

const DIRECTORIES: &[&str] = &["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const PATIENCE: Duration = Duration::from_secs(10);
const MOST_OUTPUT: u64 = 16 << 20;

/// Whether programs may be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Programs {
    /// Those of the system.
    System,
    /// None: this root is not the running system's.
    None,
}

/// How a program went.
#[derive(Debug)]
pub(super) enum Ran {
    /// It succeeded with this output.
    Done,
    /// It did not, for this reason.
    Failed(String),
    /// There is no such program.
    Missing,
}

/// The status and the output of a program that ended by itself.
pub(super) type Ended = (i32, String);

impl Programs {
    /// Runs a program that succeeds with status 0.
    pub(super) fn run(self, name: &str, arguments: &[&str]) -> Ran {
        match self.status(name, arguments) {
            None => Ran::Missing,
            Some(Ok((0, _))) => Ran::Done,
            Some(Ok((status, output))) => {
                let last = output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
                let shown: String = last.chars().filter(|c| !c.is_control()).take(200).collect();
                Ran::Failed(format!("status {status}: {shown}"))
            }
            Some(Err(reason)) => Ran::Failed(reason),
        }
    }

    /// Returns where a program is; nothing if there is none.
    pub(super) fn path(self, name: &str) -> Option<String> {
        if self == Self::None {
            return None;
        }
        DIRECTORIES
            .iter()
            .map(|directory| format!("{directory}/{name}"))
            .find(|path| std::fs::metadata(path).is_ok_and(|found| found.is_file()))
    }

    /// Runs a program; nothing if there is none.
    pub(super) fn status(self, name: &str, arguments: &[&str]) -> Option<Result<Ended, String>> {
        let path = self.path(name)?;
        Some(run(&path, arguments).map_err(|error| format!("cannot run `{path}`: {error}")))
    }
}

fn run(path: &str, arguments: &[&str]) -> std::io::Result<Ended> {
    // A file in memory, so that a long answer cannot block the program that nobody reads yet.
    let output = File::from(memfd_create("output", MFdFlags::MFD_CLOEXEC)?);
    let mut child = Command::new(path)
        .args(arguments)
        .env_clear()
        .env("PATH", DIRECTORIES.join(":"))
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .spawn()?;
    let started = Instant::now();
    let mut pause = Duration::from_micros(500);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    };
    let mut output = output;
    output.rewind()?;
    let mut text = Vec::new();
    output.take(MOST_OUTPUT + 1).read_to_end(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MOST_OUTPUT) {
        // A part of an answer would read as if the rest were not so.
        let told = format!("it says more than {MOST_OUTPUT} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, told));
    }
    Ok((status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_or_an_error() {
        let said = |bytes: u64| {
            let bytes = bytes.to_string();
            Programs::System.status("head", &["-c", &bytes, "/dev/zero"]).unwrap()
        };
        let (status, output) = said(MOST_OUTPUT).unwrap();
        assert_eq!((status, output.len()), (0, usize::try_from(MOST_OUTPUT).unwrap()));
        let error = said(MOST_OUTPUT + 1).unwrap_err();
        assert!(error.contains("/head`: it says more than"), "{error}");
    }
}
