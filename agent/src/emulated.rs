//! An emulated host as a process of its own, behind a unix socket: an agent can be killed at any moment while its host lives on, and the host can be killed as by a power failure.
//!
//! One JSON document per line each way. The socket is for tests, the sandbox and trying things out; whoever may connect may do everything.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cellblock_fakebsd::emulator::{Heard, Said};
use cellblock_fakebsd::trace::{Listening, Origin, Place, Probe, Verdict};
use cellblock_fakebsd::{Emulator, HardwareProfile, Release};
use cellblock_freebsd::command::OUTPUT_BYTES_MAX;
use cellblock_freebsd::emulated::Emulated;
use cellblock_freebsd::visit::{LogPart, Visit, Visited};
use cellblock_freebsd::{Command, Output, System, SystemError};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::Way;

mod visit;

/// The port that a controller listens on, as an emulated host's network sees it.
const CONTROLLER_PORT: u16 = 7443;

/// What can be asked of an emulated host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "ask")]
pub enum Request {
    /// Run a command.
    Run {
        /// Its words, the program's path first.
        argv: Vec<String>,
        /// What it reads.
        stdin: Option<String>,
    },
    /// Read a file.
    Read {
        /// Its path.
        path: String,
    },
    /// Write a file.
    Write {
        /// Its path.
        path: String,
        /// Its content.
        content: String,
    },
    /// Write a file of somebody else's.
    Replace {
        /// Its path.
        path: String,
        /// What is written first.
        beside: String,
        /// Its content.
        content: String,
    },
    /// Remove a file.
    Remove {
        /// Its path.
        path: String,
    },
    /// List a directory.
    List {
        /// Its path.
        path: String,
    },
    /// The path of a directory without symbolic links.
    RealPath {
        /// Its path.
        path: String,
    },
    /// The size of a file.
    Size {
        /// Its path.
        path: String,
    },
    /// Copy the end of a file beside it, and empty it.
    Rotate {
        /// Its path.
        path: String,
        /// Where the end goes.
        beside: String,
        /// How much of it, in octets.
        bytes_max: u64,
    },
    /// A piece of a file, with no link on the way.
    ReadLog {
        /// Its path.
        path: String,
        /// From where on.
        from: u64,
        /// How much, in octets.
        bytes_max: usize,
    },
    /// Run a command that is spoken with; it is hung up when the connection ends.
    Visit {
        /// Its words.
        argv: Vec<String>,
        /// The rows and columns of its terminal.
        terminal: Option<(u16, u16)>,
    },
    /// Speak with it.
    Talk {
        /// As it was answered.
        pid: u32,
        /// What is said.
        words: Words,
    },
    /// Whether the host's network leads to a machine outside.
    Reaches {
        /// The machine.
        outside: Outside,
    },
    /// Everything that can be observed, as sorted lines.
    Fingerprint,
    /// The commands of a changing kind that were run so far.
    ChangingCommands,
    /// Cut the power and boot again, with what rc(8) does then.
    Reboot,
    /// Follow the beginning of a TCP connection, with a listener everywhere.
    Trace(Question),
}

/// What is said to a program that is spoken with; octets in base64.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Words {
    /// Input.
    Input(String),
    /// No more input.
    End,
    /// The terminal's rows and columns.
    Window(u16, u16),
    /// Nobody is there any more.
    HangUp,
    /// Nothing.
    Nothing,
}

/// The beginning of a TCP connection.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// The jail that it starts in; without it, the host
    #[arg(long, value_name = "JAIL")]
    pub from: Option<String>,
    /// An address that the sender binds to
    #[arg(long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,
    /// The sender's uid; without it, root's
    #[arg(long, value_name = "UID")]
    pub user: Option<u32>,
    /// The sender's routing table
    #[arg(long, value_name = "NUMBER")]
    pub fib: Option<u32>,
    /// Who listens is bound to 127.0.0.1 or ::1 alone
    #[arg(long)]
    pub loopback: bool,
    /// The address asked for
    pub to: IpAddr,
    /// The port asked for
    pub port: u16,
}

