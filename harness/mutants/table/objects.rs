//! What is written to Kubernetes: status, records, finalizer, Lease, Events.

use super::{Mutant, mutant};

pub const MUTANTS: &[Mutant] = &[
    mutant(
        "intent-left-out",
        "nothing is in status before something is made",
        "proven-image/undisturbed",
        &[(
            "src/recipe/act.rs",
            "if effect.creates() && !intended {",
            "if false && effect.creates() && !intended {",
        )],
    ),
    mutant(
        "intent-after-effect",
        "the intent is written once the effects have been carried out",
        "proven-image/undisturbed",
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
        "status-unversioned",
        "status is written without the resourceVersion that was read",
        "proven-image/undisturbed",
        &[(
            "src/recipe/act.rs",
            "    wanted.status = Some(status);\n",
            "    wanted.status = Some(status);\n    wanted.metadata.resource_version = None;\n",
        )],
    ),
    mutant(
        "status-always-written",
        "a status that is there already is written again",
        "proven-image/undisturbed",
        &[(
            "src/recipe/act.rs",
            "if recipe.status.as_ref() == Some(&status) {",
            "if false && recipe.status.as_ref() == Some(&status) {",
        )],
    ),
    mutant(
        "transition-always-now",
        "a condition's time of change is that of its last write",
        "proven-image/undisturbed",
        &[(
            "src/api/conditions.rs",
            "            let since = if present.status == wanted.status {",
            "            let since = if present.status == wanted.status && present.message == wanted.message {",
        )],
    ),
    mutant(
        "generation-ahead",
        "status claims to have seen a generation that is still to come",
        "proven-image/undisturbed",
        &[(
            "src/recipe/report.rs",
            "    status.observed_generation = Some(generation);\n    status.build",
            "    status.observed_generation = Some(generation + 1);\n    status.build",
        )],
    ),
    mutant(
        "ready-ends",
        "a recipe is not Ready while an image that is asked for again is built",
        "asked-again/undisturbed",
        &[(
            "src/recipe/decide/draft.rs",
            "        if super::upkeep::serves(self, record) {
",
            "        if false && super::upkeep::serves(self, record) {
",
        )],
    ),
    mutant(
        "requeue-forgotten",
        "a pass that went well is followed by none",
        "second-attempt/undisturbed",
        &[(
            "src/controller/pass.rs",
            "                Action::requeue(again)\n",
            "                let _ = again;\n                Action::await_change()\n",
        )],
    ),
    mutant(
        "finalizer-first",
        "a deleted object is let go before its things are removed",
        "deleted/undisturbed",
        &[(
            "src/recipe/decide/mod.rs",
            "if decision.effects.is_empty() && !leftovers::any_left(observed) && !is_out {",
            "if decision.claims == Claims::none() {",
        )],
    ),
    mutant(
        "record-unversioned",
        "a record is replaced whatever has become of it meanwhile",
        "proven-image/undisturbed",
        &[(
            "src/recipe/act.rs",
            "    changed.metadata.resource_version = config_map.metadata.resource_version;\n",
            "",
        )],
    ),
    mutant(
        "frozen-changed",
        "what a build has frozen at its beginning is changed later",
        "proven-image/undisturbed",
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
        "end-rewritten",
        "a build that has ended can end once more",
        "proven-image/frozen",
        &[(
            "src/recipe/record.rs",
            "                if !self.is_active() {\n                    return false;\n                }\n                self.progress.outcome",
            "                self.progress.outcome",
        )],
    ),
    mutant(
        "seal-key-told",
        "the seal of a record is the key itself",
        "proven-image/undisturbed",
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
                "        self.fitting(b\"record\", parts, seal).map(id)
",
                "        let _ = parts;
        (!seal.is_empty()).then(|| self.first_id())
",
            ),
        ],
    ),
    mutant(
        "refusal-untold",
        "that Kubernetes refuses a record is told to nobody",
        "proven-image/record-refused",
        &[(
            "src/recipe/reconcile.rs",
            "Error::RecordRefused(_) => Some(Reason::RecordRefused),",
            "Error::RecordRefused(_) => None,",
        )],
    ),
    mutant(
        "lease-ignored",
        "a process works though another one leads",
        "proven-image/lease-taken",
        &[(
            "src/controller/pass.rs",
            "if !*self.leads.borrow() {",
            "if false && !*self.leads.borrow() {",
        )],
    ),
    mutant(
        "lease-lost-ignored",
        "a process that has lost the Lease works on",
        "proven-image/lease-taken",
        &[(
            "src/controller/leader.rs",
            "Ok(Ok(true)) => renewed = asked,",
            "Ok(Ok(true)) => renewed = asked,\n                Ok(Ok(false)) if self.seen.is_some() => renewed = asked,",
        )],
    ),
    mutant(
        "lease-taken-at-once",
        "a Lease that another holds is taken",
        "proven-image/lease-taken",
        &[(
            "src/controller/lease.rs",
            "        Some(_) => Step::Wait,\n",
            "        Some(_) => Step::Hold,\n",
        )],
    ),
    mutant(
        "finalizer-late",
        "something is made for a recipe that has no finalizer",
        "proven-image/undisturbed",
        &[(
            "src/recipe/reconcile.rs",
            "let recipe = match deleting {",
            "let recipe = match deleting || recipe.metadata.generation == Some(1) {",
        )],
    ),
    mutant(
        "record-unsealed",
        "a record is believed without its seal",
        "record-edited/undisturbed",
        &[(
            "src/recipe/config_map.rs",
            "    let Some(key) = keys.sealed_record(&sealed(config_map, owner), seal(config_map)) else {",
            "    let Some(key) = Some(keys.first_id()).filter(|_| !seal(config_map).is_empty()) else {",
        )],
    ),
    mutant(
        "records-kept",
        "more records are kept than historyLimit says",
        "history/undisturbed",
        &[(
            "src/recipe/decide/upkeep.rs",
            "let past = ended.len().saturating_sub(limit);",
            "let past = ended.len().saturating_sub(limit + 100);",
        )],
    ),
    mutant(
        "warnings-normal",
        "that a build is given up is told as if all were well",
        "check-fails/undisturbed",
        &[(
            "src/controller/events.rs",
            "            Self::Warning => \"Warning\",\n",
            "            Self::Warning => \"Normal\",\n",
        )],
    ),
    mutant(
        "progress-unsealed",
        "what a record says of its progress may be edited",
        "progress-edited/undisturbed",
        &[(
            "src/recipe/config_map.rs",
            "    let mut parts = vec![owner.uid.as_bytes(), data(FROZEN).as_bytes(), data(PROGRESS).as_bytes()];",
            "    let mut parts = vec![owner.uid.as_bytes(), data(FROZEN).as_bytes()];",
        )],
    ),
    mutant(
        "user-data-unsealed",
        "user data in a record may be edited",
        "user-data-edited/undisturbed",
        &[(
            "src/recipe/config_map.rs",
            "        parts.extend([key.as_bytes(), &bytes.0]);",
            "        parts.extend([key.as_bytes()].into_iter().filter(|_| bytes.0.is_empty()));",
        )],
    ),
    mutant(
        "record-of-anybody",
        "a record of another recipe is taken for its own",
        "record-replaced/undisturbed",
        &[(
            "src/recipe/config_map.rs",
            "    let mut parts = vec![owner.uid.as_bytes(), data",
            "    let mut parts = vec![owner.namespace.as_bytes(), data",
        )],
    ),
    mutant(
        "copies-taken",
        "a copy of a record is taken for that of another build",
        "record-copied/undisturbed",
        &[(
            "src/recipe/config_map.rs",
            "    if name != BuildRecord::config_map_name(&owner.name, frozen.number) {",
            "    if name.is_empty() {",
        )],
    ),
    mutant(
        "history-miscounted",
        "the history counts an attempt more",
        "history/undisturbed",
        &[(
            "src/recipe/decide/draft.rs",
            "            attempts: outcome.attempts,",
            "            attempts: outcome.attempts + 1,",
        )],
    ),
    mutant(
        "latest-of-another-build",
        "latest has the number of no build",
        "proven-image/undisturbed",
        &[(
            "src/recipe/decide/upkeep.rs",
            "        build: claim.map_or(0, |claim| claim.build),",
            "        build: claim.map_or(0, |claim| claim.build - 1),",
        )],
    ),
    mutant(
        "reconcile-unanswered",
        "a request to reconcile is never said to be handled",
        "asked-before/undisturbed",
        &[(
            "src/recipe/report.rs",
            "    if let Some(token) = observed.request(\"reconcile\") {",
            "    if let Some(token) = observed.request(\"reconcile\").filter(|token| token.is_empty()) {",
        )],
    ),
    mutant(
        "failure-untold",
        "no Event says that a build is given up",
        "failing-step/undisturbed",
        &[(
            "src/recipe/decide/attempt.rs",
            "    decision.warn(\"BuildFailed\", words);\n",
            "    drop(words);\n",
        )],
    ),
    mutant(
        "told-again",
        "an Event is written anew whenever it is said",
        "proven-image/older-by-one",
        &[(
            "src/controller/events.rs",
            "(&regarding.uid, note.build, &note.reason, &note.note)",
            "(&regarding.uid, note.build, &note.reason, &note.note, now)",
        )],
    ),
    mutant(
        "finalizers-of-others",
        "the finalizers of others are taken off",
        "everything-set/undisturbed",
        &[(
            "src/controller/finalizers.rs",
            "    let mut finalizers = object.finalizers().to_vec();",
            "    let mut finalizers = Vec::new();",
        )],
    ),
    mutant(
        "records-forgotten-early",
        "fewer records are kept than historyLimit says",
        "kept-history/undisturbed",
        &[(
            "src/recipe/decide/upkeep.rs",
            "    let limit = observed.history_limit();",
            "    let limit = observed.history_limit().min(1);",
        )],
    ),
    mutant(
        "suspended-still-reconciling",
        "a suspended recipe says that it is on its way",
        "suspended-edited/undisturbed",
        &[(
            "src/api/conditions.rs",
            "            Self::Suspended => {\n                put(RECONCILING, None);\n",
            "            Self::Suspended => {\n",
        )],
    ),
    mutant(
        "record-name-taken-untold",
        "that a record's name is taken is not told",
        "record-name-taken/undisturbed",
        &[(
            "src/recipe/act.rs",
            "        Some(_) => Err(Error::RecordNameTaken(name)),\n",
            "        Some(_) => Err(Error::Conflict),\n",
        )],
    ),
];
