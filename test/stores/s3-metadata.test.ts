import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { decodeMetadata, encodeMetadata, maxMetadataBytes } from '../../stores/s3/metadata.ts';
import { type DirectWorld, directWorld, partSize, streamOf } from '../support/s3-direct.ts';
import { seededContent } from '../support/seeded-content.ts';

const anyName = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9a-z-]{1,20}$/);
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 100 }),
  fc.string({ unit: 'grapheme-ascii', maxLength: 100 }),
  fc.string({
    unit: fc.constantFrom('=?', '?=', 'UTF-8', '?B?', '?Q?', '=20', '_', ' ', 'é', '日'),
    maxLength: 30,
  }),
);
const encodedOf = (value: string): string | undefined => encodeMetadata({ a: value }).a;

describe('metadata', () => {
  test('is read as it was given, whatever text it is', () => {
    fc.assert(
      fc.property(fc.dictionary(anyName, anyText, { maxKeys: 4, noNullPrototype: true }), (metadata) => {
        expect(decodeMetadata(encodeMetadata(metadata))).toEqual(metadata);
      }),
      { numRuns: 1000 },
    );
  });

  test('travels as printable US-ASCII in words of at most 75 characters', () => {
    fc.assert(
      fc.property(anyText, (value) => {
        const encoded = encodedOf(value) ?? '';
        expect(encoded).toMatch(/^[\x20-\x7e]*$/);
        expect(encoded).toBe(encoded.trim());
        if (encoded === value) return;
        for (const word of encoded.split(' ')) expect(word.length).toBeLessThanOrEqual(75);
      }),
    );
  });

  test.each([
    ['plain text, with some signs: 100%', 'plain text, with some signs: 100%'],
    ['', ''],
    ['日本', '=?UTF-8?B?5pel5pys?='],
    ['é', '=?UTF-8?B?w6k=?='],
    ['café au lait', '=?UTF-8?Q?caf=C3=A9_au_lait?='],
    ['two\r\nlines', '=?UTF-8?Q?two=0D=0Alines?='],
    [' spaces around ', '=?UTF-8?Q?_spaces_around_?='],
    ['=?UTF-8?Q?a?=', '=?UTF-8?B?PT9VVEYtOD9RP2E/PQ==?='],
  ])('writes %j as %j', (value, encoded) => {
    expect(encodedOf(value)).toBe(encoded);
    expect(decodeMetadata({ a: encoded })).toEqual({ a: value });
  });

  test('divides a long text between characters', () => {
    const value = '日本語'.repeat(40);
    const words = encodedOf(value)?.split(' ') ?? [];
    expect(words.length).toBeGreaterThan(5);
    for (const word of words) expect(decodeMetadata({ a: word }).a).toMatch(/^[日本語]+$/);
  });

  test.each([
    '=?UTF-8?B?5pel5pys?= and more',
    '=?ISO-8859-1?Q?=E9?=',
    '=?UTF-8?Q?=E9?=',
    '=?UTF-8?Q?=4?=',
    '=?UTF-8?X?a?=',
    '=?',
    'a =?UTF-8?Q?a?=',
  ])('leaves %j, which another program has written, as it is', (value) => {
    expect(decodeMetadata({ a: value })).toEqual({ a: value });
  });

  test('has no more than 2 KB in all, as it is sent', () => {
    const fits = { a: 'x'.repeat(1000), bc: 'y'.repeat(maxMetadataBytes - 1003) };
    expect(encodeMetadata(fits)).toEqual(fits);
    const facts = {
      code: 'invalid_argument',
      expected: 2048,
      message: expect.stringContaining('2048 bytes (2 KB)'),
    };
    const tooMuch = [{ ...fits, d: '' }, { a: 'é'.repeat(1000) }];
    for (const metadata of tooMuch) {
      expect(() => encodeMetadata(metadata)).toThrow(expect.objectContaining(facts));
    }
  });

  test('has names that a header can have, in lower case', () => {
    expect(encodeMetadata({ FileName: 'a' })).toEqual({ filename: 'a' });
    const unusable: Record<string, string>[] = [
      { 'a b': '' },
      { '': '' },
      { é: '' },
      { a: '', A: '' },
      { a: '\ud800' },
      { a: 1 as unknown as string },
    ];
    for (const metadata of unusable) {
      expect(() => encodeMetadata(metadata)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
    }
  });
});

describe('metadata of an object', () => {
  let world: DirectWorld;
  const given = { title: '日本', place: 'é', text: 'two\r\nlines\n', plain: 'a=b; c' };
  beforeEach(async () => {
    world = await directWorld({ store: { object: () => ({ Metadata: given, ContentType: 'text/plain' }) } });
  });
  afterEach(() => world.close());
  const metadataOf = (key: string) => decodeMetadata(world.double.object(key)?.metadata);

  test.each([100, 3 * partSize])('arrives with an object of %i bytes', async (size) => {
    const { store } = world;
    const content = seededContent(size);
    await store.putStream('put', streamOf(content), { object: { Metadata: given } }).result;
    await store.compose('composed', [content], { object: { Metadata: given } }).result;
    await store.compose('copied', [{ key: 'put' }, content], { object: { Metadata: given } }).result;
    for (const key of ['put', 'composed', 'copied']) expect(metadataOf(key)).toEqual(given);
  });

  test('arrives with an upload of the store', async () => {
    const { store } = world;
    const id = 'abcdefghijklmnopqrstuv';
    for (const [at, size] of [100, 3 * partSize].entries()) {
      const record = {
        id: `${id}${at}`,
        createdAt: 0,
        state: 'open',
        metadata: {},
        attempt: 0,
        length: size,
      } as const;
      await store.create(record);
      const writer = await store.writer(record.id);
      await writer.write([seededContent(size)], 0);
      await writer.sync();
      await writer.close();
      for await (const _ of store.read(record.id, 0, size));
      expect(metadataOf(`uploads/${record.id}/content`)).toEqual(given);
    }
  });

  test('that is too long is refused before anything is sent', async () => {
    const { store, double } = world;
    const object = { Metadata: { a: 'x'.repeat(2048) } };
    const facts = { code: 'invalid_argument', expected: 2048, actual: 2049 };
    await expect(store.putStream('a', streamOf(seededContent(1)), { object }).result).rejects.toMatchObject(
      facts,
    );
    await expect(store.compose('a', [Buffer.from('a')], { object }).result).rejects.toMatchObject(facts);
    expect(double.log).toEqual([]);
  });
});
