//! CreateKeyPair, ImportKeyPair, DeleteKeyPair.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::KeyPair;
use super::material::{self, KeyType};
use crate::ids::Kind;
use crate::operations::Call;
use crate::protocol::Error;
use crate::tags::{TagSpecification, Tags, at_creation};
use crate::time::{Time, to_second};

/// Characters of a name, which are ASCII's.
const LONGEST_NAME: usize = 255;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateKeyPairRequest {
    key_name: String,
    #[serde(default)]
    key_type: KeyType,
    #[serde(rename = "KeyFormat")]
    _key_format: Option<KeyFormat>,
    #[serde(rename = "TagSpecification", default)]
    tag_specifications: Vec<TagSpecification>,
}

/// PuTTY's format is not simulated.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum KeyFormat {
    Pem,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateKeyPairResponse {
    key_pair_id: String,
    key_name: String,
    key_fingerprint: String,
    /// Given out here and never again.
    key_material: String,
    tag_set: Tags,
}

pub fn create_key_pair(call: &mut Call<'_>, request: CreateKeyPairRequest) -> Result<CreateKeyPairResponse, Error> {
    let tags = at_creation(&request.tag_specifications, &["key-pair"])?;
    check_name(call, &request.key_name)?;
    let made = material::generate(request.key_type)?;
    let kept = keep(call, request.key_name, made.public, tags("key-pair"));
    Ok(CreateKeyPairResponse {
        key_pair_id: kept.key_pair_id,
        key_name: kept.key_name,
        key_fingerprint: kept.key_fingerprint,
        key_material: made.pem,
        tag_set: kept.tag_set,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImportKeyPairRequest {
    key_name: String,
    /// In base64, as the protocol has it of everything that may be binary.
    public_key_material: String,
    #[serde(rename = "TagSpecification", default)]
    tag_specifications: Vec<TagSpecification>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportKeyPairResponse {
    key_pair_id: String,
    key_name: String,
    key_fingerprint: String,
    tag_set: Tags,
}

pub fn import_key_pair(call: &mut Call<'_>, request: ImportKeyPairRequest) -> Result<ImportKeyPairResponse, Error> {
    let tags = at_creation(&request.tag_specifications, &["key-pair"])?;
    check_name(call, &request.key_name)?;
    let line = BASE64
        .decode(&request.public_key_material)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let public = line
        .and_then(|line| material::read_public(&line))
        .ok_or_else(|| Error::new("InvalidKey.Format", "Key is not in valid OpenSSH public key format"))?;
    let kept = keep(call, request.key_name, public, tags("key-pair"));
    Ok(ImportKeyPairResponse {
        key_pair_id: kept.key_pair_id,
        key_name: kept.key_name,
        key_fingerprint: kept.key_fingerprint,
        tag_set: kept.tag_set,
    })
}

fn check_name(call: &Call<'_>, name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > LONGEST_NAME || !name.is_ascii() {
        let why = format!("It must have 1 to {LONGEST_NAME} ASCII characters.");
        return Err(Error::invalid(name, "KeyName", why));
    }
    if call.region.key_pairs.iter().any(|key| key.key_name == name) {
        let message = format!("The keypair '{name}' already exists.");
        return Err(Error::new("InvalidKeyPair.Duplicate", message));
    }
    Ok(())
}

fn keep(call: &mut Call<'_>, name: String, public: material::Public, tags: Tags) -> KeyPair {
    let key = KeyPair {
        key_pair_id: call.region.new_id(Kind::KeyPair),
        key_type: public.key_type,
        key_fingerprint: public.fingerprint,
        create_time: Time(to_second(call.now)),
        // The name is the comment, whatever an imported key came with.
        public_key: Some(format!("{} {name}", public.key)),
        key_name: name,
        tag_set: tags,
    };
    call.region.key_pairs.push(key.clone());
    key
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteKeyPairRequest {
    key_name: Option<String>,
    key_pair_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteKeyPairResponse {
    #[serde(rename = "return")]
    value: bool,
    key_pair_id: Option<String>,
}

/// A name that no key pair has is deleted already; an id that never was one is an error. Instances keep the public key.
pub fn delete_key_pair(call: &mut Call<'_>, request: DeleteKeyPairRequest) -> Result<DeleteKeyPairResponse, Error> {
    if request.key_name.is_none() && request.key_pair_id.is_none() {
        return Err(Error::missing("KeyName"));
    }
    let fits = |key: &KeyPair| {
        let named = |given: &Option<String>, value: &str| given.as_deref().is_none_or(|given| given == value);
        named(&request.key_name, &key.key_name) && named(&request.key_pair_id, &key.key_pair_id)
    };
    let position = call.region.key_pairs.iter().position(fits);
    if let (None, Some(id)) = (position, &request.key_pair_id) {
        Kind::KeyPair.check(id)?;
        return Err(Kind::KeyPair.not_found(id));
    }
    let deleted = position.map(|position| call.region.key_pairs.remove(position).key_pair_id);
    Ok(DeleteKeyPairResponse {
        value: true,
        key_pair_id: deleted,
    })
}
