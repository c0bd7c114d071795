# skipped ITEM: whether the recipe skips this item's cleanup.
skipped() {
  case " $GOLDSMITH_SKIP " in
  *" $1 "*) return 0 ;;
  esac
  return 1
}

line_break='
'
# For find: prints names, each in one line, whoever chose them. A line break becomes a question mark.
# shellcheck disable=SC2016
one_line='for path; do printf "%s" "$path" | tr "\n" "?"; echo; done'
# The same of files that hold one of the expressions in the file $1.
# shellcheck disable=SC2016
one_line_if_found='expressions=$1; shift; for path; do grep -qE -f "$expressions" -- "$path" && printf "Credentials %s" "$path" | tr "\n" "?" && echo; done'

# named BASE RULES: `ITEM PATH` of every file that is not empty and that a rule names, on the filesystem mounted at BASE.
named() {
  base=$1 rules=$2
  set --
  while read -r item pattern; do
    set -- "$@" -o -path "$base$pattern"
  done <<RULES
$rules
RULES
  shift
  find "${base:-/}" -xdev -type f -size +0 \( "$@" \) -exec sh -c "$one_line" sh {} + 2>/dev/null | while IFS= read -r path; do
    while read -r item pattern; do
      case $path in
      "$base"$pattern)
        [ "$item" = MachineId ] && [ "$(head -c 13 "$path")" = uninitialized ] || printf '%s %s\n' "$item" "${path#"$base"}"
        break
        ;;
      esac
    done <<RULES
$rules
RULES
  done
}

# secrets BASE TEST...: `ITEM PATH` of every file that holds a secret by its name, and of every small one that does by its content
# and passes these tests of find.
secrets() {
  base=$1
  shift
  while read -r pattern; do
    set -- "$@" ! -path "$base$pattern"
  done <<UNSEARCHED
$GOLDSMITH_UNSEARCHED
UNSEARCHED
  printf '%s\n' "$GOLDSMITH_CONTENTS" | cut -d ' ' -f 2- >"$work/expressions"
  {
    named "$base" "$GOLDSMITH_SECRETS"
    LC_ALL=C find "${base:-/}" -xdev -type f -size +0 -size -129 ! -path "*$line_break*" "$@" -exec grep -lE -f "$work/expressions" -- {} + 2>/dev/null |
      while IFS= read -r path; do
        while read -r item expression; do
          if LC_ALL=C grep -aE -e "$expression" -- "$path" | grep -aqv EXAMPLE; then
            printf '%s %s\n' "$item" "${path#"$base"}"
            break
          fi
        done <<CONTENTS
$GOLDSMITH_CONTENTS
CONTENTS
      done
    LC_ALL=C find "${base:-/}" -xdev -type f -size +0 -size -129 -path "*$line_break*" "$@" \
      -exec sh -c "$one_line_if_found" sh "$work/expressions" {} + 2>/dev/null | sed "s|^Credentials $base|Credentials |"
  } | sort -u
}
