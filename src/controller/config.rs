//! The controller's configuration file: whose installation it is, which accounts it serves, and who may use what there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::api::{ImageSearch, duration};
use crate::world::AccountPolicy;

/// Shortest seal key, in bytes: as long as the hash that it keys.
const SEAL_KEY_MINIMUM: usize = 32;
/// Longest name of an installation: a DNS label's.
const INSTALLATION_LIMIT: usize = 63;
const SWEEP_AFTER_DEFAULT: Duration = Duration::from_secs(60 * 60);

/// What the configuration file says, checked, with the keys that it names.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the installation, in the tag `goldsmith.dev/managed-by` of everything that is made.
    pub installation: String,
    /// At least one. The first seals; all of them verify.
    pub seal_keys: Vec<SealKey>,
    /// Finds the trusted image from which inspectors boot; `{{arch}}` in its name is the architecture.
    pub inspector: ImageSearch,
    /// Age from which a leftover that no object claims is removed.
    pub sweep_after: Duration,
    /// Exactly one for now.
    pub accounts: Vec<AccountPolicy>,
}

impl Config {
    /// The account that objects know by `name`.
    pub fn account(&self, name: &str) -> Option<&AccountPolicy> {
        self.accounts.iter().find(|account| account.name == name)
    }

    /// Reads and checks the file at `path`, and the key files that it names (relative paths start beside it).
    ///
    /// # Errors
    /// Naming the file, the field and the way out.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::read(path, |file| std::fs::read(file))
    }

    fn read(path: &Path, read: impl Fn(&Path) -> io::Result<Vec<u8>>) -> Result<Self, ConfigError> {
        let read = |file: &Path| {
            read(file).map_err(|error| ConfigError::Unreadable {
                file: file.to_owned(),
                error,
            })
        };
        let wrong = |problem: String| ConfigError::Wrong {
            file: path.to_owned(),
            problem,
        };
        let bytes = read(path)?;
        let text = std::str::from_utf8(&bytes).map_err(|error| wrong(format!("it is not UTF-8: {error}")))?;
        let file: File = serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let sweep_after = file.check().map_err(wrong)?;
        let beside = path.parent().unwrap_or(Path::new(""));
        let mut seal_keys = Vec::new();
        for key in &file.seal.key_files {
            let bytes = read(&beside.join(key))?;
            if bytes.len() < SEAL_KEY_MINIMUM {
                let (key, length) = (key.display(), bytes.len());
                return Err(wrong(format!(
                    "seal.keyFiles: {key} has {length} bytes; a seal key is a file of at least {SEAL_KEY_MINIMUM} random bytes"
                )));
            }
            seal_keys.push(SealKey(bytes));
        }
        let InspectorSearch { owners, name } = file.inspector.search;
        Ok(Self {
            installation: file.installation,
            seal_keys,
            inspector: ImageSearch {
                owners,
                name: Some(name),
                tags: BTreeMap::new(),
            },
            sweep_after,
            accounts: file.accounts,
        })
    }
}

/// Why the controller cannot start with its configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It, or a key file that it names.
    #[error("cannot read {}: {error}", file.display())]
    Unreadable {
        /// Which of the files.
        file: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// What is wrong, and the way out.
    #[error("{}: {problem}", file.display())]
    Wrong {
        /// The configuration file, also where a key file is at fault.
        file: PathBuf,
        /// Names the field or the key file.
        problem: String,
    },
}

/// The bytes of a seal key; never printed.
#[derive(Clone)]
pub struct SealKey(Vec<u8>);

