//! From the SDK's errors to ours.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId;
use aws_smithy_runtime_api::client::result::ConnectorError;

use super::operation::Operation;
use crate::api::truncated;
use crate::world::{AWS_MESSAGE_LIMIT, AwsError, ErrorClass};

/// What `error` means for the one who called `operation`.
pub(super) fn from_sdk<E>(operation: Operation, error: SdkError<E>) -> AwsError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match &error {
        SdkError::ServiceError(answer) => {
            let meta = answer.err().meta();
            let status = answer.raw().status().as_u16();
            let code = meta.code().unwrap_or("Unknown");
            let message = meta.message().unwrap_or("AWS gave no message");
            AwsError {
                operation: operation.name(),
                class: ErrorClass::of(code, message, status),
                code: bounded(code),
                message: bounded(message),
                request_id: meta.request_id().map(bounded),
            }
        }
        // Nothing was sent.
        SdkError::ConstructionFailure(_) => ours(operation, ErrorClass::Invalid, "InvalidRequest", &chain(&error)),
        SdkError::DispatchFailure(failure) if failure.as_connector_error().is_some_and(lacks_credentials) => {
            ours(operation, ErrorClass::Credentials, "NoCredentials", &chain(&error))
        }
        // A connection may break, and an answer may be cut short, after AWS has done what was asked.
        _ => ours(operation, ErrorClass::NoAnswer, "NoAnswer", &chain(&error)),
    }
}

/// An answer in which something is missing that AWS always sends.
pub(super) fn malformed(operation: Operation, what: impl std::fmt::Display) -> AwsError {
    ours(operation, ErrorClass::Server, "MalformedAnswer", &what)
}

/// A search that finds more images than anyone wants to choose from.
pub(super) fn too_many_images(limit: usize) -> AwsError {
    let what = format!("it finds more than {limit} images; a longer part of the name, or fewer owners, find fewer");
    ours(Operation::DescribeImages, ErrorClass::Invalid, "TooManyImages", &what)
}

fn ours(operation: Operation, class: ErrorClass, code: &str, message: &dyn std::fmt::Display) -> AwsError {
    let message = bounded(&message.to_string());
    AwsError {
        operation: operation.name(),
        class,
        code: code.to_owned(),
        message,
        request_id: None,
    }
}

fn lacks_credentials(error: &ConnectorError) -> bool {
    sources(error).any(|error| error.is::<CredentialsError>())
}

/// `error` and what lies beneath it, as one sentence: the SDK's own words say only that something failed.
fn chain(error: &(dyn Error + 'static)) -> String {
    sources(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn bounded(text: &str) -> String {
    truncated(text, AWS_MESSAGE_LIMIT).to_owned()
}
