//! What AWS answers when it refuses, classified once, by code.

/// A call to AWS that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
// Without the request's id: it differs every time, and what is shown in a condition must not.
#[error("{operation}: {code}: {message}")]
pub struct AwsError {
    /// As AWS names it, for example `RunInstances`.
    pub operation: &'static str,
    /// What it means for whoever made the call.
    pub class: ErrorClass,
    /// AWS's code; `NoAnswer`, `MalformedAnswer`, `InvalidRequest`, `TooManyImages` and `NoCredentials` are ours.
    pub code: String,
    /// AWS's words, at most [`AWS_MESSAGE_LIMIT`] bytes: text from outside.
    pub message: String,
    /// What AWS's support asks for.
    pub request_id: Option<String>,
}

/// Longest text of AWS's that is kept, in bytes.
pub const AWS_MESSAGE_LIMIT: usize = 1024;

/// What a failed call means for whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// AWS does not know the id. Within minutes of our own create it is only not visible yet: wait, and never create again.
    /// Later it is gone.
    NotFound,
    /// It was there and is no longer.
    Gone,
    /// It is in a state that does not allow the call: look again, then decide.
    WrongState,
    /// The name or the thing is taken already: adopt it if it is ours.
    Exists,
    /// The client token was used for something else, or for an instance that is gone: next attempt.
    Token,
    /// Too many calls, by AWS's measure: back off.
    Throttled,
    /// EC2 has none of this type here now: next type or subnet.
    Capacity,
    /// A limit of the account: needs a person or time.
    Quota,
    /// Something else still uses it: later.
    InUse,
    /// Permissions do not allow it: needs a person; tried again rarely, so that a mended policy heals it.
    Denied,
    /// The request itself is wrong: needs a person, and never repeated unchanged at once.
    Invalid,
    /// AWS is in trouble. Whether the call had an effect is unknown: repeat it with the same token.
    Server,
    /// Our credentials are missing or have expired: they are loaded anew with the next call.
    Credentials,
    /// No answer within the deadline, or no connection. Whether the call had an effect is unknown: repeat it with the same token.
    NoAnswer,
}

impl ErrorClass {
    /// Whether a call that has failed so may have had its effect all the same.
    pub fn leaves_open(self) -> bool {
        matches!(self, Self::Server | Self::NoAnswer)
    }

    /// The class of AWS's error `code`, which came with `message` and the HTTP status `status`.
    pub fn of(code: &str, message: &str, status: u16) -> Self {
        // EC2's word for what belongs to others is its word for a key that it does not know, too.
        if code == "AuthFailure" && message.contains("access credentials") {
            return Self::Credentials;
        }
        [
            (Self::Throttled, is_throttle as fn(&str) -> bool),
            (Self::Capacity, is_capacity),
            (Self::Quota, is_quota),
            (Self::Token, is_token),
            (Self::Exists, is_exists),
            (Self::Gone, is_gone),
            (Self::WrongState, is_wrong_state),
            (Self::InUse, is_in_use),
            (Self::Denied, is_denied),
            (Self::Credentials, is_credentials),
            (Self::NotFound, is_not_found),
            (Self::Server, is_server),
        ]
        .into_iter()
        .find_map(|(class, holds)| holds(code).then_some(class))
        .unwrap_or(if status >= 500 { Self::Server } else { Self::Invalid })
    }

    /// One word, for a label of a metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::WrongState => "wrong_state",
            Self::Exists => "exists",
            Self::Token => "token",
            Self::Throttled => "throttled",
            Self::Capacity => "capacity",
            Self::Quota => "quota",
            Self::InUse => "in_use",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::Server => "server",
            Self::Credentials => "credentials",
            Self::NoAnswer => "no_answer",
        }
    }

    /// Whether what was to be removed is no longer there.
    pub fn is_absent(self) -> bool {
        matches!(self, Self::NotFound | Self::Gone)
    }
}

fn is_throttle(code: &str) -> bool {
    matches!(
        code,
        "RequestLimitExceeded"
            | "Throttling"
            | "ThrottlingException"
            | "SnapshotCreationPerVolumeRateExceeded"
            | "ConcurrentTagAccess"
    )
}

fn is_capacity(code: &str) -> bool {
    matches!(
        code,
        "InsufficientInstanceCapacity"
            | "InsufficientFreeAddressesInSubnet"
            | "Unsupported"
            | "MaxSpotInstanceCountExceeded"
            | "VcpuLimitExceeded"
    )
}

fn is_quota(code: &str) -> bool {
    code.ends_with("LimitExceeded") && !is_throttle(code) && !is_capacity(code)
}

fn is_token(code: &str) -> bool {
    matches!(code, "IdempotentParameterMismatch" | "IdempotentInstanceTerminated")
}

