//! What is wrong with a recipe, and only AWS or the configuration can tell: a condition says what, where and the way out,
//! and nothing is made.

use std::process::ExitCode;

use goldsmith_lab::{ControllerOptions, Grant, Options};
use serde_json::{Value, json};
use stage::{Call, Stage, spec, stories, with};

fn main() -> ExitCode {
    let mut controller = ControllerOptions::default();
    // The account's own builders' subnets, and one id that is granted and does not exist.
    controller.grants[0].subnets.push("subnet-0fffffffffffffff1".into());
    controller.grants[0].security_groups.push("sg-0fffffffffffffff1".into());
    controller.grants[0].kms_keys = vec!["alias/images".into()];
    // Images of the account's own of which something else is wrong.
    controller.grants[0].source_images = vec!["ami-0b100500000000001".into(), "ami-0b100600000000001".into()];
    controller.grants[0].instance_profiles.push("nobody-made-it".into());
    controller.grants.push(Grant {
        namespaces: vec!["elsewhere".into()],
        subnets: vec!["subnet-0c300000000000001".into()],
        ..Grant::default()
    });
    let options = Options {
        controller,
        ..Options::default()
    };
    stage::tell(
        &options,
        stories![
            what_cannot_be_built_is_refused_with_the_way_out_and_nothing_is_made,
            what_ec2_refuses_at_launch_is_traced_to_the_field_and_nothing_is_left,
            a_search_that_ec2_does_not_answer_is_its_own_recipes_trouble,
            a_refused_recipe_is_built_once_it_is_mended,
            a_recipe_starts_from_another_ones_image_in_its_namespace_without_a_grant,
        ],
    )
}

/// Name of the recipe, what is wrong with its spec, the condition's reason, and words that its message must have.
type Refusal = (&'static str, Value, &'static str, &'static [&'static str]);

fn builder(change: &Value) -> Value {
    json!({"build": {"builder": change}})
}

fn source(change: &Value) -> Value {
    json!({"build": {"source": change}})
}

