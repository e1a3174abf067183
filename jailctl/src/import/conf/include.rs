//! `.include` (`special_param` of usr.sbin/jail/jailparse.y, `include_config` of config.c).

use super::glob;
use super::grammar::Reader;
use super::{Piece, Statement};

/// `MAX_INCLUDE_DEPTH`
const DEPTH_MAX: usize = 32;

/// Where files are read from: the host's own, or a copy of them.
pub trait Files {
    /// What a file holds.
    ///
    /// # Errors
    /// It cannot be read; why.
    fn read(&self, path: &str) -> Result<Vec<u8>, Missing>;

    /// The names in a directory, none if it is none.
    fn list(&self, path: &str) -> Vec<String>;
}

/// Why a file cannot be read, in the system's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub String);

/// Reads the files that a statement names, each into the block that is open.
pub(super) fn include(reader: &mut Reader<'_>, statement: &Statement) {
    for value in &statement.values {
        let mut name = String::new();
        let mut is_text = true;
        for piece in &value.pieces {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Variable(_) => is_text = false,
            }
        }
        if !is_text {
            let message = "variables are not permitted in the name of an included file";
            let help = "write the name out; it may have patterns of glob(3)";
            reader
                .mistakes
                .push(value.place.error(".include", message, help));
            continue;
        }
        if reader.include_depth >= DEPTH_MAX {
            let message = format!("files that include files, {DEPTH_MAX} deep");
            let help = "a file includes itself: remove that line";
            reader
                .mistakes
                .push(value.place.error(".include", message, help));
            return;
        }
        let path = beside(value.place.file(), &name);
        let found = if glob::has_magic(&path) {
            glob::paths(&path, reader.files)
        } else {
            vec![path]
        };
        for path in found {
            match reader.files.read(&path) {
                Ok(bytes) => {
                    reader.include_depth += 1;
                    reader.file(&path, bytes);
                    reader.include_depth -= 1;
                }
                Err(Missing(why)) => {
                    let message = format!("{path}: {why}");
                    let help =
                        "a file that may be missing is named by a pattern, as in jail.foo[.]conf";
                    reader
                        .mistakes
                        .push(value.place.error(".include", message, help));
                }
            }
        }
    }
}

/// A relative name is looked for beside the file that includes.
fn beside(file: &str, name: &str) -> String {
    match file.rsplit_once('/') {
        Some((folder, _)) if !name.starts_with('/') => format!("{folder}/{name}"),
        Some(_) | None => name.to_owned(),
    }
}
