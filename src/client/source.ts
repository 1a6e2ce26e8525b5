import { type FileHandle, open } from 'node:fs/promises';
import { UploadError } from '../errors.ts';

/** Content of known length that can be read again from any offset: a resume needs both. */
export interface Source {
  /** In bytes. */
  readonly length: number;
  /**
   * The bytes of `[start, end)` in order, in chunks of any size. A chunk stays as it is until the second
   * `next()` after it, so that one chunk can be read while the one before it is being sent.
   */
  chunks(start: number, end: number): AsyncIterator<Uint8Array, unknown, undefined>;
  close(): Promise<void>;
}

/** Small enough that a slow line moves one within any sensible stall timeout. */
const chunkBytes = 128 * 1024;

/** Rejects with `invalid_argument` when the file cannot be opened or is not a regular one. */
export const openSource = async (source: string | Uint8Array): Promise<Source> =>
  typeof source === 'string' ? openFile(source) : memorySource(source);

export const memorySource = (bytes: Uint8Array): Source => ({
  length: bytes.length,
  async *chunks(start, end) {
    for (let offset = start; offset < end; offset += chunkBytes) {
      yield bytes.subarray(offset, Math.min(offset + chunkBytes, end));
    }
  },
  close: () => Promise.resolve(),
});

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
