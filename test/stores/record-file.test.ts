import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { UploadRecord } from '../../src/store.ts';
import {
  decodeRecord,
  encodeRecord,
  isAncestor,
  nextRecord,
  type RecordFile,
} from '../../stores/fs/record-file.ts';
import { anyText } from '../leaves/any-text.ts';

const someText = anyText();
const anyId = fc.stringMatching(/^[A-Za-z0-9_-]{16,64}$/);
const anyRecord: fc.Arbitrary<UploadRecord> = fc.record(
  {
    id: anyId,
    createdAt: fc.maxSafeNat(),
    state: fc.constantFrom('open', 'claimed', 'finished', 'removed'),
    length: fc.maxSafeNat(),
    digest: someText,
    metadata: fc.dictionary(someText, someText, { maxKeys: 4 }),
    context: someText,
    attempt: fc.nat(),
    claim: fc.record({ owner: someText, expiresAt: fc.maxSafeNat() }),
    response: someText,
    moved: fc.boolean(),
    removedAt: fc.maxSafeNat(),
  },
  { requiredKeys: ['id', 'createdAt', 'state', 'metadata', 'attempt'] },
);
const anyFile: fc.Arbitrary<RecordFile> = fc.record({
  record: anyRecord,
  at: fc.maxSafeNat(),
  lineage: fc.array(someText, { maxLength: 5 }),
});

/** Key order, `undefined` and prototypes aside: a record is what its JSON says. */
const text = (file: RecordFile | undefined): string | undefined => JSON.stringify(file);

const sample: RecordFile = {
  record: {
    id: 'AbCdEfGhIjKlMnOpQrStUv',
    createdAt: 1_700_000_000_000,
    state: 'finished',
    length: 2 ** 40,
    metadata: { filename: 'Übersicht\n"2".txt', empty: '' },
    context: '{"method":"POST"}',
    attempt: 2,
    response: 'HTTP 201',
  },
  at: 1_700_000_000_123,
  lineage: ['first', 'second'],
};
const whole = encodeRecord(sample);

test('what was written is read back', () => {
  fc.assert(
    fc.property(anyFile, (file) => {
      expect(text(decodeRecord(encodeRecord(file)))).toBe(text(file));
    }),
    { numRuns: 300 },
  );
  expect(decodeRecord(whole)).toEqual(sample);
});

test('text that is no valid UTF-16, line breaks and NUL survive', () => {
  const metadata = { a: '\ud800', b: '\n\0\r', c: '\u2028', d: '\u{1f600}' };
  const file = { ...sample, record: { ...sample.record, metadata } };
  expect(decodeRecord(encodeRecord(file))).toEqual(file);
});

test('a file cut at any length is refused', () => {
  for (let length = 0; length < whole.byteLength; length++) {
    expect(decodeRecord(whole.subarray(0, length))).toBeUndefined();
  }
  expect(decodeRecord(whole)).toEqual(sample);
});

test('a file cut at any length and filled up with zeros is refused', () => {
  for (let length = 0; length < whole.byteLength; length++) {
    const bytes = Buffer.alloc(whole.byteLength + 64);
    whole.copy(bytes, 0, 0, length);
    expect(decodeRecord(bytes)).toBeUndefined();
  }
});

test('a file with any byte changed to any other value is refused', () => {
  const bytes = Buffer.from(whole);
  for (let at = 0; at < bytes.byteLength; at++) {
    const written = bytes[at] ?? 0;
    for (let value = 0; value < 256; value++) {
      if (value === written) continue;
      bytes[at] = value;
      if (decodeRecord(bytes) !== undefined) expect.fail(`byte ${at} as ${value} was not noticed`);
    }
    bytes[at] = written;
  }
  expect(decodeRecord(bytes)).toEqual(sample);
});

