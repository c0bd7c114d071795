//! The production client, SDK and all, against the simulator's door in process: what EC2 answers is what Goldsmith understands.

use std::collections::BTreeSet;

use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::error::CredentialsError;
use goldsmith::aws::{ImageQuery, Launch, ShutdownBehavior, SnapshotDeletion};
use goldsmith::world::{
    AwsError, ErrorClass, Image, ImageId, ImageState, InstanceState, InstanceType, SnapshotState, Tags, VolumeState,
};
use serde_json::json;

use crate::simulated::{BASE_IMAGE, GROUP, SUBNET, Simulated, id, installation, search, tags};

fn launch(token: &str) -> Launch {
    Launch {
        token: token.to_owned(),
        image: id(BASE_IMAGE),
        instance_type: "m7i.large".to_owned(),
        subnet: SUBNET.to_owned(),
        security_groups: vec![GROUP.to_owned()],
        instance_profile: None,
        user_data: b"#!/bin/sh\n".to_vec(),
        volumes: Vec::new(),
        shutdown_behavior: ShutdownBehavior::Stop,
        tags: tags("1"),
    }
}

#[tokio::test]
async fn an_image_goes_from_launch_to_deregistration() {
    let aws = Simulated::new();
    let (ec2, ours) = (&aws.ec2, &installation());

    let instance = ec2.run_instance(&launch("first")).await.unwrap();
    assert_eq!(
        ec2.run_instance(&launch("first")).await.unwrap(),
        instance,
        "a repeated launch is the same instance"
    );
    aws.pass(120);
    let [running] = ec2.describe_instances(ours).await.unwrap().try_into().unwrap();
    assert_eq!((&running.id, running.state), (&instance, InstanceState::Running));
    assert_eq!(running.tags, tags("1"));
    assert_eq!(running.instance_type, "m7i.large");
    let [root] = ec2.describe_volumes(ours).await.unwrap().try_into().unwrap();
    assert_eq!(
        (&root.instance_id, root.delete_on_termination),
        (&Some(instance.clone()), true)
    );

    aws.request("StopInstances", &[("InstanceId.1".to_owned(), instance.to_string())]);
    aws.pass(120);
    let image = ec2
        .create_image(&instance, "web-1", Some("nginx"), &tags("1"))
        .await
        .unwrap();
    let taken = ec2
        .create_image(&instance, "web-1", None, &tags("1"))
        .await
        .unwrap_err();
    assert_eq!(taken.class, ErrorClass::Exists, "{taken}");
    aws.pass(1);
    let [pending] = ec2
        .describe_images(ImageQuery::Names(&["web-1".to_owned()]))
        .await
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!((&pending.id, pending.state), (&image, ImageState::Pending));
    aws.pass(600);
    let [snapshot] = ec2.describe_snapshots(ours).await.unwrap().try_into().unwrap();
    assert_eq!(
        (snapshot.state, snapshot.progress_percent),
        (SnapshotState::Completed, 100)
    );

    ec2.require_imds_v2(&image).await.unwrap();
    ec2.set_image_description(&image, "nginx for the web tier")
        .await
        .unwrap();
    ec2.create_tags(
        &[image.to_string()],
        &Tags::from([("team".to_owned(), "platform".to_owned())]),
    )
    .await
    .unwrap();
    ec2.delete_tags(&[image.to_string()], &["goldsmith.dev/attempt".to_owned()])
        .await
        .unwrap();
    ec2.enable_deregistration_protection(&image).await.unwrap();
    let [proven] = ec2
        .describe_images(ImageQuery::Ours(ours))
        .await
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(
        (proven.state, proven.imds_v2_required, proven.is_protected()),
        (ImageState::Available, true, true)
    );
    assert_eq!(proven.description.as_deref(), Some("nginx for the web tier"));
    assert_eq!(proven.tags.get("team").map(String::as_str), Some("platform"));
    assert!(!proven.tags.contains_key("goldsmith.dev/attempt"));
    assert_eq!(proven.root_snapshot(), Some(&snapshot.id));
    assert_eq!(
        (proven.architecture.as_str(), proven.root_device_type.as_str()),
        ("x86_64", "ebs")
    );

    let refused = ec2.deregister_image(&image).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::Denied, "{refused}");
    let in_use = ec2.delete_snapshot(&snapshot.id).await.unwrap_err();
    assert_eq!(in_use.class, ErrorClass::InUse, "{in_use}");
    aws.request(
        "DisableImageDeregistrationProtection",
        &[("ImageId".to_owned(), image.to_string())],
    );
    aws.pass(25 * 3600);
    assert_eq!(
        ec2.deregister_image(&image).await.unwrap(),
        [(snapshot.id.clone(), SnapshotDeletion::Deleted)]
    );
    assert_eq!(ec2.deregister_image(&image).await.unwrap(), [], "gone is done");
    ec2.delete_snapshot(&snapshot.id).await.unwrap();
}

