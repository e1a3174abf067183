//! Reads: one key, pages, counts, the current revision, health. All linearizable.

use bytes::Bytes;
use etcd_client::{AlarmAction, AlarmType, GetOptions, GetResponse, ResponseHeader};

use super::endpoints::{ANSWER_BYTES_MAX, Endpoints, Refusal, Repeat};
use super::errors::Answer;
use super::watch::compacted_revision;
use crate::error::{Error, Result};
use crate::lease::LeaseId;
use crate::model::{Got, Health, Key, KeyValue, ListRequest, Page, PageToken, Revision};

/// How many bytes a page has at most. An etcd value may have 1.5 MiB, so that a page of many cannot be bounded by its
/// number of items alone; a page that turns out larger is asked for again with half as many.
const PAGE_BYTES_MAX: usize = 16 << 20;

pub(super) async fn get(endpoints: &Endpoints, key: &Key, at: Option<Revision>) -> Result<Got> {
    crate::transaction::check_key(key)?;
    let options = at_revision(GetOptions::new(), at)?;
    let mut response = range(endpoints, key, &options, at, ANSWER_BYTES_MAX).await?;
    let revision = at.unwrap_or(revision_of(response.header()));
    Ok(Got {
        item: response.take_kvs().pop().map(item),
        revision,
    })
}

pub(super) async fn list(endpoints: &Endpoints, request: ListRequest) -> Result<Page> {
    let ListRequest {
        prefix,
        at,
        after,
        limit,
    } = request;
    let at = after.as_ref().map(|token| token.revision).or(at);
    let from = after.as_ref().map_or(prefix.clone(), |token| {
        successor(&token.last_key).max(prefix.clone())
    });
    let end = prefix.prefix_end().map_or(vec![0], |end| end.to_vec());
    let mut limit = limit.clamp(1, i64::MAX as usize);
    let mut response = loop {
        let options = GetOptions::new()
            .with_range(end.clone())
            .with_limit(limit as i64);
        match range(
            endpoints,
            &from,
            &at_revision(options, at)?,
            at,
            PAGE_BYTES_MAX,
        )
        .await
        {
            Err(Error::TooLarge { .. }) if limit > 1 => {
                limit = limit.min(ListRequest::LIMIT).div_ceil(2)
            }
            Ok(response) => break response,
            Err(error) => return Err(error),
        }
    };
    let revision = at.unwrap_or(revision_of(response.header()));
    let more = response.more();
    let items: Vec<KeyValue> = response.take_kvs().into_iter().map(item).collect();
    let next = match items.last() {
        Some(last) if more => Some(PageToken {
            revision,
            last_key: last.key.clone(),
        }),
        Some(_) | None => None,
    };
    Ok(Page {
        items,
        revision,
        next,
    })
}

pub(super) async fn count(
    endpoints: &Endpoints,
    prefix: &Key,
    at: Option<Revision>,
) -> Result<u64> {
    let end = prefix.prefix_end().map_or(vec![0], |end| end.to_vec());
    let options = at_revision(GetOptions::new().with_range(end).with_count_only(), at)?;
    let response = range(endpoints, prefix, &options, at, ANSWER_BYTES_MAX).await?;
    Ok(unsigned(response.count()))
}

pub(super) async fn current_revision(endpoints: &Endpoints) -> Result<Revision> {
    let response = endpoints
        .call_plain(Repeat::Freely, |member| async move {
            let options = GetOptions::new().with_count_only();
            member
                .kv()
                .get(endpoints.probe().to_vec(), Some(options))
                .await
        })
        .await?;
    Ok(revision_of(response.header()))
}

