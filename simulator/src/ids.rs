//! Ids: their form, and which error says that one is malformed or unknown.

use crate::protocol::Error;

/// A kind of resource that has ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Image,
    Instance,
    KeyPair,
    NetworkInterface,
    SecurityGroup,
    Snapshot,
    Subnet,
    Volume,
    Vpc,
}

const KINDS: [Kind; 9] = [
    Kind::Image,
    Kind::Instance,
    Kind::KeyPair,
    Kind::NetworkInterface,
    Kind::SecurityGroup,
    Kind::Snapshot,
    Kind::Subnet,
    Kind::Volume,
    Kind::Vpc,
];

impl Kind {
    /// The kind an id belongs to by its prefix.
    pub fn of(id: &str) -> Option<Self> {
        let prefix = id.split_once('-')?.0;
        KINDS.into_iter().find(|kind| kind.prefix() == prefix)
    }

    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Image => "ami",
            Kind::Instance => "i",
            Kind::KeyPair => "key",
            Kind::NetworkInterface => "eni",
            Kind::SecurityGroup => "sg",
            Kind::Snapshot => "snap",
            Kind::Subnet => "subnet",
            Kind::Volume => "vol",
            Kind::Vpc => "vpc",
        }
    }

    /// The resource type as tags name it.
    pub fn resource_type(self) -> &'static str {
        match self {
            Kind::Image => "image",
            Kind::Instance => "instance",
            Kind::KeyPair => "key-pair",
            Kind::NetworkInterface => "network-interface",
            Kind::SecurityGroup => "security-group",
            Kind::Snapshot => "snapshot",
            Kind::Subnet => "subnet",
            Kind::Volume => "volume",
            Kind::Vpc => "vpc",
        }
    }

    pub fn not_found(self, id: &str) -> Error {
        let (code, message) = match self {
            Kind::Image => ("InvalidAMIID.NotFound", format!("The image id '[{id}]' does not exist")),
            Kind::Instance => (
                "InvalidInstanceID.NotFound",
                format!("The instance ID '{id}' does not exist"),
            ),
            Kind::KeyPair => ("InvalidKeyPair.NotFound", format!("The key pair '{id}' does not exist")),
            Kind::NetworkInterface => (
                "InvalidNetworkInterfaceID.NotFound",
                format!("The networkInterface ID '{id}' does not exist"),
            ),
            Kind::SecurityGroup => (
                "InvalidGroup.NotFound",
                format!("The security group '{id}' does not exist"),
            ),
            Kind::Snapshot => (
                "InvalidSnapshot.NotFound",
                format!("The snapshot '{id}' does not exist."),
            ),
            Kind::Subnet => (
                "InvalidSubnetID.NotFound",
                format!("The subnet ID '{id}' does not exist"),
            ),
            Kind::Volume => ("InvalidVolume.NotFound", format!("The volume '{id}' does not exist.")),
            Kind::Vpc => ("InvalidVpcID.NotFound", format!("The vpc ID '{id}' does not exist")),
        };
        Error::new(code, message)
    }

    fn malformed(self, id: &str) -> Error {
        let code = match self {
            Kind::Image => "InvalidAMIID.Malformed",
            Kind::Instance => "InvalidInstanceID.Malformed",
            Kind::KeyPair => "InvalidKeyPair.Malformed",
            Kind::NetworkInterface => "InvalidNetworkInterfaceId.Malformed",
            Kind::SecurityGroup => "InvalidGroupId.Malformed",
            Kind::Snapshot => "InvalidSnapshotID.Malformed",
            Kind::Subnet => "InvalidSubnetID.Malformed",
            Kind::Volume => "InvalidVolumeID.Malformed",
            Kind::Vpc => "InvalidVpcID.Malformed",
        };
        Error::new(
            code,
            format!("Invalid id: \"{id}\" (expecting \"{}-...\")", self.prefix()),
        )
    }

    /// Whether an id has this kind's form: the prefix and 8 or 17 hexadecimal digits.
    pub fn check(self, id: &str) -> Result<(), Error> {
        let digits = id
            .strip_prefix(self.prefix())
            .and_then(|rest| rest.strip_prefix('-'))
            .unwrap_or_default();
        let hexadecimal = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hexadecimal && matches!(digits.len(), 8 | 17) {
            Ok(())
        } else {
            Err(self.malformed(id))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn a_malformed_id_is_told_from_an_unknown_one() {
        let table = [
            ("ami-0123456789abcdef0", None),
            ("ami-01234567", None),
            ("ami-0123456789abcdefg", Some("InvalidAMIID.Malformed")),
            ("ami-123", Some("InvalidAMIID.Malformed")),
            ("i-0123456789abcdef0", Some("InvalidAMIID.Malformed")),
            ("", Some("InvalidAMIID.Malformed")),
        ];
        for (id, code) in table {
            assert_eq!(Kind::Image.check(id).err().map(|e| e.code).as_deref(), code, "{id}");
        }
    }
}
