import { Readable } from 'node:stream';
import { setTimeout as timeout } from 'node:timers/promises';
import { UploadError } from '../errors.ts';
import { IntervalSet } from '../intervals.ts';
import type { Store, StoredUpload } from '../store.ts';

export interface WaitOptions {
  /** How long no byte may come before the connection is ended, in milliseconds. @default 60000 (1 minute) */
  readonly timeoutMs?: number;
  /**
   * How often it is looked whether more is stored, in milliseconds: any process may be the one that stores it.
   *
   * @default 500 (half a second)
   */
  readonly lookMs?: number;
}

/** Rejects with `gone` when there is no such upload any more. */
const loadContent = async (store: Store, id: string): Promise<StoredUpload> => {
  const stored = await store.load(id);
  if (stored === undefined || stored.record.state === 'removed' || stored.record.moved) {
    throw new UploadError('gone', 'the content is no more', { id });
  }
  return stored;
};

/** How far the stored bytes go from `offset` without a gap; `offset` itself where that byte is missing. */
export const storedEnd = ({ record, received }: StoredUpload, offset: number): number =>
  Math.min(IntervalSet.from(received).runEnd(offset), record.length ?? Number.POSITIVE_INFINITY);

/**
 * The bytes `[start, end)` of an upload as they come; to its end, whenever that is stated, with `end` Infinity. Errors with
 * `interrupted` when none has come for `timeoutMs`, with `gone` when the upload is removed or its content moved.
 */
export const followUpload = (
  store: Store,
  id: string,
  start: number,
  end: number,
  options: WaitOptions,
): Readable => Readable.from(chunks(store, id, start, end, options), { objectMode: false });

async function* chunks(
  store: Store,
  id: string,
  start: number,
  end: number,
  { timeoutMs = 60_000, lookMs = 500 }: WaitOptions,
): AsyncGenerator<Uint8Array> {
  let position = start;
  for (let seenAt = Date.now(); ; ) {
    const stored = await loadContent(store, id);
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
    await timeout(lookMs);
  }
}