impl From<&Question> for Probe {
    fn from(question: &Question) -> Self {
        let from = question.from.clone().map_or(Origin::Host, Origin::Jail);
        Self {
            source: question.source,
            user: question.user,
            fib: question.fib,
            listening: if question.loopback {
                Listening::Loopback
            } else {
                Listening::Everywhere
            },
            ..Self::tcp(from, question.to, question.port)
        }
    }
}

/// A machine on the wire behind one of an emulated host's cards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outside {
    /// Its address.
    pub address: IpAddr,
    /// The port that is asked for.
    pub port: u16,
    /// The card, and the VLAN: `vtnet1.30`.
    pub behind: String,
}

impl FromStr for Outside {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('@');
        let read = parts.and_then(|(address, behind)| Some((address.parse().ok()?, behind)));
        let (address, behind) = read.ok_or_else(|| {
            format!("`{text}` is no address and card such as 10.0.2.2@vtnet0 or fd00::2@vtnet1.30")
        })?;
        Ok(Self {
            address,
            port: CONTROLLER_PORT,
            behind: behind.to_owned(),
        })
    }
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "answer")]
pub enum Response {
    /// A command ended.
    Ran {
        /// Exit status.
        status: i32,
        /// Standard output.
        stdout: String,
        /// Standard error.
        stderr: String,
    },
    /// A file's content, if there is such a file.
    Content {
        /// The content.
        content: Option<String>,
    },
    /// Lines: entries of a directory, a fingerprint, a log; none if there is no such directory.
    Lines {
        /// The lines.
        lines: Option<Vec<String>>,
    },
    /// A command is spoken with.
    Visited {
        /// How it is called from now on.
        pid: u32,
    },
    /// What it says; octets in base64.
    Heard {
        /// Standard output, or the terminal.
        stdout: String,
        /// Standard error.
        stderr: String,
        /// Its exit status, once it has ended.
        status: Option<i32>,
        /// It goes on writing without being spoken to.
        is_busy: bool,
    },
    /// A piece of a file, if there is such a file; octets in base64.
    Log {
        /// Which file, its size, and the piece.
        part: Option<(u64, u64, String)>,
    },
    /// A file's size, if there is such a file.
    Size {
        /// In octets.
        bytes: Option<u64>,
    },
    /// What became of a packet.
    Traced {
        /// Whether a listener was reached and its answer came back.
        reached: bool,
        /// Each hop, and on the last line how it ended.
        text: String,
    },
    /// Done.
    Done,
    /// Not done.
    Failed {
        /// Whether the disk is full.
        full: bool,
        /// Why.
        message: String,
    },
}

/// A freshly booted emulated host, as an operator would have prepared it: pf enabled with our anchors in its main ruleset, devfs rulesets loaded, forwarding on.
///
/// # Errors
/// The emulator refuses one of the commands.
pub fn prepared(name: &str, seed: u64) -> anyhow::Result<Emulator> {
    let mut hardware = HardwareProfile::recorded();
    hardware.racct = true;
    name.clone_into(&mut hardware.hostname);
    hardware.seed = seed;
    for (index, nic) in hardware.nics.iter_mut().enumerate() {
        let [.., a, b] = seed.to_be_bytes();
        nic.mac = [
            0x52,
            0x54,
            a,
            b,
            0x34,
            0x56 + u8::try_from(index).unwrap_or_default(),
        ];
    }
    prepared_as(Release::V15_1, hardware)
}

/// The same on other hardware, or of another release.
///
/// # Errors
/// The emulator refuses one of the commands.
pub fn prepared_as(release: Release, hardware: HardwareProfile) -> anyhow::Result<Emulator> {
    let mut emulator = Emulator::new(release, hardware);
    let text = "nat-anchor \"cellblock/*\"\nrdr-anchor \"cellblock/*\"\nbinat-anchor \"cellblock/*\"\nanchor \"cellblock/*\"\npass\n";
    for directory in ["/etc", "/jails", "/tmp", "/var/db/cellblock/jails"] {
        emulator
            .files
            .create_directories(directory)
            .map_err(|error| anyhow::anyhow!("{directory}: {error}"))?;
    }
    emulator
        .files
        .write("/etc/pf.conf", text)
        .map_err(|error| anyhow::anyhow!("/etc/pf.conf: {error}"))?;
    start_up(&mut emulator)?;
    Ok(emulator)
}

