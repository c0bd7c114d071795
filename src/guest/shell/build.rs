//! Steps, files, tries, timeouts and the manifest.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_build_runs_its_steps_lays_its_files_and_leaves_a_manifest() {
    let directory = Directory::new();
    directory.write("/etc/old", "old");
    let root = directory.0.join("root");
    let content = "line 'one'\n\"two\" $HOME `id` \\\n\n";
    let file = FileStep {
        path: "/etc/app/it's.conf".into(),
        mode: "0640".into(),
        owner: me(),
        content: content.into(),
    };
    let steps = [
        step(
            "first",
            &format!(
                "printf '%s|' \"$QUOTED\" \"${{EMPTY-unset}}\"; pwd >/dev/null; echo done; echo aside >&2; echo x > {}/made",
                root.display()
            ),
        ),
        Step {
            file: Some(file),
            run: None,
            ..step("config", "")
        },
        step("other", "#!/usr/bin/env  sh\necho \"$0\" >/dev/null; exit 0"),
    ];
    let report = build(&directory, &steps, &[]);
    assert!(report.finished, "{report:?}");
    let outcomes: Vec<_> = report
        .steps
        .iter()
        .map(|step| (step.name.as_str(), step.outcome.clone().unwrap()))
        .collect();
    assert_eq!(outcomes[0].1.output, "it's \"$HOME\" `id` \\n\n* end||done\naside\n");
    assert!(
        outcomes
            .iter()
            .all(|(_, outcome)| outcome.succeeded && outcome.tries == 1 && outcome.exit == 0)
    );
    assert_eq!(directory.read("/etc/app/it's.conf").as_deref(), Some(content));
    assert_eq!(
        fs::metadata(root.join("etc/app/it's.conf"))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777,
        0o640
    );
    let manifest: Manifest = serde_json::from_str(&directory.read("/etc/goldsmith/image.json").unwrap()).unwrap();
    let named = |name: &str| ManifestStep {
        name: name.into(),
        result: StepResult::Succeeded,
        tries: 1,
    };
    assert_eq!(
        manifest,
        Manifest {
            recipe: "platform/it's \"web\"".into(),
            build: 7,
            attempt: 2,
            content_hash: "c0ffee".into(),
            steps: vec![named("first"), named("config"), named("other")],
            files: manifest.files.clone(),
            findings: vec![],
        }
    );
}

#[test]
fn a_failed_step_ends_the_build_with_its_status_and_the_end_of_its_output() {
    let directory = Directory::new();
    let noisy =
        "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; printf '\\033[31mred\\033[0m\\r\\n'; exit 3";
    let report = build(
        &directory,
        &[step("good", "true"), step("bad", noisy), step("never", "true")],
        &[],
    );
    let (failed, outcome) = report.failed_step().unwrap();
    assert_eq!(
        (failed.index, failed.name.as_str(), outcome.exit, outcome.timed_out),
        (2, "bad", 3, false)
    );
    assert!(
        outcome.output.ends_with("line 1999\nred\n") && outcome.output.len() > 3900,
        "{}",
        outcome.output
    );
    assert_eq!(report.steps.len(), 2);
    assert_eq!(directory.read("/etc/goldsmith/image.json"), None);
}

#[test]
fn steps_have_their_tries_and_their_time() {
    let directory = Directory::new();
    let counted = format!(
        "echo x >> {}/count; [ $(wc -l < {0}/count) -ge 3 ]",
        directory.0.display()
    );
    let steps = [
        Step {
            retries: 2,
            ..step("flaky", &counted)
        },
        Step {
            timeout: Some("1s".into()),
            ..step("stuck", "echo begun; exec sleep 60")
        },
    ];
    let report = build(&directory, &steps, &[]);
    assert_eq!(report.steps[0].outcome.as_ref().unwrap().tries, 3);
    let (failed, outcome) = report.failed_step().unwrap();
    assert_eq!((failed.name.as_str(), outcome.timed_out), ("stuck", true));
    // Some shells add that they were terminated.
    assert!(outcome.output.starts_with("begun\n"), "{}", outcome.output);
}

