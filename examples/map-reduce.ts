/**
 * The words of many files: one task counts the words of each file, the last one adds the counts up.
 * `tq submit -f examples/map-reduce.ts --set dir=/data/texts --set out=/data/counts`, then `head /data/counts/words`.
 */
import fs from 'node:fs';
import path from 'node:path';

export const settings = {
  dir: { type: 'string', description: 'the directory with the .txt files' },
  out: { type: 'string', description: 'the directory for the counts; the words of all files are in words' },
  top: { type: 'int', default: 3, description: 'how many of the most frequent words are the result' },
};

/** Lines `COUNT WORD`; the number of different words is the result. */
const MAP = `
set -eu
mkdir -p "$2/parts"
part="$2/parts/$(basename "$1")"
tr 'A-Z' 'a-z' < "$1" | tr -cs 'a-z0-9' '\\n' | awk 'NF { n[$1]++ } END { for (w in n) print n[w], w }' > "$part.new"
mv "$part.new" "$part"
wc -l < "$part" | tr -d ' ' > "$TQ_RESULT_FILE"
`;

/** Reads exactly the parts of the files that were mapped, whatever else lies there. */
const REDUCE = `
set -eu
out=$1 top=$2
shift 2
cd "$out/parts"
cat -- "$@" | awk '{ n[$2] += $1 } END { for (w in n) print n[w], w }' | sort -k1,1nr -k2,2 > "$out/words.new"
mv "$out/words.new" "$out/words"
awk -v top="$top" 'NR <= top { printf "%s\\"%s\\": %d", (NR == 1 ? "{" : ", "), $2, $1 } END { print (NR == 0 ? "{}" : "}") }' "$out/words" > "$TQ_RESULT_FILE"
`;

export default function count({ dir, out, top }: { dir: string; out: string; top: number }): object {
  const files = fs
    .readdirSync(dir)
    .filter((name) => name.endsWith('.txt'))
    .toSorted();
  if (files.length === 0) throw new Error(`there is no .txt file in ${dir}`);
  const [from, to] = [path.resolve(dir), path.resolve(out)];
  return {
    name: 'word-count',
    tasks: [
      ...files.map((name, i) => ({
        id: `map-${i + 1}`,
        name: `map ${name}`,
        command: ['sh', '-c', MAP, 'map', path.join(from, name), to],
      })),
      {
        id: 'reduce',
        name: 'reduce',
        after: files.map((_, i) => `map-${i + 1}`),
        command: ['sh', '-c', REDUCE, 'reduce', to, top, ...files],
      },
    ],
  };
}
