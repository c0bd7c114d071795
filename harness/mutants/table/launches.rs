//! What is launched, and what of it is found again.

use super::{Mutant, mutant};

pub const MUTANTS: &[Mutant] = &[
    mutant(
        "no-client-token",
        "an instance is launched without a client token",
        "proven-image/undisturbed",
        &[(
            "src/aws/client/write.rs",
            "            .client_token(&launch.token)\n",
            "",
        )],
    ),
    mutant(
        "one-token-for-all",
        "every type and subnet is tried with one client token",
        "everything-set/no-capacity",
        &[(
            "src/recipe/decide/launch.rs",
            "&format!(\"{instance_type} {} {number}\", subnet.id),",
            "\"launch\",",
        )],
    ),
    mutant(
        "user-data-not-kept",
        "what a guest is sent is not kept before it is launched",
        "proven-image/undisturbed",
        &[(
            "src/recipe/record.rs",
            "                self.user_data.insert(*guest, user_data.clone());\n",
            "                let _ = user_data;\n",
        )],
    ),
    mutant(
        "adopt-unborn",
        "an instance is taken for ours by its tags alone",
        "proven-image/undisturbed",
        &[(
            "src/recipe/decide/launch.rs",
            "            && observed.is_born(claim, &origin, &instance.tags)\n",
            "            && { let _ = &origin; true }\n",
        )],
    ),
    mutant(
        "adopt-older",
        "the mark of an instance says nothing of the call that launched it",
        "proven-image/undisturbed",
        &[(
            "src/recipe/seal.rs",
            "        } => [\"instance\", image, instance_type, client_token],
",
            "        } => [\"instance\", image, instance_type, client_token.get(..0).unwrap_or_default()],
",
        )],
    ),
    mutant(
        "claim-of-anyone",
        "what carries the tags of another recipe counts as this one's",
        "two-recipes/undisturbed",
        &[(
            "src/recipe/observation.rs",
            "Claim::read(tags, &self.installation).filter(|claim| claim.owner_uid == self.owner.uid)",
            "Claim::read(tags, &self.installation).filter(|claim| !claim.owner_uid.is_empty())",
        )],
    ),
    mutant(
        "young-for-gone",
        "what was just launched and does not show yet counts as gone",
        "history/dies-unseen",
        &[(
            "src/recipe/decide/launch.rs",
            "if young || since(missing, observed.now) < MISSING {",
            "if false && (young || since(missing, observed.now) < MISSING) {",
        )],
    ),
    mutant(
        "groups-forgotten",
        "instances are launched without the spec's security groups",
        "proven-image/undisturbed",
        &[(
            "src/aws/client/write.rs",
            ".set_security_group_ids(Some(launch.security_groups.clone()))",
            ".set_security_group_ids(None)",
        )],
    ),
    mutant(
        "profile-for-all",
        "test instance and inspector get the builder's instance profile",
        "everything-set/undisturbed",
        &[(
            "src/recipe/decide/launch.rs",
            "builder.instance_profile.clone().filter(|_| role == Role::Builder)",
            "builder.instance_profile.clone()",
        )],
    ),
    mutant(
        "volumes-of-source",
        "the builder has its source's volumes, whatever the spec says",
        "everything-set/undisturbed",
        &[(
            "src/aws/client/write.rs",
            ".set_block_device_mappings(Some(launch.volumes.iter().map(block_device).collect()))",
            ".set_block_device_mappings(None)",
        )],
    ),
    mutant(
        "grants-ignored",
        "a recipe may use what is not granted to it",
        "not-granted/undisturbed",
        &[(
            "src/world/grants.rs",
            "        if listed {\n            return Ok(());",
            "        if listed || what == Use::Subnet {\n            return Ok(());",
        )],
    ),
    mutant(
        "namespaces-alike",
        "what is granted to one namespace is granted to all",
        "not-granted/undisturbed",
        &[(
            "src/world/grants.rs",
            ".filter(move |grant| lists(&grant.namespaces, namespace))",
            ".filter(move |grant| !grant.namespaces.is_empty() || lists(&grant.namespaces, namespace))",
        )],
    ),
    mutant(
        "builder-tags-forgotten",
        "instances are born without the tags of the spec",
        "everything-set/undisturbed",
        &[(
            "src/recipe/decide/launch.rs",
            "let mut tags = record.frozen.spec.build.builder.tags.clone();",
            "let mut tags = Tags::new();",
        )],
    ),
    mutant(
        "reservation-taken",
        "instances take capacity that somebody has reserved",
        "proven-image/undisturbed",
        &[(
            "src/aws/client/write.rs",
            ".capacity_reservation_preference(CapacityReservationPreference::None)",
            ".capacity_reservation_preference(CapacityReservationPreference::Open)",
        )],
    ),
    mutant(
        "metadata-open",
        "instances answer about themselves without a token",
        "proven-image/undisturbed",
        &[(
            "src/aws/client/write.rs",
            ".http_tokens(HttpTokensState::Required)",
            ".http_tokens(HttpTokensState::Optional)",
        )],
    ),
    mutant(
        "lifetime-unbounded",
        "an instance does not end itself when nobody is there",
        "three-attempts/away",
        &[(
            "src/guest/user_data.rs",
            "script.number(\"LIFETIME\", lifetime.as_secs().max(1));",
            "script.number(\"LIFETIME\", lifetime.as_secs().max(1) * 100);",
        )],
    ),
    mutant(
        "builder-terminates",
        "the disk of a builder that powers off is gone",
        "proven-image/undisturbed",
        &[(
            "src/recipe/act.rs",
            "shutdown_behavior: if launch.role == Role::Builder {",
            "shutdown_behavior: if launch.role == Role::Test {",
        )],
    ),
    mutant(
        "metadata-from-containers",
        "the metadata of an instance is answered to what is behind a bridge on it",
        "proven-image/undisturbed",
        &[(
            "src/aws/client/write.rs",
            ".http_put_response_hop_limit(1)",
            ".http_put_response_hop_limit(64)",
        )],
    ),
    mutant(
        "volumes-stay",
        "volumes of a spec stay when their instance is terminated",
        "everything-set/undisturbed",
        &[(
            "src/aws/client/write.rs",
            ".delete_on_termination(true)\n        .build();\n    BlockDeviceMapping",
            ".delete_on_termination(false)\n        .build();\n    BlockDeviceMapping",
        )],
    ),
    mutant(
        "token-of-new-key",
        "the client token hangs on the key that seals now, and not on that with which the build began",
        "proven-image/key-rotated",
        &[(
            "src/recipe/decide/launch.rs",
            "    keys(observed, record).token(",
            "    observed.keys.token(",
        )],
    ),
    mutant(
        "birth-of-old-keys",
        "what was born under a key that only verifies now is taken for a stranger's",
        "proven-image/key-rotated",
        &[(
            "src/recipe/seal.rs",
            "        let mut keys = self.0.iter().map(Vec::as_slice);\n",
            "        let mut keys = self.0.iter().take(1).map(Vec::as_slice);\n",
        )],
    ),
    mutant(
        "profiles-not-granted",
        "an instance profile is used that nobody has granted",
        "not-granted/undisturbed",
        &[(
            "src/recipe/checks.rs",
            "    if let Some(name) = &builder.instance_profile {",
            "    if let Some(name) = builder.instance_profile.as_ref().filter(|name| name.is_empty()) {",
        )],
    ),
    mutant(
        "groups-not-granted",
        "security groups are used that nobody has granted",
        "not-granted/undisturbed",
        &[(
            "src/recipe/checks.rs",
            "    for id in &builder.security_group_ids {",
            "    for id in builder.security_group_ids.iter().skip(1) {",
        )],
    ),
    mutant(
        "test-with-volumes",
        "the test instance gets the volumes of the builder",
        "everything-set/undisturbed",
        &[(
            "src/recipe/decide/launch.rs",
            "        volumes: if role == Role::Builder {",
            "        volumes: if role != Role::Inspector {",
        )],
    ),
];
