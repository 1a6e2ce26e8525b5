import { UploadError } from './errors.ts';

/** Half-open: `start` is in it, `end` is not. Bytes; `0 <= start <= end`, both safe integers. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** Checks at the edge, once: nothing further in tests a range again. */
export const assertRange = (start: number, end: number): void => {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end < start) {
    throw new UploadError('invalid_argument', 'not a range of safe integers', {
      expected: 'start <= end',
      actual: `${start}-${end}`,
    });
  }
};

/**
 * A set of bytes as sorted, disjoint, never touching half-open ranges. It only grows.
 *
 * Bounds live in two flat arrays: a lookup is one binary search, an append at the end of a run changes one
 * number, and a hundred thousand ranges are two arrays rather than a hundred thousand objects.
 */
export class IntervalSet {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #size = 0;

  static from(ranges: Iterable<Range>): IntervalSet {
    const set = new IntervalSet();
    for (const { start, end } of ranges) set.add(start, end);
    return set;
  }

  /** Bytes in the set. */
  get size(): number {
    return this.#size;
  }

  /** Disjoint ranges in the set. */
  get count(): number {
    return this.#starts.length;
  }

  /** Where the last range ends; 0 when there is none. */
  get end(): number {
    return this.#ends.at(-1) ?? 0;
  }

  /** Adds a range; returns how many of its bytes were new. */
  add(start: number, end: number): number {
    if (start === end) return 0;
    if (this.#starts.length === 0 || start > this.end) {
      this.#starts.push(start);
      this.#ends.push(end);
      this.#size += end - start;
      return end - start;
    }
    // Every range from `first` up to (not including) `last` touches the new one and is merged with it.
    const first = lowerBound(this.#ends, start);
    const last = upperBound(this.#starts, end, first);
    if (first === last) {
      this.#starts.splice(first, 0, start);
      this.#ends.splice(first, 0, end);
      this.#size += end - start;
      return end - start;
    }
    let known = 0;
    for (let i = first; i < last; i++) known += at(this.#ends, i) - at(this.#starts, i);
    const mergedStart = Math.min(start, at(this.#starts, first));
    const mergedEnd = Math.max(end, at(this.#ends, last - 1));
    if (last - first > 1) {
      this.#starts.splice(first + 1, last - first - 1);
      this.#ends.splice(first + 1, last - first - 1);
    }
    this.#starts[first] = mergedStart;
    this.#ends[first] = mergedEnd;
    const added = mergedEnd - mergedStart - known;
    this.#size += added;
    return added;
  }

  addAll(ranges: Iterable<Range>): void {
    for (const { start, end } of ranges) this.add(start, end);
  }

  /**
   * Adds many ranges, in no order: all their starts, and all their ends. A byte is in one of them where more have
   * started than have ended, whichever end belongs to which start: so it is numbers that are sorted here, and not
   * objects. Both arrays are sorted in place.
   */
  addMany(starts: Float64Array, ends: Float64Array): void {
    starts.sort();
    ends.sort();
    for (let first = 0, i = 1; i <= starts.length; i++) {
      const end = ends[i - 1] as number;
      if (i < starts.length && (starts[i] as number) <= end) continue;
      this.add(starts[first] as number, end);
      first = i;
    }
  }

  /** Whether every byte of the range is in the set; an empty range always is. */
  covers(start: number, end: number): boolean {
    return start === end || this.runEnd(start) >= end;
  }

  /**
   * The end of the run of stored bytes that begins at or covers `offset`; `offset` itself when it is missing.
   */
  runEnd(offset: number): number {
    const i = upperBound(this.#starts, offset) - 1;
    return i >= 0 && at(this.#ends, i) > offset ? at(this.#ends, i) : offset;
  }

  /** The first stored byte at or after `offset`; Infinity when there is none. */
  nextStored(offset: number): number {
    if (this.runEnd(offset) > offset) return offset;
    return this.#starts[lowerBound(this.#starts, offset)] ?? Number.POSITIVE_INFINITY;
  }

  /** The first `limit` ranges, in order. */
  ranges(limit = Number.POSITIVE_INFINITY): Range[] {
    const out: Range[] = [];
    for (let i = 0; i < this.#starts.length && i < limit; i++) {
      out.push({ start: at(this.#starts, i), end: at(this.#ends, i) });
    }
    return out;
  }

  /** What of `[start, end)` is not in the set, in order. */
  missing(start: number, end: number): Range[] {
    const out: Range[] = [];
    for (let offset = this.runEnd(start); offset < end; ) {
      const next = Math.min(this.nextStored(offset), end);
      out.push({ start: offset, end: next });
      offset = this.runEnd(next);
    }
    return out;
  }

  clone(): IntervalSet {
    return IntervalSet.from(this.ranges());
  }
}

/** The index of the first value `>= key`. */
const lowerBound = (values: readonly number[], key: number): number => {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (at(values, middle) < key) low = middle + 1;
    else high = middle;
  }
  return low;
};

/** The index of the first value `> key`, searched from `low` on. */
const upperBound = (values: readonly number[], key: number, from = 0): number => {
  let low = from;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (at(values, middle) <= key) low = middle + 1;
    else high = middle;
  }
  return low;
};

/** An index the caller has bounded. */
const at = (values: readonly number[], index: number): number => values[index] as number;
