//! What cleanup removes and what the proof looks for. One table for both, sent to the guest as data, so that the two cannot disagree.

use super::Rule;
use super::user_data::Script;
use crate::api::{Cleanup, CleanupItem};

/// Version of the rules below. It is part of a recipe's content hash: a change here makes every image again.
pub const RULES_VERSION: u32 = 1;

/// Files by name: the item they belong to, and a pattern in which `*` also matches `/`, as for `find -path`.
///
/// Only files with something in them count. Of these items cleanup removes what it finds (`/etc/machine-id` is emptied, because
/// systemd takes a missing one for the first boot ever and applies all presets); see [`SECRETS`] for the others.
const TRACES: &[(CleanupItem, &[&str])] = &[
    (CleanupItem::SshHostKeys, &["/etc/ssh/ssh_host_*"]),
    (
        CleanupItem::AuthorizedKeys,
        &["/*/.ssh/authorized_keys", "/*/.ssh/authorized_keys2"],
    ),
    (CleanupItem::MachineId, &["/etc/machine-id", "/var/lib/dbus/machine-id"]),
    (
        CleanupItem::ShellHistory,
        &[
            "/*/.*sh_history",
            "/*/.history",
            "/*/fish/fish_history",
            "/*/.python_history",
            "/*/.node_repl_history",
            "/*/.mysql_history",
            "/*/.psql_history",
            "/*/.sqlite_history",
            "/*/.rediscli_history",
            "/*/.viminfo",
            "/*/.lesshst",
            "/*/.wget-hsts",
        ],
    ),
    // Scripts and seeds that a recipe may have laid under /var/lib/cloud are not state.
    (
        CleanupItem::CloudInitState,
        &[
            "/var/lib/cloud/instance*",
            "/var/lib/cloud/data/*",
            "/var/lib/cloud/sem/*",
            "/var/log/cloud-init*",
        ],
    ),
    (CleanupItem::Logs, &["/var/log/*"]),
];

/// Files that hold secrets, by name. They are reported, never removed: whoever laid them there should know, and a secret that was
/// on a disk may have been copied elsewhere on it.
const SECRETS: &[(CleanupItem, &[&str])] = &[
    (
        CleanupItem::PrivateKeys,
        &[
            "/*/.ssh/id_rsa",
            "/*/.ssh/id_dsa",
            "/*/.ssh/id_ecdsa",
            "/*/.ssh/id_ed25519",
            "/*/.ssh/identity",
        ],
    ),
    (
        CleanupItem::Credentials,
        &[
            "/*/.aws/credentials",
            "/*/.azure/msal_token_cache*",
            "/*/gcloud/*credentials*",
            "/*/.git-credentials",
            "/*/.netrc",
            "/*/.pgpass",
            "/*/.pypirc",
            "/*/.vault-token",
            "/*/.cargo/credentials*",
            "/*/.kube/config",
        ],
    ),
];

/// Secrets by content, as POSIX extended regular expressions. A matching line with the word `EXAMPLE` in it does not count: AWS's
/// documentation marks its sample keys so.
const CONTENTS: &[(CleanupItem, &str)] = &[
    (
        CleanupItem::PrivateKeys,
        "-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----",
    ),
    (
        CleanupItem::Credentials,
        "(^|[^A-Za-z0-9])(AKIA|ASIA)[A-Z2-7]{16}([^A-Za-z0-9]|$)",
    ),
    (
        CleanupItem::Credentials,
        "(aws_secret_access_key|AWS_SECRET_ACCESS_KEY)[\"' ]*[:=][\"' ]*[A-Za-z0-9/+]{40}",
    ),
    (
        CleanupItem::Credentials,
        "(ghp|gho|ghs|ghr)_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60}|glpat-[A-Za-z0-9_-]{20}",
    ),
    (CleanupItem::Credentials, "xox[baprs]-[A-Za-z0-9-]{20}"),
    (CleanupItem::Credentials, "_authToken *= *[A-Za-z0-9_-]{16}"),
    (CleanupItem::Credentials, "\"auth\" *: *\"[A-Za-z0-9+/=]{12}"),
];

/// Where contents are not searched: host keys are an item of their own; what packages ship is public, and language libraries carry
/// keys among their own tests.
const UNSEARCHED: &[&str] = &[
    "/etc/ssh/ssh_host_*",
    "/usr/bin/*",
    "/usr/include/*",
    "/usr/lib/*",
    "/usr/lib32/*",
    "/usr/lib64/*",
    "/usr/libexec/*",
    "/usr/sbin/*",
    "/usr/share/*",
    "/usr/src/*",
    "/*/site-packages/*",
    "/*/dist-packages/*",
    "/*/node_modules/*",
];

/// Gives the rules to a guest, one a line, with those that the recipe adds.
pub(super) fn write(script: &mut Script, cleanup: &Cleanup) {
    let extra = cleanup.extra_paths.iter().flat_map(|path| {
        let rule = Rule::ExtraPath.as_str();
        // The path itself, and all that is below it.
        [format!("{rule} {path}"), format!("{rule} {path}/*")]
    });
    // The first rule that fits counts: what the recipe adds is not let pass by what it skips.
    script.text("TRACES", &lines(extra.chain(names(TRACES))));
    script.text("SECRETS", &lines(names(SECRETS)));
    let contents = CONTENTS.iter().map(|(item, expression)| format!("{item} {expression}"));
    let forbidden = cleanup.forbidden_content.iter();
    let forbidden = forbidden.map(|expression| format!("{} {expression}", Rule::ForbiddenContent.as_str()));
    script.text("CONTENTS", &lines(forbidden.chain(contents)));
    script.text("UNSEARCHED", &UNSEARCHED.join("\n"));
}

/// What the recipe adds to the rules, and its bytes, to be blamed where it does not fit.
pub(super) fn added(cleanup: &Cleanup) -> (String, usize) {
    let texts = cleanup.extra_paths.iter().chain(&cleanup.forbidden_content);
    ("spec.build.cleanup".to_owned(), texts.map(String::len).sum())
}

fn names(rules: &[(CleanupItem, &[&str])]) -> impl Iterator<Item = String> {
    rules
        .iter()
        .flat_map(|(item, patterns)| patterns.iter().map(move |pattern| format!("{item} {pattern}")))
}

fn lines(rules: impl Iterator<Item = String>) -> String {
    rules.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_looked_for_by_one_kind_of_rule() {
        use CleanupItem::*;
        let items = [
            SshHostKeys,
            AuthorizedKeys,
            MachineId,
            ShellHistory,
            CloudInitState,
            Logs,
            PrivateKeys,
            Credentials,
        ];
        for item in items {
            let rules = TRACES.iter().chain(SECRETS).filter(|(other, _)| *other == item);
            assert_eq!(rules.count(), 1, "{item:?}");
        }
        assert_eq!(TRACES.len() + SECRETS.len(), items.len());
    }

    #[test]
    fn rules_are_lines_that_the_shell_reads_back_unchanged() {
        for (_, patterns) in TRACES.iter().chain(SECRETS) {
            for pattern in *patterns {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-*".contains(&byte);
                assert!(pattern.starts_with('/') && pattern.bytes().all(plain), "{pattern}");
            }
        }
        for (_, expression) in CONTENTS {
            assert!(
                !expression.contains('\n') && expression.trim() == *expression,
                "{expression}"
            );
        }
    }
}
