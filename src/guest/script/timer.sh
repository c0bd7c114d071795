# The power-off timer comes before everything else: whatever becomes of the rest, the instance ends.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

# Without stopping services first: for the end of an instance whose disk nobody wants.
power_off() {
  systemctl poweroff --force || poweroff -f
}

# power_off_in SECONDS: whatever happens until then.
power_off_in() {
  if ! systemd-run --unit=goldsmith-power-off --on-active="$1" --timer-property=AccuracySec=1s \
    systemctl poweroff --force >/dev/null 2>&1; then
    (
      trap '' HUP
      sleep "$1"
      power_off
    ) >/dev/null 2>&1 </dev/null &
  fi
}
[ "$#" -gt 0 ] || power_off_in "$GOLDSMITH_LIFETIME"
