//! `muster-agent`: join, courier, keeper, status, plan, drift, pause, leave, doctor.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
