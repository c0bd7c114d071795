//! Keyed hashes. Tags can be forged by anyone who may tag; these cannot.
//!
//! The **seal** on a finished image says that the verdict in its tags is ours. The **birth** mark says that we made a thing, and from what, while its
//! build still runs. The seal of a **record** says that we wrote it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::guest;
use crate::world::{
    BIRTH, BOOT_MILLISECONDS, BUILD, CLEANUP_SKIPPED, CONTENT_HASH, Claim, FINISHED, Image, Installation, OWNER,
    PROVEN, PROVEN_TIME, Role, SEAL, SOURCE, Tags,
};

/// The controller's keys. The first seals, every one verifies, so that keys can be rotated.
#[derive(Clone)]
pub struct SealKeys(Vec<Vec<u8>>);

/// A set of keys without a key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("at least one seal key of at least 32 bytes is needed")]
pub struct NoKey;

impl SealKeys {
    /// In the order in which they are tried; the first seals.
    ///
    /// # Errors
    /// Without a key, or with one of less than 32 bytes.
    pub fn new(keys: Vec<Vec<u8>>) -> Result<Self, NoKey> {
        if keys.is_empty() || keys.iter().any(|key| key.len() < 32) {
            Err(NoKey)
        } else {
            Ok(Self(keys))
        }
    }

    /// The seal of `image`, should it carry `tags`.
    pub fn seal(&self, installation: &Installation, image: &Image, tags: &Tags) -> String {
        self.sign(b"seal", &verdict(installation, image, tags))
    }

    /// Whether the image's tags carry a seal that fits them, made by one of the keys.
    pub fn verify(&self, installation: &Installation, image: &Image) -> bool {
        let seal = image.tags.get(SEAL).map(String::as_str).unwrap_or_default();
        self.fits(b"seal", &verdict(installation, image, &image.tags), seal)
    }

    /// What a thing of `origin`, made for `claim`, carries from birth as [`BIRTH`]: nobody can have guessed it before, and it fits nothing of
    /// another origin.
    pub fn birth(&self, installation: &Installation, claim: &Claim, origin: &Origin<'_>) -> String {
        self.sign(b"birth", &birth(installation, claim, origin))
    }

    /// Whether a thing with `tags`, of which EC2 says `origin`, is what was made for `claim`.
    pub fn verify_birth(&self, installation: &Installation, claim: &Claim, origin: &Origin<'_>, tags: &Tags) -> bool {
        let mark = tags.get(BIRTH).map(String::as_str).unwrap_or_default();
        self.fits(b"birth", &birth(installation, claim, origin), mark)
    }

    /// A client token of 64 characters, EC2's maximum, that depends on what is made and nothing else, and that nobody can use before us.
    pub fn token(&self, installation: &Installation, claim: &Claim, what: &str) -> String {
        let mut parts = claimed(installation, claim);
        parts.push(what.to_owned());
        self.sign(b"token", &parts)
    }

    /// Tells the first key from the others, and nothing about it: 8 hexadecimal digits.
    pub fn first_id(&self) -> String {
        self.0.first().map(|key| id(key)).unwrap_or_default()
    }

    /// The same keys, of which that of the id `first` comes first if it is there: what is made for a build is marked and named by the key
    /// with which that began, so that a request which is sent again after a rotation is the same.
    pub fn led_by(&self, first: &str) -> Self {
        let mut keys = self.0.clone();
        // Stable: the others keep their order.
        keys.sort_by_key(|key| id(key) != first);
        Self(keys)
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
        self.sign(b"record", parts)
    }

    /// Which key has sealed a record with these parts, as [`SealKeys::first_id`] tells it; none when it was none of these.
    pub fn sealed_record(&self, parts: &[&[u8]], seal: &str) -> Option<String> {
        self.fitting(b"record", parts, seal).map(id)
    }

    fn sign<P: AsRef<[u8]>>(&self, domain: &[u8], parts: &[P]) -> String {
        // `new` has refused an empty set.
        let first = self
            .0
            .first()
            .map(|key| keyed(key, domain, parts).finalize().into_bytes());
        first.map(hex::encode).unwrap_or_default()
    }

    fn fits<P: AsRef<[u8]>>(&self, domain: &[u8], parts: &[P], hash: &str) -> bool {
        self.fitting(domain, parts, hash).is_some()
    }

    fn fitting<P: AsRef<[u8]>>(&self, domain: &[u8], parts: &[P], hash: &str) -> Option<&[u8]> {
        let hash = hex::decode(hash).ok()?;
        let mut keys = self.0.iter().map(Vec::as_slice);
        keys.find(|key| keyed(key, domain, parts).verify_slice(&hash).is_ok())
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

/// What EC2 itself says of where a thing came from, which no tag can change.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// Not its subnet: of a terminated instance EC2 does not tell it any more. The client token is what nobody could have launched anything
    /// with before us: a mark that is copied to an older instance does not fit that.
    Instance {
        /// What it was launched from.
        image: &'a str,
        /// EC2's name, for example `m7i.large`.
        instance_type: &'a str,
        /// That of RunInstances.
        client_token: &'a str,
    },
    /// Made by CreateImage.
    Image {
        /// In its account and region no other has it.
        name: &'a str,
        /// Id of the instance that it was made from.
        instance: &'a str,
    },
    /// Made by CreateVolume.
    Volume {
        /// Id of the snapshot that it was made from.
        snapshot: &'a str,
    },
}

/// Tags that a verdict consists of: who adds, changes or removes one of them breaks the seal.
const SEALED: [&str; 9] = [
    OWNER,
    BUILD,
    SOURCE,
    CONTENT_HASH,
    CLEANUP_SKIPPED,
    FINISHED,
    PROVEN,
    PROVEN_TIME,
    BOOT_MILLISECONDS,
];

fn verdict(installation: &Installation, image: &Image, tags: &Tags) -> Vec<String> {
    let mut snapshots: Vec<&str> = image.snapshots().map(|id| id.as_str()).collect();
    snapshots.sort_unstable();
    let mut parts = vec![
        installation.name.clone(),
        installation.cluster.clone(),
        image.id.to_string(),
        snapshots.join(","),
    ];
    parts.extend(SEALED.map(|key| tags.get(key).cloned().unwrap_or_default()));
    parts
}

fn birth(installation: &Installation, claim: &Claim, origin: &Origin<'_>) -> Vec<String> {
    let origin = match *origin {
        Origin::Instance {
            image,
            instance_type,
            client_token,
        } => ["instance", image, instance_type, client_token],
        Origin::Image { name, instance } => ["image", name, instance, ""],
        Origin::Volume { snapshot } => ["volume", snapshot, "", ""],
    };
    let mut parts = claimed(installation, claim);
    parts.extend(origin.map(str::to_owned));
    parts
}

fn claimed(installation: &Installation, claim: &Claim) -> Vec<String> {
    vec![
        installation.name.clone(),
        installation.cluster.clone(),
        claim.owner_uid.clone(),
        claim.build.to_string(),
        claim.attempt.to_string(),
        claim.role.as_str().to_owned(),
    ]
}

fn id(key: &[u8]) -> String {
    let mut id = hex::encode(keyed::<&[u8]>(key, b"id", &[]).finalize().into_bytes());
    id.truncate(8);
    id
}

/// A keyed hash over `parts`; `domain` keeps hashes of one purpose from serving another.
fn keyed<P: AsRef<[u8]>>(key: &[u8], domain: &[u8], parts: &[P]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    for part in std::iter::once(domain).chain(parts.iter().map(AsRef::as_ref)) {
        // Length first, so that no two different lists give the same bytes.
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}
