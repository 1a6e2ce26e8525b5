import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isHttpDate, parseHttpDate, printHttpDate } from '../../src/headers/http-date.ts';
import { anyText } from '../leaves/any-text.ts';

const example = Date.UTC(1994, 10, 6, 8, 49, 37);
const last = Date.UTC(9999, 11, 31, 23, 59, 59);
const now = Date.UTC(2026, 10, 1);

test('what is printed is parsed to the same second', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: last / 1000 }), (seconds) => {
      expect(parseHttpDate(printHttpDate(seconds * 1000), now)).toBe(seconds * 1000);
    }),
  );
  expect(printHttpDate(example + 999)).toBe('Sun, 06 Nov 1994 08:49:37 GMT');
});

test.each([
  ['IMF-fixdate', 'Sun, 06 Nov 1994 08:49:37 GMT', example],
  ['RFC 850', 'Sunday, 06-Nov-94 08:49:37 GMT', example],
  ['asctime', 'Sun Nov  6 08:49:37 1994', example],
  ['asctime, a day of two digits', 'Wed Nov 16 08:49:37 1994', example + 10 * 86_400_000],
  ['a leap day', 'Thu, 29 Feb 2024 00:00:00 GMT', Date.UTC(2024, 1, 29)],
  ['a leap second', 'Sat, 31 Dec 2016 23:59:60 GMT', Date.UTC(2017, 0, 1)],
  ['a year of the first century', 'Sun, 06 Nov 0094 08:49:37 GMT', Date.parse('0094-11-06T08:49:37Z')],
])('%s is read', (_, text, expected) => {
  expect(parseHttpDate(text, now)).toBe(expected);
});

test('a year of two digits is at most 50 years ahead', () => {
  const year = (text: string): number => new Date(parseHttpDate(text, now) ?? Number.NaN).getUTCFullYear();
  expect(year('Sunday, 06-Nov-76 08:49:37 GMT')).toBe(2076);
  expect(year('Sunday, 06-Nov-77 08:49:37 GMT')).toBe(1977);
  expect(year('Sunday, 06-Nov-00 08:49:37 GMT')).toBe(2000);
});

describe('no date', () => {
  test.each([
    '',
    '0',
    '784111777',
    'Sun, 06 Nov 1994 08:49:37',
    'Sun, 06 Nov 1994 08:49:37 UTC',
    'Sun, 06 Nov 1994 08:49:37 +0000',
    'Sun, 6 Nov 1994 08:49:37 GMT',
    'sun, 06 nov 1994 08:49:37 gmt',
    'Sun, 31 Feb 1994 08:49:37 GMT',
    'Sun, 00 Nov 1994 08:49:37 GMT',
    'Sun, 06 Nov 1994 24:00:00 GMT',
    'Sun, 06 Nov 1994 08:60:00 GMT',
    'Sun, 06 Nov 1994 08:49:61 GMT',
    '1994-11-06T08:49:37Z',
    ' Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT',
  ])('%j', (text) => {
    expect(parseHttpDate(text, now)).toBeUndefined();
  });

  test('any text is a whole second or none', () => {
    fc.assert(
      fc.property(anyText(), (text) => {
        expect((parseHttpDate(text, now) ?? 0) % 1000).toBe(0);
      }),
    );
  });
});

test('only what has a year of four digits can be written', () => {
  expect([0, example, last].map(isHttpDate)).toEqual([true, true, true]);
  expect([-1, last + 1000, Number.NaN, Number.POSITIVE_INFINITY].map(isHttpDate)).toEqual(
    Array(4).fill(false),
  );
});
