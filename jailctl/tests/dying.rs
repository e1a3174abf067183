//! A controller that dies in the middle: what was written is told, what is not known too, and the way on.
//!
//! The program itself runs against a stand-in that answers so many writes and then is gone, because a real controller cannot be made to die
//! at an exact request.

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use cellblock_proto::v1;
use cellblock_proto::v1::apply_result::Outcome;
use cellblock_proto::v1::objects_server::{Objects, ObjectsServer};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tonic::{Request, Response, Status};

/// Answers so many writes; at the next one it dies.
struct Mortal {
    writes_left: AtomicUsize,
    dying: UnboundedSender<()>,
}

impl Mortal {
    async fn live(&self) {
        let lives = |left: usize| left.checked_sub(1);
        let lived = self
            .writes_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, lives);
        if lived.is_err() {
            self.dying.send(()).expect("the test waits for it");
            std::future::pending::<()>().await;
        }
    }
}

fn unasked<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this test does not ask it"))
}

#[tonic::async_trait]
impl Objects for Mortal {
    type WatchStream = tokio_stream::Empty<Result<v1::WatchEvent, Status>>;

    async fn apply(
        &self,
        request: Request<v1::ApplyRequest>,
    ) -> Result<Response<v1::ApplyResponse>, Status> {
        let request = request.into_inner();
        if !request.dry_run {
            self.live().await;
        }
        let results = request.objects.into_iter().map(|object| v1::ApplyResult {
            outcome: Outcome::Created.into(),
            object: Some(object),
            ..v1::ApplyResult::default()
        });
        Ok(Response::new(v1::ApplyResponse {
            results: results.collect(),
        }))
    }

    async fn delete(
        &self,
        _: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        self.live().await;
        Ok(Response::new(v1::DeleteResponse {
            gone: true,
            ..v1::DeleteResponse::default()
        }))
    }

    async fn evict(
        &self,
        _: Request<v1::EvictRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        unasked()
    }

    async fn create(
        &self,
        _: Request<v1::CreateRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        unasked()
    }

    async fn update(
        &self,
        _: Request<v1::UpdateRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        unasked()
    }

    async fn update_status(
        &self,
        _: Request<v1::UpdateRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        unasked()
    }

    async fn patch(
        &self,
        _: Request<v1::PatchRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        unasked()
    }

    async fn get(&self, _: Request<v1::GetRequest>) -> Result<Response<v1::Object>, Status> {
        unasked()
    }

    async fn list(
        &self,
        _: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        unasked()
    }

    async fn watch(
        &self,
        _: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        unasked()
    }

    async fn list_allocations(
        &self,
        _: Request<v1::ListAllocationsRequest>,
    ) -> Result<Response<v1::ListAllocationsResponse>, Status> {
        unasked()
    }

    async fn list_events(
        &self,
        _: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        unasked()
    }

    async fn version(
        &self,
        _: Request<v1::VersionRequest>,
    ) -> Result<Response<v1::VersionResponse>, Status> {
        unasked()
    }
}

/// Runs jailctl with a manifest of 100 Jails against a controller that dies at the write after so many; gives what it said.
fn asked(word: &str, writes: usize) -> anyhow::Result<Output> {
    let folder = tempfile::tempdir()?;
    let manifest = folder.path().join("jails.yaml");
    let jails = (1..=100).map(|number| {
        format!("---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {{name: j{number:03}}}\nspec: {{root: {{path: /jails/j{number:03}}}}}\n")
    });
    std::fs::write(&manifest, jails.collect::<String>())?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let (dying, mut died) = unbounded_channel();
    let runtime = tokio::runtime::Runtime::new()?;
    let mortal = Arc::new(Mortal {
        writes_left: AtomicUsize::new(writes),
        dying,
    });
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tonic::transport::Server::builder()
            .add_service(ObjectsServer::from_arc(mortal))
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener))
            .await?;
        anyhow::Ok(())
    });
    let child = Command::new(env!("CARGO_BIN_EXE_jailctl"))
        .args([word, "-f"])
        .arg(&manifest)
        .env_clear()
        .env("HOME", folder.path())
        .env("JAILCTL_SERVER", format!("http://{address}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    died.blocking_recv().context("it dies of the last write")?;
    // Everything of it goes at once, as with SIGKILL: the socket that listens and the connection.
    runtime.shutdown_background();
    Ok(child.wait_with_output()?)
}

#[test]
fn an_apply_tells_what_was_written_and_what_is_not_known() -> anyhow::Result<()> {
    let said = asked("apply", 10)?;
    let told = String::from_utf8_lossy(&said.stderr);
    ensure!(said.status.code() == Some(1), "{told}");
    let created: Vec<String> = (1..=10)
        .map(|number| format!("jail/j{number:03} created"))
        .collect();
    let lines: Vec<&str> = told.lines().collect();
    ensure!(
        lines.get(..10) == Some(&created.iter().map(String::as_str).collect::<Vec<_>>()),
        "{told}"
    );
    for text in [
        "broke off in the middle of a request",
        "10 of 100 objects were answered, each with its line above",
        "whether jail/j011 was written is not known, and 89 more were not sent",
        "apply the same manifests again",
    ] {
        ensure!(told.contains(text), "`{text}` is missing: {told}");
    }
    ensure!(!told.contains("https://"), "{told}");
    ensure!(lines.len() == 12, "{told}");
    Ok(())
}

#[test]
fn a_delete_stops_where_the_controller_did() -> anyhow::Result<()> {
    let said = asked("delete", 5)?;
    let told = String::from_utf8_lossy(&said.stderr);
    ensure!(said.status.code() == Some(1), "{told}");
    for text in [
        "jail/j005 deleted",
        "whether jail/j006 is being deleted is not known, and for 94 more it was not asked",
        "delete again what is left",
    ] {
        ensure!(told.contains(text), "`{text}` is missing: {told}");
    }
    ensure!(told.lines().count() == 7, "it is told once: {told}");
    Ok(())
}
