import { UploadError } from '../../src/errors.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import type { Bucket } from './bucket.ts';
import type { Fragment } from './listing.ts';

/**
 * The bytes of a range, as long as it is, with what fragments hold of `gaps` in its place; the rest is the caller's.
 * Rejects with `gone` when the fragments do not hold it all.
 */
export const gather = async (
  bucket: Bucket,
  fragments: readonly Fragment[],
  range: Range,
  gaps: readonly Range[] = [range],
): Promise<Uint8Array> => {
  const target = Buffer.alloc(range.end - range.start);
  const filled = new IntervalSet();
  const open = (): readonly Range[] => gaps.flatMap(({ start, end }) => filled.missing(start, end));
  for (const { key, start, end } of fragments) {
    for (const gap of open()) {
      const [from, to] = [Math.max(gap.start, start), Math.min(gap.end, end)];
      if (from >= to) continue;
      const bytes = await bucket.get(key, from - start, to - start);
      if (bytes?.byteLength !== to - from) continue; // another process has merged it this moment
      target.set(bytes, from - range.start);
      filled.add(from, to);
    }
  }
  const [lost] = open();
  if (lost !== undefined) {
    throw new UploadError('gone', 'bytes of a fragment are not there', { offset: lost.start });
  }
  return target;
};
