//! Console output, which EC2 gives for one instance a call.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Ec2;
use crate::world::{AwsError, InstanceId};

/// A pass may come several times a second; the console of a guest at work changes about as often as this.
const LIFETIME: Duration = Duration::from_secs(2);
/// By then nobody asks for this instance any more.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// The consoles that were read last.
#[derive(Debug)]
pub(super) struct Console {
    ec2: Ec2,
    read: Mutex<HashMap<InstanceId, (Instant, String)>>,
}

impl Console {
    pub(super) fn new(ec2: Ec2) -> Self {
        Self {
            ec2,
            read: Mutex::new(HashMap::new()),
        }
    }

    /// The end of the instance's console as it is now, or was two seconds ago.
    pub(super) async fn read(&self, instance: &InstanceId) -> Result<String, AwsError> {
        let asked = Instant::now();
        if let Some((at, text)) = self.entries().get(instance)
            && asked.duration_since(*at) < LIFETIME
        {
            return Ok(text.clone());
        }
        let text = self.ec2.console_output(instance).await?;
        let mut entries = self.entries();
        entries.retain(|_, (at, _)| asked.duration_since(*at) < FORGET_AFTER);
        entries.insert(instance.clone(), (asked, text.clone()));
        Ok(text)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<InstanceId, (Instant, String)>> {
        // Whole entries are put in and taken out, so that a panic leaves nothing half done.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
