//! Key pairs: what they are, and DescribeKeyPairs.

mod create;
mod material;

pub use create::{create_key_pair, delete_key_pair, import_key_pair};
pub use material::{KeyType, read_public};

use serde::{Deserialize, Serialize};

use crate::describe::{Described, Field, Filter, select};
use crate::ids::Kind;
use crate::operations::Call;
use crate::protocol::Error;
use crate::region::named;
use crate::tags::Tags;
use crate::time::Time;

/// A key pair, as it is kept and as it is described.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyPair {
    pub key_pair_id: String,
    pub key_name: String,
    pub key_type: KeyType,
    pub key_fingerprint: String,
    pub create_time: Time,
    /// As a line of OpenSSH's `authorized_keys`. The private key is nowhere but in CreateKeyPair's response.
    pub public_key: Option<String>,
    pub tag_set: Tags,
}

impl Described for KeyPair {
    const FILTERS: &'static [Field<Self>] = &[
        ("fingerprint", |k| vec![k.key_fingerprint.clone()]),
        ("key-name", |k| vec![k.key_name.clone()]),
        ("key-pair-id", |k| vec![k.key_pair_id.clone()]),
    ];

    fn id(&self) -> String {
        self.key_pair_id.clone()
    }

    fn tags(&self) -> &Tags {
        &self.tag_set
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeKeyPairsRequest {
    #[serde(rename = "KeyName", default)]
    names: Vec<String>,
    #[serde(rename = "KeyPairId", default)]
    ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    include_public_key: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeKeyPairsResponse {
    key_set: Vec<KeyPair>,
}

pub fn describe_key_pairs(
    call: &mut Call<'_>,
    request: DescribeKeyPairsRequest,
) -> Result<DescribeKeyPairsResponse, Error> {
    let mut items = named(Kind::KeyPair, &request.ids, call.region.key_pairs.iter().cloned())?;
    for name in &request.names {
        if !items.iter().any(|key| key.key_name == *name) {
            return Err(Kind::KeyPair.not_found(name));
        }
    }
    items.retain(|key| request.names.is_empty() || request.names.contains(&key.key_name));
    let mut key_set = select(items, &request.filters)?;
    if request.include_public_key != Some(true) {
        key_set.iter_mut().for_each(|key| key.public_key = None);
    }
    Ok(DescribeKeyPairsResponse { key_set })
}
