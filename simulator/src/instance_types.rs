//! Instance types: DescribeInstanceTypes, DescribeInstanceTypeOfferings.

use serde::{Deserialize, Serialize};

use crate::describe::{Bounds, Described, Field, Filter, Page, ids_or_page, page};
use crate::operations::Call;
use crate::protocol::Error;

/// An instance type, as far as launches depend on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InstanceType {
    pub name: &'static str,
    pub architecture: &'static str,
    pub vcpus: u32,
    pub memory_mib: u32,
    /// Nitro or Xen; only Nitro answers GetConsoleOutput's `Latest`.
    pub nitro: bool,
    pub current_generation: bool,
    /// The letter of the one zone of every region that doesn't offer it.
    pub missing_in: Option<char>,
}

const fn nitro(name: &'static str, architecture: &'static str, vcpus: u32, memory_mib: u32) -> InstanceType {
    InstanceType {
        name,
        architecture,
        vcpus,
        memory_mib,
        nitro: true,
        current_generation: true,
        missing_in: None,
    }
}

const fn xen(name: &'static str, vcpus: u32, memory_mib: u32) -> InstanceType {
    InstanceType {
        nitro: false,
        current_generation: false,
        ..nitro(name, "x86_64", vcpus, memory_mib)
    }
}

/// Every type there is.
pub const INSTANCE_TYPES: [InstanceType; 24] = [
    nitro("c6i.large", "x86_64", 2, 4096),
    nitro("c7g.large", "arm64", 2, 4096),
    InstanceType {
        missing_in: Some('b'),
        ..nitro("c7i.large", "x86_64", 2, 4096)
    },
    nitro("m5.large", "x86_64", 2, 8192),
    nitro("m6g.large", "arm64", 2, 8192),
    nitro("m6i.large", "x86_64", 2, 8192),
    nitro("m6i.xlarge", "x86_64", 4, 16384),
    InstanceType {
        missing_in: Some('c'),
        ..nitro("m7a.large", "x86_64", 2, 8192)
    },
    nitro("m7g.large", "arm64", 2, 8192),
    nitro("m7g.xlarge", "arm64", 4, 16384),
    nitro("m7i.large", "x86_64", 2, 8192),
    nitro("m7i.xlarge", "x86_64", 4, 16384),
    nitro("m7i.24xlarge", "x86_64", 96, 393_216),
    nitro("r7i.large", "x86_64", 2, 16384),
    nitro("t3.large", "x86_64", 2, 8192),
    nitro("t3.medium", "x86_64", 2, 4096),
    nitro("t3.micro", "x86_64", 2, 1024),
    nitro("t3.small", "x86_64", 2, 2048),
    nitro("t4g.medium", "arm64", 2, 4096),
    nitro("t4g.micro", "arm64", 2, 1024),
    nitro("t4g.small", "arm64", 2, 2048),
    xen("m1.small", 1, 1740),
    xen("m4.large", 2, 8192),
    xen("t2.micro", 1, 1024),
];

/// The type of that name.
pub fn find(name: &str) -> Option<&'static InstanceType> {
    INSTANCE_TYPES.iter().find(|known| known.name == name)
}

impl InstanceType {
    /// Whether a zone, such as `eu-central-1a`, offers it.
    pub fn offered_in(&self, zone: &str) -> bool {
        self.missing_in.is_none_or(|letter| !zone.ends_with(letter))
    }

    /// AWS's Arm cores and the newer AMD ones run one thread each.
    pub fn threads_per_core(&self) -> u32 {
        if self.architecture == "arm64" || self.name.starts_with("m7a.") || self.vcpus == 1 {
            1
        } else {
            2
        }
    }

    pub fn cores(&self) -> u32 {
        self.vcpus / self.threads_per_core()
    }

    fn burstable(&self) -> bool {
        self.name.starts_with('t')
    }

