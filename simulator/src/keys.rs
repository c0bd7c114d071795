//! KMS keys, as far as EBS needs them: which exist, and what an alias stands for.

use crate::protocol::Error;
use crate::region::Region;

/// A key as a request named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key's own ARN, whatever name it was asked for by.
    pub arn: String,
    /// AWS takes any name at first and finds out later that a key doesn't exist.
    pub usable: bool,
}

/// Aliases that exist in every region, and the key ids they stand for.
pub const ALIASES: [(&str, &str); 3] = [
    ("alias/aws/ebs", "00000000-0000-4000-8000-0000000000eb"),
    ("alias/images", "00000000-0000-4000-8000-0000000000a1"),
    ("alias/us-images", "00000000-0000-4000-8000-0000000000a2"),
];

/// What is said of a key for something that is not asked to be encrypted.
pub fn needs_encrypted() -> Error {
    Error::new(
        "InvalidParameterDependency",
        "The parameter KmsKeyId requires the parameter Encrypted to be set.",
    )
}

/// Resolves a key's id, ARN, alias or alias ARN; without one, the account's default key for EBS.
pub fn resolve(region: &Region, wanted: Option<&str>) -> Key {
    let prefix = format!("arn:aws:kms:{}:{}:", region.name, region.account);
    let name = wanted.unwrap_or("alias/aws/ebs");
    let name = name.strip_prefix(&prefix).unwrap_or(name);
    let name = name.strip_prefix("key/").unwrap_or(name);
    match ALIASES.iter().find(|(alias, id)| *alias == name || *id == name) {
        Some((_, id)) => Key {
            arn: format!("{prefix}key/{id}"),
            usable: true,
        },
        None if name.starts_with("arn:") => Key {
            arn: name.to_owned(),
            usable: false,
        },
        None => Key {
            arn: format!("{prefix}key/{name}"),
            usable: false,
        },
    }
}
