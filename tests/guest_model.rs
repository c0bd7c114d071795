//! The simulator's guests speak the protocol that the product parses, and do what the product's user data tells them.

use std::time::Duration;

use goldsmith::api::{Check, Cleanup, CleanupItem, EnvironmentVariable, FileStep, RebootStep, Step};
use goldsmith::guest::{
    BuilderGuest, BuilderReport, Expected, Inspection, InspectorGuest, InspectorReport, Refusal, TestGuest, TestReport,
    UserData, changed_files, judge, parse,
};
use goldsmith_simulator::disk::{Disk, File, Layout};
use goldsmith_simulator::guest::{Boot, Event, Scheduled, boot, volume_attached};
use jiff::Timestamp;

const NONCE: &str = "0123456789abcdef0123456789abcdef";
const SOURCE_CREATED: Timestamp = Timestamp::constant(1_700_000_000, 0);
const BOOTED: Timestamp = Timestamp::constant(1_790_000_000, 0);

fn step(name: &str, run: &str) -> Step {
    Step {
        name: name.into(),
        run: Some(run.into()),
        file: None,
        reboot: None,
        timeout: None,
        retries: 0,
    }
}

/// The root volume of a fresh source image.
fn source() -> Disk {
    let file = |content: &str| File {
        mode: 0o644,
        content: content.into(),
        modified: SOURCE_CREATED,
    };
    let files = [
        ("/etc/os-release", "ID=simulated\n"),
        ("/etc/machine-id", "uninitialized\n"),
    ];
    Disk {
        layout: Layout::Ext4,
        files: files
            .into_iter()
            .map(|(path, content)| (path.into(), file(content)))
            .collect(),
    }
}

/// What an instance did: console, disk at its end, when it powered off.
struct Ran {
    console: String,
    disk: Disk,
    powered_off: Option<Duration>,
}

fn instance<'a>(user_data: &'a UserData, root: &'a Disk) -> Boot<'a> {
    Boot {
        instance_id: "i-0123456789abcdef0",
        user_data: user_data.as_bytes(),
        root,
        first_boot: true,
        booted: BOOTED,
        scale: 0.01,
        instructions: &[],
    }
}

fn ran(root: &Disk, events: Vec<Scheduled>) -> Ran {
    let mut ran = Ran {
        console: String::new(),
        disk: root.clone(),
        powered_off: None,
    };
    assert!(events.is_sorted_by_key(|event| event.after), "events are in order");
    for Scheduled { after, event } in events {
        match event {
            Event::Console(text) => ran.console.push_str(&text),
            Event::Write { path, mode, content } => {
                let modified = BOOTED.saturating_add(after).unwrap();
                ran.disk.files.insert(
                    path,
                    File {
                        mode,
                        content,
                        modified,
                    },
                );
            }
            Event::Remove { path } => {
                assert!(ran.disk.files.remove(&path).is_some(), "{path} was there");
            }
            Event::PowerOff => ran.powered_off = Some(after),
        }
    }
    // As EC2 keeps it.
    let kept = ran.console.ceil_char_boundary(ran.console.len().saturating_sub(65_536));
    ran.console.drain(..kept);
    ran
}

fn passed() -> Inspection {
    Inspection::Passed {
        warnings: vec![],
        files: vec![],
    }
}

struct Recipe {
    steps: Vec<Step>,
    cleanup: Cleanup,
}

impl Recipe {
    fn new(steps: impl Into<Vec<Step>>) -> Self {
        Self {
            steps: steps.into(),
            cleanup: Cleanup::default(),
        }
    }

