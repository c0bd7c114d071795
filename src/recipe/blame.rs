//! Which field of the recipe AWS complains of, where only AWS can tell that it is wrong.

use crate::world::AwsError;

/// The field of the spec that EC2 complains of when it refuses to make something, as far as its words tell.
pub fn blamed_field(error: &AwsError) -> Option<&'static str> {
    let words = format!("{} {}", error.code, error.message).to_lowercase();
    let has = |some: &[&str]| some.iter().any(|word| words.contains(word));
    match error.operation {
        "RunInstances" if has(&["instanceprofile", "instance profile"]) => Some("spec.build.builder.instanceProfile"),
        "RunInstances" | "CreateVolume" if has(&["kms"]) => Some("spec.build.builder.volumes[].kmsKeyId"),
        "RunInstances" if has(&["group"]) => Some("spec.build.builder.securityGroupIds"),
        "RunInstances" if has(&["subnet"]) => Some("spec.build.builder.subnets"),
        "RunInstances" if has(&["volume", "iops", "throughput", "device"]) => Some("spec.build.builder.volumes"),
        "RunInstances" if has(&["tag"]) => Some("spec.build.builder.tags"),
        "CreateImage" if has(&["tag"]) => Some("spec.image.tags"),
        "CreateImage" if has(&["description"]) => Some("spec.image.description"),
        "CreateImage" if has(&["name"]) => Some("spec.image.name"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::ErrorClass;

    #[test]
    fn what_only_ec2_can_refuse_is_traced_to_the_field() {
        for (operation, code, message, field) in [
            (
                "RunInstances",
                "InvalidParameterValue",
                "Value (builder) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
                Some("spec.build.builder.instanceProfile"),
            ),
            (
                "RunInstances",
                "InvalidParameterDependency",
                "The parameter KmsKeyId requires the parameter Encrypted to be set.",
                Some("spec.build.builder.volumes[].kmsKeyId"),
            ),
            (
                "RunInstances",
                "InvalidBlockDeviceMapping",
                "Invalid device name /dev/xvdzz",
                Some("spec.build.builder.volumes"),
            ),
            (
                "RunInstances",
                "SecurityGroupsPerInstanceLimitExceeded",
                "You have too many",
                Some("spec.build.builder.securityGroupIds"),
            ),
            (
                "CreateImage",
                "InvalidAMIName.Malformed",
                "AMI names must be",
                Some("spec.image.name"),
            ),
            ("RunInstances", "SomethingNew", "nobody knows", None),
            ("DeleteVolume", "InvalidVolume.NotFound", "no volume", None),
        ] {
            let error = AwsError {
                operation,
                class: ErrorClass::Invalid,
                code: code.into(),
                message: message.into(),
                request_id: None,
            };
            assert_eq!(blamed_field(&error), field, "{error}");
        }
    }
}
