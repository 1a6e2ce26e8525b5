import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { isUploadError } from '../../src/errors.ts';
import { assertRange, IntervalSet, type Range } from '../../src/intervals.ts';

/** Small enough that ranges collide all the time, and that the model can be asked about every byte. */
const universe = 48;

/** The naive model: one flag for each byte. */
class Bitmap {
  readonly bytes = new Uint8Array(universe + 1);

  add(start: number, end: number): number {
    let added = 0;
    for (let i = start; i < end; i++) {
      if (this.bytes[i] === 0) added++;
      this.bytes[i] = 1;
    }
    return added;
  }

  has(offset: number): boolean {
    return this.bytes[offset] === 1;
  }

  covers(start: number, end: number): boolean {
    for (let i = start; i < end; i++) if (!this.has(i)) return false;
    return true;
  }

  runEnd(offset: number): number {
    let end = offset;
    while (this.has(end)) end++;
    return end;
  }

  nextStored(offset: number): number {
    for (let i = offset; i < universe; i++) if (this.has(i)) return i;
    return Number.POSITIVE_INFINITY;
  }

  /** The runs of bytes in `[start, end)` that are there, or that are not. */
  runs(stored: boolean, start = 0, end = universe): Range[] {
    const out: Range[] = [];
    for (let i = start; i < end; i++) {
      if (this.has(i) !== stored) continue;
      const first = i;
      while (i < end && this.has(i) === stored) i++;
      out.push({ start: first, end: i });
    }
    return out;
  }
}

const anyRange = fc
  .tuple(fc.nat(universe), fc.nat(universe))
  .map(([a, b]): Range => ({ start: Math.min(a, b), end: Math.max(a, b) }));
const anyRanges = fc.array(anyRange, { maxLength: 24 });

const both = (ranges: readonly Range[]): { set: IntervalSet; model: Bitmap } => {
  const model = new Bitmap();
  for (const { start, end } of ranges) model.add(start, end);
  return { set: IntervalSet.from(ranges), model };
};

const expectInvariant = (set: IntervalSet): void => {
  let before = -1;
  for (const { start, end } of set.ranges()) {
    expect(start).toBeGreaterThan(before); // equal would mean that two ranges touch
    expect(end).toBeGreaterThan(start);
    before = end;
  }
};

describe('an interval set agrees with a bitmap of its bytes', () => {
  test('add returns the number of bytes that were new, at every step', () => {
    fc.assert(
      fc.property(anyRanges, (ranges) => {
        const set = new IntervalSet();
        const model = new Bitmap();
        for (const { start, end } of ranges) {
          expect(set.add(start, end)).toBe(model.add(start, end));
          expectInvariant(set);
        }
      }),
    );
  });

  test('ranges, size, count and end', () => {
    fc.assert(
      fc.property(anyRanges, (ranges) => {
        const { set, model } = both(ranges);
        const runs = model.runs(true);
        expect(set.ranges()).toEqual(runs);
        expect(set.count).toBe(runs.length);
        expect(set.size).toBe(runs.reduce((sum, { start, end }) => sum + end - start, 0));
        expect(set.end).toBe(runs.at(-1)?.end ?? 0);
      }),
    );
  });

  test('ranges(limit) is the beginning of ranges()', () => {
    fc.assert(
      fc.property(anyRanges, fc.nat(30), (ranges, limit) => {
        const { set, model } = both(ranges);
        expect(set.ranges(limit)).toEqual(model.runs(true).slice(0, limit));
      }),
    );
  });

  test('covers, for every pair of offsets', () => {
    fc.assert(
      fc.property(anyRanges, (ranges) => {
        const { set, model } = both(ranges);
        for (let start = 0; start <= universe; start++) {
          for (let end = start; end <= universe; end++) {
            if (set.covers(start, end) !== model.covers(start, end)) expect.fail(`covers(${start}, ${end})`);
          }
        }
      }),
    );
  });

  test('runEnd and nextStored, for every offset, also past the end', () => {
    fc.assert(
      fc.property(anyRanges, (ranges) => {
        const { set, model } = both(ranges);
        for (let offset = 0; offset <= universe + 2; offset++) {
          expect(set.runEnd(offset)).toBe(model.runEnd(offset));
          expect(set.nextStored(offset)).toBe(model.nextStored(offset));
        }
      }),
    );
  });

  test('missing, for any window', () => {
    fc.assert(
      fc.property(anyRanges, anyRange, (ranges, { start, end }) => {
        const { set, model } = both(ranges);
        expect(set.missing(start, end)).toEqual(model.runs(false, start, end));
      }),
    );
  });

  test('adding what is missing covers the window, and adds exactly that many bytes', () => {
    fc.assert(
      fc.property(anyRanges, anyRange, (ranges, { start, end }) => {
        const { set } = both(ranges);
        const gaps = set.missing(start, end);
        const expected = gaps.reduce((sum, gap) => sum + gap.end - gap.start, 0);
        const before = set.size;
        set.addAll(gaps);
        expect(set.size).toBe(before + expected);
        expect(set.covers(start, end)).toBe(true);
        expect(set.missing(start, end)).toEqual([]);
      }),
    );
  });
});

