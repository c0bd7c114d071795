//! Keys that SSH takes. Private keys are of the system's chance, not of the seed: who knows a seed is not to know them.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::encoding::{AsBigEndian, AsDer, Curve25519SeedBin, Pkcs8V1Der};
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::Md5;
use pkcs1::RsaPublicKeyRef;
use pkcs1::der::asn1::{BitStringRef, UintRef};
use pkcs1::der::{Decode, Encode};
use pkcs8::{PrivateKeyInfoRef, SubjectPublicKeyInfoRef};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::protocol::Error;

/// Bits of RSA keys that EC2 lets in; those that it makes have 2048.
const RSA_IMPORTED_BITS: [usize; 3] = [1024, 2048, 4096];
const ED25519_BYTES: usize = 32;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    #[default]
    Rsa,
    Ed25519,
}

/// The half that EC2 keeps.
#[derive(Debug)]
pub struct Public {
    pub key_type: KeyType,
    /// Type and key as OpenSSH writes them, without a comment.
    pub key: String,
    /// As EC2 says it: of an RSA key the SHA-1 of the private key if EC2 has made it, else the MD5 of the public one; of
    /// an Ed25519 key the SHA-256 of the public one.
    pub fingerprint: String,
}

/// A new key.
pub struct Made {
    pub public: Public,
    /// The private half.
    pub pem: String,
}

pub fn generate(key_type: KeyType) -> Result<Made, Error> {
    match key_type {
        KeyType::Rsa => rsa(),
        KeyType::Ed25519 => ed25519(),
    }
}

fn internal(problem: impl std::fmt::Display) -> Error {
    Error::new("InternalError", format!("The key cannot be made: {problem}"))
}

fn rsa() -> Result<Made, Error> {
    let key = rsa::KeyPair::generate(KeySize::Rsa2048).map_err(internal)?;
    let whole: Pkcs8V1Der<'_> = key.as_der().map_err(internal)?;
    let private = PrivateKeyInfoRef::try_from(whole.as_ref()).map_err(internal)?;
    let public = RsaPublicKeyRef::from_der(key.public_key().as_ref()).map_err(internal)?;
    let blob = [
        string(b"ssh-rsa"),
        number(public.public_exponent.as_bytes()),
        number(public.modulus.as_bytes()),
    ]
    .concat();
    Ok(Made {
        public: Public {
            key_type: KeyType::Rsa,
            key: format!("ssh-rsa {}", BASE64.encode(blob)),
            fingerprint: pairs(digest(&SHA1_FOR_LEGACY_USE_ONLY, whole.as_ref()).as_ref()),
        },
        pem: pem("RSA PRIVATE KEY", 64, private.private_key.as_bytes()),
    })
}

fn ed25519() -> Result<Made, Error> {
    let key = Ed25519KeyPair::generate().map_err(internal)?;
    let seed: Curve25519SeedBin<'_> = key.seed().and_then(|seed| seed.as_be_bytes()).map_err(internal)?;
    let point = key.public_key().as_ref();
    let public = [string(b"ssh-ed25519"), string(point)].concat();
    // PROTOCOL.key of OpenSSH: a check twice, so that a wrong passphrase is noticed (there is none), the key, its comment, and padding.
    let mut private = [
        &[0; 8][..],
        &public,
        &string(&[seed.as_ref(), point].concat()),
        &string(b""),
    ]
    .concat();
    let padding = private.len().next_multiple_of(8) - private.len();
    private.extend((1..).take(padding));
    let whole = [
        &b"openssh-key-v1\0"[..],
        &string(b"none"),
        &string(b"none"),
        &string(b""),
        &1_u32.to_be_bytes(),
        &string(&public),
        &string(&private),
    ]
    .concat();
    Ok(Made {
        public: ed25519_public(&public),
        // OpenSSH's width.
        pem: pem("OPENSSH PRIVATE KEY", 70, &whole),
    })
}

fn ed25519_public(blob: &[u8]) -> Public {
    Public {
        key_type: KeyType::Ed25519,
        key: format!("ssh-ed25519 {}", BASE64.encode(blob)),
        fingerprint: BASE64.encode(Sha256::digest(blob)),
    }
}

fn pem(label: &str, columns: usize, bytes: &[u8]) -> String {
    let mut pem = format!("-----BEGIN {label}-----");
    for (position, character) in BASE64.encode(bytes).chars().enumerate() {
        if position % columns == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem + &format!("\n-----END {label}-----\n")
}

/// A public key as a line of OpenSSH; none if it is no key of a type and size that EC2 takes.
pub fn read_public(line: &str) -> Option<Public> {
    let mut words = line.split_whitespace();
    let (word, encoded) = (words.next()?, words.next()?);
    let blob = BASE64.decode(encoded).ok()?;
    let (name, rest) = read_string(&blob)?;
    if name != word.as_bytes() {
        return None;
    }
    if word == "ssh-ed25519" {
        let (point, rest) = read_string(rest)?;
        return (point.len() == ED25519_BYTES && rest.is_empty()).then(|| ed25519_public(&blob));
    }
    if word != "ssh-rsa" {
        return None;
    }
    let (exponent, rest) = read_string(rest)?;
    let (modulus, rest) = read_string(rest)?;
    let key = RsaPublicKeyRef {
        modulus: UintRef::new(modulus).ok()?,
        public_exponent: UintRef::new(exponent).ok()?,
    };
    if !rest.is_empty() || !RSA_IMPORTED_BITS.contains(&(key.modulus.as_bytes().len() * 8)) {
        return None;
    }
    let der = key.to_der().ok()?;
    let info = SubjectPublicKeyInfoRef {
        algorithm: pkcs1::ALGORITHM_ID,
        subject_public_key: BitStringRef::from_bytes(&der).ok()?,
    };
    Some(Public {
        key_type: KeyType::Rsa,
        key: format!("ssh-rsa {encoded}"),
        fingerprint: pairs(&Md5::digest(info.to_der().ok()?)),
    })
}

/// `d4:1d:8c`.
fn pairs(digest: &[u8]) -> String {
    let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

/// RFC 4251's string: its length, and it.
fn string(bytes: &[u8]) -> Vec<u8> {
    // Nothing here has more than a few hundred bytes.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

/// RFC 4251's number: a string whose first bit is the sign.
fn number(bytes: &[u8]) -> Vec<u8> {
    match bytes.first() {
        Some(0x80..) => string(&[&[0], bytes].concat()),
        _ => string(bytes),
    }
}

/// A string, and what follows it.
fn read_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}
