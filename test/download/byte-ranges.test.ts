import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type ByteRangeSpec,
  parseByteRanges,
  printByteRanges,
  selectRanges,
} from '../../src/headers/byte-ranges.ts';
import { IntervalSet } from '../../src/intervals.ts';
import { anyText } from '../leaves/any-text.ts';

const max = Number.MAX_SAFE_INTEGER;

const anyPosition = fc.nat({ max: max - 1 });

const anySpec: fc.Arbitrary<ByteRangeSpec> = fc.oneof(
  anyPosition.map((suffix) => ({ suffix })),
  anyPosition.map((start) => ({ start, end: undefined })),
  fc.tuple(anyPosition, anyPosition).map(([a, b]) => {
    const start = Math.min(a, b);
    return { start, end: Math.max(a, b, start + 1) };
  }),
);

test('what is printed is parsed to the same specs', () => {
  fc.assert(
    fc.property(fc.array(anySpec, { minLength: 1, maxLength: 30 }), (specs) => {
      expect(parseByteRanges(printByteRanges(specs))).toEqual(specs);
    }),
  );
});

describe('read', () => {
  test.each<[string, ByteRangeSpec[]]>([
    ['bytes=0-499', [{ start: 0, end: 500 }]],
    ['BYTES=0-0', [{ start: 0, end: 1 }]],
    ['bytes=500-', [{ start: 500, end: undefined }]],
    ['bytes=-500', [{ suffix: 500 }]],
    ['bytes=-0', [{ suffix: 0 }]],
    ['bytes=0-0,-1', [{ start: 0, end: 1 }, { suffix: 1 }]],
    ['bytes= 0-0 ,\t-1 ', [{ start: 0, end: 1 }, { suffix: 1 }]],
    ['bytes=,0-0,,-1,', [{ start: 0, end: 1 }, { suffix: 1 }]],
    ['bytes=007-009', [{ start: 7, end: 10 }]],
    [`bytes=0-${'9'.repeat(400)}`, [{ start: 0, end: max }]],
    [`bytes=${'9'.repeat(400)}-`, [{ start: max - 1, end: undefined }]],
    [`bytes=${max}-${max}`, [{ start: max - 1, end: max }]],
    [`bytes=-${'9'.repeat(30)}`, [{ suffix: max - 1 }]],
  ])('%j', (field, expected) => {
    expect(parseByteRanges(field)).toEqual(expected);
  });
});

describe('ignored', () => {
  test.each([
    '',
    'bytes',
    'bytes=',
    'bytes=,',
    'bytes=-',
    'bytes=5-2',
    'bytes=0-1,5-2',
    'bytes=a-b',
    'bytes=0-1;2-3',
    'bytes=0 - 1',
    'bytes=--1',
    'bytes=1-2-3',
    'bytes=+1-2',
    'bytes=0x0-0x1',
    'bytes=1.0-2',
    'bytes 0-1',
    'items=0-1',
    'none',
    '0-1',
    'bytes=0-1, bytes=5-6',
    '=0-1',
  ])('%j', (field) => {
    expect(parseByteRanges(field)).toBeUndefined();
  });

  test('or specs of safe integers in the right order: any text', () => {
    const tokens = fc
      .array(fc.constantFrom('bytes', '=', ' ', '-', ',', '0', '4', '43', `${max}`), { maxLength: 12 })
      .map((parts) => `bytes=${parts.join('')}`);
    fc.assert(
      fc.property(fc.oneof(tokens, anyText()), (text) => {
        for (const spec of parseByteRanges(text) ?? []) {
          const numbers = 'suffix' in spec ? [spec.suffix] : [spec.start, spec.end ?? spec.start + 0];
          for (const number of numbers) expect(Number.isSafeInteger(number) && number >= 0).toBe(true);
          if ('start' in spec && spec.end !== undefined) expect(spec.end).toBeGreaterThan(spec.start);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('a header of 16 KiB that fits nothing is refused at once', () => {
    const started = performance.now();
    for (const text of [' '.repeat(16_384), '\t,'.repeat(8192), '1'.repeat(16_384), '-'.repeat(16_384)]) {
      expect(parseByteRanges(`bytes=${text}x`)).toBeUndefined();
    }
    expect(performance.now() - started).toBeLessThan(200);
  });
});

describe('selected', () => {
  const select = (field: string, size: number) =>
    selectRanges(parseByteRanges(field) ?? [], size).map(({ start, end }) => [start, end]);

  test.each<[string, string, number, number[][]]>([
    ['a range', 'bytes=10-19', 100, [[10, 20]]],
    ['one that goes past the end', 'bytes=90-200', 100, [[90, 100]]],
    ['a suffix', 'bytes=-10', 100, [[90, 100]]],
    ['a suffix longer than the content', 'bytes=-1000', 100, [[0, 100]]],
    ['nothing past the end', 'bytes=100-', 100, []],
    ['nothing of no last bytes', 'bytes=-0', 100, []],
    ['nothing of nothing', 'bytes=0-,-5', 0, []],
    ['what can be, of several', 'bytes=0-4,200-300', 100, [[0, 5]]],
    ['two that overlap as one', 'bytes=0-9,5-14', 100, [[0, 15]]],
    ['two that touch as one', 'bytes=0-9,10-19', 100, [[0, 20]]],
    ['one twice as one', 'bytes=0-9,0-9', 100, [[0, 10]]],
    [
      'two with a gap of a byte as two',
      'bytes=0-9,11-19',
      100,
      [
        [0, 10],
        [11, 20],
      ],
    ],
    [
      'in the order of the request',
      'bytes=50-59,0-9,-1',
      100,
      [
        [50, 60],
        [0, 10],
        [99, 100],
      ],
    ],
    [
      'merged ones where the first of them stood',
      'bytes=50-59,0-9,55-70',
      100,
      [
        [50, 71],
        [0, 10],
      ],
    ],
    ['three that a fourth makes one', 'bytes=8-9,0-1,4-5,0-9', 100, [[0, 10]]],
  ])('%s', (_, field, size, expected) => {
    expect(select(field, size)).toEqual(expected);
  });

  test('ranges hold exactly the bytes that were named, each once, and none touches another', () => {
    const small = fc.array(
      fc.oneof(
        fc.nat(70).map((suffix): ByteRangeSpec => ({ suffix })),
        fc.nat(70).map((start): ByteRangeSpec => ({ start, end: undefined })),
        fc
          .tuple(fc.nat(70), fc.nat(9))
          .map(([start, more]): ByteRangeSpec => ({ start, end: start + more + 1 })),
      ),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(small, fc.nat(64), (specs, size) => {
        const named = new Set<number>();
        for (const spec of specs) {
          const [from, to] = 'suffix' in spec ? [size - spec.suffix, size] : [spec.start, spec.end ?? size];
          for (let at = Math.max(0, from); at < Math.min(to, size); at++) named.add(at);
        }
        const ranges = selectRanges(specs, size);
        const set = IntervalSet.from(ranges);
        expect(set.count).toBe(ranges.length);
        expect(set.size).toBe(named.size);
        for (const at of named) expect(set.covers(at, at + 1)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
