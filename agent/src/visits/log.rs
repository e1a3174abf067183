//! The console log of a jail: what is there, its end first kept before it was emptied, and what is written while somebody looks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cellblock_freebsd::System;
use cellblock_freebsd::visit::LogPart;
use cellblock_proto::v1 as wire;
use cellblock_proto::v1::visit_response::Response as Said;
use cellblock_schemas::jail::ParameterValue;
use cellblock_schemas::view::JailView;
use tonic::Streaming;

use super::command::{blocking, describe};
use super::{Gone, Operator, PIECE_BYTES, Refused, Visited, Visits};

/// How much of the end of a log is shown at most: one of ours is emptied at 1 MiB, an operator's own is theirs to bound.
const SHOWN_BYTES_MAX: u64 = 4 << 20;

/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// The parameter that says where an operator wants it.
const CONSOLE_LOG: &str = "exec.consolelog";

impl Visits {
    /// Tells the log, and what is written to it until the operator has seen enough.
    pub(super) async fn tell_log(
        &self,
        visited: &Visited,
        wanted: wire::Log,
        incoming: &mut Streaming<wire::VisitRequest>,
        operator: &Operator,
    ) -> Result<(), Refused> {
        let name = visited.jail.jail_name();
        let own = own_path(&visited.jail);
        let is_ours = own.is_none();
        let path = own.unwrap_or_else(|| self.settings.console(name));
        let log = Log {
            system: self.system.clone(),
            path,
        };
        let before = is_ours.then(|| Log {
            system: self.system.clone(),
            path: self.settings.console_before(name),
        });
        let (shown, at) = log.end(before.as_ref(), wanted.tail).await?;
        if at.is_none() && !wanted.follow && shown.is_empty() {
            return Err(Refused {
                reason: "NoLog",
                message: format!(
                    "jail `{}` has no console log yet ({} is not there); what does not run has none",
                    visited.jail.name, log.path
                ),
            });
        }
        let begun = wire::Begun {
            host: String::new(),
            jid: visited.jid.clone().unwrap_or_default(),
        };
        let told = async {
            operator.say(Said::Begun(begun)).await?;
            tell(operator, &shown).await?;
            if wanted.follow {
                log.follow(at.unwrap_or_default(), operator).await?;
            }
            operator.say(Said::Ended(wire::Ended { status: 0 })).await
        };
        // Either way nobody is left to be told.
        tokio::select! {
            _ = told => {}
            _ = async { while let Ok(Some(_)) = incoming.message().await {} } => {}
            () = operator.0.closed() => {}
        }
        Ok(())
    }
}

/// Where the operator wants it, if they say.
fn own_path(jail: &JailView) -> Option<String> {
    match jail.spec.parameters.get(CONSOLE_LOG)? {
        ParameterValue::Text(path) => Some(path.clone()),
        ParameterValue::Flag(_) | ParameterValue::Number(_) | ParameterValue::List(_) => None,
    }
}

struct Log {
    system: Arc<dyn System>,
    path: String,
}

/// How far a log was told.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    file: u64,
    at: u64,
}

impl Log {
    async fn read(&self, from: u64, bytes_max: usize) -> Result<Option<LogPart>, Refused> {
        let (system, path) = (self.system.clone(), self.path.clone());
        let read = blocking(move || system.read_log(&path, from, bytes_max)).await;
        read.map_err(|error| Refused {
            reason: "LogUnreadable",
            message: describe(&error),
        })
    }

    /// All of its end that is shown at most, and where it ends; none if there is no such file.
    async fn all(&self) -> Result<Option<(Vec<u8>, Place)>, Refused> {
        let Some(look) = self.read(0, 0).await? else {
            return Ok(None);
        };
        let from = look.size.saturating_sub(SHOWN_BYTES_MAX);
        let bytes_max = usize::try_from(SHOWN_BYTES_MAX).unwrap_or(usize::MAX);
        let Some(part) = self.read(from, bytes_max).await? else {
            return Ok(None);
        };
        let place = Place {
            file: part.file,
            at: from + part.bytes.len() as u64,
        };
        let mut bytes = part.bytes;
        if from > 0 {
            whole_lines(&mut bytes);
        }
        Ok(Some((bytes, place)))
    }

    /// Its last lines, those of `before` first, and how far that is.
    async fn end(
        &self,
        before: Option<&Log>,
        tail: Option<u64>,
    ) -> Result<(Vec<u8>, Option<Place>), Refused> {
        let mut shown = match before {
            Some(before) => before.all().await?.map(|(bytes, _)| bytes),
            None => None,
        }
        .unwrap_or_default();
        let (bytes, place) = self.all().await?.unzip();
        shown.extend_from_slice(&bytes.unwrap_or_default());
        if let Some(lines) = tail {
            keep_lines(&mut shown, lines);
        }
        Ok((shown, place))
    }

    /// Goes on with what is written. A log that was emptied, or is another file now, is told from its beginning.
    async fn follow(&self, mut place: Place, operator: &Operator) -> Result<(), Gone> {
        loop {
            let part = match self.read(place.at, PIECE_BYTES).await {
                Ok(Some(part)) => part,
                // It comes with the jail's next start.
                Ok(None) => {
                    place = Place::default();
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
                Err(refused) => {
                    let refusal = wire::Refusal {
                        reason: refused.reason.to_owned(),
                        message: refused.message,
                    };
                    return operator.say(Said::Refusal(refusal)).await.and(Err(Gone));
                }
            };
            if part.file != place.file || part.size < place.at {
                let is_first = place.at == 0;
                place = Place {
                    file: part.file,
                    at: 0,
                };
                if !is_first {
                    continue;
                }
            }
            if part.bytes.is_empty() {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            place.at += part.bytes.len() as u64;
            tell(operator, &part.bytes).await?;
        }
    }
}

async fn tell(operator: &Operator, bytes: &[u8]) -> Result<(), Gone> {
    for piece in bytes.chunks(PIECE_BYTES) {
        operator
            .say(Said::Output(Bytes::copy_from_slice(piece)))
            .await?;
    }
    Ok(())
}

/// Without the rest of a line at the beginning.
fn whole_lines(bytes: &mut Vec<u8>) {
    if let Some(cut) = bytes.iter().position(|byte| *byte == b'\n') {
        bytes.drain(..=cut);
    }
}

/// The last so many lines.
fn keep_lines(bytes: &mut Vec<u8>, lines: u64) {
    let lines = usize::try_from(lines).unwrap_or(usize::MAX);
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let ends = text.iter().enumerate().rev();
    let mut ends = ends.filter(|(_, byte)| **byte == b'\n');
    let cut = match lines.checked_sub(1) {
        None => bytes.len(),
        Some(further) => ends.nth(further).map_or(0, |(at, _)| at + 1),
    };
    bytes.drain(..cut);
}

#[cfg(test)]
mod tests;
