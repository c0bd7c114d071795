//! The seal on a proven image: a keyed hash that says that the verdict was ours. Tags can be forged by anyone who may tag; this cannot.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::guest;
use crate::world::{CONTENT_HASH, Image, Installation, OWNER, PROVEN, Role, SEAL};

/// The controller's keys. The first seals, every one verifies, so that keys can be rotated.
#[derive(Clone)]
pub struct SealKeys(Vec<Vec<u8>>);

/// A set of keys without a key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("at least one seal key of at least 32 bytes is needed")]
pub struct NoKey;

impl SealKeys {
    pub fn new(keys: Vec<Vec<u8>>) -> Result<Self, NoKey> {
        if keys.is_empty() || keys.iter().any(|key| key.len() < 32) {
            Err(NoKey)
        } else {
            Ok(Self(keys))
        }
    }

    /// The seal of `image`, should it be proven under `test_hash`.
    pub fn seal(
        &self,
        installation: &Installation,
        image: &Image,
        owner: &str,
        content_hash: &str,
        test_hash: &str,
    ) -> String {
        // `new` has refused an empty set.
        self.0
            .first()
            .map(|key| {
                hex::encode(
                    mac(key, installation, image, owner, content_hash, test_hash)
                        .finalize()
                        .into_bytes(),
                )
            })
            .unwrap_or_default()
    }

    /// Whether the image's tags carry a seal that fits them, made by one of the keys.
    pub fn verify(&self, installation: &Installation, image: &Image) -> bool {
        let get = |key: &str| image.tags.get(key).map(String::as_str);
        let (Some(owner), Some(content_hash), Some(test_hash), Some(Ok(seal))) =
            (get(OWNER), get(CONTENT_HASH), get(PROVEN), get(SEAL).map(hex::decode))
        else {
            return false;
        };
        self.0.iter().any(|key| {
            mac(key, installation, image, owner, content_hash, test_hash)
                .verify_slice(&seal)
                .is_ok()
        })
    }

    /// The nonces that a guest may have been given, see [`guest::nonce`]: the first is what it is given now, the others are of keys that have
    /// been rotated since.
    pub fn nonces(&self, uid: &str, build: i64, attempt: i64, role: guest::Role) -> Vec<String> {
        self.0
            .iter()
            .map(|key| guest::nonce(key, uid, build, attempt, role))
            .collect()
    }

    /// The seal of a build's record, over these parts of it.
    pub fn seal_record(&self, parts: &[&[u8]]) -> String {
        // `new` has refused an empty set.
        let seal = self
            .0
            .first()
            .map(|key| keyed(key, b"record", parts).finalize().into_bytes());
        seal.map(hex::encode).unwrap_or_default()
    }

    /// Whether `seal` is that of a record with these parts.
    pub fn verify_record(&self, parts: &[&[u8]], seal: &str) -> bool {
        let Ok(seal) = hex::decode(seal) else { return false };
        self.0
            .iter()
            .any(|key| keyed(key, b"record", parts).verify_slice(&seal).is_ok())
    }
}

impl std::fmt::Debug for SealKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SealKeys({} keys)", self.0.len())
    }
}

/// The guest's side of a role; an image is no guest.
pub fn guest_role(role: Role) -> guest::Role {
    match role {
        Role::Builder | Role::Image => guest::Role::Builder,
        Role::Test => guest::Role::Test,
        Role::Inspector => guest::Role::Inspector,
    }
}

fn mac(
    key: &[u8],
    installation: &Installation,
    image: &Image,
    owner: &str,
    content_hash: &str,
    test_hash: &str,
) -> Hmac<Sha256> {
    let mut snapshots: Vec<&str> = image.snapshots().map(|id| id.as_str()).collect();
    snapshots.sort_unstable();
    let snapshots = snapshots.join(",");
    let Installation { name, cluster } = installation;
    let parts = [
        name,
        cluster,
        owner,
        image.id.as_str(),
        &snapshots,
        content_hash,
        test_hash,
    ]
    .map(str::as_bytes);
    keyed(key, b"seal", &parts)
}

/// A keyed hash over `parts`; `domain` keeps hashes of one purpose from serving another.
fn keyed(key: &[u8], domain: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    for part in std::iter::once(&domain).chain(parts) {
        // Length first, so that no two different lists give the same bytes.
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}
