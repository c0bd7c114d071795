//! Keys that SSH takes, from seeded chance: they open nothing but the simulator's own instances.

use std::convert::Infallible;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use crypto_bigint::{NonZero, U1024, U2048};
use crypto_primes::{Flavor, random_prime};
use md5::Md5;
use pkcs1::der::asn1::{BitStringRef, OctetStringRef, UintRef};
use pkcs1::der::{Encode, EncodePem};
use pkcs1::{LineEnding, RsaPrivateKeyRef, RsaPublicKeyRef};
use pkcs8::PrivateKeyInfoRef;
use pkcs8::SubjectPublicKeyInfoRef;
use rand_core::{TryCryptoRng, TryRng};
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::protocol::Error;
use crate::random::Random;

const RSA_EXPONENT: u32 = 65_537;
/// Bits of RSA keys: what EC2 makes, and what it lets in.
const RSA_BITS: u32 = 2048;
const RSA_IMPORTED_BITS: [usize; 3] = [1024, 2048, 4096];
const ED25519_BYTES: usize = 32;
/// OpenSSH's width.
const PEM_COLUMNS: usize = 70;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    #[default]
    Rsa,
    Ed25519,
}

impl KeyType {
    pub fn name(self) -> &'static str {
        match self {
            KeyType::Rsa => "rsa",
            KeyType::Ed25519 => "ed25519",
        }
    }
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

/// Makes a key; the same chance makes the same key.
pub fn generate(random: &mut Random, key_type: KeyType) -> Result<Made, Error> {
    match key_type {
        KeyType::Rsa => rsa(random).map_err(internal),
        KeyType::Ed25519 => ed25519(random),
    }
}

fn internal(problem: impl std::fmt::Display) -> Error {
    Error::new("InternalError", format!("The key cannot be made: {problem}"))
}

fn rsa(random: &mut Random) -> pkcs1::der::Result<Made> {
    let exponent = U2048::from_u32(RSA_EXPONENT);
    loop {
        let [p, q]: [U1024; 2] = [(); 2].map(|()| random_prime(&mut Chance(random), Flavor::Any, RSA_BITS / 2));
        let modulus: U2048 = p.concatenating_mul(&q);
        let [p_less, q_less] = [p, q].map(|prime| prime.wrapping_sub(&U1024::ONE));
        let totient: U2048 = p_less.concatenating_mul(&q_less);
        let nonzero = |number: &U1024| NonZero::new(*number).into_option();
        let (Some(p_less), Some(q_less), Some(of_p), Some(of_all)) = (
            nonzero(&p_less),
            nonzero(&q_less),
            nonzero(&p),
            NonZero::new(totient).into_option(),
        ) else {
            continue;
        };
        let private = exponent.invert_mod(&of_all).into_option();
        let coefficient = q.invert_mod(&of_p).into_option();
        // Seldom: a modulus one bit short, equal primes, or one before a multiple of the exponent.
        let (Some(private), Some(coefficient)) = (private, coefficient) else {
            continue;
        };
        if modulus.bit_width() < RSA_BITS {
            continue;
        }
        let numbers = [modulus, exponent, private].map(|number| number.to_be_bytes());
        let halves = [
            p,
            q,
            private.rem_vartime(&p_less),
            private.rem_vartime(&q_less),
            coefficient,
        ]
        .map(|number| number.to_be_bytes());
        let [modulus, public_exponent, private_exponent] = &numbers;
        let [prime1, prime2, exponent1, exponent2, coefficient] = &halves;
        let key = RsaPrivateKeyRef {
            modulus: UintRef::new(modulus.as_ref())?,
            public_exponent: UintRef::new(public_exponent.as_ref())?,
            private_exponent: UintRef::new(private_exponent.as_ref())?,
            prime1: UintRef::new(prime1.as_ref())?,
            prime2: UintRef::new(prime2.as_ref())?,
            exponent1: UintRef::new(exponent1.as_ref())?,
            exponent2: UintRef::new(exponent2.as_ref())?,
            coefficient: UintRef::new(coefficient.as_ref())?,
            other_prime_infos: None,
        };
        let der = key.to_der()?;
        let info = PrivateKeyInfoRef::new(pkcs1::ALGORITHM_ID, OctetStringRef::new(&der)?);
        let public = [
            string(b"ssh-rsa"),
            number(key.public_exponent.as_bytes()),
            number(key.modulus.as_bytes()),
        ];
        return Ok(Made {
            public: Public {
                key_type: KeyType::Rsa,
                key: format!("ssh-rsa {}", BASE64.encode(public.concat())),
                fingerprint: pairs(&Sha1::digest(info.to_der()?)),
            },
            pem: key.to_pem(LineEnding::LF)?,
        });
    }
}

fn ed25519(random: &mut Random) -> Result<Made, Error> {
    let mut seed = [0; ED25519_BYTES];
    Chance(random).fill(&mut seed);
    let key = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(internal)?;
    let point = key.public_key().as_ref();
    let public = [string(b"ssh-ed25519"), string(point)].concat();
    // PROTOCOL.key of OpenSSH: a check twice, so that a wrong passphrase is noticed, the key, its comment, and padding.
    let check = random.draw().to_be_bytes();
    let mut private = [
        &check[..4],
        &check[..4],
        &public,
        &string(&[&seed, point].concat()),
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
    let mut pem = "-----BEGIN OPENSSH PRIVATE KEY-----\n".to_owned();
    for (position, character) in BASE64.encode(whole).chars().enumerate() {
        if position > 0 && position % PEM_COLUMNS == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str("\n-----END OPENSSH PRIVATE KEY-----\n");
    Ok(Made {
        public: ed25519_public(&public),
        pem,
    })
}

fn ed25519_public(blob: &[u8]) -> Public {
    Public {
        key_type: KeyType::Ed25519,
        key: format!("ssh-ed25519 {}", BASE64.encode(blob)),
        fingerprint: BASE64.encode(Sha256::digest(blob)),
    }
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

/// Seeded chance where true chance is asked for.
struct Chance<'a>(&'a mut Random);

impl Chance<'_> {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.0.draw().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

impl TryRng for Chance<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        // The upper half.
        Ok((self.0.draw() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.draw())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Chance<'_> {}
