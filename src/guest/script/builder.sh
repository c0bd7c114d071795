# trim: keeps the output of a step small while it runs. It may be endless, and it is in memory.
trim() {
  while sleep 1; do
    if [ "$(wc -c <"$work/output")" -gt 1048576 ]; then
      tail -c 4096 "$work/output" >"$work/end"
      cat "$work/end" >"$work/output"
    fi
  done
}

# lay STEP: writes a file, whole or not at all.
lay() {
  path=$root$(value "STEP_$1_PATH")
  if [ -d "$path" ]; then
    echo "$path is a directory"
    return 1
  fi
  mkdir -p -- "$(dirname -- "$path")" &&
    (
      umask 077
      value "STEP_$1_CONTENT" >"$path.goldsmith"
    ) &&
    chown -- "$(value "STEP_$1_OWNER")" "$path.goldsmith" &&
    chmod -- "$(value "STEP_$1_MODE")" "$path.goldsmith" &&
    mv -f -- "$path.goldsmith" "$path" &&
    if command -v restorecon >/dev/null; then restorecon -- "$path"; fi
}

# try STEP SECONDS: makes one try at a step.
try() {
  if [ -n "$(value "STEP_$1_PATH")" ]; then
    lay "$1"
    return
  fi
  value "STEP_$1_RUN" >"$work/step"
  seconds=$2
  set --
  variable=0
  while [ "$variable" -lt "$GOLDSMITH_ENVIRONMENT" ]; do
    variable=$((variable + 1))
    eval "set -- \"\$@\" \"\$GOLDSMITH_ENVIRONMENT_$variable\""
  done
  execute "$seconds" "$work/step" "$@"
}

# step STEP: runs one step to its end, with its retries.
step() {
  name=$(value "STEP_$1_NAME")
  limit=$(value "STEP_$1_TIMEOUT")
  retries=$(value "STEP_$1_RETRIES")
  encoded=$(printf '%s' "$name" | word)
  record step-started "$1" "$encoded"
  tries=0
  while :; do
    tries=$((tries + 1))
    : >"$work/output"
    trim &
    trimmer=$!
    began=$(date +%s)
    (try "$1" "$limit") >>"$work/output" 2>&1
    status=$?
    {
      kill "$trimmer"
      wait "$trimmer"
    } 2>/dev/null
    if [ "$status" -eq 0 ] || [ "$tries" -gt "$retries" ]; then break; fi
    sleep 5
  done
  result=failed
  if [ "$status" -eq 0 ]; then
    result=succeeded
  elif [ "$limit" -gt 0 ] && [ $(($(date +%s) - began)) -ge "$limit" ]; then
    # timeout's own status, or that of a script ended by SIGTERM or SIGKILL.
    case $status in 124 | 137 | 143) result=timed-out ;; esac
  fi
  printf '{"name":%s,"result":"%s","tries":%s}\n' "$(json "$name")" "$result" "$tries" >>"$work/results"
  record step-finished "$1" "$encoded" "$result" "$tries" "$status" "$(tail -c 4096 "$work/output" | word)"
  [ "$status" -eq 0 ]
}

# json TEXT: as a JSON string.
json() {
  printf '"%s"' "$(printf '%s' "$1" | tr -d '\000-\037\177' | sed 's/[\\"]/\\&/g')"
}

# list FILE: a JSON array of the lines.
list() {
  printf '[%s]' "$(paste -s -d , "$1")"
}

# kept PATH: whether the file survives cleanup.
kept() {
  while read -r item pattern; do
    # shellcheck disable=SC2254 # a pattern it is
    case $1 in
    "$root"$pattern)
      skipped "$item"
      return
      ;;
    esac
  done <<RULES
$GOLDSMITH_TRACES
RULES
}

# incomplete: when find has failed. Here files come and go meanwhile; the inspector looks again.
incomplete() {
  :
}

