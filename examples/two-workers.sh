# To be sourced by the other examples: a queue of its own in a directory of its own ($dir), two workers on it, and nothing left of
# them when the script ends. $tq is the program; $TQ_DIR tells it the queue.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tq=${TQ:-$here/../dist/tq}
[ -x "$tq" ] || { echo "$0: no $tq; npm run build makes it, or name one with TQ=" >&2; exit 2; }

dir=$(mktemp -d "${TMPDIR:-/tmp}/tq-example.XXXXXX")
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

export TQ_DIR=$dir/queue
"$tq" init "$TQ_DIR" > /dev/null
for name in left right; do
  "$tq" worker --name "$name" -j 2 > /dev/null 2> "$dir/$name.err" &
  workers+=($!)
done

# result ID: what the task has handed on.
result() { "$tq" show --json "$1" | sed -n 's/^  "result": \(.*\),$/\1/p'; }
