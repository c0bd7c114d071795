//! Whether the builder's volumes fit the source image: what a volume does not say, the source's device says for it.

use super::record::Failure;
use crate::api::{ImageRecipeSpec, Reason, Volume, VolumeType};
use crate::world::{BlockDevice, Image};

/// Everything about `spec.build.builder.volumes` that EC2 would refuse at launch.
pub(super) fn fit(spec: &ImageRecipeSpec, source: &Image) -> Result<(), Failure> {
    spec.build.builder.volumes.iter().try_for_each(|volume| {
        let from_source = source
            .block_devices
            .iter()
            .find(|device| device.device_name == volume.device);
        keeps_the_snapshot(volume, from_source, source)?;
        suits_its_type(volume, from_source, source)
    })
}

fn refuse<T>(reason: Reason, volume: &Volume, what: String) -> Result<T, Failure> {
    let message = format!("spec.build.builder.volumes: {} {what}", volume.device);
    Err(Failure::new(reason, message))
}

fn keeps_the_snapshot(volume: &Volume, from_source: Option<&BlockDevice>, source: &Image) -> Result<(), Failure> {
    if let (Some(size), Some(least)) = (volume.size_gib, from_source.and_then(|device| device.size_gib))
        && size < least
    {
        let what = format!(
            "has {size} GiB, and its snapshot in {} needs at least {least}; ask for {least} or more",
            source.id
        );
        return refuse(Reason::VolumeTooSmall, volume, what);
    }
    if from_source.is_none() && volume.size_gib.is_none() {
        let what = format!(
            "is no device of {} (its root is {}); name one that is, or give the new volume a sizeGiB",
            source.id,
            source.root_device_name.as_deref().unwrap_or("unknown")
        );
        return refuse(Reason::VolumeWithoutSize, volume, what);
    }
    if volume.encrypted == Some(false) && from_source.and_then(|device| device.encrypted) == Some(true) {
        let what = format!(
            "is encrypted in {}, and EC2 cannot take that back; leave encrypted out",
            source.id
        );
        return refuse(Reason::VolumeEncrypted, volume, what);
    }
    Ok(())
}

/// The CRD's rules see this only where the recipe gives type and size both.
fn suits_its_type(volume: &Volume, from_source: Option<&BlockDevice>, source: &Image) -> Result<(), Failure> {
    // A volume of which nobody says the type is gp2.
    let inherited = from_source.map_or(Some("gp2"), |device| device.volume_type.as_deref());
    let named = volume.volume_type.map(VolumeType::as_str);
    let size = volume.size_gib.or(from_source.and_then(|device| device.size_gib));
    let (Some(name), Some(size)) = (named.or(inherited), size) else {
        return Ok(());
    };
    let Some((least, most, iops_per_gib)) = limits(name) else {
        return Ok(());
    };
    let whence = match (named, from_source) {
        (None, Some(_)) => format!(", its type in {},", source.id),
        (None, None) => ", which it is without a type,".to_owned(),
        (Some(_), _) => String::new(),
    };
    if !(least..=most).contains(&size) {
        let what = format!(
            "has {size} GiB, and {name}{whence} takes {least} to {most}; ask for another sizeGiB, or set another type"
        );
        return refuse(Reason::VolumeUnsupported, volume, what);
    }
    let allowed = size
        .saturating_mul(iops_per_gib)
        .max(if name == "gp3" { 3000 } else { 0 });
    match volume.iops {
        Some(iops) if iops > allowed => {
            let what = format!(
                "asks for {iops} iops, and {name} takes at most {iops_per_gib} per GiB, so {allowed} for the {size} GiB that it has; \
                 ask for less, or for a larger sizeGiB"
            );
            refuse(Reason::VolumeUnsupported, volume, what)
        }
        _ => Ok(()),
    }
}

