# The power-off timer comes before everything else: whatever becomes of the rest, the instance ends.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

# Without stopping services first: for the end of an instance whose disk nobody wants.
power_off() {
  systemctl poweroff --force || poweroff -f
}

if [ "$#" -eq 0 ]; then
  if ! systemd-run --unit=goldsmith-power-off --on-active="$GOLDSMITH_LIFETIME" --timer-property=AccuracySec=1s \
    systemctl poweroff --force >/dev/null 2>&1; then
    (
      trap '' HUP
      sleep "$GOLDSMITH_LIFETIME"
      power_off
    ) >/dev/null 2>&1 </dev/null &
  fi
fi
