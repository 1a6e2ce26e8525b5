import { IntervalSet, type Range } from '../../src/intervals.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { Run } from './gather.ts';

export interface PartMemorySource {
  readonly pool: BufferPool;
  /** A part of at most so many bytes may be in one piece of memory. */
  readonly inMemory: number;
}

/** What has so much of its part is taken to go on like that: then the part gets its memory as a whole. */
const promisingShare = 1 / 2;

/** Until then it gets memory by so much. */
const mostSlabBytes = 256 * 1024;

/** Bytes of one part that have arrived, in any order and each once. */
export class PartBuffer {
  readonly number: number;
  readonly range: Range;
  /** When the first of them came. */
  readonly since = Date.now();
  readonly #pool: BufferPool;
  readonly #mayJoin: boolean;
  readonly #slabBytes: number;
  readonly #held = new IntervalSet();
  /** By their place in the part. */
  readonly #slabs = new Map<number, Uint8Array>();
  /** In the place of the slabs. */
  #whole: Uint8Array | undefined;

  /** `range` is that of the part, up to the end of the content where that is known. */
  constructor(number: number, range: Range, { pool, inMemory }: PartMemorySource) {
    this.number = number;
    this.range = range;
    this.#pool = pool;
    this.#mayJoin = range.end - range.start <= inMemory;
    this.#slabBytes = Math.min(mostSlabBytes, range.end - range.start);
  }

  get size(): number {
    return this.#held.size;
  }

  get held(): IntervalSet {
    return this.#held;
  }

  get gaps(): readonly Range[] {
    return this.#held.missing(this.range.start, this.range.end);
  }

  /** Whether `joined` takes no more memory than there is already. */
  get isJoined(): boolean {
    return this.#whole !== undefined;
  }

  /** Copies what is new of the bytes at `offset`, all inside the part; returns how many. */
  add(buffers: readonly Uint8Array[], offset: number, length: number): number {
    const { start, end } = this.range;
    if (this.#mayJoin && this.size + length >= (end - start) * promisingShare) this.joined();
    let added = 0;
    for (const gap of this.#held.missing(offset, offset + length)) {
      let skip = gap.start - offset;
      for (const target of this.#spaces(gap.start, gap.end)) {
        copy(buffers, skip, target);
        skip += target.byteLength;
      }
      added += gap.end - gap.start;
    }
    this.#held.add(offset, offset + length);
    return added;
  }

  /** Every run of bytes that is in one piece of memory, in order. */
  runs(): readonly Run[] {
    return this.#held.ranges().flatMap(({ start, end }) => {
      let at = start;
      return [...this.#spaces(start, end)].map((bytes) => {
        const run = { start: at, end: at + bytes.byteLength, bytes };
        at = run.end;
        return run;
      });
    });
  }

  /** All that is held in runs of at most `most` bytes, each in one piece of memory once it is asked for. */
  *joinedRuns(most: number): Generator<Run> {
    for (const { start, end } of this.#held.ranges()) {
      for (let at = start; at < end; ) {
        const next = Math.min(end, at + most);
        const spaces = [...this.#spaces(at, next)];
        const [only] = spaces;
        const bytes = spaces.length === 1 && only !== undefined ? only : Buffer.concat(spaces);
        yield { start: at, end: next, bytes };
        at = next;
      }
    }
  }

  /** The whole range in one, with what is not held still to be filled in. */
  joined(): Uint8Array {
    if (this.#whole !== undefined) return this.#whole;
    const { start, end } = this.range;
    const whole = this.#pool.take(end - start);
    for (const run of this.runs()) whole.set(run.bytes, run.start - start);
    this.end();
    this.#whole = whole;
    return whole;
  }

  /** Nothing of it is wanted any more; and nothing is read by a request, or `isRead` says otherwise. */
  end(isRead = false): void {
    const memory = [...this.#slabs.values(), ...(this.#whole === undefined ? [] : [this.#whole])];
    this.#slabs.clear();
    this.#whole = undefined;
    for (const bytes of memory) {
      if (isRead) this.#pool.drop(bytes);
      else this.#pool.give(bytes);
    }
  }

  /** The memory for a range of the part, in order. */
  *#spaces(start: number, end: number): Generator<Uint8Array> {
    const [from, to] = [start - this.range.start, end - this.range.start];
    if (this.#whole !== undefined) {
      yield this.#whole.subarray(from, to);
      return;
    }
    for (let at = from; at < to; ) {
      const number = Math.floor(at / this.#slabBytes);
      const first = number * this.#slabBytes;
      const slab = this.#slabs.get(number) ?? this.#pool.take(this.#slabBytes);
      this.#slabs.set(number, slab);
      const next = Math.min(to, first + this.#slabBytes);
      yield slab.subarray(at - first, next - first);
      at = next;
    }
  }
}

/** Fills `target` with what comes after the first `skip` bytes of several buffers, as of one. */
const copy = (buffers: readonly Uint8Array[], skip: number, target: Uint8Array): void => {
  let at = 0;
  let left = skip;
  for (const buffer of buffers) {
    if (at === target.byteLength) return;
    if (left >= buffer.byteLength) {
      left -= buffer.byteLength;
      continue;
    }
    const bytes = buffer.subarray(left, left + target.byteLength - at);
    left = 0;
    target.set(bytes, at);
    at += bytes.byteLength;
  }
};
