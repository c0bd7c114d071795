# disks: the block devices that may hold an image.
disks() {
  for device in /sys/block/*; do
    case $device in
    */loop* | */ram* | */zram* | */sr* | */fd*) ;;
    *) [ ! -e "$device" ] || printf '%s\n' "${device##*/}" ;;
    esac
  done
}

# bytes DEVICE OFFSET COUNT: in hexadecimal.
bytes() {
  dd if="$1" bs=1 skip="$2" count="$3" 2>/dev/null | od -An -v -tx1 | tr -d ' \n'
}

# layout DEVICE: what its first bytes say it is.
layout() {
  case $(bytes "$1" 0 6) in
  4c554b53babe) echo LUKS && return ;;
  58465342*) echo xfs && return ;;
  esac
  for offset in 0 512 1024 1536; do
    if [ "$(bytes "$1" "$offset" 8)" = 4c4142454c4f4e45 ]; then echo LVM && return; fi
  done
  if [ "$(bytes "$1" 1080 2)" = 53ef ]; then echo ext4 && return; fi
  if [ "$(bytes "$1" 65600 8)" = 5f42485266535f4d ]; then echo btrfs && return; fi
  echo unknown
}

# mount_read_only DEVICE LAYOUT DIRECTORY: without replaying a journal, which would write.
mount_read_only() {
  case $2 in
  ext4) mount -t ext4 -o ro,noload "$1" "$3" ;;
  xfs) mount -t xfs -o ro,norecovery,nouuid "$1" "$3" ;;
  esac 2>/dev/null
}

# probe DISK: mounts the largest filesystem that has an /etc; 1: says by name what is in the way; 2: there is none.
probe() {
  volume=$work/volume obstacle= largest=0 chosen= others=
  mkdir -p "$volume"
  for device in "/dev/$1" "/dev/$1"?*; do
    [ -b "$device" ] || continue
    kind=$(layout "$device")
    case $kind in
    ext4 | xfs)
      if ! mount_read_only "$device" "$kind" "$volume"; then
        obstacle="a damaged $kind filesystem"
        continue
      fi
      sectors=$(cat "/sys/class/block/${device##*/}/size")
      if [ -d "$volume/etc" ] && [ ! -L "$volume/etc" ] && [ "$sectors" -gt "$largest" ]; then
        others=$others${chosen:+x}
        chosen=$device chosen_kind=$kind largest=$sectors
      elif [ ! -d "$volume/grub" ] && [ ! -d "$volume/grub2" ] && [ ! -d "$volume/loader" ]; then
        # Neither the root nor /boot.
        others=${others}x
      fi
      umount "$volume"
      ;;
    LVM | LUKS | btrfs) obstacle=$kind ;;
    esac
  done
  if [ -n "$obstacle" ]; then return 1; fi
  if [ -z "$chosen" ]; then return 2; fi
  if [ -n "$others" ]; then obstacle='several filesystems' && return 1; fi
  mount_read_only "$chosen" "$chosen_kind" "$volume"
}

# probe_data DISK: looks through every filesystem of a disk that holds no root; a blank one has none.
probe_data() {
  for device in "/dev/$1" "/dev/$1"?*; do
    [ -b "$device" ] || continue
    kind=$(layout "$device")
    case $kind in
    ext4 | xfs)
      mount_read_only "$device" "$kind" "$volume" || continue
      look "$volume" 'further volume:'
      umount "$volume"
      ;;
    esac
  done
}

# inspect BASE: reports the manifest, and finds whatever cleanup should not have left.
inspect() {
  if [ -f "$1/etc/goldsmith/image.json" ] && [ ! -L "$1/etc/goldsmith/image.json" ] && [ ! -L "$1/etc/goldsmith" ]; then
    record manifest "$(head -c 16384 "$1/etc/goldsmith/image.json" | word)"
  fi
  look "$1" ''
}

# look BASE PREFIX: finds whatever cleanup should not have left, with PREFIX before its path.
look() {
  touch -d "@$GOLDSMITH_SOURCE_CREATED" "$work/source"
  # The time of the last change of any kind, where find knows it: unpacking keeps old times of modification.
  changed=-newer
  find "$work/source" -cnewer "$work/source" >/dev/null 2>&1 && changed=-cnewer
  secrets "$1" "$changed" "$work/source" | place "$2" >>"$work/secrets"
  named "$1" "$GOLDSMITH_TRACES" | place "$2" >>"$work/traces"
}

# place PREFIX: puts it before the path of each finding.
place() {
  while IFS= read -r finding; do printf '%s %s%s\n' "${finding%% *}" "$1" "${finding#* }"; done
}

# report: what was found. Secrets have a limit of their own, so that many traces hide none.
report() {
  for kind in secrets traces; do
    head -n 50 "$work/$kind" 2>/dev/null
  done | while IFS= read -r finding; do
    record finding "${finding%% *}" "$(printf '%s' "${finding#* }" | word)"
  done
}

run() {
  before=$(disks)
  record up
  set --
  while [ $# -lt "$GOLDSMITH_DISKS" ]; do
    sleep 0.5 2>/dev/null || sleep 1
    set --
    for candidate in $(disks); do
      case "
$before
" in
      *"
$candidate
"*) ;;
      *) set -- "$@" "$candidate" ;;
      esac
    done
  done
  udevadm settle --timeout=10 2>/dev/null || sleep 1
  roots=
  unsupported='no ext4 or xfs filesystem with an /etc'
  for disk; do
    probe "$disk"
    case $? in
    0)
      roots=${roots}x
      unsupported=
      if [ "$roots" = x ]; then inspect "$volume"; else unsupported='several root filesystems'; fi
      umount "$volume"
      ;;
    1) unsupported=$obstacle && break ;;
    *) probe_data "$disk" ;;
    esac
  done
  report
  [ -z "$unsupported" ] || record unsupported "$(printf '%s' "$unsupported" | word)"
  record inspected
  repeat
}

finish() {
  :
}
