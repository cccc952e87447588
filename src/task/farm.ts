/**
 * The farm in one word.
 */
export type StatusWord = 'active' | 'idle' | 'waiting' | 'asleep' | 'empty';
