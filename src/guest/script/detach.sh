# unit FILE GUEST VERB: writes the unit that runs a guest's script.
#
# It is ordered before basic.target and has no default dependencies: at power-off systemd stops it when every ordinary service has
# been stopped, and what `finish` removes then is not written again.
unit() {
  cat >"$1" <<UNIT
[Unit]
Description=Goldsmith guest
DefaultDependencies=no
After=local-fs.target
Before=basic.target shutdown.target
Conflicts=shutdown.target
[Service]
ExecStart=/bin/sh $2 $3
ExecStop=/bin/sh $work/guest finish
Environment=HOME=/root
WorkingDirectory=/
RemainAfterExit=yes
StandardOutput=null
StandardError=null
TimeoutStopSec=900
UNIT
}

# What a reboot needs is there meanwhile.
state=/var/lib/goldsmith

# detach: goes on in a unit of its own, so that steps and checks may wait for cloud-init, outlast it and remove its files.
detach() {
  # User data that cloud-init runs again, after a step that has cleaned cloud-init and a reboot, say.
  if [ -e "$work/began" ] || [ -e "$state/step" ]; then return; fi
  mkdir -p "$work" && chmod 700 "$work"
  cat "$0" >"$work/guest"
  date +%s >"$work/began"
  if [ -d /run/systemd/system ]; then
    unit /run/systemd/system/goldsmith.service "$work/guest" run
    systemctl daemon-reload && systemctl start --no-block goldsmith.service && return
  fi
  (
    trap '' HUP
    export HOME=/root
    cd /
    exec sh "$work/guest" run
  ) </dev/null >/dev/null 2>&1 &
}

main() {
  case ${1-} in
  '') detach ;;
  run) run ;;
  resume) resume ;;
  finish) finish ;;
  esac
}
