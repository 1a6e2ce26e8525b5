import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type ComposePart,
  type ComposeSource,
  planCompose,
  type Segment,
} from '../../stores/s3/compose-plan.ts';
import { type PartLimits, s3Limits } from '../../stores/s3/plan.ts';

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;

/** Small enough for every byte to be looked at, and with all that can go wrong near. */
const tiny: PartLimits = { minPart: 10, maxPart: 64, maxParts: 10_000, maxObject: 1e6, equalParts: false };
const equal: PartLimits = { ...tiny, equalParts: true };

const anySources = fc.array(
  fc.record({
    size: fc.oneof(fc.nat({ max: 25 }), fc.nat({ max: 200 }), fc.constantFrom(0, 9, 10, 11, 19, 20, 64, 65)),
    copies: fc.boolean(),
  }),
  { maxLength: 12 },
);
const anyPartSize = fc.integer({ min: 10, max: 40 });

const segmentsOf = (parts: readonly ComposePart[]): readonly Segment[] =>
  parts.flatMap((part) => (part.kind === 'copy' ? [part.segment] : part.segments));

const sizeOf = (part: ComposePart): number =>
  segmentsOf([part]).reduce((sum, { start, end }) => sum + end - start, 0);

/** Of what could be copied, what is read. */
const readOf = (sources: readonly ComposeSource[], parts: readonly ComposePart[]): number =>
  segmentsOf(parts.filter(({ kind }) => kind === 'bytes'))
    .filter(({ source }) => sources[source]?.copies)
    .reduce((sum, { start, end }) => sum + end - start, 0);

