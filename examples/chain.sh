#!/usr/bin/env bash
# chain.sh: three tasks one after the other, each computing from the result of the one before: ((2 + 2) + 5 + 6) * 4. The second one
# fails at first: the third is skipped, the first one's result stays, and a retry of the second finishes the chain.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/two-workers.sh"

# $TQ_INPUTS holds the result of each task that this one came after, by its id and by its name.
a=$("$tq" submit -n a -c 'echo $((2 + 2)) > $TQ_RESULT_FILE')
b=$("$tq" submit -n b --after "$a" -C "$dir" -c '[ -e ready ] && echo $(($(cat $TQ_INPUTS/a.json) + 5 + 6)) > $TQ_RESULT_FILE')
c=$("$tq" submit -n c --after "$b" -c 'echo $(($(cat $TQ_INPUTS/b.json) * 4)) > $TQ_RESULT_FILE')

"$tq" wait "$c" > /dev/null 2>&1 || true
echo "first   $("$tq" ls -o name,state --no-header "$a" "$b" "$c" | sort | tr -s ' \n' ' ')"

touch "$dir/ready"
"$tq" retry "$b" > /dev/null
"$tq" wait "$a" "$b" "$c" > /dev/null
echo "then    $(result "$a") $(result "$b") $(result "$c")"
[ "$(result "$c")" = 60 ] || { echo "chain: the result is $(result "$c"), not 60" >&2; exit 1; }