    fn description(&self) -> InstanceTypeInfo {
        InstanceTypeInfo {
            instance_type: self.name,
            current_generation: self.current_generation,
            free_tier_eligible: self.name.ends_with(".micro"),
            supported_usage_classes: vec!["on-demand"],
            supported_root_device_types: vec!["ebs"],
            supported_virtualization_types: vec!["hvm"],
            bare_metal: false,
            hypervisor: if self.nitro { "nitro" } else { "xen" },
            processor_info: ProcessorInfo {
                supported_architectures: vec![self.architecture],
            },
            v_cpu_info: VCpuInfo {
                default_v_cpus: self.vcpus,
                default_cores: self.cores(),
                default_threads_per_core: self.threads_per_core(),
            },
            memory_info: MemoryInfo {
                size_in_mi_b: self.memory_mib,
            },
            instance_storage_supported: false,
            ebs_info: EbsInfo {
                ebs_optimized_support: if self.nitro { "default" } else { "unsupported" },
                encryption_support: "supported",
                nvme_support: if self.nitro { "required" } else { "unsupported" },
            },
            hibernation_supported: false,
            burstable_performance_supported: self.burstable(),
            supported_boot_modes: if self.architecture == "arm64" {
                vec!["uefi"]
            } else if self.nitro {
                vec!["legacy-bios", "uefi"]
            } else {
                vec!["legacy-bios"]
            },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InstanceTypeInfo {
    instance_type: &'static str,
    current_generation: bool,
    free_tier_eligible: bool,
    supported_usage_classes: Vec<&'static str>,
    supported_root_device_types: Vec<&'static str>,
    supported_virtualization_types: Vec<&'static str>,
    bare_metal: bool,
    hypervisor: &'static str,
    processor_info: ProcessorInfo,
    v_cpu_info: VCpuInfo,
    memory_info: MemoryInfo,
    instance_storage_supported: bool,
    ebs_info: EbsInfo,
    hibernation_supported: bool,
    burstable_performance_supported: bool,
    supported_boot_modes: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessorInfo {
    supported_architectures: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VCpuInfo {
    default_v_cpus: u32,
    default_cores: u32,
    default_threads_per_core: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemoryInfo {
    size_in_mi_b: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EbsInfo {
    ebs_optimized_support: &'static str,
    encryption_support: &'static str,
    nvme_support: &'static str,
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

impl Described for InstanceTypeInfo {
    const FILTERS: &'static [Field<Self>] = &[
        ("bare-metal", |t| vec![t.bare_metal.to_string()]),
        ("burstable-performance-supported", |t| {
            vec![t.burstable_performance_supported.to_string()]
        }),
        ("current-generation", |t| vec![t.current_generation.to_string()]),
        ("ebs-info.ebs-optimized-support", |t| {
            vec![t.ebs_info.ebs_optimized_support.to_owned()]
        }),
        ("ebs-info.encryption-support", |t| {
            vec![t.ebs_info.encryption_support.to_owned()]
        }),
        ("ebs-info.nvme-support", |t| vec![t.ebs_info.nvme_support.to_owned()]),
        ("free-tier-eligible", |t| vec![t.free_tier_eligible.to_string()]),
        ("hibernation-supported", |t| vec![t.hibernation_supported.to_string()]),
        ("hypervisor", |t| vec![t.hypervisor.to_owned()]),
        ("instance-storage-supported", |t| {
            vec![t.instance_storage_supported.to_string()]
        }),
        ("instance-type", |t| vec![t.instance_type.to_owned()]),
        ("memory-info.size-in-mib", |t| {
            vec![t.memory_info.size_in_mi_b.to_string()]
        }),
        ("processor-info.supported-architecture", |t| {
            owned(&t.processor_info.supported_architectures)
        }),
        ("supported-boot-mode", |t| owned(&t.supported_boot_modes)),
        ("supported-root-device-type", |t| owned(&t.supported_root_device_types)),
        ("supported-usage-class", |t| owned(&t.supported_usage_classes)),
        ("supported-virtualization-type", |t| {
            owned(&t.supported_virtualization_types)
        }),
        ("vcpu-info.default-cores", |t| {
            vec![t.v_cpu_info.default_cores.to_string()]
        }),
        ("vcpu-info.default-threads-per-core", |t| {
            vec![t.v_cpu_info.default_threads_per_core.to_string()]
        }),
        ("vcpu-info.default-vcpus", |t| {
            vec![t.v_cpu_info.default_v_cpus.to_string()]
        }),
    ];

    const EMPTY_FILTERS: &'static [&'static str] = &[
        "auto-recovery-supported",
        "dedicated-hosts-supported",
        "ebs-info.attachment-limit-type",
        "ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps",
        "ebs-info.ebs-optimized-info.baseline-iops",
        "ebs-info.ebs-optimized-info.baseline-throughput-in-mbps",
        "ebs-info.ebs-optimized-info.maximum-bandwidth-in-mbps",
        "ebs-info.ebs-optimized-info.maximum-iops",
        "ebs-info.ebs-optimized-info.maximum-throughput-in-mbps",
        "ebs-info.maximum-ebs-attachments",
        "instance-storage-info.disk.count",
        "instance-storage-info.disk.size-in-gb",
        "instance-storage-info.disk.type",
        "instance-storage-info.encryption-support",
        "instance-storage-info.nvme-support",
        "instance-storage-info.total-size-in-gb",
        "network-info.bandwidth-weightings",
        "network-info.efa-info.maximum-efa-interfaces",
        "network-info.efa-supported",
        "network-info.ena-support",
        "network-info.encryption-in-transit-supported",
        "network-info.flexible-ena-queues-support",
        "network-info.ipv4-addresses-per-interface",
        "network-info.ipv6-addresses-per-interface",
        "network-info.ipv6-supported",
        "network-info.maximum-network-cards",
        "network-info.maximum-network-interfaces",
        "network-info.network-performance",
        "nitro-enclaves-support",
        "nitro-tpm-info.supported-versions",
        "nitro-tpm-support",
        "processor-info.supported-features",
        "processor-info.sustained-clock-speed-in-ghz",
        "reboot-migration-support",
        "vcpu-info.valid-cores",
        "vcpu-info.valid-threads-per-core",
    ];

    fn id(&self) -> String {
        self.instance_type.to_owned()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeInstanceTypesRequest {
    #[serde(rename = "InstanceType", default)]
    names: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeInstanceTypesResponse {
    instance_type_set: Vec<InstanceTypeInfo>,
    next_token: Option<String>,
}

pub fn describe_instance_types(
    _: &mut Call<'_>,
    request: DescribeInstanceTypesRequest,
) -> Result<DescribeInstanceTypesResponse, Error> {
    let wanted = Page {
        max_results: request.max_results,
        next_token: request.next_token,
    };
    ids_or_page(&request.names, "instanceTypes", &wanted)?;
    let unknown: Vec<&str> = request
        .names
        .iter()
        .map(String::as_str)
        .filter(|name| find(name).is_none())
        .collect();
    if !unknown.is_empty() {
        let message = format!(
            "The following supplied instance types do not exist: [{}]",
            unknown.join(", ")
        );
        return Err(Error::new("InvalidInstanceType", message));
    }
    let items = INSTANCE_TYPES
        .iter()
        .filter(|known| request.names.is_empty() || request.names.iter().any(|name| name == known.name))
        .map(InstanceType::description)
        .collect();
    let (instance_type_set, next_token) = page(items, &request.filters, &wanted, Bounds::strict(5, 100))?;
    Ok(DescribeInstanceTypesResponse {
        instance_type_set,
        next_token,
    })
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LocationType {
    #[default]
    Region,
    AvailabilityZone,
    AvailabilityZoneId,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeInstanceTypeOfferingsRequest {
    #[serde(default)]
    location_type: LocationType,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeInstanceTypeOfferingsResponse {
    instance_type_offering_set: Vec<Offering>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Offering {
    instance_type: &'static str,
    location_type: &'static str,
    location: String,
}

impl Described for Offering {
    const FILTERS: &'static [Field<Self>] = &[
        ("instance-type", |o| vec![o.instance_type.to_owned()]),
        ("location", |o| vec![o.location.clone()]),
    ];

    fn id(&self) -> String {
        format!("{} {}", self.instance_type, self.location)
    }
}

pub fn describe_instance_type_offerings(
    call: &mut Call<'_>,
    request: DescribeInstanceTypeOfferingsRequest,
) -> Result<DescribeInstanceTypeOfferingsResponse, Error> {
    let region = &*call.region;
    let mut items = Vec::new();
    for known in &INSTANCE_TYPES {
        let zones = region.zones.iter().filter(|zone| known.offered_in(&zone.zone_name));
        let (location_type, locations): (_, Vec<String>) = match request.location_type {
            LocationType::Region => ("region", vec![region.name.clone()]),
            LocationType::AvailabilityZone => ("availability-zone", zones.map(|z| z.zone_name.clone()).collect()),
            LocationType::AvailabilityZoneId => ("availability-zone-id", zones.map(|z| z.zone_id.clone()).collect()),
        };
        items.extend(locations.into_iter().map(|location| Offering {
            instance_type: known.name,
            location_type,
            location,
        }));
    }
    let wanted = Page {
        max_results: request.max_results,
        next_token: request.next_token,
    };
    let (instance_type_offering_set, next_token) = page(items, &request.filters, &wanted, Bounds::strict(5, 1000))?;
    Ok(DescribeInstanceTypeOfferingsResponse {
        instance_type_offering_set,
        next_token,
    })
}
