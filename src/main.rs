//! The command `vsitlm`.

fn main() -> std::process::ExitCode {
    vsitlm::cli::run(std::env::args_os())
}
