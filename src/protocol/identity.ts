import { hash, randomBytes } from 'node:crypto';
import type { Identity } from './dialect.ts';

// A client is told a secret; the store, and everybody who may see an upload's content, knows only its id. The
// id is a hash of the secret, so that neither a listing nor a link to the content gives anybody the session.

const tokenBytes = 16;

/** Random bytes for many tokens: asking the system for each by itself is a tenth of what a small upload costs. */
let pool = Buffer.alloc(0);

/** 128 random bits in base64url. */
export const newToken = (): string => {
  if (pool.byteLength === 0) pool = randomBytes(256 * tokenBytes);
  const token = pool.toString('base64url', 0, tokenBytes);
  pool = pool.subarray(tokenBytes);
  return token;
};

export const isToken = (value: string): boolean => /^[A-Za-z0-9_-]{22}$/.test(value);

/** 132 bits of a SHA-256 over length-prefixed parts, so that no two lists of parts are the same text. */
const idOf = (...parts: readonly string[]): string => {
  const text = parts.map((part) => `${Buffer.byteLength(part)}:${part}`).join('');
  return hash('sha256', text, 'base64url').slice(0, 22);
};

/**
 * The id under which the store keeps the upload. It belongs to its owner: two callers that choose the same name
 * have two uploads, and nobody else finds a session. A session belongs to the path it was begun at, too: what
 * guards that route guards its uploads.
 */
export const uploadId = (
  identity: Exclude<Identity, { by: 'none' }>,
  { owner, path }: { readonly owner: string; readonly path: string },
): string =>
  identity.by === 'name' ? idOf('name', owner, identity.name) : idOf('session', owner, path, identity.token);
