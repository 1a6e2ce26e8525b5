import { Readable } from 'node:stream';
import { UploadError } from '../../src/errors.ts';
import type { Bucket } from './bucket.ts';

/** Where the bytes of a content begin in which object. */
export interface ContentPlace {
  readonly key: string;
  readonly offset: number;
}

/** How often a body that broke off is gone on with, without a byte more. */
const mostBreaks = 5;

/** The bytes `[start, end)` of a content. Errors with `gone` when they are not there. */
export const readContent = (
  bucket: Bucket,
  id: string,
  place: () => Promise<ContentPlace | undefined>,
  { start, end }: { readonly start: number; readonly end: number },
): Readable => Readable.from(chunks(bucket, id, place, start, end), { objectMode: false });

async function* chunks(
  bucket: Bucket,
  id: string,
  place: () => Promise<ContentPlace | undefined>,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  const gone = (offset: number): UploadError =>
    new UploadError('gone', 'the bytes are not there', { id, offset });
  let found: ContentPlace | undefined;
  let position = start;
  for (let breaks = 0; found === undefined || position < end; ) {
    const before = position;
    try {
      found ??= await place();
      if (found === undefined) throw gone(position);
      if (start === end) return;
      const body = await bucket.open(found.key, found.offset + position, found.offset + end);
      if (body === undefined) throw gone(position);
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        position += chunk.byteLength;
        yield chunk;
      }
    } catch (error) {
      if (isPastEnd(error)) throw gone(position);
      if (error instanceof UploadError || (position === before && ++breaks >= mostBreaks)) throw error;
      continue;
    }
    // A body that ends early without an error is a short object, or a connection that was closed in time.
    if (position < end && position === before && ++breaks >= mostBreaks) throw gone(position);
  }
}

const isPastEnd = (error: unknown): boolean => error instanceof Error && error.name === 'InvalidRange';
