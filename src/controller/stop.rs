//! The wish to stop, as everything that runs for long sees it.

use tokio::sync::watch;

/// Whether the process has been asked to stop. A pass asks between two effects, and ends there.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// Asks everything that holds a [`Stop`] to stop.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// A pair that has not been asked to stop.
pub fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// From now on [`Stop::requested`] is true.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether to stop at the next safe point.
    pub fn requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends once stopping has been asked for, or nobody is left who could.
    pub async fn wait(mut self) {
        // An error means that the Stopper is gone, and that is an end too.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}