/// What rc(8) does at every boot of a host with `pf_enable`, `gateway_enable`, `ipv6_gateway_enable` and devfs rules in its rc.conf. It leaves no trace in the log of commands.
fn start_up(emulator: &mut Emulator) -> anyhow::Result<()> {
    let logged = emulator.log.len();
    for line in [
        "kldload -n pf",
        "pfctl -e -f /etc/pf.conf",
        "sysctl net.inet.ip.forwarding=1",
        "sysctl net.inet6.ip6.forwarding=1",
        "devfs rule -s 4 add hide",
        "devfs rule -s 4 add path null unhide",
        "devfs rule -s 5 add include 4",
        "devfs rule -s 5 add path pf unhide",
    ] {
        let output = emulator.sh(line);
        anyhow::ensure!(
            output.status == 0,
            "`{line}` on the emulated host: {}",
            output.stderr.trim()
        );
    }
    emulator.log.truncate(logged);
    Ok(())
}

/// Lets virtual time keep pace with the clock on the wall.
#[derive(Debug)]
struct Clock {
    last: Mutex<Instant>,
}

impl Clock {
    fn catch_up(&self, host: &Emulated) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        host.emulator().advance(now.duration_since(*last));
        *last = now;
    }
}

/// An emulated host in this process whose time is the clock on the wall.
#[derive(Clone, Debug)]
pub struct Live {
    host: Emulated,
    clock: Arc<Clock>,
}

impl Live {
    /// The host of `emulator`, from now on.
    #[must_use]
    pub fn new(emulator: Emulator) -> Self {
        Self {
            host: Emulated::new(emulator),
            clock: Arc::new(Clock {
                last: Mutex::new(Instant::now()),
            }),
        }
    }

    /// The emulator, brought up to now.
    pub fn emulator(&self) -> std::sync::MutexGuard<'_, Emulator> {
        self.clock.catch_up(&self.host);
        self.host.emulator()
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, request: Request) -> Response {
        self.clock.catch_up(&self.host);
        let result = match request {
            Request::Run { argv, stdin } => self
                .host
                .run(&Command {
                    argv,
                    stdin,
                    timeout: Duration::MAX,
                    bytes_max: OUTPUT_BYTES_MAX,
                    discards_stdout: false,
                    stdout_file: None,
                    stderr_file: None,
                })
                .map(|output| Response::Ran {
                    status: output.status,
                    stdout: output.stdout,
                    stderr: output.stderr,
                }),
            Request::Read { path } => self
                .host
                .read_file(&path)
                .map(|content| Response::Content { content }),
            Request::Write { path, content } => self
                .host
                .write_file(&path, &content)
                .map(|()| Response::Done),
            Request::Replace {
                path,
                beside,
                content,
            } => self
                .host
                .replace_file(&path, &beside, &content)
                .map(|()| Response::Done),
            Request::Remove { path } => self.host.remove_file(&path).map(|()| Response::Done),
            Request::List { path } => self
                .host
                .list_dir(&path)
                .map(|lines| Response::Lines { lines }),
            Request::RealPath { path } => self
                .host
                .real_path(&path)
                .map(|content| Response::Content { content }),
            Request::Size { path } => self
                .host
                .file_size(&path)
                .map(|bytes| Response::Size { bytes }),
            Request::Rotate {
                path,
                beside,
                bytes_max,
            } => self
                .host
                .rotate_file(&path, &beside, bytes_max)
                .map(|()| Response::Done),
            Request::ReadLog {
                path,
                from,
                bytes_max,
            } => self
                .host
                .read_log(&path, from, bytes_max)
                .map(|part| Response::Log {
                    part: part.map(|part| (part.file, part.size, BASE64.encode(&part.bytes))),
                }),
            Request::Visit { argv, terminal } => Ok(Response::Visited {
                pid: self.host.emulator().visit(&argv, terminal),
            }),
            Request::Talk { pid, words } => Ok(self.talked(pid, &words)),
            Request::Reaches { outside } => Ok(self.reaches(&outside)),
            Request::Fingerprint => Ok(Response::Lines {
                lines: Some(self.host.emulator().fingerprint()),
            }),
            Request::ChangingCommands => {
                let emulator = self.host.emulator();
                let changing = emulator.log.iter().filter(|logged| logged.changing);
                Ok(Response::Lines {
                    lines: Some(changing.map(|logged| logged.argv.join(" ")).collect()),
                })
            }
            Request::Trace(question) => {
                let trace = self.host.emulator().trace(&Probe::from(&question));
                Ok(Response::Traced {
                    reached: trace.reached(),
                    text: trace.to_string(),
                })
            }
            Request::Reboot => {
                let mut emulator = self.host.emulator();
                emulator.reboot();
                match start_up(&mut emulator) {
                    Ok(()) => Ok(Response::Done),
                    Err(error) => Ok(Response::Failed {
                        full: false,
                        message: format!("{error:#}"),
                    }),
                }
            }
        };
        result.unwrap_or_else(|error| Response::Failed {
            full: error.is_disk_full(),
            message: describe(&error),
        })
    }
}

