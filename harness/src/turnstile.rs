//! One request at a time, in an order that is the same in every run.
//!
//! Which of several tasks comes first is chance in tokio and in kube (hash seeds, random branches). Here each request registers
//! under what it says and waits; the first is let through only once nothing else can happen without time going by.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

/// What a request takes at least: the turnstile waits as long, which under a paused clock means until all tasks wait.
const TURN: Duration = Duration::from_millis(1);

/// Where the requests of one process wait.
#[derive(Debug, Default)]
pub struct Turnstile {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By what they say; of equal ones the earlier goes first, and it makes no difference.
    requests: BTreeMap<(Vec<u8>, u64), oneshot::Sender<()>>,
    arrivals: u64,
}

impl Turnstile {
    /// Waits until it is the turn of the request that says `what`.
    pub async fn pass(&self, what: Vec<u8>) {
        let (go, gone) = oneshot::channel();
        {
            let mut waiting = self.lock();
            waiting.arrivals += 1;
            let arrival = waiting.arrivals;
            waiting.requests.insert((what, arrival), go);
        }
        self.arrived.notify_one();
        // An error means that nobody drives any more; then the runtime is about to be dropped.
        if gone.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Lets requests through, for ever.
    pub async fn drive(&self) {
        loop {
            if self.lock().requests.is_empty() {
                self.arrived.notified().await;
                continue;
            }
            tokio::time::sleep(TURN).await;
            // One that has been given up meanwhile takes no turn.
            while let Some(go) = self.next() {
                if go.send(()).is_ok() {
                    break;
                }
            }
        }
    }

    fn next(&self) -> Option<oneshot::Sender<()>> {
        self.lock().requests.pop_first().map(|(_, go)| go)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
