//! Tags by which what Goldsmith made is found again.
//!
//! Anyone who may tag can forge them, so they find things and do not prove them: that is what the seal is for.

use super::Tags;

/// Installation (the controller's configuration).
pub const MANAGED_BY: &str = "goldsmith.dev/managed-by";
/// Uid of the cluster's `kube-system` namespace.
pub const CLUSTER: &str = "goldsmith.dev/cluster";
/// `<namespace>/<name>` of the object.
pub const OWNER: &str = "goldsmith.dev/owner";
/// Uid of the object.
pub const OWNER_UID: &str = "goldsmith.dev/owner-uid";
/// Number of the build.
pub const BUILD: &str = "goldsmith.dev/build";
/// Attempt of the build, 1 for the first.
pub const ATTEMPT: &str = "goldsmith.dev/attempt";
/// What the resource is for, see [`Role`].
pub const ROLE: &str = "goldsmith.dev/role";
/// Hash of everything that shapes the image.
pub const CONTENT_HASH: &str = "goldsmith.dev/content-hash";
/// Id of the source image.
pub const SOURCE: &str = "goldsmith.dev/source";
/// Hash of the test settings under which the image was proven.
pub const PROVEN: &str = "goldsmith.dev/proven";
/// On an image whose recipe switched the test off: it was never proven, and is nevertheless what was asked for.
pub const FINISHED: &str = "goldsmith.dev/finished";
/// When it was proven, RFC 3339.
pub const PROVEN_TIME: &str = "goldsmith.dev/proven-time";
/// Measured boot, in milliseconds.
pub const BOOT_MILLISECONDS: &str = "goldsmith.dev/boot-milliseconds";
/// Cleanup items that the recipe skipped, separated by spaces.
pub const CLEANUP_SKIPPED: &str = "goldsmith.dev/cleanup-skipped";
/// Keyed hash over the other tags and over what EC2 itself says of where the thing came from: that it was we who made it.
pub const BIRTH: &str = "goldsmith.dev/birth";
/// Keyed hash that the verdict was ours.
pub const SEAL: &str = "goldsmith.dev/seal";

/// What a resource is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The instance that is turned into an image, and its volumes.
    Builder,
    /// What was built, and its snapshots.
    Image,
    /// The instance that boots from the image and runs its checks.
    Test,
    /// The instance that reads the image's disks, and the volumes made for it.
    Inspector,
}

impl Role {
    /// Those of instances, which are sent user data.
    pub const GUESTS: [Self; 3] = [Self::Builder, Self::Test, Self::Inspector];

    /// The value of the tag [`ROLE`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Image => "image",
            Self::Test => "test",
            Self::Inspector => "inspector",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Builder, Self::Image, Self::Test, Self::Inspector]
            .into_iter()
            .find(|role| role.as_str() == text)
    }
}

/// Whose resources: one installation in one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Installation {
    /// As the controller's configuration has it: a DNS label, at most 63 characters.
    pub name: String,
    /// Uid of `kube-system`, so that two clusters that share a name by mistake do not sweep each other.
    pub cluster: String,
}

/// The object that a resource belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// Of the object.
    pub namespace: String,
    /// Of the object.
    pub name: String,
    /// Another object of the same name has another.
    pub uid: String,
}

impl Owner {
    /// `<namespace>/<name>`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// What the tags of a resource of ours say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// `<namespace>/<name>`.
    pub owner: String,
    /// Uid of that object.
    pub owner_uid: String,
    /// 0 to [`LARGEST_NUMBER`].
    pub build: i64,
    /// 0 to [`LARGEST_NUMBER`].
    pub attempt: i64,
    /// What the resource is for.
    pub role: Role,
}

impl Claim {
    /// Reads the tags of a resource; none when they are not `installation`'s, or incomplete.
    pub fn read(tags: &Tags, installation: &Installation) -> Option<Self> {
        let get = |key: &str| tags.get(key).map(String::as_str);
        if get(MANAGED_BY)? != installation.name || get(CLUSTER)? != installation.cluster {
            return None;
        }
        Some(Self {
            owner: get(OWNER)?.to_owned(),
            owner_uid: get(OWNER_UID)?.to_owned(),
            build: counted(get(BUILD)?)?,
            attempt: counted(get(ATTEMPT)?)?,
            role: Role::parse(get(ROLE)?)?,
        })
    }

    /// The tags by which a resource is found, from its birth on.
    pub fn tags(&self, installation: &Installation) -> Tags {
        [
            (MANAGED_BY, installation.name.clone()),
            (CLUSTER, installation.cluster.clone()),
            (OWNER, self.owner.clone()),
            (OWNER_UID, self.owner_uid.clone()),
            (BUILD, self.build.to_string()),
            (ATTEMPT, self.attempt.to_string()),
            (ROLE, self.role.as_str().to_owned()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

/// Whether tags are those of an image. On an instance or a volume they were copied from the image that it was made of, as launch scripts
/// do, and claim nothing.
pub fn are_of_an_image(tags: &Tags) -> bool {
    [CONTENT_HASH, PROVEN, FINISHED, SEAL]
        .iter()
        .any(|key| tags.contains_key(*key))
        || tags.get(ROLE).is_some_and(|role| role == Role::Image.as_str())
}

/// Largest number of a build or an attempt that is believed: no recipe comes near it, and the next number always exists.
pub const LARGEST_NUMBER: i64 = 999_999_999;

fn counted(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number| (0..=LARGEST_NUMBER).contains(number))
}
