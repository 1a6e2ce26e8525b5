import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { link, unlink } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { basename, dirname, join } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { systemCode, UploadError } from '../errors.ts';
import { assertRange, type Range } from '../intervals.ts';
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
      if (store.link === undefined) await copyTo(store.read(id, 0, length), path);
      else await store.link(id, path);
      moved = true;
    },
  };
  return { upload, wasMoved: () => moved };
};

/** For stores whose content is not a file: it appears under its name only when it is complete and synced. */
const copyTo = async (content: Readable, path: string): Promise<void> => {
  const partial = join(dirname(path), `.${basename(path)}.${process.pid}.partial`);
  const sum = createHash('sha256');
  const tap = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sum.update(chunk);
      done(null, chunk);
    },
  });
  try {
    await pipeline(content, tap, createWriteStream(partial, { flush: true, mode: 0o600 }));
    await link(partial, path).catch(async (error: unknown) => {
      if (systemCode(error) !== 'EEXIST') throw error;
      if ((await sha256(createReadStream(path))) === sum.digest('hex')) return;
      throw new UploadError('target_exists', 'another file has the name to move to', {
        actual: path,
        cause: error,
      });
    });
  } finally {
    await unlink(partial).catch((error: unknown) => {
      if (systemCode(error) !== 'ENOENT') throw error;
    });
  }
};

const sha256 = (content: Readable): Promise<string> => contentDigest(content, 'sha256');

/** The digest of a stream in hexadecimal, by an algorithm as `node:crypto` names it. */
export const contentDigest = async (content: Readable, algorithm: string): Promise<string> => {
  const sum = createHash(algorithm);
  await pipeline(content, sum);
  return sum.digest('hex');
};
