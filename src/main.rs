//! The program: one verb a file in `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kefu::cli::main()
}
