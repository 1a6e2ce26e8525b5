import { createHash, randomBytes } from 'node:crypto';
import type { Range } from '../../src/intervals.ts';
import type { UploadRecord } from '../../src/store.ts';

export const KiB = 1024;
export const MiB = 1024 * KiB;

export const newId = (): string => randomBytes(16).toString('base64url');

/** Bytes that a name fixes; no two places in them, and no two names, are alike. */
export const contentOf = (name: string, length: number): Uint8Array => {
  if (length === 0) return new Uint8Array();
  return new Uint8Array(createHash('shake256', { outputLength: length }).update(name).digest());
};

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export const newRecord = (facts: Partial<UploadRecord> = {}): UploadRecord => ({
  id: newId(),
  createdAt: Date.now(),
  state: 'open',
  metadata: {},
  attempt: 0,
  ...facts,
});

/** Copies of the bytes in `count` unequal pieces, the first of which may be empty. */
export const inPieces = (bytes: Uint8Array, count: number): Uint8Array[] => {
  const cut = (n: number): number => Math.floor(bytes.length * (n / count) ** 2);
  return Array.from({ length: count }, (_, n) => bytes.slice(cut(n), cut(n + 1)));
};

/** What becomes of buffers once they are their caller's again. */
export const scribble = (buffers: readonly Uint8Array[]): void => {
  for (const buffer of buffers) buffer.fill(0xa5);
};

/** `[0, length)` in ranges of `size`. */
export const rangesOf = (length: number, size: number): Range[] =>
  Array.from({ length: Math.ceil(length / size) }, (_, n) => ({
    start: n * size,
    end: Math.min((n + 1) * size, length),
  }));
