//! The layout of volumes, and which of them are read. Devices are files here, and what is mounted from one is a directory beside it.

use super::*;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

fn guest(disks: usize) -> UserData {
    let guest = InspectorGuest {
        nonce: NONCE,
        source_created: Timestamp::UNIX_EPOCH,
        cleanup: &Cleanup::default(),
        disks,
        lifetime: Duration::from_secs(60),
    };
    guest.render().unwrap()
}

/// Where each kind has its magic.
const MAGIC: [(&str, u64, &[u8]); 12] = [
    ("LUKS", 0, b"LUKS\xba\xbe"),
    ("xfs", 0, b"XFSB"),
    ("LVM", 512, b"LABELONE"),
    ("vfat", 54, b"FAT16   "),
    ("vfat", 82, b"FAT32   "),
    ("NTFS", 3, b"NTFS    "),
    ("RAID", 4096, b"\xfc\x4e\x2b\xa9"),
    ("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    ("swap", 4086, b"SWAPSPACE2"),
    ("ext4", 1080, b"\x53\xef"),
    ("btrfs", 65_600, b"_BHRfS_M"),
    ("unknown", 16_408, b"version"),
];

/// A disk or a partition: its name, its bytes, the kind of what is on it, and the files of what can be mounted.
struct Device(&'static str, u64, &'static str, &'static [&'static str]);

fn make(directory: &Directory, name: &str, bytes: u64, content: &[(u64, &[u8])]) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::create(directory.0.join(name)).unwrap();
    file.set_len(bytes).unwrap();
    for (offset, content) in content {
        file.write_all_at(content, *offset).unwrap();
    }
}

const FAKES: &str = "sectors() { echo $(($(stat -c %s \"$1\") / 512)); }";

#[test]
fn layouts_are_known_by_their_magic() {
    let directory = Directory::new();
    let mut expected = Vec::new();
    let mut add = |kind: &str, bytes: u64, content: &[(u64, &[u8])]| {
        make(&directory, &format!("device{:02}", expected.len()), bytes, content);
        expected.push(Record::Unsupported {
            what: format!("{kind}\n"),
        });
    };
    for (kind, offset, magic) in MAGIC {
        add(kind, GIB, &[(offset, magic)]);
    }
    add("blank", GIB, &[]);
    add("blank", MIB, &[]);
    add("raw", 16 * MIB, &[(0, b"\xeb\x63GRUB")]);
    add("unknown", 17 * MIB, &[(0, b"\xeb\x63GRUB")]);
    // Some kinds of RAID have their superblock at the end.
    add("unknown", GIB, &[(GIB - 65_536, b"\xfc\x4e\x2b\xa9")]);
    let look = format!(
        "{FAKES}\nrun() {{ for device in \"$root\"/../device*; do record unsupported \"$(layout \"$device\" | word)\"; done; }}"
    );
    assert_eq!(parse(&directory.run(&guest(1), &look), NONCE), expected);
}

#[test]
fn a_device_that_cannot_be_read_is_not_blank() {
    let directory = Directory::new();
    let look = format!(
        "{FAKES}\nsectors() {{ echo 2097152; }}\nrun() {{ record unsupported \"$(layout \"$root/../none\" | word)\"; }}"
    );
    let expected = Record::Unsupported {
        what: "unknown\n".into(),
    };
    assert_eq!(parse(&directory.run(&guest(1), &look), NONCE), [expected]);
}

/// What an inspector says of these disks; the name of a disk is the first letter of its devices' names.
fn inspect_disks(devices: &[Device]) -> InspectorReport {
    let directory = Directory::new();
    let mut disks: Vec<&str> = Vec::new();
    for Device(name, bytes, kind, files) in devices {
        let magic = MAGIC.iter().find(|(known, ..)| known == kind);
        let grub: (u64, &[u8]) = (0, b"\xeb\x63GRUB");
        let content = match *kind {
            "blank" => None,
            "raw" => Some(grub),
            _ => magic.map(|(_, offset, magic)| (*offset, *magic)),
        };
        make(&directory, name, *bytes, content.as_slice());
        for file in *files {
            let content = if file.ends_with(".key") {
                "-----BEGIN PRIVATE KEY-----\n"
            } else {
                "text\n"
            };
            directory.write(&format!("/../{name}.files{file}"), content);
        }
        if !disks.contains(&&name[..1]) {
            disks.push(&name[..1]);
        }
    }
    let fakes = format!(
        "{FAKES}\n\
         disks() {{ [ ! -e \"$work/records\" ] || echo '{disks}' | tr ' ' '\\n'; }}\n\
         volumes() {{ find \"$work/..\" -maxdepth 1 -type f -name \"$1*[0-9]\" | sort; }}\n\
         mount() {{ [ -d \"$5.files\" ] && cp -a \"$5.files/.\" \"$6\"; }}\n\
         umount() {{ rm -rf \"$1\" && mkdir \"$1\"; }}\n\
         udevadm() {{ :; }}",
        disks = disks.join(" ")
    );
    InspectorReport::new(&parse(&directory.run(&guest(disks.len()), &fakes), NONCE))
}

