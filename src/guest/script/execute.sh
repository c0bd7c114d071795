# execute SECONDS FILE VARIABLE...: runs a script with these NAME=VALUE variables; 0 seconds: without a limit. /run may be mounted
# noexec, so the interpreter of a `#!` line is called by name.
execute() {
  seconds=$1 file=$2
  shift 2
  IFS= read -r line <"$file"
  program=/bin/sh argument=
  case $line in
  '#!'*)
    read -r program argument <<LINE
${line#??}
LINE
    ;;
  esac
  set -- env -- "$@" "$program" ${argument:+"$argument"} "$file"
  [ "$seconds" -eq 0 ] || set -- timeout -k 10 "$seconds" "$@"
  "$@" </dev/null
}
