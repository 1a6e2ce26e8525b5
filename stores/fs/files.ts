import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { type FileHandle, link, open, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { systemCode, UploadError } from '../../src/errors.ts';

/** Makes names in a directory safe: a file's own sync does not cover its entry. */
export const syncDirectory = async (path: string): Promise<void> => {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

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

/**
 * Gives the file `from` the second name `to`; across file systems, a synced copy of it. A target that has
 * this content already is success: a handler that ran before a crash has moved it. Rejects with
 * `target_exists`.
 */
export const linkOrCopy = async (from: string, to: string, sync: boolean): Promise<void> => {
  try {
    await link(from, to);
  } catch (error) {
    if (systemCode(error) === 'EXDEV') await copyBeside(from, to, sync);
    else if (systemCode(error) !== 'EEXIST') throw error;
    else if (!(await isSameContent(from, to))) throw targetExists(to, error);
  }
  if (sync) await syncDirectory(dirname(to));
};

const targetExists = (path: string, cause: unknown): UploadError =>
  new UploadError('target_exists', 'another file has the name to move to', { actual: path, cause });

/** The copy appears under its name only when it is complete. */
const copyBeside = async (from: string, to: string, sync: boolean): Promise<void> => {
  const partial = join(dirname(to), `.${basename(to)}.${process.pid}.partial`);
  const target = await open(partial, constants.O_CREAT | constants.O_TRUNC | constants.O_RDWR, 0o600);
  try {
    await pipeline(createReadStream(from), target.createWriteStream({ autoClose: false }));
    if (sync) await target.sync();
    await link(partial, to).catch(async (error: unknown) => {
      if (systemCode(error) !== 'EEXIST') throw error;
      if (!(await isSameContent(from, to))) throw targetExists(to, error);
    });
  } finally {
    await target.close();
    await unlink(partial);
  }
};

const isSameContent = async (a: string, b: string): Promise<boolean> => {
  const [left, right] = await Promise.all([stat(a), stat(b)]);
  if (left.dev === right.dev && left.ino === right.ino) return true;
  if (left.size !== right.size || !right.isFile()) return false;
  const [one, other] = await Promise.all([sha256(a), sha256(b)]);
  return one === other;
};

const sha256 = async (path: string): Promise<string> => {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
};
