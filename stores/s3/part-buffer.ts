import { IntervalSet, type Range } from '../../src/intervals.ts';

interface Piece {
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** Bytes of one part that have arrived, in any order and each once. */
export class PartBuffer {
  readonly number: number;
  readonly range: Range;
  /** When the first of them came. */
  readonly since = Date.now();
  #pieces: Piece[] = [];
  readonly #held = new IntervalSet();

  constructor(number: number, range: Range) {
    this.number = number;
    this.range = range;
  }

  get size(): number {
    return this.#held.size;
  }

  get held(): IntervalSet {
    return this.#held;
  }

  /** Copies what is new of the bytes at `offset`, all inside the part; returns how many. */
  add(buffers: readonly Uint8Array[], offset: number, length: number): number {
    let added = 0;
    for (const { start, end } of this.#held.missing(offset, offset + length)) {
      this.#pieces.push({ start, bytes: copy(buffers, start - offset, end - start) });
      added += end - start;
    }
    this.#held.add(offset, offset + length);
    return added;
  }

  /** Every run of bytes without a gap. */
  runs(): readonly (Range & { readonly bytes: Uint8Array })[] {
    return this.#held.ranges().map((range) => ({ ...range, bytes: this.#join(range) }));
  }

  /** The pieces that a whole is made of, by their offset. */
  pieces(): readonly Piece[] {
    return this.#pieces;
  }

  #join({ start, end }: Range): Uint8Array {
    const inside = this.#pieces.filter((piece) => piece.start >= start && piece.start < end);
    const [only] = inside;
    if (inside.length === 1 && only !== undefined) return only.bytes;
    return put(new Uint8Array(end - start), start, inside);
  }
}

/** Puts pieces to their places in the bytes that begin at `start`. */
export const put = (target: Uint8Array, start: number, pieces: readonly Piece[]): Uint8Array => {
  for (const piece of pieces) {
    const at = piece.start - start;
    const from = Math.max(0, -at);
    const bytes = piece.bytes.subarray(from, Math.min(piece.bytes.byteLength, target.byteLength - at));
    target.set(bytes, Math.max(0, at));
  }
  return target;
};

/** `length` bytes from `skip` on, of several buffers as of one. */
const copy = (buffers: readonly Uint8Array[], skip: number, length: number): Uint8Array => {
  const target = Buffer.allocUnsafeSlow(length);
  let at = 0;
  let left = skip;
  for (const buffer of buffers) {
    if (at === length) break;
    if (left >= buffer.byteLength) {
      left -= buffer.byteLength;
      continue;
    }
    const bytes = buffer.subarray(left, left + length - at);
    left = 0;
    target.set(bytes, at);
    at += bytes.byteLength;
  }
  return target;
};