    fn build(&self) -> (BuilderReport, Ran) {
        let guest = BuilderGuest {
            nonce: NONCE,
            recipe: "platform/web",
            build: 7,
            attempt: 2,
            content_hash: "c0ffee",
            timeout: Duration::from_secs(600),
            environment: &[EnvironmentVariable {
                name: "VERSION".into(),
                value: "it's 1".into(),
            }],
            steps: &self.steps,
            cleanup: &self.cleanup,
        };
        let (user_data, root) = (guest.render().unwrap(), source());
        let ran = ran(&root, boot(&instance(&user_data, &root)));
        (BuilderReport::new(&parse(&ran.console, NONCE)), ran)
    }

    fn inspect(&self, image: &Disk) -> (InspectorReport, Inspection) {
        self.inspect_all(&[image])
    }

    fn inspect_all(&self, volumes: &[&Disk]) -> (InspectorReport, Inspection) {
        let guest = InspectorGuest {
            nonce: NONCE,
            source_created: SOURCE_CREATED,
            cleanup: &self.cleanup,
            disks: volumes.len(),
            lifetime: Duration::from_secs(900),
        };
        let (user_data, root) = (guest.render().unwrap(), source());
        let instance = instance(&user_data, &root);
        let mut console = ran(&root, boot(&instance)).console;
        assert!(InspectorReport::new(&parse(&console, NONCE)).up);
        for attached in 1..=volumes.len() {
            let seen = volume_attached(&instance, Duration::from_secs(30), "vol-0a", &volumes[..attached]);
            console.push_str(&ran(&root, seen).console);
            let done = InspectorReport::new(&parse(&console, NONCE)).done;
            assert_eq!(done, attached == volumes.len(), "it waits for every volume");
        }
        let report = InspectorReport::new(&parse(&console, NONCE));
        let expected = Expected {
            recipe: "platform/web",
            build: 7,
            attempt: 2,
            content_hash: "c0ffee",
            steps: &self.steps,
            skipped: &self.cleanup.skip,
        };
        let verdict = judge(&report, &expected);
        (report, verdict)
    }
}

fn test(checks: &[Check], image: &Disk) -> TestReport {
    let user_data = TestGuest {
        nonce: NONCE,
        checks,
        steps: &[],
        lifetime: Duration::from_secs(900),
    }
    .render()
    .unwrap();
    TestReport::new(&parse(&ran(image, boot(&instance(&user_data, image))).console, NONCE))
}

fn check(name: &str, run: &str) -> Check {
    Check {
        name: name.into(),
        run: Some(run.into()),
        http: None,
        timeout: "3s".into(),
    }
}

#[test]
fn a_good_recipe_is_built_cleaned_inspected_and_tested() {
    let recipe = Recipe::new([
        step("packages", "dnf -y install nginx\n#sim: print=Complete!"),
        step("site", "#sim: write=/srv/index.html hello"),
    ]);
    let (report, ran) = recipe.build();
    assert!(report.finished);
    assert_eq!(report.steps.len(), 2);
    assert_eq!(report.steps[0].outcome.as_ref().unwrap().output, "Complete!\n");
    assert!(ran.powered_off.is_some());
    assert_eq!(ran.disk.files["/srv/index.html"].content, "hello\n");
    let left: Vec<_> = ran
        .disk
        .files
        .iter()
        .filter(|(_, file)| !file.content.is_empty())
        .map(|(path, _)| path.as_str())
        .collect();
    assert_eq!(
        left,
        ["/etc/goldsmith/image.json", "/etc/os-release", "/srv/index.html"]
    );
    assert_eq!(recipe.inspect(&ran.disk).1, passed());
    let report = test(&[check("smoke", "true")], &ran.disk);
    assert!(report.done && report.passed_at.unwrap() > BOOTED, "{report:?}");
}

#[test]
fn a_failed_step_is_named_with_the_end_of_its_output_and_nothing_after_it_runs() {
    let recipe = Recipe::new([
        step("packages", "#sim: print=no space left on device\n#sim: exit=3"),
        step("site", "true"),
    ]);
    let (report, ran) = recipe.build();
    let (step, outcome) = report.failed_step().unwrap();
    assert_eq!(
        (step.name.as_str(), outcome.exit, outcome.output.as_str()),
        ("packages", 3, "no space left on device\n")
    );
    assert_eq!(report.steps.len(), 1);
    assert!(ran.powered_off.is_some() && !report.finished);
    assert!(!ran.disk.files.contains_key("/etc/goldsmith/image.json"));
}

