import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { systemCode, UploadError } from '../../src/errors.ts';
import { assertRange } from '../../src/intervals.ts';
import type { Bucket, PinnedObject } from './bucket.ts';
import { statusOf } from './failures.ts';
import type { PartLimits } from './plan.ts';
import { bytesOf, isStream } from './stream-source.ts';

/** An object, or the bytes `[start, end)` of it. */
export interface ObjectSource {
  readonly key: string;
  /** @default that of the store */
  readonly bucket?: string;
  /** @default 0 */
  readonly start?: number;
  /** @default the object's size */
  readonly end?: number;
}

/** A stream of any size, bytes, the path of a file, or an object that is there already. */
export type Source = Readable | Uint8Array | string | ObjectSource;

type Take = (chunk: Uint8Array) => Promise<void>;

/** A source that has been looked at. */
export type OpenSource =
  | { readonly kind: 'stream'; readonly size: undefined; each(take: Take): Promise<void>; stop(): void }
  | {
      readonly kind: 'known';
      readonly size: number;
      /** Where the provider can copy from it: `start` is where the source begins in the object. */
      readonly object?: PinnedObject & { readonly start: number };
      /** Hands over the bytes `[start, end)` of the source. Rejects with `gone` when it has changed. */
      read(start: number, end: number, signal: AbortSignal, take: Take): Promise<void>;
    };

/** How often a body that broke off is gone on with, without a byte more. */
const mostBreaks = 5;

/**
 * Fixes what the source is: from now on, one that changes is an error. Rejects with `not_found` when it is not there, and
 * with `invalid_argument` for a range that is not in it.
 */
export const openSource = async (bucket: Bucket, limits: PartLimits, source: Source): Promise<OpenSource> => {
  if (typeof source === 'string') return openFile(source);
  if (source instanceof Uint8Array) {
    return {
      kind: 'known',
      size: source.byteLength,
      read: (start, end, _, take) => take(source.subarray(start, end)),
    };
  }
  if (isStream(source)) return { kind: 'stream', size: undefined, ...bytesOf(source) };
  if (typeof source?.key === 'string') return openObject(bucket, limits, source);
  throw new UploadError('invalid_argument', 'a source is a stream, bytes, a path or an object');
};

const openObject = async (bucket: Bucket, limits: PartLimits, source: ObjectSource): Promise<OpenSource> => {
  const pinned = await bucket.pin(source.key, source.bucket);
  if (pinned === undefined)
    throw new UploadError('not_found', 'there is no object to copy', { id: source.key });
  const { start = 0, end = pinned.size } = source;
  assertRange(start, end);
  if (end > pinned.size) {
    const facts = { id: source.key, expected: pinned.size, actual: end };
    throw new UploadError('invalid_argument', 'the object ends before the range of it', facts);
  }
  // S3 copies no range of an object that is smaller than a part.
  const isWhole = start === 0 && end === pinned.size;
  const canCopy = isWhole || pinned.size > limits.minPart;
  return {
    kind: 'known',
    size: end - start,
    ...(canCopy && { object: { ...pinned, start } }),
    read: (from, to, signal, take) => readObject(bucket, pinned, start + from, start + to, signal, take),
  };
};

const readObject = async (
  bucket: Bucket,
  object: PinnedObject,
  start: number,
  end: number,
  signal: AbortSignal,
  take: Take,
): Promise<void> => {
  let position = start;
  for (let breaks = 0; position < end; ) {
    const before = position;
    const body = await bucket.openPinned(object, position, end, signal).catch((error: unknown) => {
      throw changed(object, error);
    });
    const stop = (): void => void body.destroy();
    body.on('error', () => undefined); // also when it is stopped
    signal.addEventListener('abort', stop, { once: true });
    let failure: unknown;
    try {
      const chunks = body[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
      for (;;) {
        const next = await chunks.next().catch((error: unknown) => {
          failure = error;
          return { done: true, value: undefined } as const;
        });
        if (next.done === true) break;
        position += next.value.byteLength;
        await take(next.value);
      }
    } finally {
      signal.removeEventListener('abort', stop);
      stop();
    }
    if (position >= end || (position > before && !signal.aborted)) continue;
    if (signal.aborted || ++breaks >= mostBreaks) {
      throw new UploadError('interrupted', 'an object to copy could not be read', {
        id: object.key,
        offset: position,
        cause: failure,
      });
    }
  }
};

/** What a copy or a read failed with: an error of its own when the object is not what it was. */
export const changed = ({ key }: PinnedObject, error: unknown): unknown => {
  const status = statusOf(error);
  const isGone = error instanceof Error && error.name === 'NoSuchKey';
  if (status !== 412 && status !== 416 && !isGone) return error;
  return new UploadError('gone', 'an object to copy has changed meanwhile', { id: key, cause: error });
};

const openFile = async (path: string): Promise<OpenSource> => {
  const before = await lookAt(path);
  const { size } = before;
  return {
    kind: 'known',
    size,
    async read(start, end, signal, take) {
      const file = createReadStream(path, { start, end: end - 1, highWaterMark: 1024 * 1024 });
      const source = bytesOf(file);
      signal.addEventListener('abort', source.stop, { once: true });
      let bytes = 0;
      try {
        await source.each((chunk) => {
          bytes += chunk.byteLength;
          return take(chunk);
        });
      } finally {
        signal.removeEventListener('abort', source.stop);
        source.stop();
      }
      const now = await lookAt(path);
      const isSame = now.ino === before.ino && now.size === size && now.mtimeMs === before.mtimeMs;
      if (isSame && bytes === end - start) return;
      throw new UploadError('gone', 'a file has changed meanwhile', {
        id: path,
        expected: size,
        actual: now.size,
      });
    },
  };
};

const lookAt = async (path: string) => {
  const found = await stat(path).catch((cause: unknown) => {
    const isMissing = systemCode(cause) === 'ENOENT';
    throw isMissing
      ? new UploadError('not_found', 'there is no such file', { id: path, cause })
      : new UploadError('interrupted', 'a file cannot be read', { id: path, cause });
  });
  if (found.isFile()) return found;
  throw new UploadError('invalid_argument', 'not a file', { id: path });
};
