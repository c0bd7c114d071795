//! The cleanup rules that a script carries, applied to a disk.

use std::collections::BTreeSet;

use jiff::Timestamp;
use regex::Regex;

use super::user_data::Script;
use crate::disk::Disk;

/// A finding: an item's name and a path.
pub(super) type Finding<'a> = (&'a str, String);

/// Files that a rule of this datum names: every one that is not empty, with the item of the first rule that fits.
pub(super) fn named<'a>(script: &'a Script, datum: &str, disk: &Disk) -> Vec<Finding<'a>> {
    let rules: Vec<_> = script
        .text(datum)
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    let files = disk.files.iter().filter(|(_, file)| !file.content.is_empty());
    let mut found = Vec::new();
    for (path, file) in files {
        let rule = rules.iter().find(|(_, pattern)| matches(pattern, path));
        match rule {
            Some(("MachineId", _)) if file.content.starts_with("uninitialized") => {}
            Some((item, _)) => found.push((*item, path.clone())),
            None => {}
        }
    }
    found
}

/// What is wrong with the first expression that is none: with it nothing would be found.
pub(super) fn unknown(script: &Script) -> Option<String> {
    let contents = script.text("CONTENTS").lines();
    let mut expressions = contents.filter_map(|line| Some(line.split_once(' ')?.1));
    let wrong = expressions.find(|expression| Regex::new(expression).is_err())?;
    Some(format!(
        "spec.build.cleanup.forbiddenContent: grep -E does not take {wrong}"
    ))
}

/// What there is room for: the first of each item before all others, at most fifty.
pub(super) fn first(found: Vec<Finding<'_>>) -> impl Iterator<Item = Finding<'_>> {
    let mut items = BTreeSet::new();
    let (heads, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(item, _)| items.insert(*item));
    heads.into_iter().chain(others).take(50)
}

/// Files that hold a secret by their name, and small ones that do by their content and changed after this time.
pub(super) fn secrets<'a>(script: &'a Script, disk: &Disk, changed_after: Timestamp) -> Vec<Finding<'a>> {
    let mut found: BTreeSet<Finding<'_>> = named(script, "SECRETS", disk).into_iter().collect();
    let contents: Vec<(&str, Regex)> = script
        .text("CONTENTS")
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(item, expression)| Some((item, Regex::new(expression).ok()?)))
        .collect();
    for (path, file) in &disk.files {
        let searched = file.content.len() <= 65_536
            && file.modified > changed_after
            && !script.text("UNSEARCHED").lines().any(|pattern| matches(pattern, path));
        let found_by = |item: &str, expression: &Regex| {
            let of_ours = item == "ForbiddenContent" && path == "/etc/goldsmith/image.json";
            let mut lines = file.content.lines();
            !of_ours
                && lines
                    .any(|line| expression.is_match(line) && (item == "ForbiddenContent" || !line.contains("EXAMPLE")))
        };
        let rule = contents.iter().find(|(item, expression)| found_by(item, expression));
        if searched && let Some((item, _)) = rule {
            found.insert((item, path.clone()));
        }
    }
    found.into_iter().collect()
}

/// Whether a `find -path` pattern fits: `*` stands for any characters, `/` among them.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((prefix, rest)) => match path.strip_prefix(prefix) {
            None => false,
            Some(path) => (0..=path.len())
                .filter(|at| path.is_char_boundary(*at))
                .any(|at| matches(rest, &path[at..])),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_those_of_find() {
        for (pattern, path, expected) in [
            ("/etc/machine-id", "/etc/machine-id", true),
            ("/etc/machine-id", "/etc/machine-id2", false),
            ("/var/log/*", "/var/log/audit/audit.log", true),
            ("/*/.ssh/authorized_keys", "/home/a/.ssh/authorized_keys", true),
            ("/*/.ssh/authorized_keys", "/.ssh/authorized_keys", false),
            ("/*/.*sh_history", "/root/.bash_history", true),
            ("/*/.*sh_history", "/root/.bash_history.txt", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
