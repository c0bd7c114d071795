# In memory, so that nothing of it is left on the disk.
work=/run/goldsmith

# value NAME: the data of that name.
value() {
  eval "printf '%s' \"\${GOLDSMITH_$1-}\""
}

# word: standard input as one word of a record.
word() {
  encoded=$(base64 | tr -d '\n')
  printf '%s' "${encoded:--}"
}

# consoles: the device of every serial console. /dev/console is only the last of them.
consoles() {
  {
    tr ' ' '\n' </sys/class/tty/console/active
    printf '%s\n' ttyS0 ttyAMA0 hvc0
  } 2>/dev/null | sort -u | while read -r name; do
    case $name in
    ttyS* | ttyAMA* | hvc*) [ ! -c "/dev/$name" ] || printf '/dev/%s\n' "$name" ;;
    esac
  done
}

# show BYTES: writes the end of all records so far, so that what was garbled or overwritten is there again.
show() {
  tail -c "$1" "$work/records" >"$work/shown"
  for console in $(consoles); do
    # shellcheck disable=SC2016 # expanded by the shell that may hang, and is ended then
    timeout 20 sh -c 'cat "$1" >"$2"' show "$work/shown" "$console" 2>/dev/null
  done
}

# record WORD...: reports one thing, in lines short enough to stay whole. Each begins with a newline, because another writer may
# be in the middle of a line.
record() {
  sequence=$(($(cat "$work/sequence" 2>/dev/null || echo 0) + 1))
  printf '%s\n' "$sequence" >"$work/sequence"
  printf '%s\n' "$*" | fold -w 700 >"$work/parts"
  parts=$(($(wc -l <"$work/parts")))
  part=0
  while IFS= read -r text; do
    part=$((part + 1))
    body="$GOLDSMITH_NONCE $sequence.$part/$parts $text"
    sum=$(printf '%s' "$body" | sha256sum | cut -c 1-8)
    printf '\n@goldsmith1 %s %s\n' "$sum" "$body"
  done <"$work/parts" >"$work/lines"
  cat "$work/lines" >>"$work/records"
  bytes=$(($(wc -c <"$work/lines")))
  [ "$bytes" -ge 12288 ] || bytes=12288
  show "$bytes"
}

# failed TEXT: reports why this guest cannot do its work.
failed() {
  record failed "$(printf '%s' "$1" | word)"
}

# repeat: says everything again until the instance is ended from outside or by its timer.
repeat() {
  while sleep 5; do show 40960; done
}
