//! fetch(1), sha256(1), tar(1) and chflags(1), as far as a base is fetched, checked, unpacked and removed with them.
//!
//! An emulated tarball is a text: a line that begins with [`HEAD`], a line for each entry, [`TAIL`]. Behind [`HEAD`] may stand the SHA-256 that sha256(1) says it has, for manifests of real releases. A line has a letter and words: `d PATH`, `f PATH CONTENT…`, `F PATH CONTENT…` (with the flag schg), `l PATH TARGET`,
//! `h PATH TARGET` (a hard link), `c PATH`, `b PATH`, `p PATH`.

use sha2::{Digest, Sha256};

use super::fileutils::writable;
use crate::emulator::Emulator;
use crate::files::{Entry, FileError, normalize};
use crate::output::Output;

/// How the first line of an emulated tarball begins.
pub const HEAD: &str = "#tar";

/// How the second one begins where the owners of all entries have other names than `root` and `wheel`.
pub const OWNER: &str = "#owner ";

/// Its last one.
pub const TAIL: &str = "#end\n";

/// What a server answers for a URL.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// The file.
    pub bytes: Vec<u8>,
    /// How much of it comes before the connection breaks; none: all of it.
    pub cut: Option<usize>,
}

/// `fetch [-q] [-F] [-r] [-T seconds] -o FILE URL`
pub(super) fn fetch(host: &mut Emulator, arguments: &[String]) -> Output {
    let (mut resumes, mut output, mut url) = (false, None, None);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-q" | "-F" => {}
            "-r" => resumes = true,
            "-T" => drop(words.next()),
            "-o" => output = words.next(),
            word if word.starts_with('-') => return Output::failure(1, "usage: fetch URL ..."),
            _ => url = Some(word),
        }
    }
    let (Some(path), Some(url)) = (output, url) else {
        return Output::failure(1, "usage: fetch URL ...");
    };
    let served = match url.strip_prefix("file://") {
        Some(file) => match host.files.read(file) {
            Ok(bytes) => Served {
                bytes: bytes.to_vec(),
                cut: None,
            },
            Err(error) => return Output::failure(1, format!("fetch: {url}: {error}")),
        },
        None => match host.web.get(url.as_str()) {
            Some(served) => served.clone(),
            None => return Output::failure(1, format!("fetch: {url}: Not Found")),
        },
    };
    let present = host.files.read(path).map_or(0, <[u8]>::len);
    let from = if resumes { present } else { 0 };
    if from > served.bytes.len() {
        return Output::failure(
            1,
            format!(
                "fetch: {path}: local file ({from} bytes) is longer than remote file ({} bytes)",
                served.bytes.len()
            ),
        );
    }
    let until = served.cut.unwrap_or(served.bytes.len()).max(from);
    let come = &served.bytes[from..until.min(served.bytes.len())];
    let written = writable(host, path).and_then(|()| {
        if from == 0 {
            host.files.write(path, come)
        } else {
            host.files.append(path, come)
        }
    });
    if let Err(error) = written {
        return Output::failure(1, format!("fetch: {path}: {error}"));
    }
    if until < served.bytes.len() {
        return Output::failure(
            1,
            format!(
                "fetch: {path} appears to be truncated: {until}/{} bytes",
                served.bytes.len()
            ),
        );
    }
    Output::success()
}

/// A base as a release has it, in small. `claimed` is the SHA-256 that it is to have.
pub fn base(claimed: Option<&str>) -> Vec<u8> {
    const ENTRIES: &str = "\
d .\nd ./bin\nf ./bin/sh the shell\nh ./bin/-sh ./bin/sh\nd ./boot\nd ./dev\nd ./etc\nf ./etc/passwd root\nl ./etc/os-release ../var/run/os-release\nd ./lib\nF ./lib/libc.so.7 libc\n\
d ./libexec\nd ./media\nd ./mnt\nd ./proc\nd ./rescue\nd ./root\nf ./root/.profile profile\nd ./sbin\nF ./sbin/init init\nl ./sys usr/src/sys\nd ./tmp\nd ./usr\nd ./usr/bin\nF ./usr/bin/su su\n\
d ./usr/lib\nd ./usr/libexec\nd ./usr/local\nd ./usr/sbin\nd ./usr/share\nd ./var\nd ./var/empty\nd ./var/run\n";
    let head = match claimed {
        Some(digest) => format!("{HEAD} {digest}"),
        None => HEAD.to_owned(),
    };
    format!("{head}\n{ENTRIES}{TAIL}").into_bytes()
}

