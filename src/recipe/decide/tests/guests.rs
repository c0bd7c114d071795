//! What the instances of the small world do: they speak the real console protocol.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::small_world::SmallWorld;
use crate::world::*;

impl SmallWorld {
    /// What instances do of themselves.
    pub(super) fn live(&mut self) {
        let observed = self.observe();
        let steps: Vec<String> = self
            .recipe
            .spec
            .build
            .steps
            .iter()
            .map(|step| step.name.clone())
            .collect();
        // As they are before and after a boot.
        let files = self.recipe.spec.build.steps.iter();
        let files: Vec<&str> = files
            .filter_map(|step| step.file.as_ref())
            .map(|_| "00112233:644:0:0")
            .collect();
        for instance in self.view.instances.clone() {
            let Some(claim) = observed.claim(&instance.tags) else {
                continue;
            };
            if instance.state != InstanceState::Running {
                continue;
            }
            let nonces = observed.keys.nonces(
                &claim.owner_uid,
                claim.build,
                claim.attempt,
                crate::recipe::seal::guest_role(claim.role),
            );
            let mut said = vec![];
            match claim.role {
                Role::Builder => {
                    said.push("started".to_owned());
                    let failing = self.failing_step;
                    for (index, step) in steps.iter().enumerate() {
                        said.push(format!("step-started {} {}", index + 1, encode(step)));
                        let fails = failing.filter(|(name, _)| name == step);
                        let (result, exit, output) =
                            fails.map_or(("succeeded", 0, ""), |(_, output)| ("failed", 3, output));
                        said.push(format!(
                            "step-finished {} {} {result} 1 {exit} {}",
                            index + 1,
                            encode(step),
                            encode(output)
                        ));
                        if fails.is_some() {
                            break;
                        }
                    }
                    if let Some(name) = self.foreign_step {
                        said.push(format!(
                            "step-finished 1 {} succeeded 1 0 {}",
                            encode(name),
                            encode("root")
                        ));
                    }
                    if failing.is_none() {
                        said.push("finished".to_owned());
                    }
                    said.truncate(self.console_ends_after.unwrap_or(usize::MAX));
                    self.stop(&instance.id);
                }
                Role::Test => {
                    let (result, exit) = if self.check_fails { ("failed", 1) } else { ("passed", 0) };
                    said.extend([
                        "booted".to_owned(),
                        format!("check 1 {} {result} {exit} -", encode("up")),
                    ]);
                    if !self.check_fails {
                        said.push(format!("passed {}", instance.launch_time.as_millisecond() + 4321));
                    }
                    said.extend(files.iter().map(|file| format!("file 1 {}", encode(file))));
                    said.push("tested".to_owned());
                }
                Role::Inspector => {
                    said.push("up".to_owned());
                    if self
                        .view
                        .volumes
                        .iter()
                        .any(|volume| volume.instance_id.as_ref() == Some(&instance.id))
                    {
                        let record = self.records.last().expect("a build");
                        let made = self.view.images.iter().find(|image| {
                            Some(image.id.as_str())
                                == self
                                    .status()
                                    .build
                                    .and_then(|build| build.architectures[0].image.clone())
                                    .as_deref()
                        });
                        let (build, attempt) = made.map_or((claim.build, claim.attempt), |image| {
                            let made = Claim::read(&image.tags, &observed.installation).expect("a claim");
                            (made.build, made.attempt)
                        });
                        let manifest = serde_json::json!({
                            "recipe": claim.owner, "build": build, "attempt": attempt, "contentHash": record.frozen.content_hash,
                            "steps": steps.iter().map(|name| serde_json::json!({"name": name, "result": "succeeded", "tries": 1})).collect::<Vec<_>>(),
                            "skipped": record.frozen.spec.build.cleanup.skip, "files": files, "findings": [],
                        });
                        said.extend([format!("manifest {}", encode(&manifest.to_string()))]);
                        said.extend(
                            self.finding
                                .map(|(item, path)| format!("finding {item} {}", encode(path))),
                        );
                        said.push("inspected".to_owned());
                    }
                }
                Role::Image => {}
            }
            let console = said
                .iter()
                .enumerate()
                .map(|(index, record)| line(&nonces[0], index + 1, record))
                .collect();
            self.consoles.insert(instance.id, console);
        }
    }

    /// The instance of `role` has said this, and nothing else.
    pub(super) fn say(&mut self, role: Role, said: &[&str]) {
        let observed = self.observe();
        let of_role = observed.instances().find(|(_, claim)| claim.role == role);
        let (instance, claim) = of_role.expect("launched");
        let role = crate::recipe::seal::guest_role(role);
        let nonces = observed.keys.nonces(&claim.owner_uid, claim.build, claim.attempt, role);
        let lines = said.iter().enumerate();
        let console = lines
            .map(|(index, record)| line(&nonces[0], index + 1, record))
            .collect();
        self.consoles.insert(instance.id.clone(), console);
    }

    fn stop(&mut self, id: &InstanceId) {
        for instance in self.view.instances.iter_mut().filter(|instance| instance.id == *id) {
            instance.state = InstanceState::Stopped;
            instance.state_reason = Some(StateReason {
                code: "Client.InstanceInitiatedShutdown".into(),
                message: String::new(),
            });
        }
    }
}

pub(super) fn encode(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        BASE64_STANDARD.encode(text)
    }
}

fn line(nonce: &str, sequence: usize, record: &str) -> String {
    let body = format!("{nonce} {sequence}.1/1 {record}");
    format!(
        "\n@goldsmith1 {} {body}\n",
        hex::encode(&Sha256::digest(body.as_bytes())[..4])
    )
}
