import { UploadError } from '../../src/errors.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import type { Bucket } from './bucket.ts';
import type { Fragment } from './listing.ts';

/** Bytes without a gap that are here already. */
export interface Run extends Range {
  readonly bytes: Uint8Array;
}

/**
 * Reads what fragments hold of `gaps` into `target`, whose first byte is the one at `start`. Rejects with `gone` when
 * they do not hold it all.
 */
export const fill = async (
  bucket: Bucket,
  fragments: readonly Fragment[],
  gaps: readonly Range[],
  { target, start }: { readonly target: Uint8Array; readonly start: number },
): Promise<void> => {
  const filled = new IntervalSet();
  const open = (): readonly Range[] => gaps.flatMap((gap) => filled.missing(gap.start, gap.end));
  for (const fragment of fragments) {
    for (const gap of open()) {
      const [from, to] = [Math.max(gap.start, fragment.start), Math.min(gap.end, fragment.end)];
      if (from >= to) continue;
      const bytes = await bucket.get(fragment.key, from - fragment.start, to - fragment.start);
      if (bytes?.byteLength !== to - from) continue; // another process has merged it this moment
      target.set(bytes, from - start);
      filled.add(from, to);
    }
  }
  const [lost] = open();
  if (lost !== undefined) throw gone(lost.start);
};

/**
 * The bytes of a range in order, from what is here and from fragments, a piece in memory at a time. Throws `gone` where
 * neither has them.
 */
export async function* inOrder(
  bucket: Bucket,
  fragments: readonly Fragment[],
  { start, end }: Range,
  runs: readonly Run[] = [],
): AsyncGenerator<Uint8Array> {
  const usable = new Set(fragments);
  for (let at = start; at < end; ) {
    const run = runs.find((each) => each.start <= at && at < each.end);
    if (run !== undefined) {
      const to = Math.min(run.end, end);
      yield run.bytes.subarray(at - run.start, to - run.start);
      at = to;
      continue;
    }
    const fragment = [...usable].find((each) => each.start <= at && at < each.end);
    if (fragment === undefined) throw gone(at);
    const nextRun = Math.min(...runs.map((each) => each.start).filter((other) => other > at));
    const to = Math.min(fragment.end, end, nextRun);
    const body = await bucket.open(fragment.key, at - fragment.start, to - fragment.start);
    const before = at;
    for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
      at += chunk.byteLength;
      yield chunk;
    }
    if (at === before) usable.delete(fragment); // another process has merged it this moment
  }
}

const gone = (offset: number): UploadError =>
  new UploadError('gone', 'bytes of a fragment are not there', { offset });
