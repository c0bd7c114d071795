//! What is there is read for everyone at once, and nothing that is missing from a view is missing by mistake.

use std::slice::from_ref;

use goldsmith::aws::{ImageQuery, Inventory, Launch, ShutdownBehavior};
use goldsmith::world::{AccountPolicy, ErrorClass, ImageId, InstanceState, Interest, Owner, Tags};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::simulated::{BASE_IMAGE, GROUP, SUBNET, Simulated, id, installation, search, tags};

/// Name of the inspector's image.
const INSPECTOR: &str = "al2023-ami-2023.*-{{arch}}";

fn inventory(aws: &Simulated) -> (Inventory, UnboundedReceiver<Owner>) {
    let (sender, pokes) = unbounded_channel();
    let policy = AccountPolicy {
        name: "default".into(),
        regions: vec!["eu-central-1".into()],
        grants: Vec::new(),
    };
    let inventory = Inventory::new(
        &aws.ec2,
        &installation(),
        &policy,
        &search(&["amazon"], INSPECTOR),
        aws.clock(),
        sender,
    );
    (inventory, pokes)
}

/// The owner of what carries `tags(build)`.
fn owner(build: &str) -> Owner {
    Owner {
        namespace: "platform".into(),
        name: "web".into(),
        uid: format!("uid-{build}"),
    }
}

async fn launch(aws: &Simulated, build: &str) {
    let launch = Launch {
        token: format!("launch-{build}"),
        image: id(BASE_IMAGE),
        instance_type: "m7i.large".to_owned(),
        subnet: SUBNET.to_owned(),
        security_groups: vec![GROUP.to_owned()],
        instance_profile: None,
        user_data: b"#!/bin/sh\n".to_vec(),
        volumes: Vec::new(),
        shutdown_behavior: ShutdownBehavior::Stop,
        tags: tags(build),
    };
    aws.ec2.run_instance(&launch).await.unwrap();
}

fn poked(pokes: &mut UnboundedReceiver<Owner>) -> Vec<String> {
    std::iter::from_fn(|| pokes.try_recv().ok())
        .map(|owner| owner.uid)
        .collect()
}

#[tokio::test]
async fn a_view_answers_every_interest() {
    let aws = Simulated::new();
    let (inventory, _pokes) = inventory(&aws);
    let unknown: ImageId = id("ami-0123456789abcdef0");
    let public = search(&["amazon"], "al2023-ami-2023.*-x86_64");
    let interests = vec![
        Interest::Image(id(BASE_IMAGE)),
        Interest::Image(unknown.clone()),
        Interest::ImageName("base-2026-10-01".into()),
        Interest::Search(public.clone()),
        Interest::InstanceType("m7i.large".into()),
    ];
    inventory.register(&owner("1"), interests);
    launch(&aws, "1").await;
    aws.pass(60);
    let view = inventory.view(Timestamp::UNIX_EPOCH).await.unwrap();

    assert_eq!(view.taken, Some(aws.clock().now()));
    assert_eq!(view.account_id, "123456789012");
    assert_eq!(view.instances.len(), 1);
    assert_eq!(view.volumes.len(), 1, "the root volume carries the tags from birth");
    assert!(view.images_by_id.contains_key(&id::<ImageId>(BASE_IMAGE)) && !view.images_by_id.contains_key(&unknown));
    assert_eq!(
        view.named_images
            .iter()
            .map(|image| image.id.as_str())
            .collect::<Vec<_>>(),
        [BASE_IMAGE]
    );
    let [(asked, found)] = &view.searches[..] else {
        panic!("one search: {:?}", view.searches)
    };
    assert_eq!(asked, &public);
    assert_eq!(found.as_ref().unwrap().len(), 1, "of all that are alike the newest");
    assert_eq!(view.unanswered, []);
    assert_eq!(
        view.instance_types
            .iter()
            .map(|one| one.name.as_str())
            .collect::<Vec<_>>(),
        ["m7i.large"]
    );
    assert!(view.subnets.iter().any(|subnet| subnet.id.as_str() == SUBNET));
    assert!(view.security_groups.iter().any(|group| group.id.as_str() == GROUP));
}

