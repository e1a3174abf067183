//! A store that refuses one item for ever stops no other, and its object says why.

use cellblock_controller_core::conditions::{self, SCHEDULED};
use cellblock_schemas::{ClusterUid, Kind};
use cellblock_store::testing::EphemeralStore;
use cellblock_store::{
    BoxFuture, Committed, Error, Got, Health, Key, Lease, LeaseId, ListRequest, Page, Result,
    Revision, SharedStore, Store, Transaction, Watch, WatchRequest,
};
use serde_json::{Value, json};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// What the store says of the one that it refuses.
#[derive(Clone, Copy)]
enum Says {
    TooLarge,
    Away,
}

/// Takes everything but what gives the jail `big` a host.
struct Refusing {
    store: SharedStore,
    says: Says,
}

impl Store for Refusing {
    fn location(&self) -> &str {
        self.store.location()
    }

    fn get<'a>(&'a self, key: &'a Key, at: Option<Revision>) -> BoxFuture<'a, Result<Got>> {
        self.store.get(key, at)
    }

    fn list(&self, request: ListRequest) -> BoxFuture<'_, Result<Page>> {
        self.store.list(request)
    }

    fn count<'a>(&'a self, prefix: &'a Key, at: Option<Revision>) -> BoxFuture<'a, Result<u64>> {
        self.store.count(prefix, at)
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed>> {
        let is_big = |key: &Key| key.to_string().contains("/Jail/big");
        let binds = transaction.ops.len() > 1;
        if !(binds && transaction.ops.iter().any(|op| is_big(op.key()))) {
            return self.store.commit(transaction);
        }
        let error = match self.says {
            Says::TooLarge => Error::TooLarge {
                what: "the number of compares in one transaction".to_owned(),
                size: 130,
                limit: 128,
            },
            Says::Away => Error::Unavailable {
                location: "here".to_owned(),
                reason: "no answer".to_owned(),
                outcome: cellblock_store::Outcome::NotApplied,
            },
        };
        Box::pin(async { Err(error) })
    }

    fn watch(&self, request: WatchRequest) -> Watch {
        self.store.watch(request)
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease>> {
        self.store.grant(ttl)
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<Duration>> {
        self.store.keep_alive(lease)
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>> {
        self.store.revoke(lease)
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<()>> {
        self.store.compact(revision)
    }

    fn current_revision(&self) -> BoxFuture<'_, Result<Revision>> {
        self.store.current_revision()
    }

    fn health(&self) -> BoxFuture<'_, Result<Health>> {
        self.store.health()
    }
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "uid": name, "generation": 1}, "spec": spec,
    })
}

/// Everything else that there is to do is done, though `big` comes before it.
async fn others_go_on(says: Says) -> Arc<Cache> {
    let own = EphemeralStore::embedded().await.expect("a store");
    let store: SharedStore = Arc::new(Refusing {
        store: own.store(),
        says,
    });
    let cluster = ClusterUid("c1".to_owned());
    let cache = Arc::new(Cache::new(cluster.clone()));
    let keys = cellblock_controller_core::keys::Keys::new(&cluster);
    let jail = |name: &str| {
        let spec = json!({"host": "a", "root": {"path": format!("/jails/{name}")}});
        (Kind::Jail, name.to_owned(), object("Jail", name, spec))
    };
    let network = json!({"bridge": {}, "subnets": [{"cidr": "10.1.0.0/24"}]});
    let objects = [
        (Kind::Host, "a".to_owned(), object("Host", "a", json!({}))),
        (
            Kind::Network,
            "lan".to_owned(),
            object("Network", "lan", network),
        ),
        jail("big"),
        jail("zz"),
    ];
    let mut transaction = Transaction::new();
    for (kind, name, document) in objects {
        transaction = transaction.put(keys.object(kind, &name), document.to_string());
    }
    own.store().commit(transaction).await.expect("stored");
    let following = tokio::spawn(crate::follow::follow(store.clone(), cache.clone()));
    let writer = Arc::new(Writer::new(store, cache.clone()));
    let running = tokio::spawn(run(cache.clone(), writer, Duration::ZERO));
    let mut applied = cache.applied();
    let all_else = async {
        loop {
            let is_done = {
                let index = cache.index();
                let bound = index.jail("zz").and_then(|jail| jail.binding());
                let host = index.host("a").and_then(|host| host.status.as_ref());
                let network = index.network("lan").and_then(|lan| lan.status.as_ref());
                bound.is_some() && host.is_some() && network.is_some()
            };
            if is_done {
                return;
            }
            applied.changed().await.expect("the cache lives");
        }
    };
    let done = tokio::time::timeout(PATIENCE, all_else).await;
    done.expect("the others are not stopped");
    running.abort();
    following.abort();
    cache
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_is_refused_for_ever_stops_no_other_and_says_why() {
    let cache = others_go_on(Says::TooLarge).await;
    let index = cache.index();
    let big = index.jail("big").expect("it is there");
    assert!(big.binding().is_none());
    let status = big.status.as_ref().expect("it says something");
    let scheduled = conditions::find(&status.conditions, SCHEDULED).expect("of its host");
    assert_eq!(scheduled.reason, "NotStored");
    assert!(scheduled.message.contains("130"), "{}", scheduled.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_for_which_the_store_is_never_there_stops_no_other() {
    others_go_on(Says::Away).await;
}
