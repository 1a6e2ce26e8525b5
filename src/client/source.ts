import { type FileHandle, open } from 'node:fs/promises';
import { UploadError } from '../errors.ts';
import {
  blobSource,
  chunkBytes,
  closeAll,
  concatenatedStream,
  concatenation,
  isStream,
  memorySource,
  type OpenStream,
  openStream,
  type Source,
  type StreamLike,
} from './content.ts';

export { memorySource, type Source } from './content.ts';

/** A path, bytes that must not change meanwhile, or a stream. */
export type SinglePart = string | Uint8Array | ArrayBuffer | Blob | StreamLike;
/** Several are sent one after the other, as one content. */
export type UploadSource = SinglePart | readonly SinglePart[];

/** Rejects with `invalid_argument` when a file cannot be opened or is not a regular one. */
export const openSource = async (source: UploadSource): Promise<Source | OpenStream> => {
  if (!isList(source)) return openPart(source);
  const opened = await Promise.allSettled(source.map(openPart));
  const parts = opened.flatMap((part) => (part.status === 'fulfilled' ? [part.value] : []));
  const failed = opened.find((part) => part.status === 'rejected');
  const seekable = parts.filter((part) => 'close' in part);
  if (failed !== undefined) {
    await closeAll(seekable);
    throw failed.reason;
  }
  return seekable.length === parts.length ? concatenation(seekable) : concatenatedStream(parts);
};

const isList = (source: UploadSource): source is readonly SinglePart[] => Array.isArray(source);

const openPart = async (part: SinglePart): Promise<Source | OpenStream> => {
  if (typeof part === 'string') return openFile(part);
  if (part instanceof Uint8Array) return memorySource(part, chunkBytes);
  if (part instanceof ArrayBuffer) return memorySource(new Uint8Array(part), chunkBytes);
  if (part instanceof Blob) return blobSource(part);
  if (typeof part === 'object' && part !== null && isStream(part)) return openStream(part);
  throw new UploadError('invalid_argument', 'not a source', { actual: typeof part });
};

const openFile = async (path: string): Promise<Source> => {
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw new UploadError('invalid_argument', 'the file cannot be opened', { cause });
  });
  try {
    return await fileSource(handle);
  } catch (error) {
    await handle.close();
    throw error;
  }
};

const fileSource = async (handle: FileHandle): Promise<Source> => {
  const first = await handle.stat({ bigint: true });
  if (!first.isFile()) throw new UploadError('invalid_argument', 'the source is not a regular file');
  const length = Number(first.size);

  // Bytes of two versions must never end up in one upload. The open handle keeps a replaced file readable;
  // one that is written in place is given up.
  const assertUnchanged = async (): Promise<void> => {
    const now = await handle.stat({ bigint: true });
    if (now.size !== first.size) {
      throw new UploadError('length_changed', 'the file changed its length during the upload', {
        expected: length,
        actual: Number(now.size),
      });
    }
    if (now.mtimeNs !== first.mtimeNs) {
      throw new UploadError('digest_conflict', 'the file was written to during the upload');
    }
  };

  return {
    length,
    fingerprint: `${length} ${first.mtimeNs}`,
    async *chunks(start, end) {
      await assertUnchanged();
      const size = Math.min(chunkBytes, end - start);
      let buffer = Buffer.allocUnsafeSlow(size);
      let other = Buffer.allocUnsafeSlow(size);
      for (let offset = start; offset < end; ) {
        const { bytesRead } = await handle.read(buffer, 0, Math.min(size, end - offset), offset);
        if (bytesRead === 0) {
          throw new UploadError('length_changed', 'the file became shorter during the upload', { offset });
        }
        offset += bytesRead;
        yield buffer.subarray(0, bytesRead);
        [buffer, other] = [other, buffer];
      }
    },
    close: () => handle.close(),
  };
};
