# The root of the disk that is looked at.
root=

# fingerprint PATH: of a file's content, with its mode and owner.
fingerprint() {
  if [ -f "$1" ]; then
    printf '%s:%s' "$(sha256sum <"$1" | cut -c 1-16)" "$(stat -L -c %a:%u:%g -- "$1")"
  else
    printf missing
  fi
}