fn refusals() -> Vec<Refusal> {
    let search = |owners: &[&str], name: &str| source(&json!({"search": {"owners": owners, "name": name}}));
    let ids = |id: &str| source(&json!({"search": null, "ids": {"x86_64": id}}));
    // No compression makes this much smaller.
    let mut random = 1_u32;
    let noise = std::iter::from_fn(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from_digit((random >> 24) % 36, 36)
    });
    let noise: String = noise.take(40_000).collect();
    vec![
        (
            "unknown-source",
            ids("ami-0fffffffffffffff1"),
            "SourceNotFound",
            &["spec.build.source.ids", "ami-0fffffffffffffff1", "name one that"],
        ),
        (
            "disabled-source",
            ids("ami-0b100500000000001"),
            "SourceUnavailable",
            &["ami-0b100500000000001", "not available", "spec.build.source"],
        ),
        (
            "private-source",
            ids("ami-0b100100000000001"),
            "NotGranted",
            &[
                "source image ami-0b100100000000001",
                "add it to sourceImages",
                "spec.build.source",
            ],
        ),
        (
            "private-match",
            search(&["self"], "web-2026-10-*"),
            "NotGranted",
            &["source image ami-0b100300000000001", "add it to sourceImages"],
        ),
        (
            "no-match",
            search(&["amazon"], "al2077-*"),
            "SourceNotFound",
            &["spec.build.source.search", "al2077-*", "amazon", "describe-images"],
        ),
        (
            "no-match-by-tags",
            source(&json!({"search": {"owners": ["self"], "name": null, "tags": {"app": "moon"}}})),
            "SourceNotFound",
            &[
                "spec.build.source.search",
                "self",
                "has all of these tags",
                "describe-images",
            ],
        ),
        (
            "nobody-may-own-it",
            json!({"build": {"allowedOwners": ["self"]}}),
            "OwnerNotAllowed",
            &["spec.build.allowedOwners", "has only self", "add the owner"],
        ),
        (
            "look-alike",
            search(&["amazon"], "al2023-ami-2023.9.20261115.0-*"),
            "SourceNotFound",
            &[
                "spec.build.source.search",
                "al2023-ami-2023.9.20261115.0",
                "check owners",
            ],
        ),
        (
            "wrong-owner",
            with(
                ids("ami-0c100100000000001"),
                &json!({"build": {"allowedOwners": ["amazon", "self"]}}),
            ),
            "OwnerNotAllowed",
            &[
                "ami-0c100100000000001",
                "999988887777",
                "spec.build.allowedOwners",
                "add the owner",
            ],
        ),
        (
            "source-of-another-architecture",
            ids("ami-0a300300000000001"),
            "ArchitectureMismatch",
            &[
                "ami-0a300300000000001",
                "arm64",
                "spec.build.architectures",
                "x86_64",
                "name another",
            ],
        ),
        (
            "type-of-another-architecture",
            builder(&json!({"instanceTypes": ["m7i.large", "m7g.large"]})),
            "ArchitectureMismatch",
            &["spec.build.builder.instanceTypes", "m7g.large", "arm64", "another type"],
        ),
        (
            "test-type-of-another-architecture",
            json!({"test": {"instanceTypes": ["t4g.small"]}}),
            "ArchitectureMismatch",
            &["spec.test.instanceTypes", "t4g.small", "another type"],
        ),
        (
            "not-nitro",
            builder(&json!({"instanceTypes": ["t2.micro"]})),
            "InstanceTypeUnsupported",
            &["spec.build.builder.instanceTypes", "t2.micro", "Nitro", "newer type"],
        ),
        (
            "unknown-type",
            builder(&json!({"instanceTypes": ["m99.large"]})),
            "InstanceTypeNotFound",
            &["spec.build.builder.instanceTypes", "m99.large", "name one that does"],
        ),
        (
            "unknown-subnet",
            builder(&json!({"subnets": {"ids": ["subnet-0fffffffffffffff1"]}})),
            "SubnetNotFound",
            &[
                "spec.build.builder.subnets.ids",
                "subnet-0fffffffffffffff1",
                "name one that does",
            ],
        ),
        (
            "no-such-tags",
            builder(&json!({"subnets": {"ids": null, "tags": {"tier": "moon"}}})),
            "SubnetNotFound",
            &["spec.build.builder.subnets.tags", "tag a subnet"],
        ),
        (
            "ungranted-subnet",
            builder(&json!({"subnets": {"ids": ["subnet-0c300000000000001"]}})),
            "NotGranted",
            &["subnet-0c300000000000001", "platform", "add it to subnets of a grant"],
        ),
        (
            "ungranted-subnet-by-tag",
            builder(&json!({"subnets": {"ids": null, "tags": {"tier": "small"}}})),
            "NotGranted",
            &["subnet-0c300000000000001", "add it to subnets of a grant"],
        ),
        (
            "ungranted-group",
            builder(&json!({"securityGroupIds": ["sg-0d300000000000001"]})),
            "NotGranted",
            &["sg-0d300000000000001", "add it to securityGroups of a grant"],
        ),
        (
            "unknown-group",
            builder(&json!({"securityGroupIds": ["sg-0fffffffffffffff1"]})),
            "SecurityGroupNotFound",
            &[
                "spec.build.builder.securityGroupIds",
                "sg-0fffffffffffffff1",
                "name one that does",
            ],
        ),
        (
            "ungranted-profile",
            builder(&json!({"instanceProfile": "administrator"})),
            "NotGranted",
            &["administrator", "add it to instanceProfiles of a grant"],
        ),
        (
            "ungranted-key",
            builder(&json!({"volumes": [{"device": "/dev/xvda", "encrypted": true, "kmsKeyId": "alias/us-images"}]})),
            "NotGranted",
            &["alias/us-images", "add it to kmsKeys of a grant"],
        ),
        (
            "unknown-account",
            json!({"account": "second"}),
            "NotGranted",
            &["spec.account", "second", "create a recipe for one that it has"],
        ),
        (
            "unserved-region",
            json!({"region": "us-west-2"}),
            "NotGranted",
            &["us-west-2", "it serves (eu-central-1)"],
        ),
        (
            "too-much-user-data",
            json!({"build": {"steps": [{"name": "small", "run": "true"}, {"name": "large", "run": format!("cat <<'EOF'\n{noise}\nEOF")}]}}),
            "UserDataRefused",
            &["16384", "step large in spec.build.steps", "let a step fetch"],
        ),
        (
            "too-much-to-check",
            json!({"test": {"checks": [{"name": "large", "run": format!("cat <<'EOF'\n{noise}\nEOF")}]}}),
            "UserDataRefused",
            &["16384", "check large in spec.test.checks"],
        ),
        (
            "too-long-a-name",
            json!({"image": {"name": format!("{{{{recipe}}}}-{{{{build}}}}-{{{{namespace}}}}-{}", "x".repeat(104))}}),
            "InvalidImageName",
            &["spec.image.name", "EC2 takes 3 to 128", "shorten it"],
        ),
        (
            "small-volume",
            builder(&json!({"volumes": [{"device": "/dev/xvda", "sizeGiB": 4}]})),
            "VolumeTooSmall",
            &["spec.build.builder.volumes", "/dev/xvda", "4 GiB", "at least 8"],
        ),
        (
            "more-iops-than-the-size-allows",
            builder(&json!({"volumes": [{"device": "/dev/xvda", "type": "io1", "iops": 10_000}]})),
            "VolumeUnsupported",
            &[
                "spec.build.builder.volumes",
                "/dev/xvda",
                "10000 iops",
                "50 per GiB",
                "larger sizeGiB",
            ],
        ),
        (
            "unknown-device",
            builder(&json!({"volumes": [{"device": "/dev/sda1", "type": "gp3"}]})),
            "VolumeWithoutSize",
            &["spec.build.builder.volumes", "/dev/sda1", "/dev/xvda", "sizeGiB"],
        ),
        (
            "decrypted",
            with(
                ids("ami-0b100600000000001"),
                &builder(&json!({"volumes": [{"device": "/dev/xvda", "encrypted": false}]})),
            ),
            "VolumeEncrypted",
            &[
                "spec.build.builder.volumes",
                "ami-0b100600000000001",
                "leave encrypted out",
            ],
        ),
        (
            "taken-name",
            json!({"image": {"name": "web-2026-10-12-v{{build}}"}}),
            "NameTaken",
            &[
                "spec.image.name",
                "web-2026-10-12-v1",
                "ami-0b100300000000001",
                "change the template",
            ],
        ),
    ]
}

