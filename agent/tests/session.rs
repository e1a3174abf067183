//! A whole agent on an emulated host, against a controller in this process that says what each test tells it to: what an agent sends, takes, refuses and does when the stream breaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use cellblock_agent::ledger_file::File;
use cellblock_agent::{Agent, Config, Guardian, Surroundings, emulated};
use cellblock_agent_core::host::{Host, HostError, Performed, Wanted};
use cellblock_agent_core::observed::Observed;
use cellblock_agent_core::op::Op;
use cellblock_freebsd::FreeBsd;
use cellblock_freebsd::emulated::Emulated;
use cellblock_proto::v1 as wire;
use cellblock_proto::v1::agents_server::{Agents, AgentsServer};
use cellblock_schemas::ids::{ClusterUid, Generation, Uid};
use cellblock_schemas::jail::{ExecProbe, ParameterValue, Probe, Probes, Root};
use cellblock_schemas::report::HostReport;
use cellblock_schemas::view::{HostView, JailView};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

/// How long anything may take on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// The longest pause that an agent makes between two tries here.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long an agent that must stay away is watched: several of the pauses that it makes between two tries at first, and less than half
/// of the longest, which is the shortest that it may come to.
const AWAY: Duration = Duration::from_millis(900);

/// How many messages of a stream may wait for each other.
const STREAM: usize = 16;

/// One session, as the controller has it.
struct Session {
    from_agent: Streaming<wire::AgentMessage>,
    to_agent: mpsc::Sender<Result<wire::ControllerMessage, Status>>,
}

/// A controller that hands every session to the test.
struct Scripted(mpsc::Sender<Session>);

#[tonic::async_trait]
impl Agents for Scripted {
    type AttendStream = ReceiverStream<Result<wire::VisitRequest, Status>>;
    type SessionStream = ReceiverStream<Result<wire::ControllerMessage, Status>>;

    async fn attend(
        &self,
        _: Request<Streaming<wire::VisitResponse>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        Err(Status::not_found("nobody waits for it"))
    }

