# skipped ITEM: whether the recipe skips this item's cleanup.
skipped() {
  case " $GOLDSMITH_SKIP " in
  *" $1 "*) return 0 ;;
  esac
  return 1
}

line_break='
'
# For find: prints names, each in one line, whoever chose them. Control characters become question marks.
# shellcheck disable=SC2016
one_line='for path; do printf "%s" "$path" | LC_ALL=C tr "[:cntrl:]" "?"; echo; done'
# For find: files that hold one of $expressions, or that may: one that grep fails at must not hide those after it.
# shellcheck disable=SC2016
suspects='LC_ALL=C grep -lE -e "$expressions" -- "$@" 2>/dev/null
[ $? -lt 2 ] || for path; do
  LC_ALL=C grep -qE -e "$expressions" -- "$path" 2>/dev/null
  [ $? -eq 1 ] || printf "%s\n" "$path"
done
:'
# For find: `ITEM PATH`, as above and without $base, of the files that hold a secret; `! PATH` of one that is there and cannot be searched.
# shellcheck disable=SC2016
told_if_found='for path; do
  found=
  while read -r item expression; do
    # Not what names the recipe and its steps: nobody can change it.
    [ "$item$path" != "ForbiddenContent$base/etc/goldsmith/image.json" ] || continue
    grep -aqE -e "$expression" -- "$path" 2>/dev/null
    case $? in
    0) ;;
    1) continue ;;
    *)
      [ ! -e "$path" ] || found=!
      continue
      ;;
    esac
    if grep -aE -e "$expression" -- "$path" 2>/dev/null | {
      # Documentation marks its sample keys so. What a recipe forbids it forbids in any case.
      if [ "$item" = ForbiddenContent ]; then grep -aq ^; else grep -aqv EXAMPLE; fi
    }; then
      found=$item
      break
    fi
  done <<CONTENTS
$contents
CONTENTS
  [ -n "$found" ] || continue
  printf "%s " "$found"
  printf "%s" "${path#"$base"}" | tr "[:cntrl:]" "?"
  echo
done
:'

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
  {
    find "${base:-/}" -xdev -type f -size +0 \( "$@" \) -exec sh -c "$one_line" sh {} + 2>/dev/null || incomplete
  } | while IFS= read -r path; do
    case $path in '! '*) printf '%s\n' "$path" && continue ;; esac
    while read -r item pattern; do
      # shellcheck disable=SC2254 # a pattern it is
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

# first: as many findings as the manifest and the console have room for, the first of each item before all others: a recipe lets pass
# what it skips, and that must hide nothing else. What is cut off in the middle, read takes for no line. No file is needed, for there
# may be no room.
first() {
  LC_ALL=C cut -b 1-400 | {
    items=' ' others='' count=0
    while IFS= read -r finding; do
      case $items in
      *" ${finding%% *} "*)
        count=$((count + 1))
        [ "$count" -gt 50 ] || others=$others$finding$line_break
        ;;
      *)
        items="$items${finding%% *} "
        printf '%s\n' "$finding"
        ;;
      esac
    done
    printf '%s' "$others"
  } | head -n 50 | head -c 4200 | while IFS= read -r finding; do printf '%s\n' "$finding"; done
}

# unknown: what is wrong with the first expression that grep does not take: with one of those it would find nothing at all.
unknown() {
  printf '%s\n' "$GOLDSMITH_CONTENTS" | while read -r item expression; do
    # busybox only looks at it when there is a line.
    echo | timeout 10 grep -qE -e "$expression" 2>/dev/null
    if [ $? -gt 1 ]; then printf 'spec.build.cleanup.forbiddenContent: grep -E does not take %s' "$expression" && break; fi
  done
}

# secrets BASE TEST...: `ITEM PATH` of every file that holds a secret by its name, and of every small one that does by its content and
# passes these tests of find; `! PATH` of what could not be searched.
secrets() {
  base=$1
  shift
  while read -r pattern; do
    set -- "$@" ! -path "$base$pattern"
  done <<UNSEARCHED
$GOLDSMITH_UNSEARCHED
UNSEARCHED
  expressions=$(printf '%s\n' "$GOLDSMITH_CONTENTS" | cut -d ' ' -f 2-)
  # shellcheck disable=SC2097,SC2098 # for the shells that find calls
  {
    named "$base" "$GOLDSMITH_SECRETS"
    # One search finds the few files that are looked at one by one; names with a line break do not come through.
    {
      expressions=$expressions LC_ALL=C find "${base:-/}" -xdev -type f -size +0 -size -129 ! -path "*$line_break*" "$@" \
        -exec sh -c "$suspects" sh {} + 2>/dev/null || incomplete >&3
    } | while IFS= read -r path; do
      LC_ALL=C base=$base contents=$GOLDSMITH_CONTENTS sh -c "$told_if_found" sh "$path"
    done
    LC_ALL=C base=$base contents=$GOLDSMITH_CONTENTS find "${base:-/}" -xdev -type f -size +0 -size -129 -path "*$line_break*" "$@" \
      -exec sh -c "$told_if_found" sh {} + 2>/dev/null || incomplete
  } 3>&1 | sort -u
}
