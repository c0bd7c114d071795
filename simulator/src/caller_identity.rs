//! Who calls: sts:GetCallerIdentity.

use serde::{Deserialize, Serialize};

use crate::operations::Call;
use crate::protocol::Error;

#[derive(Deserialize)]
pub struct GetCallerIdentityRequest {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetCallerIdentityResponse {
    arn: String,
    user_id: String,
    account: String,
}

/// Every credential belongs to the one seeded account; its access key names the user.
pub fn get_caller_identity(
    call: &mut Call<'_>,
    _: GetCallerIdentityRequest,
) -> Result<GetCallerIdentityResponse, Error> {
    let account = call.region.account.clone();
    Ok(GetCallerIdentityResponse {
        arn: format!("arn:aws:iam::{account}:user/{}", call.access_key),
        user_id: call.access_key.to_owned(),
        account,
    })
}
