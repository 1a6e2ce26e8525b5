import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isToken, newToken, uploadId } from '../../src/protocol/identity.ts';
import { anyText } from './any-text.ts';

const idForm = /^[A-Za-z0-9_-]{16,64}$/;
const anyToken = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((bytes) => Buffer.from(bytes).toString('base64url'));
const shortText = fc.string({ maxLength: 30 });

const ofName = (name: string, owner = ''): string => uploadId({ by: 'name', name }, { owner, path: '/a' });
const ofToken = (token: string, by: 'session' | 'tag' = 'session', owner = '', path = '/a'): string =>
  uploadId({ by, token }, { owner, path });

describe('a token', () => {
  test('has 128 bits in base64url, and no two are equal', () => {
    const tokens = Array.from({ length: 2000 }, newToken);
    for (const token of tokens) {
      expect(isToken(token)).toBe(true);
      expect(Buffer.from(token, 'base64url').byteLength).toBe(16);
    }
    expect(new Set(tokens).size).toBe(tokens.length);
  });

  test('every one of its bits is used', () => {
    const seen = Buffer.alloc(16);
    const missing = Buffer.alloc(16, 0xff);
    for (let i = 0; i < 200; i++) {
      Buffer.from(newToken(), 'base64url').forEach((byte, at) => {
        seen[at] = (seen[at] ?? 0) | byte;
        missing[at] = (missing[at] ?? 0) & byte;
      });
    }
    expect(seen.equals(Buffer.alloc(16, 0xff))).toBe(true);
    expect(missing.equals(Buffer.alloc(16))).toBe(true);
  });

  test.each([
    '',
    'short',
    'A'.repeat(21),
    'A'.repeat(23),
    `${'A'.repeat(21)}+`,
    `${'A'.repeat(21)}/`,
    `${'A'.repeat(21)}=`,
    `${'A'.repeat(22)}\n`,
    `\n${'A'.repeat(22)}`,
    `${'A'.repeat(20)}%41`,
    `../${'A'.repeat(19)}`,
    'Ä'.repeat(22),
  ])('is never %j', (text) => {
    expect(isToken(text)).toBe(false);
  });
});

describe('an upload id', () => {
  test('has the form a store takes, whatever the name and whoever its owner', () => {
    fc.assert(
      fc.property(anyText(), anyText(), (name, owner) => {
        expect(ofName(name, owner)).toMatch(idForm);
      }),
    );
    fc.assert(
      fc.property(anyToken, (token) => {
        expect(ofToken(token)).toMatch(idForm);
      }),
    );
  });

  test('tells nothing of the secret: it neither contains it nor any six characters of it', () => {
    // Six characters in common by chance: about 300 pairs of places, each with a probability of 64^-6.
    fc.assert(
      fc.property(anyToken, (token) => {
        const id = ofToken(token);
        for (let i = 0; i + 6 <= token.length; i++) expect(id).not.toContain(token.slice(i, i + 6));
      }),
    );
  });

  test('is the same whenever it is asked for', () => {
    fc.assert(
      fc.property(anyToken, shortText, shortText, (token, name, owner) => {
        expect(ofToken(token)).toBe(ofToken(token));
        expect(ofName(name, owner)).toBe(ofName(name, owner));
      }),
    );
  });

  test('is the same for a secret in the URL and in the entity tag', () => {
    fc.assert(
      fc.property(anyToken, shortText, (token, owner) => {
        expect(ofToken(token, 'tag', owner)).toBe(ofToken(token, 'session', owner));
      }),
    );
  });

  test('of a session is another for every caller', () => {
    fc.assert(
      fc.property(
        anyToken,
        fc.uniqueArray(shortText, { minLength: 2, maxLength: 2 }),
        (token, [one = '', other = '']) => {
          expect(ofToken(token, 'session', one)).not.toBe(ofToken(token, 'session', other));
        },
      ),
    );
  });

  test('belongs to its owner: two callers that choose one name have two uploads', () => {
    fc.assert(
      fc.property(
        shortText,
        fc.uniqueArray(shortText, { minLength: 2, maxLength: 2 }),
        (name, [one, other]) => {
          expect(ofName(name, one)).not.toBe(ofName(name, other));
        },
      ),
    );
  });

  test('differs for two names of one owner', () => {
    fc.assert(
      fc.property(
        shortText,
        fc.uniqueArray(shortText, { minLength: 2, maxLength: 2 }),
        (owner, [one = '', other = '']) => {
          expect(ofName(one, owner)).not.toBe(ofName(other, owner));
        },
      ),
    );
  });

  test('cannot be had by moving text between owner and name', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 12 }), (text) => {
        const ids = Array.from({ length: text.length + 1 }, (_, i) =>
          ofName(text.slice(i), text.slice(0, i)),
        );
        expect(new Set(ids).size).toBe(ids.length);
      }),
    );
    // Text that looks like the prefixes that keep the parts apart.
    expect(ofName('b', 'a1:')).not.toBe(ofName('1:b', 'a'));
    expect(ofName('1:b', 'a')).not.toBe(ofName('b', '1:a'));
    expect(ofName('', '1:a1:b')).not.toBe(ofName('b', 'a'));
  });

  test('of a name is never that of a session, even if the name is the secret', () => {
    fc.assert(
      fc.property(anyToken, (token) => {
        const session = ofToken(token);
        const ids = [
          ofName(token),
          ofName('', token),
          ofName(token, 'session'),
          ofName('session', token),
          ofName(`7:session22:${token}`),
        ];
        expect(ids).not.toContain(session);
      }),
    );
  });

  test('of a session belongs to the path it was begun at', () => {
    const token = newToken();
    expect(ofToken(token, 'session', '', '/b')).not.toBe(ofToken(token));
  });
});
