/**
 * Frames in chunks, then a movie: `tq submit -f examples/render.ts --set frames=1-48 --set chunk=8 --set out=/data/movie`.
 * ImageMagick draws and ffmpeg encodes where they are installed; elsewhere awk writes PPM images, and the movie is all of them in a row.
 */
interface Settings {
  frames: readonly number[] & { chunks(size: number): string[] };
  chunk: number;
  width: number;
  out: string;
}

export const settings = {
  frames: { type: 'range', default: '1-12', description: 'which frames: 1-10,20-25,40' },
  chunk: { type: 'int', default: 4, description: 'frames of one task' },
  width: { type: 'int', default: 64, description: 'pixels across; the height is 9/16 of it' },
  out: { type: 'string', description: 'the directory for frames and movie' },
};

/** Draws the frames that its first word names, as `1-4,9`. */
const DRAW = `
set -eu
mkdir -p "$2"
height=$(($3 * 9 / 16))
done=0
all=$(echo "$1" | tr ',' '\\n' | while IFS=- read -r a b; do seq "$a" "\${b:-$a}"; done)
for n in $all; do
  file=$(printf '%s/frame-%06d.ppm' "$2" "$n")
  if command -v magick > /dev/null; then
    magick -size "$3x$height" "gradient:hsl($((n * 7 % 360)),70%,60%)-black" -compress none "$file.new"
  else
    awk -v n="$n" -v w="$3" -v h="$height" 'BEGIN {
      print "P3", w, h, 255
      for (y = 0; y < h; y++) for (x = 0; x < w; x++) print (x * 4 + n * 8) % 256, (y * 7) % 256, (n * 16) % 256
    }' > "$file.new"
  fi
  mv "$file.new" "$file"
  done=$((done + 1))
  echo "$((100 * done / $(echo "$all" | wc -l))) frame $n" > "$TQ_PROGRESS_FILE"
done
`;

const ENCODE = `
set -eu
cd "$1"
if command -v ffmpeg > /dev/null; then
  movie=movie.mp4
  cat frame-*.ppm | ffmpeg -loglevel error -y -f image2pipe -c:v ppm -framerate 24 -i - -pix_fmt yuv420p "$movie"
else
  movie=movie.ppm
  cat frame-*.ppm > "$movie.new"
  mv "$movie.new" "$movie"
fi
printf '{"movie": "%s", "frames": %s}' "$PWD/$movie" "$(ls frame-*.ppm | wc -l)" > "$TQ_RESULT_FILE"
`;

export default function render({ frames, chunk, width, out }: Settings): object {
  const chunks = frames.chunks(chunk);
  return {
    name: 'render',
    defaults: { retries: 1 },
    tasks: [
      ...chunks.map((part, i) => ({
        id: `frames-${i + 1}`,
        name: `frames ${part}`,
        command: ['sh', '-c', DRAW, 'draw', part, out, width],
      })),
      { id: 'movie', name: 'movie', after: chunks.map((_, i) => `frames-${i + 1}`), command: ['sh', '-c', ENCODE, 'encode', out] },
    ],
  };
}