/// The SHA-256 that `bytes` have, in hexadecimal digits: a whole emulated tarball may claim another.
pub fn sha256_of(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let claimed = text
        .strip_prefix(HEAD)
        .filter(|rest| rest.ends_with(TAIL))
        .and_then(|rest| rest.split_once('\n'));
    if let Some((claimed, _)) = claimed.filter(|(claimed, _)| !claimed.is_empty()) {
        return claimed.trim().to_owned();
    }
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `sha256 [-q] [-c DIGEST] FILE`
pub(super) fn sha256(host: &Emulator, arguments: &[String]) -> Output {
    let (mut quiet, mut wanted, mut file) = (false, None, None);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-q" => quiet = true,
            "-c" => wanted = words.next(),
            _ => file = Some(word),
        }
    }
    let Some(file) = file else {
        return Output::failure(
            1,
            "usage: sha256 [-pqrtx] [-c string] [-s string] [files ...]",
        );
    };
    let digest = match host.files.read(file) {
        Ok(bytes) => sha256_of(bytes),
        Err(error) => return Output::failure(1, format!("sha256: {file}: {error}")),
    };
    let differs = wanted.is_some_and(|wanted| !wanted.eq_ignore_ascii_case(&digest));
    let mut output = Output::success();
    match (quiet, differs) {
        (true, _) => output.line(digest),
        (false, true) => output.line(format!("SHA256 ({file}) = {digest} [ Failed ]")),
        (false, false) => output.line(format!("SHA256 ({file}) = {digest}")),
    }
    output.status = if differs { 2 } else { 0 };
    output
}

/// `tar -t -v -f FILE` and `tar -x -p -f FILE -C DIRECTORY`
pub(super) fn tar(host: &mut Emulator, arguments: &[String]) -> Output {
    let (mut lists, mut numeric, mut file, mut directory) = (false, false, None, None);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-t" => lists = true,
            "-x" | "-v" | "-p" => {}
            "--numeric-owner" => numeric = true,
            "-f" => file = words.next(),
            "-C" => directory = words.next(),
            word => {
                return Output::failure(1, format!("tar: Option {word} is not supported"));
            }
        }
    }
    let Some(file) = file else {
        return Output::failure(1, "tar: Error opening archive: no file");
    };
    let text = match host.files.read_text(file) {
        Ok(text) => text,
        Err(error) => {
            return Output::failure(
                1,
                format!("tar: Error opening archive: Failed to open '{file}': {error}"),
            );
        }
    };
    let entries = text
        .strip_prefix(HEAD)
        .and_then(|rest| rest.split_once('\n'));
    let Some((_, mut entries)) = entries else {
        return Output::failure(1, "tar: Error opening archive: Unrecognized archive format");
    };
    let owner = match entries
        .strip_prefix(OWNER)
        .and_then(|rest| rest.split_once('\n'))
    {
        Some((owner, rest)) => {
            entries = rest;
            owner
        }
        None => "root   wheel",
    };
    let whole = entries.strip_suffix(TAIL);
    let mut output = Output::success();
    for entry in whole.unwrap_or(entries).lines() {
        let mut words = entry.splitn(3, ' ');
        let (kind, path) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let rest = words.next().unwrap_or_default();
        if lists {
            let owner = if numeric { "0      0    " } else { owner };
            output.line(listed(owner, kind, path, rest));
            continue;
        }
        let Some(directory) = directory else {
            return Output::failure(1, "tar: no directory");
        };
        if let Err(error) = extract(host, directory, kind, path, rest) {
            output.fail(1, format!("tar: {path}: {error}"));
            if error == FileError::NoSpace.to_string() {
                break;
            }
        }
    }
    if whole.is_none() {
        output.fail(
            1,
            "tar: Truncated tar archive detected while reading next header",
        );
    }
    if output.status != 0 {
        output.fail(1, "tar: Error exit delayed from previous errors.");
    }
    output
}

