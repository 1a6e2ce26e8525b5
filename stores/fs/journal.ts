import { crc32 } from 'node:zlib';
import type { IntervalSet, Range } from '../../src/intervals.ts';

// The index of received ranges. Each process appends to a file of its own, so no two ever write one file;
// what an upload holds is the union of all its journals. Integers are little-endian.
//
//     header   offset  size
//              0       8     magic `RHJRNL` 0x00 0x01: the last byte is the version of the format
//     entry    0       8     start of the range
//              8       8     its end, exclusive, greater than start
//              16      8     when it was appended, milliseconds since the epoch
//              24      4     number of the entry, from 0
//              28      4     CRC-32 of the 28 bytes before
//
// An entry counts only if everything before it does: reading ends at the first that fails a check. The number
// is part of what is summed, so that a block of zeros or of another place in the file can't pass for an
// entry.

const magic = Buffer.from('RHJRNL\x00\x01', 'latin1');

export const headerSize = magic.byteLength;
export const entrySize = 32;

/** Where entry `number` begins. */
export const entryOffset = (number: number): number => headerSize + number * entrySize;

/**
 * The bytes to append for `ranges`, as entries `number`, `number + 1`, …; with the header when they are the
 * first.
 */
export const encodeEntries = (ranges: readonly Range[], number: number, now: number): Buffer => {
  const header = number === 0 ? headerSize : 0;
  const bytes = Buffer.alloc(header + ranges.length * entrySize);
  if (header > 0) magic.copy(bytes);
  ranges.forEach((range, index) => {
    const at = header + index * entrySize;
    bytes.writeBigUInt64LE(BigInt(range.start), at);
    bytes.writeBigUInt64LE(BigInt(range.end), at + 8);
    bytes.writeBigUInt64LE(BigInt(now), at + 16);
    bytes.writeUInt32LE(number + index, at + 24);
    bytes.writeUInt32LE(crc32(bytes.subarray(at, at + 28)), at + 28);
  });
  return bytes;
};

export interface JournalContent {
  /** Entries that are whole: the next one has this number. */
  readonly entries: number;
  /** When the last of them was appended; 0 when there is none. */
  readonly activeAt: number;
}

/**
 * Adds to `received` what a journal holds, at most its first `limit` entries. A torn tail is no error: nobody
 * was told of it.
 */
export const decodeEntries = (
  bytes: Buffer,
  received: IntervalSet,
  limit = Number.POSITIVE_INFINITY,
): JournalContent => {
  const most = Math.max(0, Math.floor((bytes.byteLength - headerSize) / entrySize));
  const starts = new Float64Array(most);
  const ends = new Float64Array(most);
  let found = 0;
  const content = eachEntry(bytes, limit, (start, end) => {
    starts[found] = start;
    ends[found] = end;
    found++;
  });
  received.addMany(starts.subarray(0, found), ends.subarray(0, found));
  return content;
};

/** How many entries `decodeEntries` would find. */
export const countEntries = (bytes: Buffer): number =>
  eachEntry(bytes, Number.POSITIVE_INFINITY, () => undefined).entries;

const eachEntry = (
  bytes: Buffer,
  limit: number,
  found: (start: number, end: number) => void,
): JournalContent => {
  let entries = 0;
  let activeAt = 0;
  if (!bytes.subarray(0, headerSize).equals(magic)) return { entries, activeAt };
  for (let at = headerSize; at + entrySize <= bytes.byteLength && entries < limit; at += entrySize) {
    if (bytes.readUInt32LE(at + 28) !== crc32Of(bytes, at, at + 28)) break;
    if (bytes.readUInt32LE(at + 24) !== entries) break;
    const start = readUInt64(bytes, at);
    const end = readUInt64(bytes, at + 8);
    if (!Number.isSafeInteger(end) || end <= start) break;
    found(start, end);
    activeAt = readUInt64(bytes, at + 16);
    entries++;
  }
  return { entries, activeAt };
};

/** Beyond 2^53 - 1 it is not exact, and not safe: whoever reads it checks that. */
const readUInt64 = (bytes: Buffer, at: number): number =>
  bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;

/** For each value of a byte, the remainder it leaves: the polynomial of zlib, reflected. */
const remainders = Int32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xed_b8_83_20 : rest >>> 1;
  return rest;
});

/** As `crc32` of zlib, which takes four times as long for the call alone: 28 bytes are all that an entry has. */
const crc32Of = (bytes: Buffer, start: number, end: number): number => {
  let rest = -1;
  for (let at = start; at < end; at++)
    rest = (rest >>> 8) ^ (remainders[(rest ^ (bytes[at] ?? 0)) & 0xff] ?? 0);
  return ~rest >>> 0;
};