# search: the wide search for secrets. Here, because here the disk is warm; a volume made from a snapshot reads slowly. Fails if
# something could not be searched, or kept; why, it prints.
search() {
  found=$(secrets "$root" | while IFS= read -r finding; do
    ! kept "$root${finding#* }" || printf '%s\n' "$finding"
  done | first)
  { printf '' >"$work/findings"; } 2>/dev/null || return 1
  printf '%s\n' "$found" | while IFS= read -r finding; do
    item=${finding%% *} path=${finding#* }
    case $item in
    '') ;;
    !)
      printf 'could not be searched for secrets: %s' "$path"
      return 1
      ;;
    *) printf '{"item":"%s","path":%s}\n' "$item" "$(json "$path")" >>"$work/findings" 2>/dev/null || return 1 ;;
    esac
  done
}

# clean: removes the traces, but for what the recipe skips, and what it names. Secrets are reported and not removed.
clean() {
  # The journal would open again what is removed here.
  skipped Logs || journalctl --relinquish-var >/dev/null 2>&1
  named "$root" "$GOLDSMITH_TRACES" | while IFS= read -r found; do
    item=${found%% *} path=$root${found#* }
    if skipped "$item"; then continue; fi
    case $path in
    "$root/etc/machine-id") : >"$path" ;;
    *) rm -f -- "$path" ;;
    esac
  done
  set --
  while IFS= read -r path; do
    [ -z "$path" ] || set -- "$@" -o -path "$root$path" -o -path "$root$path/*"
  done <<PATHS
$GOLDSMITH_EXTRA_PATHS
PATHS
  if [ $# -gt 0 ]; then
    shift
    # From the root on: so it passes through no link and into no other filesystem. Not every find knows -delete.
    find "${root:-/}" -xdev \( "$@" \) ! -type d -exec rm -f -- {} + 2>/dev/null
    find "${root:-/}" -xdev -depth \( "$@" \) -type d -exec rmdir -- {} + 2>/dev/null
  fi
}

# laid: a JSON string for each file that a step has laid, as it is now.
laid() {
  index=0
  while [ "$index" -lt "$GOLDSMITH_STEPS" ]; do
    index=$((index + 1))
    path=$(value "STEP_${index}_PATH")
    [ -z "$path" ] || printf '"%s"\n' "$(fingerprint "$root$path")"
  done
}

# manifest: the last thing written to the disk, so its presence says that everything before it was done.
manifest() {
  skip=
  for item in $GOLDSMITH_SKIP; do skip=$skip${skip:+,}\"$item\"; done
  laid >"$work/files"
  mkdir -p "$root/etc/goldsmith"
  printf '{"recipe":%s,"build":%s,"attempt":%s,"contentHash":%s,"steps":%s,"files":%s,"skipped":[%s],"findings":%s}\n' \
    "$(json "$GOLDSMITH_RECIPE")" "$GOLDSMITH_BUILD" "$GOLDSMITH_ATTEMPT" "$(json "$GOLDSMITH_CONTENT_HASH")" \
    "$(list "$work/results")" "$(list "$work/files")" "$skip" "$(list "$work/findings")" >"$root/etc/goldsmith/image.json.new" &&
    chmod 644 "$root/etc/goldsmith/image.json.new" &&
    sync &&
    mv -f "$root/etc/goldsmith/image.json.new" "$root/etc/goldsmith/image.json" &&
    sync
}

# restart STEP: reboots, and has `resume` go on after this step. What it needs is on the disk meanwhile.
restart() {
  encoded=$(value "STEP_$1_NAME" | word)
  record step-started "$1" "$encoded"
  if keep "$1" && come_back; then
    sync
    reboot_machine
    # Until the machine goes down, and this with it.
    while sleep 60; do :; done
  fi
  record step-finished "$1" "$encoded" failed 1 1 "$(printf 'what goes on after the reboot could not be written to the disk' | word)"
  give_up
}

# give_up: powers off once the console has had time to show why.
give_up() {
  for pause in 2 2 2; do
    sleep "$pause"
    show 24576
  done
  power_off
}

reboot_machine() {
  systemctl reboot --no-block 2>/dev/null || reboot
}

# keep STEP: puts on the disk what is in memory.
keep() {
  mkdir -p "$root$state" && chmod 700 "$root$state" &&
    cp "$work/guest" "$work/began" "$work/records" "$work/sequence" "$work/results" "$root$state/" &&
    printf '%s\n' "$1" >"$root$state/step"
}

