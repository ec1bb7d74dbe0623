//! The `callgate` program: arguments in, exit code out, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    callgate::cli::run(std::env::args_os())
}
