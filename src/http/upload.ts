import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import type { Follower } from '../engine/follower.ts';
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
 * An upload that may still be coming, as a handler in stream mode sees it: `length` is known once somebody has
 * stated it, `received` grows. `read` and `moveTo` are for what is stored already; the whole is, once the request's
 * body has come to its end.
 */
export type StreamedUpload = Omit<Upload, 'length'> & { readonly length: number | undefined };

/**
 * A request as a handler behind `resumable` sees it; `upload` is there unless the request just passed
 * through.
 */
export type UploadRequest<U = Upload> = IncomingMessage & { upload?: U };

/** An upload together with whether its content was moved. */
export interface HandlerUpload {
  readonly upload: Upload;
  wasMoved(): boolean;
}

/** With `content`, of an upload that is still coming. */
export const handlerUpload = (store: Store, record: UploadRecord, content?: Follower): HandlerUpload => {
  const { id, metadata, attempt } = record;
  const whole = record.length === undefined || record.length === 0 ? [] : [{ start: 0, end: record.length }];
  let moved = false;
  const upload: Upload = {
    id,
    get length() {
      return content === undefined ? (record.length ?? 0) : (content.length as number);
    },
    metadata,
    get received(): readonly Range[] {
      return content === undefined ? whole : content.received;
    },
    attempt,
    read(start = 0, end = upload.length) {
      assertStored(start, end);
      return store.read(id, start, end);
    },
    async moveTo(path: string) {
      const { length } = upload;
      assertStored(0, length);
      if (store.link === undefined) await placeCopy(store.read(id, 0, length), path, true);
      else await store.link(id, path, length);
      moved = true;
    },
  };
  const assertStored = (start: number, end: number | undefined): void => {
    if (content !== undefined && !(end !== undefined && content.has(start, end))) {
      throw new UploadError('invalid_argument', 'not all of it is stored yet', {
        id,
        offset: start,
        actual: end,
      });
    }
    const to = end ?? 0;
    assertRange(start, to);
    if (to > upload.length) {
      throw new UploadError('range_past_length', 'not that long', {
        id,
        expected: upload.length,
        actual: to,
      });
    }
  };
  return { upload, wasMoved: () => moved };
};