const ROOT: &[&str] = &["/etc/hostname"];

#[test]
fn the_usual_layouts_pass_and_their_boot_partitions_are_searched() {
    let amazon = [
        Device("a1", 2 * GIB, "xfs", ROOT),
        Device("a127", MIB, "raw", &[]),
        Device("a128", 10 * MIB, "vfat", &["/EFI/BOOT/grub.cfg"]),
    ];
    let debian = [
        Device("a1", 2 * GIB, "ext4", ROOT),
        Device("a14", 3 * MIB, "raw", &[]),
        Device("a15", 124 * MIB, "vfat", &["/EFI/debian/grub.cfg"]),
    ];
    let ubuntu = [
        Device("a1", 2 * GIB, "ext4", ROOT),
        Device("a14", 4 * MIB, "raw", &[]),
        Device("a15", 106 * MIB, "vfat", &["/EFI/ubuntu/forgotten.key"]),
        Device("a16", 913 * MIB, "ext4", &["/grub/grub.cfg", "/copy.key"]),
    ];
    let with_data = [
        Device("a1", 2 * GIB, "ext4", ROOT),
        Device("b0", GIB, "blank", &[]),
        Device("c0", GIB, "xfs", &["/data/tls.key"]),
        Device("d0", GIB, "vfat", &["/tls.key"]),
    ];
    let unpartitioned = [Device("a0", GIB, "xfs", ROOT)];
    let cases: [(&str, &[Device], &[&str]); 5] = [
        ("Amazon Linux", &amazon, &[]),
        ("Debian", &debian, &[]),
        (
            "Ubuntu",
            &ubuntu,
            &[
                "PrivateKeys boot partition:/EFI/ubuntu/forgotten.key",
                "PrivateKeys boot partition:/copy.key",
            ],
        ),
        (
            "further volumes",
            &with_data,
            &[
                "PrivateKeys further volume:/data/tls.key",
                "PrivateKeys further volume:/tls.key",
            ],
        ),
        ("no partitions", &unpartitioned, &[]),
    ];
    for (what, devices, found) in cases {
        let report = inspect_disks(devices);
        assert!(report.up && report.done, "{what}: {report:?}");
        assert_eq!(report.unsupported, None, "{what}");
        assert_eq!(paths(&report.findings), found, "{what}");
    }
}

/// Whatever nobody has looked at may hold a secret.
#[test]
fn what_cannot_be_read_is_named_wherever_it_is() {
    let root = || Device("a1", 2 * GIB, "ext4", ROOT);
    let cases = [
        (vec![root(), Device("a2", GIB, "swap", &[])], "swap"),
        (vec![root(), Device("a2", GIB, "unknown", &[])], "an unknown filesystem"),
        (
            vec![root(), Device("a2", GIB, "xfs", &["/data/file"])],
            "several filesystems",
        ),
        (vec![Device("a1", GIB, "LVM", &[])], "LVM"),
        (vec![Device("a1", GIB, "xfs", &[])], "a damaged xfs filesystem"),
        (
            vec![Device("a1", GIB, "xfs", &["/data/file"])],
            "no ext4 or xfs filesystem with an /etc",
        ),
        (
            vec![Device("a1", GIB, "blank", &[])],
            "no ext4 or xfs filesystem with an /etc",
        ),
        (
            vec![root(), Device("b0", GIB, "unknown", &[])],
            "an unknown filesystem on a further volume",
        ),
        (
            vec![Device("a0", GIB, "xfs", &[]), Device("b1", GIB, "xfs", ROOT)],
            "a damaged xfs filesystem on a further volume",
        ),
        (vec![root(), Device("b0", GIB, "NTFS", &[])], "NTFS on a further volume"),
        (
            vec![root(), Device("b1", GIB, "ext4", ROOT)],
            "several root filesystems",
        ),
    ];
    for (devices, named) in cases {
        let report = inspect_disks(&devices);
        assert_eq!(report.unsupported.as_deref(), Some(named));
        assert!(report.done, "{named}: {report:?}");
    }
}
