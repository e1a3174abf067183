//! A connection as the server has it: given up when nobody asks anything over it in time who may, and when its client takes nothing of
//! what it asked for. Who may ask is [`crate::authorise`]'s to say.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::Extensions;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tonic::transport::server::{Connected, TcpConnectInfo, TlsConnectInfo};

use crate::tls::Share;

/// How long a connection may last without a request of somebody who may ask it. Who is nobody must not hold anything for long.
const UNKNOWN: Duration = Duration::from_secs(10);

/// Whether somebody who may has asked something over a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(Arc<Asked>);

#[derive(Debug, Default)]
struct Asked {
    is_known: AtomicBool,
    /// Its part of what its peer may have of connections of nobody, until then.
    share: Mutex<Option<Share>>,
}

impl Known {
    /// Somebody has asked over the connection that a request came by.
    pub(crate) fn tell(extensions: &Extensions) {
        if let Some(known) = extensions.get::<Self>() {
            known.asked();
        }
    }

    fn asked(&self) {
        if !self.0.is_known.swap(true, Ordering::Relaxed) {
            self.give_back();
        }
    }

    fn give_back(&self) {
        let mut share = self.0.share.lock().unwrap_or_else(PoisonError::into_inner);
        drop(share.take());
    }

    fn is(&self) -> bool {
        self.0.is_known.load(Ordering::Relaxed)
    }
}

/// What a request is told of its connection.
#[derive(Clone)]
pub(crate) struct Info<T> {
    of_stream: T,
    known: Known,
}

/// Puts what a request is told of its connection where everybody looks for it.
pub(crate) fn unpack(extensions: &mut Extensions) {
    if let Some(info) = extensions.remove::<Info<TcpConnectInfo>>() {
        extensions.insert(info.of_stream);
        extensions.insert(info.known);
    }
    if let Some(info) = extensions.remove::<Info<TlsConnectInfo<TcpConnectInfo>>>() {
        extensions.insert(info.of_stream);
        extensions.insert(info.known);
    }
}

/// The connection.
pub(crate) struct Connection<S> {
    stream: S,
    known: Known,
    until_known: Pin<Box<Sleep>>,
    /// Since when its client takes nothing, as when that has lasted too long.
    stalled: Option<Pin<Box<Sleep>>>,
    patience: Duration,
}

impl<S> Connection<S> {
    /// `patience`: how long its client may take nothing while there is something.
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            known: Known::default(),
            until_known: Box::pin(sleep(UNKNOWN)),
            stalled: None,
            patience,
        }
    }

    /// `share`: held until somebody has asked who may, or the connection ends.
    pub(crate) fn with_share(stream: S, share: Share, patience: Duration) -> Self {
        let connection = Self::new(stream, patience);
        let own = &connection.known.0.share;
        *own.lock().unwrap_or_else(PoisonError::into_inner) = Some(share);
        connection
    }

    /// What is written, unless it waits for too long.
    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        match stalled.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Err(given_up("its client takes nothing"))),
        }
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        // A request that is being answered may outlive it.
        self.known.give_back();
    }
}

fn given_up(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

impl<S: Connected> Connected for Connection<S> {
    type ConnectInfo = Info<S::ConnectInfo>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Info {
            of_stream: self.stream.connect_info(),
            known: self.known.clone(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.known.is() {
            // Asked first: who sends something all the time asks nothing all the same.
            let is_over = this.until_known.deadline() <= Instant::now();
            if is_over || this.until_known.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(given_up("nobody asks anything who may")));
            }
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(context, octets);
        this.written(context, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.written(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(context);
        this.written(context, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_shutdown(context);
        this.written(context, polled)
    }
}

#[cfg(test)]
mod tests;
