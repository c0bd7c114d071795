# detach: goes on in a unit of its own, so that steps and checks may wait for cloud-init, outlast it and remove its files.
#
# The unit is ordered before basic.target and has no default dependencies: at power-off systemd stops it when every ordinary
# service has been stopped, and what `finish` removes then is not written again.
detach() {
  mkdir -p -m 700 "$work"
  cat "$0" >"$work/guest"
  if [ -d /run/systemd/system ]; then
    cat >/run/systemd/system/goldsmith.service <<UNIT
[Unit]
Description=Goldsmith guest
DefaultDependencies=no
After=local-fs.target
Before=basic.target shutdown.target
Conflicts=shutdown.target
[Service]
ExecStart=/bin/sh $work/guest run
ExecStop=/bin/sh $work/guest finish
Environment=HOME=/root
WorkingDirectory=/
RemainAfterExit=yes
StandardOutput=null
StandardError=null
TimeoutStopSec=900
UNIT
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
  finish) finish ;;
  esac
}
