//! Writes what fuzzing begins with: `seeds CORPUS CODESTREAM...` makes a folder for each target in the folder `CORPUS`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let corpus = arguments.next().expect("usage: seeds CORPUS CODESTREAM...");
    let codestreams = arguments.map(std::fs::read).collect::<std::io::Result<Vec<_>>>()?;
    for (number, (target, bytes)) in vsitlm::fuzz::seeds(&codestreams).into_iter().enumerate() {
        let folder = Path::new(&corpus).join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("seed-{number:03}")), bytes)?;
    }
    Ok(())
}
