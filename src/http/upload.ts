import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { UploadError } from '../errors.ts';
import { assertRange, type Range } from '../intervals.ts';
import { placeCopy } from '../place-file.ts';
import type { Store, UploadRecord } from '../store.ts';

/** A complete upload as the handler sees it, in `req.upload`. */
export interface Upload {
  /**
   * Names the content; is not the secret with which the upload could be resumed. The key to make a handler
   * idempotent with.
   */
  readonly id: string;
  /** Bytes. */
  readonly length: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** What is stored: here always the whole. */
  readonly received: readonly Range[];
  /** 1 for the first run of the handler, more after a crash, an error, a 5xx or a lost lease. */
  readonly attempt: number;
  /** The bytes `[start, end)`; everything by default. */
  read(start?: number, end?: number): Readable;
  /**
   * Makes the content a file of the application's: by a hard link where store and target share a file system,
   * else by a synced copy. The store lets go of its own name once the response is stored. A target that has
   * the content already (this is a second attempt) is success; any other rejects with `target_exists`.
   */
  moveTo(path: string): Promise<void>;
}

/**
 * A request as a handler behind `resumable` sees it; `upload` is there unless the request just passed
 * through.
 */
export type UploadRequest = IncomingMessage & { upload?: Upload };

/** An upload together with whether its content was moved. */
export interface HandlerUpload {
  readonly upload: Upload;
  wasMoved(): boolean;
}

export const handlerUpload = (store: Store, record: UploadRecord): HandlerUpload => {
  const { id, length = 0, metadata, attempt } = record;
  let moved = false;
  const upload: Upload = {
    id,
    length,
    metadata,
    received: length === 0 ? [] : [{ start: 0, end: length }],
    attempt,
    read(start = 0, end = length) {
      assertRange(start, end);
      if (end > length) {
        throw new UploadError('range_past_length', 'not that long', { id, expected: length, actual: end });
      }
      return store.read(id, start, end);
    },
    async moveTo(path) {
      if (store.link === undefined) await placeCopy(store.read(id, 0, length), path, true);
      else await store.link(id, path, length);
      moved = true;
    },
  };
  return { upload, wasMoved: () => moved };
};
