//! From the SDK's errors to ours.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId;
use aws_smithy_runtime_api::client::result::ConnectorError;

use super::operation::Operation;
use crate::world::{AwsError, ErrorClass, MESSAGE_LIMIT};

/// What `error` means for the one who called `operation`.
pub(super) fn from_sdk<E>(operation: Operation, error: SdkError<E>) -> AwsError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match &error {
        SdkError::ServiceError(answer) => {
            let meta = answer.err().meta();
            let status = answer.raw().status().as_u16();
            let code = meta.code().unwrap_or("Unknown");
            AwsError {
                operation: operation.name(),
                class: ErrorClass::of(code, status),
                code: bounded(code, MESSAGE_LIMIT),
                message: bounded(meta.message().unwrap_or("AWS gave no message"), MESSAGE_LIMIT),
                request_id: meta.request_id().map(|id| bounded(id, MESSAGE_LIMIT)),
            }
        }
        // Nothing was sent.
        SdkError::ConstructionFailure(_) => ours(
            operation,
            ErrorClass::Invalid,
            "InvalidRequest",
            &DisplayErrorContext(&error),
        ),
        SdkError::DispatchFailure(failure) if failure.as_connector_error().is_some_and(lacks_credentials) => ours(
            operation,
            ErrorClass::Credentials,
            "NoCredentials",
            &DisplayErrorContext(&error),
        ),
        // A connection may break, and an answer may be cut short, after AWS has done what was asked.
        _ => ours(
            operation,
            ErrorClass::NoAnswer,
            "NoAnswer",
            &DisplayErrorContext(&error),
        ),
    }
}

/// An answer in which something is missing that AWS always sends.
pub(super) fn malformed(operation: Operation, what: impl std::fmt::Display) -> AwsError {
    ours(operation, ErrorClass::Server, "MalformedAnswer", &what)
}

fn ours(operation: Operation, class: ErrorClass, code: &str, message: &dyn std::fmt::Display) -> AwsError {
    let message = bounded(&message.to_string(), MESSAGE_LIMIT);
    AwsError {
        operation: operation.name(),
        class,
        code: code.to_owned(),
        message,
        request_id: None,
    }
}

fn lacks_credentials(error: &ConnectorError) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<CredentialsError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// The first `limit` bytes of `text`, cut between characters.
fn bounded(text: &str, limit: usize) -> String {
    text[..text.floor_char_boundary(limit)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = "ü".repeat(MESSAGE_LIMIT);
        assert_eq!(bounded(&long, MESSAGE_LIMIT - 1).len(), MESSAGE_LIMIT - 2);
        assert_eq!(bounded("short", MESSAGE_LIMIT), "short");
    }
}
