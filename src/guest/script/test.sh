# milliseconds: since 1970; whole seconds where date knows no fractions.
milliseconds() {
  now=$(date +%s%3N)
  case $now in
  *[!0-9]*) now=$(date +%s)000 ;;
  esac
  printf '%s' "$now"
}

# request PORT PATH STATUS: asks this machine and compares the status code.
request() {
  url=http://localhost:$1$2
  if command -v curl >/dev/null; then
    answer=$(curl --silent --show-error --output /dev/null --write-out '%{http_code}' --max-time 10 --noproxy '*' --url "$url") || return
  elif command -v wget >/dev/null; then
    # busybox knows these alone. It follows redirections, so the first answer counts.
    options='-S -O /dev/null'
    wget --help 2>&1 | grep -q BusyBox || options="$options --tries=1 --max-redirect=0 --no-proxy"
    # shellcheck disable=SC2086 # several words
    answer=$(timeout 10 wget $options "$url" 2>&1 | sed -n 's|^ *HTTP/[0-9.]* \([0-9][0-9][0-9]\).*|\1|p' | head -n 1)
  elif command -v python3 >/dev/null; then
    answer=$(python3 -c '
import http.client, sys
connection = http.client.HTTPConnection("localhost", int(sys.argv[1]), timeout=10)
connection.request("GET", sys.argv[2])
print(connection.getresponse().status)' "$1" "$2") || return
  else
    echo 'an http check needs curl, wget or python3 in the image'
    return 1
  fi
  [ "$answer" = "$3" ] && return
  echo "$url answered ${answer:-nothing}, expected $3"
  return 1
}

# ask CHECK SECONDS: makes one try at a check.
ask() {
  if [ -n "$(value "CHECK_$1_PORT")" ]; then
    request "$(value "CHECK_$1_PORT")" "$(value "CHECK_$1_PATH")" "$(value "CHECK_$1_STATUS")"
    return
  fi
  value "CHECK_$1_RUN" >"$work/check"
  execute "$2" "$work/check"
}

# check CHECK: repeats a check until it passes or its time is over.
check() {
  name=$(value "CHECK_$1_NAME")
  deadline=$(($(date +%s) + $(value "CHECK_$1_TIMEOUT")))
  while :; do
    left=$((deadline - $(date +%s)))
    [ "$left" -ge 1 ] || left=1
    (ask "$1" "$left") >"$work/output" 2>&1
    status=$?
    if [ "$status" -eq 0 ] || [ "$(date +%s)" -ge "$deadline" ]; then break; fi
    sleep 0.2 2>/dev/null || sleep 1
  done
  name=$(printf '%s' "$name" | word)
  if [ "$status" -eq 0 ]; then
    record check "$1" "$name" passed 0 -
  else
    record check "$1" "$name" failed "$status" "$(tail -c 4096 "$work/output" | word)"
    return 1
  fi
}

# boot_errors: one a line.
boot_errors() {
  if command -v cloud-init >/dev/null; then
    timeout 300 cloud-init status --wait >/dev/null 2>&1
    tr -d '\n' </run/cloud-init/result.json 2>/dev/null | sed -n 's/.*"errors": *\[ *\([^]].*\)\].*/cloud-init: \1/p'
  fi
  if [ -d /run/systemd/system ]; then
    systemctl list-units --state=failed --plain --no-legend | while read -r unit rest; do echo "unit failed: $unit"; done
  fi
  dmesg 2>/dev/null | grep -E 'BUG:|Oops|Call Trace|I/O error|EXT4-fs error|XFS .*[Cc]orruption|Out of memory|soft lockup|hung_task' |
    sed 's/^/kernel: /'
}

run() {
  record booted
  index=0 failed=
  while [ -z "$failed" ] && [ "$index" -lt "$GOLDSMITH_CHECKS" ]; do
    index=$((index + 1))
    check "$index" || failed=yes
  done
  [ -n "$failed" ] || record passed "$(milliseconds)"
  boot_errors | head -n 20 | cut -c 1-300 | while IFS= read -r message; do
    record boot-error "$(printf '%s' "$message" | word)"
  done
  index=0
  while [ "$index" -lt "$GOLDSMITH_FILES" ]; do
    index=$((index + 1))
    record file "$index" "$(fingerprint "$root$(value "FILE_$index")" | word)"
  done
  record tested
  repeat
}

finish() {
  :
}
