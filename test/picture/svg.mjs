/**
 * Pictures of a terminal: what `tmux capture-pane -e` prints, drawn as SVG. Cells stand on a grid of their own, so that the picture does
 * not depend on the widths of the reader's font; colours are those of a dark theme.
 */
const CELL_W = 8.4;
const CELL_H = 18;
const PAD = 12;
const BACK = '#16181d';
const FORE = '#d4d7dd';
// prettier-ignore
const BASIC = [
  '#2b303b', '#e06c75', '#98c379', '#e5c07b', '#61afef', '#c678dd', '#56b6c2', '#c8ccd4',
  '#5c6370', '#ef7b85', '#a9d48a', '#f0cc88', '#74baff', '#d78bee', '#66c6d2', '#ffffff',
];
const STEPS = [0, 95, 135, 175, 215, 255];

function colour(n) {
  if (n < 16) return BASIC[n];
  const hex = (v) => v.toString(16).padStart(2, '0');
  if (n >= 232) return `#${hex(8 + 10 * (n - 232)).repeat(3)}`;
  const c = n - 16;
  return `#${hex(STEPS[Math.floor(c / 36)])}${hex(STEPS[Math.floor(c / 6) % 6])}${hex(STEPS[c % 6])}`;
}

const plain = () => ({ fg: null, bg: null, bold: false, dim: false, italic: false, underline: false, reverse: false });

/** Applies the numbers of one SGR sequence. */
function restyle(style, numbers) {
  const s = { ...style };
  for (let i = 0; i < numbers.length; i++) {
    const n = numbers[i];
    if (n === 0) Object.assign(s, plain());
    else if (n === 1) s.bold = true;
    else if (n === 2) s.dim = true;
    else if (n === 3) s.italic = true;
    else if (n === 4) s.underline = true;
    else if (n === 7) s.reverse = true;
    else if (n === 22) s.bold = s.dim = false;
    else if (n === 23) s.italic = false;
    else if (n === 24) s.underline = false;
    else if (n === 27) s.reverse = false;
    else if (n >= 30 && n <= 37) s.fg = colour(n - 30);
    else if (n === 39) s.fg = null;
    else if (n >= 40 && n <= 47) s.bg = colour(n - 40);
    else if (n === 49) s.bg = null;
    else if (n >= 90 && n <= 97) s.fg = colour(n - 82);
    else if (n >= 100 && n <= 107) s.bg = colour(n - 92);
    else if (n === 38 || n === 48) {
      const value = numbers[i + 1] === 5 ? colour(numbers[i + 2]) : `rgb(${numbers.slice(i + 2, i + 5).join(',')})`;
      s[n === 38 ? 'fg' : 'bg'] = value;
      i += numbers[i + 1] === 5 ? 2 : 4;
    }
  }
  return s;
}

/** Cells that a character takes: two for those of East Asia and for pictures. */
function width(char) {
  return /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u.test(char)
    ? 2
    : 1;
}

