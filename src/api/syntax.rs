//! The syntax of AWS's ids and names, as schemas of the fields that hold them as plain strings.
//!
//! The types here have no values: a field names one by `#[schemars(with = "Vec<SubnetId>")]`, and each element is then
//! checked, and complained of, at its own path.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

macro_rules! syntax {
    ($(#[$doc:meta])* $name:ident, at most $length:literal characters, $pattern:literal, $message:literal) => {
        $(#[$doc])*
        pub(super) enum $name {}

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "maxLength": $length,
                    "x-kubernetes-validations": [{"rule": concat!("self.matches(r'''", $pattern, "''')"), "message": $message}],
                })
            }
        }
    };
}

syntax!(
    /// Name of an account in the controller's configuration: a DNS label, as Kubernetes' own names.
    AccountName, at most 63 characters, "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
    "must be the name of an account in the controller's configuration: lower-case letters, digits and inner dashes"
);
syntax!(
    Region, at most 32 characters, "^[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}$",
    "must be the name of an AWS region, such as eu-central-1 (a zone has a letter more: leave it out)"
);
syntax!(
    ImageId, at most 32 characters, "^ami-([0-9a-f]{8}|[0-9a-f]{17})$",
    "must be the id of an image, such as ami-0123456789abcdef0: ami- and 8 or 17 hexadecimal digits in lower case"
);
syntax!(
    SubnetId, at most 32 characters, "^subnet-([0-9a-f]{8}|[0-9a-f]{17})$",
    "must be the id of a subnet, such as subnet-0123456789abcdef0: subnet- and 8 or 17 hexadecimal digits in lower case"
);
syntax!(
    SecurityGroupId, at most 32 characters, "^sg-([0-9a-f]{8}|[0-9a-f]{17})$",
    "must be the id of a security group, not its name, such as sg-0123456789abcdef0: sg- and 8 or 17 hexadecimal digits in lower case"
);
syntax!(
    InstanceType, at most 32 characters, "^[a-z][a-z0-9-]*[.][a-z0-9-]+$",
    "must be an EC2 instance type, such as m7i.large"
);
syntax!(
    /// IAM's rule for names; 128 is its limit for instance profiles.
    InstanceProfileName, at most 128 characters, "^[A-Za-z0-9_+=,.@-]+$",
    "must be the name of an instance profile (letters, digits and _+=,.@-), without its path, and not its ARN"
);
syntax!(
    KmsKeyId, at most 512 characters,
    "^(alias/[A-Za-z0-9/_-]+|arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key/[A-Za-z0-9-]+|alias/[A-Za-z0-9/_-]+)|mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$",
    "must be a KMS key: its id, its ARN, alias/NAME or the ARN of an alias"
);
syntax!(
    /// DescribeImages' `Owners`.
    Owner, at most 32 characters, "^([0-9]{12}|self|amazon|aws-marketplace|aws-backup-vault)$",
    "must be an account id of 12 digits (in quotes), or self, amazon, aws-marketplace or aws-backup-vault"
);
syntax!(
    /// Names that EC2 lets block devices have in a mapping.
    DeviceName, at most 16 characters, "^/dev/((sd[a-z]|xvd[a-z])([1-9]|1[0-5])?|xvd[a-d][a-z])$",
    "must be a device name as block device mappings have it, such as /dev/xvda or /dev/sda1, not the name inside the instance (/dev/nvme0n1)"
);
syntax!(
    /// The syntax of label values: a name becomes a key in the build's ConfigMap and a word in records on the console.
    StepName, at most 63 characters, "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
    "must be at most 63 letters, digits and inner . _ -"
);
syntax!(
    VariableName, at most 128 characters, "^[A-Za-z_][A-Za-z0-9_]*$",
    "must be the name of an environment variable: letters, digits and _, and no digit first"
);
syntax!(
    /// Absolute and in its simplest form, so that two spellings of one path can't hide from each other.
    FilePath, at most 1024 characters, "^(/([^/.\\x00-\\x1f\\x7f]|[.][^/.\\x00-\\x1f\\x7f]|[.][.][^/\\x00-\\x1f\\x7f])[^/\\x00-\\x1f\\x7f]*)+$",
    "must be the absolute path of a file, such as /etc/nginx/conf.d/app.conf, without '.' or '..' as a part, a doubled '/' or one at the end"
);
syntax!(
    /// As [`FilePath`], and the same as a pattern of `find` and of the shell.
    CleanupPath, at most 1024 characters, "^(/([^/.*?\\[\\\\\\x00-\\x20\\x7f]|[.][^/.*?\\[\\\\\\x00-\\x20\\x7f]|[.][.][^/*?\\[\\\\\\x00-\\x20\\x7f])[^/*?\\[\\\\\\x00-\\x20\\x7f]*)+$",
    "must be the absolute path of a file or directory, such as /opt/app/cache, without '.' or '..' as a part, a doubled '/' or one at the end, and without blanks, *, ?, [ and backslash"
);
syntax!(
    /// Sent to guests one a line, with blanks around it gone.
    Expression, at most 256 characters,
    "^([^\\x00-\\x20\\x7f\\\\]|\\\\[^\\x00-\\x201-9\\x7f])(([^\\x00-\\x1f\\x7f\\\\]|\\\\[^\\x00-\\x1f1-9\\x7f])*([^\\x00-\\x20\\x7f\\\\]|\\\\[^\\x00-\\x201-9\\x7f]))?$",
    "must be an extended regular expression in one line, without back-references (\\1), control characters and blanks around it ([[:blank:]] is one that stays)"
);
syntax!(
    FileMode, at most 16 characters, "^[0-7]{3,4}$",
    "must be three or four octal digits in quotes, such as \"0644\""
);
syntax!(
    FileOwner, at most 65 characters, "^[A-Za-z0-9_][A-Za-z0-9_.-]*:[A-Za-z0-9_][A-Za-z0-9_.-]*$",
    "must be user:group, such as root:root"
);
syntax!(
    HttpPath, at most 1024 characters, "^/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*$",
    "must begin with / and be a path as in a URL, such as /healthz, with other characters percent-encoded; host and port are not part of it"
);

/// Tags that are put on what is made. 20 of EC2's 50 a resource are kept for those that Goldsmith puts itself.
pub(super) enum Tags {}

impl JsonSchema for Tags {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Tags".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": 30,
            "additionalProperties": {"type": "string", "maxLength": 256},
            "x-kubernetes-validations": [
                {
                    "rule": "self.all(key, key.size() >= 1 && key.size() <= 128)",
                    "message": "must have keys of 1 to 128 characters, as EC2 demands",
                },
                {
                    "rule": r"self.all(key, !(key + self[key]).matches(r'[\x00-\x1f\x7f]'))",
                    "message": "must have keys and values without line breaks and other control characters, which EC2's answers do not carry unchanged: remove them",
                },
                {
                    "rule": "self.all(key, !key.lowerAscii().startsWith('aws:') && !key.lowerAscii().startsWith('goldsmith.dev/'))",
                    "message": "must not have keys that begin with aws: (reserved by AWS) or goldsmith.dev/ (put by the controller): choose another prefix",
                },
            ],
        })
    }
}

/// Tags that something must have, all of them. Whether values may have wildcards, the field says.
pub(super) enum TagFilter {}

impl JsonSchema for TagFilter {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TagFilter".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": 20,
            "additionalProperties": {"type": "string", "maxLength": 256},
            "x-kubernetes-validations": [{
                "rule": "self.all(key, key.size() >= 1 && key.size() <= 128)",
                "message": "must have keys of 1 to 128 characters, as EC2's tags have",
            }],
        })
    }
}