impl Live {
    fn talked(&self, pid: u32, words: &Words) -> Response {
        let octets = match words {
            Words::Input(text) => BASE64.decode(text.as_bytes()).unwrap_or_default(),
            Words::End | Words::Window(..) | Words::HangUp | Words::Nothing => Vec::new(),
        };
        let said = match words {
            Words::Input(_) => Said::Input(&octets),
            Words::End => Said::End,
            Words::Window(rows, columns) => Said::Window(*rows, *columns),
            Words::HangUp => Said::HangUp,
            Words::Nothing => Said::Nothing,
        };
        let heard = self.host.emulator().talk(pid, said);
        Response::Heard {
            stdout: BASE64.encode(&heard.stdout),
            stderr: BASE64.encode(&heard.stderr),
            status: heard.status,
            is_busy: heard.is_busy,
        }
    }

    fn reaches(&self, outside: &Outside) -> Response {
        let probe = Probe::tcp(Origin::Host, outside.address, outside.port);
        let trace = self.host.emulator().trace(&probe);
        let place = Place::Outside(outside.behind.clone());
        match &trace.verdict {
            Verdict::Reached { by, .. } if by.place == place => Response::Done,
            Verdict::Reached { .. } | Verdict::Blocked { .. } | Verdict::Lost { .. } => {
                Response::Failed {
                    full: false,
                    message: trace.summary(),
                }
            }
        }
    }
}

impl System for Live {
    fn run(&self, command: &Command) -> Result<Output, SystemError> {
        self.clock.catch_up(&self.host);
        self.host.run(command)
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, SystemError> {
        self.host.read_file(path)
    }

    fn write_file(&self, path: &str, content: &str) -> Result<(), SystemError> {
        self.host.write_file(path, content)
    }

    fn replace_file(&self, path: &str, beside: &str, content: &str) -> Result<(), SystemError> {
        self.host.replace_file(path, beside, content)
    }

    fn remove_file(&self, path: &str) -> Result<(), SystemError> {
        self.host.remove_file(path)
    }

    fn list_dir(&self, path: &str) -> Result<Option<Vec<String>>, SystemError> {
        self.host.list_dir(path)
    }

    fn real_path(&self, path: &str) -> Result<Option<String>, SystemError> {
        self.host.real_path(path)
    }

    fn file_size(&self, path: &str) -> Result<Option<u64>, SystemError> {
        self.host.file_size(path)
    }

    fn rotate_file(&self, path: &str, beside: &str, bytes_max: u64) -> Result<(), SystemError> {
        self.host.rotate_file(path, beside, bytes_max)
    }

    fn visit(&self, visit: &Visit) -> Result<Visited, SystemError> {
        visit::begin(self.clone(), visit).map_err(|source| SystemError::Spawn {
            line: visit.argv.join(" "),
            source,
        })
    }

    fn read_log(
        &self,
        path: &str,
        from: u64,
        bytes_max: usize,
    ) -> Result<Option<LogPart>, SystemError> {
        self.host.read_log(path, from, bytes_max)
    }
}

impl visit::Stage for Live {
    fn begin(&self, argv: &[String], terminal: Option<(u16, u16)>) -> std::io::Result<u32> {
        Ok(self.emulator().visit(argv, terminal))
    }

