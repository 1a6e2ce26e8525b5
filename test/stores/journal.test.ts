import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import { decodeEntries, encodeEntries, entrySize, headerSize } from '../../stores/fs/journal.ts';

const max = Number.MAX_SAFE_INTEGER;

const anyRange: fc.Arbitrary<Range> = fc
  .oneof(
    fc.tuple(fc.nat(1000), fc.nat(1000)), // small, so that they overlap
    fc.tuple(fc.maxSafeNat(), fc.maxSafeNat()),
  )
  .map(([at, more]) => {
    const start = Math.min(at, max - 1);
    return { start, end: start + Math.min(1 + more, max - start) };
  });

/** What one sync appends: some ranges, at one time. */
interface Batch {
  readonly ranges: readonly Range[];
  readonly now: number;
}
const anyBatches = (most: number): fc.Arbitrary<Batch[]> =>
  fc.array(fc.record({ ranges: fc.array(anyRange, { minLength: 1, maxLength: 4 }), now: fc.maxSafeNat() }), {
    maxLength: most,
  });

/** A journal as its writer makes it, batch by batch; and each of its entries. */
const write = (batches: readonly Batch[]): { bytes: Buffer; entries: { range: Range; now: number }[] } => {
  const entries: { range: Range; now: number }[] = [];
  const parts = batches.map(({ ranges, now }) => {
    const part = encodeEntries(ranges, entries.length, now);
    for (const range of ranges) entries.push({ range, now });
    return part;
  });
  return { bytes: Buffer.concat(parts), entries };
};

const read = (bytes: Buffer): { entries: number; activeAt: number; received: Range[] } => {
  const received = new IntervalSet();
  const content = decodeEntries(bytes, received);
  return { ...content, received: received.ranges() };
};

/** What reading must give when only the first `count` entries are whole. */
const prefix = (entries: readonly { range: Range; now: number }[], count: number) => ({
  entries: count,
  activeAt: entries[count - 1]?.now ?? 0,
  received: IntervalSet.from(entries.slice(0, count).map(({ range }) => range)).ranges(),
});

/** A journal of five entries no two of which touch, so that each shows in what is received. */
const sample = write([
  { ranges: [{ start: 0, end: 7 }], now: 1_700_000_000_000 },
  {
    ranges: [
      { start: 100, end: 65_536 },
      { start: 70_000, end: 2 ** 33 },
    ],
    now: 1_700_000_000_250,
  },
  {
    ranges: [
      { start: 2 ** 40, end: 2 ** 40 + 1 },
      { start: max - 1, end: max },
    ],
    now: 1_700_000_000_500,
  },
]);
const entryAt = (number: number): number => headerSize + number * entrySize;

/** The sample, with the fields of one entry changed and its checksum made right again. */
const forged = (number: number, change: (entry: Buffer) => void): Buffer => {
  const bytes = Buffer.from(sample.bytes);
  const entry = bytes.subarray(entryAt(number), entryAt(number + 1));
  change(entry);
  entry.writeUInt32LE(crc32(entry.subarray(0, 28)), 28);
  return bytes;
};

describe('what was appended is read back', () => {
  test('whatever the ranges, their order and how they were batched', () => {
    fc.assert(
      fc.property(anyBatches(8), (batches) => {
        const { bytes, entries } = write(batches);
        expect(bytes.byteLength).toBe(entries.length === 0 ? 0 : entryAt(entries.length));
        expect(read(bytes)).toEqual(prefix(entries, entries.length));
      }),
    );
  });

  test('one batch of many ranges is, byte for byte, many batches of one', () => {
    fc.assert(
      fc.property(fc.array(anyRange, { minLength: 1, maxLength: 12 }), fc.maxSafeNat(), (ranges, now) => {
        const singly = write(ranges.map((range) => ({ ranges: [range], now })));
        expect(encodeEntries(ranges, 0, now).equals(singly.bytes)).toBe(true);
      }),
    );
  });

  test('it is added to what other journals hold', () => {
    fc.assert(
      fc.property(anyBatches(4), anyBatches(4), (one, other) => {
        const received = new IntervalSet();
        const journals = [write(one), write(other)];
        for (const { bytes } of journals) decodeEntries(bytes, received);
        const ranges = journals.flatMap(({ entries }) => entries.map(({ range }) => range));
        expect(received.ranges()).toEqual(IntervalSet.from(ranges).ranges());
      }),
    );
  });

  test('the sample of the tests below is whole', () => {
    expect(read(sample.bytes)).toEqual(prefix(sample.entries, 5));
    expect(read(sample.bytes).received).toHaveLength(5);
  });
});

