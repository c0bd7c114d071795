//! What is refused before anything is made: each with its reason, the field and the way out.

use super::small_world::SmallWorld;
use crate::api::{READY, Reason, STALLED, get};
use crate::recipe::plan::Effect;
use crate::world::*;

type Change = fn(&mut SmallWorld);

fn source(world: &mut SmallWorld) -> &mut Image {
    &mut world.view.searches[0].1.as_mut().expect("an answer")[0]
}

/// Every subnet has the tag that the spec asks for.
fn found_by_tags(world: &mut SmallWorld) {
    world.recipe.spec.build.builder.subnets.ids = None;
    world.recipe.spec.build.builder.subnets.tags = Some([("tier".to_owned(), "build".to_owned())].into());
    for subnet in &mut world.view.subnets {
        subnet.tags.insert("tier".into(), "build".into());
    }
}

fn refused(operation: &'static str) -> AwsError {
    AwsError {
        operation,
        class: ErrorClass::Invalid,
        code: "InvalidParameterValue".into(),
        message: "no such owner".into(),
        request_id: None,
    }
}

#[test]
fn what_cannot_be_built_from_is_refused_by_name_and_nothing_is_made() {
    let cases: [(Reason, &[&str], Change); 27] = [
        (
            Reason::SourceNotFound,
            &["spec.build.source.search", "describe-images"],
            |world| {
                world.view.searches[0].1 = Ok(Vec::new());
            },
        ),
        (
            Reason::SourceSearchRefused,
            &["spec.build.source.search", "no such owner"],
            |world| {
                world.view.searches[0].1 = Err(refused("DescribeImages"));
            },
        ),
        (
            Reason::SourceNotFound,
            &["spec.build.source.ids", "x86_64", "add one"],
            |world| {
                world.recipe.spec.build.source.search = None;
                world.recipe.spec.build.source.ids = Some([("arm64".to_owned(), "ami-0a".to_owned())].into());
            },
        ),
        (
            Reason::SourceNotFound,
            &["spec.build.source.ids", "ami-0c", "name one that is"],
            |world| {
                world.recipe.spec.build.source.search = None;
                world.recipe.spec.build.source.ids = Some([("x86_64".to_owned(), "ami-0c".to_owned())].into());
            },
        ),
        (Reason::InvalidSpec, &["spec.build.source", "set one"], |world| {
            world.recipe.spec.build.source.search = None;
        }),
        (Reason::SourceUnavailable, &["ami-0a", "spec.build.source"], |world| {
            source(world).state = ImageState::Pending;
        }),
        (Reason::SourceUnsupported, &["ami-0a", "32-bit"], |world| {
            source(world).architecture = "i386".into();
        }),
        (
            Reason::ArchitectureMismatch,
            &["arm64", "spec.build.architectures"],
            |world| {
                source(world).architecture = "arm64".into();
            },
        ),
        (Reason::SourceUnsupported, &["instance store"], |world| {
            source(world).root_device_type = "instance-store".into();
        }),
        (Reason::SourceUnsupported, &["paravirtual"], |world| {
            source(world).virtualization_type = "paravirtual".into();
        }),
        (Reason::SourceUnsupported, &["Windows"], |world| {
            source(world).platform = Some("windows".into());
        }),
        (Reason::ProofUnsupported, &["product codes"], |world| {
            source(world).product_codes = vec!["0abc".into()];
        }),
        (
            Reason::OwnerNotAllowed,
            &["spec.build.allowedOwners", "amazon"],
            |world| {
                world.recipe.spec.build.allowed_owners = vec!["099720109477".into(), "self".into()];
            },
        ),
        (
            Reason::InstanceTypeNotFound,
            &["spec.build.builder.instanceTypes", "m5.huge"],
            |world| {
                world.recipe.spec.build.builder.instance_types.push("m5.huge".into());
            },
        ),
        (
            Reason::InstanceTypeNotFound,
            &["spec.test.instanceTypes", "m5.huge"],
            |world| {
                world.recipe.spec.test.instance_types.push("m5.huge".into());
            },
        ),
        (
            Reason::ArchitectureMismatch,
            &["instanceTypes: m6i.large", "arm64"],
            |world| {
                world.view.instance_types[1].architectures = vec!["arm64".into()];
            },
        ),
        (Reason::InstanceTypeUnsupported, &["m6i.large", "Nitro"], |world| {
            world.view.instance_types[1].nitro = false;
        }),
        (
            Reason::SubnetNotFound,
            &["subnets.ids", "subnet-0b", "eu-central-1"],
            |world| {
                world.view.subnets.truncate(1);
            },
        ),
        (Reason::SubnetNotFound, &["subnets.tags", "tag a subnet"], |world| {
            world.recipe.spec.build.builder.subnets.ids = None;
            world.recipe.spec.build.builder.subnets.tags = Some([("tier".to_owned(), "build".to_owned())].into());
        }),
        (Reason::SecurityGroupNotFound, &["securityGroupIds", "sg-0a"], |world| {
            world.view.security_groups.clear();
        }),
        (
            Reason::SecurityGroupMismatch,
            &["sg-0a", "vpc-0b", "same VPC"],
            |world| {
                world.view.subnets[1].vpc_id = "vpc-0b".into();
            },
        ),
        (
            Reason::SecurityGroupMismatch,
            &["sg-0a", "vpc-0b", "same VPC"],
            |world| {
                found_by_tags(world);
                for subnet in &mut world.view.subnets {
                    subnet.vpc_id = "vpc-0b".into();
                }
            },
        ),
        (
            Reason::InspectorImageNotFound,
            &["inspector.search", "configuration"],
            |world| {
                world.view.searches[1].1 = Ok(Vec::new());
            },
        ),
        (
            Reason::InspectorImageNotFound,
            &["inspector.search", "no such owner"],
            |world| {
                world.view.searches[1].1 = Err(refused("DescribeImages"));
            },
        ),
        (
            Reason::NotGranted,
            &["spec.account", "create a recipe for one that it has"],
            |world| world.no_account = true,
        ),
        (Reason::InvalidSpec, &["spec.build.architectures"], |world| {
            world.recipe.spec.build.architectures.clear();
        }),
        (Reason::InvalidImageName, &["spec.image.name"], |world| {
            world.recipe.spec.image.name = "{{nobody}}-{{build}}".into();
        }),
    ];
    for (reason, words, change) in cases {
        let mut world = SmallWorld::new();
        change(&mut world);
        for _ in 0..3 {
            world.pass();
        }
        assert_eq!(world.condition(READY), Some((false, reason.to_string())), "{words:?}");
        let status = world.status();
        let stalled = get(&status.conditions, STALLED).expect("stalled");
        for word in words {
            assert!(stalled.message.contains(word), "{reason}: {word}: {}", stalled.message);
        }
        assert_eq!(world.journal, [], "{reason} {words:?}");
    }
}

