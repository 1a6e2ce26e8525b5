import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sessionUrl, splitSessionUrl } from '../../src/protocol/session-url.ts';

const parameter = 'upload_id';
const token = 'AbCdEfGhIjKlMnOpQrStUv';

/** The characters of a text that may stand in a request target, without those a test keeps for itself. */
const targetText = (without: string) =>
  fc.string({
    unit: fc.constantFrom(
      ...Array.from({ length: 94 }, (_, i) => String.fromCharCode(0x21 + i)).filter(
        (c) => !without.includes(c),
      ),
    ),
    maxLength: 12,
  });
const segment = targetText('/?#\\');
const path = fc
  .array(segment, { maxLength: 4 })
  .map((segments) => `/${segments.join('/')}`)
  .filter((text) => !text.startsWith('//'));
const isOurs = (pair: string, name: string): boolean => pair === name || pair.startsWith(`${name}=`);
const pair = fc.oneof(
  targetText('#&'),
  // Near misses of our own parameter.
  fc.constantFrom(
    'upload_idx=1',
    'xupload_id=1',
    'Upload_Id=1',
    'upload%5Fid=1',
    'a=upload_id=1',
    '',
    '=',
    'a',
    '?',
  ),
);
const query = (name: string) =>
  fc.option(
    fc
      .array(
        pair.filter((text) => !isOurs(text, name)),
        { minLength: 1, maxLength: 5 },
      )
      .map((p) => p.join('&')),
    { nil: undefined },
  );
const anyName = fc.oneof(fc.constant(parameter), fc.stringMatching(/^[a-z][a-z0-9_.-]{0,11}$/));
const anyToken = fc.stringMatching(/^[A-Za-z0-9_-]{22}$/);
const originForm = (name: string) =>
  fc.tuple(path, query(name)).map(([p, q]) => (q === undefined ? p : `${p}?${q}`));

test('splitting a session URL gives the secret and the target the application knows, byte for byte', () => {
  const cases = anyName.chain((name) => fc.tuple(fc.constant(name), originForm(name), anyToken));
  fc.assert(
    fc.property(cases, ([name, plain, secret]) => {
      expect(splitSessionUrl(sessionUrl(plain, name, secret), name)).toEqual({ token: secret, plain });
    }),
    { numRuns: 1000 },
  );
});

test('a target without the parameter is returned as it is', () => {
  fc.assert(
    fc.property(originForm(parameter), (plain) => {
      expect(splitSessionUrl(plain, parameter)).toEqual({ token: undefined, plain });
    }),
    { numRuns: 300 },
  );
});

test("the parameter is found at any place among the application's own, which stay in order and untouched", () => {
  const own = fc.array(
    pair.filter((text) => !isOurs(text, parameter)),
    { maxLength: 5 },
  );
  fc.assert(
    fc.property(path, own, fc.nat(), anyToken, (p, pairs, seed, secret) => {
      const place = seed % (pairs.length + 1);
      const all = pairs.toSpliced(place, 0, `${parameter}=${secret}`);
      const plain = pairs.length === 0 ? p : `${p}?${pairs.join('&')}`;
      expect(splitSessionUrl(`${p}?${all.join('&')}`, parameter)).toEqual({ token: secret, plain });
    }),
    { numRuns: 300 },
  );
});

describe('a session URL', () => {
  test.each([
    ['/', `/?upload_id=${token}`],
    ['/a', `/a?upload_id=${token}`],
    ['/a?', `/a?&upload_id=${token}`],
    ['/a?b=1', `/a?b=1&upload_id=${token}`],
    ['/a?b=1&', `/a?b=1&&upload_id=${token}`],
    ['/a%2Fb?c=%26', `/a%2Fb?c=%26&upload_id=${token}`],
    ['/a?b#c', `/a?b&upload_id=${token}`],
    ['/a#b?c', `/a?upload_id=${token}`],
    ['http://example.com', `/?upload_id=${token}`],
    ['http://example.com/', `/?upload_id=${token}`],
    ['http://example.com/a/b?c=1', `/a/b?c=1&upload_id=${token}`],
    ['https://user@example.com:8443/a', `/a?upload_id=${token}`],
    ['http://[::1]:80/a', `/a?upload_id=${token}`],
    ['http://example.com?b=1', `/?b=1&upload_id=${token}`],
    ['HTTP://EXAMPLE.COM/a', `/a?upload_id=${token}`],
    ['/a?next=http://other.example/', `/a?next=http://other.example/&upload_id=${token}`],
  ])('of %j is %j', (target, expected) => {
    expect(sessionUrl(target, parameter, token)).toBe(expected);
  });
});

describe('splitting', () => {
  test.each<[string, string | undefined, string]>([
    [`/a?upload_id=${token}`, token, '/a'],
    [`/a?b&upload_id=${token}&c`, token, '/a?b&c'],
    [`http://example.com/a?b=1&upload_id=${token}`, token, 'http://example.com/a?b=1'],
    ['/a?upload_id=', '', '/a'],
    ['/a?upload_id', '', '/a'],
    ['/a?b', undefined, '/a?b'],
    [`/upload_id=${token}`, undefined, `/upload_id=${token}`],
    [`/a?b=upload_id=${token}`, undefined, `/a?b=upload_id=${token}`],
    ['/a?upload_id=first&b=1&upload_id=second', 'second', '/a?b=1'],
  ])('%j gives %j and %j', (url, expected, plain) => {
    expect(splitSessionUrl(url, parameter)).toEqual({ token: expected, plain });
  });
});

describe('a client that resolves a session URL stays on the host it sent the request to', () => {
  const origin = 'https://good.example';
  const resolve = (target: string): URL => new URL(sessionUrl(target, parameter, token), `${origin}/x/y?z`);

  test.each([
    '//evil.example/a',
    '///evil.example/a',
    '//evil.example',
    '//evil.example?a=1',
    '//user@evil.example:99/a',
    'http://good.example//evil.example/a',
    'http://evil.example/a',
  ])('%j', (target) => {
    expect(sessionUrl(target, parameter, token)).toMatch(/^\/(?!\/)/);
    expect(resolve(target).origin).toBe(origin);
  });

  test('any target of slashes, dots, colons and names', () => {
    const parts = fc.array(
      fc.constantFrom('/', '//', '.', '..', ':', '@', '?', '#', '%2f', '%5c', 'http:', 'evil.example', 'a'),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(fc.constantFrom('/', '//', 'http://h', 'x-y://h/'), parts, (start, rest) => {
        const url = resolve(start + rest.join(''));
        expect(url.origin).toBe(origin);
        expect(url.searchParams.get(parameter)).toBe(token);
      }),
      { numRuns: 1000 },
    );
  });

  // The URL standard reads a backslash as a slash, and Node's parser lets it through in a request target.
  test.each([
    '/\\evil.example/a',
    '/\\/evil.example/a',
    '/\\\\evil.example/a',
    'http://good.example/\\evil.example',
  ])('%j, where a backslash is read as a slash', (target) => {
    expect(resolve(target).origin).toBe(origin);
  });
});
