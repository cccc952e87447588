/** Asking something of workers. */
import { notWired } from './not-wired.ts';
import type { Ctx } from './spec.ts';
const later = (_ctx: Ctx): Promise<number> => notWired();
export { later as wake, later as sleep, later as stop, later as restart, later as remove };
