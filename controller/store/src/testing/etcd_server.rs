//! Starts, kills and restarts real etcd processes.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// How often servers started here report the progress of quiet watches, instead of etcd's ten minutes.
pub(super) const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// How long a server may take until it serves; seconds on a machine whose cores are all busy.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often to look whether it does.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How often to try again with other ports: between finding a free port and etcd's use of it, somebody else may take it.
const PORT_ATTEMPTS: usize = 5;

/// What etcd's log says once it answers clients; the wording holds for 3.4 to 3.6.
const READY: &str = "ready to serve client requests";

/// How much of the log an error quotes.
const LOG_LINES: usize = 15;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no etcd on this machine.
    #[error(
        "etcd is neither in PATH nor in /usr/bin or /usr/local/bin; install etcd-server (apt-get install etcd-server)"
    )]
    Missing,
    /// It could not be run.
    #[error("cannot run {}: {source}", .path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It ended or did not serve in time.
    #[error("etcd did not start: {reason}; the end of its log:\n{log}")]
    Failed {
        /// What was seen.
        reason: String,
        /// The last lines it wrote.
        log: String,
    },
    /// No temporary folder or free port.
    #[error("cannot prepare a server: {0}")]
    Prepare(#[from] std::io::Error),
}

/// How a server is to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdServerOptions {
    /// Serve `https`, with this certificate and key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Ask clients for a certificate signed by this authority.
    pub client_ca: Option<PathBuf>,
    /// Further arguments.
    pub arguments: Vec<String>,
}

/// An etcd process on loopback ports, with its data in a temporary folder. Killed when dropped.
#[derive(Debug)]
pub struct EtcdServer {
    program: PathBuf,
    arguments: Vec<String>,
    client_url: String,
    folder: TempDir,
    process: Option<Child>,
}

impl EtcdServer {
    /// Starts one with etcd's defaults.
    ///
    /// # Errors
    /// As [`EtcdServer::start_with`].
    pub async fn start() -> Result<Self, StartError> {
        Self::start_with(EtcdServerOptions::default()).await
    }

    /// Starts one and waits until it serves.
    ///
    /// # Errors
    /// [`StartError::Missing`] when etcd is not installed; [`StartError::Failed`] with its log when it does not serve.
    pub async fn start_with(options: EtcdServerOptions) -> Result<Self, StartError> {
        let mut members = Self::start_cluster(1, options).await?;
        Ok(members.pop().expect("a cluster of one has a member"))
    }

    /// Starts a cluster and waits until every member serves.
    ///
    /// # Errors
    /// As [`EtcdServer::start_with`].
    pub async fn start_cluster(
        members: usize,
        options: EtcdServerOptions,
    ) -> Result<Vec<Self>, StartError> {
        let program = find_etcd(std::env::var_os("PATH").as_deref())?;
        let mut attempt = 1;
        loop {
            match Self::try_start_cluster(&program, members, &options).await {
                Err(StartError::Failed { log, .. })
                    if attempt < PORT_ATTEMPTS && log.contains("address already in use") =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_start_cluster(
        program: &Path,
        members: usize,
        options: &EtcdServerOptions,
    ) -> Result<Vec<Self>, StartError> {
        let ports = free_ports(2 * members)?;
        let peers: Vec<String> = ports[members..]
            .iter()
            .map(|port| format!("http://127.0.0.1:{port}"))
            .collect();
        let cluster: Vec<String> = peers
            .iter()
            .enumerate()
            .map(|(n, peer)| format!("member{n}={peer}"))
            .collect();
        let scheme = if options.certificate.is_some() {
            "https"
        } else {
            "http"
        };
        let mut servers = Vec::new();
        for (n, peer) in peers.iter().enumerate() {
            let folder = tempfile::tempdir()?;
            let client_url = format!("{scheme}://127.0.0.1:{}", ports[n]);
            let mut arguments = vec![
                format!("--name=member{n}"),
                format!("--data-dir={}", folder.path().join("data").display()),
                format!("--listen-client-urls={client_url}"),
                format!("--advertise-client-urls={client_url}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster={}", cluster.join(",")),
                format!(
                    "--experimental-watch-progress-notify-interval={}ms",
                    PROGRESS_INTERVAL.as_millis()
                ),
            ];
            if let Some((certificate, key)) = &options.certificate {
                arguments.push(format!("--cert-file={}", certificate.display()));
                arguments.push(format!("--key-file={}", key.display()));
            }
            if let Some(ca) = &options.client_ca {
                arguments.push(format!("--trusted-ca-file={}", ca.display()));
                arguments.push("--client-cert-auth".to_owned());
            }
            arguments.extend(options.arguments.iter().cloned());
            let mut server = EtcdServer {
                program: program.to_owned(),
                arguments,
                client_url,
                folder,
                process: None,
            };
            server.spawn()?;
            servers.push(server);
        }
        for server in &mut servers {
            server.wait_until_ready().await?;
        }
        Ok(servers)
    }

    /// Where clients connect to.
    pub fn client_url(&self) -> &str {
        &self.client_url
    }

    /// Its process id while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// The folder of its data, there from its first start on. To be exchanged only while it does not run.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Kills it as a crash would, with SIGKILL. Its data stays. Whether it ran until then.
    pub fn kill(&mut self) -> bool {
        let Some(mut process) = self.process.take() else {
            return false;
        };
        let ran = matches!(process.try_wait(), Ok(None));
        // Both fail only for a process that has ended by itself.
        let _ = process.kill();
        let _ = process.wait();
        ran
    }

    /// Starts it again on the same ports and data, and waits until it serves.
    ///
    /// # Errors
    /// As [`EtcdServer::start_with`].
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.kill();
        self.spawn()?;
        self.wait_until_ready().await
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("etcd.log")
    }

    fn spawn(&mut self) -> Result<(), StartError> {
        // A log of its own for every run: an old one would say "ready" too early.
        let log = File::create(self.log_path())?;
        let spawned = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn();
        let process = spawned.map_err(|source| StartError::Run {
            path: self.program.clone(),
            source,
        })?;
        self.process = Some(process);
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> Result<(), StartError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
            if log.contains(READY) {
                return Ok(());
            }
            let ended = match &mut self.process {
                Some(process) => process.try_wait()?,
                None => None,
            };
            let reason = match ended {
                Some(status) => format!("it ended with {status}"),
                None if Instant::now() >= deadline => {
                    format!("not ready after {} s", START_TIMEOUT.as_secs())
                }
                None => {
                    sleep(LOOK_INTERVAL).await;
                    continue;
                }
            };
            let lines: Vec<&str> = log.lines().collect();
            let log = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            return Err(StartError::Failed { reason, log });
        }
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The etcd program: in PATH, or where packages put it.
fn find_etcd(path: Option<&std::ffi::OsStr>) -> Result<PathBuf, StartError> {
    let folders = path.map(std::env::split_paths).into_iter().flatten();
    let known = ["/usr/bin", "/usr/local/bin"]
        .into_iter()
        .map(PathBuf::from);
    let mut programs = folders.chain(known).map(|folder| folder.join("etcd"));
    programs
        .find(|program| program.is_file())
        .ok_or(StartError::Missing)
}

/// Ports that nobody listens on at the moment.
fn free_ports(count: usize) -> Result<Vec<u16>, std::io::Error> {
    // All are held until all are found, so that they differ.
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind(("127.0.0.1", 0)))
        .collect::<Result<_, _>>()?;
    listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}

#[cfg(test)]
mod tests;
