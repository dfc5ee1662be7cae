//! `cargo run -p codegen` writes `src/grpc/gen`; `cargo run -p codegen -- --check` only says whether it is current.

use std::process::ExitCode;
use std::{env, fs};

use codegen::{Error, drift, generate, repository};

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]
fn main() -> Result<ExitCode, Error> {
    let root = repository();
    match env::args().nth(1).as_deref() {
        None => {
            for file in generate(&root)? {
                let path = root.join(&file.path);
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder)?;
                }
                fs::write(path, file.bytes)?;
                println!("wrote {}", file.path.display());
            }
            Ok(ExitCode::SUCCESS)
        }
        Some("--check") => {
            let stale = drift(&root)?;
            for path in &stale {
                eprintln!("{} is not what proto/ generates: run `cargo run -p codegen`", path.display());
            }
            Ok(if stale.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Some(other) => Err(format!("unknown argument {other}: only --check is known").into()),
    }
}
