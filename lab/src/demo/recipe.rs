//! An ImageRecipe as the API server shows it, read for what the story tells of it.

use serde_json::Value;

/// The object, as JSON.
pub struct Recipe(pub Value);

impl Recipe {
    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn condition(&self, kind: &str) -> Option<&Value> {
        let conditions = self.0.pointer("/status/conditions")?.as_array()?;
        conditions.iter().find(|condition| condition["type"] == kind)
    }

    fn holds(&self, kind: &str) -> bool {
        self.condition(kind)
            .is_some_and(|condition| condition["status"] == "True")
    }

    /// Whether the controller has seen the present spec, says that all is well, and has no build in hand.
    pub fn at_rest(&self) -> bool {
        self.current() && self.holds("Ready") && self.phase().is_empty() && self.reason() == "ImageProven"
    }

    /// Whether the controller has seen the present spec and has given up on it.
    pub fn stalled(&self) -> bool {
        self.current() && self.holds("Stalled")
    }

    /// Why the attempt in hand, or the build, has failed.
    pub fn failure(&self) -> Option<&str> {
        let attempt = self.0.pointer("/status/build/failure/message").and_then(Value::as_str);
        attempt.or_else(|| self.stalled().then(|| self.message()))
    }

    fn current(&self) -> bool {
        self.0.pointer("/status/observedGeneration") == self.0.pointer("/metadata/generation")
    }

    /// Reason of the condition Ready; empty before there is one.
    fn reason(&self) -> &str {
        self.condition("Ready")
            .and_then(|condition| condition["reason"].as_str())
            .unwrap_or_default()
    }

    /// Message of the condition Ready.
    pub fn message(&self) -> &str {
        self.condition("Ready")
            .and_then(|condition| condition["message"].as_str())
            .unwrap_or_default()
    }

    pub fn content_hash(&self) -> &str {
        self.text("/status/contentHash")
    }

    /// Id of the latest proven image; empty if there is none.
    pub fn latest_image(&self) -> &str {
        self.text("/status/latest/images/eu-central-1/x86_64")
    }

    /// Number of the build of the latest proven image.
    pub fn latest_build(&self) -> Option<i64> {
        self.0.pointer("/status/latest/build")?.as_i64()
    }

    /// How long the latest image took from its launch to the last check passed.
    pub fn boot_seconds(&self) -> Option<f64> {
        let milliseconds = self.0.pointer("/status/latest/bootMilliseconds")?.as_f64()?;
        Some(milliseconds / 1000.0)
    }

    /// Where the build in hand is, for example `Building`; empty if there is none.
    pub fn phase(&self) -> &str {
        self.text("/status/build/architectures/0/phase")
    }

    /// Role and id of the instance that was launched last, but for the inspector.
    pub fn machine(&self) -> Option<(&'static str, &str)> {
        let id = |of| {
            self.0
                .pointer(&format!("/status/build/architectures/0/{of}/id"))?
                .as_str()
        };
        let test = id("test").map(|id| ("test", id));
        test.or_else(|| Some(("builder", id("instance")?)))
    }

    /// Which inputs made the newest ended build differ from the one before.
    pub fn changed(&self) -> Vec<&str> {
        let changed = self.0.pointer("/status/history/0/changed").and_then(Value::as_array);
        changed.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// One line that changes whenever there is something new to tell.
    pub fn summary(&self) -> String {
        let reason = match self.reason() {
            "" => "not seen yet",
            reason => reason,
        };
        let Some(number) = self.0.pointer("/status/build/number") else {
            return reason.into();
        };
        let step = match self.text("/status/build/architectures/0/step") {
            "" => String::new(),
            step => format!(", step {step}"),
        };
        match self.phase() {
            // Begun, and no attempt yet.
            "" => format!("build {number}: {reason}"),
            phase => format!("build {number}: {phase}{step}"),
        }
    }
}