describe('a journal that ends early', () => {
  test('cut at every length, it loses the torn entry and nothing before it', () => {
    for (let length = 0; length <= sample.bytes.byteLength; length++) {
      const whole = Math.max(0, Math.floor((length - headerSize) / entrySize));
      expect(read(sample.bytes.subarray(0, length))).toEqual(prefix(sample.entries, whole));
    }
  });

  test('cut at every length, it goes on from the number of whole entries as if it had never been torn', () => {
    const more = [{ start: 9000, end: 9001 }];
    for (let length = 0; length <= sample.bytes.byteLength; length++) {
      const { entries } = read(sample.bytes.subarray(0, length));
      const kept = entries === 0 ? Buffer.alloc(0) : sample.bytes.subarray(0, entryAt(entries));
      const bytes = Buffer.concat([kept, encodeEntries(more, entries, 77)]);
      const expected = [...sample.entries.slice(0, entries), { range: more[0] as Range, now: 77 }];
      expect(read(bytes)).toEqual(prefix(expected, expected.length));
    }
  });

  test('cut anywhere, any journal yields a prefix of its entries', () => {
    fc.assert(
      fc.property(anyBatches(6), fc.nat(), (batches, seed) => {
        const { bytes, entries } = write(batches);
        const cut = seed % (bytes.byteLength + 1);
        const whole = Math.max(0, Math.floor((cut - headerSize) / entrySize));
        expect(read(bytes.subarray(0, cut))).toEqual(prefix(entries, whole));
      }),
    );
  });
});

describe('a journal with a byte that is not what was written', () => {
  test('every byte, changed to every other value: the entries before it are read, and nothing else', () => {
    const bytes = Buffer.from(sample.bytes);
    for (let at = 0; at < bytes.byteLength; at++) {
      const whole = at < headerSize ? 0 : Math.floor((at - headerSize) / entrySize);
      const expected = JSON.stringify(prefix(sample.entries, whole));
      const written = bytes[at] ?? 0;
      for (let value = 0; value < 256; value++) {
        if (value === written) continue;
        bytes[at] = value;
        if (JSON.stringify(read(bytes)) !== expected) expect.fail(`byte ${at} as ${value} was not noticed`);
      }
      bytes[at] = written;
    }
    expect(bytes.equals(sample.bytes)).toBe(true);
  });

  test('any journal, changed anywhere in several places, yields a prefix of its entries', () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(
        anyBatches(6).filter((batches) => batches.length > 0),
        changes,
        (batches, places) => {
          const { bytes, entries } = write(batches);
          const before = Buffer.from(bytes);
          for (const [seed, mask] of places) {
            const at = seed % bytes.byteLength;
            bytes[at] = (bytes[at] ?? 0) ^ mask;
          }
          const first = before.findIndex((byte, at) => byte !== bytes[at]); // two changes may cancel out
          const whole = first < headerSize ? 0 : Math.floor((first - headerSize) / entrySize);
          expect(read(bytes)).toEqual(prefix(entries, first === -1 ? entries.length : whole));
        },
      ),
    );
  });
});

