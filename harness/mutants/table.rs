//! The faults that are planted, as what is written in their place. A place that is not there any more fails the tests.

/// A fault.
pub struct Mutant {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is wrong with it.
    pub fault: &'static str,
    /// File, what it says (once), and what it says instead.
    pub edits: &'static [(&'static str, &'static str, &'static str)],
    /// Why no plan can find it, if none can.
    pub survives: Option<&'static str>,
}

const fn mutant(
    name: &'static str,
    fault: &'static str,
    edits: &'static [(&'static str, &'static str, &'static str)],
) -> Mutant {
    Mutant {
        name,
        fault,
        edits,
        survives: None,
    }
}

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    mutant(
        "no-client-token",
        "an instance is launched without a client token",
        &[(
            "src/aws/client/write.rs",
            "            .client_token(&launch.token)\n",
            "",
        )],
    ),
    mutant(
        "intent-left-out",
        "nothing is in status before something is made",
        &[(
            "src/recipe/act.rs",
            "if effect.creates() && !intended {",
            "if false && effect.creates() && !intended {",
        )],
    ),
    mutant(
        "intent-after-effect",
        "the intent is written once the effects have been carried out",
        &[
            (
                "src/recipe/act.rs",
                "            write_status(context, recipe, report::intent(observed, plan)).await?;
",
                "",
            ),
            (
                "src/recipe/act.rs",
                "    Ok(outcomes)
}

/// Writes status, if it differs",
                "    if intended {
        write_status(context, recipe, report::intent(observed, plan)).await?;
    }
    Ok(outcomes)
}

