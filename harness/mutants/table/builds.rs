//! Builds and attempts: when they begin, go on and end.

use super::{Mutant, mutant};

pub const MUTANTS: &[Mutant] = &[
    mutant(
        "ended-continued",
        "a build that has ended is gone on with",
        "proven-image/undisturbed",
        &[(
            "src/recipe/observation.rs",
            "self.records.iter().rev().find(|record| record.is_active())",
            "self.records.iter().rev().find(|record| record.is_active() || record.number() == 1)",
        )],
    ),
    mutant(
        "retry-never",
        "the time to the next attempt never passes",
        "second-attempt/undisturbed",
        &[(
            "src/recipe/decide/attempt.rs",
            "    if wait.is_zero() {\n        return true;\n    }\n",
            "    if wait.is_zero() {\n        return false;\n    }\n",
        )],
    ),
    mutant(
        "attempts-unbounded",
        "an attempt more is made than failureLimit says",
        "failing-step/undisturbed",
        &[(
            "src/recipe/decide/attempt.rs",
            "attempt >= i64::from(decision.observed.spec().failure_limit)",
            "attempt > i64::from(decision.observed.spec().failure_limit)",
        )],
    ),
    mutant(
        "retries-suspended",
        "a suspended recipe begins its next attempt",
        "failing-step/suspended",
        &[(
            "src/recipe/decide/attempt.rs",
            "    if observed.spec().suspend {\n        decision.suspended();\n        return false;\n    }\n    let wait = failure",
            "    let wait = failure",
        )],
    ),
    mutant(
        "timeout-never",
        "a builder that never ends is waited for for ever",
        "kernel-panic/undisturbed",
        &[(
            "src/recipe/decide/builder.rs",
            "if since(builder.launch_time, observed.now) > timeout + GRACE {",
            "if since(builder.launch_time, observed.now) > (timeout + GRACE) * 1000 {",
        )],
    ),
    mutant(
        "attempt-forgotten",
        "the attempt that the record knows is not looked at",
        "second-attempt/status-set",
        &[(
            "src/recipe/decide/attempt.rs",
            "    build.attempt = build.attempt.clamp(record.progress.attempt, most);\n",
            "    build.attempt = build.attempt.min(most);\n",
        )],
    ),
    mutant(
        "superseded-continued",
        "a build goes on though the spec asks for another",
        "superseded/undisturbed",
        &[(
            "src/recipe/decide/begin.rs",
            "    !wanted_hashes(observed, present, Some(record.frozen.source.image_id.as_str()))\n",
            "    record.number() > 1000 && !wanted_hashes(observed, present, Some(record.frozen.source.image_id.as_str()))\n",
        )],
    ),
    mutant(
        "retry-at-once",
        "the next attempt does not wait",
        "failing-step/undisturbed",
        &[(
            "src/recipe/decide/attempt.rs",
            ".with_min_delay(Duration::from_secs(60))",
            ".with_min_delay(Duration::from_secs(6))",
        )],
    ),
    mutant(
        "begins-suspended",
        "a suspended recipe begins a build",
        "resumed/undisturbed",
        &[(
            "src/recipe/decide/begin.rs",
            "    if observed.spec().suspend {\n",
            "    if observed.spec().suspend && observed.spec().failure_limit > 100 {\n",
        )],
    ),
    mutant(
        "request-not-answered",
        "a request to build is answered again and again",
        "asked-again/undisturbed",
        &[(
            "src/recipe/observation.rs",
            "(!handled && !answered && !token.is_empty())",
            "((!handled || !answered || !verb.is_empty()) && !token.is_empty())",
        )],
    ),
    mutant(
        "failure-forgotten",
        "a build that was given up is begun again",
        "check-fails/undisturbed",
        &[(
            "src/recipe/decide/begin.rs",
            "    same.then(|| outcome.failure.clone())?\n",
            "    same.then(|| outcome.failure.clone())?.filter(|_| observed.records.is_empty())\n",
        )],
    ),
    mutant(
        "source-followed",
        "a newer source is a reason to build, whatever the spec says",
        "source-ignored/undisturbed",
        &[(
            "src/recipe/decide/begin.rs",
            "let follows = observed.spec().rebuild.on_source_change;",
            "let follows = observed.spec().rebuild.on_source_change || !observed.spec().region.is_empty();",
        )],
    ),
    mutant(
        "source-not-followed",
        "a newer source is no reason to build",
        "source-published/undisturbed",
        &[(
            "src/recipe/decide/begin.rs",
            "let follows = observed.spec().rebuild.on_source_change;",
            "let follows = observed.spec().rebuild.on_source_change && observed.spec().region.is_empty();",
        )],
    ),
    mutant(
        "capacity-at-once",
        "a launch that found no capacity is tried again at once",
        "proven-image/no-capacity",
        &[(
            "src/recipe/decide/launch.rs",
            "waited.is_some_and(|waited| waited < ROUND_PAUSE)",
            "waited.is_some_and(|waited| waited < ROUND_PAUSE / 1000)",
        )],
    ),
    mutant(
        "steps-not-hashed",
        "a changed step is no reason to build",
        "changed-step/undisturbed",
        &[(
            "src/recipe/inputs.rs",
            "digest(&(&step.run, &step.file, &step.reboot))",
            "digest(&step.name)",
        )],
    ),
    mutant(
        "made-image-gone",
        "an image that does not show yet fails its attempt",
        "proven-image/older-by-one",
        &[(
            "src/recipe/decide/attempt.rs",
            "    if !young && since(missing, now) >= MISSING {\n",
            "    if young || since(missing, now) <= MISSING {\n",
        )],
    ),
    mutant(
        "retry-not-doubled",
        "the third attempt waits no longer than the second",
        "tried-anew/undisturbed",
        &[(
            "src/recipe/decide/attempt.rs",
            "    let skipped = usize::try_from(attempt - 1).unwrap_or(0).min(16);",
            "    let skipped = usize::try_from(attempt - 1).unwrap_or(0).min(0);",
        )],
    ),
    mutant(
        "corrected-ignored",
        "the next attempt is waited for though the spec has been corrected",
        "corrected/undisturbed",
        &[(
            "src/recipe/decide/attempt.rs",
            "        if (&frozen.build, &frozen.test) != (&observed.spec().build, &observed.spec().test) {\n            return decision",
            "        if observed.spec().failure_limit > 100 {\n            return decision",
        )],
    ),
    mutant(
        "tried-no-more",
        "a build that has failed is never tried again, whatever but its contents has changed in the spec",
        "tried-anew/undisturbed",
        &[(
            "src/recipe/decide/begin.rs",
            "&& (last.frozen.generation == observed.generation() || asks_for_no_more(",
            "&& (last.frozen.generation != 0 || asks_for_no_more(",
        )],
    ),
    mutant(
        "request-carried-not",
        "a build does not remember which request was answered before it",
        "asked-before/undisturbed",
        &[(
            "src/recipe/decide/begin.rs",
            "            answered: observed.last_answered().cloned(),",
            "            answered: None,",
        )],
    ),
    mutant(
        "console-error-for-silence",
        "a console that cannot be read is taken for an empty one",
        "proven-image/call-unavailable",
        &[(
            "src/recipe/decide/attempt.rs",
            "    consoles.find_map(|console| console.as_ref().err())",
            "    consoles.find_map(|console| console.as_ref().err()).filter(|_| attempt > 1000)",
        )],
    ),
    mutant(
        "old-steps",
        "a changed recipe is built from the steps of before",
        "changed-step/undisturbed",
        &[(
            "src/recipe/decide/launch.rs",
            "steps: &spec.build.steps,\n            cleanup",
            "steps: observed.records.iter().find(|one| one.ended(crate::api::BuildResult::Succeeded).is_some()).map_or(&spec.build.steps, |one| &one.frozen.spec.build.steps),\n            cleanup",
        )],
    ),
    mutant(
        "environment-values-not-hashed",
        "another value of a variable is no reason to build",
        "taken-back/undisturbed",
        &[(
            "src/recipe/inputs.rs",
            "digest(&build.environment));\n",
            "digest(&build.environment.iter().map(|variable| &variable.name).collect::<Vec<_>>()));\n",
        )],
    ),
    mutant(
        "older-image-built-again",
        "what is taken back is built again though its image is there",
        "taken-back/undisturbed",
        &[(
            "src/recipe/decide/begin.rs",
            "        .into_iter()\n        .filter(|image| is_of(observed, present, image))\n",
            "        .into_iter()\n        .take(1)\n        .filter(|image| is_of(observed, present, image))\n",
        )],
    ),
    mutant(
        "another-id-ignored",
        "another image id in the spec counts as a newer source",
        "another-id/undisturbed",
        &[(
            "src/recipe/decide/begin.rs",
            "    let searched = observed.spec().build.source.search.is_some();\n",
            "    let searched = observed.spec().build.source.search.is_some() || observed.spec().build.source.ids.is_some();\n",
        )],
    ),
    mutant(
        "suspended-superseded",
        "an edit of a suspended recipe ends the build in hand",
        "suspended-edited/undisturbed",
        &[(
            "src/recipe/decide/mod.rs",
            "                Some(record) if !observed.spec().suspend && begin::is_superseded(observed, record, &present) => {\n",
            "                Some(record) if begin::is_superseded(observed, record, &present) => {\n",
        )],
    ),
    mutant(
        "superseded-records-kept",
        "records of superseded builds are kept for ever",
        "superseded/undisturbed",
        &[(
            "src/recipe/decide/upkeep.rs",
            "        .filter(|record| !record.is_active())\n",
            "        .filter(|record| !record.is_active() && record.ended(BuildResult::Superseded).is_none())\n",
        )],
    ),
    mutant(
        "refused-request-fails-nothing",
        "what EC2 takes as invalid is asked for again, without end",
        "three-attempts/request-refused",
        &[(
            "src/recipe/report.rs",
            "            ErrorClass::Invalid | ErrorClass::Token | ErrorClass::NotFound\n",
            "            ErrorClass::Token | ErrorClass::NotFound\n",
        )],
    ),
    mutant(
        "file-mode-untold",
        "a file is laid with a mode that its step does not say",
        "everything-set/undisturbed",
        &[(
            "src/guest/builder.rs",
            "        script.text(&format!(\"STEP_{index}_MODE\"), &file.mode);\n",
            "        script.text(&format!(\"STEP_{index}_MODE\"), \"0644\");\n",
        )],
    ),
];
