//! What stands in the folder of images and of roots made of them: names and marks, read without a command.

use std::collections::BTreeMap;

use cellblock_agent_core::image::{IMAGES, MARK, REFUSED, ROOTS};
use cellblock_agent_core::observed::{ImageFolder, RootFolder, Storage};

use crate::error::Failure;
use crate::system::System;

/// What stands in the storage at `path`; none if there is no such directory.
pub(crate) fn look(system: &dyn System, path: &str) -> Result<Option<Storage>, Failure> {
    let Some(path) = system.real_path(path)? else {
        return Ok(None);
    };
    let mut images = BTreeMap::new();
    let mut roots = BTreeMap::new();
    for name in system
        .list_dir(&format!("{path}/{IMAGES}"))?
        .unwrap_or_default()
    {
        let folder = format!("{path}/{IMAGES}/{name}");
        // A file that somebody put there is none of ours.
        let Ok(Some(entries)) = system.list_dir(&folder) else {
            continue;
        };
        let found = ImageFolder {
            mark: system.read_file(&format!("{folder}/{MARK}"))?,
            refused: system.read_file(&format!("{folder}/{REFUSED}"))?,
            entries: entries.into_iter().collect(),
        };
        images.insert(name, found);
    }
    for name in system
        .list_dir(&format!("{path}/{ROOTS}"))?
        .unwrap_or_default()
    {
        let folder = format!("{path}/{ROOTS}/{name}");
        let Ok(Some(entries)) = system.list_dir(&folder) else {
            continue;
        };
        let found = RootFolder {
            mark: system.read_file(&format!("{folder}/{MARK}"))?,
            entries: entries.into_iter().collect(),
        };
        roots.insert(name, found);
    }
    Ok(Some(Storage {
        path,
        images,
        roots,
        work: None,
    }))
}
