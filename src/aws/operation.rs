//! The calls that Goldsmith makes, all of them.

use super::limiter::Budget;

macro_rules! operations {
    ($($(#[$doc:meta])* $operation:ident from $budget:ident,)*) => {
        /// An action of EC2, by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Operation {
            $($(#[$doc])* $operation,)*
            /// Of STS: answers with the account. Needs no permission, and AWS publishes no bucket for it.
            GetCallerIdentity,
        }

        impl Operation {
            /// AWS's name.
            pub(super) fn name(self) -> &'static str {
                match self {
                    $(Self::$operation => stringify!($operation),)*
                    Self::GetCallerIdentity => "GetCallerIdentity",
                }
            }

            /// The bucket that AWS takes it from.
            pub(super) fn budget(self) -> Option<Budget> {
                match self {
                    $(Self::$operation => Some(Budget::$budget),)*
                    Self::GetCallerIdentity => None,
                }
            }

            /// The service, as endpoints name it.
            pub(super) fn service(self) -> &'static str {
                match self {
                    Self::GetCallerIdentity => "sts",
                    _ => "ec2",
                }
            }
        }

        /// What the controller's IAM policy has to allow, as policies write it; `deploy/iam/` says under which conditions.
        pub const ACTIONS: &[&str] = &[$(concat!("ec2:", stringify!($operation)),)*];
    };
}

operations! {
    AttachVolume from Mutate,
    CreateImage from Mutate,
    /// Also asked of whoever launches or creates with tags.
    CreateTags from Tag,
    CreateVolume from Mutate,
    DeleteSnapshot from Retire,
    DeleteTags from Tag,
    DeleteVolume from Mutate,
    DeregisterImage from Retire,
    DescribeImages from Describe,
    DescribeInstanceTypes from Describe,
    DescribeInstances from Describe,
    DescribeSecurityGroups from Describe,
    DescribeSnapshots from Describe,
    DescribeSubnets from Describe,
    DescribeVolumes from Describe,
    DisableImageDeregistrationProtection from Mutate,
    EnableImageDeregistrationProtection from Mutate,
    GetConsoleOutput from Describe,
    ModifyImageAttribute from Retire,
    ModifyInstanceAttribute from Mutate,
    RunInstances from RunInstances,
    TerminateInstances from Retire,
}
