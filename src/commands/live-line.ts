/**
 * One line at the foot of a terminal that says how far something is, written over as that changes. On standard error, only when that is a
 * terminal; what a pipe gets never has it.
 */
import { writeAll } from '../print.ts';
import { isUtf8 } from '../task/locale.ts';
import { fit } from '../task/visible.ts';
import type { Ctx } from './spec.ts';

export interface LiveLine {
  /** Replaces what it said. The text must be safe to show. */
  show(text: string): void;
  /** As if it had never been there. */
  clear(): void;
  /** What it said last stays, and the cursor goes below. */
  keep(): void;
}

const COLUMNS = 80;
const ERASE = '\r\x1b[K';

/** Undefined: nobody would see it. */
export function liveLine({ system }: Pick<Ctx, 'system'>): LiveLine | undefined {
  const term = system.env['TERM'] ?? '';
  if (!system.isTerminal(2) || term === '' || term === 'dumb') return undefined;
  let said = '';
  return {
    show(text) {
      const cut = fit(text, (system.columns() ?? COLUMNS) - 1);
      if (cut !== said) writeAll(2, ERASE + cut);
      said = cut;
    },
    clear() {
      if (said !== '') writeAll(2, ERASE);
      said = '';
    },
    keep() {
      if (said !== '') writeAll(2, '\n');
      said = '';
    },
  };
}

const CELLS = 20;

/** `[#######             ]  35%` */
export function bar(percent: number, { system }: Pick<Ctx, 'system'>): string {
  const [full, empty] = isUtf8(system.env) ? ['█', '░'] : ['#', '.'];
  const cells = Math.min(CELLS, Math.max(0, Math.floor((percent * CELLS) / 100)));
  return `${full!.repeat(cells)}${empty!.repeat(CELLS - cells)} ${String(Math.floor(percent)).padStart(3)}%`;
}
