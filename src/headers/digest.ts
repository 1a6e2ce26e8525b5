import { UploadError } from '../errors.ts';

/** The two algorithms of RFC 9530 section 5 that are still safe to use, and what Node calls them. */
const algorithms: ReadonlyMap<string, { readonly node: string; readonly bytes: number }> = new Map([
  ['sha-256', { node: 'sha256', bytes: 32 }],
  ['sha-512', { node: 'sha512', bytes: 64 }],
]);

export interface Digest {
  /** As RFC 9530 names it. */
  readonly algorithm: string;
  /** As `node:crypto` names it. */
  readonly hash: string;
  /** Lower-case hexadecimal. */
  readonly value: string;
}

/**
 * The strongest digest of a `Repr-Digest` field that can be checked here (RFC 9530 section 3: a dictionary of
 * byte sequences). Undefined when it holds only algorithms that cannot; rejects with `malformed_digest` when
 * one that can is not a byte sequence of the right length.
 */
export const parseDigest = (field: string): Digest | undefined => {
  let best: Digest | undefined;
  for (const member of field.split(',')) {
    const [name = '', ...rest] = member.trim().split('=');
    const known = algorithms.get(name.trim().toLowerCase());
    if (known === undefined) continue;
    const encoded = /^:([A-Za-z0-9+/]*={0,2}):(?:;.*)?$/.exec(rest.join('=').trim())?.[1];
    const bytes = encoded === undefined ? undefined : Buffer.from(encoded, 'base64');
    if (bytes?.length !== known.bytes) {
      throw new UploadError('malformed_digest', 'Repr-Digest cannot be read', {
        expected: `${known.bytes} bytes in base64 between colons`,
        actual: member.trim(),
      });
    }
    if (best === undefined || known.node > best.hash) {
      best = { algorithm: name.trim().toLowerCase(), hash: known.node, value: bytes.toString('hex') };
    }
  }
  return best;
};

/** The canonical form, which `parseDigest` reads again: two fields that say the same are the same text. */
export const printDigest = ({ algorithm, value }: Digest): string =>
  `${algorithm}=:${Buffer.from(value, 'hex').toString('base64')}:`;