pub(super) async fn health(endpoints: &Endpoints) -> Result<Health> {
    let revision = current_revision(endpoints).await?;
    let status = endpoints
        .call_plain(Repeat::Freely, |member| async move {
            member.maintenance().status().await
        })
        .await?;
    let mut warnings = status.errors().to_vec();
    // Only root may ask for alarms when authentication is enabled; what `status` said is enough then.
    let alarms = endpoints.call_plain(Repeat::Freely, |member| async move {
        member
            .maintenance()
            .alarm(AlarmAction::Get, AlarmType::None, None)
            .await
    });
    if let Ok(alarms) = alarms.await {
        for alarm in alarms.alarms() {
            let warning = format!(
                "alarm {:?} on member {:x}",
                alarm.alarm(),
                alarm.member_id()
            );
            warnings.push(warning);
        }
    }
    Ok(Health {
        backend: format!("etcd {}", status.version()),
        revision,
        size_bytes: unsigned(status.db_size()),
        warnings,
    })
}

/// One range request, and what its refusals mean.
async fn range(
    endpoints: &Endpoints,
    from: &Key,
    options: &GetOptions,
    at: Option<Revision>,
    bytes_max: usize,
) -> Result<GetResponse> {
    // etcd spells "from the very first key" as a key of one zero byte.
    let from = if from.is_empty() {
        vec![0]
    } else {
        from.to_vec()
    };
    let answer = endpoints
        .call(Repeat::Freely, |member| {
            let (from, options) = (from.clone(), options.clone());
            async move {
                let mut kv = member.kv().max_decoding_message_size(bytes_max);
                kv.get(from, Some(options)).await
            }
        })
        .await;
    match answer {
        Ok(response) => Ok(response),
        Err(Refusal::Failed(error)) => Err(error),
        Err(Refusal::Answer(answer)) => Err(refused(endpoints, answer, at, bytes_max).await),
    }
}

async fn refused(
    endpoints: &Endpoints,
    answer: Answer,
    at: Option<Revision>,
    bytes_max: usize,
) -> Error {
    let asked = at.unwrap_or(Revision::ZERO);
    match answer {
        Answer::Compacted => compacted(endpoints, asked).await,
        Answer::FutureRevision => future(endpoints, asked).await,
        Answer::ResponseTooLarge => Error::TooLarge {
            what: "the size in bytes of an answer".to_owned(),
            size: bytes_max + 1,
            limit: bytes_max,
        },
        Answer::LeaseNotFound
        | Answer::RequestTooLarge
        | Answer::Full(_)
        | Answer::Denied(_)
        | Answer::Tls(_)
        | Answer::Other(_) => answer.into_error(endpoints.location()),
    }
}

/// The error for a revision that is compacted away. etcd says only that, so ask it for the oldest left.
pub(super) async fn compacted(endpoints: &Endpoints, asked: Revision) -> Error {
    match compacted_revision(endpoints).await {
        Ok(compacted) => Error::Compacted { asked, compacted },
        Err(error) => error,
    }
}

/// The error for a revision that has not happened.
pub(super) async fn future(endpoints: &Endpoints, asked: Revision) -> Error {
    match current_revision(endpoints).await {
        Ok(current) => Error::FutureRevision { asked, current },
        Err(error) => error,
    }
}

fn at_revision(options: GetOptions, at: Option<Revision>) -> Result<GetOptions> {
    let Some(at) = at else { return Ok(options) };
    at.check_readable()?;
    Ok(options.with_revision(signed(at)))
}

/// The smallest key greater than this one.
fn successor(key: &Key) -> Key {
    let mut bytes = key.to_vec();
    bytes.push(0);
    bytes.into()
}

pub(super) fn item(stored: etcd_client::KeyValue) -> KeyValue {
    let (created, modified) = (
        unsigned(stored.create_revision()),
        unsigned(stored.mod_revision()),
    );
    let lease = (stored.lease() != 0).then(|| LeaseId(stored.lease() as u64));
    let (key, value) = stored.into_key_value();
    KeyValue {
        key: key.into(),
        value: Bytes::from(value),
        created: Revision(created),
        modified: Revision(modified),
        lease,
    }
}

/// etcd's revisions and counts are signed and never negative.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn signed(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

pub(super) fn revision_of(header: Option<&ResponseHeader>) -> Revision {
    Revision(header.map_or(0, |header| unsigned(header.revision())))
}
