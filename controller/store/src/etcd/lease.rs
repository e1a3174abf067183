//! Leases.

use std::time::Duration;

use etcd_client::Error as EtcdError;

use super::endpoints::{Endpoints, Refusal, Repeat};
use super::errors::Answer;
use super::read::unsigned;
use crate::error::{Error, Result};
use crate::lease::{Lease, LeaseId, whole_seconds};

pub(super) async fn grant(endpoints: &Endpoints, ttl: Duration) -> Result<Lease> {
    let seconds = whole_seconds(ttl)?;
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    // A grant whose answer was lost leaves a lease that nobody uses and that expires by itself.
    let granted = endpoints
        .call_plain(Repeat::Freely, |member| async move {
            member.lease().grant(seconds, None).await
        })
        .await?;
    Ok(Lease {
        id: LeaseId(granted.id() as u64),
        ttl: Duration::from_secs(unsigned(granted.ttl())),
    })
}

pub(super) async fn keep_alive(endpoints: &Endpoints, lease: LeaseId) -> Result<Duration> {
    let answer = endpoints
        .call(Repeat::Freely, |member| async move {
            // etcd-client keeps the first answer, and with it the time granted, to itself: ask a second time.
            let (mut keeper, mut answers) = member.lease().keep_alive(lease.0 as i64).await?;
            keeper.keep_alive().await?;
            let lost = || EtcdError::LeaseKeepAliveError("the stream of answers ended".to_owned());
            answers
                .message()
                .await?
                .map(|answer| answer.ttl())
                .ok_or_else(lost)
        })
        .await;
    match answer {
        Ok(ttl) if ttl > 0 => Ok(Duration::from_secs(unsigned(ttl))),
        Ok(_) | Err(Refusal::Answer(Answer::LeaseNotFound)) => Err(Error::LeaseNotFound(lease)),
        Err(Refusal::Failed(error)) => Err(error),
        Err(Refusal::Answer(answer)) => Err(answer.into_error(endpoints.location())),
    }
}

pub(super) async fn revoke(endpoints: &Endpoints, lease: LeaseId) -> Result<()> {
    let answer = endpoints
        .call(Repeat::IfUnsent, |member| async move {
            member.lease().revoke(lease.0 as i64).await
        })
        .await;
    match answer {
        Ok(_) => Ok(()),
        Err(Refusal::Answer(Answer::LeaseNotFound)) => Err(Error::LeaseNotFound(lease)),
        Err(Refusal::Failed(error)) => Err(error),
        Err(Refusal::Answer(answer)) => Err(answer.into_error(endpoints.location())),
    }
}
