//! Visits on an emulated host: pipes between whoever visits and a program of the emulator, and a thread that carries what is said.
//!
//! A terminal is emulated with the rest, so it is two pipes as well.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cellblock_fakebsd::emulator::{Heard, Said};
use cellblock_freebsd::visit::{Visit, Visited, VisitedProcess, Window};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// How often a program is looked at that neither says nor hears anything.
const LOOK: Duration = Duration::from_millis(10);

/// How much is carried at once.
const PIECE_BYTES: usize = 32 << 10;

/// Where programs are emulated.
pub(super) trait Stage: Send {
    /// Starts one. See `Emulator::visit`.
    fn begin(&self, argv: &[String], terminal: Option<(u16, u16)>) -> io::Result<u32>;

    /// Speaks with it. See `Emulator::talk`.
    fn talk(&self, pid: u32, said: Said<'_>) -> io::Result<Heard>;
}

/// Starts a program and the thread that carries what is said.
pub(super) fn begin(stage: impl Stage + 'static, visit: &Visit) -> io::Result<Visited> {
    let size = |window: Window| (window.rows, window.columns);
    let terminal = visit
        .terminal
        .as_ref()
        .map(|terminal| size(terminal.window));
    let pid = stage.begin(&visit.argv, terminal)?;
    let (their_input, input) = io::pipe()?;
    let (output, their_output) = io::pipe()?;
    let (error, their_error) = io::pipe()?;
    let (orders, ordered) = channel();
    let status = Arc::new(Mutex::new(None));
    let carrier = Carrier {
        stage,
        pid,
        input: Some(their_input),
        output: their_output,
        error: their_error,
        ordered,
        status: status.clone(),
    };
    std::thread::Builder::new()
        .name("emulated-visit".to_owned())
        .spawn(move || carrier.carry())?;
    let ends = [
        OwnedFd::from(input),
        OwnedFd::from(output),
        OwnedFd::from(error),
    ];
    for end in &ends {
        fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?;
    }
    let [input, output, error] = ends;
    Ok(Visited {
        input,
        output,
        error: terminal.is_none().then_some(error),
        process: Box::new(Process { orders, status }),
    })
}

struct Process {
    orders: Sender<Window>,
    status: Arc<Mutex<Option<i32>>>,
}

impl VisitedProcess for Process {
    fn try_wait(&mut self) -> io::Result<Option<i32>> {
        Ok(*self.status.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn resize(&self, window: Window) -> io::Result<()> {
        self.orders
            .send(window)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

struct Carrier<S> {
    stage: S,
    pid: u32,
    input: Option<io::PipeReader>,
    output: io::PipeWriter,
    error: io::PipeWriter,
    /// Sizes of the terminal; its end is that of the visit.
    ordered: Receiver<Window>,
    status: Arc<Mutex<Option<i32>>>,
}

impl<S: Stage> Carrier<S> {
    fn carry(mut self) {
        let status = match self.until_its_end() {
            Ok(status) => status,
            // Nobody reads any more, or the host is gone.
            Err(_) => {
                let hung_up = self.stage.talk(self.pid, Said::HangUp);
                hung_up.ok().and_then(|heard| heard.status).unwrap_or(137)
            }
        };
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    fn until_its_end(&mut self) -> io::Result<i32> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut is_busy = false;
        loop {
            let heard = match self.ordered.try_recv() {
                Ok(window) => self
                    .stage
                    .talk(self.pid, Said::Window(window.rows, window.columns))?,
                Err(TryRecvError::Disconnected) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(TryRecvError::Empty) => self.hear(&mut piece, is_busy)?,
            };
            self.output.write_all(&heard.stdout)?;
            self.error.write_all(&heard.stderr)?;
            if let Some(status) = heard.status {
                return Ok(status);
            }
            is_busy = heard.is_busy;
        }
    }

    /// Waits a moment for input, and passes it on.
    fn hear(&mut self, piece: &mut [u8], is_busy: bool) -> io::Result<Heard> {
        let wait = if is_busy { Duration::ZERO } else { LOOK };
        let Some(input) = &mut self.input else {
            std::thread::sleep(wait);
            return self.stage.talk(self.pid, Said::Nothing);
        };
        let mut polled = [PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN)];
        let wait = Timespec::try_from(wait).unwrap_or_default();
        if !matches!(poll(&mut polled, Some(&wait)), Ok(1..)) {
            return self.stage.talk(self.pid, Said::Nothing);
        }
        match input.read(piece)? {
            0 => {
                self.input = None;
                self.stage.talk(self.pid, Said::End)
            }
            length => self.stage.talk(self.pid, Said::Input(&piece[..length])),
        }
    }
}