    fn talk(&self, pid: u32, said: Said<'_>) -> std::io::Result<Heard> {
        Ok(self.emulator().talk(pid, said))
    }
}

fn describe(error: &SystemError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Serves an emulated host on `socket` until the process ends.
///
/// # Errors
/// The socket cannot be made, or somebody serves it already.
pub fn serve(socket: &Path, host: &Live) -> anyhow::Result<()> {
    if UnixStream::connect(socket).is_ok() {
        anyhow::bail!("an emulated host is served on {} already", socket.display());
    }
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket)
        .with_context(|| format!("the socket {} could not be made", socket.display()))?;
    for stream in listener.incoming() {
        let stream = stream.context("a connection could not be taken")?;
        let host = host.clone();
        std::thread::Builder::new()
            .name("emulated-host".to_owned())
            .spawn(move || {
                if let Err(error) = serve_one(&stream, &host) {
                    tracing::debug!("a connection to the emulated host ended: {error:#}");
                }
            })
            .context("a thread could not be started")?;
    }
    Ok(())
}

/// Starts a process that serves an emulated host on `socket`, unless one does. It outlives this process.
///
/// # Errors
/// The process cannot be started, or does not serve within ten seconds.
pub fn start_if_absent(socket: &Path, host_name: &str) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    if UnixStream::connect(socket).is_ok() {
        return Ok(());
    }
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("the folder {} could not be made", folder.display()))?;
    }
    let program = std::env::current_exe().context("this program cannot find itself")?;
    // Not a command on a host: the host itself. A process group of its own, so that what ends the agent does not end it.
    std::process::Command::new(program)
        .args(["--host-name", host_name, "emulate", "--socket"])
        .arg(socket)
        .stdin(std::process::Stdio::null())
        .process_group(0)
        .spawn()
        .context("the emulated host could not be started")?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while UnixStream::connect(socket).is_err() {
        anyhow::ensure!(
            Instant::now() < deadline,
            "the emulated host does not serve {}",
            socket.display()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Runs a command on the emulated host that is served on a socket, as somebody at its console would, with its standard input if it is told to read it (`-`). Returns its exit status.
///
/// # Errors
/// No host is served there, or what the command printed cannot be written.
pub fn console(socket: &Path, argv: Vec<String>) -> anyhow::Result<u8> {
    let mut stdin = None;
    if argv.iter().any(|word| word == "-") {
        let text = stdin.insert(String::new());
        std::io::stdin()
            .read_to_string(text)
            .context("standard input cannot be read")?;
    }
    let command = Command {
        argv,
        stdin,
        timeout: Duration::MAX,
        bytes_max: OUTPUT_BYTES_MAX,
        discards_stdout: false,
        stdout_file: None,
        stderr_file: None,
    };
    let output = Remote::new(socket.to_owned()).run(&command)?;
    std::io::stderr().write_all(output.stderr.as_bytes())?;
    std::io::stdout().write_all(output.stdout.as_bytes())?;
    std::io::stdout().flush()?;
    Ok(u8::try_from(output.status).unwrap_or(u8::MAX))
}

/// Prints the way of a packet on the emulated host that is served on a socket. Returns 0 if it reached somebody who listens, and the answer came back.
///
/// # Errors
/// No host is served there, or the way cannot be written.
pub fn trace(socket: &Path, question: Question) -> anyhow::Result<u8> {
    let answer = Remote::new(socket.to_owned())
        .ask(&Request::Trace(question))
        .with_context(|| format!("no emulated host answers on {}", socket.display()))?;
    let Response::Traced { reached, text } = answer else {
        anyhow::bail!("the emulated host says something else: {answer:?}");
    };
    std::io::stdout().write_all(format!("{}\n", text.trim_end()).as_bytes())?;
    std::io::stdout().flush()?;
    Ok(u8::from(!reached))
}

fn serve_one(stream: &UnixStream, host: &Live) -> anyhow::Result<()> {
    let mut writer = stream.try_clone()?;
    // What was begun by this connection: it ends with it, as a real one does with the agent.
    let mut visits = Visits {
        host,
        pids: Vec::new(),
    };
    for line in BufReader::new(stream).lines() {
        let response = host.answer(serde_json::from_str(&line?)?);
        if let Response::Visited { pid } = response {
            visits.pids.push(pid);
        }
        let mut text = serde_json::to_vec(&response)?;
        text.push(b'\n');
        writer.write_all(&text)?;
    }
    Ok(())
}

/// Hangs up what was begun.
struct Visits<'a> {
    host: &'a Live,
    pids: Vec<u32>,
}

impl Drop for Visits<'_> {
    fn drop(&mut self) {
        for pid in &self.pids {
            self.host.emulator().talk(*pid, Said::HangUp);
        }
    }
}