describe('what lies behind the record means nothing', () => {
  test.each([
    ['zeros, the room reserved for a longer one', Buffer.alloc(4096)],
    ['a line break', Buffer.from('\n')],
    ['a closing bracket', Buffer.from('}')],
    ['another whole record', encodeRecord({ ...sample, at: 5 })],
  ])('%s', (_, tail) => {
    expect(decodeRecord(Buffer.concat([whole, tail]))).toEqual(sample);
  });

  test('arbitrary bytes', () => {
    fc.assert(
      fc.property(anyFile, fc.uint8Array({ maxLength: 200 }), (file, tail) => {
        expect(text(decodeRecord(Buffer.concat([encodeRecord(file), tail])))).toBe(text(file));
      }),
    );
  });

  test('the rest of a longer record that stood there before', () => {
    const longer = encodeRecord({ ...sample, record: { ...sample.record, response: 'x'.repeat(500) } });
    whole.copy(longer);
    expect(decodeRecord(longer)).toEqual(sample);
  });
});

describe('refused, though the checksum is right', () => {
  const json = Buffer.from(JSON.stringify(sample));
  const sum = crc32(json).toString(16);
  const file = (line: string): Buffer => Buffer.concat([Buffer.from(line), json]);

  test('the same line as the encoder writes is taken', () => {
    expect(decodeRecord(file(`resumable-http record 1 ${json.byteLength} ${sum}\n`))).toEqual(sample);
  });

  test.each([
    ['another version', `resumable-http record 2 ${json.byteLength} ${sum}\n`],
    ['another format', `resumable-http index 1 ${json.byteLength} ${sum}\n`],
    ['text before the line', ` resumable-http record 1 ${json.byteLength} ${sum}\n`],
    ['an empty first line', `\nresumable-http record 1 ${json.byteLength} ${sum}\n`],
    ['text behind the checksum', `resumable-http record 1 ${json.byteLength} ${sum} \n`],
    ['a carriage return', `resumable-http record 1 ${json.byteLength} ${sum}\r\n`],
    ['no length', `resumable-http record 1 ${sum}\n`],
    ['a negative length', `resumable-http record 1 -${json.byteLength} ${sum}\n`],
    ['a length past the end', `resumable-http record 1 ${json.byteLength + 1} ${sum}\n`],
    ['a length too small', `resumable-http record 1 ${json.byteLength - 1} ${sum}\n`],
    ['a huge length', `resumable-http record 1 ${'9'.repeat(30)} ${sum}\n`],
    ['no line at all', ''],
  ])('%s', (_, line) => {
    expect(decodeRecord(file(line))).toBeUndefined();
  });
});

test('bytes that were never a record are refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(decodeRecord(Buffer.from(bytes))).toBeUndefined();
    }),
  );
  expect(decodeRecord(Buffer.alloc(0))).toBeUndefined();
  expect(decodeRecord(Buffer.alloc(4096))).toBeUndefined();
});

describe('the lineage of a record', () => {
  const { record } = sample;
  const descend = (file: RecordFile | undefined, generations: number): RecordFile => {
    let last = nextRecord(record, file, 'me');
    for (let i = 1; i < generations; i++) last = nextRecord(record, last, 'me');
    return last;
  };

  test('tells a version that was in force from one that never was', () => {
    const first = nextRecord(record, undefined, 'me');
    const second = nextRecord(record, first, 'me');
    const rival = nextRecord(record, first, 'me');
    const third = nextRecord(record, second, 'me');
    expect([first, second, third].map((file) => isAncestor(file, third))).toEqual([true, true, true]);
    expect(isAncestor(rival, third)).toBe(false);
    expect(isAncestor(third, second)).toBe(false);
  });

  test('stays short, and knows the last 64 versions', () => {
    const first = nextRecord(record, undefined, 'me');
    expect(isAncestor(first, descend(first, 63))).toBe(true);
    expect(isAncestor(first, descend(first, 64))).toBe(false);
    expect(descend(first, 200).lineage).toHaveLength(64);
  });
});
