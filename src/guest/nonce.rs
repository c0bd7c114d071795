//! The secret word that tells a guest's own records from whatever else is on its console.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

/// What an instance is for. Each role of an attempt has a nonce of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Turned into the image.
    Builder,
    /// Boots from the finished image and runs its checks.
    Test,
    /// Reads a volume made from the finished snapshot.
    Inspector,
}

impl Role {
    /// As it is written in user data: `builder`, `test` or `inspector`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Test => "test",
            Self::Inspector => "inspector",
        }
    }
}

/// The nonce of one guest: 32 hexadecimal digits, a keyed hash (HMAC-SHA256, its first half) over the recipe's uid, the build, the
/// attempt and the role. The same input gives the same nonce, so that a repeated launch is byte-identical; without the key
/// nobody can tell it beforehand.
pub fn nonce(key: &[u8], uid: &str, build: i64, attempt: i64, role: Role) -> String {
    // SHA-512 makes of a key of any length exactly the block that HMAC-SHA256 is keyed with.
    let mut mac = Hmac::<Sha256>::new(&Sha512::digest(key));
    mac.update(format!("nonce\0{uid}\0{build}\0{attempt}\0{}", role.as_str()).as_bytes());
    hex::encode(&mac.finalize().into_bytes()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guest_has_its_own() {
        let one = nonce(b"key", "uid", 1, 1, Role::Builder);
        assert_eq!(one.len(), 32);
        assert_eq!(one, nonce(b"key", "uid", 1, 1, Role::Builder));
        for other in [
            nonce(b"another key", "uid", 1, 1, Role::Builder),
            nonce(b"key", "uid2", 1, 1, Role::Builder),
            nonce(b"key", "uid", 2, 1, Role::Builder),
            nonce(b"key", "uid", 1, 2, Role::Builder),
            nonce(b"key", "uid", 1, 1, Role::Test),
        ] {
            assert_ne!(one, other);
        }
    }
}
