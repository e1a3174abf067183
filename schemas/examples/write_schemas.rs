//! Writes the JSON Schema of every kind into the folder given as the only argument.
//!
//! `cargo xtask schemas` runs it for `schemas/json`; the files there are committed, and a test fails when they drift.

use std::path::PathBuf;
use std::process::ExitCode;

use cellblock_schemas::{Kind, schema_file};

fn main() -> ExitCode {
    match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(
                clippy::print_stderr,
                reason = "an example's only way to say what went wrong"
            )]
            {
                eprintln!("write_schemas: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the library is pure; this program exists to write files"
)]
fn write() -> Result<(), String> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(folder), None) = (arguments.next(), arguments.next()) else {
        return Err("give one folder".to_owned());
    };
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder)
        .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    for kind in Kind::ALL {
        let (name, text) = schema_file(kind);
        let path = folder.join(name);
        std::fs::write(&path, text)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}
