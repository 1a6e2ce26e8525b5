import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { UploadError } from '../errors.ts';

/** The client has gone: nobody's failure. */
export class Departed extends Error {
  override readonly name = 'Departed';
}

/**
 * Moves a source into a response at the speed of its client, and leaves the response open. Rejects with `Departed`
 * when the client has gone, and with `store_failed` when the source gives other than `size` bytes; the source is
 * destroyed by then. `before` is
 * called with the length of each chunk before that is written; what it throws ends all.
 */
export const pump = (
  source: Readable,
  res: ServerResponse,
  size: number | undefined,
  before: (bytes: number) => void,
): Promise<number> =>
  new Promise((resolve, reject) => {
    let sent = 0;
    const settle = (failure?: unknown): void => {
      source.off('data', onData).off('end', onEnd).off('close', onEnd).off('error', settle);
      res.off('drain', onDrain).off('close', onGone);
      if (failure === undefined) return resolve(sent);
      // A source that fails while it is being destroyed tells nothing new.
      source.on('error', () => undefined).destroy();
      reject(failure);
    };
    const onData = (chunk: Uint8Array): void => {
      sent += chunk.byteLength;
      if (size !== undefined && sent > size) return settle(wrongSize(size, sent));
      try {
        before(chunk.byteLength);
      } catch (error) {
        return settle(error);
      }
      if (!res.write(chunk)) source.pause();
    };
    /** Of a source that was destroyed 'close' is all there is to hear. */
    const onEnd = (): void => {
      const isWhole = size === undefined ? source.readableEnded : sent === size;
      settle(isWhole ? undefined : wrongSize(size, sent));
    };
    const onDrain = (): void => void source.resume();
    const onGone = (): void => settle(new Departed());
    if (res.destroyed) return onGone();
    res.on('drain', onDrain).on('close', onGone);
    source.on('end', onEnd).on('close', onEnd).on('error', settle).on('data', onData);
  });

export const wrongSize = (expected: number | undefined, actual: number): UploadError =>
  new UploadError('store_failed', 'the source did not give the bytes it was asked for', { expected, actual });

/** Resolves when more can be written; rejects with `Departed` when the client has gone. */
export const drained = (res: ServerResponse): Promise<void> =>
  new Promise((resolve, reject) => {
    const settle = (): void => {
      res.off('drain', settle).off('close', settle);
      if (res.destroyed) reject(new Departed());
      else resolve();
    };
    if (res.destroyed || !res.writableNeedDrain) return settle();
    res.on('drain', settle).on('close', settle);
  });
