import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { UploadRecord } from '../../src/store.ts';
import { encodeEntry, type RecordVersion, replay } from '../../stores/fs/record-entry.ts';
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
    refused: fc.boolean(),
    moved: fc.boolean(),
    removedAt: fc.maxSafeNat(),
  },
  { requiredKeys: ['id', 'createdAt', 'state', 'metadata', 'attempt'] },
);

const versions = (records: readonly UploadRecord[], first = 1): RecordVersion[] =>
  records.map((record, n) => ({ record, version: first + n, at: 1000 + n, name: `author${n}` }));

/** A log of these versions, each after the one before. */
const log = (all: readonly RecordVersion[]): Buffer =>
  Buffer.concat(all.map((version, n) => encodeEntry(version, all[n - 1]?.record)));

/** Key order, `undefined` and prototypes aside: a record is what its JSON says. */
const text = (version: unknown): string | undefined =>
  JSON.stringify(version, (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );

const made: UploadRecord = {
  id: 'AbCdEfGhIjKlMnOpQrStUv',
  createdAt: 1_700_000_000_000,
  state: 'claimed',
  length: 2 ** 40,
  metadata: { filename: 'Übersicht\n"2".txt', empty: '' },
  context: '{"method":"POST"}',
  attempt: 2,
  claim: { owner: 'me', expiresAt: 5 },
};
const { claim: _, ...unclaimed } = made;
const finished: UploadRecord = { ...unclaimed, state: 'finished', response: 'HTTP 201' };
const [first, second] = versions([made, finished]) as [RecordVersion, RecordVersion];
const whole = log([first, second]);
const firstBytes = log([first]).byteLength;

describe('a log of versions', () => {
  test('is read back as the last of them, wherever it begins', () => {
    fc.assert(
      fc.property(
        fc.array(anyRecord, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 1e6 }),
        (records, from) => {
          const sameId = records.map((record) => ({ ...record, id: records[0]?.id ?? '' }));
          const all = versions(sameId, from);
          const bytes = log(all);
          const { current, end } = replay(bytes);
          expect(text(current)).toBe(text(all.at(-1)));
          expect(end).toBe(bytes.byteLength);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('can be read on from any of its versions', () => {
    const { current, end } = replay(whole.subarray(0, firstBytes));
    expect(current).toEqual(first);
    expect(end).toBe(firstBytes);
    expect(replay(whole.subarray(firstBytes), first).current).toEqual(second);
  });

  test('says of a later version only what has changed', () => {
    expect(whole.byteLength - firstBytes).toBeLessThan(150);
    expect(whole.toString('utf8', firstBytes)).not.toContain('filename');
  });

  test('keeps text that is no valid UTF-16, line breaks and NUL', () => {
    const metadata = { a: '\ud800', b: '\n\0\r', c: '\u2028', d: '\u{1f600}', __proto: 'x' };
    const version = { ...first, record: { ...made, metadata } };
    expect(replay(log([version])).current).toEqual(version);
  });
});

describe('of several that append the same version', () => {
  test('the first counts, and the next is built on that', () => {
    const rival = { ...second, name: 'rival', record: { ...finished, response: 'another' } };
    const third = { ...second, version: 3, name: 'third', record: { ...finished, moved: true } };
    const bytes = Buffer.concat([whole, encodeEntry(rival, made), encodeEntry(third, finished)]);
    expect(replay(bytes.subarray(0, -1)).current).toEqual(second);
    const { current, names } = replay(bytes);
    expect(current).toEqual(third);
    expect(names).toEqual([first.name, second.name, 'third']);
  });

  test('one that comes very late changes nothing', () => {
    const late = { ...first, version: 1, name: 'late', record: { ...made, attempt: 99 } };
    expect(replay(Buffer.concat([whole, encodeEntry(late)])).current).toEqual(second);
  });
});

describe('an entry that was torn', () => {
  test('at any byte means nothing, and spoils none that comes after it', () => {
    for (let cut = firstBytes; cut < whole.byteLength; cut++) {
      const torn = whole.subarray(0, cut);
      expect(replay(torn)).toEqual({ current: first, names: [first.name], end: firstBytes });
      expect(replay(Buffer.concat([torn, whole.subarray(firstBytes)])).current).toEqual(second);
    }
  });

  test('and filled up with zeros means nothing either', () => {
    for (let cut = firstBytes; cut < whole.byteLength; cut++) {
      const bytes = Buffer.alloc(whole.byteLength + 64);
      whole.copy(bytes, 0, 0, cut);
      expect(replay(bytes).current).toEqual(first);
    }
  });

  test('with any byte changed to any other value means nothing', () => {
    const bytes = Buffer.from(whole);
    for (let at = firstBytes; at < bytes.byteLength; at++) {
      const written = bytes[at] ?? 0;
      for (let value = 0; value < 256; value++) {
        if (value === written) continue;
        bytes[at] = value;
        const { current } = replay(bytes);
        if (current === 'unreadable' || current?.name !== first.name) expect.fail(`byte ${at} as ${value}`);
      }
      bytes[at] = written;
    }
    expect(replay(bytes).current).toEqual(second);
  });
});

describe('a log that cannot be believed is unreadable', () => {
  test('when an entry is missing that others are built on', () => {
    const third = { ...second, version: 3, name: 'third' };
    expect(replay(log([first, third])).current).toBe('unreadable');
    expect(replay(encodeEntry(third, finished), first).current).toBe('unreadable');
  });

  test('when its beginning is missing', () => {
    expect(replay(whole.subarray(firstBytes)).current).toBe('unreadable');
    const damaged = Buffer.from(whole);
    damaged[20] = 0;
    expect(replay(damaged).current).toBe('unreadable');
  });

  test('and has no version at all when nothing in it ever was one', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(replay(Buffer.from(bytes)).current).toBeUndefined();
      }),
    );
    expect(replay(Buffer.alloc(0))).toEqual({ current: undefined, names: [], end: 0 });
    expect(replay(Buffer.alloc(4096)).current).toBeUndefined();
  });
});

describe('no entry, though the checksum is right', () => {
  const json = JSON.stringify({ at: 1000, set: made });
  const line = (format: string, body: string): Buffer =>
    Buffer.from(`\n${format} ${crc32(body).toString(16)} ${body}\n`);

  test('the same line as the encoder writes is taken', () => {
    expect(replay(line('record/1', `1 author0 ${json}`)).current).toEqual(first);
  });

  test.each([
    ['another format', line('record/2', `1 author0 ${json}`)],
    ['another kind', line('index/1', `1 author0 ${json}`)],
    ['text before the line', Buffer.from(` ${line('record/1', `1 author0 ${json}`).toString().trim()}\n`)],
    ['no end of the line', line('record/1', `1 author0 ${json}`).subarray(0, -1)],
    ['no version', line('record/1', `author0 ${json}`)],
    ['version 0', line('record/1', `0 author0 ${json}`)],
    ['a negative version', line('record/1', `-1 author0 ${json}`)],
    ['a huge version', line('record/1', `${'9'.repeat(30)} author0 ${json}`)],
    ['no name', line('record/1', `1 ${json}`)],
    ['no object', line('record/1', '1 author0 []')],
    ['text behind it', line('record/1', `1 author0 ${json} `)],
    ['a carriage return', line('record/1', `1 author0 ${json}\r`)],
  ])('%s', (_, bytes) => {
    expect(replay(bytes).current).toBeUndefined();
  });
});
