//! What is read, and how old it may be.

use super::{Mutant, mutant};

pub const MUTANTS: &[Mutant] = &[
    mutant(
        "one-page",
        "of a list only the first page is read",
        "undisturbed",
        &[(
            "src/aws/client/mod.rs",
            "let next = next.filter(|next| !next.is_empty());",
            "let next = next.filter(|next| next.is_empty());",
        )],
    ),
    mutant(
        "search-one-page",
        "of the images that a search finds only those on the first page count",
        "proven-image/undisturbed",
        &[(
            "src/aws/client/read.rs",
            "            token = next.filter(|next| !next.is_empty());\n",
            "            token = next.filter(|next| next.is_empty());\n",
        )],
    ),
    mutant(
        "error-for-emptiness",
        "instances that could not be read count as not there",
        "long-build/call-unavailable",
        &[(
            "src/aws/inventory/reader.rs",
            "            ec2.describe_instances(installation),\n",
            "            async { Ok(ec2.describe_instances(installation).await.unwrap_or_default()) },\n",
        )],
    ),
    mutant(
        "plan-age-unbounded",
        "a plan is carried out however old it is",
        "proven-image/frozen",
        &[(
            "src/recipe/context.rs",
            "if age > PLAN_LIFETIME {",
            "if age > PLAN_LIFETIME * 1_000_000 {",
        )],
    ),
    mutant(
        "living-swept",
        "the sweep removes what a recipe that is there has made",
        "long-build/undisturbed",
        &[(
            "src/recipe/sweep.rs",
            "is_none_or(|claim| !living.contains(&claim.owner_uid))",
            "is_none_or(|claim| !living.contains(&claim.owner_uid) || !claim.owner.is_empty())",
        )],
    ),
    mutant(
        "objects-one-page",
        "of the objects of a kind those on the first page count",
        "long-build/undisturbed",
        &[(
            "src/recipe/record_reader.rs",
            "    Some(asked.continue_token(&token))\n",
            "    Some(asked.continue_token(&token)).filter(|_| token.is_empty())\n",
        )],
    ),
    mutant(
        "error-image-awaited",
        "an image that has ended in error is waited for",
        "three-attempts/image-errored",
        &[
            (
                "src/recipe/decide/attempt.rs",
                "ImageState::Pending | ImageState::Transient | ImageState::Unknown => {",
                "ImageState::Pending | ImageState::Transient | ImageState::Unknown | ImageState::Error => {",
            ),
            (
                "src/recipe/decide/attempt.rs",
                "        | ImageState::Error\n        | ImageState::Invalid",
                "        | ImageState::Invalid",
            ),
        ],
    ),
    mutant(
        "missing-image-gone",
        "an image that one answer does not show is built again",
        "verdict-back/undisturbed",
        &[(
            "src/recipe/decide/upkeep.rs",
            "since(missing, decision.observed.now) < MISSING",
            "since(missing, decision.observed.now) < MISSING / 1000",
        )],
    ),
    mutant(
        "error-for-no-volumes",
        "volumes that could not be read count as not there",
        "deleted-late/call-unavailable",
        &[(
            "src/aws/inventory/reader.rs",
            "            ec2.describe_volumes(installation),\n",
            "            async { Ok(ec2.describe_volumes(installation).await.unwrap_or_default()) },\n",
        )],
    ),
    mutant(
        "error-for-no-images",
        "images that could not be read count as not there",
        "proven-image/call-unavailable",
        &[(
            "src/aws/inventory/reader.rs",
            "            ec2.describe_images(ImageQuery::Ours(installation)),\n",
            "            async { Ok(ec2.describe_images(ImageQuery::Ours(installation)).await.unwrap_or_default()) },\n",
        )],
    ),
    mutant(
        "error-for-no-snapshots",
        "snapshots that could not be read count as not there",
        "deleted-without-image/call-unavailable",
        &[(
            "src/aws/inventory/reader.rs",
            "            ec2.describe_snapshots(installation),\n",
            "            async { Ok(ec2.describe_snapshots(installation).await.unwrap_or_default()) },\n",
        )],
    ),
    mutant(
        "error-for-no-records",
        "records that could not be read count as not there",
        "proven-image/call-unavailable",
        &[(
            "src/recipe/record_reader.rs",
            "        let page = page.map_err(Error::reading_records(&owner.namespace))?;\n",
            "        let Ok(page) = page else { return Ok(Vec::new()) };\n",
        )],
    ),
    mutant(
        "error-for-no-recipes",
        "recipes that could not be listed count as gone",
        "long-build/unavailable",
        &[(
            "src/recipe/reconcile.rs",
            "        let listed = listed.map_err(Error::kubernetes(\"listing recipes\"))?;\n",
            "        let Ok(listed) = listed else { return Ok(uids) };\n",
        )],
    ),
];
