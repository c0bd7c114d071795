//! Signature V4, accepted without checking: only the credential scope is read, for it names region and service.

use super::Error;

/// The scope a request was signed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub access_key: String,
    pub region: String,
    pub service: String,
}

/// Reads `AKID/date/region/service/aws4_request` from an `Authorization` header or an `X-Amz-Credential` parameter.
pub fn scope(authorization: Option<&str>, credential: Option<&str>) -> Result<Scope, Error> {
    let credential = match (authorization, credential) {
        (Some(header), _) => header
            .strip_prefix("AWS4-HMAC-SHA256")
            .and_then(|rest| rest.split_once("Credential="))
            .and_then(|(_, rest)| rest.split([',', ' ']).next()),
        (None, credential) => credential,
    };
    let credential = credential.ok_or_else(|| {
        Error::new(
            "MissingAuthenticationToken",
            "The request must be signed: no Signature Version 4 credential was found",
        )
    })?;
    match credential.split('/').collect::<Vec<_>>()[..] {
        [access_key, _, region, service, "aws4_request"] => Ok(Scope {
            access_key: access_key.into(),
            region: region.into(),
            service: service.into(),
        }),
        _ => Err(Error::new(
            "AuthFailure",
            format!("Credential '{credential}' is not of the form KEY/DATE/REGION/SERVICE/aws4_request"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_and_service_come_from_the_credential_scope() {
        let header =
            "AWS4-HMAC-SHA256 Credential=AK/20261123/eu-central-1/ec2/aws4_request, SignedHeaders=host, Signature=0";
        let scope = scope(Some(header), None).unwrap();
        assert_eq!((scope.region.as_str(), scope.service.as_str()), ("eu-central-1", "ec2"));
    }

    #[test]
    fn an_unsigned_request_is_refused() {
        assert_eq!(scope(None, None).unwrap_err().code, "MissingAuthenticationToken");
        assert_eq!(scope(None, Some("AK/ec2")).unwrap_err().code, "AuthFailure");
    }
}