#[tokio::test]
async fn a_volume_ends_with_the_instance_that_it_is_attached_to() {
    let aws = Simulated::new();
    let (ec2, ours) = (&aws.ec2, &installation());
    let [base] = ec2
        .describe_images(ImageQuery::Ids(&[id(BASE_IMAGE)]))
        .await
        .unwrap()
        .try_into()
        .unwrap();
    let instance = ec2.run_instance(&launch("inspector")).await.unwrap();
    aws.pass(60);
    let [running] = ec2.describe_instances(ours).await.unwrap().try_into().unwrap();

    let snapshot = base.root_snapshot().unwrap();
    let volume = ec2
        .create_volume("volume", snapshot, &running.availability_zone, &tags("1"))
        .await
        .unwrap();
    let again = ec2
        .create_volume("volume", snapshot, &running.availability_zone, &tags("1"))
        .await
        .unwrap();
    assert_eq!(again, volume, "a repeated create is the same volume");
    aws.pass(60);
    ec2.attach_volume(&volume, &instance, "/dev/sdf").await.unwrap();
    ec2.delete_on_termination(&instance, "/dev/sdf").await.unwrap();
    aws.pass(60);
    let volumes = ec2.describe_volumes(ours).await.unwrap();
    let attached = volumes.iter().find(|one| one.id == volume).unwrap();
    assert_eq!(
        (attached.state, attached.delete_on_termination),
        (VolumeState::InUse, true)
    );
    assert_eq!(
        (attached.instance_id.as_ref(), attached.snapshot_id.as_ref()),
        (Some(&instance), Some(snapshot))
    );
    assert_eq!(ec2.delete_volume(&volume).await.unwrap_err().class, ErrorClass::InUse);

    ec2.terminate_instance(&instance).await.unwrap();
    aws.pass(120);
    assert_eq!(ec2.describe_volumes(ours).await.unwrap(), []);
    let [terminated] = ec2.describe_instances(ours).await.unwrap().try_into().unwrap();
    assert_eq!(terminated.state, InstanceState::Terminated);
    ec2.delete_volume(&volume).await.unwrap();
    ec2.terminate_instance(&id("i-0123456789abcdef0")).await.unwrap();
}

#[tokio::test]
async fn what_is_referred_to_is_read_and_what_is_unknown_does_not_lose_the_rest() {
    let aws = Simulated::new();
    let ec2 = &aws.ec2;
    let unknown: ImageId = id("ami-0123456789abcdef0");
    let found = ec2
        .describe_images(ImageQuery::Ids(&[unknown, id(BASE_IMAGE)]))
        .await
        .unwrap();
    assert_eq!(
        found.iter().map(|image| image.id.as_str()).collect::<Vec<_>>(),
        [BASE_IMAGE]
    );

    let amazon = search(&["amazon"], "al2023-ami-2023.*-x86_64");
    let searched = ec2.search_images(&amazon, |images| images).await.unwrap();
    let is_amazons = |image: &Image| image.owner_id == "137112412989" && image.public;
    assert!(
        !searched.is_empty() && searched.iter().all(is_amazons),
        "a look-alike name is not enough"
    );
    let absent = search(&["amazon"], "al2077-*");
    assert_eq!(ec2.search_images(&absent, |images| images).await.unwrap(), []);
    assert!(!found[0].public);

    let names = ["m7i.large".to_owned(), "m99.enormous".to_owned()];
    let expected = InstanceType {
        name: "m7i.large".into(),
        architectures: vec!["x86_64".into()],
        nitro: true,
    };
    assert_eq!(ec2.describe_instance_types(&names).await.unwrap(), [expected]);

    let subnets = ec2.describe_subnets().await.unwrap();
    let subnet = subnets.iter().find(|subnet| subnet.id.as_str() == SUBNET).unwrap();
    assert_eq!(subnet.tags["tier"], "build");
    let groups = ec2.describe_security_groups().await.unwrap();
    assert!(
        groups
            .iter()
            .any(|group| group.id.as_str() == GROUP && group.vpc_id == subnet.vpc_id)
    );
    assert_eq!(ec2.caller_account().await.unwrap(), "123456789012");
}

#[tokio::test]
async fn the_console_is_read_as_text() {
    let aws = Simulated::new();
    let instance = aws.ec2.run_instance(&launch("console")).await.unwrap();
    aws.pass(300);
    let console = aws.ec2.console_output(&instance).await.unwrap();
    assert!(console.contains("Linux"), "{console:?}");
}

#[tokio::test]
async fn a_list_is_read_to_its_last_page() {
    let aws = Simulated::new();
    for volume in 1..=1200 {
        let mut parameters = vec![
            ("AvailabilityZone".to_owned(), "eu-central-1a".to_owned()),
            ("Size".to_owned(), "1".to_owned()),
            ("TagSpecification.1.ResourceType".to_owned(), "volume".to_owned()),
        ];
        for (number, (key, value)) in (1..).zip(tags(&volume.to_string())) {
            parameters.push((format!("TagSpecification.1.Tag.{number}.Key"), key));
            parameters.push((format!("TagSpecification.1.Tag.{number}.Value"), value));
        }
        aws.request("CreateVolume", &parameters);
        aws.pass(1);
    }
    let volumes = aws.ec2.describe_volumes(&installation()).await.unwrap();
    let builds: BTreeSet<_> = volumes
        .iter()
        .map(|volume| &volume.tags["goldsmith.dev/build"])
        .collect();
    assert_eq!((volumes.len(), builds.len()), (1200, 1200));
    assert_eq!(aws.calls("DescribeVolumes"), 2);
}

