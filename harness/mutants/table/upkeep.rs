//! What is kept of images, and what is removed.

use super::{Mutant, mutant};

pub const MUTANTS: &[Mutant] = &[
    mutant(
        "image-untagged",
        "the snapshots of an image are born without tags",
        "proven-image/undisturbed",
        &[(
            "src/aws/client/write.rs",
            "let born = [ResourceType::Image, ResourceType::Snapshot];",
            "let born = [ResourceType::Image];",
        )],
    ),
    mutant(
        "protection-forgotten",
        "a proven image is never protected",
        "proven-image/undisturbed",
        &[(
            "src/recipe/decide/upkeep.rs",
            "if decision.build.is_some() || !observed.spec().image.deregistration_protection {",
            "if decision.build.is_some() || !observed.spec().image.name.is_empty() {",
        )],
    ),
    mutant(
        "protected-anyway",
        "an image is protected whatever its spec says",
        "everything-set/undisturbed",
        &[(
            "src/recipe/decide/upkeep.rs",
            "if decision.build.is_some() || !observed.spec().image.deregistration_protection {",
            "if decision.build.is_some() || observed.spec().image.name.is_empty() {",
        )],
    ),
    mutant(
        "proven-removed",
        "the image of a build that ended well is a leftover",
        "proven-image/undisturbed",
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
        "volumes-forgotten",
        "volumes are no leftovers",
        "deleted-late/undisturbed",
        &[(
            "src/recipe/decide/leftovers.rs",
            "if matches!(volume.state, VolumeState::Available | VolumeState::Error) {",
            "if matches!(volume.state, VolumeState::Error) {",
        )],
    ),
    mutant(
        "sweep-everybody",
        "the sweep asks for no installation",
        "proven-image/undisturbed",
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
        "tags-stale",
        "a tag that has left the spec stays on the image",
        "tags-changed/undisturbed",
        &[(
            "src/recipe/decide/upkeep.rs",
            "    if !stale.is_empty() {\n",
            "    if !stale.is_empty() && wanted.is_empty() {\n",
        )],
    ),
    mutant(
        "tags-of-others",
        "tags that others have put on an image are taken off",
        "tags-changed/undisturbed",
        &[(
            "src/recipe/decide/upkeep.rs",
            "    let mut stale: Vec<String> = put\n        .iter()\n",
            "    let mut stale: Vec<String> = image.tags.keys()\n        .filter(|key| !key.starts_with(\"goldsmith.dev/\") && *key != \"Name\")\n",
        )],
    ),
    mutant(
        "tags-not-set",
        "a tag that is new in the spec does not come to the image",
        "tags-changed/undisturbed",
        &[(
            "src/recipe/decide/upkeep.rs",
            "    if !changed.is_empty() {\n",
            "    if changed.len() > 100 {\n",
        )],
    ),
    mutant(
        "description-not-set",
        "a description that is new in the spec does not come to the image",
        "tags-changed/undisturbed",
        &[(
            "src/recipe/decide/upkeep.rs",
            ".filter(|wanted| image.description.as_ref() != Some(*wanted))",
            ".filter(|wanted| image.description.as_ref() != Some(*wanted) && wanted.is_empty())",
        )],
    ),
    mutant(
        "builder-removed",
        "the builder of the attempt in hand is a leftover",
        "proven-image/undisturbed",
        &[(
            "src/recipe/decide/leftovers.rs",
            "self.attempt == Some((claim.build, claim.attempt)) && self.roles.contains(&claim.role)",
            "self.attempt == Some((claim.build, claim.attempt)) && self.roles.contains(&claim.role) && claim.role != Role::Builder",
        )],
    ),
    mutant(
        "failed-image-left",
        "an image that was not proven is left",
        "check-fails/undisturbed",
        &[(
            "src/recipe/decide/leftovers.rs",
            "        if image.state != ImageState::Pending {\n",
            "        if image.state == ImageState::Failed {\n",
        )],
    ),
    mutant(
        "untested-protected",
        "an image that nothing has proven is protected",
        "untested/undisturbed",
        &[(
            "src/recipe/decide/upkeep.rs",
            "    let proven = observed.proven_images().into_iter();\n",
            "    let proven = observed.finished_images().into_iter();\n",
        )],
    ),
    mutant(
        "tags-of-images-ignored",
        "an instance or a volume with the tags of an image is taken for a leftover",
        "proven-image/undisturbed",
        &[(
            "src/world/ownership.rs",
            "    [CONTENT_HASH, PROVEN, FINISHED, SEAL]\n        .iter()\n        .any(|key| tags.contains_key(*key))\n        || tags",
            "    [CONTENT_HASH, PROVEN, FINISHED, SEAL]\n        .iter()\n        .all(|key| tags.contains_key(&format!(\"{key}.\")))\n        && tags",
        )],
    ),
    mutant(
        "released-early",
        "a recipe is let go before what was launched for it shows",
        "deleted/dies-unseen",
        &[(
            "src/recipe/decide/mod.rs",
            "!leftovers::any_left(observed) && !is_out {",
            "!leftovers::any_left(observed) {",
        )],
    ),
    mutant(
        "intent-forgotten-in-deletion",
        "what a recipe that is deleted was about to make is forgotten",
        "deleted/dies-unseen",
        &[(
            "src/recipe/decide/mod.rs",
            "    decision.build = attempt::abandoned(observed);\n    let left",
            "    let left",
        )],
    ),
    mutant(
        "standby-sweeps",
        "a process that waits for the Lease sweeps",
        "two-replicas/undisturbed",
        &[(
            "src/controller/recipes.rs",
            "        if !*passes.leads.borrow() {\n            continue;\n        }\n        match recipe::sweep",
            "        match recipe::sweep",
        )],
    ),
    mutant(
        "stop-ignored",
        "a process that is asked to stop goes on with its plans",
        "proven-image/stopped",
        &[(
            "src/recipe/context.rs",
            "        if self.stop.requested() {",
            "        if self.stop.requested() && made == Timestamp::UNIX_EPOCH {",
        )],
    ),
    mutant(
        "lease-renewed-too-long",
        "a holder that cannot renew its Lease goes on for an hour",
        "superseded/lease-unavailable",
        &[(
            "src/controller/leader.rs",
            "            let deadline = renewed + self.terms.renew;",
            "            let deadline = renewed + self.terms.renew * 360;",
        )],
    ),
    mutant(
        "lease-kept",
        "a process that stops keeps its Lease",
        "proven-image/stopped",
        &[(
            "src/controller/leader.rs",
            "        if kept.is_ok() {\n            self.release().await;",
            "        if kept.is_err() {\n            self.release().await;",
        )],
    ),
    mutant(
        "lease-taken-early",
        "a Lease is taken before it has run out",
        "proven-image/lease-taken",
        &[(
            "src/controller/lease.rs",
            "        Some(_) if unchanged >= Duration::from_secs(seconds.unwrap_or(0)) => Step::Hold,",
            "        Some(_) if unchanged >= Duration::from_secs(seconds.unwrap_or(0)) / 2 => Step::Hold,",
        )],
    ),
    mutant(
        "view-age-ignored",
        "what was seen may be of any age when something is done about it",
        "deleted/frozen",
        &[(
            "src/recipe/act.rs",
            "    let seen = observed.view.taken.unwrap_or(observed.now);",
            "    let seen = observed.now;",
        )],
    ),
    mutant(
        "sweep-too-young",
        "what nobody claims is removed long before sweepAfter",
        "long-build/undisturbed",
        &[(
            "src/recipe/sweep.rs",
            "        Claim::read(tags, installation).is_some() && born.is_some_and(|born| since(born, now) >= after)\n",
            "        Claim::read(tags, installation).is_some() && born.is_some_and(|born| since(born, now) >= after / 60)\n",
        )],
    ),
    mutant(
        "tag-keys-overwritten",
        "of tags that edits have put only the last edit's are remembered",
        "tags-changed/undisturbed",
        &[(
            "src/recipe/decide/upkeep.rs",
            "            let keys = record.progress.tag_keys.iter().cloned().chain(new).collect();\n",
            "            let keys: Vec<String> = new;\n",
        )],
    ),
];
