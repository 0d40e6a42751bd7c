//! `muster-lab`: a lab by hand, for the demo and for looking into a test that fails.

#![expect(clippy::disallowed_types, reason = "it runs commands in labs")]

use std::io::{self, Write};
use std::num::ParseIntError;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use muster_tests::{Host, Lab, Setup, Stay, wait};

/// Real Linux hosts on this machine, as many as you like. Needs root.
#[derive(Parser)]
#[command(name = "muster-lab")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Bring up a lab, which stays until it is taken down
    Up {
        lab: String,
        #[arg(required = true)]
        hosts: Vec<String>,
        /// The image of the hosts, by its name with `tests/prepare`
        #[arg(long, default_value = "bookworm")]
        image: String,
    },
    /// Bring up a lab that ends with this command, which ends with its standard input
    Hold {
        lab: String,
        #[arg(required = true)]
        hosts: Vec<String>,
    },
    /// Take down a lab and remove all that its hosts have written
    Down { lab: String },
    /// List the labs that are up, with their hosts and addresses
    List,
    /// Run a command as root in a host
    Exec {
        lab: String,
        host: String,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Run a command of this machine on the lab's network, where hosts know it as `controller`
    Run {
        lab: String,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Open a root shell in a host
    Shell { lab: String, host: String },
    /// Log in to a host over ssh
    Ssh {
        lab: String,
        host: String,
        login: String,
        /// The file with the private key
        key: PathBuf,
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Run a command as root in a host again and again until it succeeds
    Await {
        lab: String,
        host: String,
        /// How long it may take
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Copy a file of this machine into a host, as a program unless the mode says otherwise
    Install {
        lab: String,
        host: String,
        source: PathBuf,
        destination: String,
        #[arg(long, default_value = "755", value_parser = mode)]
        mode: u32,
    },
    /// Print the folder of this machine that goes with a lab, readable by root alone
    Scratch { lab: String },
    /// Pull a host's cable
    Cut { lab: String, host: String },
    /// Put a host's cable back
    Mend { lab: String, host: String },
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        // With nobody left to read it, the exit status says enough.
        let _ = writeln!(io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> anyhow::Result<ExitCode> {
    match Arguments::parse().verb {
        Verb::Up { lab, hosts, image } => {
            let lab = Lab::set_up(Setup {
                name: &lab,
                hosts: &words(&hosts),
                image: &image,
                stay: Stay::UntilTakenDown,
            })?;
            show(&lab)?;
        }
        Verb::Hold { lab, hosts } => {
            let lab = Lab::start(&lab, &words(&hosts))?;
            show(&lab)?;
            io::copy(&mut io::stdin(), &mut io::sink()).context("cannot read standard input")?;
        }
        Verb::Down { lab } => Lab::take_down(&lab)?,
        Verb::List => {
            for lab in Lab::list()? {
                show(&Lab::attach(&lab)?)?;
            }
        }
        Verb::Exec { lab, host, command } => {
            return pass_on(find(&Lab::attach(&lab)?, &host)?.command(&words(&command))?);
        }
        Verb::Run { lab, command } => {
            return pass_on(Lab::attach(&lab)?.command(&words(&command)));
        }
        Verb::Shell { lab, host } => {
            let mut shell = find(&Lab::attach(&lab)?, &host)?.command(&["bash", "--login"])?;
            shell.env("TERM", "xterm");
            return pass_on(shell);
        }
        Verb::Ssh { lab, host, login, key, command } => {
            let ssh = Lab::attach(&lab)?.ssh(&host, &login, &key);
            let ssh = if command.is_empty() { ssh } else { ssh.command(&command.join(" ")) };
            return pass_on(ssh.to_command());
        }
        Verb::Await { lab, host, seconds, command } => {
            let lab = Lab::attach(&lab)?;
            let host = find(&lab, &host)?;
            wait::until(Duration::from_secs(seconds), &format!("{command:?}"), || {
                host.run(&words(&command)).ok()?.success().then_some(())
            })?;
        }
        Verb::Install { lab, host, source, destination, mode } => {
            find(&Lab::attach(&lab)?, &host)?.install(&source, &destination, mode)?;
        }
        Verb::Scratch { lab } => {
            writeln!(io::stdout(), "{}", Lab::attach(&lab)?.scratch().display())?;
        }
        Verb::Cut { lab, host } => with_host(&lab, &host, |lab| lab.cut_cable(&host))?,
        Verb::Mend { lab, host } => with_host(&lab, &host, |lab| lab.mend_cable(&host))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn mode(octal: &str) -> Result<u32, ParseIntError> {
    u32::from_str_radix(octal, 8)
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn find<'a>(lab: &'a Lab, host: &str) -> anyhow::Result<&'a Host> {
    lab.find_host(host).with_context(|| format!("the lab `{}` has no host `{host}`", lab.name()))
}

fn with_host(
    lab: &str,
    host: &str,
    act: impl FnOnce(&Lab) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let lab = Lab::attach(lab)?;
    find(&lab, host)?;
    act(&lab)
}

/// Runs a command in this one's place: same terminal, same exit status.
fn pass_on(mut command: Command) -> anyhow::Result<ExitCode> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn show(lab: &Lab) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for host in lab.hosts() {
        let power = if host.is_up() { "up" } else { "down" };
        writeln!(out, "{}  {}  {}  {power}", lab.name(), host.name(), host.address())?;
    }
    Ok(())
}