#[tokio::test]
async fn one_look_serves_all_who_ask_for_it() {
    let aws = Simulated::new();
    let (inventory, _pokes) = inventory(&aws);
    let demand = aws.clock().now();
    aws.pass(1);
    let (one, other, third) = tokio::join!(inventory.view(demand), inventory.view(demand), inventory.view(demand));
    assert!(one.unwrap().taken > Some(demand));
    assert_eq!(
        (other.unwrap().taken, third.unwrap().taken),
        (Some(aws.clock().now()), Some(aws.clock().now()))
    );
    assert_eq!(aws.calls("DescribeInstances"), 1);

    inventory.view(demand).await.unwrap();
    assert_eq!(
        aws.calls("DescribeInstances"),
        1,
        "the view is new enough for who asks later, too"
    );
    inventory.view(aws.clock().now()).await.unwrap();
    assert_eq!(
        aws.calls("DescribeInstances"),
        2,
        "a view of this very moment is not newer than it"
    );
    assert_eq!(aws.calls("DescribeSubnets"), 1, "what changes rarely is read rarely");
}

#[tokio::test]
async fn a_view_from_before_a_new_interest_does_not_pass_for_an_answer_to_it() {
    let aws = Simulated::new();
    let (inventory, _pokes) = inventory(&aws);
    inventory.register(&owner("1"), Vec::new());
    inventory.view(Timestamp::UNIX_EPOCH).await.unwrap();
    inventory.register(&owner("2"), vec![Interest::Image(id(BASE_IMAGE))]);
    let view = inventory.view(Timestamp::UNIX_EPOCH).await.unwrap();
    assert!(view.images_by_id.contains_key(&id::<ImageId>(BASE_IMAGE)));

    let calls = aws.calls("*");
    inventory.register(&owner("2"), vec![Interest::Image(id(BASE_IMAGE))]);
    inventory.view(Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(aws.calls("*"), calls, "what is known already costs nothing");
}

#[tokio::test]
async fn a_failed_look_leaves_the_old_view_with_its_time() {
    let aws = Simulated::new();
    let (inventory, mut pokes) = inventory(&aws);
    inventory.register(&owner("1"), Vec::new());
    let before = inventory.view(Timestamp::UNIX_EPOCH).await.unwrap();
    poked(&mut pokes);
    launch(&aws, "1").await;
    aws.pass(60);

    aws.fail(json!({"operation": "DescribeVolumes", "kind": "error"}));
    let error = inventory.view(aws.clock().now()).await.unwrap_err();
    assert_eq!((error.operation, error.class), ("DescribeVolumes", ErrorClass::Server));
    assert_eq!(
        inventory.view(Timestamp::UNIX_EPOCH).await.unwrap(),
        before,
        "half a look is none"
    );
    assert_eq!(poked(&mut pokes), [""; 0]);

    aws.heal();
    let view = inventory.view(aws.clock().now()).await.unwrap();
    assert_eq!(view.instances.len(), 1);
}

/// The search of one recipe is nobody else's trouble, whatever its author has written.
#[tokio::test]
async fn a_search_that_fails_is_the_trouble_of_those_who_ask_it() {
    let aws = Simulated::new();
    let (inventory, mut pokes) = inventory(&aws);
    let sound = Interest::Search(search(&["amazon"], "al2023-ami-2023.*-x86_64"));
    let sick = Interest::Search(search(&["self"], "app-*"));
    inventory.register(&owner("1"), vec![sound.clone()]);
    inventory.register(&owner("2"), vec![sick.clone()]);
    aws.fail(json!({"operation": "DescribeImages", "value": "app-*", "kind": "error"}));
    let view = inventory.view(Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(view.unanswered(from_ref(&sound)), None);
    assert_eq!(view.unanswered(from_ref(&sick)).unwrap().class, ErrorClass::Server);
    assert_eq!(view.searches.len(), 1, "no answer is not an empty answer");
    poked(&mut pokes);

    aws.heal();
    aws.pass(30);
    let view = inventory.view(aws.clock().now()).await.unwrap();
    assert_eq!((view.unanswered(from_ref(&sick)), view.searches.len()), (None, 2));
    assert_eq!(poked(&mut pokes), ["uid-2"], "it goes on");

    aws.fail(json!({"operation": "DescribeImages", "value": "app-*", "kind": "error"}));
    aws.pass(60);
    let view = inventory.view(aws.clock().now()).await.unwrap();
    assert_eq!(view.unanswered, [], "the last answer serves for a while");
    aws.pass(600);
    let view = inventory.view(aws.clock().now()).await.unwrap();
    assert_eq!(view.unanswered(from_ref(&sick)).unwrap().class, ErrorClass::Server);
    assert_eq!(poked(&mut pokes), ["uid-2"]);
}

#[tokio::test]
async fn an_image_id_a_name_or_a_type_that_fails_is_the_trouble_of_those_who_ask_it() {
    let aws = Simulated::new();
    let (inventory, _pokes) = inventory(&aws);
    let sick = [
        Interest::Image(id("ami-0123456789abcdef0")),
        Interest::ImageName("sick".into()),
        Interest::InstanceType("m6i.large".into()),
    ];
    let sound = [
        Interest::Image(id(BASE_IMAGE)),
        Interest::ImageName("base-2026-10-01".into()),
        Interest::InstanceType("m7i.large".into()),
    ];
    inventory.register(&owner("1"), sound.to_vec());
    inventory.register(&owner("2"), sick.to_vec());
    for value in ["ami-0123456789abcdef0", "sick", "m6i.large"] {
        aws.fail(json!({"operation": "*", "value": value, "kind": "error", "code": "InvalidParameterValue"}));
    }
    let view = inventory.view(Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(view.unanswered(&sound), None);
    assert_eq!(
        (
            view.images_by_id.len(),
            view.named_images.len(),
            view.instance_types.len()
        ),
        (1, 1, 1)
    );
    for interest in sick {
        let error = view.unanswered(from_ref(&interest));
        assert_eq!(error.unwrap().class, ErrorClass::Invalid, "{interest:?}");
    }
}

#[tokio::test]
async fn of_a_search_only_the_newest_image_is_kept_and_one_that_finds_too_many_is_refused() {
    let aws = Simulated::new();
    let (inventory, _pokes) = inventory(&aws);
    let snapshot = {
        let found = aws
            .ec2
            .describe_images(ImageQuery::Ids(&[id(BASE_IMAGE)]))
            .await
            .unwrap();
        found[0].root_snapshot().unwrap().to_string()
    };
    let register = |number: usize| {
        // Faster, and EC2 would throttle.
        aws.pass(1);
        let parameter = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let parameters = [
            parameter("Name", &format!("crowd-{number}")),
            parameter("RootDeviceName", "/dev/xvda"),
            parameter("VirtualizationType", "hvm"),
            parameter("Architecture", "x86_64"),
            parameter("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
            parameter("BlockDeviceMapping.1.Ebs.SnapshotId", &snapshot),
        ];
        aws.request("RegisterImage", &parameters);
    };
    (0..10_000).for_each(register);
    let wide = search(&["self"], "crowd-*");
    inventory.register(&owner("1"), vec![Interest::Search(wide.clone())]);
    let view = inventory.view(Timestamp::UNIX_EPOCH).await.unwrap();
    let [found] = &view.searches[0].1.as_ref().unwrap()[..] else {
        panic!("one image: {:?}", view.searches)
    };
    assert_eq!(found.name, "crowd-9999", "of ten pages the newest image");

    register(10_000);
    aws.pass(30);
    let view = inventory.view(aws.clock().now()).await.unwrap();
    let (_, refused) = &view.searches[0];
    let refused = refused.as_ref().unwrap_err();
    assert_eq!(
        (refused.class, refused.code.as_str()),
        (ErrorClass::Invalid, "TooManyImages")
    );
    assert!(refused.message.contains("more than 10000 images"), "{refused}");
    assert_eq!(view.unanswered, [], "its author hears of it by a condition");

    let calls = aws.calls("DescribeImages");
    aws.pass(60);
    inventory.view(aws.clock().now()).await.unwrap();
    assert!(
        aws.calls("DescribeImages") < calls + 10,
        "it is not read again and again"
    );
}

#[tokio::test]
async fn a_slow_search_is_not_waited_for_again_and_again() {
    let aws = Simulated::new();
    let (inventory, _pokes) = inventory(&aws);
    inventory.register(&owner("1"), vec![Interest::Search(search(&["self"], "app-*"))]);
    aws.fail(json!({"operation": "DescribeImages", "value": "app-*", "kind": "slow", "seconds": 3600.0}));
    let view = inventory.view(Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(view.unanswered[0].1.class, ErrorClass::NoAnswer);
    let asked = std::time::Instant::now();
    inventory.view(aws.clock().now()).await.unwrap();
    assert!(
        asked.elapsed() < std::time::Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
}

#[tokio::test]
async fn a_search_that_has_not_begun_says_so_and_the_inspectors_waits_for_nobody() {
    let aws = Simulated::new();
    let (inventory, _pokes) = inventory(&aws);
    let slow: Vec<_> = (0..5)
        .map(|number| Interest::Search(search(&["self"], &format!("app-{number}-*"))))
        .collect();
    let inspector = Interest::Search(search(&["amazon"], "al2023-ami-2023.*-x86_64"));
    let asked = slow.iter().cloned().chain([inspector.clone()]).collect();
    inventory.register(&owner("1"), asked);
    for number in 0..5 {
        let value = format!("app-{number}-*");
        aws.fail(json!({"operation": "DescribeImages", "value": value, "kind": "slow", "seconds": 3600.0}));
    }
    let view = inventory.view(Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(view.unanswered(from_ref(&inspector)), None);
    let waiting = slow.iter().filter(|interest| {
        let error = view.unanswered(from_ref(interest)).expect("no answer yet");
        error.message.contains("waits for its turn")
    });
    assert_eq!(waiting.count(), 3, "two of one namespace are under way");
}

#[tokio::test]
async fn whose_part_has_changed_is_poked_and_nobody_else() {
    let aws = Simulated::new();
    let (inventory, mut pokes) = inventory(&aws);
    let search = search(&["self"], "app-*");
    inventory.register(&owner("1"), Vec::new());
    inventory.register(&owner("2"), Vec::new());
    inventory.register(&owner("3"), vec![Interest::Search(search.clone())]);
    inventory.view(Timestamp::UNIX_EPOCH).await.unwrap();
    poked(&mut pokes);

    launch(&aws, "1").await;
    aws.pass(5);
    let view = inventory.view(aws.clock().now()).await.unwrap();
    assert_eq!(view.instances[0].state, InstanceState::Pending);
    assert_eq!(poked(&mut pokes), ["uid-1"]);
    inventory.view(aws.clock().now()).await.unwrap();
    assert_eq!(poked(&mut pokes), [""; 0], "nothing has changed");
    aws.pass(60);
    let view = inventory.view(aws.clock().now()).await.unwrap();
    assert_eq!(poked(&mut pokes), ["uid-1"], "it runs now");

    let [instance] = &view.instances[..] else {
        panic!("one instance")
    };
    aws.ec2
        .create_image(
            &instance.id,
            "app-1",
            None,
            &Tags::from([("team".to_owned(), "platform".to_owned())]),
        )
        .await
        .unwrap();
    aws.pass(900);
    // The search is repeated after half a minute.
    inventory.register(&owner("2"), vec![Interest::ImageName("app-1".into())]);
    let view = inventory.view(aws.clock().now()).await.unwrap();
    assert_eq!((view.searches.len(), view.named_images.len()), (1, 1));
    assert_eq!(
        poked(&mut pokes),
        ["uid-2", "uid-3"],
        "the name is taken, and the search finds it"
    );

    inventory.forget(&owner("1"));
    aws.ec2.terminate_instance(&instance.id).await.unwrap();
    aws.pass(300);
    inventory.view(aws.clock().now()).await.unwrap();
    assert_eq!(poked(&mut pokes), [""; 0], "who is gone is left alone");
}

#[tokio::test]
async fn the_console_of_an_instance_is_not_read_twice_at_once() {
    let aws = Simulated::new();
    let (inventory, _pokes) = inventory(&aws);
    launch(&aws, "1").await;
    aws.pass(300);
    let view = inventory.view(Timestamp::UNIX_EPOCH).await.unwrap();
    let instance = &view.instances[0].id;
    let console = inventory.console(instance).await.unwrap();
    assert_eq!(inventory.console(instance).await.unwrap(), console);
    assert_eq!(aws.calls("GetConsoleOutput"), 1);
}

#[tokio::test]
async fn something_that_moves_is_looked_at_without_being_asked() {
    let aws = Simulated::new();
    let (inventory, mut pokes) = inventory(&aws);
    inventory.register(&owner("1"), Vec::new());
    let running = inventory.clone();
    let looking = tokio::spawn(async move { running.run().await });
    inventory.set_moving(&owner("1"), true);
    let first = tokio::time::timeout(std::time::Duration::from_secs(10), pokes.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first, owner("1"));
    launch(&aws, "1").await;
    aws.pass(5);
    let poke = tokio::time::timeout(std::time::Duration::from_secs(10), pokes.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(poke, owner("1"));
    assert_eq!(inventory.view(Timestamp::UNIX_EPOCH).await.unwrap().instances.len(), 1);
    looking.abort();
}
