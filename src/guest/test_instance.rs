//! The test instance: boots from the finished image and runs its checks.

use std::time::Duration;

use jiff::Timestamp;

use super::user_data::Script;
use super::{Record, Role, Unrenderable, UserData};
use crate::api::{Check, Step};

/// What a test instance is told.
pub struct TestGuest<'a> {
    /// Marks the guest's records on its console, see [`nonce`](super::nonce()): 32 hexadecimal digits.
    pub nonce: &'a str,
    /// In order, each repeated until it passes or its time is over; none after one that has not passed.
    pub checks: &'a [Check],
    /// It tells of the files that these lay.
    pub steps: &'a [Step],
    /// Of the power-off timer, which the instance starts before anything else.
    pub lifetime: Duration,
}

impl TestGuest<'_> {
    /// The user data; equal input gives equal bytes.
    pub fn render(&self) -> Result<UserData, Unrenderable> {
        let mut script = Script::new(
            Role::Test,
            self.nonce,
            self.lifetime,
            &[
                include_str!("script/execute.sh"),
                include_str!("script/files.sh"),
                include_str!("script/test.sh"),
            ],
        );
        let files = self.steps.iter().filter_map(|step| step.file.as_ref());
        script.number("FILES", files.clone().count() as u64);
        for (index, file) in (1..).zip(files) {
            script.text(&format!("FILE_{index}"), &file.path);
        }
        script.number("CHECKS", self.checks.len() as u64);
        for (index, check) in (1..).zip(self.checks) {
            script.text(&format!("CHECK_{index}_NAME"), &check.name);
            script.number(&format!("CHECK_{index}_TIMEOUT"), check.timeout()?.as_secs().max(1));
            if let Some(run) = &check.run {
                let field = || format!("spec.test.checks[{}].run", index - 1);
                script.authored(&format!("CHECK_{index}_RUN"), run, field)?;
            }
            if let Some(http) = &check.http {
                script.text(&format!("CHECK_{index}_PORT"), &http.port.to_string());
                script.text(&format!("CHECK_{index}_PATH"), &http.path);
                script.text(&format!("CHECK_{index}_STATUS"), &http.status.to_string());
            }
        }
        script.finish(self.checks.iter().map(|check| {
            let bytes = check.run.as_ref().map_or(0, String::len);
            (format!("check {} in spec.test.checks", check.name), bytes)
        }))
    }
}

/// What a test instance has said so far on its console.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestReport {
    /// It has booted as far as user data.
    pub booted: bool,
    /// Checks that have ended, in order.
    pub checks: Vec<CheckReport>,
    /// First moment at which every check had passed, by the guest's clock.
    pub passed_at: Option<Timestamp>,
    /// Errors of cloud-init, failed units and kernel faults, at most 20. Complete once `done`.
    pub boot_errors: Vec<String>,
    /// What each file is like that a step has laid, in their order. Complete once `done`.
    pub files: Vec<String>,
    /// Everything has been looked at.
    pub done: bool,
    /// Why the instance could not do its work.
    pub failure: Option<String>,
}

/// One check that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckReport {
    /// Place in the recipe, from 1.
    pub index: u32,
    /// As the recipe names it, at most 256 bytes.
    pub name: String,
    /// False: it did not pass in its time.
    pub passed: bool,
    /// Exit status of the last try.
    pub exit: i32,
    /// The end of the last try's output, at most 4 KiB.
    pub output: String,
}

impl TestReport {
    /// Sums up the records of a test instance.
    pub fn new(records: &[Record]) -> Self {
        let mut report = Self::default();
        for record in records {
            match record {
                Record::Booted => report.booted = true,
                Record::Check(check) => report.checks.push(check.clone()),
                Record::Passed { at } => report.passed_at = Some(*at),
                Record::BootError { message } => report.boot_errors.push(message.clone()),
                Record::File { fingerprint } => report.files.push(fingerprint.clone()),
                Record::Tested => report.done = true,
                Record::Failed { message } => report.failure = Some(message.clone()),
                _ => {}
            }
        }
        report
    }

    /// The first check that did not pass in its time.
    pub fn failed_check(&self) -> Option<&CheckReport> {
        self.checks.iter().find(|check| !check.passed)
    }
}