# come_back: has `resume` called when the machine has booted again: by systemd, or by cloud-init's scripts for every boot.
come_back() {
  if [ -d /run/systemd/system ]; then
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants" &&
      unit "$root$service" "$state/guest" resume &&
      ln -sf "$service" "$root$wanted" &&
      if command -v restorecon >/dev/null; then restorecon -R -- "$root$service" "$root$wanted" "$root$state"; fi
  else
    mkdir -p "$root${per_boot%/*}" &&
      printf '#!/bin/sh\n(trap "" HUP; export HOME=/root; cd /; exec sh %s resume) </dev/null >/dev/null 2>&1 &\n' "$state/guest" >"$root$per_boot" &&
      chmod 755 "$root$per_boot"
  fi
}

service=/etc/systemd/system/goldsmith.service
wanted=/etc/systemd/system/multi-user.target.wants/goldsmith.service
per_boot=/var/lib/cloud/scripts/per-boot/goldsmith

# resume: goes on after a reboot, when the machine is up, and takes everything off the disk that was there for it.
resume() {
  left=$(($(cat "$root$state/began") + GOLDSMITH_LIFETIME - $(date +%s)))
  [ "$left" -ge 1 ] || left=1
  power_off_in "$left"
  mkdir -p "$work" && chmod 700 "$work"
  index=$(cat "$root$state/step")
  cp "$root$state"/* "$work/"
  rm -rf -- "$root$state" "$root$service" "$root$wanted" "$root$per_boot"
  if [ -d /run/systemd/system ]; then
    # Now systemd reads there how to end it.
    unit /run/systemd/system/goldsmith.service "$work/guest" run
    systemctl daemon-reload
    seconds=0
    while [ "$seconds" -lt 300 ]; do
      case $(systemctl is-system-running 2>/dev/null) in
      initializing | starting) sleep 1 ;;
      *) break ;;
      esac
      seconds=$((seconds + 1))
    done
  fi
  show 40960
  name=$(value "STEP_${index}_NAME")
  printf '{"name":%s,"result":"succeeded","tries":1}\n' "$(json "$name")" >>"$work/results"
  record step-finished "$index" "$(printf '%s' "$name" | word)" succeeded 1 0 -
  go_on
}

run() {
  : >"$work/results"
  record started
  wrong=$(unknown)
  if [ -n "$wrong" ]; then
    failed "$wrong"
    give_up
    return
  fi
  index=0
  go_on
}

# room: whether records and outputs can still be written, which are in memory; if not, gives up with words for which room was kept.
room() {
  [ -e "$work/reserve" ] || head -c 262144 /dev/zero >"$work/reserve"
  if { printf x >"$work/room"; } 2>/dev/null && [ -s "$work/room" ]; then return; fi
  rm -f "$work/reserve"
  failed 'there is no room in /run, in memory, which the step before has filled'
  give_up
  return 1
}

# go_on: runs the steps after the one at $index, and finishes.
go_on() {
  while [ "$index" -lt "$GOLDSMITH_STEPS" ]; do
    room || return
    index=$((index + 1))
    if [ -n "$(value "STEP_${index}_REBOOT")" ]; then
      restart "$index"
      return
    fi
    if ! step "$index"; then
      give_up
      return
    fi
  done
  room || return
  if ! why=$(search); then
    failed "${why:-what the search for secrets found could not be kept}"
    give_up
    return
  fi
  # What cloud-init writes at its end would come after cleanup.
  seconds=0
  while [ -d /run/cloud-init ] && [ ! -e /run/cloud-init/result.json ] && [ "$seconds" -lt 60 ]; do
    sleep 1
    seconds=$((seconds + 1))
  done
  : >"$work/succeeded"
  shut_down
}

# shut_down: an orderly end, in which systemd calls `finish`.
shut_down() {
  if [ -d /run/systemd/system ]; then
    systemctl poweroff --no-block
  else
    finish
    power_off
  fi
}

# finish: called by systemd when services have been stopped; also when a step or the timer has powered the builder off, and then
# there is nothing to finish.
finish() {
  [ -e "$work/succeeded" ] || return 0
  clean
  if manifest; then
    record finished
  else
    failed 'the manifest could not be written to /etc/goldsmith/image.json'
  fi
  show 24576
}
