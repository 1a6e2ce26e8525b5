import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type PartLimits,
  type PartPlan,
  partAt,
  partsOf,
  planParts,
  rangeOfPart,
  reachOf,
  s3Limits,
} from '../../stores/s3/plan.ts';

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;
const TiB = 1024 ** 4;

const r2: PartLimits = { ...s3Limits, equalParts: true };
/** Small enough for every part to be looked at. */
const tiny: PartLimits = { minPart: 2, maxPart: 64, maxParts: 40, maxObject: 2000, equalParts: false };

const anyLength = fc.option(fc.nat({ max: 5 * TiB }), { nil: undefined });
const anySize = fc.integer({ min: 5 * MiB, max: 512 * MiB });
const anyPlan = fc
  .record({ length: anyLength, size: anySize, limits: fc.constantFrom(s3Limits, r2) })
  .map(({ length, size, limits }) => ({ length, plan: planParts(length, size, limits), limits }));

const sizes = (plan: PartPlan, count: number): number[] =>
  Array.from({ length: count }, (_, i) => {
    const { start, end } = rangeOfPart(plan, i + 1);
    return end - start;
  });

describe('a part plan', () => {
  test('has every byte in exactly one part, and the parts one behind the other', () => {
    fc.assert(
      fc.property(anyPlan, fc.integer({ min: 1, max: 9999 }), ({ plan }, number) => {
        const [part, next] = [rangeOfPart(plan, number), rangeOfPart(plan, number + 1)];
        expect(next.start).toBe(part.end);
        for (const offset of [part.start, part.end - 1])
          expect(partAt(plan, offset)).toEqual({ number, ...part });
        expect(partAt(plan, part.end).number).toBe(number + 1);
      }),
    );
    expect(rangeOfPart(planParts(undefined, 8 * MiB, s3Limits), 1).start).toBe(0);
  });

  test('keeps to what a provider takes: the least and the largest part, and their number', () => {
    fc.assert(
      fc.property(anyPlan, fc.integer({ min: 1, max: 10_000 }), ({ plan, limits }, number) => {
        const { start, end } = rangeOfPart(plan, number);
        expect(end - start).toBeGreaterThanOrEqual(limits.minPart);
        expect(end - start).toBeLessThanOrEqual(limits.maxPart);
        expect(Number.isSafeInteger(end)).toBe(true);
      }),
    );
  });

  test('reaches a length that is known with equal parts', () => {
    fc.assert(
      fc.property(fc.nat({ max: 5 * TiB }), anySize, (length, size) => {
        const plan = planParts(length, size, s3Limits);
        expect(reachOf(plan)).toBeGreaterThanOrEqual(length);
        expect(new Set(sizes(plan, 20)).size).toBe(1);
        if (length > 0) expect(partsOf(plan, length - 1, length)).toHaveLength(1);
      }),
    );
  });

  test('of an unknown length begins small and reaches the largest object', () => {
    const plan = planParts(undefined, 8 * MiB, s3Limits);
    expect(sizes(plan, 1000).every((size) => size === 8 * MiB)).toBe(true);
    expect(reachOf(plan)).toBeGreaterThanOrEqual(5 * TiB);
    expect(partAt(plan, 5 * TiB - 1).number).toBeLessThanOrEqual(10_000);
  });

  test('of equal parts stays with its size', () => {
    const plan = planParts(undefined, 64 * MiB, r2);
    expect(new Set(sizes(plan, 10_000))).toEqual(new Set([64 * MiB]));
    expect(reachOf(plan)).toBe(10_000 * 64 * MiB);
  });

  test('of 50 TB has parts of nearly 5 GiB', () => {
    const limits = { ...s3Limits, maxObject: 50_000_000_000_000 };
    const plan = planParts(50_000_000_000_000, 8 * MiB, limits);
    expect(plan.size).toBeLessThanOrEqual(5 * GiB);
    expect(reachOf(plan)).toBeGreaterThanOrEqual(50_000_000_000_000);
  });

  test('covers a range with all parts that hold some of it, and no others', () => {
    fc.assert(
      fc.property(
        fc.option(fc.nat({ max: 2000 }), { nil: undefined }),
        fc.nat({ max: 400 }),
        fc.nat({ max: 400 }),
        (length, a, b) => {
          const plan = planParts(length, 20, tiny);
          const [start, end] = [Math.min(a, b), Math.max(a, b)];
          const expected = Array.from({ length: plan.maxParts }, (_, i) => ({
            number: i + 1,
            ...rangeOfPart(plan, i + 1),
          }));
          expect(partsOf(plan, start, end)).toEqual(
            expected.filter((part) => start < end && part.start < end && start < part.end),
          );
        },
      ),
    );
  });

  test.each([
    ['too_large', () => planParts(5 * TiB + 1, 8 * MiB, s3Limits)],
    ['too_large', () => partAt(planParts(undefined, 5 * MiB, r2), 10_000 * 5 * MiB)],
    ['invalid_argument', () => planParts(1, 5 * MiB - 1, s3Limits)],
    ['invalid_argument', () => planParts(1, 5 * GiB + 1, s3Limits)],
    ['invalid_argument', () => planParts(1, 8 * MiB + 0.5, s3Limits)],
    ['invalid_argument', () => rangeOfPart(planParts(1, 8 * MiB, s3Limits), 0)],
    ['invalid_argument', () => rangeOfPart(planParts(1, 8 * MiB, s3Limits), 10_001)],
  ])('refuses with %s what no provider takes', (code, act) => {
    expect(act).toThrow(expect.objectContaining({ code }));
  });
});
