import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type ContentDisposition,
  parseContentDisposition,
  printContentDisposition,
} from '../../src/headers/content-disposition.ts';
import { anyText } from '../leaves/any-text.ts';

const anyType = fc.constantFrom<ContentDisposition['type']>('attachment', 'inline');

test('what is printed is parsed to the same name, whatever is in it', () => {
  const printable = fc.string({ unit: 'binary-ascii', maxLength: 20 });
  fc.assert(
    fc.property(anyType, fc.oneof(printable, anyText()), (type, text) => {
      const filename = text.toWellFormed();
      const printed = printContentDisposition({ type, filename });
      expect(parseContentDisposition(printed)).toEqual({ type, filename });
      // Safe in a field as it is: no control character, nothing outside ASCII.
      expect(printed).toMatch(/^[\x20-\x7e]+$/);
    }),
    { numRuns: 1000 },
  );
});

describe('printed', () => {
  test.each<[ContentDisposition, string]>([
    [{ type: 'inline' }, 'inline'],
    [{ type: 'attachment', filename: 'a b.txt' }, 'attachment; filename="a b.txt"'],
    [{ type: 'attachment', filename: "it's;.txt" }, `attachment; filename="it's;.txt"`],
    [
      { type: 'inline', filename: '€ rates' },
      `inline; filename="_ rates"; filename*=UTF-8''%E2%82%AC%20rates`,
    ],
    [
      { type: 'attachment', filename: 'a"b\\c%20.txt' },
      `attachment; filename="a_b_c_20.txt"; filename*=UTF-8''a%22b%5Cc%2520.txt`,
    ],
    [
      { type: 'attachment', filename: "ü'()*" },
      `attachment; filename="_'()*"; filename*=UTF-8''%C3%BC%27%28%29%2A`,
    ],
    [
      { type: 'attachment', filename: 'a\r\nSet-Cookie: b' },
      `attachment; filename="a__Set-Cookie: b"; filename*=UTF-8''a%0D%0ASet-Cookie%3A%20b`,
    ],
    [{ type: 'attachment', filename: '\ud800' }, `attachment; filename="_"; filename*=UTF-8''%EF%BF%BD`],
  ])('%j', (value, expected) => {
    expect(printContentDisposition(value)).toBe(expected);
  });
});

describe('read', () => {
  test.each<[string, ContentDisposition | undefined]>([
    ['ATTACHMENT', { type: 'attachment' }],
    ['attachment; filename=a.txt', { type: 'attachment', filename: 'a.txt' }],
    ['attachment ; FileName="a\\"b"', { type: 'attachment', filename: 'a"b' }],
    [`attachment; filename*=utf-8'en'%e2%82%ac; filename="e"`, { type: 'attachment', filename: '€' }],
    [`attachment; filename="e"; filename*=ISO-8859-1''%A4`, { type: 'attachment', filename: 'e' }],
    [`attachment; filename="e"; filename*=UTF-8''%A4`, { type: 'attachment', filename: 'e' }],
    ['attachment; size=4; filename=a', { type: 'attachment', filename: 'a' }],
    ['form-data; name=a', undefined],
    ['attachment; filename', undefined],
    ['attachment; filename="a', undefined],
    ['attachments', undefined],
    ['', undefined],
  ])('%j', (field, expected) => {
    expect(parseContentDisposition(field)).toEqual(expected);
  });

  test('any text is read or not, and never throws', () => {
    fc.assert(
      fc.property(anyText(), (text) => {
        parseContentDisposition(text);
        parseContentDisposition(`attachment; ${text}`);
      }),
    );
  });
});