describe('each check holds by itself', () => {
  test('the magic: of another format or version, nothing is read, however right the entries are', () => {
    for (let at = 0; at < headerSize; at++) {
      const bytes = Buffer.from(sample.bytes);
      bytes[at] = (bytes[at] ?? 0) + 1;
      expect(read(bytes)).toEqual(prefix([], 0));
    }
    expect(read(sample.bytes.subarray(headerSize))).toEqual(prefix([], 0));
  });

  test('start before end: an empty and a reversed range end the reading', () => {
    const empty = forged(2, (entry) => entry.copy(entry, 8, 0, 8));
    const reversed = forged(2, (entry) => entry.writeBigUInt64LE(entry.readBigUInt64LE(0) - 1n, 8));
    for (const bytes of [empty, reversed]) expect(read(bytes)).toEqual(prefix(sample.entries, 2));
  });

  test('an end that is no safe integer ends the reading', () => {
    for (const end of [2n ** 53n, 2n ** 60n, 2n ** 64n - 1n]) {
      const bytes = forged(2, (entry) => entry.writeBigUInt64LE(end, 8));
      expect(read(bytes)).toEqual(prefix(sample.entries, 2));
    }
  });

  test('the number: an entry that says it is another one ends the reading', () => {
    for (const number of [0, 1, 3, 4, 2 ** 32 - 1]) {
      const bytes = forged(2, (entry) => entry.writeUInt32LE(number, 24));
      expect(read(bytes)).toEqual(prefix(sample.entries, 2));
    }
  });

  test('the checksum: one that is wrong ends the reading, though every field is right', () => {
    for (let at = entryAt(2) + 28; at < entryAt(3); at++) {
      const bytes = Buffer.from(sample.bytes);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      expect(read(bytes)).toEqual(prefix(sample.entries, 2));
    }
  });

  test('an entry that fails ends the reading, even if the next one has the number that is due', () => {
    const torn = Buffer.from(sample.bytes.subarray(0, entryAt(3)));
    torn[entryAt(2)] = (torn[entryAt(2)] ?? 0) ^ 1;
    const bytes = Buffer.concat([torn, encodeEntries([{ start: 9000, end: 9001 }], 2, 1)]);
    expect(read(bytes)).toEqual(prefix(sample.entries, 2));
  });

  test('the checksum covers the time, which nothing else checks', () => {
    for (let at = entryAt(2) + 16; at < entryAt(2) + 24; at++) {
      const bytes = Buffer.from(sample.bytes);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      expect(read(bytes)).toEqual(prefix(sample.entries, 2));
    }
  });
});

describe('what lies behind the last entry means nothing', () => {
  test.each([1, 4, 28, 31, 32, 33, 64, 4096])('%d zeros', (count) => {
    expect(read(Buffer.concat([sample.bytes, Buffer.alloc(count)]))).toEqual(prefix(sample.entries, 5));
  });

  test('arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (tail) => {
        expect(read(Buffer.concat([sample.bytes, tail]))).toEqual(prefix(sample.entries, 5));
      }),
    );
  });

  test('entries of another place in the same file', () => {
    for (let number = 0; number < 5; number++) {
      const copied = sample.bytes.subarray(entryAt(number), entryAt(number + 1));
      expect(read(Buffer.concat([sample.bytes, copied]))).toEqual(prefix(sample.entries, 5));
    }
  });

  test('entries written with a wrong number', () => {
    const ranges = [{ start: 9000, end: 9001 }];
    for (const number of [1, 4, 6, 7, 1000]) {
      const bytes = Buffer.concat([sample.bytes, encodeEntries(ranges, number, 1)]);
      expect(read(bytes)).toEqual(prefix(sample.entries, 5));
    }
    // A whole second journal, header and all.
    const second = encodeEntries(ranges, 0, 1);
    expect(read(Buffer.concat([sample.bytes, second]))).toEqual(prefix(sample.entries, 5));
    // With the right number it counts.
    expect(read(Buffer.concat([sample.bytes, encodeEntries(ranges, 5, 1)])).entries).toBe(6);
  });
});

test('bytes that were never a journal hold nothing', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(read(Buffer.from(bytes))).toEqual(prefix([], 0));
    }),
  );
  expect(read(Buffer.alloc(4096))).toEqual(prefix([], 0));
});
