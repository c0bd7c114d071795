//! Waiting for conditions, always with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at a condition; most of what the lab waits for takes a second or more.
const INTERVAL: Duration = Duration::from_millis(50);

/// Probes until there is a value, or returns the last problem once `within` has passed. Probes at least once.
pub fn until<T, P>(within: Duration, mut probe: impl FnMut() -> Result<T, P>) -> Result<T, P> {
    let deadline = Instant::now() + within;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(problem) if Instant::now() >= deadline => return Err(problem),
            Err(_) => thread::sleep(INTERVAL),
        }
    }
}
