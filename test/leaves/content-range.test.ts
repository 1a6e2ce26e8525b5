import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UploadError } from '../../src/errors.ts';
import { type ContentRange, parseContentRange, printContentRange } from '../../src/headers/content-range.ts';
import { anyText } from './any-text.ts';

const max = Number.MAX_SAFE_INTEGER;

const range = (start: number, end?: number, length?: number): ContentRange => ({
  kind: 'range',
  start,
  end,
  length,
});
const query = (length?: number): ContentRange => ({ kind: 'query', length });

/** Every value a request can mean: a range inside its length, of at least one byte unless the whole upload is empty. */
const anyContentRange: fc.Arbitrary<ContentRange> = fc.oneof(
  fc.option(fc.maxSafeNat(), { nil: undefined }).map(query),
  fc.constantFrom(range(0, 0, 0), range(0, 0)),
  fc
    .tuple(fc.uniqueArray(fc.maxSafeNat(), { minLength: 2, maxLength: 2 }), fc.maxSafeNat(), fc.nat(3))
    .map(([ends, spare, form]) => {
      const [start = 0, end = 0] = ends.sort((a, b) => a - b);
      const length = end + Math.min(spare, max - end);
      if (form === 0) return range(start, end, length);
      if (form === 1) return range(start, end);
      return form === 2 ? range(start, undefined, length) : range(start);
    }),
);

/** The code a value is refused with; undefined when it is taken. Anything but an UploadError is rethrown. */
const refusal = (value: string): string | undefined => {
  try {
    parseContentRange(value);
    return undefined;
  } catch (error) {
    if (error instanceof UploadError) return error.code;
    throw error;
  }
};

test('what is printed is parsed to the same value', () => {
  fc.assert(
    fc.property(anyContentRange, (value) => {
      expect(parseContentRange(printContentRange(value))).toEqual(value);
    }),
    { numRuns: 300 },
  );
});

test('the canonical form is the one RFC 9110 prints', () => {
  expect(printContentRange(range(43, 100, 100))).toBe('bytes 43-99/100');
  expect(printContentRange(range(43, 100))).toBe('bytes 43-99/*');
  expect(printContentRange(range(43, undefined, 100))).toBe('bytes 43-*/100');
  expect(printContentRange(range(43))).toBe('bytes 43-*/*');
  expect(printContentRange(query(100))).toBe('bytes */100');
  expect(printContentRange(query())).toBe('bytes */*');
});

describe('accepted forms', () => {
  test.each<[string, ContentRange]>([
    ['bytes 43-99/100', range(43, 100, 100)],
    ['43-99/100', range(43, 100, 100)],
    ['bytes=43-99/100', range(43, 100, 100)],
    ['bytes = 43-99/100', range(43, 100, 100)],
    ['bytes\t43-99/100', range(43, 100, 100)],
    ['BYTES 43-99/100', range(43, 100, 100)],
    ['  bytes 43-99/100\t', range(43, 100, 100)],
    ['bytes 43-99/*', range(43, 100)],
    ['43-99/*', range(43, 100)],
    ['43-/100', range(43, undefined, 100)],
    ['43-*/100', range(43, undefined, 100)],
    ['43-/*', range(43)],
    ['43-*/*', range(43)],
    ['bytes 43-/*', range(43)],
    ['0--1/0', range(0, 0, 0)],
    ['bytes 0--1/0', range(0, 0, 0)],
    ['0--1/*', range(0, 0)],
    ['0-0/1', range(0, 1, 1)],
    ['0-*/0', range(0, undefined, 0)],
    ['100-*/100', range(100, undefined, 100)],
    ['007-009/0010', range(7, 10, 10)],
    ['*/100', query(100)],
    ['*/0', query(0)],
    ['*/*', query()],
    ['bytes */*', query()],
    ['bytes=*/100', query(100)],
    [`bytes 0-${max - 1}/${max}`, range(0, max, max)],
    [`bytes */${max}`, query(max)],
    [`bytes ${max}-*/*`, range(max)],
  ])('%j', (value, expected) => {
    expect(parseContentRange(value)).toEqual(expected);
  });
});

