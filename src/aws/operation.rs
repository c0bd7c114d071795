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
    EnableImageDeregistrationProtection from Mutate,
    GetConsoleOutput from Describe,
    ModifyImageAttribute from Retire,
    ModifyInstanceAttribute from Mutate,
    RunInstances from RunInstances,
    TerminateInstances from Retire,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::ACTIONS;
    use crate::api::Reason;
    use crate::world::{CLUSTER, CONTENT_HASH, Claim, FINISHED, Installation, MANAGED_BY, PROVEN, Role, SEAL, SOURCE};

    #[test]
    fn the_policy_for_builds_allows_what_the_controller_calls_and_nothing_else() {
        let policy: Value = serde_json::from_str(include_str!("../../deploy/iam/build.json")).unwrap();
        let mut allowed = BTreeSet::new();
        for statement in policy["Statement"].as_array().unwrap() {
            match &statement["Action"] {
                Value::String(action) => drop(allowed.insert(action.as_str())),
                actions => allowed.extend(actions.as_array().unwrap().iter().filter_map(Value::as_str)),
            }
        }
        assert!(
            allowed.remove("iam:PassRole"),
            "asked of whoever launches with an instance profile"
        );
        assert_eq!(allowed, ACTIONS.iter().copied().collect());
    }

    #[test]
    fn each_call_that_changes_something_has_the_reason_that_it_was_refused() {
        let calls = ACTIONS.iter().filter_map(|action| action.strip_prefix("ec2:"));
        for call in calls.filter(|call| !["Describe", "Get"].iter().any(|read| call.starts_with(read))) {
            assert_eq!(Reason::refused(call).as_str(), format!("{call}Refused"));
        }
    }

    #[test]
    fn whatever_changes_something_is_bound_to_what_is_ours() {
        let policy: Value = serde_json::from_str(include_str!("../../deploy/iam/build.json")).unwrap();
        for statement in policy["Statement"].as_array().unwrap() {
            let name = statement["Sid"].as_str().unwrap();
            let equals = &statement["Condition"]["StringEquals"];
            let ours = ["aws:RequestTag", "aws:ResourceTag"]
                .iter()
                .any(|key| equals[format!("{key}/{MANAGED_BY}")] == "INSTALLATION");
            let resources = statement["Resource"].to_string();
            match name {
                // Nothing is changed.
                "Look" => {
                    let actions = statement["Action"].as_array().unwrap();
                    assert!(
                        actions
                            .iter()
                            .all(|action| action.as_str().unwrap().starts_with("ec2:Describe"))
                    );
                }
                // Others' images and networks. Grants say which; what is launched has to be ours by the next statement.
                "LaunchFromWhatIsThere" => {
                    assert_eq!(statement["Action"], "ec2:RunInstances");
                    let born = ["instance/", "volume/", "network-interface/", "\"*\""];
                    assert!(!born.iter().any(|kind| resources.contains(kind)), "{resources}");
                }
                "GiveInstancesTheirProfiles" => {
                    assert_eq!(statement["Action"], "iam:PassRole");
                    assert_eq!(equals["iam:PassedToService"], "ec2.amazonaws.com");
                    assert!(!resources.contains('*'), "{resources}");
                }
                _ => assert!(ours, "{name} is not bound to our tag"),
            }
            if statement["Action"] == "ec2:CreateTags" {
                let at_birth = equals["ec2:CreateAction"].is_array();
                let keys = &statement["Condition"]["ForAllValues:StringNotEquals"]["aws:TagKeys"];
                let keeps = [MANAGED_BY, CLUSTER]
                    .iter()
                    .all(|key| keys.as_array().is_some_and(|keys| keys.iter().any(|kept| kept == key)));
                assert!(at_birth || keeps, "{name} lets what is ours become another's");
            }
        }
    }

    #[test]
    fn the_tags_that_are_reserved_are_those_that_things_are_found_by() {
        let policy: Value = serde_json::from_str(include_str!("../../deploy/iam/reserve-tags.json")).unwrap();
        let reserved = policy["Statement"][0]["Condition"]["ForAnyValue:StringLike"]["aws:TagKeys"].as_str();
        let prefix = reserved.and_then(|keys| keys.strip_suffix('*')).unwrap();
        let claim = Claim {
            owner: "platform/web".into(),
            owner_uid: "uid".into(),
            build: 1,
            attempt: 1,
            role: Role::Image,
        };
        let installation = Installation {
            name: "example".into(),
            cluster: "cluster".into(),
        };
        let tags = claim.tags(&installation);
        let others = [CONTENT_HASH, SOURCE, PROVEN, FINISHED, SEAL];
        for key in tags.keys().map(String::as_str).chain(others) {
            assert!(key.starts_with(prefix), "{key} is not reserved");
        }
    }
}
