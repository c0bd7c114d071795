//! A record is read back as it was written, and what someone has made of it is told apart.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::api::BuildResult;
use crate::recipe::config_map::{from_config_map, is_sealed_by_first_key, to_config_map};
use crate::recipe::decide::tests::small_world::SmallWorld;
use crate::recipe::record::{BuildRecord, Outcome, Progress};
use crate::recipe::seal::SealKeys;
use crate::world::Owner;

fn owner() -> Owner {
    Owner {
        namespace: "platform".into(),
        name: "web".into(),
        uid: "uid".into(),
    }
}

fn keys(byte: u8) -> SealKeys {
    SealKeys::new(vec![vec![byte; 32]]).expect("a key of 32 bytes")
}

/// That of a build in the middle of its proof, with user data and outputs.
fn record() -> BuildRecord {
    let mut world = SmallWorld::new();
    for _ in 0..6 {
        world.time_goes_by(std::time::Duration::from_secs(1));
        world.pass();
    }
    world.records[0].clone()
}

fn written(record: &BuildRecord) -> ConfigMap {
    let reference = OwnerReference {
        uid: owner().uid,
        ..OwnerReference::default()
    };
    to_config_map(record, &owner(), reference, &keys(7))
}

#[test]
fn a_record_is_read_back_as_it_was_written() {
    let record = record();
    assert!(!record.user_data.is_empty() && !record.outputs.is_empty());
    assert_eq!(from_config_map(&written(&record), &owner(), &keys(7)), Ok(Some(record)));
}

#[test]
fn a_record_that_an_older_key_has_sealed_is_read_and_told_apart() {
    let (record, both) = (record(), SealKeys::new(vec![vec![9; 32], vec![7; 32]]).expect("keys"));
    let config_map = written(&record);
    assert!(is_sealed_by_first_key(&config_map, &owner(), &keys(7)));
    assert!(!is_sealed_by_first_key(&config_map, &owner(), &both));
    assert_eq!(from_config_map(&config_map, &owner(), &both), Ok(Some(record)));
}

#[test]
fn the_record_of_a_build_in_hand_stays_with_its_key_until_that_has_ended() {
    let both = SealKeys::new(vec![vec![9; 32], vec![7; 32]]).expect("keys");
    let old = keys(7).first_id();
    let mut record = record();
    record.progress.outcome = None;
    record.frozen.key.clone_from(&old);
    let sealed_by = |record: &BuildRecord| {
        let config_map = to_config_map(record, &owner(), OwnerReference::default(), &both);
        is_sealed_by_first_key(&config_map, &owner(), &both)
    };
    assert!(!sealed_by(&record), "in hand");
    record.progress.outcome = Some(Outcome {
        result: BuildResult::Failed,
        time: jiff::Timestamp::UNIX_EPOCH,
        attempts: 1,
        image: None,
        failure: None,
    });
    assert!(sealed_by(&record), "ended");
    // One of before records told their key has that of its seal.
    record.frozen.key.clear();
    let read = from_config_map(&written(&record), &owner(), &both).expect("a record");
    assert_eq!(read.map(|read| read.frozen.key), Some(old));
}

#[test]
fn what_belongs_to_an_earlier_object_of_the_name_is_no_record_of_this_one() {
    let other = Owner {
        uid: "another".into(),
        ..owner()
    };
    assert_eq!(from_config_map(&written(&record()), &other, &keys(7)), Ok(None));
}

#[test]
fn whatever_decides_is_under_the_seal_and_what_is_for_people_is_not() {
    type Change = fn(&mut ConfigMap);
    fn data(config_map: &mut ConfigMap) -> &mut std::collections::BTreeMap<String, String> {
        config_map.data.as_mut().expect("data")
    }
    let cases: [(&str, &str, Change); 7] = [
        ("the frozen spec", "seal does not fit", |changed| {
            let frozen = data(changed).get_mut("frozen.json").expect("a frozen spec");
            *frozen = frozen.replace("m7i.large", "p5.48xlarge");
        }),
        ("the progress", "seal does not fit", |changed| {
            data(changed).insert("progress.json".into(), r#"{"proof":{"inspected":true}}"#.into());
        }),
        ("user data", "seal does not fit", |changed| {
            for bytes in changed.binary_data.iter_mut().flat_map(|data| data.values_mut()) {
                *bytes = ByteString(b"#!/bin/sh".to_vec());
            }
        }),
        ("more user data", "seal does not fit", |changed| {
            let more = ("user-data.test.9".to_owned(), ByteString(b"#!/bin/sh".to_vec()));
            changed.binary_data.get_or_insert_default().extend([more]);
        }),
        ("no seal", "seal does not fit", |changed| {
            drop(data(changed).remove("seal"))
        }),
        ("a seal that is none", "seal does not fit", |changed| {
            data(changed).insert("seal".into(), "not hexadecimal".into());
        }),
        ("a copy under another name", "is a copy of that of build 1", |changed| {
            changed.metadata.name = Some("web-build-2".into());
        }),
    ];
    for (what, words, change) in cases {
        let mut changed = written(&record());
        change(&mut changed);
        let error = from_config_map(&changed, &owner(), &keys(7))
            .expect_err(what)
            .to_string();
        assert!(
            error.contains(words) && error.contains("delete the ConfigMap"),
            "{what}: {error}"
        );
    }
    let mut changed = written(&record());
    data(&mut changed).insert("output.1-packages".into(), "other".into());
    assert!(from_config_map(&changed, &owner(), &keys(7)).is_ok());
}

#[test]
fn a_lost_key_is_told_and_of_an_ended_build_harmless() {
    let error = from_config_map(&written(&record()), &owner(), &keys(8)).expect_err("another key");
    assert!(
        error.to_string().contains("its key is no longer in the configuration"),
        "{error}"
    );
    assert!(!error.ended, "what a build in hand has made may be needed");
    let mut world = SmallWorld::new();
    world.settle();
    let error = from_config_map(&written(&world.records[0]), &owner(), &keys(8)).expect_err("another key");
    assert!(error.ended);
}

#[test]
fn a_new_attempt_knows_nothing_of_the_proof_before() {
    let mut progress = Progress::default();
    progress.begin_attempt(1);
    progress.proof.inspected = true;
    progress.begin_attempt(1);
    assert!(progress.proof.inspected, "the same attempt goes on");
    progress.begin_attempt(2);
    assert_eq!((progress.attempt, progress.proof.inspected), (2, false));
    progress.begin_attempt(1);
    assert_eq!(progress.attempt, 2, "a late pass does not set it back");
}

#[test]
fn numbers_are_read_from_names_of_records_and_from_no_others() {
    for (name, number) in [
        ("web-build-7", Some(7)),
        ("web-build-999999999", Some(999_999_999)),
        ("web-build-1000000000", None),
        ("web-build-0", None),
        ("web-build--1", None),
        ("web-build-+1", None),
        ("web-build-007", None),
        ("web-build-", None),
        ("web2-build-7", None),
        ("web", None),
    ] {
        assert_eq!(BuildRecord::number_in(name, "web"), number, "{name}");
    }
}
