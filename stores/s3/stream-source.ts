import type { Readable } from 'node:stream';
import { UploadError } from '../../src/errors.ts';

/** A stream as a source of bytes, whose errors are nobody else's. */
export interface StreamSource {
  /**
   * Hands over every chunk, and waits. Rejects with `interrupted` and the stream's error as `cause`, and with
   * `invalid_argument` for a stream that has ended before, or has something else than bytes.
   */
  each(take: (chunk: Uint8Array) => Promise<void>): Promise<void>;
  /** Nothing more is wanted of it. */
  stop(): void;
}

/** Also of a copy of the class (`readable-stream`). */
export const isStream = (source: unknown): source is Readable =>
  typeof source === 'object' &&
  source !== null &&
  'pipe' in source &&
  typeof source.pipe === 'function' &&
  Symbol.asyncIterator in source;

export const bytesOf = (source: Readable): StreamSource => {
  // It may fail while nobody reads it yet, or when it is stopped: that is told to whoever reads it.
  source.on('error', () => undefined);
  return { each: (take) => each(source, take), stop: () => void source.destroy() };
};

const each = async (source: Readable, take: (chunk: Uint8Array) => Promise<void>): Promise<void> => {
  if (source.readableEnded) throw new UploadError('invalid_argument', 'the stream has been read before');
  const chunks = source[Symbol.asyncIterator]() as AsyncIterator<unknown>;
  for (let offset = 0; ; ) {
    const next = await chunks.next().catch((cause: unknown) => {
      throw new UploadError('interrupted', 'the source failed', { offset, cause });
    });
    if (next.done === true) return;
    const chunk = asBytes(next.value, source.readableEncoding ?? 'utf8');
    offset += chunk.byteLength;
    await take(chunk);
  }
};

const asBytes = (chunk: unknown, encoding: BufferEncoding): Uint8Array => {
  if (chunk instanceof Uint8Array) return chunk;
  if (typeof chunk === 'string') return Buffer.from(chunk, encoding);
  throw new UploadError('invalid_argument', 'the stream has something else than bytes');
};