impl SealKey {
    /// The key itself, at least 32 bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SealKey(..)")
    }
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    installation: String,
    #[serde(default)]
    seal: Seal,
    #[serde(default)]
    inspector: Inspector,
    #[serde(default)]
    sweep_after: Option<String>,
    accounts: Vec<AccountPolicy>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Seal {
    #[serde(default)]
    key_files: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inspector {
    search: InspectorSearch,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InspectorSearch {
    owners: Vec<String>,
    name: String,
}

impl Default for Inspector {
    fn default() -> Self {
        Self {
            search: InspectorSearch {
                owners: vec!["amazon".into()],
                name: "al2023-ami-2023.*-{{arch}}".into(),
            },
        }
    }
}

impl File {
    /// Whether it makes sense, and what `sweepAfter` says. The error names the field and the way out.
    fn check(&self) -> Result<Duration, String> {
        if !is_label(&self.installation) {
            return Err(format!(
                "installation: {:?} is no name; write at most {INSTALLATION_LIMIT} lower-case letters, digits and hyphens, \
                 beginning and ending with a letter or digit",
                self.installation
            ));
        }
        if self.seal.key_files.is_empty() {
            return Err("seal.keyFiles: name at least one file with a key in it".into());
        }
        if self.inspector.search.owners.is_empty() {
            return Err("inspector.search.owners: list at least one; a name alone can be spoofed".into());
        }
        if self.inspector.search.name.is_empty() {
            return Err("inspector.search.name: write the image's name, * and ? are wildcards".into());
        }
        let sweep_after = match &self.sweep_after {
            None => SWEEP_AFTER_DEFAULT,
            Some(text) => duration::parse("sweepAfter", text).map_err(|error| error.to_string())?,
        };
        // Another account would need a role to assume; without one a second entry would be the first under another name.
        let [account] = &self.accounts[..] else {
            return Err(format!(
                "accounts: has {} entries; write exactly one, for the account that the controller's credentials belong to \
                 (other accounts cannot be reached yet)",
                self.accounts.len()
            ));
        };
        check_account(account).map_err(|(field, problem)| format!("accounts[0].{field}: {problem}"))?;
        Ok(sweep_after)
    }
}

/// The field that is wrong, and what is wrong with it.
fn check_account(account: &AccountPolicy) -> Result<(), (String, String)> {
    let wrong = |field: &str, problem: &str| Err((field.to_owned(), problem.to_owned()));
    if !is_label(&account.name) {
        return wrong("name", "write what recipes say in spec.account, for example default");
    }
    if account.regions.is_empty() {
        return wrong("regions", "list at least one, for example eu-central-1");
    }
    let mut regions = BTreeSet::new();
    for region in &account.regions {
        if !is_label(region) {
            return wrong(
                "regions",
                &format!("{region:?} is no region; write it as AWS does, for example eu-central-1"),
            );
        }
        if !regions.insert(region) {
            return wrong("regions", &format!("{region:?} is listed twice"));
        }
    }
    for (index, grant) in account.grants.iter().enumerate() {
        if grant.namespaces.is_empty() {
            return wrong(
                &format!("grants[{index}].namespaces"),
                "list at least one, or \"*\" for all",
            );
        }
    }
    Ok(())
}

/// A DNS label, as Kubernetes has it.
fn is_label(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=INSTALLATION_LIMIT).contains(&text.len())
        && text.bytes().all(|byte| plain(byte) || byte == b'-')
        && text.bytes().next().is_some_and(plain)
        && text.bytes().next_back().is_some_and(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
installation: demo
seal: {keyFiles: [seal-key, /old/seal-key]}
accounts:
  - name: default
    regions: [eu-central-1, us-west-2]
    grants:
      - namespaces: [platform]
        subnets: [subnet-1]
        securityGroups: ["*"]
"#;

    fn load(text: &str) -> Result<Config, ConfigError> {
        Config::read(Path::new("/etc/goldsmith/config.yaml"), |file| match file.to_str() {
            Some("/etc/goldsmith/config.yaml") => Ok(text.as_bytes().to_vec()),
            Some("/etc/goldsmith/seal-key") => Ok(vec![1; 32]),
            Some("/old/seal-key") => Ok(vec![2; 64]),
            Some("/etc/goldsmith/short") => Ok(vec![3; 31]),
            _ => Err(io::ErrorKind::NotFound.into()),
        })
    }

    #[test]
    fn a_small_file_means_what_it_says_and_the_documented_defaults() {
        let config = load(GOOD).unwrap();
        assert_eq!(config.installation, "demo");
        assert_eq!(
            config.seal_keys.iter().map(|key| key.bytes().len()).collect::<Vec<_>>(),
            [32, 64]
        );
        assert_eq!(config.inspector.owners, ["amazon"]);
        assert_eq!(config.inspector.name.as_deref(), Some("al2023-ami-2023.*-{{arch}}"));
        assert_eq!(config.sweep_after, Duration::from_secs(3600));
        assert_eq!(config.account("default").map(|account| account.regions.len()), Some(2));
        assert!(config.account("second").is_none());
        assert_eq!(config.accounts[0].grants[0].security_groups, ["*"]);
    }

    #[test]
    fn keys_are_never_printed() {
        assert!(!format!("{:?}", load(GOOD).unwrap()).contains("[1, 1"));
    }

    #[test]
    fn every_mistake_names_the_file_the_field_and_the_way_out() {
        for (right, wrong, expected) in [
            ("installation: demo\n", "", "installation"),
            (
                "installation: demo",
                "installation: Demo",
                "installation: \"Demo\" is no name; write at most 63",
            ),
            (
                "installation: demo",
                "installation: ''",
                "installation: \"\" is no name",
            ),
            (
                "installation: demo",
                "installation: demo-",
                "installation: \"demo-\" is no name",
            ),
            ("installation: demo", "instalation: demo", "instalation"),
            (
                "keyFiles: [seal-key, /old/seal-key]",
                "keyFiles: []",
                "seal.keyFiles: name at least one",
            ),
            (
                "seal: {keyFiles: [seal-key, /old/seal-key]}\n",
                "",
                "seal.keyFiles: name at least one",
            ),
            (
                "[seal-key, /old/seal-key]",
                "[short]",
                "seal.keyFiles: short has 31 bytes; a seal key is",
            ),
            (
                "[seal-key, /old/seal-key]",
                "[absent]",
                "cannot read /etc/goldsmith/absent",
            ),
            ("seal:", "sweepAfter: 1d\nseal:", "sweepAfter: \"1d\" is not a duration"),
            ("seal:", "sweepAfter: 0s\nseal:", "sweepAfter: \"0s\" is not a duration"),
            (
                "seal:",
                "inspector: {search: {owners: [], name: a}}\nseal:",
                "inspector.search.owners: list at least one",
            ),
            (
                "seal:",
                "inspector: {search: {owners: [self], name: ''}}\nseal:",
                "inspector.search.name: write",
            ),
            ("name: default", "name: ''", "accounts[0].name: write"),
            (
                "regions: [eu-central-1, us-west-2]",
                "regions: []",
                "accounts[0].regions: list at least one",
            ),
            (
                "regions: [eu-central-1, us-west-2]",
                "regions: [EU]",
                "accounts[0].regions: \"EU\" is no region",
            ),
            (
                "us-west-2]",
                "eu-central-1]",
                "accounts[0].regions: \"eu-central-1\" is listed twice",
            ),
            (
                "namespaces: [platform]",
                "namespaces: []",
                "accounts[0].grants[0].namespaces: list at least one",
            ),
            ("subnets:", "subnet:", "subnet"),
        ] {
            assert!(GOOD.contains(right), "{right}");
            let error = load(&GOOD.replacen(right, wrong, 1)).expect_err(wrong).to_string();
            assert!(
                error.contains("/etc/goldsmith/") && error.contains(expected),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn exactly_one_account_can_be_served() {
        let none = "installation: demo\nseal: {keyFiles: [seal-key]}\naccounts: []\n".to_owned();
        let two = format!("{GOOD}  - {{name: other, regions: [eu-west-1]}}\n");
        for (text, entries) in [(none, 0), (two, 2)] {
            let error = load(&text).unwrap_err().to_string();
            let expected = format!("/etc/goldsmith/config.yaml: accounts: has {entries} entries; write exactly one");
            assert!(error.starts_with(&expected), "{error}");
        }
    }
}
