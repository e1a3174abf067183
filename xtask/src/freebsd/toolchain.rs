//! A toolchain for x86_64-unknown-freebsd (14.0 and later) on a machine that is no FreeBSD.
//!
//! Two halves, each found or made out of ordinary package registries:
//!
//! - **Rust.** rustup's target where it is installed. Otherwise Debian's `rustc-web` with the standard library built from
//!   `rust-web-src` into a sysroot of our own: building std needs one version of compiler and source, which Debian's
//!   packages are, and the sysroot then serves ordinary stable builds. For a check the library's metadata is enough, which
//!   takes half the time.
//! - **C.** `ziglang` from PyPI: a C compiler that carries FreeBSD's headers and link stubs, and a linker. Its two wheels
//!   are pinned by digest.
//!
//! Everything lives below `$CELLBLOCK_FREEBSD_TOOLCHAIN`, by default `~/.cache/cellblock/freebsd-toolchain` (about 1 GB),
//! and is made once. rustup's own toolchains are not touched.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{prerequisites, printer, run};

#[cfg(test)]
mod tests;

/// The target triple. FreeBSD's other architectures follow when somebody runs Cellblock on one.
pub(super) const TARGET: &str = "x86_64-unknown-freebsd";

/// The release of zig that the builds were tried with.
const ZIG_VERSION: &str = "0.17.1";

/// The digests of that release's wheels for Linux on x86-64 and aarch64.
const ZIG_DIGESTS: [&str; 2] = [
    "ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54",
    "b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e",
];

/// The Debian packages of the Rust half.
const DEBIAN_RUST: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// What the caller is going to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Type-check only: no linker runs for the target.
    Check,
    /// Compile and link.
    Link,
}

impl Need {
    /// The name of the sysroot that serves this need.
    fn sysroot(self) -> &'static str {
        match self {
            Self::Check => "sysroot-check",
            Self::Link => "sysroot",
        }
    }
}

/// A toolchain that is ready for use.
#[derive(Debug)]
pub(super) enum Toolchain {
    /// This machine runs FreeBSD: its own cargo.
    Native,
    /// rustup's target, and the C half in the folder given.
    Rustup { tools: PathBuf },
    /// Debian's compiler with a sysroot of ours, and the C half in the folder given.
    Debian { tools: PathBuf, sysroot: PathBuf },
}

impl Toolchain {
    /// What it is made of, for the log.
    pub(super) fn description(&self) -> String {
        match self {
            Self::Native => "this machine's own".to_owned(),
            Self::Rustup { .. } => format!("rustup's target, zig {ZIG_VERSION}"),
            Self::Debian { sysroot, .. } => {
                format!(
                    "Debian's rustc with std in {}, zig {ZIG_VERSION}",
                    sysroot.display()
                )
            }
        }
    }

    /// A cargo command with the environment that makes `--target` work.
    pub(super) fn cargo(&self) -> Command {
        match self {
            Self::Native => run::cargo([""; 0]),
            Self::Rustup { tools } => {
                let mut command = run::cargo([""; 0]);
                set_c_half(&mut command, tools);
                command
            }
            Self::Debian { tools, sysroot } => {
                let mut command = debian_cargo();
                set_c_half(&mut command, tools);
                command.env(
                    "CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_RUSTFLAGS",
                    format!("--sysroot {}", sysroot.display()),
                );
                command
            }
        }
    }
}

/// Finds or makes the toolchain.
///
/// # Errors
///
/// What is missing, and how to install it.
pub(super) fn prepare(need: Need) -> Result<Toolchain> {
    if cfg!(target_os = "freebsd") {
        return Ok(Toolchain::Native);
    }
    let home = home()?;
    std::fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    // Two builds at once would write the same files.
    let lock = File::create(home.join("lock")).context("cannot make the toolchain's lock")?;
    lock.lock().context("cannot lock the toolchain")?;
    if has_rustup_target() {
        return Ok(Toolchain::Rustup { tools: zig(&home)? });
    }
    prerequisites::ensure_debian_packages(&DEBIAN_RUST).with_context(|| {
        format!("without Debian's packages, install rustup's: rustup target add {TARGET}")
    })?;
    let tools = zig(&home)?;
    let sysroot = sysroot(&home, need)?;
    Ok(Toolchain::Debian { tools, sysroot })
}

