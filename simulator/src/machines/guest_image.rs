//! The disks that guests boot from in the beginning, made by `tools/guests/make`.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::directory::cache;
use super::disks::Layer;
use crate::control::NewImage;
use crate::disk::Layout;
use crate::engine::Simulator;

/// What makes the disk of the tiny guest, in the order in which `tools/guests/make` reads it.
const TINY: &[&[u8]] = &[
    include_bytes!("../../../tools/guests/make"),
    include_bytes!("../../../tools/guests/tiny/boot"),
    include_bytes!("../../../tools/guests/tiny/cloud"),
    include_bytes!("../../../tools/guests/tiny/group"),
    include_bytes!("../../../tools/guests/tiny/hosts"),
    include_bytes!("../../../tools/guests/tiny/inittab"),
    include_bytes!("../../../tools/guests/tiny/os-release"),
    include_bytes!("../../../tools/guests/tiny/passwd"),
    include_bytes!("../../../tools/guests/tiny/power-button"),
    include_bytes!("../../../tools/guests/tiny/recipe"),
];

/// Of Debian 12.
const DEBIAN: &[&[u8]] = &[
    include_bytes!("../../../tools/guests/make"),
    include_bytes!("../../../tools/guests/debian-12/cloud.cfg"),
    include_bytes!("../../../tools/guests/debian-12/recipe"),
];

/// How the names of Debian's own images begin.
const DEBIAN_NAMES: &str = "debian-12-";
/// The account that Debian publishes its images from.
const DEBIAN_OWNER: &str = "136693071363";

/// The disks of the images that the seeded account has.
#[derive(Debug)]
pub struct GuestImages {
    tiny: Arc<Layer>,
    debian: Option<Arc<Layer>>,
}

impl GuestImages {
    /// The tiny guest must be there, Debian may.
    pub fn find() -> Result<Self, String> {
        let layer = |path| Arc::new(Layer::of_guest(path));
        Ok(Self {
            tiny: layer(find("tiny", TINY)?),
            debian: find("debian-12", DEBIAN).ok().map(layer),
        })
    }

    /// Publishes what the seeded account does not have by itself.
    pub fn publish(&self, now: Timestamp, simulator: &mut Simulator) -> Result<(), String> {
        let regions: Vec<String> = simulator.state.regions.keys().cloned().collect();
        for region in regions.into_iter().filter(|_| self.debian.is_some()) {
            let image = NewImage {
                region,
                name: format!("{DEBIAN_NAMES}amd64-20261109-2290"),
                architecture: "x86_64".to_owned(),
                owner: DEBIAN_OWNER.to_owned(),
                layout: Layout::Ext4,
            };
            simulator.publish_image(now, image)?;
        }
        Ok(())
    }

    /// What is on the root volume of an image that nobody here has made: Debian on those that are named so, else the tiny
    /// guest.
    pub fn disk(&self, image: &str) -> Arc<Layer> {
        let debian = self.debian.as_ref().filter(|_| image.starts_with(DEBIAN_NAMES));
        debian.unwrap_or(&self.tiny).clone()
    }
}

fn find(name: &str, recipe: &[&[u8]]) -> Result<PathBuf, String> {
    let hash = recipe.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part));
    let hash: String = hash
        .finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let link = cache()?.join("guests").join(format!("{name}-{hash}/disk.qcow2"));
    // What the link leads to stays while it is in use; the link itself moves on with Debian's packages.
    link.canonicalize().map_err(|_| {
        format!(
            "the disk of the guest {name} is not there ({}): make tools",
            link.display()
        )
    })
}
