import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRange, printRange, type RangeForm } from '../../src/headers/range.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import { anyText } from './any-text.ts';

const max = Number.MAX_SAFE_INTEGER;

/** Sorted, disjoint, never touching, at least one: what a set of stored bytes looks like. */
const canonical: fc.Arbitrary<Range[]> = fc
  .array(fc.tuple(fc.maxSafeNat(), fc.nat(1_000_000)), { minLength: 1, maxLength: 70 })
  .map((pairs) =>
    IntervalSet.from(
      pairs.map(([at, more]) => {
        const start = Math.min(at, max - 1);
        return { start, end: Math.min(max, start + 1 + more) };
      }),
    ).ranges(),
  );

describe.each<RangeForm>(['bytes', 'bare'])('in the form %s', (form) => {
  test('what is printed is parsed to the same list', () => {
    fc.assert(
      fc.property(canonical, (ranges) => {
        expect(parseRange(printRange(ranges, form) ?? '')).toEqual(ranges);
      }),
    );
  });

  test('nothing stored has no header at all', () => {
    expect(printRange([], form)).toBeUndefined();
  });
});

test('positions are inclusive on the wire', () => {
  const ranges = [
    { start: 0, end: 43 },
    { start: 50, end: 51 },
  ];
  expect(printRange(ranges, 'bytes')).toBe('bytes=0-42,50-50');
  expect(printRange(ranges, 'bare')).toBe('0-42,50-50');
});

describe('read', () => {
  test.each<[string, Range[]]>([
    ['0-42', [{ start: 0, end: 43 }]],
    ['bytes=0-42', [{ start: 0, end: 43 }]],
    ['bytes 0-42', [{ start: 0, end: 43 }]],
    ['BYTES=0-42', [{ start: 0, end: 43 }]],
    ['bytes = 0-42', [{ start: 0, end: 43 }]],
    [' 0-42 ', [{ start: 0, end: 43 }]],
    ['0-0', [{ start: 0, end: 1 }]],
    [
      'bytes=0-4, 10-14 ,20-20',
      [
        { start: 0, end: 5 },
        { start: 10, end: 15 },
        { start: 20, end: 21 },
      ],
    ],
    [`0-${max - 1}`, [{ start: 0, end: max }]],
  ])('%j', (value, expected) => {
    expect(parseRange(value)).toEqual(expected);
  });
});

describe('unreadable', () => {
  test.each([
    ['an empty value', ''],
    ['the unit alone', 'bytes='],
    ['no last position', '0-'],
    ['no last position in one of several', 'bytes=0-4,10-'],
    ['no last position in the first of several', 'bytes=0-,10-14'],
    ['a suffix range', 'bytes=-500'],
    ['a star as last position', '0-*'],
    ['a reversed range', '5-3'],
    ['a reversed range among others', '0-4,9-7'],
    ['an empty item', '0-4,,6-7'],
    ['a comma at the end', '0-4,'],
    ['a Content-Range', 'bytes 0-4/10'],
    ['another unit', 'items=0-4'],
    ['a unit with nothing between', 'bytes0-4'],
    ['the unit twice', 'bytes=bytes=0-4'],
    ['a negative position', '-1-4'],
    ['a last position whose end is not safe', `0-${max}`],
    ['huge digits', `0-${'9'.repeat(400)}`],
    ['a fraction', '0-4.5'],
    ['a word', 'none'],
  ])('%s', (_, value) => {
    expect(parseRange(value)).toBeUndefined();
  });

  test('any text is unreadable or a list of ranges with at least one byte each', () => {
    const tokens = fc
      .array(fc.constantFrom('bytes', '=', ' ', '-', ',', '0', '4', '43', `${max}`), { maxLength: 10 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(fc.oneof(tokens, anyText()), (text) => {
        for (const { start, end } of parseRange(text) ?? []) {
          expect(Number.isSafeInteger(start) && Number.isSafeInteger(end)).toBe(true);
          expect(start).toBeGreaterThanOrEqual(0);
          expect(end).toBeGreaterThan(start);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