#[test]
fn what_is_close_to_a_refusal_is_built() {
    let cases: [(&str, Change); 7] = [
        ("an owner by its alias", |world| {
            world.recipe.spec.build.allowed_owners = vec!["amazon".into()];
        }),
        ("an owner by its number", |world| {
            world.recipe.spec.build.allowed_owners = vec!["137112412989".into()];
        }),
        ("subnets by tags, one of another VPC", |world| {
            found_by_tags(world);
            world.view.subnets[1].vpc_id = "vpc-0b".into();
        }),
        ("one subnet by tags", |world| {
            found_by_tags(world);
            world.view.subnets[0].tags.clear();
        }),
        ("a VPC of no concern", |world| {
            world.recipe.spec.build.builder.subnets.ids = Some(vec!["subnet-0a".into()]);
            world.view.subnets[1].vpc_id = "vpc-0b".into();
        }),
        ("no inspector where nothing is proved", |world| {
            world.recipe.spec.test.enabled = false;
            world.view.searches[1].1 = Ok(Vec::new());
        }),
        ("another type that nobody asks for", |world| {
            world.view.instance_types[1].nitro = false;
            world.recipe.spec.build.builder.instance_types.truncate(1);
        }),
    ];
    for (name, change) in cases {
        let mut world = SmallWorld::new();
        change(&mut world);
        world.settle();
        let (ready, reason) = world.condition(READY).expect("ready");
        assert!(ready, "{name}: {reason}");
    }
}

#[test]
fn of_the_subnets_that_tags_find_the_granted_ones_are_used_whatever_else_is_tagged() {
    let tag = |world: &mut SmallWorld, place: usize| {
        world.view.subnets[place].tags.insert("tier".into(), "build".into());
    };
    for tagged_after in [0, 1, 2, 5] {
        let mut world = SmallWorld::new();
        world.recipe.spec.build.builder.subnets.ids = None;
        world.recipe.spec.build.builder.subnets.tags = Some([("tier".to_owned(), "build".to_owned())].into());
        world.policy.grants[0].subnets = vec!["subnet-0b".into()];
        tag(&mut world, 1);
        for _ in 0..tagged_after {
            world.pass();
        }
        tag(&mut world, 0);
        world.settle();
        assert_eq!(
            world.condition(READY),
            Some((true, "ImageProven".into())),
            "{tagged_after}"
        );
        assert_eq!(
            world.status().latest.map(|latest| latest.build),
            Some(1),
            "{tagged_after}"
        );
        let launched = world.journal.iter().filter_map(|effect| match effect {
            Effect::Launch(launch) => Some(launch.subnet.as_str()),
            _ => None,
        });
        assert_eq!(launched.collect::<Vec<_>>(), ["subnet-0b"; 3]);
    }

    let mut world = SmallWorld::new();
    world.recipe.spec.build.builder.subnets.ids = None;
    world.recipe.spec.build.builder.subnets.tags = Some([("tier".to_owned(), "build".to_owned())].into());
    world.policy.grants[0].subnets = vec!["subnet-0b".into()];
    tag(&mut world, 0);
    world.settle();
    assert_eq!(world.condition(STALLED), Some((true, "NotGranted".into())));
    assert_eq!(world.journal, []);
}

#[test]
fn a_name_that_a_stranger_holds_stalls_and_the_strangers_image_stays() {
    let mut world = SmallWorld::new();
    let mut stranger = world.source();
    stranger.id = "ami-0d".parse().expect("an id");
    stranger.name = "web-v1".into();
    let other = Claim {
        owner: "another/web".into(),
        owner_uid: "another".into(),
        build: 7,
        attempt: 1,
        role: Role::Image,
    };
    stranger.tags = other.tags(&world.observe().installation);
    world.view.named_images.push(stranger);
    world.recipe.spec.failure_limit = 1;
    world.settle();
    assert_eq!(world.condition(STALLED), Some((true, "NameTaken".into())));
    let status = world.status();
    let message = &get(&status.conditions, STALLED).expect("it is there").message;
    for words in [
        "ami-0d already, which imagerecipe another/web has made",
        "change the template: {{namespace}} tells the two apart",
    ] {
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(world.view.named_images.len(), 1);
    assert_eq!(world.view.instances, []);
}
