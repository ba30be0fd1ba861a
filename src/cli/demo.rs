//! `vsitlm demo`: the measuring scripts, which are part of the program, run by the user's Python.

use std::path::PathBuf;

use super::complain;
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The Python to run it with; it needs rasterio
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// The folder that holds gdal_vsitlm.so [default: ../plugin beside this program's folder]
    #[arg(long)]
    plugin: Option<PathBuf>,
    /// Arguments of the demo itself, such as --file X.jp2, --small, --json; --help lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

const SCRIPTS: [(&str, &str); 4] = [
    ("demo.py", include_str!("../../scripts/demo.py")),
    ("measure.py", include_str!("../../scripts/measure.py")),
    ("range_server.py", include_str!("../../scripts/range_server.py")),
    ("sample.py", include_str!("../../scripts/sample.py")),
];

/// Whether the demo ran through.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let failed = |what: String, error: std::io::Error| Error::Read { what, source: Some(std::sync::Arc::new(error)) };
    let folder = tempfile::Builder::new()
        .prefix("vsitlm-demo-")
        .tempdir()
        .map_err(|error| failed("no temporary folder could be made".into(), error))?;
    for (name, text) in SCRIPTS {
        std::fs::write(folder.path().join(name), text)
            .map_err(|error| failed(format!("{name} could not be written to a temporary folder"), error))?;
    }
    let program = std::env::current_exe().map_err(|error| failed("this program cannot find itself".into(), error))?;
    let beside = program.parent().and_then(|folder| folder.parent()).map(|folder| folder.join("plugin"));
    let plugin = arguments.plugin.clone().or(beside.filter(|folder| folder.join("gdal_vsitlm.so").is_file()));
    let mut command = std::process::Command::new(&arguments.python);
    command.arg(folder.path().join("demo.py"));
    match plugin {
        Some(plugin) => drop(command.arg("--plugin").arg(plugin)),
        None => complain("no gdal_vsitlm.so found: the demo shows the peers only; name its folder with --plugin"),
    }
    let status = command.arg("--vsitlm").arg(program).args(&arguments.rest).status().map_err(|error| {
        failed(format!("{} could not be run: name a Python with --python", arguments.python.display()), error)
    })?;
    Ok(status.success())
}
