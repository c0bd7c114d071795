//! What the inspector's report says about an image.

use std::collections::BTreeMap;

use super::{InspectorReport, Manifest, Rule, StepResult};
use crate::api::{CleanupItem, Reason, Step};

/// What the image must be.
pub struct Expected<'a> {
    /// `namespace/name`.
    pub recipe: &'a str,
    /// Number of the build that made the image.
    pub build: i64,
    /// Attempt of that build.
    pub attempt: i64,
    /// Over everything that shapes the image.
    pub content_hash: &'a str,
    /// All of them must have succeeded, in this order.
    pub steps: &'a [Step],
    /// Cleanup that the recipe chose to skip: still looked for, and let pass.
    pub skipped: &'a [CleanupItem],
}

/// The inspector's part of the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// Nothing is known yet.
    Pending,
    /// The image is what it should be. Names what was found and let pass because its cleanup is skipped.
    Passed {
        /// One for each item of cleanup, with its paths.
        warnings: Vec<String>,
        /// The files that steps have laid, as the manifest tells them.
        files: Vec<String>,
    },
    /// It is not, or nobody can tell.
    Refused {
        /// What is wrong.
        reason: Refusal,
        /// For people: what was found, and where.
        message: String,
    },
}

/// Why an image is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No manifest on the disk: the build did not come to its end.
    ManifestMissing,
    /// The manifest is of something else.
    ManifestMismatch,
    /// A private key or credentials are on the disk.
    SecretFound,
    /// What the recipe forbids is on the disk.
    ForbiddenContentFound,
    /// Something else that cleanup should have removed is on the disk.
    CleanupIncomplete,
    /// The volume cannot be read: LVM, LUKS, ...
    ProofUnsupported,
    /// The inspector could not do its work, which says nothing about the image.
    InspectorFailed,
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::ManifestMissing => Self::ManifestMissing,
            Refusal::ManifestMismatch => Self::ManifestMismatch,
            Refusal::SecretFound => Self::SecretFound,
            Refusal::ForbiddenContentFound => Self::ForbiddenContentFound,
            Refusal::CleanupIncomplete => Self::CleanupIncomplete,
            Refusal::ProofUnsupported => Self::ProofUnsupported,
            Refusal::InspectorFailed => Self::InspectorFailed,
        }
    }
}

/// Judges a report. The same report gives the same verdict.
pub fn judge(report: &InspectorReport, expected: &Expected<'_>) -> Inspection {
    if let Some(message) = &report.failure {
        return refused(
            Refusal::InspectorFailed,
            format!("the inspector could not work: {message}"),
        );
    }
    if let Some(what) = &report.unsupported {
        return refused(
            Refusal::ProofUnsupported,
            format!("the inspector found {what}, which it cannot read; it reads one ext4 or xfs root filesystem"),
        );
    }
    if !report.done {
        return Inspection::Pending;
    }
    let Some(manifest) = &report.manifest else {
        return refused(
            Refusal::ManifestMissing,
            "the image has no readable /etc/goldsmith/image.json: the builder did not come to its end".into(),
        );
    };
    if let Some(message) = mismatch(manifest, expected) {
        return refused(Refusal::ManifestMismatch, message);
    }
    // By rule, each path once: the builder's search and the inspector's may both have found it.
    let mut found: BTreeMap<Rule, Vec<&str>> = BTreeMap::new();
    for finding in report.findings.iter().chain(&manifest.findings) {
        let paths = found.entry(finding.rule).or_default();
        if !paths.contains(&finding.path.as_str()) {
            paths.push(&finding.path);
        }
    }
    let is_skipped = |rule: &Rule| matches!(rule, Rule::Item(item) if expected.skipped.contains(item));
    let (passed, failed): (Vec<_>, Vec<_>) = found.into_iter().partition(|(rule, _)| is_skipped(rule));
    if failed.is_empty() {
        let warnings = passed
            .into_iter()
            .map(|found| format!("{}, let pass by cleanup.skip", describe(found)))
            .collect();
        let files = manifest.files.clone();
        return Inspection::Passed { warnings, files };
    }
    let of = |rule: &Rule| match rule {
        Rule::Item(CleanupItem::PrivateKeys | CleanupItem::Credentials) => Refusal::SecretFound,
        Rule::Item(_) | Rule::ExtraPath => Refusal::CleanupIncomplete,
        Rule::ForbiddenContent => Refusal::ForbiddenContentFound,
    };
    let reasons: Vec<Refusal> = failed.iter().map(|(rule, _)| of(rule)).collect();
    let gravest = [Refusal::SecretFound, Refusal::ForbiddenContentFound];
    let gravest = gravest.into_iter().find(|reason| reasons.contains(reason));
    let ways_out = [
        (true, "remove it in the last step"),
        (
            failed.iter().any(|(rule, _)| matches!(rule, Rule::Item(_))),
            "let items of cleanup pass by spec.build.cleanup.skip",
        ),
        (
            failed.iter().any(|(rule, _)| *rule == Rule::ExtraPath),
            "end what writes to spec.build.cleanup.extraPaths during shutdown",
        ),
        (
            failed.iter().any(|(rule, _)| *rule == Rule::ForbiddenContent),
            "correct spec.build.cleanup.forbiddenContent",
        ),
    ];
    let ways_out: Vec<&str> = ways_out
        .into_iter()
        .filter_map(|(fits, way)| fits.then_some(way))
        .collect();
    let described: Vec<_> = failed.into_iter().map(describe).collect();
    refused(
        gravest.unwrap_or(Refusal::CleanupIncomplete),
        format!(
            "the image contains {}; {}",
            described.join("; "),
            ways_out.join(", or ")
        ),
    )
}