#[test]
fn a_step_has_its_tries_and_its_timeout() {
    let tried = Step {
        retries: 2,
        ..step("flaky", "#sim: fail-times=2")
    };
    let (report, _) = Recipe::new([tried.clone()]).build();
    assert_eq!(report.steps[0].outcome.as_ref().unwrap().tries, 3);
    let (report, _) = Recipe::new([Step { retries: 1, ..tried }]).build();
    assert_eq!(report.failed_step().unwrap().1.tries, 2);
    let (report, ran) = Recipe::new([Step {
        timeout: Some("20s".into()),
        ..step("stuck", "#sim: hang")
    }])
    .build();
    assert!(report.failed_step().unwrap().1.timed_out);
    assert!(ran.powered_off.unwrap() >= Duration::from_secs(20));
}

#[test]
fn a_builder_that_hangs_is_ended_by_its_power_off_timer() {
    let (report, ran) = Recipe::new([step("stuck", "#sim: hang")]).build();
    assert_eq!(report.current_step().unwrap().name, "stuck");
    let (at, boot) = (ran.powered_off.unwrap(), Duration::from_secs(1));
    assert!(
        (Duration::from_secs(600)..Duration::from_secs(600) + boot).contains(&at),
        "{at:?}"
    );
}

#[test]
fn builders_that_die_or_are_mute_say_nothing_and_never_look_finished() {
    let (report, ran) = Recipe::new([step("bad", "#sim: die")]).build();
    assert!(report.started && !report.finished && report.failed_step().is_none() && ran.powered_off.is_some());
    let (report, ran) = Recipe::new([step("bad", "#sim: panic")]).build();
    assert!(!report.finished && ran.powered_off.is_none());
    // The manifest, not the console, says that a build has succeeded.
    let recipe = Recipe::new([step("mute", "#sim: no-console")]);
    let (report, ran) = recipe.build();
    assert!(!report.finished && ran.powered_off.is_some());
    assert_eq!(recipe.inspect(&ran.disk).1, passed());
}

#[test]
fn garbage_and_noise_on_the_console_hide_nothing() {
    for disturbance in ["garbage", "noise"] {
        let run = format!("#sim: {disturbance}\n#sim: print=gone wrong\n#sim: exit=1");
        let (report, _) = Recipe::new([step("first", "true"), step("second", &run)]).build();
        let (step, outcome) = report.failed_step().unwrap();
        assert_eq!(
            (step.name.as_str(), outcome.output.as_str()),
            ("second", "gone wrong\n"),
            "{disturbance}"
        );
    }
}

#[test]
fn a_secret_left_behind_is_found_by_builder_and_inspector() {
    let recipe = Recipe::new([step("deploy", "#sim: write=/root/.ssh/id_rsa")]);
    let (_, ran) = recipe.build();
    let (report, verdict) = recipe.inspect(&ran.disk);
    assert_eq!(report.findings[0].path, "/root/.ssh/id_rsa");
    assert_eq!(report.manifest.unwrap().findings, report.findings);
    let Inspection::Refused { reason, message } = verdict else {
        panic!("refused")
    };
    assert_eq!(reason, Refusal::SecretFound);
    assert!(message.contains("/root/.ssh/id_rsa"), "{message}");
}

