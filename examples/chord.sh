#!/usr/bin/env bash
# chord.sh: COUNT tasks side by side (default 10), and one that runs after all of them, once, with their results in the order of their
# submits.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/two-workers.sh"

count=${1:-10}
ids=()
for i in $(seq "$count"); do
  ids+=("$("$tq" submit -e I="$i" -c 'sleep 0.0$((I % 3)); echo $((I * 10)) > $TQ_RESULT_FILE')")
done
after=$(IFS=,; echo "${ids[*]}")
# An id sorts as it was submitted, so a glob over them is in that order.
join=$("$tq" submit --after "$after" -C "$dir" -c 'echo ran >> joined; cat $TQ_INPUTS/*.json')
"$tq" wait "$join" > /dev/null

got=$("$tq" logs "$join" | tr '\n' ' ')
echo "join    $got"
[ "$got" = "$(seq -s ' ' 10 10 $((count * 10))) " ] || { echo "chord: not the results in their order" >&2; exit 1; }
[ "$(wc -l < "$dir/joined")" -eq 1 ] || { echo "chord: the join ran more than once" >&2; exit 1; }