/// Smallest and largest size in GiB, and IOPS per GiB, of EBS volume types.
///
/// Rule: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html>
fn limits(volume_type: &str) -> Option<(i32, i32, i32)> {
    match volume_type {
        "gp2" => Some((1, 16_384, 0)),
        "gp3" => Some((1, 65_536, 500)),
        "io1" => Some((4, 16_384, 50)),
        "io2" => Some((4, 65_536, 1000)),
        "standard" => Some((1, 1024, 0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::world::{ImageState, Tags};

    fn source(volume_type: &str) -> Image {
        Image {
            id: "ami-0a".parse().expect("an id"),
            name: "base".into(),
            description: None,
            owner_id: "137112412989".into(),
            owner_alias: None,
            state: ImageState::Available,
            state_reason: None,
            architecture: "x86_64".into(),
            root_device_type: "ebs".into(),
            root_device_name: Some("/dev/xvda".into()),
            virtualization_type: "hvm".into(),
            platform: None,
            product_codes: Vec::new(),
            block_devices: vec![BlockDevice {
                device_name: "/dev/xvda".into(),
                snapshot_id: None,
                size_gib: Some(8),
                volume_type: Some(volume_type.into()),
                encrypted: Some(true),
            }],
            creation_time: None,
            source_instance_id: None,
            public: true,
            imds_v2_required: false,
            deregistration_protection: String::new(),
            tags: Tags::new(),
        }
    }

    fn spec(volume: &serde_json::Value) -> ImageRecipeSpec {
        let spec = json!({"region": "eu-central-1", "build": {"source": {"ids": {"x86_64": "ami-0a"}}, "builder": {
            "instanceTypes": ["m7i.large"], "subnets": {"ids": ["subnet-0a"]}, "securityGroupIds": ["sg-0a"],
            "volumes": [volume]}}});
        serde_json::from_value(spec).expect("a spec")
    }

    #[test]
    fn what_ec2_would_refuse_at_launch_is_refused_before_with_the_way_out() {
        for (volume_type, volume, reason, words) in [
            (
                "gp3",
                json!({"device": "/dev/xvda", "sizeGiB": 7}),
                Reason::VolumeTooSmall,
                "at least 8",
            ),
            (
                "gp3",
                json!({"device": "/dev/sda1", "type": "gp3"}),
                Reason::VolumeWithoutSize,
                "its root is /dev/xvda",
            ),
            (
                "gp3",
                json!({"device": "/dev/xvda", "encrypted": false}),
                Reason::VolumeEncrypted,
                "leave encrypted out",
            ),
            (
                "gp2",
                json!({"device": "/dev/xvda", "sizeGiB": 20_000}),
                Reason::VolumeUnsupported,
                "gp2, its type in ami-0a, takes 1 to 16384",
            ),
            (
                "gp3",
                json!({"device": "/dev/sdf", "sizeGiB": 20_000}),
                Reason::VolumeUnsupported,
                "which it is without a type",
            ),
            (
                "gp3",
                json!({"device": "/dev/xvda", "type": "io1", "iops": 500}),
                Reason::VolumeUnsupported,
                "400 for the 8 GiB",
            ),
            (
                "gp3",
                json!({"device": "/dev/xvda", "type": "gp3", "iops": 4001}),
                Reason::VolumeUnsupported,
                "4000 for the 8 GiB",
            ),
        ] {
            let failure = fit(&spec(&volume), &source(volume_type)).expect_err(words);
            assert_eq!(failure.reason, reason, "{volume}");
            let message = &failure.message;
            assert!(
                message.starts_with("spec.build.builder.volumes: /dev/") && message.contains(words),
                "{message}"
            );
        }
    }

    #[test]
    fn what_ec2_takes_is_not_refused() {
        for (volume_type, volume) in [
            ("gp3", json!({"device": "/dev/xvda", "sizeGiB": 65_536})),
            (
                "gp2",
                json!({"device": "/dev/xvda", "type": "gp3", "sizeGiB": 65_536, "iops": 80_000}),
            ),
            ("gp3", json!({"device": "/dev/xvda", "type": "gp3", "iops": 4000})),
            (
                "gp3",
                json!({"device": "/dev/sdf", "type": "gp3", "sizeGiB": 1, "iops": 3000}),
            ),
            ("io1", json!({"device": "/dev/xvda", "type": "io2", "iops": 8000})),
            ("a-type-of-tomorrow", json!({"device": "/dev/xvda", "sizeGiB": 9})),
        ] {
            assert_eq!(fit(&spec(&volume), &source(volume_type)), Ok(()), "{volume}");
        }
    }
}
