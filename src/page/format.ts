import { formatBytes } from '../format-bytes.ts';

/** `0 B`, `1.5 KiB`, `23.4 MiB`, in one piece. */
export const bytesText = (bytes: number): string => formatBytes(bytes).replace(' ', '\u00a0');

/** `3 s left`, `5 min left`; empty where it can't be told. */
export const leftText = (etaMs: number): string => {
  if (!Number.isFinite(etaMs)) return '';
  const seconds = Math.ceil(etaMs / 1000);
  if (seconds < 60) return `${seconds} s left`;
  const minutes = Math.ceil(seconds / 60);
  if (minutes < 60) return `${minutes} min left`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min left`;
};

/** Whole percent; 100 only when it is all. */
export const percent = (done: number, total: number): number =>
  done >= total ? 100 : Math.min(99, Math.floor((done / total) * 100));

/** `1 file`, `3 files`. */
export const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`;