/// Where the toolchain lives.
fn home() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("CELLBLOCK_FREEBSD_TOOLCHAIN") {
        return Ok(PathBuf::from(folder));
    }
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .map(|cache| cache.join("cellblock").join("freebsd-toolchain"))
        .context("neither CELLBLOCK_FREEBSD_TOOLCHAIN nor HOME says where the toolchain may live")
}

/// Whether the compiler that builds this workspace already has a standard library for FreeBSD.
fn has_rustup_target() -> bool {
    let mut command = Command::new("rustc");
    command
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(run::root());
    run::output(&mut command).is_ok_and(|folder| Path::new(folder.trim()).is_dir())
}

/// Debian's cargo with Debian's rustc, whatever rustup and the cargo that started us put into the environment.
fn debian_cargo() -> Command {
    let mut command = Command::new("/usr/bin/cargo");
    command
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .env("RUSTC", "/usr/bin/rustc");
    for name in [
        "CARGO",
        "RUSTUP_TOOLCHAIN",
        "RUSTDOC",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
    ] {
        command.env_remove(name);
    }
    command
}

/// Tells cargo, and the `cc` crate in build scripts, about the C half.
fn set_c_half(command: &mut Command, tools: &Path) {
    command
        .env(
            "CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_LINKER",
            tools.join("cc"),
        )
        .env("CC_x86_64_unknown_freebsd", tools.join("cc"))
        .env("CXX_x86_64_unknown_freebsd", tools.join("c++"))
        .env("AR_x86_64_unknown_freebsd", tools.join("ar"));
}

/// Makes sure of zig and returns the folder with its wrappers `cc`, `c++` and `ar`.
fn zig(home: &Path) -> Result<PathBuf> {
    let folder = home.join(format!("zig-{ZIG_VERSION}"));
    let zig = folder.join("ziglang").join("zig");
    if !zig.is_file() {
        printer::progress(&format!(
            "installing ziglang {ZIG_VERSION} from PyPI into {}",
            folder.display()
        ));
        install_zig(home, &folder)?;
    }
    let tools = home.join("bin");
    std::fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
    for (name, text) in wrappers(&zig, &home.join("zig-cache")) {
        write_script(&tools.join(name), &text)?;
    }
    Ok(tools)
}