describe('an interval set only depends on what was added', () => {
  test('the order does not matter (commutative and associative)', () => {
    const shuffled = anyRanges.chain((ranges) =>
      fc.tuple(
        fc.constant(ranges),
        fc.shuffledSubarray(ranges, { minLength: ranges.length }),
        fc.nat(ranges.length),
      ),
    );
    fc.assert(
      fc.property(shuffled, ([ranges, other, cut]) => {
        const straight = IntervalSet.from(ranges);
        expect(IntervalSet.from(other).ranges()).toEqual(straight.ranges());
        // Two writers that each know a part, merged either way.
        const left = IntervalSet.from(other.slice(0, cut));
        const right = IntervalSet.from(other.slice(cut));
        const leftFirst = left.clone();
        leftFirst.addAll(right.ranges());
        right.addAll(left.ranges());
        expect(leftFirst.ranges()).toEqual(straight.ranges());
        expect(right.ranges()).toEqual(straight.ranges());
        expect(right.size).toBe(straight.size);
      }),
    );
  });

  test('many at once, whichever end belongs to which start, are as one after the other', () => {
    fc.assert(
      fc.property(anyRanges, anyRanges, (before, ranges) => {
        const one = IntervalSet.from([...before, ...ranges]);
        const many = IntervalSet.from(before);
        many.addMany(
          Float64Array.from(ranges, ({ start }) => start),
          Float64Array.from(ranges, ({ end }) => end).reverse(),
        );
        expect(many.ranges()).toEqual(one.ranges());
        expect(many.size).toBe(one.size);
        expectInvariant(many);
      }),
    );
  });

  test('adding again changes nothing (idempotent)', () => {
    fc.assert(
      fc.property(anyRanges, (ranges) => {
        const set = IntervalSet.from(ranges);
        const { size } = set;
        const before = set.ranges();
        for (const { start, end } of [...ranges, ...before]) expect(set.add(start, end)).toBe(0);
        expect(set.ranges()).toEqual(before);
        expect(set.size).toBe(size);
      }),
    );
  });

  test('a clone is equal, and neither sees what is added to the other', () => {
    fc.assert(
      fc.property(anyRanges, anyRange, (ranges, { start, end }) => {
        const set = IntervalSet.from(ranges);
        const before = set.ranges();
        const clone = set.clone();
        expect([clone.ranges(), clone.size, clone.count, clone.end]).toEqual([
          before,
          set.size,
          set.count,
          set.end,
        ]);
        clone.add(start, end);
        expect(set.ranges()).toEqual(before);
        const cloned = clone.ranges();
        set.add(universe + 5, universe + 6);
        expect(clone.ranges()).toEqual(cloned);
      }),
    );
  });

  test('a returned range list is a copy', () => {
    const set = IntervalSet.from([{ start: 1, end: 2 }]);
    set.ranges().push({ start: 8, end: 9 });
    expect(set.ranges()).toEqual([{ start: 1, end: 2 }]);
  });
});