#[test]
fn a_file_that_cannot_be_laid_fails_its_step() {
    let directory = Directory::new();
    directory.write("/etc/nginx/keep", "");
    let file = FileStep {
        path: "/etc/nginx".into(),
        mode: "0644".into(),
        owner: me(),
        content: String::new(),
    };
    let report = build(
        &directory,
        &[Step {
            file: Some(file),
            run: None,
            ..step("config", "")
        }],
        &[],
    );
    assert!(report.failed_step().unwrap().1.output.contains("is a directory"));
}

#[test]
fn a_build_goes_on_after_a_reboot_and_leaves_nothing_of_it_on_the_disk() {
    let directory = Directory::new();
    let reboot = |name: &str| Step {
        run: None,
        reboot: Some(crate::api::RebootStep {}),
        ..step(name, "")
    };
    let counted = format!("echo x >>{}/count", directory.0.display());
    let steps = [
        step("before", &counted),
        reboot("kernel"),
        step("between", &counted),
        reboot("it's again"),
        step("after", &counted),
    ];
    let user_data = builder(&steps, &[]);
    let reboots = format!(
        "power_off_in() {{ echo $1 >{}/timer; }}\nreboot_machine() {{ exit; }}\ndate() {{ echo 1000; }}",
        directory.0.display()
    );
    let lines = || fs::read_to_string(directory.0.join("count")).unwrap().lines().count();
    for (verb, ran, begun) in [("run", 1, 2), ("resume", 2, 4), ("resume", 3, 5)] {
        let report = BuilderReport::new(&parse(&directory.boot(&user_data, &reboots, verb), NONCE));
        assert_eq!((lines(), report.steps.len()), (ran, begun), "{verb}: {report:?}");
        let rebooting = report.current_step().map(|step| step.name.as_str());
        assert_eq!(rebooting, [Some("kernel"), Some("it's again"), None][ran - 1]);
        assert_eq!(report.finished, ran == 3);
        // The user data of this attempt is only for root while it is on the disk.
        let kept = directory.0.join("root/var/lib/goldsmith");
        assert_eq!(kept.exists(), ran < 3);
        if let Ok(metadata) = fs::metadata(&kept) {
            assert_eq!(metadata.permissions().mode() & 0o777, 0o700);
        }
    }
    // What is left of the builder's 60 s.
    assert_eq!(fs::read_to_string(directory.0.join("timer")).unwrap(), "50\n");
    let manifest: Manifest = serde_json::from_str(&directory.read("/etc/goldsmith/image.json").unwrap()).unwrap();
    let names: Vec<&str> = manifest.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["before", "kernel", "between", "it's again", "after"]);
    for path in [
        "/etc/systemd/system/goldsmith.service",
        "/etc/systemd/system/multi-user.target.wants/goldsmith.service",
        "/var/lib/cloud/scripts/per-boot/goldsmith",
    ] {
        assert_eq!(directory.read(path), None, "{path}");
    }
}

/// Nothing that is found could be kept there: what says nothing must not pass.
#[test]
fn a_builder_without_room_for_what_it_finds_says_so_and_ends() {
    let directory = Directory::new();
    let full = "mkdir \"$work/room\"";
    let console = directory.run(&builder(&[step("only", "true")], &[]), full);
    let report = BuilderReport::new(&parse(&console, NONCE));
    assert!(report.failure.is_some_and(|why| why.contains("no room in /run")));
    assert!(!report.finished && directory.read("/etc/goldsmith/image.json").is_none());

    let full = "secrets() { mkdir \"$work/findings\"; echo 'PrivateKeys /srv/key'; }";
    let console = directory.run(&builder(&[step("only", "true")], &[]), full);
    let report = BuilderReport::new(&parse(&console, NONCE));
    assert!(report.failure.is_some_and(|why| why.contains("could not be kept")));
    assert!(!report.finished && directory.read("/etc/goldsmith/image.json").is_none());
}