#[test]
fn what_is_written_after_cleanup_is_found_on_the_snapshot() {
    for (line, reason) in [
        (
            "leave=/srv/app/settings aws_secret_access_key = abcdefghijklmnopqrstuvwxyz0123456789ABCD",
            Refusal::SecretFound,
        ),
        ("leave=/home/a/.bash_history ls", Refusal::CleanupIncomplete),
        ("leave=/var/log/late.log late", Refusal::CleanupIncomplete),
    ] {
        let recipe = Recipe::new([step("late", &format!("#sim: {line}"))]);
        let (_, ran) = recipe.build();
        let (_, verdict) = recipe.inspect(&ran.disk);
        assert!(
            matches!(verdict, Inspection::Refused { reason: found, .. } if found == reason),
            "{line}: {verdict:?}"
        );
    }
}

#[test]
fn skipped_cleanup_is_still_looked_for_and_let_pass() {
    let mut recipe = Recipe::new([step("history", "#sim: write=/root/.bash_history ls")]);
    recipe.cleanup.skip = vec![CleanupItem::ShellHistory, CleanupItem::SshHostKeys];
    let (_, ran) = recipe.build();
    let (_, verdict) = recipe.inspect(&ran.disk);
    let Inspection::Passed { warnings, .. } = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn further_volumes_are_searched_for_secrets_too() {
    let recipe = Recipe::new([step("site", "true")]);
    let (_, ran) = recipe.build();
    let mut data = Disk::default();
    assert_eq!(recipe.inspect_all(&[&ran.disk, &data]).1, passed());
    let key = File {
        mode: 0o600,
        content: "secret".into(),
        modified: SOURCE_CREATED,
    };
    data.files.insert("/alice/.ssh/id_rsa".into(), key);
    for volumes in [[&ran.disk, &data], [&data, &ran.disk]] {
        let (_, verdict) = recipe.inspect_all(&volumes);
        let Inspection::Refused {
            reason: Refusal::SecretFound,
            message,
        } = verdict
        else {
            panic!("{verdict:?}")
        };
        assert!(message.contains("further volume:/alice/.ssh/id_rsa"), "{message}");
    }
}

#[test]
fn volumes_that_cannot_be_read_are_named() {
    let recipe = Recipe::new([step("site", "true")]);
    let (_, ran) = recipe.build();
    for (layout, name) in [(Layout::Lvm, "LVM"), (Layout::Luks, "LUKS")] {
        let (_, verdict) = recipe.inspect(&Disk {
            layout,
            ..ran.disk.clone()
        });
        let Inspection::Refused {
            reason: Refusal::ProofUnsupported,
            message,
        } = verdict
        else {
            panic!("{verdict:?}")
        };
        assert!(message.contains(name), "{message}");
    }
    assert_eq!(
        recipe
            .inspect(&Disk {
                layout: Layout::Xfs,
                ..ran.disk
            })
            .1,
        passed()
    );
}

#[test]
fn an_image_of_something_else_is_refused() {
    let recipe = Recipe::new([step("site", "true")]);
    let (_, ran) = recipe.build();
    let other = Recipe::new([step("another", "true")]);
    assert!(matches!(
        other.inspect(&ran.disk).1,
        Inspection::Refused {
            reason: Refusal::ManifestMismatch,
            ..
        }
    ));
    assert!(matches!(
        recipe.inspect(&source()).1,
        Inspection::Refused {
            reason: Refusal::ManifestMissing,
            ..
        }
    ));
}

#[test]
fn checks_are_repeated_until_they_pass_or_their_time_is_over() {
    let image = source();
    assert!(
        test(&[check("slow", "#sim: fail-times=5"), check("next", "")], &image)
            .passed_at
            .is_some()
    );
    for run in ["#sim: exit=4", "#sim: hang", "#sim: after=1m", "#sim: no-such-thing"] {
        let report = test(&[check("good", ""), check("bad", run), check("never", "")], &image);
        assert_eq!(report.failed_check().unwrap().name, "bad", "{run}");
        assert!(report.done && report.passed_at.is_none(), "{run}");
    }
}

#[test]
fn what_steps_say_of_boots_happens_on_the_test_instance() {
    let recipe = Recipe::new([
        step("service", "#sim: boot-error=unit failed: nginx.service"),
        step("slow", "#sim: slow-boot=40s"),
    ]);
    let image = recipe.build().1.disk;
    let report = test(&[check("good", "")], &image);
    assert_eq!(report.boot_errors, ["unit failed: nginx.service"]);
    assert!(report.passed_at.unwrap() >= BOOTED + Duration::from_secs(40));
    let image = Recipe::new([step("service", "#sim: unhealthy")]).build().1.disk;
    assert!(test(&[check("good", "")], &image).failed_check().is_some());
}

#[test]
fn user_data_runs_once_and_that_of_others_only_boots() {
    let root = source();
    let user_data = TestGuest {
        nonce: NONCE,
        checks: &[],
        steps: &[],
        lifetime: Duration::from_secs(60),
    }
    .render()
    .unwrap();
    let again = Boot {
        first_boot: false,
        ..instance(&user_data, &root)
    };
    let other = Boot {
        user_data: b"#!/bin/sh\necho hello",
        ..instance(&user_data, &root)
    };
    for boot_of in [again, other] {
        let ran = ran(&root, boot(&boot_of));
        assert!(parse(&ran.console, NONCE).is_empty() && ran.console.contains("login:") && ran.powered_off.is_none());
    }
}

#[test]
fn a_file_that_the_first_boot_changes_is_told() {
    let file = |name: &str, path: &str| Step {
        run: None,
        file: Some(FileStep {
            path: path.into(),
            mode: "0640".into(),
            owner: "root:root".into(),
            content: "laid\n".into(),
        }),
        ..step(name, "")
    };
    let writes = "#sim: boot-write=/etc/hosts 127.0.0.1 localhost\\n";
    let steps = [
        file("hosts", "/etc/hosts"),
        file("motd", "/etc/motd"),
        step("cloud", writes),
    ];
    let recipe = Recipe::new(steps.clone());
    let (_, built) = recipe.build();
    let Inspection::Passed { files, .. } = recipe.inspect(&built.disk).1 else {
        panic!("the image is clean")
    };
    let guest = TestGuest {
        nonce: NONCE,
        checks: &[],
        steps: &steps,
        lifetime: Duration::from_secs(900),
    };
    let (user_data, image) = (guest.render().unwrap(), built.disk);
    let report = TestReport::new(&parse(&ran(&image, boot(&instance(&user_data, &image))).console, NONCE));
    assert_eq!(
        changed_files(&steps, &files, &report.files),
        ["/etc/hosts of step hosts has another content, and another mode or owner"]
    );
}

#[test]
fn a_builder_goes_on_after_a_reboot() {
    let reboot = Step {
        run: None,
        reboot: Some(RebootStep {}),
        ..step("kernel", "")
    };
    let recipe = Recipe::new([step("packages", "true"), reboot, step("site", "true")]);
    let (report, ran) = recipe.build();
    assert!(report.finished && report.steps.len() == 3, "{report:?}");
    assert_eq!(ran.console.matches("Linux version").count(), 2);
    assert_eq!(recipe.inspect(&ran.disk).1, passed());
}

#[test]
fn what_a_recipe_adds_to_cleanup_is_removed_or_found() {
    let mut recipe = Recipe::new([
        step("cache", "#sim: write=/opt/app/cache/one x"),
        step("late", "#sim: leave=/srv/hint at internal.example 42"),
    ]);
    recipe.cleanup.extra_paths = vec!["/opt/app/cache".into()];
    recipe.cleanup.forbidden_content = vec!["internal[.]example".into()];
    let (_, ran) = recipe.build();
    assert!(!ran.disk.files.contains_key("/opt/app/cache/one"));
    let Inspection::Refused { reason, message } = recipe.inspect(&ran.disk).1 else {
        panic!("refused")
    };
    assert_eq!(reason, Refusal::ForbiddenContentFound);
    assert!(message.contains("/srv/hint"), "{message}");
}
