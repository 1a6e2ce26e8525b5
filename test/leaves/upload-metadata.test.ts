import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { printMetadata } from '../../src/client/metadata.ts';
import { parseUploadMetadata, uploadMetadata } from '../../src/headers/upload-metadata.ts';
import { anyText } from './any-text.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const malformed = expect.objectContaining({ code: 'malformed_metadata' });

/** What a header may hold as a name: all of ASCII that can be seen, but the comma. */
const name = fc
  .array(
    fc.integer({ min: 0x21, max: 0x7e }).filter((unit) => unit !== 0x2c),
    { minLength: 1, maxLength: 12 },
  )
  .map((units) => String.fromCharCode(...units));
const anyName = fc.oneof(name, fc.constantFrom('__proto__', 'constructor', 'toString', 'hasOwnProperty'));

describe('Upload-Metadata', () => {
  test('what the client prints is read as it was, whatever text it is', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(anyName, anyText()), { selector: ([key]) => key }), (entries) => {
        const metadata = Object.fromEntries(entries);
        const read = parseUploadMetadata(printMetadata(metadata) ?? '');
        // UTF-8 has no single surrogates.
        const expected = entries.map(([key, text]) => [key, Buffer.from(text).toString()]);
        expect(Object.entries(read)).toEqual(expect.arrayContaining(expected));
        expect(Object.keys(read)).toHaveLength(entries.length);
        expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
      }),
    );
  });

  test('any text at all is read or refused, and what is read is what it says', () => {
    const near = fc.stringMatching(/^([a-c]{0,2} ?[A-Za-z0-9+/]{0,5}={0,2}[, ]{0,2}){0,3}$/);
    fc.assert(
      fc.property(fc.oneof(anyText(), near), (field) => {
        let read: Record<string, string>;
        try {
          read = parseUploadMetadata(field);
        } catch (error) {
          expect(error).toEqual(malformed);
          return;
        }
        const bare = (text: string): string =>
          text
            .split(',')
            .map((entry) => entry.trim())
            .join();
        expect(
          bare(printMetadata(read) ?? '')
            .split(',')
            .sort(),
        ).toEqual(bare(field).split(',').sort());
      }),
    );
  });

  test.each<[string, Record<string, string>]>([
    ['', {}],
    [' ', {}],
    ['a', { a: '' }],
    ['a ,b', { a: '', b: '' }],
    ['\ta YQ== ,\tb\t', { a: 'a', b: '' }],
    ['filename d29ybGQ=, kind ZmlsbQ==', { filename: 'world', kind: 'film' }],
    ['x 77u/YQ==', { x: '\ufeffa' }],
  ])('%j is read', (field, expected) => {
    expect(parseUploadMetadata(field)).toEqual(expected);
  });

  test.each([
    ['a YQ'],
    ['a YQ='],
    ['a YR=='],
    ['a Y Q=='],
    ['a  YQ=='],
    ['a _-8='],
    ['a Y*Q='],
    ['a YQ==\u00a0YQ=='],
    ['a /w=='],
    ['a 7aCA'],
    ['a YQ==,'],
    ['a YQ==\u00a0'],
    ['a\tYQ=='],
    [',a YQ=='],
    ['a YQ==,,b YQ=='],
    ['\u00e4 YQ=='],
    ['a YQ==,a YQ=='],
    ['__proto__ YQ==,__proto__ YQ=='],
  ])('%j is refused', (field) => {
    expect(() => parseUploadMetadata(field)).toThrow(malformed);
  });

  test('as much as is taken is taken, and no more', () => {
    const entries = (count: number) => Array.from({ length: count }, (_, i) => `k${i} YQ==`).join(',');
    expect(Object.keys(parseUploadMetadata(entries(64)))).toHaveLength(64);
    expect(() => parseUploadMetadata(entries(65))).toThrow(malformed);
    expect(parseUploadMetadata('n'.repeat(128))).toEqual({ ['n'.repeat(128)]: '' });
    expect(() => parseUploadMetadata('n'.repeat(129))).toThrow(malformed);
    expect(parseUploadMetadata(`a ${base64('x'.repeat(4096))}`)).toEqual({ a: 'x'.repeat(4096) });
    expect(() => parseUploadMetadata(`a ${base64('x'.repeat(4097))}`)).toThrow(malformed);
  });

  test('a name of the prototype is one of the object itself, and changes no other', () => {
    const read = parseUploadMetadata(`__proto__ ${base64('x')},constructor ${base64('y')}`);
    expect(Object.entries({ ...read })).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]);
    expect(Object.entries(JSON.parse(JSON.stringify(read)))).toHaveLength(2);
    expect({}.constructor).toBe(Object);
  });

  test('of a request are those it sent', () => {
    expect(uploadMetadata({ headers: { 'upload-metadata': 'a YQ==' } })).toEqual({ a: 'a' });
    expect(uploadMetadata({ headers: {} })).toEqual({});
  });
});