/** Runs of one style: `{ row, col, text, cells, style }`. */
function runs(screen) {
  const found = [];
  let style = plain();
  for (const [row, line] of screen.replace(/\n$/, '').split('\n').entries()) {
    let col = 0;
    for (const part of line.split(/(\x1b\[[0-9;:]*m)/)) {
      const sgr = /^\x1b\[([0-9;:]*)m$/.exec(part);
      if (sgr !== null) style = restyle(style, (sgr[1] === '' ? '0' : sgr[1]).split(/[;:]/).map(Number));
      else if (part !== '') {
        const text = part.replaceAll(/\x1b[()][A-Z0-9]|\x1b\][^\x07]*\x07|[\x0e\x0f]/g, '');
        const cells = [...text].reduce((n, char) => n + width(char), 0);
        found.push({ row, col, text, cells, style });
        col += cells;
      }
    }
  }
  return found;
}

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const px = (n) => String(Math.round(n * 10) / 10);

/** Blocks and lines fill their cells: drawn, since a font leaves gaps between them. */
function block(char, x, y) {
  const eighths = '▏▎▍▌▋▊▉█'.indexOf(char);
  if (eighths >= 0) return { x, y, w: (CELL_W * (eighths + 1)) / 8, h: CELL_H };
  const up = '▁▂▃▄▅▆▇'.indexOf(char);
  if (up >= 0) return { x, y: y + CELL_H * (1 - (up + 1) / 8), w: CELL_W, h: (CELL_H * (up + 1)) / 8 };
  return null;
}

/** What is on each line, by its place. */
function draw(screen) {
  const lines = new Map();
  for (const { row, col, text, cells, style } of runs(screen)) {
    const out = lines.get(row) ?? lines.set(row, []).get(row);
    const [x, y] = [PAD + col * CELL_W, PAD + row * CELL_H];
    const fg = style.reverse ? (style.bg ?? BACK) : (style.fg ?? FORE);
    const bg = style.reverse ? (style.fg ?? FORE) : style.bg;
    if (bg !== null) out.push(`<rect x="${px(x)}" y="${px(y)}" width="${px(cells * CELL_W)}" height="${CELL_H}" fill="${bg}"/>`);
    if (text.trim() === '') continue;
    const attributes = [
      `fill="${fg}"`,
      ...(style.bold ? ['font-weight="bold"'] : []),
      ...(style.italic ? ['font-style="italic"'] : []),
      ...(style.underline ? ['text-decoration="underline"'] : []),
      ...(style.dim ? ['opacity="0.6"'] : []),
    ].join(' ');
    let at = 0;
    for (const word of text.split(/( +|[▏▎▍▌▋▊▉█▁▂▃▄▅▆▇])/)) {
      const w = [...word].reduce((n, char) => n + width(char), 0);
      const b = w === 1 ? block(word, x + at * CELL_W, y) : null;
      if (b !== null) out.push(`<rect x="${px(b.x)}" y="${px(b.y)}" width="${px(b.w + 0.3)}" height="${px(b.h)}" ${attributes}/>`);
      else if (word.trim() !== '') {
        out.push(
          `<text x="${px(x + at * CELL_W)}" y="${px(y + CELL_H * 0.72)}" textLength="${px(w * CELL_W)}" lengthAdjust="spacingAndGlyphs" ${attributes}>${escaped(word)}</text>`,
        );
      }
      at += w;
    }
  }
  return [...lines.values()].map((line) => line.join('')).filter((line) => line !== '');
}

function svg(cols, rows, title, body, style = '') {
  const [w, h] = [cols * CELL_W + 2 * PAD, rows * CELL_H + 2 * PAD];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${px(w)} ${px(h)}" width="${px(w)}" height="${px(h)}" role="img" aria-label="${escaped(title)}">
<style>text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre; }${style}</style>
<rect width="100%" height="100%" rx="8" fill="${BACK}"/>
${body}
</svg>
`;
}

/** One screen. */
export function still(screen, cols, rows, title) {
  return svg(cols, rows, title, draw(screen).join('\n'));
}

/** Screens one after another, for ever: `[{ screen, ms }]`. Without animation the last one stays. */
export function movie(frames, cols, rows, title) {
  const total = frames.reduce((ms, f) => ms + f.ms, 0);
  let at = 0;
  const rules = [];
  // Most lines stay as they are from one screen to the next: each is drawn once.
  const drawn = new Map();
  const use = (line) => {
    if (!drawn.has(line)) drawn.set(line, `l${drawn.size}`);
    return `<use href="#${drawn.get(line)}"/>`;
  };
  const body = frames.map(({ screen, ms }, i) => {
    const [from, to] = [(100 * at) / total, (100 * (at + ms)) / total];
    at += ms;
    const steps = [
      ...(from > 0 ? [`0%, ${from.toFixed(3)}% { visibility: hidden }`] : []),
      `${(from + 0.001).toFixed(3)}%, ${to.toFixed(3)}% { visibility: visible }`,
      ...(to < 100 ? [`${(to + 0.001).toFixed(3)}%, 100% { visibility: hidden }`] : []),
    ];
    rules.push(`@keyframes f${i} { ${steps.join(' ')} } .f${i} { animation: f${i} ${total}ms step-end infinite }`);
    return `<g class="f${i}"${i === frames.length - 1 ? '' : ' visibility="hidden"'}>${draw(screen).map(use).join('')}</g>`;
  });
  const defs = [...drawn].map(([line, id]) => `<g id="${id}">${line}</g>`).join('\n');
  return svg(cols, rows, title, `<defs>\n${defs}\n</defs>\n${body.join('\n')}`, `\n${rules.join('\n')}\n`);
}