/// Writes status, if it differs",
            ),
        ],
    ),
    mutant(
        "user-data-not-kept",
        "what a guest is sent is not kept before it is launched",
        &[(
            "src/recipe/record.rs",
            "                self.user_data.insert(*guest, user_data.clone());\n",
            "                let _ = user_data;\n",
        )],
    ),
    mutant(
        "status-unversioned",
        "status is written without the resourceVersion that was read",
        &[(
            "src/recipe/act.rs",
            "    wanted.status = Some(status);\n",
            "    wanted.status = Some(status);\n    wanted.metadata.resource_version = None;\n",
        )],
    ),
    mutant(
        "record-unversioned",
        "a record is replaced whatever has become of it meanwhile",
        &[(
            "src/recipe/act.rs",
            "    changed.metadata.resource_version = config_map.metadata.resource_version;\n",
            "",
        )],
    ),
    mutant(
        "status-always-written",
        "a status that is there already is written again",
        &[(
            "src/recipe/act.rs",
            "if recipe.status.as_ref() == Some(&status) {",
            "if false && recipe.status.as_ref() == Some(&status) {",
        )],
    ),
    mutant(
        "requeue-forgotten",
        "a pass that went well is followed by none",
        &[(
            "src/controller/pass.rs",
            "                Action::requeue(again)\n",
            "                let _ = again;\n                Action::await_change()\n",
        )],
    ),
    mutant(
        "finalizer-first",
        "a deleted object is let go before its things are removed",
        &[(
            "src/recipe/decide/mod.rs",
            "if decision.effects.is_empty() && !leftovers::any_left(observed) && !attempt::answer_may_be_out(observed) {",
            "if decision.claims == Claims::none() {",
        )],
    ),
    mutant(
        "adopt-unborn",
        "an instance is taken for ours by its tags alone",
        &[(
            "src/recipe/decide/launch.rs",
            "            && observed.is_born(claim, &origin, &instance.tags)\n",
            "            && { let _ = &origin; true }\n",
        )],
    ),
    mutant(
        "frozen-changed",
        "what a build has frozen at its beginning is changed later",
        &[(
            "src/recipe/record.rs",
            "                self.user_data.retain(|kept, _| kept.attempt == guest.attempt);
",
            "                self.user_data.retain(|kept, _| kept.attempt == guest.attempt);
                self.frozen.spec.failure_limit += 1;
",
        )],
    ),
    mutant(
        "ready-ends",
        "a recipe is not Ready while an image that is asked for again is built",
        &[(
            "src/recipe/decide/draft.rs",
            "        if super::upkeep::serves(self, record) {
",
            "        if false && super::upkeep::serves(self, record) {
",
        )],
    ),
    mutant(
        "adopt-older",
        "the mark of an instance says nothing of the call that launched it",
        &[(
            "src/recipe/seal.rs",
            "        } => [\"instance\", image, instance_type, client_token],
",
            "        } => [\"instance\", image, instance_type, client_token.get(..0).unwrap_or_default()],
",
        )],
    ),
    mutant(
        "boot-errors-pass",
        "what a test instance's logs show does not matter",
        &[(
            "src/recipe/decide/proof.rs",
            "    if !report.boot_errors.is_empty() {
",
            "    if !report.boot_errors.is_empty() && deadline.is_zero() {
",
        )],
    ),
    mutant(
        "deadline-ignored",
        "an image is proven however long it takes to boot",
        &[
            (
                "src/recipe/decide/proof.rs",
                "        if since(instance.launch_time, observed.now) > deadline + CONSOLE_LAG {
",
                "        if since(instance.launch_time, observed.now) > deadline * 100 + CONSOLE_LAG {
",
            ),
            (
                "src/recipe/decide/proof.rs",
                "    if boot > deadline {
",
                "    if boot > deadline * 100 {
",
            ),
        ],
    ),
    mutant(
        "succeeded-unproven",
        "a build ends well as soon as its image is there",
        &[(
            "src/recipe/decide/proof.rs",
            "    if proven {
        return finish(decision, record, image);
",
            "    if proven || !image.id.as_str().is_empty() {
        return finish(decision, record, image);
",
        )],
    ),
    mutant(
        "ended-continued",
        "a build that has ended is gone on with",
        &[(
            "src/recipe/observation.rs",
            "self.records.iter().rev().find(|record| record.is_active())",
            "self.records.iter().rev().find(|record| record.is_active() || record.number() == 1)",
        )],
    ),
    mutant(
        "seal-key-told",
        "the seal of a record is the key itself",
        &[
            (
                "src/recipe/seal.rs",
                "        self.sign(b\"record\", parts)
",
                "        let _ = parts;
        self.0.first().map(|key| String::from_utf8_lossy(key).trim().to_owned()).unwrap_or_default()
",
            ),
            (
                "src/recipe/seal.rs",
                "        self.fits(b\"record\", parts, seal)
",
                "        let _ = parts;
        !seal.is_empty()
",
            ),
        ],
    ),
    mutant(
        "adopt-unsealed",
        "a verdict on an image is believed without a seal",
        &[(
            "src/recipe/observation.rs",
            "claim.owner == path && self.keys.verify(&self.installation, image))",
            "claim.owner == path && image.tags.contains_key(crate::world::SEAL))",
        )],
    ),
    mutant(
        "adopt-of-another",
        "a sealed image of another recipe is taken for this one's",
        &[(
            "src/recipe/observation.rs",
            "claim.owner == path && self.keys.verify(&self.installation, image))",
            "(claim.owner == path || !claim.owner.is_empty()) && self.keys.verify(&self.installation, image))",
        )],
    ),
    mutant(
        "refusal-untold",
        "that Kubernetes refuses a record is told to nobody",
        &[(
            "src/recipe/reconcile.rs",
            "Error::RecordRefused(_) => Some(Reason::RecordRefused),",
            "Error::RecordRefused(_) => None,",
        )],
    ),
    mutant(
        "sweep-everybody",
        "the sweep asks for no installation",
        &[
            (
                "src/recipe/sweep.rs",
                "tags.get(MANAGED_BY) == Some(&installation.name) && tags.get(CLUSTER) == Some(&installation.cluster)",
                "tags.contains_key(MANAGED_BY) && tags.contains_key(CLUSTER)",
            ),
            (
                "src/world/ownership.rs",
                "if get(MANAGED_BY)? != installation.name || get(CLUSTER)? != installation.cluster {",
                "if get(MANAGED_BY)?.is_empty() || get(CLUSTER)? == installation.name {",
            ),
            (
                "src/aws/client/read.rs",
                "        filter(format!(\"tag:{MANAGED_BY}\"), [&installation.name]),
        filter(format!(\"tag:{CLUSTER}\"), [&installation.cluster]),
",
                "        filter(\"tag-key\", [MANAGED_BY]),
        filter(\"tag-key\", [if installation.name.is_empty() { MANAGED_BY } else { CLUSTER }]),
",
            ),
        ],
    ),
    mutant(
        "one-page",
        "of a list only the first page is read",
        &[(
            "src/aws/client/mod.rs",
            "let next = next.filter(|next| !next.is_empty());",
            "let next = next.filter(|next| next.is_empty());",
        )],
    ),
    mutant(
        "plan-age-unbounded",
        "a plan is carried out however old it is",
        &[(
            "src/recipe/context.rs",
            "if age > PLAN_LIFETIME {",
            "if age > PLAN_LIFETIME * 1_000_000 {",
        )],
    ),
    mutant(
        "error-for-emptiness",
        "instances that could not be read count as not there",
        &[(
            "src/aws/inventory/reader.rs",
            "            ec2.describe_instances(installation),\n",
            "            async { Ok(ec2.describe_instances(installation).await.unwrap_or_default()) },\n",
        )],
    ),
    mutant(
        "young-for-gone",
        "what was just launched and does not show yet counts as gone",
        &[(
            "src/recipe/decide/launch.rs",
            "if young || since(missing, observed.now) < MISSING {",
            "if false && (young || since(missing, observed.now) < MISSING) {",
        )],
    ),
    mutant(
        "retry-never",
        "the time to the next attempt never passes",
        &[(
            "src/recipe/decide/attempt.rs",
            "    if wait.is_zero() {\n        return true;\n    }\n",
            "    if wait.is_zero() {\n        return false;\n    }\n",
        )],
    ),
    mutant(
        "timeout-never",
        "a builder that never ends is waited for for ever",
        &[(
            "src/recipe/decide/builder.rs",
            "if since(builder.launch_time, observed.now) > timeout + GRACE {",
            "if since(builder.launch_time, observed.now) > (timeout + GRACE) * 1000 {",
        )],
    ),
    mutant(
        "protection-forgotten",
        "a proven image is never protected",
        &[(
            "src/recipe/decide/upkeep.rs",
            "if decision.build.is_some() || !observed.spec().image.deregistration_protection {",
            "if decision.build.is_some() || !observed.spec().image.name.is_empty() {",
        )],
    ),
    mutant(
        "volumes-forgotten",
        "volumes are no leftovers",
        &[(
            "src/recipe/decide/leftovers.rs",
            "if matches!(volume.state, VolumeState::Available | VolumeState::Error) {",
            "if matches!(volume.state, VolumeState::Error) {",
        )],
    ),
    mutant(
        "proof-without-inspector",
        "an image is proven though no inspector has looked at it",
        &[(
            "src/recipe/decide/proof.rs",
            "    let inspected = inspect(decision, record, image, &mut proof)?;\n",
            "    let _ = inspect(decision, record, image, &mut proof)?;\n    let inspected = Half::Passed(());\n",
        )],
    ),
    mutant(
        "proof-without-test",
        "an image is proven though its test instance has failed",
        &[(
            "src/recipe/decide/proof.rs",
            "    let tested = test(decision, record, image, &mut proof)?;\n",
            "    let tested = test(decision, record, image, &mut proof).unwrap_or(Half::Passed(1));\n",
        )],
    ),
    mutant(
        "findings-ignored",
        "what an inspector refuses is let pass",
        &[(
            "src/recipe/decide/proof.rs",
            "        Inspection::Refused { reason, message } => {\n",
            "        Inspection::Refused { reason: _, message } if !message.is_empty() => {
            proof.inspected = true;
            return Ok(Half::Passed(()));
        }
        Inspection::Refused { reason, message } => {
",
        )],
    ),
    mutant(
        "attempt-forgotten",
        "the attempt that the record knows is not looked at",
        &[(
            "src/recipe/decide/attempt.rs",
            "    build.attempt = build.attempt.clamp(record.progress.attempt, most);\n",
            "    build.attempt = build.attempt.min(most);\n",
        )],
    ),
    mutant(
        "image-untagged",
        "the snapshots of an image are born without tags",
        &[(
            "src/aws/client/write.rs",
            "let born = [ResourceType::Image, ResourceType::Snapshot];",
            "let born = [ResourceType::Image];",
        )],
    ),
    mutant(
        "transition-always-now",
        "a condition's time of change is that of its last write",
        &[(
            "src/api/conditions.rs",
            "            let since = if present.status == wanted.status {",
            "            let since = if present.status == wanted.status && present.message == wanted.message {",
        )],
    ),
    mutant(
        "latest-before-proof",
        "a finished image becomes latest before it is proven",
        &[
            (
                "src/recipe/observation.rs",
                "claim.owner == path && self.keys.verify(&self.installation, image))",
                "claim.owner == path)",
            ),
            (
                "src/recipe/observation.rs",
                "        images.retain(|image| image.tags.contains_key(PROVEN));\n",
                "        images.retain(|image| !image.tags.contains_key(\"no\"));\n",
            ),
        ],
    ),
    mutant(
        "end-rewritten",
        "a build that has ended can end once more",
        &[(
            "src/recipe/record.rs",
            "                if !self.is_active() {\n                    return false;\n                }\n                self.progress.outcome",
            "                self.progress.outcome",
        )],
    ),
    mutant(
        "proven-removed",
        "the image of a build that ended well is a leftover",
        &[
            (
                "src/recipe/decide/leftovers.rs",
                "    let kept = image.tags.contains_key(PROVEN) || image.tags.contains_key(FINISHED) || image.is_protected();\n",
                "    let kept = image.tags.contains_key(FINISHED);\n",
            ),
            (
                "src/recipe/decide/leftovers.rs",
                "may_be_removed(image) && !observed.is_on_record(&image.id)",
                "may_be_removed(image) && observed.is_on_record(&image.id)",
            ),
        ],
    ),
    mutant(
        "generation-ahead",
        "status claims to have seen a generation that is still to come",
        &[(
            "src/recipe/report.rs",
            "    status.observed_generation = Some(generation);\n    status.build",
            "    status.observed_generation = Some(generation + 1);\n    status.build",
        )],
    ),
    mutant(
        "inspector-from-image",
        "the image that is looked at also looks",
        &[(
            "src/recipe/decide/proof.rs",
            "find_or_launch(decision, record, Role::Inspector, trusted)",
            "find_or_launch(decision, record, Role::Inspector, trusted.map(|_| &image.id))",
        )],
    ),
    mutant(
        "search-one-page",
        "of the images that a search finds only those on the first page count",
        &[(
            "src/aws/client/read.rs",
            "            token = next.filter(|next| !next.is_empty());\n",
            "            token = next.filter(|next| next.is_empty());\n",
        )],
    ),
    mutant(
        "first-volume-only",
        "of an image's volumes only the first is inspected",
        &[(
            "src/recipe/decide/proof.rs",
            "    for (snapshot, device) in image.snapshots().zip(DEVICES) {",
            "    for (snapshot, device) in image.snapshots().zip(DEVICES).take(1) {",
        )],
    ),
    mutant(
        "profile-for-all",
        "test instance and inspector get the builder's instance profile",
        &[(
            "src/recipe/decide/launch.rs",
            "builder.instance_profile.clone().filter(|_| role == Role::Builder)",
            "builder.instance_profile.clone()",
        )],
    ),
    mutant(
        "one-token-for-all",
        "every type and subnet is tried with one client token",
        &[(
            "src/recipe/decide/launch.rs",
            "&format!(\"{instance_type} {} {number}\", subnet.id),",
            "\"launch\",",
        )],
    ),
    mutant(
        "groups-forgotten",
        "instances are launched without the spec's security groups",
        &[(
            "src/aws/client/write.rs",
            ".set_security_group_ids(Some(launch.security_groups.clone()))",
            ".set_security_group_ids(None)",
        )],
    ),
    mutant(
        "volumes-of-source",
        "the builder has its source's volumes, whatever the spec says",
        &[(
            "src/aws/client/write.rs",
            ".set_block_device_mappings(Some(launch.volumes.iter().map(block_device).collect()))",
            ".set_block_device_mappings(None)",
        )],
    ),
    mutant(
        "attempts-unbounded",
        "an attempt more is made than failureLimit says",
        &[(
            "src/recipe/decide/attempt.rs",
            "attempt >= i64::from(decision.observed.spec().failure_limit)",
            "attempt > i64::from(decision.observed.spec().failure_limit)",
        )],
    ),
    mutant(
        "retries-suspended",
        "a suspended recipe begins its next attempt",
        &[(
            "src/recipe/decide/attempt.rs",
            "    if observed.spec().suspend {\n        decision.suspended();\n        return false;\n    }\n    let wait = failure",
            "    let wait = failure",
        )],
    ),
    mutant(
        "protected-anyway",
        "an image is protected whatever its spec says",
        &[(
            "src/recipe/decide/upkeep.rs",
            "if decision.build.is_some() || !observed.spec().image.deregistration_protection {",
            "if decision.build.is_some() || observed.spec().image.name.is_empty() {",
        )],
    ),
    mutant(
        "claim-of-anyone",
        "what carries the tags of another recipe counts as this one's",
        &[(
            "src/recipe/observation.rs",
            "Claim::read(tags, &self.installation).filter(|claim| claim.owner_uid == self.owner.uid)",
            "Claim::read(tags, &self.installation).filter(|claim| !claim.owner_uid.is_empty())",
        )],
    ),
];
