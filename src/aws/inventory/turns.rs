//! Whose search is next: many of one namespace do not keep another's single one waiting.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Searches under way at a time. Each holds a page of a thousand images, and takes its calls from the budget that everyone shares.
const AT_ONCE: usize = 4;
/// Of them, those of one namespace. No more of its searches stand in the line of all, so it is everyone's turn again and again.
const AT_ONCE_OF_ONE: usize = 2;

/// The lines in which searches wait.
#[derive(Debug)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    namespaces: HashMap<String, Arc<Semaphore>>,
}

/// A place in a namespace's line.
#[derive(Debug)]
pub(super) struct Place {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// Lets the next search begin when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _own: Option<OwnedSemaphorePermit>,
    _all: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(AT_ONCE)),
            namespaces: HashMap::new(),
        }
    }

    /// A place for one search of `namespace`.
    pub(super) fn place(&mut self, namespace: &str) -> Place {
        // Nobody stands in the others.
        self.namespaces.retain(|_, line| Arc::strong_count(line) > 1);
        let line = self.namespaces.entry(namespace.to_owned());
        let own = line.or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE_OF_ONE)));
        Place {
            own: Arc::clone(own),
            all: Arc::clone(&self.all),
        }
    }
}

impl Place {
    /// Waits until the search may begin.
    pub(super) async fn turn(self) -> Turn {
        // An error says that it is closed, which nobody does.
        let own = self.own.acquire_owned().await.ok();
        let all = self.all.acquire_owned().await.ok();
        Turn { _own: own, _all: all }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::*;

    /// A search that takes ten seconds, and says when it begins.
    async fn search(place: Place, name: &'static str, begun: UnboundedSender<&'static str>) {
        let _turn = place.turn().await;
        begun.send(name).unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespaces_many_searches_keep_nobody_elses_waiting() {
        let mut turns = Turns::new();
        let (begun, mut order) = unbounded_channel();
        for (namespace, searches) in [("many", 50), ("several", 3), ("one", 1), ("another", 1)] {
            for _ in 0..searches {
                tokio::spawn(search(turns.place(namespace), namespace, begun.clone()));
            }
        }
        drop(begun);
        let mut began = Vec::new();
        while let Some(name) = order.recv().await {
            began.push(name);
        }
        assert_eq!(began.len(), 55);
        let (first, second) = (&began[..4], &began[4..8]);
        assert_eq!(first, ["many", "many", "several", "several"]);
        assert!(second.contains(&"one") && second.contains(&"another"), "{second:?}");

        turns.place("one");
        assert_eq!(turns.namespaces.len(), 1, "a line in which nobody stands is forgotten");
    }
}
