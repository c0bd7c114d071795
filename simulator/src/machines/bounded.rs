//! A listener that a guest cannot tie up: a few connections at a time, and none that takes its time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Closes at once what is one connection too many, and those over which no request is answered for too long.
pub struct Bounded {
    listener: UnixListener,
    room: Arc<Semaphore>,
    patience: Duration,
}

impl Bounded {
    pub fn new(listener: UnixListener, most: usize, patience: Duration) -> Self {
        Self {
            listener,
            room: Arc::new(Semaphore::new(most)),
            patience,
        }
    }
}

impl Listener for Bounded {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            if let Ok(room) = self.room.clone().try_acquire_owned() {
                let stream = BoundedStream {
                    stream,
                    over: Box::pin(sleep(self.patience)),
                    patience: self.patience,
                    _room: room,
                };
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection, and when it is over unless something is answered by then.
pub struct BoundedStream {
    stream: UnixStream,
    over: Pin<Box<Sleep>>,
    patience: Duration,
    _room: OwnedSemaphorePermit,
}

impl BoundedStream {
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.over.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Pending => self.wait(context),
            read => read,
        }
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Pending => self.wait(context),
            written => {
                let over = Instant::now() + self.patience;
                self.over.as_mut().reset(over);
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Under a name of no file, which ends with the listener.
    fn listener(name: &str) -> (UnixListener, std::os::unix::net::SocketAddr) {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("goldsmith-{}-{name}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
        let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
        listener.set_nonblocking(true).unwrap();
        (UnixListener::from_std(listener).unwrap(), address)
    }

    fn connect(address: &std::os::unix::net::SocketAddr) -> UnixStream {
        let stream = std::os::unix::net::UnixStream::connect_addr(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        UnixStream::from_std(stream).unwrap()
    }

    #[tokio::test]
    async fn one_too_many_is_closed_and_there_is_room_again_when_one_ends() {
        let (listener, address) = listener("many");
        let mut bounded = Bounded::new(listener, 2, Duration::from_secs(600));
        let mut clients: Vec<UnixStream> = (0..3).map(|_| connect(&address)).collect();
        let first = bounded.accept().await;
        let _second = bounded.accept().await;
        let accepted = tokio::spawn(async move { bounded.accept().await });
        assert_eq!(clients[2].read(&mut [0]).await.unwrap(), 0, "the third is closed");
        drop(first);
        clients.push(connect(&address));
        accepted.await.unwrap();
    }

    #[tokio::test]
    async fn one_that_says_nothing_is_over() {
        let (listener, address) = listener("silent");
        let mut bounded = Bounded::new(listener, 1, Duration::from_millis(20));
        let _client = connect(&address);
        let (mut stream, _) = bounded.accept().await;
        let error = stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
