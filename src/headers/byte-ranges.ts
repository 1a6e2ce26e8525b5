import { IntervalSet, type Range } from '../intervals.ts';

// `Range` as a request for content carries it (RFC 9110 section 14.1.1 and 14.1.2).
//
//     bytes=0-499      the first 500 bytes
//     bytes=500-       all but the first 500
//     bytes=-500       the last 500
//     bytes=0-0,-1     the first byte and the last

/** One range-spec; half-open, as everywhere but on the wire. */
export type ByteRangeSpec =
  | {
      readonly start: number;
      /** Exclusive; undefined for "to the end". */
      readonly end: number | undefined;
    }
  | { readonly suffix: number };

/**
 * Undefined for a field to be ignored (section 14.2): another unit, text the grammar does not know, or a range that ends
 * before it begins, which makes the whole field invalid. Positions may have any number of digits.
 */
export const parseByteRanges = (field: string): readonly ByteRangeSpec[] | undefined => {
  const equals = field.indexOf('=');
  if (equals === -1 || field.slice(0, equals).trim().toLowerCase() !== 'bytes') return undefined;
  const specs: ByteRangeSpec[] = [];
  for (const part of field.slice(equals + 1).split(',')) {
    const item = part.trim();
    if (item === '') continue; // an empty list element counts for nothing (section 5.6.1.2)
    const match = /^(\d*)-(\d*)$/.exec(item);
    const [, first = '', last = ''] = match ?? [];
    if (match === null || (first === '' && last === '')) return undefined;
    if (first === '') {
      specs.push({ suffix: position(last) });
      continue;
    }
    const start = position(first);
    if (last === '') {
      specs.push({ start, end: undefined });
      continue;
    }
    if (Number(last) < Number(first)) return undefined;
    specs.push({ start, end: position(last) + 1 });
  }
  return specs.length === 0 ? undefined : specs;
};

/** The canonical form; `parseByteRanges(printByteRanges(x))` is `x`. */
export const printByteRanges = (specs: readonly ByteRangeSpec[]): string =>
  `bytes=${specs
    .map((spec) => {
      if ('suffix' in spec) return `-${spec.suffix}`;
      return spec.end === undefined ? `${spec.start}-` : `${spec.start}-${spec.end - 1}`;
    })
    .join(',')}`;

/**
 * The bytes that the specs name of a content of `size`. What overlaps or touches is one range (section 15.3.7.2); the
 * order is that of the request, because its sender may want the first soonest. Empty when none can be satisfied.
 */
export const selectRanges = (specs: readonly ByteRangeSpec[], size: number): Range[] => {
  const named = specs.map((spec) => select(spec, size)).filter(({ start, end }) => start < end);
  const [only] = named;
  if (named.length < 2) return only === undefined ? [] : [only];
  const set = IntervalSet.from(named);
  const merged = new Map(set.ranges().map((range) => [range.end, range]));
  // A map remembers the order in which its keys came first.
  const inOrder = new Map(named.map(({ start }) => [set.runEnd(start), merged.get(set.runEnd(start))]));
  return [...inOrder.values()].filter((range) => range !== undefined);
};

const select = (spec: ByteRangeSpec, size: number): Range =>
  'suffix' in spec
    ? { start: Math.max(0, size - spec.suffix), end: size }
    : { start: spec.start, end: Math.min(spec.end ?? size, size) };

/** One beyond any content that there is will do for all beyond that; what follows it must be an integer, too. */
const position = (digits: string): number => Math.min(Number(digits), Number.MAX_SAFE_INTEGER - 1);
