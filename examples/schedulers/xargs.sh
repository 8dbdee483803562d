#!/bin/sh
# Move every settings file that is named, at most four at once, under one request budget.
#
#   sh examples/schedulers/xargs.sh docs.toml wiki.toml blog.toml
#
# Exit code 0: all are done. 123 (of xargs): at least one is not; moves.log names each with its exit
# code. Run it again: what is done is not done again.
set -u
FOLDER=${Q2V_FOLDER:-moves}
TRIES=${Q2V_TRIES:-3}
PAUSE_S=${Q2V_PAUSE_S:-60}
export FOLDER TRIES PAUSE_S
mkdir -p "$FOLDER"

printf '%s\n' "$@" | xargs -P 4 -I CONFIG sh -c '
  name=$(basename "$1" .toml)
  directory="$FOLDER/$name"
  for step in snapshot migrate reconcile; do
    done_mark="$directory.$step.done"
    [ -e "$done_mark" ] && continue
    budget="--budget $FOLDER/budget --yes"
    [ "$step" = snapshot ] && budget=""
    [ "$step" = reconcile ] && budget="--budget $FOLDER/budget"
    try=1
    while :; do
      # shellcheck disable=SC2086 # the options are several words
      q2v "$step" --config "$1" --dir "$directory" $budget >> "$directory.out" 2>> "$directory.log"
      code=$?
      echo "$name $step try $try: exit code $code" >> "$FOLDER/moves.log"
      case $code in
        0) : > "$done_mark"; break ;;
        7|8|11|13|130|143) # try again
          [ "$try" -lt "$TRIES" ] || exit 1
          try=$((try + 1)); sleep "$PAUSE_S" ;;
        *) exit 1 ;; # stop this move; the others continue
      esac
    done
  done
' sh CONFIG
