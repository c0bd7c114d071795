//! QEMU's own protocol: a JSON object a line, commands one way, answers and events the other.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// A machine that has not answered by then never will: it takes milliseconds, seconds on a host that is very busy.
pub const ANSWER: Duration = Duration::from_secs(30);

const SILENT: &str = "QEMU does not answer";

/// A connection to a machine.
#[derive(Debug)]
pub struct Qmp {
    lines: Lines<BufReader<OwnedReadHalf>>,
    commands: OwnedWriteHalf,
    /// Events that came while an answer was waited for.
    events: Vec<Value>,
}

impl Qmp {
    /// Greets a machine that has connected.
    pub async fn greet(stream: UnixStream) -> Result<Self, String> {
        let (read, commands) = stream.into_split();
        let lines = BufReader::new(read).lines();
        let mut qmp = Self {
            lines,
            commands,
            events: Vec::new(),
        };
        // The greeting itself.
        timeout(ANSWER, qmp.next()).await.map_err(|_| SILENT)??;
        qmp.ask("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    async fn next(&mut self) -> Result<Value, String> {
        match self.lines.next_line().await {
            Ok(Some(line)) => serde_json::from_str(&line).map_err(|error| format!("QEMU says {line}: {error}")),
            Ok(None) => Err("QEMU has ended".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Has a command carried out; an error is the end of the machine, for it is no longer what it is taken for.
    pub async fn ask(&mut self, command: &str, arguments: Value) -> Result<Value, String> {
        self.offer(command, arguments).await?
    }

    /// Offers a command that may well be refused, which is the inner error.
    pub async fn offer(&mut self, command: &str, arguments: Value) -> Result<Result<Value, String>, String> {
        let answer = timeout(ANSWER, self.exchange(command, arguments)).await;
        answer.map_err(|_| SILENT)?
    }

    async fn exchange(&mut self, command: &str, arguments: Value) -> Result<Result<Value, String>, String> {
        let text = format!("{}\n", json!({"execute": command, "arguments": arguments}));
        let written = self.commands.write_all(text.as_bytes()).await;
        written.map_err(|error| error.to_string())?;
        loop {
            let mut said = self.next().await?;
            if said.get("event").is_some() {
                self.events.push(said);
            } else if let Some(error) = said.get("error") {
                let why = error["desc"].as_str().unwrap_or_default();
                return Ok(Err(format!("{command}: {why}")));
            } else {
                return Ok(Ok(said["return"].take()));
            }
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> Result<Value, String> {
        if !self.events.is_empty() {
            return Ok(self.events.remove(0));
        }
        self.next().await
    }
}
