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

# sectors DEVICE: its size.
sectors() {
  cat "/sys/class/block/${1##*/}/size"
}

# layout DEVICE: what is on it, by where each kind has its magic; `blank`; `raw`, as GRUB's small boot partitions are; or `unknown`.
layout() {
  while read -r offset magic kind; do
    if [ "$(bytes "$1" "$offset" $((${#magic} / 2)))" = "$magic" ]; then echo "$kind" && return; fi
  done <<LAYOUTS
0 4c554b53babe LUKS
0 58465342 xfs
0 4c4142454c4f4e45 LVM
512 4c4142454c4f4e45 LVM
1024 4c4142454c4f4e45 LVM
1536 4c4142454c4f4e45 LVM
0 fc4e2ba9 RAID
4096 fc4e2ba9 RAID
3 4e544653 NTFS
3 4558464154 exFAT
54 464154 vfat
82 4641543332 vfat
1024 1020f5f2 f2fs
4086 53574150535041434532 swap
65526 53574150535041434532 swap
1080 53ef ext4
65600 5f42485266535f4d btrfs
LAYOUTS
  if blank "$1"; then
    echo blank
  elif [ "$(sectors "$1")" -le 32768 ]; then
    echo raw
  else
    echo unknown
  fi
}

# blank DEVICE: whether its first and its last 128 KiB are zero; it is not if they cannot be read.
blank() {
  last=$(($(sectors "$1") - 256))
  [ "$last" -ge 0 ] || last=0
  {
    dd if="$1" bs=512 count=256 && dd if="$1" bs=512 skip="$last" count=256
  } >"$work/ends" 2>/dev/null && [ $(($(tr -d '\000' <"$work/ends" | wc -c))) -eq 0 ]
}

# volumes DISK: its partitions; of a disk without any, the disk. Opening it waits for the kernel's own search for them.
volumes() {
  bytes "/dev/$1" 0 1 >/dev/null
  set -- "/dev/$1" "/dev/$1"?*
  [ ! -b "$2" ] || shift
  for device; do
    [ ! -b "$device" ] || printf '%s\n' "$device"
  done
}

# mount_read_only DEVICE LAYOUT: without replaying a journal, which would write.
mount_read_only() {
  case $2 in
  ext4) options=ro,noload ;;
  xfs) options=ro,norecovery,nouuid ;;
  vfat) options=ro ;;
  esac
  mount -t "$2" -o "$options" "$1" "$volume" 2>/dev/null
}

# survey DISK...: lists every filesystem, and finds the root among them: the largest of its disk that has an /etc. Otherwise
# `unsupported` says by name what is in the way.
survey() {
  root_device='' root_disk='' unsupported='' further=''
  : >"$work/filesystems"
  for disk; do
    chosen='' largest=0 others='' obstacle=''
    for device in $(volumes "$disk"); do
      kind=$(layout "$device")
      case $kind in
      blank | raw) continue ;;
      ext4 | xfs | vfat) ;;
      unknown) obstacle='an unknown filesystem' && continue ;;
      *) obstacle=$kind && continue ;;
      esac
      if ! mount_read_only "$device" "$kind"; then
        obstacle="a damaged $kind filesystem"
        continue
      fi
      printf '%s %s %s\n' "$disk" "$device" "$kind" >>"$work/filesystems"
      size=$(sectors "$device")
      if [ "$kind" = vfat ]; then
        :
      elif [ -d "$volume/etc" ] && [ ! -L "$volume/etc" ] && [ "$size" -gt "$largest" ]; then
        others=$others${chosen:+x}
        chosen=$device largest=$size
      elif [ ! -d "$volume/grub" ] && [ ! -d "$volume/grub2" ] && [ ! -d "$volume/loader" ]; then
        # Neither the root nor /boot.
        others=${others}x
      fi
      umount "$volume"
    done
    if [ -z "$chosen" ]; then
      further=${obstacle:-$further}
    elif [ -n "$root_device" ]; then
      unsupported='several root filesystems'
    else
      root_device=$chosen root_disk=$disk
      unsupported=${obstacle:-${others:+several filesystems}}
    fi
  done
  if [ -z "$root_device" ]; then
    unsupported=${further:-no ext4 or xfs filesystem with an /etc}
  elif [ -z "$unsupported" ] && [ -n "$further" ]; then
    unsupported="$further on a further volume"
  fi
}

# read_all: looks through every filesystem that was listed.
read_all() {
  while read -r disk device kind; do
    if ! mount_read_only "$device" "$kind"; then
      unsupported="a damaged $kind filesystem"
      continue
    fi
    if [ "$device" = "$root_device" ]; then
      inspect "$volume"
    elif [ "$disk" = "$root_disk" ]; then
      look "$volume" 'boot partition:'
    else
      look "$volume" 'further volume:'
    fi
    umount "$volume"
  done <"$work/filesystems"
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
  secrets "$1" "$changed" "$work/source" | place "$2" | first >>"$work/secrets"
  traces=$GOLDSMITH_TRACES
  # What a recipe names is on its root filesystem.
  [ -z "$2" ] || traces=$(printf '%s\n' "$traces" | grep -v '^ExtraPath ')
  named "$1" "$traces" | place "$2" | first >>"$work/traces"
}

# incomplete: when find has failed, on a volume that nobody changes.
incomplete() {
  echo '! a part of the volume'
}

# place PREFIX: puts it before the path of each finding.
place() {
  while IFS= read -r finding; do printf '%s %s%s\n' "${finding%% *}" "$1" "${finding#* }"; done
}

# report: what was found. Secrets have a limit of their own, so that many traces hide none.
report() {
  wrong=$(unknown)
  [ -z "$wrong" ] || failed "$wrong"
  for kind in secrets traces; do
    if [ -e "$work/$kind" ]; then first <"$work/$kind"; fi
  done | while IFS= read -r finding; do
    case $finding in
    '! '*) [ -n "$wrong" ] || failed "could not be searched: ${finding#* }" ;;
    *) record finding "${finding%% *}" "$(printf '%s' "${finding#* }" | word)" ;;
    esac
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
  volume=$work/volume
  mkdir -p "$volume"
  survey "$@"
  [ -n "$unsupported" ] || read_all
  report
  [ -z "$unsupported" ] || record unsupported "$(printf '%s' "$unsupported" | word)"
  record inspected
  repeat
}

finish() {
  :
}
