//! What an attempt's failure says to the person who has to mend it.

use super::attempts::{BY_ITSELF, TIMEOUT, failed, instance, launched, pass_after, stop};
use super::guests::encode;
use super::small_world::SmallWorld;
use crate::world::*;

fn message(world: &SmallWorld) -> String {
    failed(world).expect("a failure").message
}

#[test]
fn a_step_that_failed_says_what_it_printed_and_says_it_once() {
    let long = "x".repeat(300);
    let long_message = format!(
        "step packages failed with exit status 3: {}; its output ends with:\n{long}",
        &long[..200]
    );
    let finished = |result: &str, tries: u32, output: &str| {
        let name = encode("packages");
        format!("step-finished 1 {name} {result} {tries} 3 {}", encode(output))
    };
    for (said, expected) in [
        (
            finished("failed", 1, ""),
            "step packages failed with exit status 3: it printed nothing",
        ),
        (
            finished("failed", 1, " \n\n"),
            "step packages failed with exit status 3: it printed nothing",
        ),
        (
            finished("failed", 2, "no package nginx\n"),
            "step packages failed with exit status 3 in each of 2 tries: no package nginx",
        ),
        (
            finished("failed", 1, "installs\nno package nginx\n"),
            "step packages failed with exit status 3: no package nginx; its output ends with:\ninstalls\nno package nginx",
        ),
        (finished("failed", 1, &long), &long_message),
        (
            finished("timed-out", 1, ""),
            "step packages took longer than its timeout (90s): it printed nothing",
        ),
    ] {
        let mut world = launched(Role::Builder, |world| {
            world.recipe.spec.build.steps[0].timeout = Some("90s".into());
        });
        world.say(Role::Builder, &["started", &said]);
        pass_after(&mut world, Role::Builder, 60);
        assert_eq!(message(&world), expected);
    }
}

/// A silent console and a machine that was switched off look alike.
#[test]
fn a_builder_that_fell_silent_is_not_said_to_have_ended_in_the_step_that_was_heard_last() {
    let begun = format!("step-started 1 {}", encode("packages"));
    let ended = format!("step-finished 1 {} succeeded 1 0 -", encode("packages"));
    let off = "the builder powered off, and nothing was heard of it after";
    let hint = "a step must not shut the machine down";
    let late = "the builder powered off at the end of spec.build.builder.timeout (1h); nothing was heard of it after";
    let never = "the builder has not finished within spec.build.builder.timeout (1h); nothing was heard of it after";
    use InstanceState::{Running, Stopped};
    for (said, state, seconds, expected) in [
        (
            vec!["started", &begun],
            Stopped,
            60,
            format!("{off} step packages began; {hint}"),
        ),
        (
            vec!["started", &begun, &ended],
            Stopped,
            60,
            format!("{off} step packages ended; {hint}"),
        ),
        (vec!["started"], Stopped, 60, format!("{off} it had begun; {hint}")),
        (
            vec!["started", &begun],
            Stopped,
            TIMEOUT,
            format!("{late} step packages began"),
        ),
        (
            vec!["started", &begun],
            Running,
            TIMEOUT + 121,
            format!("{never} step packages began"),
        ),
        (vec![], Running, TIMEOUT + 121, format!("{never} its launch")),
    ] {
        let mut world = launched(Role::Builder, |world| {
            world.recipe.spec.test.enabled = false;
            world.recipe.spec.build.builder.timeout = "1h".into();
        });
        world.say(Role::Builder, &said);
        if state == Stopped {
            stop(&mut world, Role::Builder, state, BY_ITSELF);
        }
        pass_after(&mut world, Role::Builder, seconds);
        pass_after(&mut world, Role::Builder, seconds + 30);
        assert_eq!(message(&world), expected, "{said:?}");
    }
}

#[test]
fn an_image_without_a_manifest_is_told_with_the_step_after_which_nothing_was_heard() {
    let mut world = launched(Role::Builder, |_| ());
    let begun = format!("step-started 1 {}", encode("packages"));
    world.say(Role::Builder, &["started", &begun]);
    stop(&mut world, Role::Builder, InstanceState::Stopped, BY_ITSELF);
    for seconds in [60, 90, 95, 100, 105] {
        pass_after(&mut world, Role::Builder, seconds);
    }
    world.say(Role::Inspector, &["up", "inspected"]);
    pass_after(&mut world, Role::Builder, 120);
    assert_eq!(
        message(&world),
        "the image has no readable /etc/goldsmith/image.json: the builder did not come to its end; nothing was heard of it after \
         step packages began, and a step must not shut the machine down"
    );
}

#[test]
fn a_check_that_failed_says_what_it_printed() {
    for (output, expected) in [
        ("", "check up did not pass (exit status 1): it printed nothing"),
        ("refused\n", "check up did not pass (exit status 1): refused"),
    ] {
        let mut world = launched(Role::Test, |_| ());
        let said = format!("check 1 {} failed 1 {}", encode("up"), encode(output));
        world.say(Role::Test, &["booted", &said]);
        pass_after(&mut world, Role::Test, 60);
        assert_eq!(message(&world), expected);
    }
}

#[test]
fn an_instance_that_ended_says_ec2s_code_once() {
    let mut world = launched(Role::Test, |_| ());
    stop(&mut world, Role::Test, InstanceState::Terminated, BY_ITSELF);
    pass_after(&mut world, Role::Test, 60);
    assert_eq!(
        message(&world),
        "the test instance ended before it had reported: Client.InstanceInitiatedShutdown: someone"
    );

    for (reason, expected) in [
        (None, "EC2 gives no reason"),
        (
            Some(StateReason::new("Server.ScheduledStop".into(), "")),
            "Server.ScheduledStop",
        ),
    ] {
        let mut world = launched(Role::Builder, |_| ());
        stop(&mut world, Role::Builder, InstanceState::Stopped, BY_ITSELF);
        instance(&mut world, Role::Builder).state_reason = reason;
        pass_after(&mut world, Role::Builder, 60);
        let expected = format!("the builder was stopped from outside ({expected}); an image is made only");
        assert!(message(&world).starts_with(&expected), "{}", message(&world));
    }
}