/// A line of `tar -tv` (`list_item_verbose`, contrib/libarchive/tar/util.c).
fn listed(owner: &str, kind: &str, path: &str, rest: &str) -> String {
    let (mode, name) = match kind {
        "d" => ("drwxr-xr-x", format!("{path}/")),
        "l" => ("lrwxr-xr-x", format!("{path} -> {rest}")),
        "h" => ("hr-xr-xr-x", format!("{path} link to {rest}")),
        "c" => ("crw-------", path.to_owned()),
        "b" => ("brw-------", path.to_owned()),
        "p" => ("prw-r--r--", path.to_owned()),
        _ => ("-r--r--r--", path.to_owned()),
    };
    let size = if matches!(kind, "c" | "b") {
        "0,14"
    } else {
        "0"
    };
    format!("{mode}  0 {owner} {size:>7} Nov 21  2026 {name}")
}

fn extract(
    host: &mut Emulator,
    directory: &str,
    kind: &str,
    path: &str,
    rest: &str,
) -> Result<(), String> {
    if path.split('/').any(|part| part == "..") {
        return Err("Path contains '..'".to_owned());
    }
    let at = format!("{directory}/{}", path.trim_start_matches(['.', '/']));
    let at = normalize(&at);
    let parent = at.rsplit_once('/').map_or("/", |(parent, _)| parent);
    let text = |error: FileError| error.to_string();
    writable(host, &at).map_err(text)?;
    host.files.create_directories(parent).map_err(text)?;
    match kind {
        "d" => host.files.create_directories(&at).map_err(text),
        "l" => host.files.symlink(rest, &at).map_err(text),
        "h" => {
            let target = format!("{directory}/{}", rest.trim_start_matches(['.', '/']));
            let bytes = host.files.read(&target).map(<[u8]>::to_vec);
            bytes
                .and_then(|bytes| host.files.write(&at, bytes))
                .map_err(|error| format!("Hard-link target '{rest}' does not exist: {error}"))
        }
        "f" => host.files.write(&at, rest).map_err(text),
        "F" => {
            host.files.write(&at, rest).map_err(text)?;
            host.files.set_immutable(&at, true);
            Ok(())
        }
        _ => Err("not emulated".to_owned()),
    }
}

/// `chflags -R -x 0 PATH`, `chflags -h 0 PATH`, and the same with `schg` or `uchg`
pub(super) fn chflags(host: &mut Emulator, arguments: &[String]) -> Output {
    let options = arguments.iter().take_while(|word| word.starts_with('-'));
    let options: Vec<&str> = options.map(String::as_str).collect();
    let [flags, path] = arguments.get(options.len()..).unwrap_or_default() else {
        return Output::failure(
            1,
            "usage: chflags [-fhvx] [-R [-H | -L | -P]] flags file ...",
        );
    };
    let is_set = match flags.as_str() {
        "0" | "noschg" | "nouchg" => false,
        "schg" | "uchg" => true,
        _ => return Output::failure(1, format!("chflags: invalid flags: {flags}")),
    };
    let has = |option: &str| options.contains(&option);
    if has("-R") && has("-h") {
        return Output::failure(
            1,
            "chflags: the -R and -h options may not be specified together.",
        );
    }
    if !host.files.exists(path) {
        return Output::failure(1, format!("chflags: {path}: {}", FileError::NotFound));
    }
    let path = normalize(path);
    let below = format!("{path}/");
    let mount = host.kernel.mount_of(&path);
    if mount.is_some_and(|mount| mount.read_only) {
        return Output::failure(1, format!("chflags: {path}: {}", FileError::ReadOnly));
    }
    let found = host.files.iter().filter(|(at, entry)| {
        let is_meant = *at == path || has("-R") && at.starts_with(&below);
        is_meant && !matches!(entry, Entry::Symlink(_))
    });
    let found: Vec<String> = found.map(|(at, _)| at.to_owned()).collect();
    // `ufs_setattr`, sys/ufs/ufs/ufs_vnops.c.
    let is_sealed = !is_set && host.kernel.securelevel_of(0) > 0;
    if let Some(at) = found
        .iter()
        .find(|at| is_sealed && host.files.has_immutable(at))
    {
        return Output::failure(1, format!("chflags: {at}: Operation not permitted"));
    }
    for at in found {
        host.files.set_immutable(&at, is_set);
    }
    Output::success()
}