/// An emulated host in another process.
#[derive(Debug)]
pub struct Remote {
    socket: PathBuf,
    connection: Mutex<Option<BufReader<UnixStream>>>,
}

impl Remote {
    /// The host served on `socket`; the connection is made when it is needed, and again when it broke.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            connection: Mutex::new(None),
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// Nobody serves the socket, or the host died before it answered: then nothing is known of the effect.
    pub fn ask(&self, request: &Request) -> std::io::Result<Response> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut reader = match connection.take() {
            Some(reader) => reader,
            None => BufReader::new(UnixStream::connect(&self.socket)?),
        };
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        reader.get_mut().write_all(&text)?;
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        *connection = Some(reader);
        Ok(serde_json::from_str(&line)?)
    }

    /// Whether the host's network leads to `outside`, asked each time.
    #[must_use]
    pub fn way_to(self: &Arc<Self>, outside: Outside) -> Way {
        let remote = self.clone();
        Arc::new(move || {
            let request = Request::Reaches {
                outside: outside.clone(),
            };
            match remote.ask(&request) {
                Ok(Response::Failed { message, .. }) => Err(message),
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn file<T>(
        &self,
        action: &'static str,
        path: &str,
        request: &Request,
        take: impl FnOnce(Response) -> Option<T>,
    ) -> Result<T, SystemError> {
        let error = |source| SystemError::File {
            action,
            path: path.to_owned(),
            source,
        };
        let response = self.ask(request).map_err(error)?;
        if let Response::Failed { full, message } = response {
            let full_disk = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(error(if full {
                full_disk
            } else {
                std::io::Error::other(message)
            }));
        }
        take(response).ok_or_else(|| error(std::io::ErrorKind::InvalidData.into()))
    }
}

impl System for Remote {
    fn run(&self, command: &Command) -> Result<Output, SystemError> {
        let request = Request::Run {
            argv: command.argv.clone(),
            stdin: command.stdin.clone(),
        };
        let error = |source| SystemError::Spawn {
            line: command.line(),
            source,
        };
        match self.ask(&request).map_err(error)? {
            Response::Ran {
                status,
                stdout,
                stderr,
            } => Ok(Output {
                status,
                stdout,
                stderr,
            }),
            Response::Failed { message, .. } => Err(error(std::io::Error::other(message))),
            Response::Content { .. }
            | Response::Lines { .. }
            | Response::Size { .. }
            | Response::Visited { .. }
            | Response::Heard { .. }
            | Response::Log { .. }
            | Response::Traced { .. }
            | Response::Done => Err(error(std::io::ErrorKind::InvalidData.into())),
        }
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, SystemError> {
        self.file(
            "read",
            path,
            &Request::Read {
                path: path.to_owned(),
            },
            |response| {
                if let Response::Content { content } = response {
                    Some(content)
                } else {
                    None
                }
            },
        )
    }

    fn write_file(&self, path: &str, content: &str) -> Result<(), SystemError> {
        let request = Request::Write {
            path: path.to_owned(),
            content: content.to_owned(),
        };
        self.file("write", path, &request, |response| {
            matches!(response, Response::Done).then_some(())
        })
    }

    fn replace_file(&self, path: &str, beside: &str, content: &str) -> Result<(), SystemError> {
        let request = Request::Replace {
            path: path.to_owned(),
            beside: beside.to_owned(),
            content: content.to_owned(),
        };
        self.file("write", path, &request, |response| {
            matches!(response, Response::Done).then_some(())
        })
    }

    fn remove_file(&self, path: &str) -> Result<(), SystemError> {
        let request = Request::Remove {
            path: path.to_owned(),
        };
        self.file("remove", path, &request, |response| {
            matches!(response, Response::Done).then_some(())
        })
    }

    fn list_dir(&self, path: &str) -> Result<Option<Vec<String>>, SystemError> {
        self.file(
            "list",
            path,
            &Request::List {
                path: path.to_owned(),
            },
            |response| {
                if let Response::Lines { lines } = response {
                    Some(lines)
                } else {
                    None
                }
            },
        )
    }

    fn real_path(&self, path: &str) -> Result<Option<String>, SystemError> {
        let request = Request::RealPath {
            path: path.to_owned(),
        };
        self.file("look at", path, &request, |response| {
            if let Response::Content { content } = response {
                Some(content)
            } else {
                None
            }
        })
    }

    fn file_size(&self, path: &str) -> Result<Option<u64>, SystemError> {
        let request = Request::Size {
            path: path.to_owned(),
        };
        self.file("look at", path, &request, |response| {
            if let Response::Size { bytes } = response {
                Some(bytes)
            } else {
                None
            }
        })
    }

    fn rotate_file(&self, path: &str, beside: &str, bytes_max: u64) -> Result<(), SystemError> {
        let request = Request::Rotate {
            path: path.to_owned(),
            beside: beside.to_owned(),
            bytes_max,
        };
        self.file("rotate", path, &request, |response| {
            matches!(response, Response::Done).then_some(())
        })
    }

    fn visit(&self, visit: &Visit) -> Result<Visited, SystemError> {
        // A connection of its own: it is busy as long as the visit lasts.
        let remote = Self::new(self.socket.clone());
        visit::begin(remote, visit).map_err(|source| SystemError::Spawn {
            line: visit.argv.join(" "),
            source,
        })
    }

    fn read_log(
        &self,
        path: &str,
        from: u64,
        bytes_max: usize,
    ) -> Result<Option<LogPart>, SystemError> {
        let request = Request::ReadLog {
            path: path.to_owned(),
            from,
            bytes_max,
        };
        self.file("read", path, &request, |response| {
            let Response::Log { part } = response else {
                return None;
            };
            let Some((file, size, text)) = part else {
                return Some(None);
            };
            let bytes = BASE64.decode(text.as_bytes()).ok()?;
            Some(Some(LogPart {
                file,
                size,
                changed_ago: None,
                bytes,
            }))
        })
    }
}

impl visit::Stage for Remote {
    fn begin(&self, argv: &[String], terminal: Option<(u16, u16)>) -> std::io::Result<u32> {
        let request = Request::Visit {
            argv: argv.to_vec(),
            terminal,
        };
        let Response::Visited { pid } = self.ask(&request)? else {
            return Err(std::io::ErrorKind::InvalidData.into());
        };
        Ok(pid)
    }

    fn talk(&self, pid: u32, said: Said<'_>) -> std::io::Result<Heard> {
        let words = match said {
            Said::Input(bytes) => Words::Input(BASE64.encode(bytes)),
            Said::End => Words::End,
            Said::Window(rows, columns) => Words::Window(rows, columns),
            Said::HangUp => Words::HangUp,
            Said::Nothing => Words::Nothing,
        };
        let decoded = |text: String| {
            let bytes = BASE64.decode(text.as_bytes());
            bytes.map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidData))
        };
        let Response::Heard {
            stdout,
            stderr,
            status,
            is_busy,
        } = self.ask(&Request::Talk { pid, words })?
        else {
            return Err(std::io::ErrorKind::InvalidData.into());
        };
        Ok(Heard {
            stdout: decoded(stdout)?,
            stderr: decoded(stderr)?,
            status,
            is_busy,
        })
    }
}
