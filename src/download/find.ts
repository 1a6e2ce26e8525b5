import { hasExpired } from '../engine/expiry.ts';
import { UploadError } from '../errors.ts';
import type { Store, StoredUpload } from '../store.ts';

/** How long uploads are there, in milliseconds: to be the same here as where they are taken (`resumable`). */
export interface Lifetimes {
  /** Of an open upload, since its last progress. @default 604_800_000 (7 days) */
  readonly expiresAfterMs?: number | undefined;
  /** Of a complete one, since its answer. @default for ever */
  readonly keepCompletedMs?: number | undefined;
}

const defaultExpiresAfterMs = 7 * 24 * 60 * 60 * 1000;

/**
 * An upload as the server that takes it would find it: undefined when no such upload was ever seen, or so long ago that
 * even its tombstone has gone. Rejects with `gone` when it was removed, has expired or was lost.
 */
export const findUpload = async (
  store: Store,
  id: string,
  { expiresAfterMs = defaultExpiresAfterMs, keepCompletedMs }: Lifetimes,
): Promise<StoredUpload | undefined> => {
  const stored = await store.load(id);
  if (stored === undefined) return undefined;
  const times = { expiresAfterMs, keepCompletedMs, tombstoneMs: Number.POSITIVE_INFINITY };
  if (stored.record.state === 'removed' || hasExpired(stored, times, Date.now())) {
    throw new UploadError('gone', 'the upload was removed or has expired', { id });
  }
  return stored;
};