fn refused(reason: Refusal, message: String) -> Inspection {
    Inspection::Refused { reason, message }
}

/// The first difference between what the disk says it is and what was built.
fn mismatch(manifest: &Manifest, expected: &Expected<'_>) -> Option<String> {
    let differs = |what: &str, found: &dyn std::fmt::Display, wanted: &dyn std::fmt::Display| {
        Some(format!(
            "the manifest on the image is of {what} {found}, expected {wanted}"
        ))
    };
    if manifest.recipe != expected.recipe {
        return differs("recipe", &manifest.recipe, &expected.recipe);
    }
    if manifest.build != expected.build {
        return differs("build", &manifest.build, &expected.build);
    }
    if manifest.attempt != expected.attempt {
        return differs("attempt", &manifest.attempt, &expected.attempt);
    }
    if manifest.content_hash != expected.content_hash {
        return differs("content hash", &manifest.content_hash, &expected.content_hash);
    }
    if manifest.steps.len() != expected.steps.len() {
        return Some(format!(
            "the manifest has {} steps, expected {}",
            manifest.steps.len(),
            expected.steps.len()
        ));
    }
    let laid = expected.steps.iter().filter(|step| step.file.is_some()).count();
    if manifest.files.len() != laid {
        return Some(format!(
            "the manifest tells of {} files that steps have laid, expected {laid}",
            manifest.files.len()
        ));
    }
    for (found, wanted) in manifest.steps.iter().zip(expected.steps) {
        if found.name != wanted.name {
            return differs("step", &found.name, &wanted.name);
        }
        if found.result != StepResult::Succeeded {
            return Some(format!(
                "by the manifest on the image, step {} did not succeed",
                found.name
            ));
        }
    }
    None
}

