import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UploadError } from '../../src/errors.ts';
import { type Digest, parseDigest } from '../../src/headers/digest.ts';
import { anyText } from './any-text.ts';

const of = (hash: string, content: Uint8Array, encoding: 'base64' | 'hex'): string =>
  createHash(hash).update(content).digest(encoding);
const field256 = (content: Uint8Array): string => `sha-256=:${of('sha256', content, 'base64')}:`;
const field512 = (content: Uint8Array): string => `sha-512=:${of('sha512', content, 'base64')}:`;
const digest256 = (content: Uint8Array): Digest => ({
  algorithm: 'sha-256',
  hash: 'sha256',
  value: of('sha256', content, 'hex'),
});
const digest512 = (content: Uint8Array): Digest => ({
  algorithm: 'sha-512',
  hash: 'sha512',
  value: of('sha512', content, 'hex'),
});

const content = fc.uint8Array({ maxLength: 40 });
const hello = Buffer.from('hello');

test('sha-256 of any content comes out as hexadecimal, under the name node:crypto knows', () => {
  fc.assert(
    fc.property(content, (bytes) => {
      expect(parseDigest(field256(bytes))).toEqual(digest256(bytes));
    }),
  );
});

test('sha-512 of any content comes out as hexadecimal, under the name node:crypto knows', () => {
  fc.assert(
    fc.property(content, (bytes) => {
      expect(parseDigest(field512(bytes))).toEqual(digest512(bytes));
    }),
  );
});

test('the stronger of two is taken, in either order', () => {
  const both = [field256(hello), field512(hello)];
  expect(parseDigest(both.join(', '))).toEqual(digest512(hello));
  expect(parseDigest(both.reverse().join(','))).toEqual(digest512(hello));
});

describe('read', () => {
  test.each<[string, string]>([
    ['a name in upper case', field256(hello).replace('sha', 'SHA')],
    ['blanks around', `  ${field256(hello)}\t`],
    ['no padding', field256(hello).replace(/=+:$/, ':')],
    ['parameters', `${field256(hello)};q=1;note="x"`],
    ['a known one behind unknown ones', `md5=:AAAA:, unixsum=30637, ${field256(hello)}`],
    ['a known one before an unknown one', `${field256(hello)}, sha=:AAAA:`],
  ])('%s', (_, field) => {
    expect(parseDigest(field)).toEqual(digest256(hello));
  });
});

describe('only algorithms that cannot be checked: none', () => {
  test.each([
    '',
    'md5=:1B2M2Y8AsgTpgAmY7PhCfg==:',
    'sha=:AAAA:',
    'adler=:AAAA:, unixsum=:AAAA:',
    'sha-256-wrong=:AAAA:',
    'sha256=:AAAA:',
    'something',
    '=:AAAA:',
  ])('%j', (field) => {
    expect(parseDigest(field)).toBeUndefined();
  });

  // Names that every JavaScript object answers to.
  test.each(['constructor', '__proto__', 'constructor=:AAAA:', '__proto__=:AAAA:', 'Constructor=1'])(
    '%j is an algorithm like any other that is not known',
    (field) => {
      expect(parseDigest(field)).toBeUndefined();
    },
  );
});

describe('refused with malformed_digest', () => {
  const good = of('sha256', hello, 'base64');
  test.each([
    ['no value', 'sha-256'],
    ['an empty value', 'sha-256='],
    ['an empty byte sequence', 'sha-256=::'],
    ['no colons', `sha-256=${good}`],
    ['one colon', `sha-256=:${good}`],
    ['hexadecimal', `sha-256=:${of('sha256', hello, 'hex')}:`],
    ['a string', `sha-256="${good}"`],
    ['a byte too few', `sha-256=:${Buffer.alloc(31).toString('base64')}:`],
    ['a byte too many', `sha-256=:${Buffer.alloc(33).toString('base64')}:`],
    ['the length of the other algorithm', `sha-512=:${good}:`],
    ['the alphabet of URLs', `sha-256=:${Buffer.alloc(32, 0xff).toString('base64url')}:`],
    ['a blank inside', `sha-256=:${good.slice(0, 5)} ${good.slice(5)}:`],
    ['text behind', `sha-256=:${good}:x`],
    ['a weaker one that is bad beside a good one', `sha-256=:AAAA:, ${field512(hello)}`],
    ['a stronger one that is bad beside a good one', `${field256(hello)}, sha-512=:AAAA:`],
  ])('%s', (_, field) => {
    expect(() => parseDigest(field)).toThrow(expect.objectContaining({ code: 'malformed_digest' }));
  });
});

test('any text gives a digest of the right length, none, or malformed_digest', () => {
  const good = of('sha256', hello, 'base64');
  const tokens = fc
    .array(fc.constantFrom('sha-256', 'sha-512', 'md5', '=', ':', ',', ';', ' ', good, 'AAAA', '=='), {
      maxLength: 12,
    })
    .map((parts) => parts.join(''));
  fc.assert(
    fc.property(fc.oneof(tokens, anyText()), (text) => {
      try {
        const digest = parseDigest(text);
        if (digest === undefined) return;
        expect(digest.value).toMatch(digest.hash === 'sha512' ? /^[0-9a-f]{128}$/ : /^[0-9a-f]{64}$/);
      } catch (error) {
        if (!(error instanceof UploadError)) throw error;
        expect(error.code).toBe('malformed_digest');
      }
    }),
    { numRuns: 1000 },
  );
});
