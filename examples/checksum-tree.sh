#!/usr/bin/env bash
# checksum-tree.sh [DIR [LIMIT]]: one task per file below DIR, two workers side by side on one queue, and every result compared
# with what sha256sum says when it is run directly. Without DIR: the first 2,000 of the packages in node_modules. LIMIT (or
# $LIMIT) takes only so many files, 0 all of them. Exit 0 only if every file was done once and every sum agrees.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tq=${TQ:-$here/../dist/tq}
tree=${1:-$here/../node_modules}
limit=${2:-${LIMIT:-$([ $# -eq 0 ] && echo 2000 || echo 0)}}
jobs=${JOBS:-2}
[ -x "$tq" ] || { echo "checksum-tree: no $tq; npm run build makes it, or name one with TQ=" >&2; exit 2; }
[ -d "$tree" ] || { echo "checksum-tree: not a directory: $tree" >&2; exit 2; }
tree=$(cd "$tree" && pwd)

dir=$(mktemp -d "${TMPDIR:-/tmp}/checksum-tree.XXXXXX")
workers=()
leave() {
  # Twice: the second signal hands back what a worker still runs.
  for signal in TERM TERM; do
    for pid in "${workers[@]}"; do kill -s "$signal" "$pid" 2>/dev/null || true; done
  done
  for pid in "${workers[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$dir"
}
trap leave EXIT
trap 'exit 130' INT TERM

now() { date +%s%N; }
# rate COUNT NANOSECONDS: "1.23 s, 456 per second"
rate() { awk -v n="$1" -v ns="$2" 'BEGIN { s = ns / 1e9; printf "%.2f s, %.0f per second", s, n / s }'; }

find "$tree" -type f -print0 | LC_ALL=C sort -z > "$dir/all"
if [ "$limit" -gt 0 ]; then head -z -n "$limit" "$dir/all" > "$dir/files"; else mv "$dir/all" "$dir/files"; fi
count=$(tr -dc '\0' < "$dir/files" | wc -c)
[ "$count" -gt 0 ] || { echo "checksum-tree: no files in $tree" >&2; exit 2; }
echo "files      $count below $tree"

export TQ_DIR=$dir/queue
"$tq" init "$TQ_DIR" > /dev/null
for name in left right; do
  "$tq" worker --name "$name" -j "$jobs" > /dev/null 2> "$dir/$name.err" &
  workers+=($!)
done

# The words of a command are never quoted or split again, so any file name will do.
began=$(now)
xargs -0 -P 4 -I '{}' "$tq" submit -- sha256sum -- '{}' < "$dir/files" > "$dir/ids"
submitted=$(now)
code=0
"$tq" wait @all > /dev/null || code=$?
ended=$(now)
echo "submitted  $(rate "$count" $((submitted - began))), a process each"
echo "done       $(rate "$count" $((ended - began))), from the first submit to the last result"

# What each task printed is its log, runs/<bucket>/<id>.a<attempt>.log: no tq is needed to read it.
find "$TQ_DIR/runs" -name '*.log' -exec cat {} + | LC_ALL=C sort > "$dir/got"
began=$(now)
xargs -0 sha256sum -- < "$dir/files" | LC_ALL=C sort > "$dir/wanted"
ended=$(now)
echo "directly   $(rate "$count" $((ended - began))), sha256sum alone in one process"

ids=$(sort -u "$dir/ids" | wc -l)
finished=$("$tq" ls -s done --count)
left=$("$tq" ls -s done --worker left --count)
right=$("$tq" ls -s done --worker right --count)
echo "workers    left ran $left, right ran $right"

[ "$code" -eq 0 ] || echo "checksum-tree: tq wait said $code" >&2
[ "$ids" -eq "$count" ] || { echo "checksum-tree: $count files, but $ids ids" >&2; code=1; }
[ "$finished" -eq "$count" ] || { echo "checksum-tree: $count tasks, but $finished done" >&2; code=1; }
if diff "$dir/wanted" "$dir/got" > "$dir/diff"; then
  echo "agree      all $count sums"
else
  echo "checksum-tree: sums differ (< sha256sum, > tq):" >&2
  head -n 10 "$dir/diff" >&2
  code=1
fi
exit "$code"
