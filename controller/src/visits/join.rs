//! Passes messages between an operator and an agent until one of them ends, or nothing was said for too long.

use std::fmt;
use std::time::Duration;

use cellblock_proto::v1;
use cellblock_proto::v1::visit_response::Response as Said;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::desk::AgentEnd;
use crate::status::RequestError;

/// How long a visit may be silent in both directions: a working day at a shell that somebody has forgotten.
const SILENCE_MAX: Duration = Duration::from_secs(8 * 3600);

/// How long a visit may last.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Both ends.
pub(super) struct Ends {
    pub(super) inbound: Streaming<v1::VisitRequest>,
    pub(super) outbound: mpsc::Sender<Result<v1::VisitResponse, Status>>,
    pub(super) agent: AgentEnd,
}

/// How a visit ended that was one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The command did, or the log was told.
    Ended(i32),
    /// The operator went away.
    Left,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(status) => write!(f, "exit status {status}"),
            Self::Left => f.write_str("the operator left"),
        }
    }
}

/// Why it ended otherwise.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The agent says that it cannot be.
    Refused(v1::Refusal),
    /// The agent's stream broke.
    AgentLost(String),
    /// Nothing was said for too long.
    Silent,
    /// It lasted too long.
    TooLong,
}

impl Broken {
    pub(super) fn for_operator(self, host: &str) -> RequestError {
        let (reason, message) = match self {
            Self::Refused(refusal) => {
                return RequestError::VisitRefused(refusal.reason, refusal.message);
            }
            Self::AgentLost(why) => (
                "HostLost",
                format!(
                    "the connection to host `{host}` broke, and what ran there was hung up: {why}"
                ),
            ),
            Self::Silent => (
                "VisitTooLong",
                format!(
                    "nothing was said for {} hours, so the visit was ended",
                    SILENCE_MAX.as_secs() / 3600
                ),
            ),
            Self::TooLong => (
                "VisitTooLong",
                format!("a visit lasts {} hours at most", LIFE_MAX.as_secs() / 3600),
            ),
        };
        RequestError::Unvisitable(reason, message)
    }
}

impl Ends {
    /// Returns once one of the ends is gone; with it go both streams, which tells the other one.
    pub(super) async fn join(self) -> Result<End, Broken> {
        let Self {
            inbound,
            outbound,
            agent,
        } = self;
        let life = Instant::now() + LIFE_MAX;
        let (heard, mut last) = watch::channel(Instant::now());
        let silence = async {
            loop {
                let until = *last.borrow_and_update() + SILENCE_MAX;
                tokio::select! {
                    () = tokio::time::sleep_until(until) => return,
                    changed = last.changed() => if changed.is_err() { return },
                }
            }
        };
        tokio::select! {
            // What the agent says last is passed on even when the operator's stream ends at once afterwards.
            biased;
            end = from_agent(agent.from, &outbound, &heard) => end,
            () = from_operator(inbound, &agent.to, &heard) => Ok(End::Left),
            () = outbound.closed() => Ok(End::Left),
            () = silence => Err(Broken::Silent),
            () = tokio::time::sleep_until(life) => Err(Broken::TooLong),
        }
    }
}

async fn from_operator(
    mut inbound: Streaming<v1::VisitRequest>,
    to: &mpsc::Sender<Result<v1::VisitRequest, Status>>,
    heard: &watch::Sender<Instant>,
) {
    while let Ok(Some(message)) = inbound.message().await {
        heard.send_replace(Instant::now());
        if to.send(Ok(message)).await.is_err() {
            // The agent's stream is gone, which the other direction tells.
            std::future::pending::<()>().await;
        }
    }
}

async fn from_agent(
    mut from: Streaming<v1::VisitResponse>,
    outbound: &mpsc::Sender<Result<v1::VisitResponse, Status>>,
    heard: &watch::Sender<Instant>,
) -> Result<End, Broken> {
    loop {
        let message = match from.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return Err(Broken::AgentLost("the agent ended the stream".to_owned())),
            Err(status) => return Err(Broken::AgentLost(status.message().to_owned())),
        };
        heard.send_replace(Instant::now());
        let ended = match message.response {
            Some(Said::Refusal(refusal)) => return Err(Broken::Refused(refusal)),
            Some(Said::Ended(ended)) => Some(ended.status),
            Some(Said::Begun(_) | Said::Output(_) | Said::Error(_)) => None,
            // It was said before; and what a newer agent says, an older operator would not understand either.
            Some(Said::Claim(_)) | None => continue,
        };
        if outbound.send(Ok(message)).await.is_err() {
            return Ok(End::Left);
        }
        if let Some(status) = ended {
            return Ok(End::Ended(status));
        }
    }
}
