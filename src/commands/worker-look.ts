/** Looking at workers. */
import { notWired } from './not-wired.ts';
import type { Ctx } from './spec.ts';
export const list = (_ctx: Ctx): Promise<number> => notWired();
export const show = (_ctx: Ctx): Promise<number> => notWired();
