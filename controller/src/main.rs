//! `cellblockd`: reads its configuration, runs a controller until it is told to stop.

use anyhow::{Context, Result, anyhow};
use cellblock_controller::{Controller, Flags, Settings, init_logs};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<()> {
    let settings = Settings::resolve(Flags::parse())?;
    init_logs(&settings.log, settings.log_format).map_err(|reason| anyhow!(reason))?;
    if settings.config.tls.is_none() {
        tracing::warn!(
            "without [tls] every user and program of this machine may apply manifests, whose hooks run as root on the hosts"
        );
    }
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut controller = Controller::start(settings.config).await?;
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        reason = controller.failed() => Some(reason),
    };
    controller.stop().await;
    match failed {
        Some(reason) => Err(anyhow!(reason)),
        None => Ok(()),
    }
}