describe('refused with malformed_content_range', () => {
  test.each([
    ['an empty value', ''],
    ['blanks', '  '],
    ['a word', 'junk'],
    ['the unit alone', 'bytes'],
    ['a unit with nothing between', 'bytes43-99/100'],
    ['another unit', 'octets 43-99/100'],
    ['another unit that asks', 'items */100'],
    ['no length', '43-99'],
    ['no length after the slash', '43-99/'],
    ['no range', '/100'],
    ['no first position', '-99/100'],
    ['no first position and an open end', '-/100'],
    ['a star as first position', '*-99/100'],
    ['a negative first position', '-1-99/100'],
    ['a negative last position', '43--5/100'],
    ['the empty range not at the start', '5--1/100'],
    ['the empty range not at the start of an empty upload', '5--1/0'],
    ['the empty range not at the start of an unknown length', '5--1/*'],
    ['the empty range of an upload that is not', '0--1/5'],
    ['a negative length', '43-99/-100'],
    ['a reversed range', '99-43/100'],
    ['a range reversed by one', '43-42/100'],
    ['two values joined by a comma', 'bytes 0-4/10, bytes 5-9/10'],
    ['one value twice', 'bytes 0-4/10, bytes 0-4/10'],
    ['two ranges', 'bytes 0-4,5-9/10'],
    ['two queries', '*/10,*/10'],
    ['a fraction', '0.5-9/10'],
    ['an exponent', '0-1e1/100'],
    ['hexadecimal', '0x0-0x9/10'],
    ['a plus sign', '+0-9/10'],
    ['digits of another script', '\u0660-\u0669/10'],
    ['inner blanks', '0 - 9 / 10'],
    ['a line break inside', '0-9/10\n11-12/13'],
    ['something behind', '0-9/10;q=1'],
    ['a first position that is not safe', `${2 ** 53}-*/*`],
    ['a last position whose end is not safe', `0-${max}/*`],
    ['a length that is not safe', `0-9/${2 ** 53}`],
    ['a queried length that is not safe', `*/${2 ** 53}`],
    ['seventeen digits', '0-9/10000000000000000'],
    ['huge digits', `0-${'9'.repeat(400)}/*`],
    ['a huge length', `*/${'9'.repeat(5000)}`],
  ])('%s', (_, value) => {
    expect(refusal(value)).toBe('malformed_content_range');
  });
});

describe('refused with range_past_length', () => {
  test.each(['0-10/10', 'bytes 43-100/100', '11-*/10', '11-/10', '0-0/0', `0-${max - 1}/${max - 1}`])(
    '%j',
    (value) => {
      expect(refusal(value)).toBe('range_past_length');
    },
  );

  test('the error says which end and which length', () => {
    expect(() => parseContentRange('43-120/100')).toThrow(
      expect.objectContaining({ code: 'range_past_length', expected: 100, actual: 121 }),
    );
  });
});

describe('any text is either read or refused with one of the two codes', () => {
  const alphabet = fc.constantFrom(
    ...[
      'bytes',
      ' ',
      '=',
      '*',
      '-',
      '/',
      ',',
      '0',
      '1',
      '9',
      '43',
      '-1',
      '9007199254740991',
      '99999999999999999',
    ],
  );
  const shaped = fc.array(alphabet, { maxLength: 12 }).map((parts) => parts.join(''));
  const mutated = fc
    .tuple(anyContentRange.map(printContentRange), fc.nat(), fc.string({ maxLength: 3 }))
    .map(([text, at, insert]) => {
      const cut = at % (text.length + 1);
      return text.slice(0, cut) + insert + text.slice(cut + (at % 2));
    });

  test.each([
    ['arbitrary text', anyText({ maxLength: 60 })],
    ['text made of the tokens of the grammar', shaped],
    ['a valid value with a change', mutated],
  ])('%s', (_, texts) => {
    fc.assert(
      fc.property(texts, (text) => {
        const code = refusal(text);
        expect([undefined, 'malformed_content_range', 'range_past_length']).toContain(code);
        if (code !== undefined) return;
        // What is taken is a value that makes sense, and that survives being printed.
        const value = parseContentRange(text);
        expect(parseContentRange(printContentRange(value))).toEqual(value);
        if (value.kind === 'query') return;
        for (const number of [value.start, value.end ?? 0, value.length ?? 0]) {
          expect(Number.isSafeInteger(number) && number >= 0).toBe(true);
        }
        expect(value.start).toBeLessThanOrEqual(value.end ?? max);
        expect(value.end ?? value.start).toBeLessThanOrEqual(value.length ?? max);
      }),
      { numRuns: 1000 },
    );
  });
});
