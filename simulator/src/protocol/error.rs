//! An error as EC2 reports it: a code that programs act on, and a message that people read.

use std::fmt::Display;

/// The one error type of every operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Error {
    /// AWS's code, such as `InvalidAMIID.NotFound`.
    pub code: String,
    /// What is wrong, naming the value, and what would be right.
    pub message: String,
    /// HTTP status: 4xx is the caller's, 5xx is worth repeating.
    pub status: u16,
}

impl Error {
    /// An error whose HTTP status follows from its code.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        let code = code.into();
        let status = status_of(&code);
        Self {
            code,
            message: message.into(),
            status,
        }
    }

    pub fn missing(parameter: impl Display) -> Self {
        Self::new(
            "MissingParameter",
            format!("The request must contain the parameter {parameter}"),
        )
    }

    pub fn invalid(value: impl Display, parameter: impl Display, why: impl Display) -> Self {
        Self::new(
            "InvalidParameterValue",
            format!("Value ({value}) for parameter {parameter} is invalid. {why}"),
        )
    }

    pub fn combination(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterCombination", message)
    }
}

/// From the EC2 API error-code reference: server errors are 5xx; a dry run that would succeed is 412.
fn status_of(code: &str) -> u16 {
    match code {
        "DryRunOperation" => 412,
        "AuthFailure" => 401,
        "MissingAuthenticationToken" | "UnauthorizedOperation" => 403,
        "InternalError"
        | "InternalFailure"
        | "InsufficientAddressCapacity"
        | "InsufficientCapacity"
        | "InsufficientInstanceCapacity"
        | "InsufficientVolumeCapacity" => 500,
        "RequestLimitExceeded" | "Unavailable" | "ServiceUnavailable" => 503,
        _ => 400,
    }
}

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn a_client_can_tell_from_the_status_whether_to_repeat() {
        let table = [
            ("InvalidAMIID.NotFound", 400),
            ("DryRunOperation", 412),
            ("InsufficientInstanceCapacity", 500),
            ("RequestLimitExceeded", 503),
        ];
        for (code, status) in table {
            assert_eq!(Error::new(code, "").status, status, "{code}");
        }
    }
}