test('an empty set has no bytes, no ranges and no end', () => {
  const set = new IntervalSet();
  expect([set.size, set.count, set.end, set.ranges()]).toEqual([0, 0, 0, []]);
  expect(set.nextStored(0)).toBe(Number.POSITIVE_INFINITY);
  expect(set.missing(3, 7)).toEqual([{ start: 3, end: 7 }]);
  expect(set.covers(0, 1)).toBe(false);
  expect(set.covers(5, 5)).toBe(true);
  expect(set.add(4, 4)).toBe(0);
  expect(set.count).toBe(0);
});

test('the last byte a safe integer can name can be added and found', () => {
  const set = new IntervalSet();
  const end = Number.MAX_SAFE_INTEGER;
  expect(set.add(end - 1, end)).toBe(1);
  expect(set.add(0, end)).toBe(end - 1);
  expect(set.ranges()).toEqual([{ start: 0, end }]);
  expect(set.size).toBe(end);
});

describe('a set of 100,000 ranges', () => {
  const count = 100_000;
  const stride = 5; // two bytes of every five

  const build = (): IntervalSet => {
    const set = new IntervalSet();
    // 7919 has no factor in common with the count, so this visits every index once, far from in order.
    for (let i = 0; i < count; i++) {
      const at = ((i * 7919) % count) * stride;
      if (set.add(at, at + 2) !== 2) expect.fail(`bytes at ${at} were not new`);
    }
    return set;
  };
  let set = new IntervalSet();
  beforeAll(() => {
    set = build();
  });

  test('holds exactly these, in order, whatever order they came in', () => {
    expect([set.count, set.size, set.end]).toEqual([count, 2 * count, (count - 1) * stride + 2]);
    const ranges = set.ranges();
    const wrong = ranges.findIndex(({ start, end }, i) => start !== i * stride || end !== i * stride + 2);
    expect(wrong).toBe(-1);
  });

  test('answers any question about any offset', () => {
    fc.assert(
      fc.property(fc.nat((count - 2) * stride), (offset) => {
        const base = offset - (offset % stride);
        const inside = offset - base < 2;
        expect(set.runEnd(offset)).toBe(inside ? base + 2 : offset);
        expect(set.nextStored(offset)).toBe(inside ? offset : base + stride);
        expect(set.covers(base, base + 2)).toBe(true);
        expect(set.covers(base, base + 3)).toBe(false);
        expect(set.missing(base, base + 2 * stride)).toEqual([
          { start: base + 2, end: base + stride },
          { start: base + stride + 2, end: base + 2 * stride },
        ]);
      }),
      { numRuns: 300 },
    );
  });

  test('swallows thousands of ranges in one add, then becomes one range as its gaps fill', () => {
    const clone = set.clone();
    const from = 20_000 * stride;
    const to = 90_000 * stride;
    expect(clone.add(from, to)).toBe(70_000 * (stride - 2));
    expect(clone.count).toBe(30_000); // the run touches the range behind it
    for (let i = count - 1; i >= 0; i--) clone.add(i * stride + 2, (i + 1) * stride);
    expect(clone.ranges()).toEqual([{ start: 0, end: count * stride }]);
    expect(clone.size).toBe(count * stride);
    expect(set.count).toBe(count);
  });
});

describe('assertRange', () => {
  test.each([
    [0, 0],
    [0, 1],
    [5, 5],
    [0, Number.MAX_SAFE_INTEGER],
  ])('takes %d-%d', (start, end) => {
    expect(() => assertRange(start, end)).not.toThrow();
  });

  test.each([
    [-1, 1],
    [2, 1],
    [0.5, 1],
    [0, 1.5],
    [Number.NaN, 1],
    [0, Number.NaN],
    [0, Number.POSITIVE_INFINITY],
    [0, 2 ** 53],
  ])('rejects %d-%d with invalid_argument', (start, end) => {
    let caught: unknown;
    try {
      assertRange(start, end);
    } catch (error) {
      caught = error;
    }
    expect(isUploadError(caught, 'invalid_argument')).toBe(true);
  });
});
