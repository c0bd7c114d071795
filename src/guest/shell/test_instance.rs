//! Checks and boot errors.

use super::*;

#[test]
fn checks_are_repeated_and_boot_errors_reported() {
    let directory = Directory::new();
    let counted = format!(
        "echo x >> {}/count; [ $(wc -l < {0}/count) -ge 3 ]",
        directory.0.display()
    );
    let check = |name: &str, run: &str| Check {
        name: name.into(),
        run: Some(run.into()),
        http: None,
        timeout: "30s".into(),
    };
    let run = |checks: &[Check]| {
        let user_data = TestGuest {
            nonce: NONCE,
            checks,
            steps: &[],
            lifetime: Duration::from_secs(60),
        }
        .render()
        .unwrap();
        let errors = "boot_errors() { echo 'unit failed: a.service'; echo 'kernel: BUG: b'; }";
        TestReport::new(&parse(&directory.run(&user_data, errors), NONCE))
    };
    let report = run(&[check("flaky", &counted), check("good", "true")]);
    let passed = report.passed_at.unwrap();
    assert!(
        report.booted && report.done && passed > Timestamp::constant(1_700_000_000, 0),
        "{report:?}"
    );
    assert_eq!(report.boot_errors, ["unit failed: a.service", "kernel: BUG: b"]);

    let nobody = HttpCheck {
        port: 1,
        path: "/".into(),
        status: 200,
    };
    for bad in [
        Check {
            timeout: "1s".into(),
            ..check("bad", "echo reason; exit 7")
        },
        Check {
            http: Some(nobody),
            run: None,
            timeout: "1s".into(),
            ..check("bad", "")
        },
    ] {
        let report = run(&[bad, check("never", "true")]);
        let failed = report.failed_check().unwrap();
        assert!(
            report.done && report.passed_at.is_none() && report.checks.len() == 1 && !failed.output.is_empty(),
            "{report:?}"
        );
    }
}

#[test]
fn files_that_steps_have_laid_are_told_as_they_are_after_the_boot() {
    let directory = Directory::new();
    let file = |name: &str, path: &str| Step {
        run: None,
        file: Some(FileStep {
            path: path.into(),
            mode: "0644".into(),
            owner: me(),
            content: format!("{name}\n"),
        }),
        ..step(name, "")
    };
    let later = format!("echo more >>{}/root/etc/edited", directory.0.display());
    let steps = [
        file("edited", "/etc/edited"),
        step("later", &later),
        file("hosts", "/etc/it's hosts"),
        file("gone", "/etc/gone"),
        file("mode", "/etc/mode"),
    ];
    build(&directory, &steps, &[]);
    let manifest: Manifest = serde_json::from_str(&directory.read("/etc/goldsmith/image.json").unwrap()).unwrap();
    let root = directory.0.join("root");
    let run = || {
        let guest = TestGuest {
            nonce: NONCE,
            checks: &[],
            steps: &steps,
            lifetime: Duration::from_secs(60),
        };
        let user_data = guest.render().unwrap();
        TestReport::new(&parse(&directory.run(&user_data, "boot_errors() { :; }"), NONCE))
    };
    let report = run();
    assert!(report.done && report.files.len() == 4, "{report:?}");
    assert_eq!(changed_files(&steps, &manifest.files, &report.files), [""; 0]);

    directory.write("/etc/it's hosts", "127.0.0.1 localhost\n");
    fs::remove_file(root.join("etc/gone")).unwrap();
    fs::set_permissions(
        root.join("etc/mode"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    assert_eq!(
        changed_files(&steps, &manifest.files, &run().files),
        [
            "/etc/it's hosts of step hosts has another content",
            "/etc/gone of step gone is gone",
            "/etc/mode of step mode has another mode or owner"
        ]
    );
}
