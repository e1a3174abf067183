//! `cellblock-agent`: the agent's command line. It parses, sets up logging, and hands over to the library.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cellblock_agent::config::{Config, Options};
use cellblock_agent::{Agent, Guardian, Surroundings, Way, emulated, guard};
use cellblock_agent_core::host::Host;
use cellblock_freebsd::{FreeBsd, Real, System, inside};
use clap::{Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

/// How long a jail's start or stop is waited for before the agent goes on with the next: long enough for a jail without services,
/// short enough that many slow ones start side by side.
const PATIENCE: Duration = Duration::from_millis(500);

/// Keeps this host's jails and their networks as the controller says
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// What to drive: this FreeBSD machine, or an emulated one in a process of its own
    #[arg(
        long,
        env = "CELLBLOCK_AGENT_HOST",
        value_enum,
        default_value = "freebsd"
    )]
    host: HostKind,
    /// Where the emulated host is served [default: emulated.sock in the state folder]
    #[arg(long, value_name = "SOCKET")]
    emulator: Option<PathBuf>,
    /// Where the controllers are seen from an emulated host, whose network must lead there: an address, and the card (and VLAN) behind which it is, such as 10.0.2.2@vtnet0 or 10.30.0.99@vtnet1.30
    #[arg(
        long,
        env = "CELLBLOCK_AGENT_CONTROLLER_AT",
        value_name = "ADDRESS@CARD"
    )]
    controller_at: Option<emulated::Outside>,
    #[command(subcommand)]
    command: Option<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum HostKind {
    Freebsd,
    Emulated,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Serve an emulated host on a socket, until killed
    Emulate {
        /// The socket
        #[arg(long, value_name = "SOCKET")]
        socket: PathBuf,
        /// Seed of everything random about it
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Become a program that attaches to a jail, without what the jail must not have; the agent starts this for itself
    #[command(hide = true)]
    Enter {
        /// The standard streams are a terminal
        #[arg(long)]
        terminal: bool,
        /// The program
        #[arg(required = true, last = true)]
        argv: Vec<String>,
    },
    /// Run the host's pfctl(8) in the network stack of a VNET jail
    Pfctl {
        /// The jail, by name or jid
        jail: String,
        /// What pfctl(8) is told; a file behind `-f` is one of the host's
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Take back the change whose record is in the state folder, unless it is confirmed; the agent starts this for itself
    #[command(hide = true)]
    Guard {
        /// The folder of the record
        #[arg(long, value_name = "DIR")]
        record: PathBuf,
        /// The agent's folder on the host
        #[arg(long, value_name = "DIR")]
        folder: String,
    },
    /// Run a command on an emulated host, as at its console
    Console {
        /// The socket that it is served on
        #[arg(long, value_name = "SOCKET")]
        socket: PathBuf,
        /// The command, such as `mkdir -p /jails/www`, or `pfctl -sr`; with the word `-`, it is given standard input
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Follow the beginning of a TCP connection on an emulated host; exit status 0 if it gets there, and the answer back
    Trace {
        /// The socket that it is served on
        #[arg(long, value_name = "SOCKET")]
        socket: PathBuf,
        #[command(flatten)]
        question: emulated::Question,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let served = match cli.command {
        Some(Action::Console { socket, command }) => {
            return emulated::console(&socket, command).map(ExitCode::from);
        }
        Some(Action::Trace { socket, question }) => {
            return emulated::trace(&socket, question).map(ExitCode::from);
        }
        Some(Action::Guard { record, folder }) => {
            let system: Arc<dyn System> = match cli.emulator {
                Some(socket) => Arc::new(emulated::Remote::new(socket)),
                None => Arc::new(Real),
            };
            return guard(&record, &FreeBsd::new(system, folder));
        }
        Some(Action::Enter { terminal, argv }) => {
            let error = match inside::enter(terminal, &argv) {
                Ok(never) => match never {},
                Err(error) => error,
            };
            let program = argv.first().map_or("", String::as_str);
            return Err(anyhow::Error::new(error).context(format!("{program} cannot be run")));
        }
        Some(Action::Pfctl { jail, arguments }) => match inside::pfctl(&jail, &arguments)? {},
        Some(Action::Emulate { socket, seed }) => Some((socket, seed)),
        None => None,
    };
    let config = Config::resolve(cli.options)?;
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log).with_context(|| {
        format!(
            "log: `{}` is no filter such as `info` or `cellblock_agent=debug`",
            config.log
        )
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    if let Some((socket, seed)) = served {
        emulated::serve(
            &socket,
            &emulated::Live::new(emulated::prepared(&config.host_name, seed)?),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut config = config;
    let mut arguments: Vec<OsString> = Vec::new();
    let mut way: Option<Way> = None;
    let is_this_machine = matches!(cli.host, HostKind::Freebsd);
    let system: Arc<dyn System> = match cli.host {
        HostKind::Freebsd if !cfg!(target_os = "freebsd") => {
            anyhow::bail!(
                "this machine does not run FreeBSD; `--host emulated` gives it an emulated host to try things on"
            )
        }
        HostKind::Freebsd => Arc::new(Real),
        HostKind::Emulated => {
            let socket = cli
                .emulator
                .unwrap_or_else(|| config.state_dir.join("emulated.sock"));
            config.host_folder = Some("/var/db/cellblock".to_owned());
            emulated::start_if_absent(&socket, &config.host_name)?;
            arguments.extend(["--emulator".into(), socket.clone().into_os_string()]);
            let remote = Arc::new(emulated::Remote::new(socket));
            way = cli.controller_at.map(|outside| remote.way_to(outside));
            remote
        }
    };
    arguments.extend(["guard".into(), "--record".into()]);
    arguments.push(config.state_dir.clone().into_os_string());
    arguments.extend(["--folder".into(), config.folder().into()]);
    let surroundings = Surroundings {
        guardian: Guardian::Process { arguments },
        way,
        is_this_machine,
        system: Some(system.clone()),
    };
    let host: Arc<dyn Host + Send + Sync> =
        Arc::new(FreeBsd::new(system, config.folder()).with_patience(PATIENCE));
    // One thread for the session and one for the host: more would have nothing to do, and each keeps memory of its own.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?
        .block_on(run(config, host, surroundings))?;
    Ok(ExitCode::SUCCESS)
}

/// A process of its own: what ends the agent, its process group or its session does not end it.
fn guard(record: &Path, host: &dyn Host) -> anyhow::Result<ExitCode> {
    rustix::process::setsid().context("no session of its own")?;
    guard::watch(
        record,
        host,
        &mut std::io::stdin().lock(),
        &mut std::io::stdout().lock(),
    )?;
    Ok(ExitCode::SUCCESS)
}

async fn run(
    config: Config,
    host: Arc<dyn Host + Send + Sync>,
    surroundings: Surroundings,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    tracing::info!(host = %config.host_name, version = env!("CARGO_PKG_VERSION"), "the agent starts");
    let mut agent = Agent::start_in(config, host, surroundings)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // Whoever runs the agent starts it again; daemon(8) does. Jails go on.
        () = agent.failed() => anyhow::bail!("the worker died, so the agent ends; the log says above where"),
    }
    tracing::info!("the agent stops; jails go on");
    agent.stop().await;
    Ok(())
}
