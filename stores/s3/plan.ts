import { UploadError } from '../../src/errors.ts';
import type { Range } from '../../src/intervals.ts';

// Which part of a multipart upload holds which offset: fixed when the upload is made, and a function of nothing else, so
// that any process knows it without asking. A listing of parts is checked against it, and never summed up.

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;

/** What a provider takes. Sizes in bytes. */
export interface PartLimits {
  /** Of every part but the last. */
  readonly minPart: number;
  readonly maxPart: number;
  readonly maxParts: number;
  readonly maxObject: number;
  /** Whether all parts but the last must be of one size (R2). */
  readonly equalParts: boolean;
}

/** Amazon S3's; objects of 5 TiB are what every provider of note takes. */
export const s3Limits: PartLimits = {
  minPart: 5 * MiB,
  maxPart: 5 * GiB,
  maxParts: 10_000,
  maxObject: 5 * 1024 * GiB,
  equalParts: false,
};

export interface PartPlan {
  /** Of the first parts, in bytes. */
  readonly size: number;
  /** After so many parts the size doubles, again and again. Undefined: it never does. */
  readonly doublesAfter?: number;
  readonly maxPart: number;
  readonly maxParts: number;
}

/**
 * Of a known length as many equal parts as it takes; of an unknown one parts that grow, so that the last of them reaches
 * the largest object while the first are small. Throws `too_large` for a length that no plan reaches, and
 * `invalid_argument` for a size that no provider takes.
 */
export const planParts = (length: number | undefined, partSize: number, limits: PartLimits): PartPlan => {
  const { minPart, maxPart, maxParts, maxObject, equalParts } = limits;
  if (!Number.isSafeInteger(partSize) || partSize < minPart || partSize > maxPart) {
    const facts = { expected: `${minPart} to ${maxPart}`, actual: partSize };
    throw new UploadError('invalid_argument', 'no size for a part', facts);
  }
  if (length === undefined) {
    return equalParts
      ? { size: partSize, maxPart, maxParts }
      : { size: partSize, doublesAfter: Math.ceil(maxParts / 10), maxPart, maxParts };
  }
  const least = Math.ceil(length / maxParts);
  const size = least <= partSize ? partSize : Math.min(maxPart, Math.ceil(least / MiB) * MiB);
  if (length > maxObject || length > size * maxParts) {
    throw new UploadError('too_large', 'longer than an object can be', {
      expected: maxObject,
      actual: length,
    });
  }
  return { size, maxPart, maxParts };
};

/** The most bytes a plan has room for. */
export const reachOf = (plan: PartPlan): number => rangeOfPart(plan, plan.maxParts).end;

/** Where part `number` (from 1) begins and ends. */
export const rangeOfPart = (plan: PartPlan, number: number): Range => {
  const { first, start, size } = groupOf(plan, (end) => number <= end.number);
  if (number < 1 || number > plan.maxParts) {
    throw new UploadError('invalid_argument', 'no such part', { expected: plan.maxParts, actual: number });
  }
  const at = start + (number - first) * size;
  return { start: at, end: at + size };
};

/** The part that holds the byte at `offset`. Throws `too_large` past the last one. */
export const partAt = (plan: PartPlan, offset: number): { readonly number: number } & Range => {
  const { first, start, size } = groupOf(plan, (end) => offset < end.offset);
  const number = first + Math.floor((offset - start) / size);
  if (number > plan.maxParts) {
    const facts = { expected: reachOf(plan), actual: offset };
    throw new UploadError('too_large', 'past the last part', facts);
  }
  const at = start + (number - first) * size;
  return { number, start: at, end: at + size };
};

interface Group {
  /** Its first part, where that begins, and how large each is. */
  readonly first: number;
  readonly start: number;
  readonly size: number;
}

/** The first run of equal parts whose end is far enough. */
const groupOf = (
  { size, doublesAfter, maxPart }: PartPlan,
  isFarEnough: (end: { readonly number: number; readonly offset: number }) => boolean,
): Group => {
  if (doublesAfter === undefined) return { first: 1, start: 0, size };
  for (let first = 1, start = 0, now = size; ; ) {
    const end = { number: first + doublesAfter - 1, offset: start + doublesAfter * now };
    if (now === maxPart || isFarEnough(end)) return { first, start, size: now };
    first += doublesAfter;
    start = end.offset;
    now = Math.min(now * 2, maxPart);
  }
};

/** Every part that holds some of `[start, end)`. */
export const partsOf = (
  plan: PartPlan,
  start: number,
  end: number,
): ({ readonly number: number } & Range)[] => {
  const parts: ({ readonly number: number } & Range)[] = [];
  for (let at = start; at < end; ) {
    const part = partAt(plan, at);
    parts.push(part);
    at = part.end;
  }
  return parts;
};