    async fn session(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (to_agent, stream) = mpsc::channel(STREAM);
        let session = Session {
            from_agent: request.into_inner(),
            to_agent,
        };
        let taken = self.0.send(session).await;
        taken.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// A controller's address, and its sessions as they come.
struct Controller {
    address: SocketAddr,
    sessions: mpsc::Receiver<Session>,
}

impl Controller {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (send, sessions) = mpsc::channel(STREAM);
        let served = Server::builder()
            .add_service(AgentsServer::new(Scripted(send)))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(served);
        Ok(Self { address, sessions })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next session, and what the agent said first.
    async fn next(&mut self) -> anyhow::Result<(Session, wire::Hello)> {
        let session = tokio::time::timeout(DEADLINE, self.sessions.recv()).await;
        let mut session = session.context("no session came")?.context("no server")?;
        let first = session.hear().await?;
        let wire::agent_message::Message::Hello(hello) = first else {
            bail!("the agent began with {first:?}");
        };
        Ok((session, hello))
    }
}

impl Session {
    async fn hear(&mut self) -> anyhow::Result<wire::agent_message::Message> {
        let message = tokio::time::timeout(DEADLINE, self.from_agent.message()).await;
        let message = message.context("the agent said nothing")??;
        let message = message.and_then(|message| message.message);
        message.context("the agent closed the stream")
    }

    /// The next report that `wanted` holds for.
    async fn report(&mut self, wanted: impl Fn(&HostReport) -> bool) -> anyhow::Result<HostReport> {
        loop {
            if let wire::agent_message::Message::Report(report) = self.hear().await? {
                let report: HostReport = serde_json::from_slice(&report.json)?;
                if wanted(&report) {
                    return Ok(report);
                }
            }
        }
    }

    async fn say(&self, message: wire::controller_message::Message) -> anyhow::Result<()> {
        let message = wire::ControllerMessage {
            message: Some(message),
        };
        self.to_agent.send(Ok(message)).await?;
        Ok(())
    }

    async fn welcome(&self) -> anyhow::Result<()> {
        self.say(wire::controller_message::Message::Welcome(wire::Welcome {
            cluster: "c1".to_owned(),
            controller_version: "0".to_owned(),
            heartbeat_ms: 100,
        }))
        .await
    }

    async fn refuse(&self, reason: &str) -> anyhow::Result<()> {
        self.say(wire::controller_message::Message::Refused(wire::Refused {
            reason: reason.to_owned(),
            message: "because the test says so".to_owned(),
        }))
        .await
    }

    async fn send(&self, view: wire::View) -> anyhow::Result<()> {
        self.say(wire::controller_message::Message::View(view))
            .await
    }
}

/// A host of its own for an agent, with a folder for its state.
struct Machine {
    state: tempfile::TempDir,
    host: Emulated,
}

impl Machine {
    fn new() -> anyhow::Result<Self> {
        let mut emulator = emulated::prepared("fbsd-01", 1)?;
        for name in ["a", "b"] {
            let made = emulator.files.create_directories(&format!("/jails/{name}"));
            made.map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
        }
        Ok(Self {
            state: tempfile::tempdir()?,
            host: Emulated::new(emulator),
        })
    }

    fn agent(&self, controllers: &[String]) -> anyhow::Result<Agent> {
        let config = self.config(controllers);
        let folder = config.folder();
        Agent::start(
            config,
            Arc::new(FreeBsd::new(Arc::new(self.host.clone()), folder)),
        )
    }

    fn config(&self, controllers: &[String]) -> Config {
        Config {
            controllers: controllers.to_vec(),
            host_name: "fbsd-01".to_owned(),
            state_dir: self.state.path().to_owned(),
            host_folder: Some("/var/db/cellblock".to_owned()),
            resync_seconds: 3600,
            log: "info".to_owned(),
            tls: None,
            pause_max: PAUSE_MAX,
        }
    }

    fn jails(&self) -> Vec<String> {
        let jails = self.host.emulator().sh("jls name").stdout;
        jails.lines().map(|line| line.trim().to_owned()).collect()
    }
}

fn jail(name: &str) -> JailView {
    let mut jail = JailView {
        name: name.to_owned(),
        uid: Uid(format!("jail-{name}")),
        generation: Generation(1),
        ..JailView::default()
    };
    jail.spec.root = Some(Root {
        path: format!("/jails/{name}"),
    });
    jail
}

fn item(jail: &JailView) -> anyhow::Result<wire::Item> {
    Ok(wire::Item {
        key: jail.uid.0.clone(),
        json: serde_json::to_vec(jail)?.into(),
    })
}

fn mark(epoch: u64, generation: u64) -> wire::ViewMark {
    wire::ViewMark { epoch, generation }
}

/// A whole view of these jails.
fn whole(generation: u64, names: &[&str]) -> anyhow::Result<wire::View> {
    let host = HostView {
        cluster: ClusterUid("c1".to_owned()),
        host_name: "fbsd-01".to_owned(),
        ..HostView::default()
    };
    Ok(wire::View {
        mark: Some(mark(1, generation)),
        host_json: serde_json::to_vec(&host)?.into(),
        jails: names
            .iter()
            .map(|name| item(&jail(name)))
            .collect::<Result<_, _>>()?,
        digest: vec![u8::try_from(generation)?; 32].into(),
        ..wire::View::default()
    })
}

/// A report of that view in which all `jails` jails are ready.
fn ready_at(generation: u64, jails: usize) -> impl Fn(&HostReport) -> bool {
    move |report| {
        let ready = report.jails.iter().filter(|jail| {
            let mut conditions = jail.conditions.iter();
            conditions.any(|found| found.kind == "Ready" && found.status.as_str() == "True")
        });
        report.view.generation == Generation(generation)
            && report.jails.len() == jails
            && ready.count() == jails
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_made_so_and_the_next_session_resumes_from_it() -> anyhow::Result<()> {
    let machine = Machine::new()?;
    let mut controller = Controller::start().await?;
    let agent = machine.agent(&[controller.url()])?;
    let (mut session, hello) = controller.next().await?;
    ensure!(hello.host == "fbsd-01" && hello.have.is_none(), "{hello:?}");
    ensure!(
        hello.cluster.is_empty() && hello.key_fingerprint.len() == 64,
        "{hello:?}"
    );
    session.welcome().await?;
    session.send(whole(1, &["a"])?).await?;
    session.report(ready_at(1, 1)).await?;
    ensure!(machine.jails() == ["a"], "{:?}", machine.jails());
    // A change to that view: one jail more, one less.
    session
        .send(wire::View {
            mark: Some(mark(1, 2)),
            base: Some(mark(1, 1)),
            jails: vec![item(&jail("b"))?],
            removed_jails: vec!["jail-a".to_owned()],
            digest: vec![2; 32].into(),
            ..wire::View::default()
        })
        .await?;
    session.report(ready_at(2, 1)).await?;
    // The controller goes away; the agent comes back and says what it has.
    drop(session);
    let (mut session, hello) = controller.next().await?;
    ensure!(hello.have == Some(mark(1, 2)), "{hello:?}");
    ensure!(hello.have_digest.as_ref() == [2; 32], "{hello:?}");
    ensure!(hello.cluster == "c1", "{hello:?}");
    session.welcome().await?;
    session
        .send(wire::View {
            unchanged: true,
            ..wire::View::default()
        })
        .await?;
    // What it found meanwhile is said without anything new.
    session.report(ready_at(2, 1)).await?;
    agent.stop().await;
    ensure!(
        machine.jails() == ["b"],
        "jails go on: {:?}",
        machine.jails()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_made_beside_everything_else_and_what_they_come_to_is_reported()
-> anyhow::Result<()> {
    let exec = |words: &[&str]| Probe {
        exec: Some(ExecProbe {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            user: None,
        }),
        every: Some("1s".to_owned()),
        failures: Some(1),
        ..Probe::default()
    };
    let machine = Machine::new()?;
    let mut controller = Controller::start().await?;
    let config = machine.config(&[controller.url()]);
    let folder = config.folder();
    let system = Arc::new(machine.host.clone());
    let host = Arc::new(FreeBsd::new(system.clone(), folder));
    let surroundings = Surroundings {
        guardian: Guardian::Thread(host.clone()),
        way: None,
        is_this_machine: false,
        system: Some(system),
    };
    let agent = Agent::start_in(config, host, surroundings)?;
    let (mut session, _) = controller.next().await?;
    session.welcome().await?;
    let mut asked = jail("a");
    asked.spec.probes = Some(Probes {
        ready: Some(exec(&["/bin/test", "-e", "/tmp/up"])),
        live: Some(exec(&["/bin/pgrep", "-f", "sleep 1000"])),
        ..Probes::default()
    });
    let hook = ParameterValue::Text("daemon -f sleep 1000".to_owned());
    asked.spec.parameters.insert("exec.start".to_owned(), hook);
    let view = wire::View {
        jails: vec![item(&asked)?],
        ..whole(1, &[])?
    };
    session.send(view).await?;
    let says = |kind: &'static str, reason: &'static str, said: &'static str| {
        move |report: &HostReport| {
            let mut conditions = report.jails.iter().flat_map(|jail| &jail.conditions);
            conditions.any(|found| {
                found.kind == kind && found.reason == reason && found.message.contains(said)
            })
        }
    };
    let failed = "probe `ready` fails: exit status 1";
    session.report(says("Ready", "ProbeFailed", failed)).await?;
    machine.host.emulator().sh("touch /tmp/up");
    let report = session.report(ready_at(1, 1)).await?;
    ensure!(says("Live", "Alive", "")(&report), "{report:?}");
    let before = report.jails[0].jid;
    let killed = ["jexec", "a", "pkill", "-f", "sleep 1000"].map(str::to_owned);
    machine.host.emulator().run(&killed, "");
    let report = session
        .report(says("Live", "Alive", "it was restarted for that once"))
        .await?;
    ensure!(report.jails[0].jid != before, "{report:?}");
    agent.stop().await;
    Ok(())
}

/// A host at which the agent has a bug.
struct Trap;

impl Host for Trap {
    fn observe(&self, _: &Wanted) -> Result<Observed, HostError> {
        panic!("a bug")
    }

    fn perform(&self, _: &Op) -> Result<Performed, HostError> {
        panic!("a bug")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_died_ends_the_agent() -> anyhow::Result<()> {
    let machine = Machine::new()?;
    let mut controller = Controller::start().await?;
    let mut agent = Agent::start(machine.config(&[controller.url()]), Arc::new(Trap))?;
    let (session, _) = controller.next().await?;
    session.welcome().await?;
    session.send(whole(1, &["a"])?).await?;
    tokio::time::timeout(DEADLINE, agent.failed()).await?;
    Ok(())
}

/// A host at which each operation takes a while.
struct Slow {
    host: FreeBsd,
    begun: watch::Sender<usize>,
}

impl Host for Slow {
    fn observe(&self, wanted: &Wanted) -> Result<Observed, HostError> {
        self.host.observe(wanted)
    }

    fn perform(&self, op: &Op) -> Result<Performed, HostError> {
        self.begun.send_modify(|begun| *begun += 1);
        std::thread::sleep(AWAY);
        self.host.perform(op)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stops_the_agent_waits_for_the_operation_under_way_alone() -> anyhow::Result<()> {
    let machine = Machine::new()?;
    let mut controller = Controller::start().await?;
    let (begun, mut count) = watch::channel(0);
    let config = machine.config(&[controller.url()]);
    let slow = Slow {
        host: FreeBsd::new(Arc::new(machine.host.clone()), config.folder()),
        begun,
    };
    let agent = Agent::start(config, Arc::new(slow))?;
    let (session, _) = controller.next().await?;
    session.welcome().await?;
    session.send(whole(1, &["a", "b"])?).await?;
    tokio::time::timeout(DEADLINE, count.wait_for(|begun| *begun > 0)).await??;
    agent.stop().await;
    // One more may have begun before the session had ended.
    let begun = *count.borrow();
    ensure!(begun <= 2, "{begun} operations were begun");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_brings_the_host_back_with_no_controller_at_hand() -> anyhow::Result<()> {
    let machine = Machine::new()?;
    let mut controller = Controller::start().await?;
    let agent = machine.agent(&[controller.url()])?;
    let (mut session, _) = controller.next().await?;
    session.welcome().await?;
    session.send(whole(1, &["a", "b"])?).await?;
    session.report(ready_at(1, 2)).await?;
    agent.stop().await;
    machine.host.emulator().reboot();
    ensure!(machine.jails().is_empty());
    // Nobody listens on this port any more.
    let nobody = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let agent = machine.agent(&[format!("http://{nobody}")])?;
    let back = async {
        while machine.jails() != ["a", "b"] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, back).await?;
    agent.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_tried_elsewhere_and_a_deleted_host_is_left_alone() -> anyhow::Result<()> {
    let machine = Machine::new()?;
    let (mut first, mut second) = (Controller::start().await?, Controller::start().await?);
    let agent = machine.agent(&[first.url(), second.url()])?;
    let (session, _) = first.next().await?;
    session.refuse("HostClaimed").await?;
    let (mut session, _) = second.next().await?;
    session.welcome().await?;
    session.send(whole(1, &["a"])?).await?;
    session.report(ready_at(1, 1)).await?;
    session.refuse("HostDeleted").await?;
    // It stays away for a while, and its jails stay as they are.
    let again = async {
        tokio::select! {
            session = first.sessions.recv() => session,
            session = second.sessions.recv() => session,
        }
    };
    let again = tokio::time::timeout(AWAY, again).await;
    ensure!(again.is_err(), "it joined again at once");
    // It comes again and asks for no Host, until there is one.
    let (session, hello) = first.next().await?;
    ensure!(
        hello.features.iter().any(|feature| feature == "waits"),
        "{hello:?}"
    );
    session.refuse("HostDeleted").await?;
    let (mut session, hello) = second.next().await?;
    ensure!(
        hello.features.iter().any(|feature| feature == "waits"),
        "{hello:?}"
    );
    session.welcome().await?;
    session.send(whole(2, &["a", "b"])?).await?;
    session.report(ready_at(2, 2)).await?;
    // One that breaks otherwise is nobody's word.
    drop(session);
    let (_session, hello) = first.next().await?;
    ensure!(
        !hello.features.iter().any(|feature| feature == "waits"),
        "{hello:?}"
    );
    agent.stop().await;
    ensure!(machine.jails() == ["a", "b"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_host_gets_back_what_its_sysctls_were() -> anyhow::Result<()> {
    let machine = Machine::new()?;
    let said = |line: &str| machine.host.emulator().sh(line).stdout.trim().to_owned();
    said("sysctl net.inet.ip.forwarding=0");
    let mut controller = Controller::start().await?;
    let agent = machine.agent(&[controller.url()])?;
    let (mut session, _) = controller.next().await?;
    session.welcome().await?;
    let declared: serde_json::Value =
        serde_json::json!({ "net.inet.ip.forwarding": 1, "net.inet.tcp.msl": 20_000 });
    let mut view = whole(1, &[])?;
    let mut host: HostView = serde_json::from_slice(&view.host_json)?;
    host.host.sysctls = serde_json::from_value(declared)?;
    view.host_json = serde_json::to_vec(&host)?.into();
    session.send(view).await?;
    session.report(ready_at(1, 0)).await?;
    let forwarding = "sysctl -n net.inet.ip.forwarding";
    ensure!(said(forwarding) == "1");
    // One of them somebody has changed since.
    said("sysctl net.inet.tcp.msl=25000");
    session.refuse("HostDeleted").await?;
    let back = async {
        while said(forwarding) != "0" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, back).await?;
    agent.stop().await;
    ensure!(said("sysctl -n net.inet.tcp.msl") == "25000");
    // Nothing is declared and nothing is ours any more, so a start with no controller at hand finds nothing to do.
    let ledger = File::open(machine.state.path())?.load()?;
    ensure!(ledger.owned.is_empty(), "{:?}", ledger.owned);
    let view = ledger.view.as_ref().context("a view")?;
    ensure!(view.host.sysctls.is_empty(), "{view:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_view_and_a_change_to_an_unknown_one_are_not_taken() -> anyhow::Result<()> {
    let machine = Machine::new()?;
    let mut controller = Controller::start().await?;
    let agent = machine.agent(&[controller.url()])?;
    let (mut session, _) = controller.next().await?;
    session.welcome().await?;
    session.send(whole(5, &["a"])?).await?;
    session.report(ready_at(5, 1)).await?;
    session.send(whole(4, &[])?).await?;
    session.send(whole(6, &["a", "b"])?).await?;
    session.report(ready_at(6, 2)).await?;
    // A change to something that this agent never had ends the session, and it asks for the whole anew.
    session
        .send(wire::View {
            mark: Some(mark(1, 9)),
            base: Some(mark(1, 8)),
            ..wire::View::default()
        })
        .await?;
    let (_session, hello) = controller.next().await?;
    ensure!(hello.have == Some(mark(1, 6)), "{hello:?}");
    ensure!(machine.jails() == ["a", "b"], "{:?}", machine.jails());
    agent.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_be_written_keeps_the_agent_from_acting_and_says_so()
-> anyhow::Result<()> {
    let machine = Machine::new()?;
    let mut controller = Controller::start().await?;
    let agent = machine.agent(&[controller.url()])?;
    let (mut session, _) = controller.next().await?;
    session.welcome().await?;
    session.send(whole(1, &["a"])?).await?;
    session.report(ready_at(1, 1)).await?;
    // A folder in the place of the ledger: no process can write it, root's neither.
    let obstacle = machine.state.path().join("ledger.json");
    std::fs::remove_file(&obstacle)?;
    std::fs::create_dir(&obstacle)?;
    session.send(whole(2, &["a", "b"])?).await?;
    let says = |report: &HostReport| {
        let mut conditions = report.conditions.iter();
        conditions.any(|found| found.reason == "LedgerNotWritten")
    };
    let report = session.report(says).await?;
    ensure!(report.view.generation == Generation(1), "{report:?}");
    ensure!(!report.full, "the jails' last word stands");
    ensure!(
        machine.jails() == ["a"],
        "nothing was done that it would not remember"
    );
    std::fs::remove_dir(&obstacle)?;
    session.report(ready_at(2, 2)).await?;
    agent.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_do_not_share_a_state_folder() -> anyhow::Result<()> {
    let machine = Machine::new()?;
    let controller = Controller::start().await?;
    let first = machine.agent(&[controller.url()])?;
    let second = machine.agent(&[controller.url()]);
    let error = second.err().context("the second was let in")?.to_string();
    ensure!(error.contains("another agent runs"), "{error}");
    first.stop().await;
    Ok(())
}
