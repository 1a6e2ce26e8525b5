import { type FileHandle, open, unlink } from 'node:fs/promises';
import { systemCode } from '../../src/errors.ts';

/** Writes all buffers in order from `position` on; the kernel may take fewer bytes than it was given. */
export const writeAll = async (
  handle: FileHandle,
  buffers: readonly Uint8Array[],
  position: number,
): Promise<void> => {
  let offset = position;
  for (const buffer of buffers) {
    for (let taken = 0; taken < buffer.byteLength; ) {
      const { bytesWritten } = await handle.write(buffer, taken, buffer.byteLength - taken, offset);
      taken += bytesWritten;
      offset += bytesWritten;
    }
  }
};

/** A new file with this content, synced when asked; nothing is left of it when it fails. */
export const createFile = async (
  path: string,
  buffers: readonly Uint8Array[],
  sync: boolean,
): Promise<void> => {
  const handle = await open(path, 'wx', 0o600);
  try {
    await writeAll(handle, buffers, 0);
    if (sync) await handle.sync();
  } catch (error) {
    await unlink(path);
    throw error;
  } finally {
    await handle.close();
  }
};

export const ignoring =
  (...codes: string[]) =>
  (error: unknown): undefined => {
    if (!codes.includes(systemCode(error) ?? '')) throw error;
  };
