//! The lines of a journal: how they are written, and how they are read.
//!
//! Each line ends with a checksum over itself and over the checksum of the line before it. So a line that was altered, lost, doubled or moved is noticed, and where it stands; only what
//! stands at the very end may be incomplete. It keeps from mistakes and from failing disks, not from somebody who can write the file and knows how to count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::view::HostView;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::record::Written;
use super::super::{Contents, LEDGER_VERSION, Owned, OwnedJail};
use crate::shared::Shared;

/// How much is written at once, in octets: a commit nearly always.
pub(super) const BUFFER: usize = 16 << 10;

/// Octets of a checksum: enough that no mistake of a hand or a disk ever fits.
const SUM: usize = 8;

/// What a line begins with that says what has changed.
const CHANGES: &str = "{\"changes\":";

/// What stands between a record and its checksum in hexadecimal.
const BEFORE_SUM: &str = ",\"sum\":\"";

/// What a line ends with.
const END: &str = "\"}\n";

/// The checksum of a line and of all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain([u8; SUM]);

impl Chain {
    fn of(digest: Sha256) -> Self {
        let mut sum = [0; SUM];
        sum.copy_from_slice(&digest.finalize()[..SUM]);
        Self(sum)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// What the first line begins with.
fn snapshot_head() -> String {
    format!("{{\"version\":{LEDGER_VERSION},\"snapshot\":")
}

/// Writes the first line of a file; returns its checksum and its length. The text is never in memory as a whole: a host of a thousand jails has some megabytes of it.
pub(super) fn write_snapshot(contents: &Contents, to: &mut dyn Write) -> io::Result<(Chain, u64)> {
    write_line(Chain::default(), &snapshot_head(), contents, to)
}

/// Writes a further line, after one with the checksum `chain`.
pub(super) fn write_changes(
    chain: Chain,
    changes: &[Written<'_>],
    to: &mut dyn Write,
) -> io::Result<(Chain, u64)> {
    write_line(chain, CHANGES, &changes, to)
}

fn write_line(
    chain: Chain,
    head: &str,
    record: &impl Serialize,
    to: &mut dyn Write,
) -> io::Result<(Chain, u64)> {
    let digesting = Digesting {
        to,
        digest: Sha256::new_with_prefix(chain.0),
        length: 0,
    };
    let mut line = BufWriter::with_capacity(BUFFER, digesting);
    line.write_all(head.as_bytes())?;
    serde_json::to_writer(&mut line, record)?;
    let digesting = line.into_inner().map_err(|error| error.into_error())?;
    let chain = Chain::of(digesting.digest);
    let end = format!("{BEFORE_SUM}{chain}{END}");
    digesting.to.write_all(end.as_bytes())?;
    Ok((chain, digesting.length + end.len() as u64))
}

/// Octets that are digested on their way. It stands behind a buffer, so that it does not meet the hundred thousand words of a ledger one by one.
struct Digesting<'a> {
    to: &'a mut dyn Write,
    digest: Sha256,
    length: u64,
}

impl Write for Digesting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.to.write(bytes)?;
        self.digest.update(&bytes[..length]);
        self.length += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct Text {
    /// What it says.
    pub(super) contents: Contents,
    /// Its form.
    pub(super) version: u32,
    /// The checksum of its last whole line.
    pub(super) chain: Chain,
    /// The length of its first line.
    pub(super) snapshot: u64,
    /// Its length up to the end of the last whole line.
    pub(super) length: u64,
    /// How many octets after that are no whole line.
    pub(super) torn: u64,
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A newer agent wrote it.
    #[error("it is of form {0}, this agent knows {LEDGER_VERSION}")]
    Newer(u32),
    /// It is as it was written, by a newer agent: it has what this one does not know.
    #[error("line {line} is whole and has what this agent does not know: {what}")]
    Unknown {
        /// Which line, counted from 1.
        line: usize,
        /// What it does not know.
        what: String,
    },
    /// It is not as it was written.
    #[error("line {line}: {what}")]
    Damaged {
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

/// Reads a file of any form.
pub(super) fn read(bytes: &[u8]) -> Result<Text, Unreadable> {
    if !bytes.starts_with(snapshot_head().as_bytes()) {
        return read_whole(bytes);
    }
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate();
    let first = lines.next().map_or(&[][..], |(_, line)| line);
    let (contents, chain) =
        read_line(Chain::default(), &snapshot_head(), first).map_err(|why| why.at(1))?;
    let mut text = Text {
        contents,
        version: LEDGER_VERSION,
        chain,
        snapshot: first.len() as u64,
        length: first.len() as u64,
        torn: 0,
    };
    for (number, line) in lines {
        let is_last = text.length + line.len() as u64 == bytes.len() as u64;
        match read_line::<Vec<Written<'_>>>(text.chain, CHANGES, line) {
            Ok((changes, chain)) => {
                for written in changes {
                    let change = written.read(&mut text.contents);
                    text.contents.apply(vec![change]);
                }
                text.chain = chain;
                text.length += line.len() as u64;
            }
            Err(_) if is_last && is_torn(text.chain, line) => text.torn = line.len() as u64,
            Err(why) => return Err(why.at(number + 1)),
        }
    }
    Ok(text)
}

/// Whether the last line of a file is one that was not written to its end: it is cut off, or has holes. What a file system never came to write reads as zeros, which JSON has none of. A line that is
/// all there before a hole in the middle was whole once, and so was another after it.
fn is_torn(chain: Chain, line: &[u8]) -> bool {
    let hole = line.iter().position(|byte| *byte == 0);
    let is_whole_before = hole.is_some_and(|hole| {
        let before = [&line[..hole], b"\n"].concat();
        let goes_on = line[hole..].iter().any(|byte| *byte != 0);
        let read = read_line::<Vec<Written<'_>>>(chain, CHANGES, &before);
        goes_on && !matches!(read, Err(Unfit::Damaged(_)))
    });
    (hole.is_some() || !line.ends_with(b"\n")) && !is_whole_before
}

/// Why a line cannot be read.
enum Unfit {
    /// It is not as it was written.
    Damaged(String),
    /// It is, and has what this agent does not know.
    Unknown(String),
}

impl Unfit {
    fn at(self, line: usize) -> Unreadable {
        match self {
            Self::Damaged(what) => Unreadable::Damaged { line, what },
            Self::Unknown(what) => Unreadable::Unknown { line, what },
        }
    }
}

/// Reads a line that follows one with the checksum `chain`.
fn read_line<T: for<'de> Deserialize<'de>>(
    chain: Chain,
    head: &str,
    line: &[u8],
) -> Result<(T, Chain), Unfit> {
    let parts = line.strip_suffix(END.as_bytes()).and_then(|line| {
        let (payload, sum) = line.split_at_checked(line.len().checked_sub(2 * SUM)?)?;
        let payload = payload.strip_suffix(BEFORE_SUM.as_bytes())?;
        Some((payload, sum, payload.strip_prefix(head.as_bytes())?))
    });
    let damaged = |what: &str| Unfit::Damaged(what.to_owned());
    let (payload, sum, record) = parts.ok_or_else(|| damaged("it is not a whole record"))?;
    let digest = Sha256::new_with_prefix(chain.0).chain_update(payload);
    let chain = Chain::of(digest);
    if chain.to_string().as_bytes() != sum {
        return Err(damaged(
            "its checksum does not fit: it was altered, or a line before it is gone",
        ));
    }
    // Whoever wrote it knew how to.
    let record =
        serde_json::from_slice(record).map_err(|error| Unfit::Unknown(error.to_string()))?;
    Ok((record, chain))
}

/// The number that every form has, whatever else it holds.
#[derive(Deserialize)]
struct Form {
    version: u32,
}

/// Forms 1 and 2: one JSON document without a checksum, replaced as a whole.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Whole {
    version: u32,
    #[serde(default)]
    view: Option<HostView>,
    #[serde(default)]
    view_digest: String,
    #[serde(default)]
    approved: bool,
    #[serde(default)]
    boot_id: String,
    #[serde(default)]
    owned: Shared<BTreeSet<Owned>>,
    #[serde(default)]
    jails: Shared<BTreeMap<Uid, OwnedJail>>,
}

fn read_whole(bytes: &[u8]) -> Result<Text, Unreadable> {
    let damaged = |error: serde_json::Error| Unreadable::Damaged {
        line: error.line().max(1),
        what: error.to_string(),
    };
    let mut first = serde_json::Deserializer::from_slice(bytes).into_iter::<Form>();
    let form = first.next().transpose().map_err(damaged)?;
    let form = form.map_or(0, |form| form.version);
    if form > LEDGER_VERSION {
        return Err(Unreadable::Newer(form));
    }
    let whole: Whole = serde_json::from_slice(bytes).map_err(damaged)?;
    if !(1..LEDGER_VERSION).contains(&whole.version) {
        return Err(Unreadable::Damaged {
            line: 1,
            what: format!("it says that it is of form {}", whole.version),
        });
    }
    Ok(Text {
        contents: Contents {
            view: whole.view.map(Arc::new),
            view_digest: whole.view_digest,
            approved: whole.approved,
            boot_id: whole.boot_id,
            owned: whole.owned,
            jails: whole.jails,
            rolled_back: BTreeMap::new(),
        },
        version: whole.version,
        chain: Chain::default(),
        snapshot: bytes.len() as u64,
        length: bytes.len() as u64,
        torn: 0,
    })
}
