//! Transactions and compaction.

use etcd_client::proto::{PbTxnOpResponse, PbTxnResponse};
use etcd_client::{Compare as EtcdCompare, CompareOp, PutOptions, Txn, TxnOp};

use super::endpoints::{Endpoints, Refusal, Repeat};
use super::errors::Answer;
use super::read::{compacted, future, item, signed, unsigned};
use crate::error::{CompareFailure, Conflict, Error, Result};
use crate::lease::LeaseId;
use crate::model::Revision;
use crate::transaction::{Committed, Compare, Effect, Expect, Op, Transaction};

/// The revision of an empty etcd: there is nothing before it to forget.
const EMPTY: Revision = Revision(1);

pub(super) async fn commit(endpoints: &Endpoints, transaction: Transaction) -> Result<Committed> {
    transaction.check()?;
    let txn = to_txn(&transaction);
    let answer = endpoints
        .call(Repeat::IfUnsent, |member| {
            let txn = txn.clone();
            async move { member.kv().txn(txn).await }
        })
        .await;
    match answer {
        Ok(response) => from_response(response.0, &transaction),
        Err(Refusal::Failed(error)) => Err(error),
        Err(Refusal::Answer(Answer::LeaseNotFound)) => Err(lease_not_found(&transaction)),
        Err(Refusal::Answer(answer)) => Err(answer.into_error(endpoints.location())),
    }
}

pub(super) async fn compact(endpoints: &Endpoints, revision: Revision) -> Result<()> {
    revision.check_readable()?;
    if revision == EMPTY {
        return Err(Error::Compacted {
            asked: revision,
            compacted: EMPTY,
        });
    }
    let answer = endpoints
        .call(Repeat::IfUnsent, |member| async move {
            member.kv().compact(signed(revision), None).await
        })
        .await;
    match answer {
        Ok(_) => Ok(()),
        Err(Refusal::Failed(error)) => Err(error),
        Err(Refusal::Answer(Answer::Compacted)) => Err(compacted(endpoints, revision).await),
        Err(Refusal::Answer(Answer::FutureRevision)) => Err(future(endpoints, revision).await),
        Err(Refusal::Answer(answer)) => Err(answer.into_error(endpoints.location())),
    }
}

/// If all compares hold, the writes; else a read of every key compared, to say which did not.
fn to_txn(transaction: &Transaction) -> Txn {
    let compares: Vec<EtcdCompare> = transaction.compares.iter().map(to_compare).collect();
    let ops: Vec<TxnOp> = transaction.ops.iter().map(to_op).collect();
    let looks: Vec<TxnOp> = transaction
        .compares
        .iter()
        .map(|compare| TxnOp::get(compare.key.to_vec(), None))
        .collect();
    Txn::new().when(compares).and_then(ops).or_else(looks)
}

/// A key that does not exist has version 0 and modification revision 0.
fn to_compare(compare: &Compare) -> EtcdCompare {
    let key = compare.key.to_vec();
    match compare.expect {
        Expect::Absent => EtcdCompare::version(key, CompareOp::Equal, 0),
        Expect::Exists => EtcdCompare::version(key, CompareOp::Greater, 0),
        // Nothing is ever stored at revision 0, but etcd would take it for "absent".
        Expect::At(Revision::ZERO) => EtcdCompare::mod_revision(key, CompareOp::Less, 0),
        Expect::At(revision) => EtcdCompare::mod_revision(key, CompareOp::Equal, signed(revision)),
    }
}

fn to_op(op: &Op) -> TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            let options = lease.map(|LeaseId(id)| PutOptions::new().with_lease(id as i64));
            TxnOp::put(key.to_vec(), value.to_vec(), options)
        }
        Op::Delete { key } => TxnOp::delete(key.to_vec(), None),
    }
}

fn from_response(response: PbTxnResponse, transaction: &Transaction) -> Result<Committed> {
    let revision = Revision(
        response
            .header
            .map_or(0, |header| unsigned(header.revision)),
    );
    let answers = response
        .responses
        .into_iter()
        .filter_map(|answer| answer.response);
    if response.succeeded {
        return Ok(Committed {
            revision,
            effects: answers.map(|answer| effect(&answer)).collect(),
        });
    }
    let failures: Vec<CompareFailure> = transaction
        .compares
        .iter()
        .zip(answers)
        .enumerate()
        .filter_map(|(index, (compare, answer))| failure(index, compare, answer))
        .collect();
    Err(Error::Conflict(Box::new(Conflict { failures, revision })))
}

fn effect(answer: &PbTxnOpResponse) -> Effect {
    match answer {
        PbTxnOpResponse::ResponseDeleteRange(removed) if removed.deleted == 0 => Effect::Unchanged,
        PbTxnOpResponse::ResponseDeleteRange(_)
        | PbTxnOpResponse::ResponsePut(_)
        | PbTxnOpResponse::ResponseRange(_)
        | PbTxnOpResponse::ResponseTxn(_) => Effect::Changed,
    }
}

/// The compare judged again over what is there; none if it held.
fn failure(index: usize, compare: &Compare, answer: PbTxnOpResponse) -> Option<CompareFailure> {
    let current = match answer {
        PbTxnOpResponse::ResponseRange(mut range) => range
            .kvs
            .pop()
            .map(|stored| item(etcd_client::KeyValue(stored))),
        PbTxnOpResponse::ResponsePut(_)
        | PbTxnOpResponse::ResponseDeleteRange(_)
        | PbTxnOpResponse::ResponseTxn(_) => None,
    };
    (!compare
        .expect
        .holds(current.as_ref().map(|item| item.modified)))
    .then(|| CompareFailure {
        index,
        key: compare.key.clone(),
        expected: compare.expect,
        current,
    })
}

/// etcd does not say which lease; a transaction names at most a few, mostly one.
fn lease_not_found(transaction: &Transaction) -> Error {
    let lease = transaction.ops.iter().find_map(|op| match op {
        Op::Put { lease, .. } => *lease,
        Op::Delete { .. } => None,
    });
    match lease {
        Some(lease) => Error::LeaseNotFound(lease),
        None => Error::Invalid("etcd misses a lease that the transaction does not name".to_owned()),
    }
}
