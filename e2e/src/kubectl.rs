//! kubectl as a process, unmodified, of one release or another: found as etcd is, in `PATH`, or where `cargo xtask prerequisites`
//! puts it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::fleet::Fleet;
use crate::said::{Running, Said};

/// A kubectl that speaks to the controller of a fleet.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    home: PathBuf,
    environment: Vec<(&'static str, OsString)>,
}

impl Kubectl {
    /// The kubectl of a release such as `1.37`, with a folder of its own in the fleet's.
    ///
    /// # Errors
    /// It is missing; the error says how to get it.
    pub fn find(release: &str, fleet: &Fleet) -> anyhow::Result<Self> {
        let server = format!("server: \"{}\"", fleet.server());
        Self::of(release, fleet.folder(), &server, "")
    }

    /// The kubectl of a release with a folder of its own in `folder`, for one cluster and one user, each as the members of its entry
    /// in a kubeconfig.
    ///
    /// # Errors
    /// As [`Kubectl::find`].
    pub fn of(release: &str, folder: &Path, cluster: &str, user: &str) -> anyhow::Result<Self> {
        let program = program(&format!("kubectl-{release}"))?;
        let home = folder.join(format!("kubectl-{release}"));
        std::fs::create_dir_all(&home)?;
        let config = home.join("config");
        std::fs::write(
            &config,
            format!(
                "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{{cluster}}}}}]\n\
                 users: [{{name: u, user: {{{user}}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\ncurrent-context: c\n"
            ),
        )?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        Ok(Self {
            program,
            home,
            environment: vec![("KUBECONFIG", config.into()), ("PATH", path)],
        })
    }

    /// The same with a shell command as its editor; `$1` is the file.
    ///
    /// # Errors
    /// The script cannot be written.
    pub fn with_editor(&self, command: &str) -> anyhow::Result<Self> {
        let script = self.home.join("editor");
        std::fs::write(&script, command)?;
        let mut editor = OsString::from("sh ");
        editor.push(&script);
        let mut other = self.clone();
        other.environment.push(("KUBE_EDITOR", editor));
        Ok(other)
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It cannot be run, or hangs. That it fails is no error here.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Said> {
        self.run_with(arguments, "")
    }

    /// Runs it to its end with `stdin` to read.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub fn run_with(&self, arguments: &[&str], stdin: &str) -> anyhow::Result<Said> {
        self.start_with(arguments, stdin)?.end()
    }

    /// Starts it.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start(&self, arguments: &[&str]) -> anyhow::Result<Running> {
        self.start_with(arguments, "")
    }

    fn start_with(&self, arguments: &[&str], stdin: &str) -> anyhow::Result<Running> {
        let environment: Vec<(&str, &OsStr)> = self
            .environment
            .iter()
            .map(|(name, value)| (*name, value.as_os_str()))
            .collect();
        let stdin = stdin.as_bytes().to_vec();
        Running::start_in(&self.program, &self.home, &environment, arguments, stdin)
    }
}

fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&path).map(|folder| folder.join(name));
    if let Some(program) = programs.find(|program| program.is_file()) {
        return Ok(program);
    }
    // <target>/<profile>/deps/<test>
    let test = std::env::current_exe().context("this test cannot find itself")?;
    let target = test.ancestors().nth(3);
    let folder = target.map(|target| target.join("xtask").join("kubectl"));
    let kept = folder.and_then(|folder| std::fs::read_dir(folder).ok());
    let kept = kept.into_iter().flatten().filter_map(Result::ok);
    // It may say more of its version than the test does.
    let longer = format!("{name}.");
    let fits = |file: &OsStr| {
        let file = file.to_str();
        file.is_some_and(|file| file == name || file.starts_with(&longer))
    };
    let fitting = kept.filter(|entry| fits(&entry.file_name()));
    let files = fitting
        .map(|entry| entry.path())
        .filter(|path| path.is_file());
    files
        .max()
        .with_context(|| format!("{name} is missing: `cargo xtask prerequisites` fetches it, or put one into PATH by that name"))
}
