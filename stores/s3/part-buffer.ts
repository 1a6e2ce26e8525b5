import { IntervalSet, type Range } from '../../src/intervals.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { Run } from './gather.ts';

export interface PartMemorySource {
  readonly pool: BufferPool;
  readonly inMemory: number;
}

interface Piece {
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** What has so much of its part is taken to go on like that: then the part gets its memory as a whole. */
const promisingShare = 3 / 4;
/** Bytes of one part that have arrived, in any order and each once. */
export class PartBuffer {
  readonly number: number;
  readonly range: Range;
  /** When the first of them came. */
  readonly since = Date.now();
  readonly #pool: BufferPool;
  readonly #mayJoin: boolean;
  readonly #held = new IntervalSet();
  readonly #pieces: Piece[] = [];
  /** The memory of the whole part, where that is kept in one. */
  #whole: Uint8Array | undefined;

  /**
   * `range` is that of the part, up to the end of the content where that is known. Of at most `inMemory` bytes it gets
   * its memory from `pool`.
   */
  constructor(number: number, range: Range, { pool, inMemory }: PartMemorySource) {
    this.number = number;
    this.range = range;
    this.#pool = pool;
    this.#mayJoin = range.end - range.start <= inMemory;
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
    const size = end - start;
    if (this.#mayJoin && this.size + length >= size * promisingShare) this.joined();
    let added = 0;
    for (const gap of this.#held.missing(offset, offset + length)) {
      const bytes = gap.end - gap.start;
      const target =
        this.#whole?.subarray(gap.start - start, gap.end - start) ?? Buffer.allocUnsafeSlow(bytes);
      copy(buffers, gap.start - offset, target);
      if (this.#whole === undefined) this.#pieces.push({ start: gap.start, bytes: target });
      added += bytes;
    }
    this.#held.add(offset, offset + length);
    return added;
  }

  /** Every run of bytes without a gap. */
  runs(): readonly Run[] {
    return this.#held.ranges().map((range) => ({ ...range, bytes: this.#run(range) }));
  }

  /** The whole range in one, with what is not held still to be filled in. */
  joined(): Uint8Array {
    if (this.#whole !== undefined) return this.#whole;
    const { start, end } = this.range;
    const whole = this.#pool.take(end - start);
    for (const piece of this.#pieces) whole.set(piece.bytes, piece.start - start);
    // Not kept twice.
    this.#whole = whole;
    this.#pieces.length = 0;
    return whole;
  }

  /** Everything was sent, and nothing of it is read any more. */
  recycle(): void {
    if (this.#whole !== undefined) this.#pool.give(this.#whole);
    this.#whole = undefined;
  }

  #run({ start, end }: Range): Uint8Array {
    if (this.#whole !== undefined) {
      return this.#whole.subarray(start - this.range.start, end - this.range.start);
    }
    const inside = this.#pieces.filter((piece) => piece.start >= start && piece.start < end);
    const [only] = inside;
    if (inside.length === 1 && only !== undefined) return only.bytes;
    const run = Buffer.allocUnsafeSlow(end - start);
    for (const piece of inside) run.set(piece.bytes, piece.start - start);
    return run;
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
