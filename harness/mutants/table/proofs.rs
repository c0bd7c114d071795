//! What proves an image, and what a proof is believed by.

use super::{Mutant, mutant};

pub const MUTANTS: &[Mutant] = &[
    mutant(
        "proof-without-test",
        "an image is proven though its test instance has failed",
        "check-fails/undisturbed",
        &[(
            "src/recipe/decide/proof.rs",
            "    let tested = test(decision, record, image, &mut proof)?;\n",
            "    let tested = test(decision, record, image, &mut proof).unwrap_or(Half::Passed(1));\n",
        )],
    ),
    mutant(
        "proof-without-inspector",
        "an image is proven though no inspector has looked at it",
        "proven-image/undisturbed",
        &[(
            "src/recipe/decide/proof.rs",
            "    let inspected = inspect(decision, record, image, &mut proof)?;\n",
            "    let _ = inspect(decision, record, image, &mut proof)?;\n    let inspected = Half::Passed(());\n",
        )],
    ),
    mutant(
        "inspector-from-image",
        "the image that is looked at also looks",
        "proven-image/undisturbed",
        &[(
            "src/recipe/decide/proof.rs",
            "find_or_launch(decision, record, Role::Inspector, trusted)",
            "find_or_launch(decision, record, Role::Inspector, trusted.map(|_| &image.id))",
        )],
    ),
    mutant(
        "first-volume-only",
        "of an image's volumes only the first is inspected",
        "everything-set/undisturbed",
        &[(
            "src/recipe/decide/proof.rs",
            "    for (snapshot, device) in image.snapshots().zip(DEVICES) {",
            "    for (snapshot, device) in image.snapshots().zip(DEVICES).take(1) {",
        )],
    ),
    mutant(
        "findings-ignored",
        "what an inspector refuses is let pass",
        "secret-left/undisturbed",
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
        "boot-errors-pass",
        "what a test instance's logs show does not matter",
        "boot-error/undisturbed",
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
        "slow-boot/undisturbed",
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
        "proven-image/undisturbed",
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
        "latest-before-proof",
        "a finished image becomes latest before it is proven",
        "proven-image/undisturbed",
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
        "adopt-unsealed",
        "a verdict on an image is believed without a seal",
        "adoption/undisturbed",
        &[(
            "src/recipe/observation.rs",
            "claim.owner == path && self.keys.verify(&self.installation, image))",
            "claim.owner == path && image.tags.contains_key(crate::world::SEAL))",
        )],
    ),
    mutant(
        "adopt-of-another",
        "a sealed image of another recipe is taken for this one's",
        "two-recipes/undisturbed",
        &[(
            "src/recipe/observation.rs",
            "claim.owner == path && self.keys.verify(&self.installation, image))",
            "(claim.owner == path || !claim.owner.is_empty()) && self.keys.verify(&self.installation, image))",
        )],
    ),
    mutant(
        "nonce-ignored",
        "what anybody writes to a console is the guest's word",
        "check-fails/undisturbed",
        &[(
            "src/guest/console.rs",
            "let rest = body.strip_prefix(nonce)?.strip_prefix(' ')?;",
            "let (_, rest) = body.split_once(' ').filter(|_| !nonce.is_empty())?;",
        )],
    ),
    mutant(
        "test-change-ignored",
        "an image that was proven by other checks is proven",
        "checks-changed/undisturbed",
        &[
            (
                "src/recipe/decide/begin.rs",
                "let proven = |image: &&Image| image.tags.get(PROVEN) == Some(&present.test_hash);",
                "let proven = |image: &&Image| image.tags.contains_key(PROVEN);",
            ),
            (
                "src/recipe/decide/upkeep.rs",
                "present.is_some_and(|present| image.tags.get(PROVEN) == Some(&present.test_hash));",
                "present.is_some() && image.tags.contains_key(PROVEN);",
            ),
        ],
    ),
    mutant(
        "protected-without-cooldown",
        "whoever takes the protection off an image may deregister it at once",
        "proven-image/undisturbed",
        &[(
            "src/aws/client/write.rs",
            ".with_cooldown(true)",
            ".with_cooldown(false)",
        )],
    ),
    mutant(
        "build-unsealed",
        "the number of the build may be changed on a proven image",
        "verdict-edited/undisturbed",
        &[(
            "src/recipe/seal.rs",
            "const SEALED: [&str; 9] = [\n    OWNER,\n    BUILD,\n",
            "const SEALED: [&str; 9] = [\n    OWNER,\n    OWNER,\n",
        )],
    ),
    mutant(
        "verdict-alone-keeps",
        "an image that is on record is removed once somebody has taken its tags off",
        "verdict-taken/undisturbed",
        &[(
            "src/recipe/decide/leftovers.rs",
            "    may_be_removed(image) && !observed.is_on_record(&image.id)",
            "    may_be_removed(image) && (image.name.is_empty() || !observed.is_being_deleted() || !observed.is_on_record(&image.id))",
        )],
    ),
    mutant(
        "snapshots-unmarked",
        "the verdict is on the image alone",
        "proven-image/undisturbed",
        &[(
            "src/recipe/decide/proof.rs",
            "    decision.effects.push(Effect::Tag {\n        resources: with_snapshots(image),",
            "    decision.effects.push(Effect::Tag {\n        resources: vec![image.id.to_string()],",
        )],
    ),
    mutant(
        "snapshots-untagged",
        "a changed tag is put on the image alone",
        "tags-changed/undisturbed",
        &[(
            "src/recipe/decide/upkeep.rs",
            "            resources: proof::with_snapshots(image),\n            tags: changed,",
            "            resources: vec![image.id.to_string()],\n            tags: changed,",
        )],
    ),
    mutant(
        "tag-keys-forgotten",
        "what an edit has put on an image is never taken off again",
        "tags-changed/undisturbed",
        &[(
            "src/recipe/decide/upkeep.rs",
            "        if let (Some(record), false) = (record, new.is_empty()) {",
            "        if let (Some(record), true) = (record, new.len() > 1000) {",
        )],
    ),
    mutant(
        "hash-unsealed",
        "what an image was made from may be edited on it",
        "hash-edited/undisturbed",
        &[(
            "src/recipe/seal.rs",
            "    parts.extend(SEALED.map(|key| tags.get(key).cloned().unwrap_or_default()));",
            "    parts.extend(SEALED.map(|key| tags.get(key).filter(|_| key != CONTENT_HASH).cloned().unwrap_or_default()));",
        )],
    ),
    mutant(
        "contents-never-read",
        "the inspector reads no contents",
        "token-left/undisturbed",
        &[(
            "src/recipe/decide/launch.rs",
            "            source_created: frozen.source.creation_time,\n",
            "            source_created: super::attempt::image(observed, record)\n                .and_then(|image| image.creation_time)\n                .unwrap_or(frozen.source.creation_time),\n",
        )],
    ),
    mutant(
        "traces-pass",
        "what cleanup should have removed passes",
        "host-key-left/undisturbed",
        &[(
            "src/guest/verdict.rs",
            "    if failed.is_empty() {\n",
            "    if failed.iter().all(|(rule, _)| !matches!(rule, Rule::Item(CleanupItem::PrivateKeys | CleanupItem::Credentials))) {\n",
        )],
    ),
    mutant(
        "dead-image-awaited",
        "an image that never boots is waited for",
        "dead-image/undisturbed",
        &[(
            "src/recipe/decide/proof.rs",
            "        if since(instance.launch_time, observed.now) > deadline + CONSOLE_LAG {\n",
            "        if report.booted && since(instance.launch_time, observed.now) > deadline + CONSOLE_LAG {\n",
        )],
    ),
    mutant(
        "untested-tag-stays",
        "an image keeps the tag of one that is not tested",
        "test-switched-on/undisturbed",
        &[(
            "src/recipe/decide/proof.rs",
            "    if !stray.is_empty() {\n",
            "    if stray.len() > 4 {\n",
        )],
    ),
    mutant(
        "deadline-not-reproved",
        "another deadline does not have an image proven again",
        "checks-changed/undisturbed",
        &[(
            "src/recipe/inputs.rs",
            "    digest(&(&test.checks, &test.boot_deadline, test.boot_errors",
            "    digest(&(&test.checks, test.boot_errors",
        )],
    ),
    mutant(
        "reproof-of-old-source",
        "an image that is proven again counts as made from the newest source",
        "source-ignored/undisturbed",
        &[(
            "src/recipe/decide/begin.rs",
            "        .filter(|id| *id != present.source.id);\n",
            "        .filter(|id| *id != present.source.id && observed.spec().rebuild.on_source_change);\n",
        )],
    ),
    mutant(
        "changed-files-pass",
        "a file that the first boot changes passes",
        "file-changed/undisturbed",
        &[(
            "src/recipe/decide/proof.rs",
            "    if changed.is_empty() {\n        return Ok(());\n    }\n    let changed = format!(\"after",
            "    if changed.len() < 64 {\n        return Ok(());\n    }\n    let changed = format!(\"after",
        )],
    ),
    mutant(
        "laid-files-untold",
        "nothing is remembered of what files were like before the first boot",
        "file-changed/undisturbed",
        &[(
            "src/recipe/decide/proof.rs",
            "            proof.laid_files = files;\n",
            "            proof.laid_files = Vec::with_capacity(files.len());\n",
        )],
    ),
];
