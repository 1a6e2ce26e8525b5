import { type FileHandle, open } from 'node:fs/promises';
import { UploadError } from '../errors.ts';
import {
  type BytesPart,
  chunkBytes,
  closeAll,
  joined,
  type OpenStream,
  openPart,
  type Source,
} from './content.ts';

export { memorySource, type Source } from './content.ts';

/** A path, bytes that must not change meanwhile, or a stream. */
export type SinglePart = string | BytesPart;
/** Several are sent one after the other, as one content. */
export type UploadSource = SinglePart | readonly SinglePart[];

/** Rejects with `invalid_argument` when a file cannot be opened or is not a regular one. */
export const openSource = async (source: UploadSource): Promise<Source | OpenStream> => {
  if (!isList(source)) return openAny(source);
  const opened = await Promise.allSettled(source.map(openAny));
  const parts = opened.flatMap((part) => (part.status === 'fulfilled' ? [part.value] : []));
  const failed = opened.find((part) => part.status === 'rejected');
  if (failed !== undefined) {
    await closeAll(parts.filter((part) => 'close' in part));
    throw failed.reason;
  }
  return joined(parts);
};

const isList = (source: UploadSource): source is readonly SinglePart[] => Array.isArray(source);

const openAny = async (part: SinglePart): Promise<Source | OpenStream> =>
  typeof part === 'string' ? openFile(part) : openPart(part);

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
        // Without the last bytes nobody takes for whole what may be of two versions.
        if (offset >= end) await assertUnchanged();
        yield buffer.subarray(0, bytesRead);
        [buffer, other] = [other, buffer];
      }
    },
    close: () => handle.close(),
  };
};
