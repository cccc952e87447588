#!/usr/bin/env bash
# group.sh: tasks of one group side by side, waited for and counted as one. COUNT tasks (default 6), of which the first fails
# once and is retried by itself; what follows from a failure for good is said by --on-failure.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/two-workers.sh"

count=${1:-6}
for i in $(seq "$count"); do
  "$tq" submit -g squares -n "square-$i" -e I="$i" --retries 1 --backoff none --on-failure 'echo "$TQ_PARENT_ID: $TQ_PARENT_ERROR"' \
    -c '[ $I -gt 1 ] || [ $TQ_ATTEMPT -gt 1 ] || exit 1; echo $((I * I)) > $TQ_RESULT_FILE' > /dev/null
done
"$tq" wait -g squares > /dev/null
echo "ended   $("$tq" ls -g squares -s done --count) of $count"

sum=0
for id in $("$tq" ls -g squares -s done -o id --no-header); do sum=$((sum + $(result "$id"))); done
echo "sum     $sum"
[ "$sum" -eq $((count * (count + 1) * (2 * count + 1) / 6)) ] || { echo "group: the sum is $sum" >&2; exit 1; }
[ "$("$tq" ls -a --count)" -eq "$count" ] || { echo "group: something followed from a failure" >&2; exit 1; }