/// What the first boot has made of the files that `steps` lay: each that is another now, in words. `laid` and `booted` are their
/// fingerprints before and after; nothing is said without both.
pub fn changed_files(steps: &[Step], laid: &[String], booted: &[String]) -> Vec<String> {
    let files = steps.iter().filter_map(|step| Some((step, step.file.as_ref()?)));
    let pairs = files.zip(laid.iter().zip(booted));
    // What is below these is empty after every boot.
    let lasts = |path: &str| {
        !["/tmp/", "/run/", "/var/run/", "/dev/"]
            .iter()
            .any(|gone| path.starts_with(gone))
    };
    let changed = pairs.filter(|((_, file), (before, after))| before != after && lasts(&file.path));
    let described = changed.map(|((step, file), (before, after))| {
        let (content, rest) = before.split_once(':').unwrap_or((before, ""));
        let (content_after, rest_after) = after.split_once(':').unwrap_or((after, ""));
        let how = match (before.as_str(), after.as_str()) {
            (_, "missing") => "is gone",
            ("missing", _) => "is there again",
            _ if content == content_after => "has another mode or owner",
            _ if rest == rest_after => "has another content",
            _ => "has another content, and another mode or owner",
        };
        format!("{} of step {} {how}", file.path, step.name)
    });
    described.collect()
}

/// Paths that a message names of one item.
const NAMED: usize = 5;

