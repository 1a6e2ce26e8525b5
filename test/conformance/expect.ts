import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { isUploadError, type UploadErrorCode } from '../../src/errors.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import type { Store, UploadRecord } from '../../src/store.ts';

export const rejectsWith = async (
  promise: Promise<unknown>,
  code: UploadErrorCode,
  what: string,
): Promise<void> => {
  const outcome = await promise.then(
    () => 'resolved',
    (error: unknown) => (isUploadError(error, code) ? undefined : error),
  );
  if (outcome === undefined) return;
  const how = outcome instanceof Error ? `rejected with ${outcome}` : 'resolved';
  throw new assert.AssertionError({ message: `${what} ${how}, not with an UploadError '${code}'` });
};

/** Rejects, with whatever. */
export const refuses = async (promise: Promise<unknown>, what: string): Promise<void> => {
  const resolved = await promise.then(
    () => true,
    () => false,
  );
  assert.ok(!resolved, `${what} resolved`);
};

/** The SHA-256 of what a store reads back, and nothing else it reads. */
export const readSum = async (store: Store, id: string, start: number, end: number): Promise<string> => {
  const hash = createHash('sha256');
  for await (const chunk of store.read(id, start, end)) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
};

export const readBytes = async (store: Store, id: string, start: number, end: number): Promise<Buffer> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of store.read(id, start, end)) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
};

export const idsOf = async (ids: AsyncIterable<string>): Promise<string[]> => {
  const all: string[] = [];
  for await (const id of ids) all.push(id);
  return all;
};

/** Sorted, disjoint and merged: neither touching nor empty. */
export const assertOrdered = (ranges: readonly Range[], what: string): void => {
  let last = -1;
  for (const { start, end } of ranges) {
    assert.ok(start > last && end > start, `${what} is not sorted, disjoint and merged: ${text(ranges)}`);
    last = end;
  }
};

export const assertCovers = (ranges: Iterable<Range>, part: IntervalSet, what: string): void => {
  const all = IntervalSet.from(ranges);
  for (const { start, end } of part.ranges()) {
    assert.ok(all.covers(start, end), `${what}: ${start}-${end} is missing in ${text(all.ranges(20))}`);
  }
};

/** Of records every field counts, its order and its prototype do not. */
export const assertRecord = (actual: UploadRecord, expected: UploadRecord): void => {
  const field = differingField(actual, expected);
  if (field === undefined) return;
  assert.fail(`record.${field} is ${clip(actual[field])} and must be ${clip(expected[field])}`);
};

export const isSameRecord = (a: UploadRecord, b: UploadRecord): boolean => differingField(a, b) === undefined;

const differingField = (a: UploadRecord, b: UploadRecord): keyof UploadRecord | undefined => {
  const fields = new Set([...Object.keys(a), ...Object.keys(b)]) as Set<keyof UploadRecord>;
  return [...fields].find((field) => a[field] !== b[field] && canonical(a[field]) !== canonical(b[field]));
};

/** As pairs, since `__proto__` is no key like others. */
const canonical = (value: unknown): string | undefined =>
  text(
    typeof value === 'object' && value !== null
      ? Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1))
      : value,
  );

/** Undefined for what is undefined. */
const text = (value: unknown): string | undefined => JSON.stringify(value);

const clip = (value: unknown): string => {
  const all = text(value) ?? 'missing';
  return all.length > 200 ? `${all.slice(0, 200)}… (${all.length} characters)` : all;
};
