// What the uploads of an interruption consist of: a piece of any of them, sent for another or at another offset,
// changes its sum. Nothing is generated while the clock runs: every unit of a content is a slice of one pool of
// random bytes, which slice is a hash of the upload's number and the unit's.
import { createHash } from 'node:crypto';

const unitBytes = 256 * 1024;
const poolBytes = 16 * 2 ** 20;

/** Mixes two numbers into 32 bits. @param {number} a @param {number} b */
const hash = (a, b) => {
  let mixed = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b + 0x7f4a7c15, 0xc2b2ae35);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x7feb352d);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x846ca68b);
  return (mixed ^ (mixed >>> 16)) >>> 0;
};

/** @type {Buffer | undefined} */
let filled;

const pool = () => {
  if (filled !== undefined) return filled;
  filled = Buffer.allocUnsafe(poolBytes);
  let state = 0x2545f491;
  for (let at = 0; at < poolBytes; at += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    filled.writeInt32LE(state, at);
  }
  return filled;
};

/**
 * The bytes [start, end) of upload `number`, in slices of at most 256 KiB. They are views of memory that all share.
 * @param {number} number @param {number} start @param {number} end
 * @returns {Generator<Buffer, void, void>}
 */
export function* contentOf(number, start, end) {
  for (let at = start; at < end; ) {
    const unit = Math.floor(at / unitBytes);
    const within = at - unit * unitBytes;
    const bytes = Math.min(unitBytes - within, end - at);
    const from = (hash(number, unit) % (poolBytes - unitBytes)) + within;
    yield pool().subarray(from, from + bytes);
    at += bytes;
  }
}

/** The SHA-256 of the first `size` bytes of upload `number`, in hex. @param {number} number @param {number} size */
export const sumOf = (number, size) => {
  const sum = createHash('sha256');
  for (const slice of contentOf(number, 0, size)) sum.update(slice);
  return sum.digest('hex');
};
