import { Readable } from 'node:stream';
import { setTimeout as timeout } from 'node:timers/promises';
import { UploadError } from '../errors.ts';
import { IntervalSet } from '../intervals.ts';
import type { Store, StoredUpload } from '../store.ts';
import { findUpload, type Lifetimes } from './find.ts';

export interface WaitOptions {
  /** How long no byte may come before the connection is ended, in milliseconds. @default 60000 (1 minute) */
  readonly timeoutMs?: number;
  /**
   * How often it is looked whether more is stored, in milliseconds. There is nothing to be woken by: any process may be the
   * one that stores it, and a store tells nobody.
   *
   * @default 500 (half a second)
   */
  readonly pollMs?: number;
}

/** Rejects with `gone` when there is no such content any more. */
const loadContent = async (store: Store, id: string, lifetimes: Lifetimes): Promise<StoredUpload> => {
  const stored = await findUpload(store, id, lifetimes);
  if (stored === undefined || stored.record.moved || stored.record.refused) {
    throw new UploadError('gone', 'the content is no more', { id });
  }
  return stored;
};

/** How far the stored bytes go from `offset` without a gap; `offset` itself where that byte is missing. */
export const storedEnd = ({ record, received }: StoredUpload, offset: number): number =>
  Math.min(IntervalSet.from(received).runEnd(offset), record.length ?? Number.POSITIVE_INFINITY);

/**
 * The bytes `[start, end)` of an upload as they come; to its end, whenever that is stated, with `end` Infinity. Errors with
 * `interrupted` when none has come for `timeoutMs`, with `gone` when the upload is removed, expires or is refused, or its
 * content moved.
 */
export const followUpload = (
  store: Store,
  id: string,
  start: number,
  end: number,
  options: WaitOptions & Lifetimes,
): Readable => Readable.from(chunks(store, id, start, end, options), { objectMode: false });

async function* chunks(
  store: Store,
  id: string,
  start: number,
  end: number,
  { timeoutMs = 60_000, pollMs = 500, ...lifetimes }: WaitOptions & Lifetimes,
): AsyncGenerator<Uint8Array> {
  let position = start;
  for (let seenAt = Date.now(); ; ) {
    const stored = await loadContent(store, id, lifetimes);
    const last = Math.min(end, stored.record.length ?? end);
    const to = Math.min(storedEnd(stored, position), last);
    if (to > position) {
      for await (const chunk of store.read(id, position, to)) yield chunk as Uint8Array;
      position = to;
      seenAt = Date.now();
    }
    if (position >= last) return;
    if (Date.now() - seenAt >= timeoutMs) {
      throw new UploadError('interrupted', 'no more bytes have come in time', { id, offset: position });
    }
    await timeout(pollMs);
  }
}