fn is_exists(code: &str) -> bool {
    code.ends_with(".Duplicate") || code.ends_with(".AlreadyExistsException")
}

fn is_gone(code: &str) -> bool {
    code == "InvalidAMIID.Unavailable"
}

fn is_wrong_state(code: &str) -> bool {
    matches!(code, "IncorrectInstanceState" | "IncorrectState")
}

fn is_in_use(code: &str) -> bool {
    code.ends_with(".InUse") || matches!(code, "VolumeInUse" | "DependencyViolation" | "ResourceInUse")
}

fn is_denied(code: &str) -> bool {
    matches!(
        code,
        // AuthFailure is EC2's word for images and snapshots that belong to others, too.
        "UnauthorizedOperation"
            | "AccessDenied"
            | "AccessDeniedException"
            | "AuthFailure"
            | "Blocked"
            | "OperationNotPermitted"
            | "OptInRequired"
    )
}

fn is_credentials(code: &str) -> bool {
    matches!(
        code,
        "RequestExpired" | "ExpiredToken" | "ExpiredTokenException" | "InvalidClientTokenId" | "NoCredentials"
    )
}

fn is_not_found(code: &str) -> bool {
    code.ends_with(".NotFound")
}

fn is_server(code: &str) -> bool {
    matches!(
        code,
        "InternalError" | "InternalFailure" | "ServiceUnavailable" | "Unavailable"
    )
}

#[cfg(test)]
mod tests {
    use super::ErrorClass::{self, *};

    #[test]
    fn every_code_has_one_class() {
        for (code, status, class) in [
            ("InvalidAMIID.NotFound", 400, NotFound),
            ("InvalidInstanceID.NotFound", 400, NotFound),
            ("InvalidSnapshot.NotFound", 400, NotFound),
            ("InvalidVolume.NotFound", 400, NotFound),
            ("InvalidSubnetID.NotFound", 400, NotFound),
            ("InvalidGroup.NotFound", 400, NotFound),
            ("InvalidAMIID.Unavailable", 400, Gone),
            ("IncorrectInstanceState", 400, WrongState),
            ("IncorrectState", 400, WrongState),
            ("InvalidAMIName.Duplicate", 400, Exists),
            ("InvalidLaunchTemplateName.AlreadyExistsException", 400, Exists),
            ("IdempotentParameterMismatch", 400, Token),
            ("IdempotentInstanceTerminated", 400, Token),
            ("InsufficientInstanceCapacity", 500, Capacity),
            ("InsufficientFreeAddressesInSubnet", 400, Capacity),
            ("Unsupported", 400, Capacity),
            ("MaxSpotInstanceCountExceeded", 400, Capacity),
            ("VcpuLimitExceeded", 400, Capacity),
            ("RequestLimitExceeded", 503, Throttled),
            ("Throttling", 400, Throttled),
            ("ThrottlingException", 400, Throttled),
            ("SnapshotCreationPerVolumeRateExceeded", 400, Throttled),
            ("ConcurrentTagAccess", 400, Throttled),
            ("ResourceLimitExceeded", 400, Quota),
            ("SnapshotLimitExceeded", 400, Quota),
            ("PendingSnapshotLimitExceeded", 400, Quota),
            ("ConcurrentSnapshotLimitExceeded", 400, Quota),
            ("InstanceLimitExceeded", 400, Quota),
            ("MaxTemplateVersionLimitExceeded", 400, Quota),
            ("InvalidSnapshot.InUse", 400, InUse),
            ("VolumeInUse", 400, InUse),
            ("DependencyViolation", 400, InUse),
            ("ResourceInUse", 400, InUse),
            ("UnauthorizedOperation", 403, Denied),
            ("AccessDenied", 403, Denied),
            ("AuthFailure", 401, Denied),
            ("OperationNotPermitted", 400, Denied),
            ("OptInRequired", 401, Denied),
            ("InvalidParameterValue", 400, Invalid),
            ("ValidationError", 400, Invalid),
            ("InvalidUserData.Malformed", 400, Invalid),
            ("InternalError", 500, Server),
            ("InternalFailure", 500, Server),
            ("ServiceUnavailable", 503, Server),
            ("Unavailable", 503, Server),
            ("RequestExpired", 400, Credentials),
            ("ExpiredToken", 400, Credentials),
            // What nobody knows yet goes by its status.
            ("SomethingNew", 400, Invalid),
            ("SomethingNew", 500, Server),
        ] {
            assert_eq!(ErrorClass::of(code, "", status), class, "{code} with status {status}");
        }
        let unknown_key = "AWS was not able to validate the provided access credentials";
        assert_eq!(ErrorClass::of("AuthFailure", unknown_key, 401), Credentials);
    }
}