describe.each([
  ['parts of any size', tiny],
  ['parts of one size', equal],
])('a plan of %s', (_, limits) => {
  test('has every byte of every source once and in order', () => {
    fc.assert(
      fc.property(anySources, anyPartSize, (sources, partSize) => {
        const at = sources.map(() => 0);
        let current = 0;
        for (const { source, start, end } of segmentsOf(planCompose(sources, partSize, limits))) {
          expect(source).toBeGreaterThanOrEqual(current);
          expect(start).toBe(at[source]);
          expect(end).toBeGreaterThan(start);
          [at[source], current] = [end, source];
        }
        expect(at).toEqual(sources.map(({ size }) => size));
      }),
      { numRuns: 500 },
    );
  });

  test('has parts that the provider takes, and copies only what can be copied', () => {
    fc.assert(
      fc.property(anySources, anyPartSize, (sources, partSize) => {
        const parts = planCompose(sources, partSize, limits);
        parts.forEach((part, i) => {
          const size = sizeOf(part);
          const isLast = i === parts.length - 1;
          expect(size).toBeLessThanOrEqual(limits.maxPart);
          if (!isLast) expect(size).toBeGreaterThanOrEqual(limits.minPart);
          if (limits.equalParts) expect(isLast ? size <= partSize : size === partSize).toBe(true);
          if (part.kind === 'bytes') return;
          const { source, start, end } = part.segment;
          const whole = sources[source];
          expect(whole?.copies).toBe(true);
          // S3 copies no range of what is smaller than a part.
          if (start > 0 || end < (whole?.size ?? 0)) expect(whole?.size).toBeGreaterThan(limits.minPart);
        });
      }),
      { numRuns: 500 },
    );
  });

  test('reads of what could be copied at most one least part for each boundary', () => {
    fc.assert(
      fc.property(anySources, anyPartSize, (given, partSize) => {
        const sources = given.filter(({ size }) => size > 0);
        const total = sources.reduce((sum, { size }) => sum + size, 0);
        const least = limits.equalParts ? partSize : limits.minPart;
        if (total < least) return; // one request, and not worth a multipart upload
        const read = readOf(sources, planCompose(sources, partSize, limits));
        // Of an object that small S3 copies no range.
        const last = sources.at(-1)?.size ?? 0;
        const lastRead = last <= limits.minPart ? last : 0;
        expect(read).toBeLessThanOrEqual(least * (sources.length - 1) + lastRead);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('a plan', () => {
  test('copies what is large enough as it is', () => {
    const sources = [20, 15, 10].map((size) => ({ size, copies: true }));
    expect(planCompose(sources, 16, tiny).map(({ kind }) => kind)).toEqual(['copy', 'copy', 'copy']);
    expect(planCompose([...sources, { size: 3, copies: true }], 16, tiny).map(({ kind }) => kind)).toEqual([
      'copy',
      'copy',
      'copy',
      'copy',
    ]);
  });

  test('fills up what is too small with as little of an object as it needs', () => {
    const sources = [
      { size: 3, copies: false },
      { size: 50, copies: true },
    ];
    expect(planCompose(sources, 16, tiny)).toEqual([
      {
        kind: 'bytes',
        segments: [
          { source: 0, start: 0, end: 3 },
          { source: 1, start: 0, end: 7 },
        ],
      },
      { kind: 'copy', segment: { source: 1, start: 7, end: 50 } },
    ]);
  });

  test('of nothing has no parts, and a small one has one', () => {
    expect(planCompose([], 16, tiny)).toEqual([]);
    expect(planCompose([{ size: 0, copies: true }], 16, tiny)).toEqual([]);
    const small = [1, 2, 3].map((size) => ({ size, copies: true }));
    expect(planCompose(small, 16, tiny)).toHaveLength(1);
    expect(planCompose([{ size: 3, copies: true }], 16, tiny)[0]?.kind).toBe('bytes');
  });

  test('of 15 GB is copied, but for what is between', () => {
    const sources = [5e9, 1000, 9e9, 1e9].map((size, i) => ({ size, copies: i !== 1 }));
    const parts = planCompose(sources, 8 * MiB, s3Limits);
    expect(parts.reduce((sum, part) => sum + sizeOf(part), 0)).toBe(15_000_001_000);
    expect(parts.filter(({ kind }) => kind === 'bytes')).toHaveLength(1);
    expect(readOf(sources, parts)).toBe(5 * MiB - 1000);
    expect(parts.length).toBeLessThan(20);
  });

  test('of 4 TB is copied in less than 10,000 parts, each at most 5 GiB', () => {
    const parts = planCompose([{ size: 4e12, copies: true }], 8 * MiB, s3Limits);
    expect(parts.length).toBeLessThan(4000);
    for (const part of parts) expect(sizeOf(part)).toBeLessThanOrEqual(GiB);
    const most = planCompose([{ size: 50e12, copies: true }], 8 * MiB, { ...s3Limits, maxObject: 50e12 });
    expect(most.length).toBeLessThanOrEqual(10_000);
    for (const part of most) expect(sizeOf(part)).toBeLessThanOrEqual(5 * GiB);
  });

  test('of 4 TB that are read has parts that grow, as far as memory allows', () => {
    const sources = [{ size: 4e12, copies: false }];
    const parts = planCompose(sources, 8 * MiB, s3Limits, 1024 * MiB);
    expect(parts.length).toBeLessThanOrEqual(10_000);
    for (const part of parts) expect(sizeOf(part)).toBeLessThanOrEqual(1024 * MiB);
    expect(() => planCompose(sources, 8 * MiB, s3Limits, 64 * MiB)).toThrow(
      expect.objectContaining({ code: 'too_large' }),
    );
  });

  test.each([
    ['too_large', [{ size: 5 * 1024 * GiB + 1, copies: true }]],
    ['too_large', Array.from({ length: 10_001 }, () => ({ size: 5 * MiB, copies: true }))],
  ])('is refused with %s where an object cannot be so', (code, sources) => {
    expect(() => planCompose(sources, 8 * MiB, s3Limits)).toThrow(expect.objectContaining({ code }));
  });

  test('has at most 10,000 parts', () => {
    const sources = Array.from({ length: 10_000 }, () => ({ size: 5 * MiB, copies: true }));
    expect(planCompose(sources, 8 * MiB, s3Limits)).toHaveLength(10_000);
  });

  test('has no part that is larger than memory', () => {
    expect(() => planCompose([], 8 * MiB, s3Limits, 7 * MiB)).toThrow(
      expect.objectContaining({ code: 'invalid_argument' }),
    );
  });
});
