import { describe, expect, test } from 'vitest';
import { planResponse, type Representation } from '../../src/download/plan.ts';
import { printHttpDate } from '../../src/headers/http-date.ts';

const now = Date.UTC(2026, 10, 1, 12);
const modified = now - 3_600_000;
const entity: Representation = { size: 1000, etag: '"v1"', lastModified: modified + 321 };

const status = (
  headers: Readonly<Record<string, string>>,
  representation: Representation = entity,
  method = 'GET',
): number => planResponse({ method, headers }, representation, { now }).status;

/** A field, and whether its condition holds; undefined for a field that counts as absent. */
type Choice = readonly [value: string | undefined, holds: boolean | undefined];

const at = (ms: number): string => printHttpDate(ms);
const absent: Choice = [undefined, undefined];

const choices = {
  'if-match': [
    absent,
    ['"v1"', true],
    ['*', true],
    ['"v0", "v1"', true],
    ['"v0"', false],
    ['W/"v1"', false],
    ['v1', false],
  ],
  'if-unmodified-since': [
    absent,
    [at(modified), true],
    [at(now), true],
    [at(modified - 1000), false],
    ['soon', undefined],
  ],
  'if-none-match': [absent, ['"v0"', true], ['"v1"', false], ['W/"v1"', false], ['*', false], ['v1', true]],
  'if-modified-since': [
    absent,
    [at(modified - 1000), true],
    [at(modified), false],
    [at(now), false],
    ['soon', undefined],
  ],
  range: [absent, ['bytes=0-1', true], ['bytes=1000-', false], ['items=0-1', undefined]],
  'if-range': [
    absent,
    ['"v1"', true],
    [at(modified), true],
    ['"v0"', false],
    ['W/"v1"', false],
    [at(now), false],
    ['v1', false],
  ],
} as const satisfies Record<string, readonly Choice[]>;

type Field = keyof typeof choices;
const names = Object.keys(choices) as Field[];

function* combinations(fields: readonly Field[]): Generator<Record<Field, Choice>> {
  const [name, ...rest] = fields;
  if (name === undefined) return yield {} as Record<Field, Choice>;
  for (const tail of combinations(rest))
    for (const choice of choices[name]) yield { ...tail, [name]: choice };
}

/** RFC 9110 section 13.2.2, step by step. */
const expected = (given: Record<Field, Choice>, method: string): number => {
  const holds = (name: Field): boolean | undefined => given[name][1];
  const isPresent = (name: Field): boolean => given[name][0] !== undefined;
  // 1. and 2.
  if (isPresent('if-match')) {
    if (holds('if-match') === false) return 412;
  } else if (holds('if-unmodified-since') === false) return 412;
  // 3. and 4.
  if (isPresent('if-none-match')) {
    if (holds('if-none-match') === false) return 304;
  } else if (holds('if-modified-since') === false) return 304;
  // 5. and 6.
  if (method !== 'GET' || holds('range') === undefined) return 200;
  if (isPresent('if-range') && holds('if-range') === false) return 200;
  return holds('range') ? 206 : 416;
};

test.each(['GET', 'HEAD'])(
  'every combination of a %s is judged in the order of RFC 9110 section 13.2.2',
  (method) => {
    const seen = new Map<number, number>();
    const wrong: unknown[] = [];
    for (const given of combinations(names)) {
      const headers: Record<string, string> = {};
      for (const name of names) {
        const [value] = given[name];
        if (value !== undefined) headers[name] = value;
      }
      const got = status(headers, entity, method);
      seen.set(got, (seen.get(got) ?? 0) + 1);
      if (got !== expected(given, method)) wrong.push({ headers, got, expected: expected(given, method) });
    }
    expect(wrong.slice(0, 5)).toEqual([]);
    expect([...seen.keys()].sort()).toEqual(method === 'GET' ? [200, 206, 304, 412, 416] : [200, 304, 412]);
    expect([...seen.values()].reduce((a, b) => a + b, 0)).toBe(7 * 5 * 6 * 5 * 4 * 7);
  },
);

describe('a weak tag', () => {
  const weak: Representation = { ...entity, etag: 'W/"v1"' };

  test('serves If-None-Match, and neither If-Match nor If-Range', () => {
    expect(status({ 'if-none-match': '"v1"' }, weak)).toBe(304);
    expect(status({ 'if-none-match': 'W/"v1"' }, weak)).toBe(304);
    expect(status({ 'if-match': 'W/"v1"' }, weak)).toBe(412);
    expect(status({ 'if-match': '"v1"' }, weak)).toBe(412);
    for (const tag of ['"v1"', 'W/"v1"']) {
      expect(status({ range: 'bytes=0-1', 'if-range': tag }, weak)).toBe(200);
    }
  });
});

describe('a content without a tag', () => {
  const bare: Representation = { size: 1000 };

  test('matches * and nothing else', () => {
    expect(status({ 'if-match': '*' }, bare)).toBe(200);
    expect(status({ 'if-match': '"v1"' }, bare)).toBe(412);
    expect(status({ 'if-none-match': '"v1"' }, bare)).toBe(200);
    expect(status({ 'if-none-match': '*' }, bare)).toBe(304);
    expect(status({ range: 'bytes=0-1', 'if-range': '"v1"' }, bare)).toBe(200);
  });

  test('and without a date has no date that could be before or after another', () => {
    expect(status({ 'if-unmodified-since': at(0) }, bare)).toBe(200);
    expect(status({ 'if-modified-since': at(now) }, bare)).toBe(200);
    expect(status({ range: 'bytes=0-1', 'if-range': at(modified) }, bare)).toBe(200);
  });
});

describe('If-Range with a date', () => {
  const ranged = (date: string, lastModified: number): number =>
    status({ range: 'bytes=0-1', 'if-range': date }, { size: 1000, lastModified });

  test('holds for the very second the content is of, in each form of a date', () => {
    expect(ranged(at(modified), modified)).toBe(206);
    expect(ranged(at(modified), modified + 999)).toBe(206);
    expect(ranged('Sunday, 01-Nov-26 11:00:00 GMT', modified)).toBe(206);
    expect(ranged('Sun Nov  1 11:00:00 2026', modified)).toBe(206);
    expect(ranged(at(modified + 1000), modified)).toBe(200);
    expect(ranged(at(modified - 1000), modified)).toBe(200);
  });

  test('never in the second the content was changed in: it may change in it again', () => {
    expect(ranged(at(now), now)).toBe(200);
    expect(ranged(at(now - 1000), now - 1000)).toBe(206);
    expect(ranged(at(now), now + 5000)).toBe(200);
  });
});

describe('a list of tags', () => {
  test('may have empty elements, which count for nothing', () => {
    for (const list of ['"v0", , "v1"', ', "v1"', '"v1",']) {
      expect(status({ 'if-match': list })).toBe(200);
      expect(status({ 'if-none-match': list })).toBe(304);
    }
  });

  test('of nothing but commas has no member', () => {
    expect(status({ 'if-match': ', ,' })).toBe(412);
    expect(status({ 'if-none-match': ', ,' })).toBe(200);
  });

  test('is not what If-Range has', () => {
    for (const list of ['"v1",', '"v1", "v1"'])
      expect(status({ range: 'bytes=0-1', 'if-range': list })).toBe(200);
  });
});

test('several lines of a field are one list', () => {
  const request = { method: 'GET', headers: { 'if-none-match': ['"v0"', '"v1"'] } };
  expect(planResponse(request, entity, { now }).status).toBe(304);
});