fn install_zig(home: &Path, folder: &Path) -> Result<()> {
    let python =
        run::find_program("python3").context("zig comes by pip, and there is no python3")?;
    let venv = home.join("venv");
    if run::run(Command::new(&python).args(["-m", "venv"]).arg(&venv)).is_err() {
        // Debian packages the module apart from python3.
        prerequisites::ensure_debian_packages(&["python3-venv"])?;
        run::run(
            Command::new(&python)
                .args(["-m", "venv", "--clear"])
                .arg(&venv),
        )?;
    }
    let requirements = home.join("requirements.txt");
    let digests = ZIG_DIGESTS
        .map(|digest| format!(" --hash=sha256:{digest}"))
        .concat();
    std::fs::write(&requirements, format!("ziglang=={ZIG_VERSION}{digests}\n"))
        .with_context(|| format!("cannot write {}", requirements.display()))?;
    // Installed aside and renamed, so that an interrupted installation is not taken for a whole one.
    let part = home.join("zig-part");
    if part.exists() {
        std::fs::remove_dir_all(&part)
            .with_context(|| format!("cannot remove {}", part.display()))?;
    }
    run::run(
        Command::new(venv.join("bin").join("pip"))
            .args([
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--only-binary=:all:",
            ])
            .arg("--require-hashes")
            .arg("--target")
            .arg(&part)
            .arg("--requirement")
            .arg(&requirements),
    )?;
    std::fs::rename(&part, folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// The wrapper scripts by name.
///
/// Four libraries that the `libc` crate names are left out, because zig has no stub for them and nothing here calls them
/// (libkvm, libmemstat, libprocstat, libdevstat), and so are options that zig spells otherwise.
fn wrappers(zig: &Path, cache: &Path) -> [(&'static str, String); 3] {
    let (zig, cache) = (zig.display(), cache.display());
    let compiler = |language: &str| {
        format!(
            "#!/bin/sh\n\
             for word do\n\
             \tshift\n\
             \tcase $word in\n\
             \t-lkvm|-lmemstat|-lprocstat|-ldevstat|--target=*|-Wl,-O1) ;;\n\
             \t*) set -- \"$@\" \"$word\" ;;\n\
             \tesac\n\
             done\n\
             ZIG_GLOBAL_CACHE_DIR='{cache}' exec '{zig}' {language} -target x86_64-freebsd.14.0 \"$@\"\n"
        )
    };
    [
        ("cc", compiler("cc")),
        ("c++", compiler("c++")),
        (
            "ar",
            format!("#!/bin/sh\nZIG_GLOBAL_CACHE_DIR='{cache}' exec '{zig}' ar \"$@\"\n"),
        ),
    ]
}

fn write_script(file: &Path, text: &str) -> Result<()> {
    // Left alone when it says the same: cargo and `cc` may be running it for another build right now.
    if std::fs::read_to_string(file).is_ok_and(|old| old == text) {
        return Ok(());
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    run::run(Command::new("chmod").arg("755").arg(file))
}

/// Makes sure of a standard library for FreeBSD and returns its sysroot.
fn sysroot(home: &Path, need: Need) -> Result<PathBuf> {
    let version = run::output(Command::new("/usr/bin/rustc").arg("-vV"))?;
    let whole = home.join(Need::Link.sysroot());
    if is_current(&whole, &version) {
        return Ok(whole);
    }
    let sysroot = home.join(need.sysroot());
    if is_current(&sysroot, &version) {
        return Ok(sysroot);
    }
    printer::progress(&format!(
        "building std for {TARGET}: a few minutes, once per release of the compiler"
    ));
    let work = home.join("std-build");
    for folder in [&work, &sysroot] {
        if folder.exists() {
            std::fs::remove_dir_all(folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
    }
    let built = build_std(&work, need)?;
    let lib = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    std::fs::create_dir_all(&lib).with_context(|| format!("cannot make {}", lib.display()))?;
    for file in &built {
        let name = file.file_name().context("a library has a name")?;
        std::fs::copy(file, lib.join(name))
            .with_context(|| format!("cannot copy {}", file.display()))?;
    }
    std::fs::write(sysroot.join("rustc-version"), &version)
        .context("cannot mark the sysroot as whole")?;
    std::fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    Ok(sysroot)
}

/// Whether a sysroot is whole and belongs to this compiler; the file is written last.
fn is_current(sysroot: &Path, version: &str) -> bool {
    std::fs::read_to_string(sysroot.join("rustc-version")).is_ok_and(|made_for| made_for == version)
}

/// Builds the standard library by way of an empty crate, and returns its files.
fn build_std(work: &Path, need: Need) -> Result<Vec<PathBuf>> {
    let source = work.join("src");
    std::fs::create_dir_all(&source)
        .with_context(|| format!("cannot make {}", source.display()))?;
    let manifest = "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
                    [profile.dev]\ndebug = false\n\n[profile.release]\ndebug = \"line-tables-only\"\n";
    std::fs::write(work.join("Cargo.toml"), manifest).context("cannot write the empty crate")?;
    std::fs::write(source.join("lib.rs"), "").context("cannot write the empty crate")?;
    let (arguments, profile, ending): (&[&str], _, _) = match need {
        Need::Check => (&["check"], "debug", "rmeta"),
        Need::Link => (&["build", "--release"], "release", "rlib"),
    };
    let mut command = debian_cargo();
    command
        .current_dir(work)
        .args(arguments)
        .args([
            "--quiet",
            "-Z",
            "build-std=std,panic_abort,panic_unwind,proc_macro,test",
            "--target",
            TARGET,
        ])
        .env("CARGO_TARGET_DIR", work.join("target"))
        // `-Z build-std` is unstable; it is used here alone, never for our own code.
        .env("RUSTC_BOOTSTRAP", "1")
        // Ordinary crates may be built with link-time optimisation, which reads std's bitcode.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes");
    run::run(&mut command)?;
    let deps = work.join("target").join(TARGET).join(profile).join("deps");
    let mut files = Vec::new();
    for entry in
        std::fs::read_dir(&deps).with_context(|| format!("cannot list {}", deps.display()))?
    {
        let path = entry
            .with_context(|| format!("cannot list {}", deps.display()))?
            .path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if path.extension().is_some_and(|found| found == ending) && !name.starts_with("libempty-") {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("building std left no .{ending} file in {}", deps.display());
    }
    Ok(files)
}
