//! What becomes of an error that AWS answered with: the condition, and when it is tried again.

use std::time::Duration;

use crate::api::{READY, RECONCILING, STALLED, get};
use crate::recipe::decide::tests::small_world::SmallWorld;
use crate::recipe::decide::{decide, retry_delay};
use crate::recipe::plan::{Effect, Removal};
use crate::recipe::report::{Made, Outcomes, Report, report, unobserved};
use crate::world::*;

fn refused(class: ErrorClass, code: &str) -> AwsError {
    AwsError {
        operation: "TerminateInstances",
        class,
        code: code.to_owned(),
        message: "no".into(),
        request_id: None,
    }
}

fn protect() -> Effect {
    Effect::Protect {
        image: "ami-0a".parse().expect("an id"),
    }
}

/// Of the first pass over a recipe, whose one effect met `error`.
fn reported(effect: Effect, error: AwsError) -> Report {
    let observed = SmallWorld::new().observe();
    let plan = decide(&observed);
    let outcomes = Outcomes {
        made: plan
            .effects
            .iter()
            .map(|effect| (effect.clone(), Made::Nothing))
            .collect(),
        failed: vec![(effect, error)],
    };
    report(&observed, &plan, &outcomes)
}

#[test]
fn every_class_of_error_has_its_condition_and_its_pause() {
    use ErrorClass::*;
    let (moment, minutes) = (Duration::from_secs(2), Duration::from_secs(15));
    let quota = Duration::from_secs(300);
    for (class, type_, reason, at_most, backs_off) in [
        (NotFound, RECONCILING, "BuildStarted", moment, false),
        (Gone, RECONCILING, "BuildStarted", moment, false),
        (WrongState, RECONCILING, "BuildStarted", moment, false),
        (Exists, RECONCILING, "BuildStarted", moment, false),
        (InUse, RECONCILING, "BuildStarted", moment, false),
        (Token, RECONCILING, "BuildStarted", moment, false),
        (Capacity, RECONCILING, "BuildStarted", moment, false),
        (Quota, RECONCILING, "QuotaExceeded", quota, false),
        (Denied, STALLED, "Denied", minutes, false),
        (Invalid, STALLED, "TerminateInstancesRefused", minutes, false),
        (Throttled, RECONCILING, "AWSUnavailable", moment, true),
        (Server, RECONCILING, "AWSUnavailable", moment, true),
        (Credentials, RECONCILING, "AWSUnavailable", moment, true),
        (NoAnswer, RECONCILING, "AWSUnavailable", moment, true),
    ] {
        let report = reported(protect(), refused(class, "Code"));
        let condition = get(&report.status.conditions, type_);
        assert_eq!(
            condition.map(|condition| condition.reason.as_str()),
            Some(reason),
            "{class:?}"
        );
        assert_eq!(report.backoff.is_some(), backs_off, "{class:?}");
        assert!(report.look_again <= at_most, "{class:?}: {:?}", report.look_again);
        let slow = matches!(class, Quota | Denied | Invalid);
        assert_eq!(report.look_again == at_most, slow, "{class:?}: {:?}", report.look_again);
        assert_eq!(
            report.is_moving(),
            !slow && !backs_off,
            "{class:?}: how often AWS is looked at"
        );
    }
}

#[test]
fn a_denied_call_is_blamed_on_what_denied_it() {
    for (code, words) in [
        ("UnauthorizedOperation", "allow it in the controller's IAM policy"),
        ("OperationNotPermitted", "not a missing permission"),
        ("OptInRequired", "not opted in"),
    ] {
        let report = reported(protect(), refused(ErrorClass::Denied, code));
        let condition = get(&report.status.conditions, STALLED).expect("stalled");
        assert!(condition.message.contains(words), "{code}: {}", condition.message);
    }
}

#[test]
fn when_aws_cannot_be_read_an_image_that_is_there_is_no_worse() {
    let mut world = SmallWorld::new();
    world.settle();
    for (class, ready, stalled) in [
        (ErrorClass::Server, "True", false),
        (ErrorClass::Throttled, "True", false),
        (ErrorClass::Denied, "False", true),
    ] {
        let status = unobserved(&world.recipe, &refused(class, "Code"), world.now);
        let condition = get(&status.conditions, READY).expect("ready");
        assert_eq!(condition.status, ready, "{class:?}");
        assert_eq!(get(&status.conditions, STALLED).is_some(), stalled, "{class:?}");
        assert_eq!(status.latest, world.status().latest, "{class:?}: what was known stays");
    }
    let fresh = SmallWorld::new();
    let status = unobserved(&fresh.recipe, &refused(ErrorClass::Server, "Code"), fresh.now);
    let condition = get(&status.conditions, RECONCILING).expect("reconciling");
    assert_eq!(condition.reason, "AWSUnavailable");
}

#[test]
fn what_follows_a_failure_is_left_undone_but_removals() {
    let mut outcomes = Outcomes::default();
    let protect = Effect::Protect {
        image: "ami-1".parse().expect("an id"),
    };
    assert!(outcomes.permit(&protect));
    outcomes
        .failed
        .push((protect.clone(), refused(ErrorClass::Server, "Code")));
    assert!(!outcomes.permit(&protect));
    assert!(
        !outcomes.permit(&Effect::RemoveFinalizer),
        "not before everything is gone"
    );
    assert!(outcomes.permit(&Effect::Remove(Removal::Instance("i-1".parse().expect("an id")))));
}

#[test]
fn attempts_wait_a_minute_doubling_to_thirty() {
    let minutes: Vec<u64> = [1, 2, 3, 4, 5, 6, 7, 100, i64::MAX]
        .map(|attempt| retry_delay(attempt).as_secs() / 60)
        .into();
    assert_eq!(minutes, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
    assert_eq!(retry_delay(0), Duration::from_secs(60));
}
