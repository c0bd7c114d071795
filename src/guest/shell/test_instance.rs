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