#[tokio::test]
async fn every_kind_of_refusal_is_told_apart() {
    let error = |code: &str, status: u16| json!({"kind": "error", "code": code, "status": status});
    for (mut fault, code, class) in [
        (
            json!({"kind": "throttle"}),
            "RequestLimitExceeded",
            ErrorClass::Throttled,
        ),
        (
            json!({"kind": "capacity"}),
            "InsufficientInstanceCapacity",
            ErrorClass::Capacity,
        ),
        (json!({"kind": "lost"}), "NoAnswer", ErrorClass::NoAnswer),
        (error("InternalError", 500), "InternalError", ErrorClass::Server),
        (
            error("UnauthorizedOperation", 403),
            "UnauthorizedOperation",
            ErrorClass::Denied,
        ),
        (
            error("InstanceLimitExceeded", 400),
            "InstanceLimitExceeded",
            ErrorClass::Quota,
        ),
        (error("RequestExpired", 400), "RequestExpired", ErrorClass::Credentials),
    ] {
        let aws = Simulated::new();
        fault["operation"] = "RunInstances".into();
        aws.fail(fault);
        let answer = aws.ec2.run_instance(&launch("refused")).await.unwrap_err();
        assert_eq!(
            (answer.operation, answer.code.as_str(), answer.class),
            ("RunInstances", code, class),
            "{answer}"
        );
        assert_eq!(answer.request_id.is_some(), class != ErrorClass::NoAnswer, "{answer:?}");
        assert_eq!(aws.calls("RunInstances"), 1, "{code} is not repeated by the SDK");
    }
}

#[tokio::test]
async fn wrong_requests_are_refused_for_what_is_wrong_with_them() {
    let aws = Simulated::new();
    aws.ec2.run_instance(&launch("taken")).await.unwrap();
    type Change = fn(&mut Launch);
    let cases: [(Change, &str, ErrorClass); 4] = [
        (
            |launch| launch.image = id("ami-0123456789abcdef0"),
            "InvalidAMIID.NotFound",
            ErrorClass::NotFound,
        ),
        (
            |launch| launch.subnet = "subnet-0123456789abcdef0".into(),
            "InvalidSubnetID.NotFound",
            ErrorClass::NotFound,
        ),
        (
            |launch| launch.token = "taken".into(),
            "IdempotentParameterMismatch",
            ErrorClass::Token,
        ),
        (
            |launch| launch.instance_profile = Some("nobody".into()),
            "InvalidParameterValue",
            ErrorClass::Invalid,
        ),
    ];
    for (change, code, class) in cases {
        let mut wrong = Launch {
            user_data: b"#!/bin/sh\ntrue\n".to_vec(),
            ..launch("wrong")
        };
        change(&mut wrong);
        let AwsError {
            code: answered,
            class: classified,
            message,
            ..
        } = aws.ec2.run_instance(&wrong).await.unwrap_err();
        assert_eq!((answered.as_str(), classified), (code, class), "{message}");
    }
}

#[tokio::test]
async fn missing_credentials_are_told_from_a_broken_connection() {
    let nowhere = provide_credentials_fn(|| async { Err(CredentialsError::not_loaded("no provider has any")) });
    let answer = Simulated::with_credentials(nowhere)
        .ec2
        .describe_subnets()
        .await
        .unwrap_err();
    assert_eq!(answer.class, ErrorClass::Credentials, "{answer}");
}

#[tokio::test]
async fn calls_are_counted_by_what_became_of_them() {
    let aws = Simulated::new();
    aws.ec2.describe_subnets().await.unwrap();
    aws.fail(json!({"operation": "CreateTags", "kind": "throttle"}));
    aws.ec2.create_tags(&["i-1".to_owned()], &tags("1")).await.unwrap_err();
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&aws.registry.gather())
        .unwrap();
    for line in [
        r#"goldsmith_aws_requests_total{operation="DescribeSubnets",outcome="success",service="ec2"} 1"#,
        r#"goldsmith_aws_requests_total{operation="CreateTags",outcome="throttled",service="ec2"} 1"#,
        r#"goldsmith_aws_throttles_total{operation="CreateTags",service="ec2"} 1"#,
        r#"goldsmith_aws_request_duration_seconds_count{operation="DescribeSubnets",service="ec2"} 1"#,
        r#"goldsmith_aws_budget_tokens{account="default",class="tag",region="eu-central-1"} 0"#,
        r#"goldsmith_aws_budget_tokens{account="default",class="describe",region="eu-central-1"} 79"#,
    ] {
        assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
    }
}