fn describe((rule, paths): (Rule, Vec<&str>)) -> String {
    let more = paths.len().saturating_sub(NAMED);
    let named = paths.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        format!("{rule}: {named} and {more} more")
    } else {
        format!("{rule}: {named}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Finding, ManifestStep};
    use super::*;

    fn step(name: &str) -> Step {
        Step {
            name: name.into(),
            run: Some("true".into()),
            file: None,
            reboot: None,
            timeout: None,
            retries: 0,
        }
    }

    fn finding(item: CleanupItem, path: &str) -> Finding {
        found(Rule::Item(item), path)
    }

    fn found(rule: Rule, path: &str) -> Finding {
        Finding {
            rule,
            path: path.into(),
        }
    }

    /// Of an image that is what it should be.
    fn good() -> InspectorReport {
        let result = |name: &str| ManifestStep {
            name: name.into(),
            result: StepResult::Succeeded,
            tries: 1,
        };
        InspectorReport {
            up: true,
            done: true,
            manifest: Some(Manifest {
                recipe: "platform/web".into(),
                build: 7,
                attempt: 2,
                content_hash: "c0ffee".into(),
                steps: vec![result("packages"), result("site")],
                files: vec![],
                findings: vec![],
            }),
            ..InspectorReport::default()
        }
    }

    fn verdict(report: &InspectorReport) -> Inspection {
        let expected = Expected {
            recipe: "platform/web",
            build: 7,
            attempt: 2,
            content_hash: "c0ffee",
            steps: &[step("packages"), step("site")],
            skipped: &[CleanupItem::Logs],
        };
        judge(report, &expected)
    }

    #[test]
    fn every_fault_has_its_reason_and_its_name_in_the_message() {
        type Change = fn(&mut InspectorReport);
        fn of_manifest(report: &mut InspectorReport) -> &mut Manifest {
            report.manifest.as_mut().unwrap()
        }
        let cases: [(Refusal, &str, Change); 18] = [
            (Refusal::InspectorFailed, "no mount", |report| {
                report.failure = Some("no mount".into())
            }),
            (Refusal::ProofUnsupported, "LUKS", |report| {
                report.unsupported = Some("LUKS".into())
            }),
            (Refusal::ManifestMissing, "image.json", |report| report.manifest = None),
            (Refusal::ManifestMismatch, "platform/db", |report| {
                of_manifest(report).recipe = "platform/db".into()
            }),
            (Refusal::ManifestMismatch, "build 6", |report| {
                of_manifest(report).build = 6
            }),
            (Refusal::ManifestMismatch, "attempt 1", |report| {
                of_manifest(report).attempt = 1
            }),
            (Refusal::ManifestMismatch, "beef", |report| {
                of_manifest(report).content_hash = "beef".into()
            }),
            (Refusal::ManifestMismatch, "1 steps", |report| {
                of_manifest(report).steps.truncate(1)
            }),
            (Refusal::ManifestMismatch, "other", |report| {
                of_manifest(report).steps[1].name = "other".into()
            }),
            (Refusal::ManifestMismatch, "site", |report| {
                of_manifest(report).steps[1].result = StepResult::Failed
            }),
            (Refusal::ManifestMismatch, "1 files", |report| {
                of_manifest(report).files = vec!["missing".into()]
            }),
            (Refusal::SecretFound, "/root/.ssh/id_rsa", |report| {
                report.findings = vec![finding(CleanupItem::PrivateKeys, "/root/.ssh/id_rsa")];
            }),
            (Refusal::SecretFound, "/srv/key", |report| {
                of_manifest(report).findings = vec![finding(CleanupItem::Credentials, "/srv/key")];
            }),
            (Refusal::CleanupIncomplete, "/etc/machine-id", |report| {
                report.findings = vec![finding(CleanupItem::MachineId, "/etc/machine-id")];
            }),
            (Refusal::CleanupIncomplete, "extraPaths: /opt/cache", |report| {
                report.findings = vec![found(Rule::ExtraPath, "/opt/cache")];
            }),
            (Refusal::ForbiddenContentFound, "forbiddenContent: /srv/a", |report| {
                report.findings = vec![found(Rule::ForbiddenContent, "/srv/a"), found(Rule::ExtraPath, "/opt")];
            }),
            (Refusal::SecretFound, "forbiddenContent: /srv/a", |report| {
                let secret = finding(CleanupItem::Credentials, "/srv/key");
                report.findings = vec![found(Rule::ForbiddenContent, "/srv/a"), secret];
            }),
            (Refusal::CleanupIncomplete, "5 more", |report| {
                report.findings = (0..10)
                    .map(|n| finding(CleanupItem::ShellHistory, &format!("/home/{n}")))
                    .collect();
            }),
        ];
        for (expected, named, change) in cases {
            let mut report = good();
            change(&mut report);
            let Inspection::Refused { reason, message } = verdict(&report) else {
                panic!("{named}")
            };
            assert_eq!(reason, expected, "{message}");
            assert!(message.contains(named), "{named}: {message}");
        }
    }

    #[test]
    fn nothing_is_said_before_everything_is_known() {
        let unfinished = InspectorReport { done: false, ..good() };
        assert_eq!(verdict(&unfinished), Inspection::Pending);
        assert_eq!(verdict(&InspectorReport::default()), Inspection::Pending);
    }

    #[test]
    fn skipped_items_pass_and_are_named_once() {
        let passed = |warnings| Inspection::Passed {
            warnings,
            files: vec![],
        };
        assert_eq!(verdict(&good()), passed(vec![]));
        let mut report = good();
        report.findings = vec![finding(CleanupItem::Logs, "/var/log/messages")];
        report.manifest.as_mut().unwrap().findings = report.findings.clone();
        assert_eq!(
            verdict(&report),
            passed(vec!["Logs: /var/log/messages, let pass by cleanup.skip".into()])
        );
    }

    #[test]
    fn a_file_that_the_first_boot_changes_is_named_with_what_has_become_of_it() {
        let file = |name: &str, path: &str| Step {
            run: None,
            file: Some(crate::api::FileStep {
                path: path.into(),
                mode: "0644".into(),
                owner: "root:root".into(),
                content: String::new(),
            }),
            ..step(name)
        };
        let steps = [
            file("script", "/tmp/install.sh"),
            file("hosts", "/etc/hosts"),
            step("packages"),
            file("motd", "/etc/motd"),
            file("same", "/srv/same"),
            file("mode", "/srv/mode"),
        ];
        let all = |words: [&str; 5]| words.map(str::to_owned);
        let laid = all(["99:644:0:0", "aa:644:0:0", "bb:644:0:0", "cc:644:0:0", "dd:644:0:0"]);
        let booted = all(["missing", "ab:600:0:0", "missing", "cc:644:0:0", "dd:600:0:0"]);
        assert_eq!(
            changed_files(&steps, &laid, &booted),
            [
                "/etc/hosts of step hosts has another content, and another mode or owner",
                "/etc/motd of step motd is gone",
                "/srv/mode of step mode has another mode or owner"
            ]
        );
        assert_eq!(
            changed_files(&steps, &[], &booted),
            [""; 0],
            "an image that does not tell"
        );
    }
}
