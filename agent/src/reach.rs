//! Whether a controller is reached, by a connection that is made when it is asked: the worker asks, which is a thread, and the session answers, which is a task.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// What the session last heard.
#[derive(Debug, Default)]
struct Heard {
    /// The newest question to which a controller answered by a connection that was made after it.
    answered: u64,
    /// Why the last connection did not come about.
    problem: String,
    /// Somebody waits for an answer.
    waited_for: bool,
    /// The session has ended for good: nobody will answer any more.
    ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Heard>,
    news: Condvar,
}

/// The worker's end.
#[derive(Debug)]
pub struct Reach {
    questions: watch::Sender<u64>,
    shared: Arc<Shared>,
}

/// The session's end.
#[derive(Debug)]
pub struct Reached {
    /// Changes when a connection is to be made anew.
    pub questions: watch::Receiver<u64>,
    shared: Arc<Shared>,
}

/// Both ends.
#[must_use]
pub fn reach() -> (Reach, Reached) {
    let (sender, questions) = watch::channel(0);
    let shared = Arc::<Shared>::default();
    let reach = Reach {
        questions: sender,
        shared: shared.clone(),
    };
    (reach, Reached { questions, shared })
}

impl Reach {
    /// Has a new connection made and waits for a controller's answer on it.
    ///
    /// # Errors
    /// None came in time; why the last connection did not come about.
    pub fn anew(&self, at_most: Duration) -> Result<(), String> {
        self.lock().waited_for = true;
        let answer = self.wait(at_most);
        self.lock().waited_for = false;
        answer
    }

    /// Whether the session has ended for good, as it does when the agent is stopped.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    fn wait(&self, at_most: Duration) -> Result<(), String> {
        let until = Instant::now() + at_most;
        let mut heard = self.lock();
        heard.problem.clear();
        let mut question = 0;
        self.questions.send_modify(|newest| {
            *newest += 1;
            question = *newest;
        });
        while heard.answered < question {
            if heard.ended {
                return Err("the agent's session has ended".to_owned());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let silence = || "no answer came".to_owned();
                return Err(Some(heard.problem.clone())
                    .filter(|problem| !problem.is_empty())
                    .unwrap_or_else(silence));
            }
            let waited = self.shared.news.wait_timeout(heard, left);
            heard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.shared
            .heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        let mut heard = self
            .shared
            .heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        heard.ended = true;
        self.shared.news.notify_all();
    }
}

impl Reached {
    /// The newest question; a connection that is made from here on answers it.
    pub fn newest(&mut self) -> u64 {
        *self.questions.borrow_and_update()
    }

    /// A controller has answered by a connection that was made after `question`.
    pub fn answer(&self, question: u64) {
        let mut heard = self
            .shared
            .heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        heard.answered = heard.answered.max(question);
        self.shared.news.notify_all();
    }

    /// Whether somebody waits for an answer.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        let heard = self.shared.heard.lock();
        heard.unwrap_or_else(PoisonError::into_inner).waited_for
    }

    /// A connection did not come about.
    pub fn note(&self, problem: String) {
        self.shared
            .heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .problem = problem;
    }
}

/// What a controller on this host is told as.
pub const ON_THIS_HOST: &str = "the controller is on this host and proves nothing";

/// Whether a controller is on this host: its address is one of the host's own, by name or not. A connection to it says nothing of the wire.
pub async fn is_here(url: &str) -> bool {
    let Ok(url) = url.parse::<tonic::transport::Uri>() else {
        return false;
    };
    let https = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if https { 443 } else { 80 });
    let host = url.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let Ok(mut addresses) = tokio::net::lookup_host((host, port)).await else {
        return false;
    };
    // An address that is not the host's own cannot be bound (EADDRNOTAVAIL, bind(2)).
    addresses.any(|address| {
        let ip = address.ip().to_canonical();
        ip.is_loopback() || ip.is_unspecified() || std::net::UdpSocket::bind((ip, 0)).is_ok()
    })
}

#[cfg(test)]
mod tests;
