//! The layout of a volume.

use super::*;

#[test]
fn layouts_are_known_by_their_first_bytes() {
    let directory = Directory::new();
    let disks: [(&str, usize, &[u8]); 6] = [
        ("LUKS", 0, b"LUKS\xba\xbe"),
        ("xfs", 0, b"XFSB"),
        ("LVM", 512, b"LABELONE"),
        ("ext4", 1080, b"\x53\xef"),
        ("btrfs", 65_600, b"_BHRfS_M"),
        ("unknown", 0, b"EFI PART"),
    ];
    for (name, offset, magic) in disks {
        let mut bytes = vec![0; 70_000];
        bytes[offset..offset + magic.len()].copy_from_slice(magic);
        fs::write(directory.0.join(name), bytes).unwrap();
    }
    let guest = InspectorGuest {
        nonce: NONCE,
        source_created: Timestamp::UNIX_EPOCH,
        disks: 1,
        lifetime: Duration::from_secs(60),
    };
    let names: Vec<_> = disks.iter().map(|(name, ..)| *name).collect();
    let look = format!(
        "run() {{ for disk in {}; do record unsupported \"$(layout \"$root/../$disk\" | word)\"; done; }}",
        names.join(" ")
    );
    let records = parse(&directory.run(&guest.render().unwrap(), &look), NONCE);
    let expected: Vec<_> = names
        .iter()
        .map(|name| Record::Unsupported {
            what: format!("{name}\n"),
        })
        .collect();
    assert_eq!(records, expected);
}