fn what_cannot_be_built_is_refused_with_the_way_out_and_nothing_is_made(stage: &Stage) {
    let refusals = refusals();
    for (name, wrong, ..) in &refusals {
        stage.apply(name, with(spec(), wrong));
    }
    for (name, _, reason, words) in &refusals {
        let recipe = stage.wait_stalled(name, reason);
        let message = recipe.message();
        for word in *words {
            assert!(message.contains(word), "{name}: {word:?} is not in {message:?}");
        }
    }
    for (name, ..) in &refusals {
        assert_eq!(stage.creating_calls(name), Vec::<Call>::new(), "{name}");
        stage.at_rest(name, 0);
    }
}

fn what_ec2_refuses_at_launch_is_traced_to_the_field_and_nothing_is_left(stage: &Stage) {
    stage.apply(
        "unknown-profile",
        with(spec(), &builder(&json!({"instanceProfile": "nobody-made-it"}))),
    );
    let recipe = stage.wait_stalled("unknown-profile", "RunInstancesRefused");
    let message = recipe.message();
    assert!(
        message.contains("nobody-made-it") && message.contains("correct spec.build.builder.instanceProfile"),
        "{message}"
    );
    assert_eq!(stage.launches("unknown-profile", "builder"), 0);
    stage.at_rest("unknown-profile", 0);
}

fn a_search_that_ec2_does_not_answer_is_its_own_recipes_trouble(stage: &Stage) {
    let fault = json!({"operation": "DescribeImages", "value": "unanswered-*", "kind": "error"});
    stage.simulate("faults", &fault);
    let search = json!({"search": {"owners": ["amazon"], "name": "unanswered-*"}});
    stage.apply("unanswered", with(spec(), &source(&search)));
    let recipe = stage.wait("unanswered", "unanswered", |recipe| recipe.reason() == "AWSUnavailable");
    assert!(recipe.message().contains("DescribeImages"), "{}", recipe.message());
    stage.apply("beside-it", spec());
    stage.wait_ready("beside-it");
    stage.at_rest("beside-it", 1);

    stage.lab.simulator_delete("faults").expect("no more faults");
    stage.wait_stalled("unanswered", "SourceNotFound");
    assert_eq!(stage.creating_calls("unanswered"), Vec::<Call>::new());
}

fn a_refused_recipe_is_built_once_it_is_mended(stage: &Stage) {
    stage.apply(
        "mended",
        with(spec(), &builder(&json!({"instanceTypes": ["t2.micro"]}))),
    );
    stage.wait_stalled("mended", "InstanceTypeUnsupported");
    stage.change(
        "mended",
        &json!({"spec": builder(&json!({"instanceTypes": ["t3.micro"]}))}),
    );
    let recipe = stage.wait_ready("mended");
    assert_eq!(recipe.latest_build(), Some(1), "what was refused is no build");
    stage.at_rest("mended", 1);
}

fn a_recipe_starts_from_another_ones_image_in_its_namespace_without_a_grant(stage: &Stage) {
    stage.apply("base", spec());
    let base = stage.wait_ready("base").latest_image().expect("an image");
    assert_eq!(
        stage.image(&base)["Public"],
        false,
        "it is free because it is of the namespace"
    );
    let from_base = source(&json!({"search": null, "ids": {"x86_64": base}}));
    stage.apply("second-stage", with(spec(), &from_base));
    stage.wait_ready("second-stage");
    stage.at_rest("second-stage", 1);
}
