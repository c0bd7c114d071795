//! Reasons of conditions: a closed set, so that alerts and pipelines can rely on them.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($name:ident,)*) => {
        /// Why a condition is as it is. `docs/guides/reading-the-status.md` says of each what causes it and what to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "that guide has a row for each, or a test fails")]
        pub enum Reason {
            $($name,)*
        }

        impl Reason {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As a condition has it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

reasons! {
    // All is well, or on its way.
    BuildStarted,
    Building,
    BuiltUntested,
    CreatingImage,
    Deleting,
    Finishing,
    ImageProven,
    InsufficientCapacity,
    Launching,
    Proving,
    Rebuilding,
    Reconciling,
    Superseded,
    Suspended,
    Unknown,
    // The recipe or the configuration has to change.
    ArchitectureMismatch,
    InspectorImageNotFound,
    InstanceTypeNotFound,
    InstanceTypeUnsupported,
    InvalidImageName,
    InvalidSpec,
    NotGranted,
    OwnerNotAllowed,
    RecipeTooLarge,
    SecurityGroupMismatch,
    SecurityGroupNotFound,
    SourceNotFound,
    SourceSearchRefused,
    SourceUnavailable,
    SourceUnsupported,
    SubnetNotFound,
    UserDataRefused,
    VolumeEncrypted,
    VolumeTooSmall,
    VolumeUnsupported,
    VolumeWithoutSize,
    // An attempt failed.
    AttemptFailed,
    BuildTimedOut,
    BuilderFailed,
    BuilderGone,
    BuilderSilent,
    BuilderStopped,
    ImageFailed,
    ImageGone,
    NameTaken,
    StepFailed,
    // The proof failed.
    BootDeadlineExceeded,
    BootErrors,
    CheckFailed,
    CleanupIncomplete,
    FileChanged,
    ForbiddenContentFound,
    InspectionTimedOut,
    InspectorFailed,
    InspectorGone,
    ManifestMismatch,
    ManifestMissing,
    ProofUnsupported,
    SecretFound,
    TestInstanceFailed,
    TestInstanceGone,
    // AWS refuses.
    AWSUnavailable,
    ConsoleUnavailable,
    Denied,
    QuotaExceeded,
    AttachVolumeRefused,
    CreateImageRefused,
    CreateTagsRefused,
    CreateVolumeRefused,
    DeleteSnapshotRefused,
    DeleteTagsRefused,
    DeleteVolumeRefused,
    DeregisterImageRefused,
    EnableImageDeregistrationProtectionRefused,
    ModifyImageAttributeRefused,
    ModifyInstanceAttributeRefused,
    RunInstancesRefused,
    TerminateInstancesRefused,
    // Something in the cluster is in the way.
    RecordNameTaken,
    RecordRefused,
    RecordUnreadable,
    RecordsDenied,
}

impl Reason {
    /// What is written in a status; none for a word that no condition of ours has.
    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }

    /// AWS does not take the request as it is.
    pub fn refused(operation: &str) -> Self {
        Self::read(&format!("{operation}Refused")).unwrap_or(Self::InvalidSpec)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_explained() {
        let guide = include_str!("../../docs/guides/reading-the-status.md");
        let (_, reasons) = guide.split_once("\n## Reasons").expect("there is such a section");
        let reasons = reasons.split("\n## ").next().expect("it has a text");
        let verbs = [
            "Attach",
            "Create",
            "Delete",
            "Deregister",
            "Enable",
            "Modify",
            "Run",
            "Terminate",
        ];
        let explained = |reason: &&Reason| {
            let text = reason.as_str();
            let of_a_call = text.ends_with("Refused") && verbs.iter().any(|verb| text.starts_with(verb));
            match of_a_call {
                true => reasons.contains("`<Call>Refused`"),
                false => reasons.contains(&format!("`{reason}`")),
            }
        };
        let silent: Vec<_> = Reason::ALL.iter().filter(|reason| !explained(reason)).collect();
        assert_eq!(silent, Vec::<&Reason>::new());
    }

    #[test]
    fn a_reason_is_read_back_as_it_was_written() {
        for reason in Reason::ALL {
            assert_eq!(Reason::read(reason.as_str()), Some(*reason));
            assert_eq!(serde_json::to_value(reason).ok(), Some(reason.as_str().into()));
        }
        assert_eq!(Reason::read("NoSuchThing"), None);
    }
}
